"""A drill's way back as pure functions: its steps, what its readers' journals say, what to run after a failure."""

from __future__ import annotations

from typing import Any

import pytest

from cutover import drill, plan, step_record

TABLE = plan.load()


@pytest.mark.parametrize(
    ("deployment", "mode", "steps"),
    [
        ("staging", "dual-write", [1]),
        ("staging", "s3-reads", [1, 4]),
        ("production", "dual-write", [6]),
        ("production", "s3-reads", [6, 8]),
        ("production", "local", []),
        ("staging", "settled", []),  # no step of staging leads there
        ("production", "", []),
    ],
)
def test_the_way_back_is_the_way_that_the_steps_went(deployment: str, mode: str, steps: list[int]) -> None:
    assert drill.steps_to(TABLE, deployment, mode) == steps


@pytest.mark.parametrize(
    ("held", "command"),
    [
        (["dual-write", "dual-write"], "ansible-playbook go-live-step8.yml"),
        (["local"], "ansible-playbook go-live-step6.yml"),
        (["local", "dual-write"], "emergency-rollback.yml -e deployment=production, then go-live-step6.yml"),
        (["dual-write", ""], "emergency-rollback.yml -e deployment=production, then go-live-step6.yml"),
        ([], "emergency-rollback.yml -e deployment=production, then go-live-step6.yml"),
    ],
)
def test_what_to_run_after_a_drill_that_broke_off(held: list[str], command: str) -> None:
    """A step refuses a fleet in two modes, so somebody must be told how to make it one."""
    assert drill.next_command(TABLE, "production", "s3-reads", held).endswith(command)


def journal(*workers: tuple[int, int]) -> dict[str, Any]:
    """Reads from S3 and fallbacks of each worker."""
    return {
        "units": {
            f"worker{number}": {
                "metrics": {"cert.s3.read.success": success, "cert.s3.read.fallback": fallback},
                "first_complaint": "SlowDown" if fallback else "",
            }
            for number, (success, fallback) in enumerate(workers, 1)
        }
    }


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ([(5, 0), (0, 0)], [(25, 0), (30, 0)], ""),
        ([(0, 3), (0, 0)], [(20, 3), (20, 0)], ""),  # fallbacks from before say nothing
        (
            [(5, 0), (0, 0)],
            [(24, 0), (20, 0)],
            "worker1 was asked for 20 migrated certificates and says that it read 19",
        ),
        (
            [(0, 0), (0, 0)],
            [(20, 0), (20, 1)],
            "worker2 read 1 certificates from local files, since S3 did not give them",
        ),
        ([], [], "no worker of it was counted"),
    ],
)
def test_readers_are_judged_by_what_each_worker_logged(
    before: list[tuple[int, int]], after: list[tuple[int, int]], problem: str
) -> None:
    """One worker of four that has no credentials serves every customer, from the disk that step 10 empties."""
    said = drill.readers_problem(TABLE, journal(*before), journal(*after), 20)
    assert said.startswith(problem) if problem else said == ""


MACHINE = {
    "inventory_hostname": "web1",
    "drill_from": "s3-reads",
    "emergency_result": {
        "stdout": '{"pid": 1, "proven": true, "worker": "w"}\n{"done": true, "failed": [], "epoch": 3}'
    },
}


@pytest.mark.parametrize(
    ("seconds", "failure", "verdict"), [(5, "", "PASS"), (61, "", "FAIL"), (5, "the read gate says FAIL", "FAIL")]
)
def test_the_record_of_a_drill(seconds: float, failure: str, verdict: str) -> None:
    """A drill that could not return is none that a step may lean on."""
    gate = {"criterion": "migrated_from_s3", "wanted": "at least 1", "measured": 1.0, "samples": 100, "verdict": "PASS"}
    what = {
        "kind": "drill",
        "deployment": "production",
        "scenario": "local",
        "seconds": seconds,
        "seconds_to_return": 70.0,
    }
    record = step_record.of_rollback([MACHINE], what | {"criteria": [gate], "failure": failure})
    assert (record["verdict"], record["mode"], record["seconds_to_return"]) == (verdict, "s3-reads", 70.0)
    assert [criterion["criterion"] for criterion in record["criteria"]] == ["seconds_to_proof", "migrated_from_s3"]
    assert record["message"].startswith(failure or "web1: done")
    assert "failure" not in record


@pytest.mark.parametrize(
    ("scenario", "mode", "changed"),
    [
        ("local", "dual-write", True),
        ("reads", "s3-reads", True),
        ("uploads", "dual-write", True),
        ("reads", "dual-write", False),
    ],
)
def test_a_drill_that_changes_no_flag_is_none(scenario: str, mode: str, changed: bool) -> None:
    """Workers that hold the flags are kept, and two seconds of nothing stand in the evidence as a drill."""
    assert drill.changes(TABLE, scenario, mode) == changed
