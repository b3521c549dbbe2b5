"""Brings local copies back: from quarantine by rename, from S3 by a verified download. Rollback depends on it.

It asks for no flag and no approval, overwrites nothing, and may be ended and started again at any moment.
"""

from __future__ import annotations

import errno
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from cutover import local_files
from cutover.local_files import UnsafeNameError
from cutover.object_store import ObjectStoreError
from cutover.retirement import tree
from cutover.retirement.ledger import Ledger
from cutover.retirement.proof import Left, UnprovenError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cutover.catalogue import Catalogue, Certificate, CertificateFile, Selection
    from cutover.object_store import ObjectStore
    from cutover.retirement.download import Downloader
    from cutover.retirement.run import Run

    Owned = tuple[Certificate, CertificateFile]

__all__ = ["FULL", "Restore", "Source", "Summary"]

# What no other file would fare better with: a disk that takes nothing more.
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
_ACCEPTABLE = frozenset({"missing_object", "damaged_object", "occupied", "unsafe_name"})  # causes of the file itself


@dataclass
class Summary:
    """Files brought back from quarantine and from S3, bytes of both; those already there; and what could not be.

    `stopped` is None at the end, else limit, signal, s3 or disk. `only_in_s3` counts purged files that are not back.
    """

    dry_run: bool
    directory: str
    from_quarantine: int = 0
    from_s3: int = 0
    already_local: int = 0
    bytes: int = 0
    errors: list[Left] = field(default_factory=list)
    stopped: str | None = None
    duration_s: float = 0.0
    only_in_s3: int | None = None  # None: was not, or could not be, counted

    @property
    def restored(self) -> int:
        """Files that were brought back."""
        return self.from_quarantine + self.from_s3


@dataclass(frozen=True)
class Source:
    """Where files come from that lie in no quarantine, and the ids of the rows of which nothing is expected there."""

    downloader: Downloader
    store: ObjectStore
    accepted: frozenset[int]

    def judged(self, left: Left) -> Left:
        """What is wrong with a row that is accepted is known; S3 and the disk must have answered for it, though."""
        known = left.certificate_id in self.accepted and left.cause in _ACCEPTABLE
        return replace(left, cause="accepted") if known else left


