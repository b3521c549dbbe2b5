"""What a step's preflight refuses, and what each refusal tells; the machines' programs are the test's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.playbooks.stub_deployment import ROOMY, Deployment

if TYPE_CHECKING:
    from pathlib import Path

STEP = 3
PREPARE = "run ansible-playbook prepare-hosts.yml"


def look(**changes: Any) -> dict[str, Any]:
    """What `cutover machine` says on a machine that is ready, but for the changes."""
    return {"time": "TIME", "tools": "0.1.0 with script aa", "disks": {"/m": ROOMY}} | changes


def finding(check: str, outcome: str, **more: str) -> dict[str, str]:
    return {"check": check, "outcome": outcome, "reason": "said so", "next": "do this"} | more


def test_a_deployment_that_is_ready_is_not_refused(tmp_path: Path) -> None:
    """Else the refusals below would be those of a stand-in that nothing could pass."""
    code, said = Deployment.ready_for(tmp_path, STEP).play("go-live-step3.yml", "--check")
    assert "step 3 would start: Backfill a sample (staging, dual-write to dual-write)" in said
    assert "unreachable=0 failed=0" in said
    assert code == 0


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ((look(time=1_000_000.0),), "m2: the clock of the control machine is "),
        ((look(time=9e9),), "m2: the clock of m2 is "),
        ((look(disks={"/m": ROOMY | {"f_bavail": 1}}),), "m2: /m: 0.00 GB (0.0%) are free, and 1 GB"),
        ((look(disks={"/m": ROOMY | {"f_favail": 1}}),), "m2: /m: 1 of 1000 files can still be made"),
        (("", 2, "no such command"), f"m2: `cutover machine` on m2 ended with 2: no such command: {PREPARE}"),
        (("Traceback",), "m2: `cutover machine` on m2 ended with 0 and printed no JSON document: Traceback: run"),
    ],
)
def test_a_machine_that_is_not_ready_is_named(tmp_path: Path, answer: tuple[Any, ...], sentence: str) -> None:
    """One machine in twelve that differs is the one whose certificates are lost."""
    deployment = Deployment.ready_for(tmp_path, STEP)
    deployment.says("machine-m2", *answer)
    status, said = alone(deployment, "machine", "m2")
    assert sentence in said
    assert status != 0


def test_machines_with_different_tools_are_named(tmp_path: Path) -> None:
    """The judge must be the same on all machines."""
    deployment = Deployment.ready_for(tmp_path, STEP)
    deployment.says("machine-m2", look(tools="0.1.0 with script bb"))
    status, said = deployment.play("go-live-step3.yml", "--check")
    found = "0.1.0 with script aa on m1; 0.1.0 with script bb on m2"
    assert f"the machines run different versions of `cutover` ({found}): {PREPARE}" in said
    assert "step 3 would start" not in said
    assert status != 0


def test_an_unreachable_machine_is_never_ready(tmp_path: Path) -> None:
    """--check would say that the step may start, and the step would then be refused."""
    deployment = Deployment.ready_for(tmp_path, STEP)
    inventory = yaml.safe_load(deployment.inventory.read_text())
    machines = inventory["all"]["children"]["staging_machines"]["hosts"]
    machines["m2"] |= {"ansible_connection": "ssh", "ansible_port": 9}
    deployment.inventory.write_text(yaml.safe_dump(inventory))
    status, said = deployment.play("go-live-step3.yml", "--check")
    assert "m2 did not end the preflight (unreachable?): nothing was changed" in said
    assert "step 3 would start" not in said
    assert status != 0


REASON = "step 2 has no evidence: run ansible-playbook go-live-step2.yml"
NO_EVIDENCE = {"allowed": False, "reasons": [REASON], "next": "ansible-playbook go-live-step2.yml"}
BROKEN = {"allowed": False, "reasons": ["000002-step-1-PASS.json: broken"], "next": "cutover evidence verify"}
ALARM = {"name": "deltacrown-staging-no-telemetry", "state": "ALARM", "since": None, "ok": False, "next": "do this"}
QUIET = ALARM | {"name": "deltacrown-staging-upload-p95", "state": "OK", "ok": True, "next": ""}
STRANGE = {"name": "migration", "ok": False, "detail": "the table has no column s3_migrated_at"}
USUAL = {"name": "site", "ok": True, "detail": "starts"}


@pytest.mark.parametrize(
    ("program", "answer", "sentence"),
    [
        ("evidence-require", (NO_EVIDENCE, 1), f'step 3 may not start: {REASON}"'),
        ("evidence-require", (BROKEN, 4), "000002-step-1-PASS.json: broken. Run: cutover evidence verify"),
        (
            "evidence-require",
            ("", 4, "disk error"),
            "`cutover evidence require` on m1 ended with 4 and printed no result",
        ),
        (
            "evidence-require",
            ("", 2, "what?"),
            "step 3 may not start: `cutover evidence require` on m1 ended with 2: what?",
        ),
        (
            "alarms-live",
            ({"alarms": [QUIET, ALARM]}, 1),
            '"deltacrown-staging-no-telemetry ALARM do this: see to that first"',
        ),
        ("alarms-live", ("", 4, "CloudWatch did not answer"), "ended with 4: CloudWatch did not answer"),
        ("doctor", ([finding("disk", "FAIL"), finding("flags", "WARN")], 1), '"m1: disk: said so (next: do this)"'),
        ("doctor", ([finding("permission s3:PutObject", "UNKNOWN")], 4), "m1: permission s3:PutObject: said so"),
        ("site", ({"findings": [USUAL, STRANGE]}, 1), '"m1: migration: the table has no column s3_migrated_at"'),
        ("site", ({"findings": [STRANGE]}, 4), "ended with 4: {"),
    ],
)
def test_a_deployment_that_is_not_ready_is_told_what_to_run(
    tmp_path: Path, program: str, answer: tuple[Any, ...], sentence: str
) -> None:
    """A refusal without its reason is a telephone call at 3 a.m."""
    deployment = Deployment.ready_for(tmp_path, STEP)
    deployment.says(program, *answer)
    status, said = alone(deployment, "deployment")
    assert sentence in said
    assert status != 0


def test_what_only_the_read_only_role_may_see_refuses_no_step(tmp_path: Path) -> None:
    """The workers' role may not read the bucket's settings, and no step would ever start."""
    deployment = Deployment.ready_for(tmp_path, STEP)
    deployment.says("doctor", [finding("versioning", "UNKNOWN")], 4)
    status, said = alone(deployment, "deployment")
    assert status == 0, said


def alone(deployment: Deployment, part: str, hosts: str = "localhost") -> tuple[int, str]:
    """One part of the preflight on some hosts, without what stands before it."""
    variables = {"vars_files": ["vars/step.yml"], "vars": {"step_number": STEP}, "gather_facts": False}
    identity, tasks = (
        [{"ansible.builtin.import_role": {"name": "preflight", "tasks_from": name}}] for name in ("identity", part)
    )
    plays = [variables | {"hosts": "localhost", "tasks": identity}, variables | {"hosts": hosts, "tasks": tasks}]
    (deployment.playbooks / "alone.yml").write_text(yaml.safe_dump(plays))
    return deployment.play("alone.yml", "-e", "preflight_tools=same preflight_ready=true")
