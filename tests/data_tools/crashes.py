"""A backfill that is killed again and again: the same test, short in `make test` and long in `make faults`."""

from __future__ import annotations

import itertools
import os
import random
import time
from typing import TYPE_CHECKING

from tests.data_tools.backfill_runs import check_all_migrated, check_marks, document, issue, last_token

if TYPE_CHECKING:
    from subprocess import Popen

    from tests.data_tools.certificate_site import Site

ROWS = 2000
REPLENISHMENT = 500  # rows that are issued when all are marked before the last kill
BATCH_SIZE = 20  # rows; small, so that kills meet marks being written as often as uploads
LONGEST = 0.2  # seconds from a batch to the kill, in which another one or two are marked
SEED = "CUTOVER_TEST_SEED"  # in the environment: repeats the moments of an earlier run


def kill_and_resume(site: Site, *, kills: int) -> None:
    """Kills a backfill `kills` times, each at a random moment after a random batch, so that they spread over the rows.

    After each kill every mark must be backed by verified objects. Each run goes on from the token of the one before,
    so that a row which a token skips is missing at the end.
    """
    seed = int(os.environ.get(SEED, random.SystemRandom().randrange(2**32)))
    moments = random.Random(seed)  # noqa: S311 - no secret
    print(f"{SEED}={seed}")
    issue(site, ROWS)
    most_batches = 2 * ROWS // BATCH_SIZE // kills
    token: str | None = None
    for _ in range(kills):
        token = _killed(site, token, moments.randrange(most_batches), moments.uniform(0, LONGEST)) or token
        rows = check_marks(site)
        if all(row.marked for row in rows):
            issue(site, REPLENISHMENT)
    result = site.run("backfill", "--json", *_resumed(token), timeout=120)
    answer = document(result)
    assert (result.returncode, answer["errors"], answer["stopped"]) == (0, [], None)
    check_all_migrated(site)


def started(site: Site, *arguments: str, environment: dict[str, str] | None = None) -> Popen[str]:
    """A backfill that has read its settings, holds its lock, and is about to work."""
    process = site.start("backfill", *arguments, environment=environment)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("[INFO] Found"):
            return process
    raise AssertionError(f"the backfill ended at once: {process.communicate()[1]}")


def remaining_output(process: Popen[str]) -> str:
    """Waits for the end of a process and gives what it has printed since the last line that was read of it.

    Not by `communicate`, which knows nothing of what reading lines has taken from the pipe already.
    """
    with process:
        assert process.stdout is not None
        return process.stdout.read()


def _killed(site: Site, token: str | None, batches: int, seconds: float) -> str | None:
    """Lets a run mark so many batches and work on for so long, kills it, and gives the last token that it wrote."""
    process = started(site, *_resumed(token))
    assert process.stdout is not None
    marked = itertools.islice((line for line in process.stdout if line.startswith("BACKFILL")), batches)
    last = "".join(marked)
    time.sleep(seconds)
    process.kill()
    return last_token(last + remaining_output(process))


def _resumed(token: str | None) -> list[str]:
    return ["--batch-size", str(BATCH_SIZE), *(["--resume-token", token] if token else [])]
