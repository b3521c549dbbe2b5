"""A backfill spread over the workers of a Dask scheduler: cut into shards, kept short of work, told as one run."""

# mypy: untyped-calls-exclude=distributed
# (its annotations are not complete)

from __future__ import annotations

import contextlib
import logging
import queue
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from distributed import Client, Event

from cutover.backfill import shard
from cutover.backfill.errors import SchedulerError
from cutover.backfill.run import Batch
from cutover.backfill.shard import Order, Shard
from cutover.catalogue import CatalogueError, LockLostError
from cutover.settings import SettingsError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from distributed import Future

    from cutover.backfill.run import Run
    from cutover.backfill.shard import Result
    from cutover.catalogue import Certificate
    from cutover.data_tool_table import Scheduler
    from cutover.settings import Settings

__all__ = ["Spread"]

_ANSWER_SECONDS = 5.0  # how long the scheduler may take to answer at the start
_SHARDS_A_THREAD = 2  # one runs, one waits; what is submitted cannot be held back any more
_LOOK_SECONDS = 0.2  # how late a signal may be noticed
_WORKERS_SECONDS = 2.0  # between two looks at how many workers there are
_NO_WORKER_SECONDS = 60.0  # how long a scheduler without workers is borne with
_LAST_SHARDS_SECONDS = 30.0  # how long shards may take that were told to stop; each gives its uploads 10 s


class _Cut(NamedTuple):
    """A shard that is submitted."""

    number: int
    rows: list[Certificate]


class Spread:
    """Executes a run on the workers of a scheduler; the run's `report` is told of each shard as of a batch."""

    def __init__(self, options: argparse.Namespace, settings: Settings, limits: Scheduler, run: Run) -> None:
        self._address: str = options.scheduler
        self._order = Order.of(run, settings, verify=options.verify_hash, repair=options.repair)
        self._limits, self._run = limits, run
        self._in_flight: dict[Future[Result], _Cut] = {}
        self._finished: queue.SimpleQueue[Future[Result]] = queue.SimpleQueue()
        self._open: dict[int, int] = {}  # of each shard that is not done, in their order, the first id to do
        self._end = 0  # the id behind the last shard
        self._lost: list[str] = []  # ids of the shards that failed

    def execute(self) -> None:
        """Runs to the end. What was verified is marked, however the run ends; the summary says where to go on.

        Raises:
            SettingsError: a worker cannot take part, so nothing was begun; the sentence has its address.
            SchedulerError: the scheduler or all workers are gone, or some shards failed in all their attempts.
            CatalogueError: the database stayed away.
        """
        run = self._run
        run.summary.next_id = run.selection.start_id
        with _connected(self._address, self._order) as cluster:
            cluster.refuse_unfit()
            try:
                self._submit(cluster)
            except LockLostError as error:
                run.summary.stop("lock", str(error))
            except CatalogueError:
                cluster.tell()
                self._drain(cluster)
                raise
            self._drain(cluster)
        if self._lost:
            raise SchedulerError(f"failed: certificates {', '.join(self._lost)}: see above, then go on by the token")

    def _submit(self, cluster: _Cluster) -> None:
        """Submits shard after shard, as fast as they are done, until the rows end or the run must stop."""
        run = self._run

        def ended() -> bool:
            self._merge_finished()
            return run.stopping.is_set() or run.summary.stopped is not None

        for number, rows in enumerate(run.catalogue.pages(run.selection, self._limits.shard_size), start=1):
            while not ended() and len(self._in_flight) >= _SHARDS_A_THREAD * cluster.threads():
                self._merge_next()
            if not run.may_start(len(rows), ended):
                return
            future = cluster.submit(number, rows, self._limits.attempts)
            self._in_flight[future] = _Cut(number, rows)
            self._open[number], self._end = rows[0].id, rows[-1].id + 1
            future.add_done_callback(self._finished.put)

    def _drain(self, cluster: _Cluster) -> None:
        """Merges what is under way; once the run must stop, its shards are told, and are not waited for for ever."""
        while self._in_flight and not cluster.overdue():
            if self._run.stopping.is_set():
                self._run.summary.stop("signal", "interrupted")
            if self._run.summary.stopped:
                cluster.tell()
            cluster.threads()
            self._merge_next()
        if not self._in_flight:
            cluster.forget()

    def _merge_next(self) -> None:
        with contextlib.suppress(queue.Empty):
            self._merge(self._finished.get(timeout=_LOOK_SECONDS))

    def _merge_finished(self) -> None:
        while not self._finished.empty():
            self._merge(self._finished.get())

    def _merge(self, future: Future[Result]) -> None:
        """Adds a shard to the summary, or says that it failed."""
        cut = self._in_flight.pop(future)
        if future.cancelled():
            raise SchedulerError(f"{self._address}: the scheduler went away: start it, and go on by the resume token")
        if error := future.exception():
            self._lost.append(f"{cut.rows[0].id}-{cut.rows[-1].id}")
            print(f"cutover: certificates {self._lost[-1]} failed in all attempts: {error}", file=sys.stderr)
            return
        summary, result = self._run.summary, future.result()
        part = result.summary
        for name in ("migrated", "failed", "objects_uploaded", "objects_already_equal", "bytes", "causes"):
            setattr(summary, name, getattr(summary, name) + getattr(part, name))
        summary.errors += part.errors[: max(0, summary.most_listed - len(summary.errors))]
        summary.last_id = max(summary.last_id, part.last_id)
        summary.errors.sort(key=lambda problem: problem.certificate_id)
        if part.stopped is not None and part.reason is not None:
            summary.stop(part.stopped, part.reason)
        self._open[cut.number] = part.next_id
        if result.whole:
            del self._open[cut.number]
        summary.next_id = next(iter(self._open.values()), self._end)
        self._run.tell(Batch(cut.number, cut.rows, [], result.outcomes))


