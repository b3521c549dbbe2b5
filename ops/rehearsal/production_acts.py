"""Production from local files to S3 alone: drills, and steps 6 to 10 with their soaks compressed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rehearsal import evidence_of, playbook, retirement_acts, step_acts
from rehearsal.claims import ClaimError
from rehearsal.step_acts import LOGS

if TYPE_CHECKING:
    from rehearsal.claims import Claims
    from rehearsal.lab import Lab

__all__ = ["drill", "play"]

# A soak of half an hour lasts ten seconds, or until its samples are there; the alarms' clock is the inventory's.
COMPRESSED = ("-e", "time_scale=180")
DRILLED = re.compile(r"DRILL: \w+ went to local files in ([\d.]+) s and is back in ([\w-]+)")


def play(lab: Lab, claims: Claims, *, last_step: int) -> None:
    """Plays steps 6 to `last_step`, each after the drill that it asks for; ClaimError of the first that fails."""
    for number in range(6, min(last_step, 8) + 1):
        if number == 6:
            drill(claims, "staging")
        elif number == 7:
            drill(claims, "production")
        step_acts.play(claims, number, *COMPRESSED)
    if last_step >= 9:
        drill(claims, "production")
        retirement_acts.soak(lab, claims)
    if last_step >= 10:
        retirement_acts.retire(lab, claims)


def drill(claims: Claims, deployment: str) -> None:
    """A rollback for practice, in earnest: every worker to local files and back, timed and sealed."""
    with claims.prove(f"a drill takes {deployment} to local files and back within the objective") as claim:
        arguments = ("-e", "drill=true", "-e", f"deployment={deployment}")
        run = playbook.run("emergency-rollback.yml", *arguments, log_directory=LOGS)
        found = DRILLED.search(" ".join(evidence_of.passed(run).split()))
        if not found:
            raise ClaimError("the drill ended well and does not say in how many seconds")
        claim.proof = f"{found[1]} s, back in {found[2]}"
