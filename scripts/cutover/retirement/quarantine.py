"""Puts local copies aside: by rename, out of the served tree, and only with fresh proof of what S3 has."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from cutover import local_files
from cutover.accepted import Accepted
from cutover.catalogue import Selection
from cutover.local_files import ChangedWhileReadError, UnsafeNameError
from cutover.retirement import tree
from cutover.retirement.ledger import Entry, Ledger
from cutover.retirement.proof import Left, Prover
from cutover.retirement.run import all_for_s3

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cutover.catalogue import Catalogue, Certificate
    from cutover.object_store import ObjectStore
    from cutover.retirement.proof import ProvenFile, ProvenRow
    from cutover.retirement.run import Run

__all__ = ["Opening", "Quarantine", "Request", "Summary"]

_IDS_AT_ONCE = 10_000  # rows read at once where only their ids are kept


class Opening(Protocol):
    """When the run may go on."""

    def is_open(self, now: datetime) -> bool:
        """Whether `now`, in local time, is within."""


@dataclass(frozen=True)
class Request:
    """What is to be put aside: at most `limit` certificates (None: all).

    A `sample` is chosen at random from those that the site serves: revoked ones could not be downloaded.
    """

    batch_size: int
    limit: int | None = None
    sample: bool = False
    opening: Opening | None = None
    dry_run: bool = False


@dataclass
class Summary:
    """What was put aside (certificates, their files, bytes), what was left and why.

    `stopped` is None at the end, else limit, window, flag, restore, s3, signal or error.
    """

    dry_run: bool
    directory: str
    certificates: int = 0
    files: int = 0
    bytes: int = 0
    too_young: int = 0  # not marked yet, and younger than the sweep's grace
    not_here: int = 0  # without a file under MEDIA_ROOT: put aside before, or (dry run) proven from S3 alone
    left: list[Left] = field(default_factory=list)
    stopped: str | None = None
    duration_s: float = 0.0
    certificate_ids: list[int] = field(default_factory=list)  # of a sample


class Quarantine:
    """One run over the rows of a catalogue, with proof from a store."""

    def __init__(self, run: Run, request: Request, catalogue: Catalogue, store: ObjectStore) -> None:
        self._run, self._request, self._catalogue = run, request, catalogue
        self._media_root, self._directory = run.settings.media_root, run.directory
        self._ledger = Ledger(run.directory)
        roots = (self._media_root, self._directory)
        self._prover = Prover(store, roots, Accepted(run.settings), catalogue.shared_names())
        self.summary = Summary(request.dry_run, str(run.directory))
        self._grace = timedelta(seconds=run.limits.sweep.grace_seconds)

    def run(self) -> None:
        """Batch by batch into `summary`, until all is done or something asks to stop, between two files."""
        started, summary = time.monotonic(), self.summary
        done, total = 0, self._catalogue.count(Selection(pending=None))
        with ThreadPoolExecutor(self._run.limits.concurrency) as threads:
            summary.stopped = self._reason_to_stop()
            for page in self._pages():
                if summary.stopped:
                    break
                rows = [row for row in page if self._is_wanted(row)][: self._wanted()]
                self._batch(rows, threads)
                done += len(page)
                self._run.progress("certificates", done, total)
                summary.stopped = summary.stopped or self._reason_to_stop()
        summary.duration_s = round(time.monotonic() - started, 3)

    def _pages(self) -> Iterator[Sequence[Certificate]]:
        size = self._request.batch_size
        if not self._request.sample:
            yield from self._catalogue.pages(Selection(pending=None), size)
            return
        marked = self._catalogue.pages(Selection(pending=False, downloadable=True), _IDS_AT_ONCE)
        ids = [row.id for page in marked for row in page]
        random.SystemRandom().shuffle(ids)
        for start in range(0, len(ids), size):
            yield self._catalogue.by_id(ids[start : start + size])

    def _reason_to_stop(self) -> str | None:
        if self._wanted() == 0:
            return "limit"
        opening = self._request.opening
        if opening is not None and not opening.is_open(datetime.now().astimezone()):
            return "window"
        return self._run.reason_to_stop()

    def _wanted(self) -> int:
        """How many certificates the next batch may have."""
        limit = self._request.limit
        return self._request.batch_size if limit is None else limit - self.summary.certificates

    def _is_wanted(self, row: Certificate) -> bool:
        """Whether a file of the row still lies under MEDIA_ROOT, and the sweep has had its time to mark the row."""
        if row.migrated_at is None and datetime.now(UTC) - row.created_at < self._grace:
            self.summary.too_young += 1
            return False
        try:
            if any(local_files.stamp(self._media_root, file.key) for file in row.files):
                return True
            is_aside = all(local_files.stamp(self._directory, file.key) for file in row.files)
        except (UnsafeNameError, OSError):
            return True  # the proof will say what is wrong with it
        self.summary.not_here += is_aside
        return self._request.dry_run and not is_aside  # nothing is to be moved; a dry run still asks for its object

    def _batch(self, rows: Sequence[Certificate], threads: ThreadPoolExecutor) -> None:
        proven, left = self._prover.prove_all(rows, threads)
        self.summary.left += left
        if all_for_s3(len(rows), left):
            self.summary.stopped = "s3"
        if self._request.dry_run:
            self._count(proven)
            return
        now = datetime.now(UTC)
        files = [(one.row.id, file) for one in proven for file in self._here(one)]
        self._ledger.append(
            Entry(at=now, act="quarantine", certificate_id=owner, key=file.key, sha256=file.sha256)
            for owner, file in files
        )
        for one in proven:
            if self.summary.stopped is None:
                self._put_aside(one)
        for root in (self._directory, self._media_root):
            tree.synchronise(root, [file.key for _, file in files])

    def _count(self, proven: Sequence[ProvenRow]) -> None:
        sizes = [file.copies[self._media_root].size for one in proven for file in self._here(one)]
        here = sum(bool(self._here(one)) for one in proven)
        self.summary.certificates += here
        self.summary.not_here += len(proven) - here
        self.summary.files += len(sizes)
        self.summary.bytes += sum(sizes)

    def _here(self, one: ProvenRow) -> list[ProvenFile]:
        return [file for file in one.files if self._media_root in file.copies]

    def _put_aside(self, one: ProvenRow) -> None:
        for file in self._here(one):
            self.summary.stopped = self._run.interruption()
            if self.summary.stopped:
                return
            try:
                self._move(file)
            except (ChangedWhileReadError, UnsafeNameError, FileNotFoundError) as error:
                self.summary.left.append(Left(one.row.id, file.key, "changed_while_read", str(error)))
                return
            except tree.OccupiedError as error:
                self.summary.left.append(Left(one.row.id, file.key, "occupied", f"{error}: run again"))
                return
        self.summary.certificates += 1
        if self._request.sample:
            self.summary.certificate_ids.append(one.row.id)

    def _move(self, file: ProvenFile) -> None:
        proven = file.copies[self._media_root]
        if local_files.stamp(self._media_root, file.key) != proven:
            raise ChangedWhileReadError("it was changed after its proof: run again")
        # A copy that lies there already has been proven to be equal.
        tree.move(self._media_root, self._directory, file.key, replace=self._directory in file.copies)
        self.summary.files += 1
        self.summary.bytes += proven.size
