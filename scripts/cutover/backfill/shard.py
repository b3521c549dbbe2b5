"""A shard of a spread backfill: what runs on a Dask worker."""

# mypy: untyped-calls-exclude=distributed
# (its annotations are not complete)

from __future__ import annotations

import contextlib
import dataclasses
import functools
import threading
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from distributed import Event, get_client, get_worker

from cutover import plan, settings
from cutover.backfill.errors import SchedulerError
from cutover.backfill.failure_stop import FailureStop
from cutover.backfill.run import Run, Summary
from cutover.catalogue import Catalogue, CatalogueError, Selection
from cutover.local_files import UnreadableFileError
from cutover.migration import Migrator, Outcome
from cutover.object_store import ObjectStore, ObjectStoreError
from cutover.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from cutover.backfill.run import Batch
    from cutover.catalogue import Certificate
    from cutover.settings import Settings

__all__ = ["Order", "Result", "Shard", "run", "unfit"]

_PREDECESSOR_SECONDS = 30.0  # how long the database may take to notice that a lost worker is gone
_LOOK_SECONDS = 1.0  # between two looks at the predecessor's lock, or at whether the run was told to stop


@dataclass(frozen=True)
class Order:
    """What all shards of a run share. It travels over the scheduler, so nothing in it is secret."""

    run: str  # the run's identity, also the name of the event by which it is told to stop
    environment_file: Path | None  # on the worker; without one, the worker's own environment counts
    role_arn: str | None
    bucket: str  # the coordinator's own bucket and endpoint, which must be the worker's
    endpoint_url: str | None
    dry_run: bool
    verify: bool
    repair: bool
    pending: bool | None
    batch_size: int
    concurrency: int
    shared: tuple[tuple[str, tuple[int, int]], ...]  # names that stand twice in the table, and whose they are

    @classmethod
    def of(cls, run: Run, values: Settings, *, verify: bool, repair: bool) -> Self:
        """The order for what `run` would do in this process, under these settings."""
        return cls(
            run=f"cutover-{uuid.uuid4().hex}",
            environment_file=values.environment_file and values.environment_file.absolute(),
            role_arn=values.role_arn,
            bucket=values.bucket,
            endpoint_url=values.endpoint_url,
            dry_run=run.summary.dry_run,
            verify=verify,
            repair=repair,
            pending=run.selection.pending,
            batch_size=run.batch_size,
            concurrency=run.concurrency,
            shared=tuple(run.migrator.shared.items()),
        )


@dataclass(frozen=True)
class Shard:
    """The certificates `ids`, in their order. `created_at` is the first one's: by it a worker knows the table."""

    ids: tuple[int, ...]
    created_at: datetime


@dataclass(frozen=True)
class Result:
    """What became of a shard; `whole` if nothing of it is left for another attempt."""

    summary: Summary
    outcomes: list[Outcome]
    whole: bool


def unfit(order: Order) -> str | None:
    """Why this worker cannot take part in a run, or None if it can."""
    try:
        _settings(order)
    except SettingsError as error:
        return str(error)
    return None


def run(order: Order, shard: Shard) -> Result:
    """Runs a shard, whose rows an earlier attempt may have marked in part, and returns what became of all of them.

    It ends early when the run is told to stop, with what is verified marked. A run that was killed cannot tell, and
    then the shards that have begun go on to their end.

    Raises:
        SchedulerError: settings, database, S3 or disk of this worker failed it; the sentence has its address.
    """
    try:
        values = _settings(order)
        with _stopping(order) as stopping, Catalogue(values, read_only=order.dry_run) as catalogue:
            if not order.dry_run:
                _lock(catalogue, f"backfill-shard-{shard.ids[0]}", stopping)
            result = _run(order, shard, _Worker(values, _migrator(order), catalogue, stopping))
        if result.summary.stopped == "lock":
            raise CatalogueError(result.summary.reason)
    except (SettingsError, CatalogueError, ObjectStoreError, UnreadableFileError) as error:
        raise SchedulerError(f"worker {get_worker().address}: {error}") from None
    return result


