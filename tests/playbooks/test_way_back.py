"""From where a step goes on after a rollback, and what keeps it from going on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.playbooks.stub_deployment import Deployment

if TYPE_CHECKING:
    from pathlib import Path

ROLLBACK = {
    "kind": "rollback",
    "deployment": "staging",
    "verdict": "PASS",
    "scenario": "inconsistency",
    "sequence": 1,
    "previous": None,
    "recorded_at": "2026-11-24T10:00:00Z",
    "attempt": 1,
    "file": "/x/000001-rollback-PASS.json",
    "sha256": "ab",
}


def started(deployment: Deployment, flags: str) -> tuple[int, str]:
    """Step 1's preflight on a fleet that holds these flags."""
    names = ("dual_write", "read_primary", "backfill")
    held = dict(zip(names, map(json.loads, flags.split(",")), strict=True))
    process: dict[str, Any] = {"machine": "m", "worker": "worker1", "pid": 7, "proven": True, **held}
    deployment.says("status", f"{json.dumps(process)}\n{json.dumps({'done': True, 'epoch': 3, 'failed': []})}")
    return deployment.play("go-live-step1.yml", "--check")


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    made = Deployment.ready_for(tmp_path, 1)
    made.says("check", {"verdict": "PASS", "without_local": 0})
    return made


@pytest.mark.parametrize("flags", ["false,false,false", "true,false,false", "false,true,false"])
def test_a_step_starts_from_what_a_scenario_leaves_behind(deployment: Deployment, flags: str) -> None:
    """Else the way back after an incident would begin with another emergency."""
    code, said = started(deployment, flags)
    assert "step 1 would start" in said
    assert code == 0


@pytest.mark.parametrize("flags", ["true,true,true", "false,true,true", "false,false,true"])
def test_any_other_state_is_refused(deployment: Deployment, flags: str) -> None:
    code, said = started(deployment, flags)
    assert "expected every process in mode local" in said
    assert code != 0


def test_reads_do_not_move_to_local_copies_that_are_put_aside(deployment: Deployment) -> None:
    """After step 10, `uploads` leaves customers reading from S3 what has no local copy."""
    deployment.says("check", {"verdict": "PASS", "without_local": 40})
    code, said = started(deployment, "false,true,false")
    assert "40 certificate files have no local copy" in said
    assert "sudo cutover restore --env-file" in said
    assert code != 0
    code, said = started(deployment, "true,false,false")  # whose customers read locally already
    assert code == 0, said


def test_flags_stay_off_after_an_inconsistency_until_everything_was_audited(deployment: Deployment) -> None:
    """The runbook's "re-enable flags only after 100 % verification"."""
    deployment.says("evidence-list", [ROLLBACK])
    code, said = started(deployment, "true,false,false")
    assert "run ansible-playbook integrity-audit.yml -e deployment=staging" in said
    assert code != 0
    audit = ROLLBACK | {"kind": "audit", "sequence": 2, "scenario": None, "previous": "a" * 64}
    deployment.says("evidence-list", [ROLLBACK, audit])
    code, said = started(deployment, "true,false,false")
    assert "step 1 would start" in said, said


def test_evidence_that_cannot_be_read_lets_nobody_on(deployment: Deployment) -> None:
    """A chain that is broken may hide the rollback."""
    deployment.says("evidence-list", [], 4, "000002: expected another hash")
    code, said = started(deployment, "false,false,false")
    assert "the evidence cannot be read: 000002: expected another hash" in said
    assert code != 0
