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


def test_no_step_starts_under_a_fence(tmp_path: Path) -> None:
    """The step flips all others, and the machine that is out of sight comes back into another fleet."""
    deployment = Deployment.ready_for(tmp_path, STEP)
    status = (tmp_path / "answers/status.json").read_text().replace('"failed"', '"fenced": true, "failed"')
    deployment.says("status", status.strip())
    code, said = deployment.play("go-live-step3.yml", "--check")
    assert "m1 says that staging is fenced" in said
    assert "ansible-playbook unfence.yml -e deployment=staging first" in said
    assert "step 3 would start" not in said
    assert code != 0


def test_machines_with_different_tools_are_named(tmp_path: Path) -> None:
    """The judge must be the same on all machines."""
    deployment = Deployment.ready_for(tmp_path, STEP)
    deployment.says("machine-m2", look(tools="0.1.0 with script bb"))
    status, said = deployment.play("go-live-step3.yml", "--check")
    found = "0.1.0 with script aa on m1; 0.1.0 with script bb on m2"
    assert f"the machines run different versions of `cutover` ({found}): {PREPARE}" in said
    assert "step 3 would start" not in said
    assert status != 0


def copying(tmp_path: Path, number: int = STEP) -> Deployment:
    """A deployment whose inventory names the role of the evidence."""
    deployment = Deployment.ready_for(tmp_path, number)
    inventory = yaml.safe_load(deployment.inventory.read_text())
    inventory["all"]["vars"]["evidence_role_arn"] = "arn:evidence"
    deployment.inventory.write_text(yaml.safe_dump(inventory))
    return deployment


def test_evidence_that_is_copied_is_not_refused(tmp_path: Path) -> None:
    """Else the refusal below would be that of every deployment."""
    deployment = copying(tmp_path)
    deployment.says("evidence-copy", {"verdict": "PASS"})
    code, said = deployment.play("go-live-step3.yml", "--check")
    assert "step 3 would start" in said
    assert code == 0


def test_evidence_that_the_backups_bucket_does_not_have_is_refused(tmp_path: Path) -> None:
    """Steps go on for weeks on records that one disk alone has, or that are not those of the bucket."""
    deployment = copying(tmp_path)
    deployment.says("evidence-copy", {"verdict": "FAIL"}, 1, "not one chain, first at 000002-step-1-PASS.json")
    status, said = deployment.play("go-live-step3.yml", "--check")
    found = "`cutover evidence copy` on m1 ended with 1: not one chain, first at 000002-step-1-PASS.json"
    assert f"the evidence is not in the backups bucket: {found}" in said
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


TESTS = {"site_test_command": ["/site/pytest", "tests/certificates"]}


def preflight_with(tmp_path: Path, script: str, *arguments: str, **configured: Any) -> tuple[int, str]:
    """The preflight of a deployment whose application's own tests are this script."""
    deployment = Deployment.ready_for(tmp_path, STEP)
    inventory = yaml.safe_load(deployment.inventory.read_text())
    inventory["all"]["vars"] |= configured
    deployment.inventory.write_text(yaml.safe_dump(inventory))
    systemd_run = tmp_path / "bin/systemd-run"
    own = f'case "$*" in *"-- /site/pytest tests/certificates"*) {script} ;; esac'
    systemd_run.write_text(systemd_run.read_text().replace("#!/bin/sh\n", f"#!/bin/sh\n{own}\n"))
    return alone(deployment, "deployment", "localhost", *arguments)


@pytest.mark.parametrize("configured", [TESTS, {"site_test_command": "/site/pytest tests/certificates"}])
def test_an_application_that_fails_its_own_tests_is_refused(tmp_path: Path, configured: dict[str, Any]) -> None:
    """The runbook's prerequisite: a suite that is red before the cutover explains nothing afterwards."""
    status, said = preflight_with(tmp_path, "echo collected 31; echo 1 failed, 30 passed; exit 1", **configured)
    assert (
        "m1: the application fails its own tests: `/site/pytest tests/certificates` ended with 1: 1 failed, 30" in said
    )
    assert status != 0


def test_an_application_that_passes_its_own_tests_is_not_refused(tmp_path: Path) -> None:
    status, said = preflight_with(tmp_path, "echo 31 passed; exit 0", **TESTS)
    assert status == 0, said
    assert "NOT CONFIGURED" not in said


def test_tests_that_are_not_run_are_said_to_be_so(tmp_path: Path) -> None:
    """Whoever reads that the preflight passed must not believe that they passed, too."""
    status, said = preflight_with(tmp_path, "exit 1")
    assert "the application's own tests: NOT CONFIGURED (site_test_command of the inventory)" in said
    assert status == 0, said


def test_under_check_the_tests_are_not_run(tmp_path: Path) -> None:
    """They may make a database of their own, and --check changes nothing."""
    status, said = preflight_with(tmp_path, "exit 1", "--check", **TESTS)
    assert "the application's own tests: NOT RUN under --check" in said
    assert status == 0, said


def alone(deployment: Deployment, part: str, hosts: str = "localhost", *arguments: str) -> tuple[int, str]:
    """One part of the preflight on some hosts, without what stands before it."""
    variables = {"vars_files": ["vars/step.yml"], "vars": {"step_number": STEP}, "gather_facts": False}
    identity, tasks = (
        [{"ansible.builtin.import_role": {"name": "preflight", "tasks_from": name}}] for name in ("identity", part)
    )
    plays = [variables | {"hosts": "localhost", "tasks": identity}, variables | {"hosts": hosts, "tasks": tasks}]
    (deployment.playbooks / "alone.yml").write_text(yaml.safe_dump(plays))
    return deployment.play("alone.yml", "-e", "preflight_tools=same preflight_ready=true", *arguments)