class Restore:
    """One run; `limit` is in files, None for no limit."""

    def __init__(self, run: Run, *, limit: int | None, dry_run: bool) -> None:
        self._run, self._limit, self._dry_run = run, limit, dry_run
        self._media_root, self._directory = run.settings.media_root, run.directory
        self._failures_in_a_row = 0
        self.summary = Summary(dry_run, str(run.directory))

    def from_quarantine(self, certificate_ids: frozenset[int]) -> None:
        """Renames what lies in quarantine back, of these certificates or (if empty) of all.

        Neither S3 nor the database is asked. A quarantine that is running may move one file more before it stops, so
        all is looked through until nothing more is found.
        """
        known = Ledger(self._directory).put_aside() if certificate_ids else {}
        seen: set[str] = set()
        while True:
            names = [
                name
                for name in local_files.walk(self._directory)
                if name not in seen
                and (not certificate_ids or (name in known and known[name].certificate_id in certificate_ids))
            ]
            if not names:
                return
            seen.update(names)
            moved = []
            for number, name in enumerate(names, 1):
                if self._stops():
                    break
                if self._take_back(name):
                    moved.append(name)
                self._run.progress("files in quarantine", number, len(names))
            tree.synchronise(self._media_root, moved)
            if self.summary.stopped:
                return

    def from_s3(self, catalogue: Catalogue, selection: Selection, source: Source) -> None:
        """Downloads what the table names and the disk has not; what is there is compared, and never overwritten."""
        limits = self._run.limits
        done, total = 0, catalogue.count(selection)
        with ThreadPoolExecutor(limits.concurrency) as threads:
            for page in catalogue.pages(selection, limits.batch_size):
                if self._stops():
                    return
                missing, present, unsafe = self._by_presence(page)
                if self._limit is not None:
                    missing = missing[: self._limit - self.summary.restored]
                brought = list(threads.map(lambda owned: self._bring(source, *owned), missing))
                compared = threads.map(lambda owned: self._compare(source, *owned), present)
                self.summary.errors += [
                    source.judged(outcome) for outcome in (*unsafe, *brought, *compared) if isinstance(outcome, Left)
                ]
                sizes = [outcome for outcome in brought if isinstance(outcome, int)]
                self.summary.from_s3 += len(sizes)
                self.summary.bytes += sum(sizes)
                self.summary.already_local += len(present)
                tree.synchronise(self._media_root, [file.key for _, file in missing])
                done += len(page)
                self._run.progress("certificates", done, total)
        self._stops()  # asked to within the last page, it may have left files out

    def _stops(self) -> bool:
        if self._run.asked.is_set():
            self.summary.stopped = "signal"
        elif self._limit is not None and self.summary.restored >= self._limit:
            self.summary.stopped = "limit"
        return self.summary.stopped is not None

    def _take_back(self, name: str) -> bool:
        """Whether the file was moved."""
        summary = self.summary
        try:
            quarantined = local_files.stamp(self._directory, name)
            local = local_files.sha256(self._media_root, name)
            if quarantined is None:
                return False  # another restore was here
            if local not in {None, local_files.sha256(self._directory, name)}:
                raise tree.OccupiedError(f"{self._media_root / name} has other bytes: look at both, then remove one")
            if not self._dry_run:
                tree.move(self._directory, self._media_root, name, replace=local is not None)
        except FileNotFoundError:
            return False  # another restore was quicker
        except (tree.OccupiedError, UnsafeNameError, OSError) as error:
            summary.errors.append(_left(None, name, error))
            return False
        summary.from_quarantine += 1
        summary.bytes += quarantined.size
        return not self._dry_run

    def _by_presence(self, page: Sequence[Certificate]) -> tuple[list[Owned], list[Owned], list[Left]]:
        """The files of a page that are to be brought, those that are here, and those that nobody can look at."""
        missing: list[Owned] = []
        present: list[Owned] = []
        unsafe: list[Left] = []
        for row in page:
            for file in row.files:
                try:
                    here = local_files.stamp(self._media_root, file.key) is not None
                    # Only a dry run finds files in quarantine now: it has counted them.
                    aside = self._dry_run and local_files.stamp(self._directory, file.key) is not None
                except (UnsafeNameError, OSError) as error:
                    unsafe.append(_left(row.id, file.key, error))
                    continue
                if not aside:
                    (present if here else missing).append((row, file))
        return missing, present, unsafe

    def _bring(self, source: Source, row: Certificate, file: CertificateFile) -> Left | int | None:
        """Bytes of what was brought, why it was not, or None if the run ended before."""
        if self._run.asked.is_set() or self.summary.stopped:
            return None
        try:
            size = source.downloader.size(file) if self._dry_run else source.downloader.fetch(row, file)
        except UnprovenError as error:
            return Left(row.id, file.key, error.cause, str(error))
        except ObjectStoreError as error:
            self._failures_in_a_row += 1
            if self._failures_in_a_row >= self._run.limits.failure_stop.in_a_row:
                self.summary.stopped = "s3"
            return Left(row.id, file.key, error.cause, str(error))
        except (tree.OccupiedError, UnsafeNameError, OSError) as error:
            if isinstance(error, OSError) and error.errno in FULL:
                self.summary.stopped = "disk"
            return _left(row.id, file.key, error)
        self._failures_in_a_row = 0
        return size

    def _compare(self, source: Source, row: Certificate, file: CertificateFile) -> Left | None:
        """What is wrong with a file that is here: nothing if it is as it was issued, or as S3 has it."""
        try:
            local = local_files.sha256(self._media_root, file.key)
            if row.migrated_at is None or (file.is_pdf and local == row.certificate_hash):
                return None
            stored = source.store.sha256(file.key)
        except ObjectStoreError as error:
            return Left(row.id, file.key, error.cause, f"the local file could not be compared: {error}")
        except (UnsafeNameError, OSError) as error:
            return _left(row.id, file.key, error)
        if stored in {None, local}:
            return None
        return Left(row.id, file.key, "occupied", f"the local file has other bytes ({local}) than S3 ({stored})")


def _left(certificate_id: int | None, key: str, error: Exception) -> Left:
    if isinstance(error, tree.OccupiedError):
        return Left(certificate_id, key, "occupied", str(error))
    if isinstance(error, UnsafeNameError):
        return Left(certificate_id, key, "unsafe_name", str(error))
    reason = error.strerror if isinstance(error, OSError) else None
    return Left(certificate_id, key, "cannot_write", reason or str(error))