class _Cluster:
    """The scheduler and its workers during one run."""

    def __init__(self, client: Client, address: str, order: Order) -> None:
        self._client, self._address, self._order = client, address, order
        self._event = Event(order.run, client)
        self._told_at: float | None = None
        self._threads, self._counted_at, self._seen_at = 0, -_WORKERS_SECONDS, time.monotonic()

    def refuse_unfit(self) -> None:
        """Raises SettingsError, which names each worker that cannot take part, or SchedulerError if there is none."""
        with _sentence(self._address):
            found = self._client.run(shard.unfit, self._order, on_error="return")
        if not found:
            raise SchedulerError(f"{self._address}: the scheduler has no workers: start `dask worker` on the machines")
        unfit = [f"worker {worker}: {reason}" for worker, reason in found.items() if reason is not None]
        if unfit:
            raise SettingsError("; ".join(unfit))

    def threads(self) -> int:
        """How many shards run at once, as of two seconds ago at most; SchedulerError if there were none for long."""
        now = time.monotonic()
        if now >= self._counted_at + _WORKERS_SECONDS:
            with _sentence(self._address):
                self._threads, self._counted_at = sum(self._client.nthreads().values()), now
        if self._threads:
            self._seen_at = now
        elif now > self._seen_at + _NO_WORKER_SECONDS:
            raise SchedulerError(f"{self._address}: no worker is left: start some, and go on by the resume token")
        return self._threads

    def submit(self, number: int, rows: list[Certificate], attempts: int) -> Future[Result]:
        """Hands a shard over; Dask gives it to another worker when its own is lost."""
        work = Shard(tuple(row.id for row in rows), rows[0].created_at)
        return self._client.submit(
            shard.run, self._order, work, key=f"{self._order.run}-{number}", retries=attempts - 1, pure=False
        )

    def tell(self) -> None:
        """Tells all shards to stop, those that have not begun, too."""
        if self._told_at is None:
            self._told_at = time.monotonic()
            with _sentence(self._address):
                self._event.set()

    def overdue(self) -> bool:
        """Whether the shards that were told have taken too long."""
        return self._told_at is not None and time.monotonic() > self._told_at + _LAST_SHARDS_SECONDS

    def forget(self) -> None:
        """Leaves nothing of the run with the scheduler."""
        with _sentence(self._address):
            self._event.clear()


@contextlib.contextmanager
def _connected(address: str, order: Order) -> Iterator[_Cluster]:
    logging.disable()  # for good: Dask tells of each lost connection in a traceback, and raises what matters
    with _sentence(address):
        client = Client(address, timeout=_ANSWER_SECONDS, set_as_default=False)
    with client:
        cluster = _Cluster(client, address, order)
        try:
            yield cluster
        except BaseException:
            with contextlib.suppress(SchedulerError):  # which is then what is on its way already
                cluster.tell()
            raise


@contextlib.contextmanager
def _sentence(address: str) -> Iterator[None]:
    try:
        yield
    except (OSError, MemoryError) as error:  # what is no scheduler seems to announce exabytes
        raise SchedulerError(f"{address}: the scheduler does not answer ({error}): look whether it runs") from error
