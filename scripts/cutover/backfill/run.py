"""A run of the backfill: batch after batch until the rows end or something stops it."""

from __future__ import annotations

import concurrent.futures
import time
from collections import Counter, deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from cutover.backfill import token
from cutover.backfill.failure_stop import DiskStop
from cutover.catalogue import CatalogueError, LockLostError, Selection
from cutover.local_files import UnreadableFileError
from cutover.migration import Problem

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Sequence

    from cutover.backfill.failure_stop import FailureStop
    from cutover.backfill.pace import Pace
    from cutover.catalogue import Catalogue, Certificate
    from cutover.control import Control
    from cutover.migration import Migrator, Outcome

__all__ = ["Batch", "Run", "Stopped", "Summary"]

Stopped = Literal["failures", "flag", "signal", "lock"]
_IN_FLIGHT = 2  # batches: the second uploads while the slowest of the first is waited for
_SIGNAL_SECONDS = 0.2  # how late a signal may be noticed
_LAST_UPLOADS_SECONDS = 10.0  # how long what is under way may take after a signal, in all
_ROW_CHANGED = "the row was changed or deleted while its files were stored, so it is not marked: run again"


@dataclass
class Summary:
    """What a run did so far. `bytes` are those uploaded; `duration_s` is in seconds.

    All errors are counted, by their causes; the first `most_listed` are kept.
    """

    dry_run: bool
    start_id: int
    most_listed: int
    migrated: int = 0
    already_migrated: int = 0
    accepted: int = 0  # certificates that were passed by because they are accepted as not migrated
    objects_uploaded: int = 0
    objects_already_equal: int = 0
    bytes: int = 0
    errors: list[Problem] = field(default_factory=list)
    causes: Counter[str] = field(default_factory=Counter)
    failed: int = 0  # certificates with at least one error
    stopped: Stopped | None = None
    reason: str | None = None  # of the stop, for people
    next_id: int = 0
    last_id: int = -1  # of the certificates that were dealt with
    started: float = field(default_factory=time.monotonic)

    @property
    def done(self) -> int:
        """Certificates that were dealt with, whatever became of them."""
        return self.migrated + self.failed

    @property
    def found(self) -> int:
        """Certificates that the run has met, the migrated ones that it passed included."""
        return self.done + self.already_migrated

    @property
    def duration_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    @property
    def resume_token(self) -> str:
        """Where to go on: the first id that is not done."""
        return token.encode(self.next_id)

    def add_errors(self, problems: Sequence[Problem]) -> None:
        """Counts errors, and keeps them while there is room."""
        self.causes.update(problem.cause for problem in problems)
        self.errors += problems[: max(0, self.most_listed - len(self.errors))]

    @property
    def errors_left_out(self) -> Counter[str]:
        """Errors that are counted, and not kept, by cause."""
        return self.causes - Counter(problem.cause for problem in self.errors)

    def stop(self, stopped: Stopped, reason: str) -> None:
        """Says that the run must end, and why; the first reason stands."""
        if self.stopped is None:
            self.stopped, self.reason = stopped, reason


@dataclass
class Batch:
    """A batch in flight, or done."""

    number: int
    rows: list[Certificate]
    futures: list[Future[Outcome]]
    outcomes: list[Outcome] = field(default_factory=list)


