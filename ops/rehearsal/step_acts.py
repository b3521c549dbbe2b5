"""What each step of a rehearsal is: its playbook, which must pass its own gate, and the backup that some ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cutover import plan
from rehearsal import evidence_of, playbook
from rehearsal.lab import database
from rehearsal.lab.topology import DEPLOYMENTS, REPOSITORY

if TYPE_CHECKING:
    from rehearsal.claims import Claims
    from rehearsal.playbook import StartedPlaybook

__all__ = ["LOGS", "ended", "play"]

LOGS = REPOSITORY / "var/rehearsal"


def play(claims: Claims, number: int, *arguments: str) -> None:
    """Plays a step with these arguments of its playbook; ClaimError if it does not pass."""
    step = plan.load().steps[number]
    if step.marks_rows:
        with claims.prove(
            f"{step.deployment}'s database is backed up before step {number} marks certificates"
        ) as claim:
            claim.proof = database.back_up(DEPLOYMENTS[step.deployment])
    ended(claims, number, playbook.start(f"go-live-step{number}.yml", *arguments, log_directory=LOGS))


def ended(claims: Claims, number: int, started: StartedPlaybook) -> None:
    """Waits for a step's playbook; ClaimError if it does not pass."""
    step = plan.load().steps[number]
    with claims.prove(f"go-live-step{number}.yml: {step.title[0].lower()}{step.title[1:]}, by its own gate") as claim:
        claim.proof = evidence_of.gate(evidence_of.passed(started.wait()), step.criteria)
