"""Production after its reads are on S3: seven days of soak, thirty of grace, and the local copies put aside."""

from __future__ import annotations

import json
import re
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cutover import local_files
from cutover.evidence import grace
from rehearsal import deployed_site as site
from rehearsal import playbook, step_acts
from rehearsal.claims import ClaimError
from rehearsal.lab import LabError
from rehearsal.lab.topology import DEPLOYMENTS
from rehearsal.step_acts import LOGS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal.claims import Claims
    from rehearsal.lab import Lab
    from rehearsal.playbook import PlaybookRun

__all__ = ["retire", "soak"]

PRODUCTION = DEPLOYMENTS["production"]
DATA_HOST = site.FIRST_MACHINE["production"]
# Seconds that a day takes: several daily checks, of which one takes some three seconds on a busy machine.
SOAK_DAY, GRACE_DAY = 10, 6
PATIENCE = 2.0  # a count that an incident started again is waited for once more
POLL_SECONDS = 1.0
READY = "Everything is ready: the step may act"
PREFLIGHT_SECONDS = 180.0  # twenty on a quiet machine
PHRASE = re.compile(r"-e approval=(put-aside-\d+-certificates-of-production)")


def soak(lab: Lab, claims: Claims) -> None:
    """Plays step 9: seven days with the data host's own daily check, then the verdict."""
    scale = f"{grace.DAY_SECONDS / SOAK_DAY:g}"
    with claims.prove("the data host seals seven daily checks by itself") as claim, _days_pass(lab):
        claim.proof = _seven_days(lab, scale)
        step_acts.play(claims, 9, "-e", f"time_scale={scale}")


def retire(lab: Lab, claims: Claims) -> None:
    """Plays step 10: the days of grace, a run that asks for the approval, and one that has it."""
    scale = f"{grace.DAY_SECONDS / GRACE_DAY:g}"
    compressed = ("-e", f"time_scale={scale}")
    before = _local_files()
    with _days_pass(lab):
        with claims.prove("thirty days of grace pass, each with its daily check") as claim:
            claim.proof = _grace(lab, scale)
        with claims.prove("without approval step 10 proves every object, says the phrase, and moves nothing") as claim:
            claim.proof = phrase = _phrase(playbook.run("go-live-step10.yml", *compressed, log_directory=LOGS))
            if missing := before - _local_files():
                raise ClaimError(f"{min(missing)} is gone, though nobody approved")
        # From here on the step itself takes copies away, and what it has taken is no day's local copy.
        approved = playbook.start("go-live-step10.yml", *compressed, "-e", f"approval={phrase}", log_directory=LOGS)
        approved.reaches(READY, seconds=PREFLIGHT_SECONDS)
    step_acts.ended(claims, 10, approved)
    with claims.prove("what was approved no longer lies where the site reads") as claim:
        left = _local_files() & before
        if len(left) >= len(before):
            raise ClaimError(f"all {len(before)} local copies are still there")
        claim.proof = f"{len(before) - len(left)} of {len(before)} files put aside; {len(left)} were issued too late"


def _phrase(refused: PlaybookRun) -> str:
    """What a run without approval asks for."""
    found = PHRASE.search(refused.output)
    if refused.returncode == 0 or found is None:
        raise ClaimError(f"step 10 asked for no approval: {refused.last_lines()}")
    return found[1]


def _seven_days(lab: Lab, scale: str) -> str:
    deadline = time.monotonic() + PATIENCE * 8 * SOAK_DAY
    while (found := _evidence(lab, f"soak --time-scale {scale}"))["days"] < found["wanted"]:
        if time.monotonic() > deadline:
            raise ClaimError(f"{found['days']} of {found['wanted']} days in time; {found['reason']}")
        time.sleep(POLL_SECONDS)
    return f"{found['days']} days, {len(found['dailies'])} daily checks"


def _grace(lab: Lab, scale: str) -> str:
    deadline = time.monotonic() + PATIENCE * 31 * GRACE_DAY
    while not (found := _evidence(lab, f"require --step 10 --time-scale {scale} --json"))["allowed"]:
        if time.monotonic() > deadline:
            raise ClaimError(f"step 10 may not start in time: {'; '.join(found['reasons'])}")
        time.sleep(POLL_SECONDS)
    return "step 10 may start"


def _evidence(lab: Lab, question: str) -> dict[str, Any]:
    """What `cutover evidence` answers on the data host; until all is there, with exit code 1 or 3."""
    said = lab.run(DATA_HOST, ["sudo", "sh", "-c", f"cutover evidence {question} || test $? -le 3"])
    document: dict[str, Any] = json.loads(said)
    return document


@contextmanager
def _days_pass(lab: Lab) -> Iterator[None]:
    """Starts the daily check's unit again and again, as its timer does once a day; ClaimError if it ends badly."""
    over = threading.Event()
    problems: list[LabError] = []

    def go_on() -> None:
        try:
            while not over.is_set():
                lab.run(DATA_HOST, ["sudo", "systemctl", "start", "cutover-daily.service"])
                over.wait(POLL_SECONDS)
        except LabError as error:
            problems.append(error)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if problems:
        said = lab.run(DATA_HOST, ["sudo", "journalctl", "-qu", "cutover-daily.service", "-n", "5", "-o", "cat"])
        raise ClaimError(f"the daily check ended badly: {problems[0]}\n{said}")


def _local_files() -> set[str]:
    return set(local_files.walk(PRODUCTION.export))