@dataclass
class Run:
    """One run. `stopping` is set by signals; `may_run` reads the kill switch; `report` is told of each batch."""

    catalogue: Catalogue
    selection: Selection
    migrator: Migrator
    failure_stop: FailureStop
    summary: Summary
    control: Control | None  # None in a dry run, which nobody needs to pause
    may_run: Callable[[], bool]
    stopping: threading.Event
    report: Callable[[Batch, Summary], None]
    batch_size: int
    concurrency: int
    pace: Pace | None = None  # cool-downs, which need `control`
    complete: bool = True  # nothing has been met yet that another attempt could mend
    unreadable: UnreadableFileError | None = None  # how the disk showed that it is away, which ends the run
    _in_flight: deque[Batch] = field(default_factory=deque)
    _left: float = _LAST_UPLOADS_SECONDS
    _disk_stop: DiskStop = field(init=False)

    def execute(self) -> None:
        """Runs to the end. What was verified is marked, however the run ends; the summary says where to go on.

        Raises:
            CatalogueError: the database stayed away; the summary stands as of the last batch that was marked.
            UnreadableFileError: the disk is away; the token is not past what it did not give.
        """
        self.summary.next_id = self.selection.start_id
        self._disk_stop = DiskStop(self.failure_stop.limits.in_a_row, self._has_others)
        pool = ThreadPoolExecutor(self.concurrency, thread_name_prefix="upload")
        try:
            for batch in self._started(pool):
                self._in_flight.append(batch)
                if len(self._in_flight) == _IN_FLIGHT:
                    self._finish(self._in_flight.popleft())
                if self.summary.stopped or self.unreadable:
                    break
            while self._in_flight:
                self._finish(self._in_flight.popleft())
            if self.stopping.is_set():
                self.summary.stop("signal", "interrupted")
            if self.unreadable:
                raise self.unreadable
        except LockLostError as error:
            self.summary.stop("lock", str(error))
        finally:
            for batch in self._in_flight:
                _cancel(batch)
            pool.shutdown(wait=not self.stopping.is_set(), cancel_futures=True)

    def _started(self, pool: ThreadPoolExecutor) -> Iterator[Batch]:
        for number, page in enumerate(self.catalogue.pages(self.selection, self._next_batch_size), start=1):
            rows = page
            if self.pace is not None and self.pace.is_due:
                self._cool_down(self.pace)
                rows = self._as_they_are_now(page)
            if not self.may_start(len(rows), self._ended):
                return
            if self.pace is not None:
                self.pace.begun += len(page)
            if rows:
                yield Batch(number, rows, [pool.submit(self.migrator.migrate, row) for row in rows])

    def _next_batch_size(self) -> int:
        return self.batch_size if self.pace is None else self.pace.batch_size(self.batch_size)

    def _cool_down(self, pace: Pace) -> None:
        """Waits until nothing is under way any more, and then for the cool-down, or until the run must end."""
        while self._in_flight:
            self._finish(self._in_flight.popleft())
        if self.control is None or self._ended():
            return
        pace.cooled += 1
        until, began = self.control.cool_down(pace.cooldown_seconds), time.monotonic()
        pace.tell(f"Cooling down after {pace.begun} certificates until {until}")
        self.may_start(0, self._ended)
        pace.waited += time.monotonic() - began

    def _as_they_are_now(self, rows: list[Certificate]) -> list[Certificate]:
        """These rows without those that were removed, or marked by the sweep, in the minutes of a cool-down."""
        now = self.catalogue.by_id([row.id for row in rows])
        return [row for row in now if self.selection.pending is None or row.migrated_at is None]

    def _ended(self) -> bool:
        """Whether a signal or a finished batch ends the run; a batch that is done need not wait for the next one."""
        while self._in_flight and all(future.done() for future in self._in_flight[0].futures):
            self._finish(self._in_flight.popleft())
        return self.stopping.is_set() or self.summary.stopped is not None or self.unreadable is not None

    def may_start(self, rows: int, ended: Callable[[], bool]) -> bool:
        """Whether the next `rows` may be begun, by kill switch, orders and signals; the summary says why not.

        Waits while the run is paused or held back; whether it has `ended` or was switched off is asked every second
        meanwhile, and once more before the rows are begun.
        """

        def halted() -> bool:
            if ended():
                return True
            if not self.may_run():
                self.summary.stop("flag", "the backfill's flag was turned off")
            return self.summary.stopped is not None

        begins = self.control.before_batch(rows, halted) if self.control else not halted()
        if not begins and self.unreadable is None:
            self.summary.stop("signal", "interrupted" if self.stopping.is_set() else "aborted by `cutover abort`")
        return begins

    def tell(self, batch: Batch) -> None:
        """Reports a batch that is done, and counted."""
        self.report(batch, self.summary)
        if self.control:
            rate = self.summary.done / max(self.summary.duration_s, 0.001)
            self.control.report(batch=batch.number, token=self.summary.resume_token, rate=rate)

    def _finish(self, batch: Batch) -> None:
        """Waits for a batch, marks what is verified, and counts."""
        found = self._collect(batch)
        whole = [outcome.row for outcome in batch.outcomes if not outcome.problems]
        try:
            marked = {row.id for row in whole} if self.summary.dry_run else self.catalogue.mark(whole)
        except CatalogueError as error:
            for met in batch.outcomes:
                self._count(met, Problem(met.row.id, None, "database", f"verified, not marked: {error}"))
            raise
        for row, outcome in zip(batch.rows, found, strict=True):
            unmarked = None if row.id in marked else Problem(row.id, None, "changed_while_read", _ROW_CHANGED)
            done = outcome is not None and self._count(outcome, unmarked)
            self.complete = self.complete and done
            if self.complete:
                self.summary.next_id = row.id + 1
        self.tell(batch)

    def _collect(self, batch: Batch) -> list[Outcome | None]:
        """The outcomes in the order of the rows; once the run must stop, None for what had not begun."""
        found = []
        for future in batch.futures:
            outcome = self._awaited(batch, future)
            found.append(outcome)
            if outcome is None:
                continue
            batch.outcomes.append(outcome)
            reason = self.failure_stop.reason(outcome)
            if reason:
                self.summary.stop("failures", reason)
            if away := self._disk_stop.reason(outcome):
                self.unreadable = self.unreadable or UnreadableFileError(away)
                if self._disk_stop.all_lost:  # which is said of the rows before, too, and proves nothing of them
                    self.complete, self.summary.next_id = False, self.selection.start_id
        return found

    def _has_others(self, count: int) -> bool:
        """Whether the disk has a file of so many certificates of the whole table, drawn by chance."""
        drawn = self.catalogue.drawn(Selection(pending=None), count, seed=0)
        return any(self.migrator.has_local(row) for row in drawn)

    def _awaited(self, batch: Batch, future: Future[Outcome]) -> Outcome | None:
        while True:
            if self.stopping.is_set():
                self.summary.stop("signal", "interrupted")
            if self.summary.stopped or self.unreadable:
                _cancel(batch)
            if not future.done():
                concurrent.futures.wait([future], timeout=_SIGNAL_SECONDS)
            if future.done():
                return None if future.cancelled() else self._outcome(future)
            if self.stopping.is_set():
                self._left -= _SIGNAL_SECONDS
                if self._left < 0:
                    return None

    def _outcome(self, future: Future[Outcome]) -> Outcome | None:
        """What became of a row; None, as of one that was never begun, if the disk is away."""
        try:
            return future.result()
        except UnreadableFileError as error:
            self.unreadable = self.unreadable or error
            return None

    def _count(self, outcome: Outcome, unmarked: Problem | None) -> bool:
        """Adds a row to the summary; `unmarked` says why it has no mark. Whether another attempt would be no use."""
        summary = self.summary
        summary.last_id = outcome.row.id
        uploaded = [stored for stored in outcome.stored if stored.uploaded]
        summary.objects_uploaded += len(uploaded)
        summary.objects_already_equal += len(outcome.stored) - len(uploaded)
        summary.bytes += sum(stored.size for stored in uploaded)
        problems = outcome.problems or ((unmarked,) if unmarked else ())
        summary.add_errors(problems)
        summary.failed += bool(problems)
        summary.migrated += not problems
        return all(problem.is_lasting for problem in problems)


def _cancel(batch: Batch) -> None:
    for future in batch.futures:
        future.cancel()
