"""The check itself: the keys first, then the sample, then the table once more for what disagreed."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple, Self

from cutover.accepted import Accepted
from cutover.catalogue import Catalogue, Selection
from cutover.consistency.confirm import Confirmation
from cutover.consistency.inventory import Inventory
from cutover.consistency.merge import Merge
from cutover.consistency.report import Findings, Report
from cutover.consistency.sample import Sample, Sampler
from cutover.consistency.streams import mapped, read_ahead
from cutover.consistency.suspects import Kind, Suspect, Suspects
from cutover.consistency.witnesses import Testimonies
from cutover.object_store import ObjectStore
from cutover.settings import flag

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cutover.plan import Plan
    from cutover.settings import Settings

    Progress = Callable[[str, int, int], None]

__all__ = ["Request", "any_seed", "check"]


def any_seed() -> int:
    """A seed for whoever wants no certain one."""
    return random.SystemRandom().randrange(2**32)


@dataclass(frozen=True)
class Request:
    """What is to be checked: the sample (drawn by `seed`), and the inventories that stand in for a listing."""

    sample: Sample
    seed: int
    inventory: tuple[Path, ...] = ()

    @classmethod
    def by_default(cls, table: Plan) -> Self:
        """The plan's sample of a listing, drawn by any seed."""
        return cls(Sample(table.data_tools.check.sample_ratio, table.data_tools.check.sample_minimum), any_seed())


class Hashed(NamedTuple):
    """How many files were asked for their hashes, and how many of them had two witnesses."""

    asked: int
    sampled: int


def check(settings: Settings, table: Plan, request: Request, progress: Progress) -> Report:
    """Compares table and bucket; reads only, and asks PostgreSQL to refuse anything else.

    Args:
        settings: the deployment.
        table: the plan, for the sweep's grace and the number of connections.
        request: what is to be checked.
        progress: told now and then what is done, how many, and of how many (an estimate).

    Raises:
        CatalogueError, ObjectStoreError, ConsistencyError, OSError: something could not be read to its end; a partial
            listing proves nothing, so there is no report.
    """
    started, tools = time.monotonic(), table.data_tools
    began = datetime.now(UTC)  # what is marked from now on may be newer than its page of the listing
    accepted = Accepted(settings)
    store = ObjectStore(settings, "check", connections=tools.concurrency)
    inventory = Inventory(request.inventory, settings.bucket) if request.inventory else None
    with (
        read_ahead(inventory.objects() if inventory else store.list()) as objects,
        Catalogue(settings, read_only=True) as catalogue,
        Sampler(request.sample, request.seed) as sampler,
        Suspects() as suspects,
    ):
        rows = catalogue.count(Selection(pending=None))
        counts = Merge(
            suspects,
            str(settings.media_root),
            swept_before=_swept_before(settings, table),
            as_of=inventory.as_of if inventory else None,
            sampler=sampler if request.sample else None,
        )
        for keys in counts.run(catalogue.keys(), objects):
            progress("keys", keys, 2 * rows)
        witnesses = Testimonies(settings, store, download=request.sample.whole)
        hashed = _hash(witnesses, sampler, suspects, tools.concurrency, progress)
        Confirmation(catalogue, accepted, counts.as_of or began).sift(suspects)
        findings = Findings.of(suspects, tools.most_listed)
    return Report(
        bucket=settings.bucket,
        rows=rows,
        counts=counts,
        findings=findings,
        asked=hashed.asked,
        sampled=hashed.sampled,
        seed=request.seed if request.sample else None,
        accepted=tuple(accepted.records()),
        duration=time.monotonic() - started,
    )


def _swept_before(settings: Settings, table: Plan) -> datetime:
    """The time before which an unmarked row must have been swept; there is none while dual-write and sweep are off.

    After a rollback the objects of the rows that were issued meanwhile would else be a mismatch that nobody mends.
    """
    if not flag(settings, table.variables["dual_write"]):
        return datetime.min.replace(tzinfo=UTC)
    return datetime.now(UTC) - timedelta(seconds=table.data_tools.sweep.grace_seconds)


def _hash(witnesses: Testimonies, sampler: Sampler, suspects: Suspects, threads: int, progress: Progress) -> Hashed:
    """Asks the witnesses of all files that were drawn; those on which they disagree are suspects."""
    drawn, asked, sampled = len(sampler), 0, 0
    for testimony in mapped(witnesses.of, sampler.files(), threads):
        asked += 1
        sampled += testimony.measured
        if doubtful := testimony.disagrees:
            file = testimony.file
            suspects.add(Suspect(Kind.DIFFERENT, file.key, file.certificate_id, testimony.witnesses, doubtful))
        progress("hashes", asked, drawn)
    return Hashed(asked, sampled)