@dataclass(frozen=True)
class _Worker:
    """What this worker does a shard with."""

    settings: Settings
    migrator: Migrator
    catalogue: Catalogue
    stopping: threading.Event


def _run(order: Order, shard: Shard, worker: _Worker) -> Result:
    table, values = plan.load(), worker.settings
    done = _done_before(order, shard, worker.catalogue)
    outcomes = [Outcome(row, (), (), attempted=False) for row in done]
    summary = Summary(dry_run=order.dry_run, start_id=shard.ids[0], most_listed=table.data_tools.most_listed)

    def report(batch: Batch, _summary: Summary) -> None:
        # Only a dry run tells of every file.
        outcomes.extend(
            batch.outcomes if order.dry_run else (dataclasses.replace(o, stored=()) for o in batch.outcomes)
        )

    work = Run(
        catalogue=worker.catalogue,
        selection=Selection(shard.ids[0], shard.ids[-1], ids=shard.ids, pending=order.pending),
        migrator=worker.migrator,
        failure_stop=FailureStop(table.data_tools.failure_stop),
        summary=summary,
        control=None,  # the coordinator has it
        may_run=lambda: order.dry_run or settings.flag(values, table.variables["backfill"]),
        stopping=worker.stopping,
        report=report,
        batch_size=order.batch_size,
        concurrency=order.concurrency,
    )
    work.execute()
    summary.migrated += len(done)
    summary.objects_already_equal += sum(len(row.files) for row in done)
    return Result(summary, outcomes, whole=work.complete and summary.stopped is None)


def _done_before(order: Order, shard: Shard, catalogue: Catalogue) -> list[Certificate]:
    """The shard's rows that are marked by now, as an attempt whose worker was lost leaves them."""
    rows = catalogue.by_id(shard.ids)
    # No row of them all: they were deleted within the last seconds, or never were in this table.
    if not rows or (rows[0].id == shard.ids[0] and rows[0].created_at != shard.created_at):
        raise SettingsError("DATABASE_URL leads to another table than the coordinator's: give the worker the same")
    return [row for row in rows if order.pending and row.migrated_at is not None]


@functools.lru_cache(maxsize=1)
def _settings(order: Order) -> Settings:
    """The worker's settings, read once a run."""
    values = settings.load(order.environment_file, role_arn=order.role_arn)
    if (values.bucket, values.endpoint_url) != (order.bucket, order.endpoint_url):
        raise SettingsError(
            f"the settings lead to s3://{values.bucket} at {values.endpoint_url or 'AWS'}, the coordinator's to "
            f"s3://{order.bucket} at {order.endpoint_url or 'AWS'}: start a worker for this deployment"
        )
    return values


@functools.lru_cache(maxsize=1)
def _migrator(order: Order) -> Migrator:
    """The worker's connections to S3, made once a run."""
    values, tools = _settings(order), plan.load().data_tools
    store = ObjectStore(values, "backfill", connections=order.concurrency)
    return Migrator.for_server(
        values,
        tools,
        store,
        "backfill",
        shared=dict(order.shared),
        dry_run=order.dry_run,
        verify=order.verify,
        repair=order.repair,
    )


def _lock(catalogue: Catalogue, name: str, stopping: threading.Event) -> None:
    """Takes the shard's lock; waits for the database to notice that a lost worker does not hold it any more."""
    deadline = time.monotonic() + _PREDECESSOR_SECONDS
    while not catalogue.lock(name):
        if stopping.wait(_LOOK_SECONDS):
            return  # nothing will be done
        if time.monotonic() > deadline:
            raise CatalogueError(f"the lock {name} is held: look in pg_stat_activity who deltacrown-cutover is")


@contextlib.contextmanager
def _stopping(order: Order) -> Iterator[threading.Event]:
    """An event of this process that follows the run's, which the scheduler keeps."""
    stopping, ended = threading.Event(), threading.Event()
    told = Event(order.run, client=get_client())
    if told.is_set():
        stopping.set()

    def follow() -> None:
        with contextlib.suppress(OSError):  # without a scheduler nobody would hear of the result
            while not ended.is_set() and not told.wait(timeout=_LOOK_SECONDS):
                pass
        stopping.set()

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield stopping
    finally:
        ended.set()
