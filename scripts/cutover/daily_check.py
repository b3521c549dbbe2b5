"""What the day's check of step 9 looks at itself: all keys of table and bucket, and ten random certificates in full."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from cutover.catalogue import Catalogue, Selection
from cutover.consistency import metrics
from cutover.consistency.check import Request, any_seed, check
from cutover.consistency.chosen_rows import Reading, compare
from cutover.consistency.progress import Progress
from cutover.evidence import soak_days
from cutover.settings import flag

if TYPE_CHECKING:
    from cutover.plan import Plan
    from cutover.settings import Settings

__all__ = ["look"]


def look(values: Settings, table: Plan, *, announce: bool) -> dict[str, Any]:
    """The documents `check` and `sample`, as `cutover check` and `cutover witnesses` print them.

    The sample has `local_wanted` beside: whether local copies must be there, which step 10 retires.

    Args:
        values: the deployment.
        table: whose step 9 says how many certificates the sample has.
        announce: print the check's METRIC lines on standard error, from where a unit's lines reach the alarms.

    Raises:
        CatalogueError, ObjectStoreError, ConsistencyError, OSError: something could not be read to its end.
    """
    with Progress() as progress:
        report = check(values, table, Request.by_default(table), progress)
        if announce:
            print("\n".join(metrics.lines(table, report)), file=sys.stderr, flush=True)
        return {"check": report.document(), "sample": _sample(values, table, progress)}


def _sample(values: Settings, table: Plan, progress: Progress) -> dict[str, Any]:
    sample, seed = table.steps[soak_days.STEP].sample, any_seed()
    reading = Reading(None, seed, threads=table.data_tools.concurrency)
    with Catalogue(values, read_only=True) as catalogue:
        number = sample.minimum or 0 if sample is not None else 0
        rows = sorted(catalogue.drawn(Selection(pending=False), number, seed), key=lambda row: row.id)
        found = compare(values, catalogue, rows, reading, progress).document()
    # Read last: it is turned off before the first local copy goes, but for the sample that step 10 tries.
    return {**found, "seed": seed, "local_wanted": flag(values, table.variables["backfill"])}
