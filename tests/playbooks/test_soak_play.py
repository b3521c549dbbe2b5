"""A soak on two machines whose programs are the test's own: what ends it, and what it then leaves alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.playbooks.local_play import program
from tests.playbooks.stub_deployment import Deployment

if TYPE_CHECKING:
    from pathlib import Path

DUAL, LOCAL, READS = (True, False, True), (False, False, False), (True, True, True)
UNIT = "deltacrown-uwsgi@worker1.service"
JOURNAL = {
    "units": {UNIT: {"metrics": {}, "server_errors": 0, "first_complaint": ""}},
    "measurements": {},
    "fallbacks": [],
}
LOST = "whether it issued one is not known"
QUICK = {"soak_workers": ["w-m1"], "soak_seconds": 1, "soak_maximum_seconds": 1, "soak_restart_seconds": 1}


def status(flags: tuple[bool, bool, bool], *, epoch: int = 3, workers: int = 1) -> str:
    """What the machine script says of a machine of one worker; without it, that it does not run."""
    dual, read, backfill = flags
    process = {"worker": "worker1", "pid": 7, "dual_write": dual, "read_primary": read, "backfill": backfill}
    last = {"done": True, "epoch": epoch, "failed": [] if workers else ["worker1"]}
    return "\n".join([json.dumps(process | {"machine": "m", "proven": True})] * workers + [json.dumps(last)])


def soaked(tmp_path: Path, *answers: str, **variables: Any) -> tuple[str, dict[str, Any], list[str]]:
    """A soak of step 1 whose machines answer so, in turn, the last one for ever: what was said, sealed and asked."""
    deployment = Deployment.ready_for(tmp_path, 1)
    deployment.says("journal", JOURNAL)
    deployment.says("worker-command", {"ids": [], "names": [], "failures": [{"status": 1, "detail": LOST}]}, code=1)
    for number, answer in enumerate(answers):
        (tmp_path / f"status-{number}").write_text(answer)
    last = len(answers) - 1
    program(
        tmp_path / "bin",
        "deltacrown-s3-rollback",
        f'echo "$*" >>{tmp_path}/asked; n=$(($(grep -c . {tmp_path}/asked) - 1)); [ $n -le {last} ] || n={last}\n'
        f"cat {tmp_path}/status-$n",
    )
    sealed = """echo '{"file": "1", "sha256": "a"}'"""
    seal = f'[ "$1 $2" != "evidence append" ] || {{ cat >{tmp_path}/record.json; {sealed}; exit; }}'
    cutover = tmp_path / "bin/cutover"
    cutover.write_text(cutover.read_text().replace("#!/bin/sh\n", f"#!/bin/sh\n{seal}\n"))
    frame = {"hosts": "localhost", "gather_facts": False, "vars_files": ["vars/step.yml"], "vars": {"step_number": 1}}
    include = "ansible.builtin.include_role"
    tasks = [
        {"ansible.builtin.import_role": {"name": "preflight", "tasks_from": "identity"}},
        {
            "block": [{include: {"name": "soak"}, "vars": QUICK | variables}],
            "rescue": [{include: {"name": "step", "tasks_from": "fail"}}],
        },
    ]
    (deployment.playbooks / "alone.yml").write_text(yaml.safe_dump([frame | {"tasks": tasks}]))
    given: dict[str, Any] = {"test_upload": "command", "test_upload_issue": ["issue"]}
    given |= {"preflight_epoch": 3, "telemetry_cursor": "c", "step_poll_seconds": 1, "approver": "bilal"}
    paths = {"evidence_copies": f"{tmp_path}/copies", "evidence_directory": f"{tmp_path}/chain"}
    _, said = deployment.play("alone.yml", "-e", json.dumps(given | paths))
    record = tmp_path / "record.json"
    return (
        said,
        json.loads(record.read_text()) if record.exists() else {},
        (tmp_path / "asked").read_text().splitlines(),
    )


def test_a_soak_in_which_nothing_happens_ends_well(tmp_path: Path) -> None:
    """Else the endings below would be those of a stand-in that nothing could pass."""
    said, record, asked = soaked(tmp_path, status(DUAL), status(LOCAL))
    assert "unreachable=0 failed=0" in said
    assert not record
    assert asked == ["--status", "--status"]


def test_what_a_soak_could_not_issue_is_named(tmp_path: Path) -> None:
    """A certificate that a program left without its id is found by nobody else."""
    said, _, asked = soaked(tmp_path, status(DUAL), status(LOCAL), soak_supply="saves", soak_supplied=4)
    assert f"w-m1 did not issue; 1 {LOST}" in said
    assert "unreachable=0 failed=0" in said
    assert asked == ["--status", "--status"]


def test_an_emergency_ends_the_soak_at_its_next_look_and_nothing_is_taken_back(tmp_path: Path) -> None:
    """A step that takes things back beside an emergency restarts workers that somebody is looking at."""
    said, record, asked = soaked(tmp_path, status(LOCAL, epoch=4), status(DUAL))
    emergency = "m1 (epoch 4, this step began at 3)"
    for told in (said, record["message"]):
        assert f"step 1 SUPERSEDED: an emergency rollback came first on {emergency} — nothing was taken back" in told
    assert (record["verdict"], record["superseded"]) == ("ERROR", [emergency])
    assert asked == ["--status", "--status"]


@pytest.mark.parametrize(
    ("first", "second", "sentence"),
    [
        (LOCAL, LOCAL, "m1: worker1 pid 7 holds false,false,false"),  # switched, and somebody put it back
        (DUAL, READS, "m2: worker1 pid 7 holds true,true,true"),  # of no mode of this step
    ],
)
def test_a_worker_that_somebody_else_started_ends_the_soak(
    tmp_path: Path, first: tuple[bool, bool, bool], second: tuple[bool, bool, bool], sentence: str
) -> None:
    """What the soak measured would be another fleet's."""
    said, record, asked = soaked(tmp_path, *[status(first), status(second)] * 2, status(LOCAL))
    for told in (said, record["message"]):
        assert f"step 1 ERROR: {sentence}: expected true,false,true" in told
        assert "every worker of staging is back in mode local" in told
    assert record["verdict"] == "ERROR"
    assert len(asked) >= 6  # twice looked at, then taken back


def test_a_worker_that_is_just_starting_again_is_looked_at_twice(tmp_path: Path) -> None:
    """A crash that systemd has mended a second later is no reason to take a fleet back."""
    said, record, _ = soaked(tmp_path, status(DUAL, workers=0), status(LOCAL), status(DUAL), status(LOCAL))
    assert "Ask once more" in said
    assert "unreachable=0 failed=0" in said
    assert not record


def test_a_worker_that_stays_away_ends_the_soak(tmp_path: Path) -> None:
    """Nobody is served by it, and no journal says so."""
    said, record, _ = soaked(tmp_path, *[status(DUAL, workers=0), status(LOCAL)] * 2, status(LOCAL))
    assert "step 1 ERROR: m1 runs no process of worker1" in said
    assert record["verdict"] == "ERROR"
