"""Every key of table and bucket, judged by what both say of it."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cutover.consistency.sample import SampledFile
from cutover.consistency.streams import pairs
from cutover.consistency.suspects import Kind, Suspect

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from cutover.catalogue import CatalogueKey
    from cutover.consistency.sample import Sampler
    from cutover.consistency.suspects import Suspects, Witnesses
    from cutover.object_store import ListedObject

__all__ = ["UNKNOWN_SIZE", "Merge"]

UNKNOWN_SIZE = -1  # of an object, in a listing that has no sizes
_TOLD_EVERY = 10_000  # keys between two words on how far it is


@dataclass
class Merge:
    """Counts of keys; those that are suspect are added to `suspects`.

    Args of the constructor are what the judgement needs: where local files are, the time before which an unmarked row
    must have been swept, the time after which the listing says nothing of a row (None: it is fresh), and who draws
    the sample (None: nobody).
    """

    suspects: Suspects
    media_root: str
    swept_before: datetime
    as_of: datetime | None = None
    sampler: Sampler | None = None
    objects: int = 0
    absent: int = 0  # files of the table without object
    agreed: int = 0  # marked and there
    pending: int = 0  # not marked and not there
    pending_old: int = 0  # of these, older than the sweep's grace
    not_judged: int = 0  # not there, and newer than the listing
    without_local: int = 0  # there, and no local file

    @property
    def keys(self) -> int:
        """Keys of table and bucket together, each once."""
        return self.objects + self.absent

    def run(self, rows: Iterable[CatalogueKey], objects: Iterator[ListedObject]) -> Iterator[int]:
        """Judges every key; gives the number of keys so far now and then. Both are sorted by the keys' UTF-8 bytes.

        Raises:
            ConsistencyError: one of them is not sorted.
        """
        last: CatalogueKey | None = None
        for number, (row, found) in enumerate(pairs(rows, objects), start=1):
            if row is None:
                self._orphan(found)
            elif last is not None and row.key == last.key:
                self._duplicate(row, last)
            elif found is None:
                self._absent(row)
            else:
                self._present(row, found)
            last = row or last
            if number % _TOLD_EVERY == 0:
                yield self.keys

    def _orphan(self, found: ListedObject | None) -> None:
        if found is not None and not (found.size == 0 and found.key.endswith("/")):  # a "folder" made in the console
            self.objects += 1
            self.suspects.add(Suspect(Kind.ORPHANED, found.key))

    def _duplicate(self, row: CatalogueKey, other: CatalogueKey) -> None:
        """Two rows own one name: at most one of them can have its own file."""
        owners: Witnesses = {"certificate_ids": [other.certificate_id, row.certificate_id]}
        self.suspects.add(Suspect(Kind.DIFFERENT, row.key, row.certificate_id, owners, ("certificate_ids",)))

    def _absent(self, row: CatalogueKey) -> None:
        self.absent += 1
        if self.as_of is not None and row.created_at > self.as_of:
            self.not_judged += 1
        elif row.marked:
            self.suspects.add(Suspect(Kind.MISSING, row.key, row.certificate_id))
        else:
            self.pending += 1
            self.pending_old += row.created_at < self.swept_before

    def _present(self, row: CatalogueKey, found: ListedObject) -> None:
        self.objects += 1
        if row.marked:
            self.agreed += 1
        elif row.created_at < self.swept_before:
            self.suspects.add(Suspect(Kind.UNMARKED_PRESENT, row.key, row.certificate_id))
        local = local_size(self.media_root, row.key)
        self.without_local += local is None
        # A certificate is never empty, so that an empty object is wrong even where no local file says so.
        size = found.size
        wrong = size == 0 or (local is not None and size not in (local, UNKNOWN_SIZE))
        if wrong:
            sizes: Witnesses = {"local_bytes": local, "s3_bytes": size}
            doubtful = ("s3",) if local is None else ("local", "s3")
            self.suspects.add(Suspect(Kind.DIFFERENT, row.key, row.certificate_id, sizes, doubtful))
        if self.sampler is not None:
            file = SampledFile(row.key, row.certificate_id, row.is_pdf, row.certificate_hash)
            (self.sampler.take if wrong else self.sampler.offer)(file)  # the hashes tell which copy is the wrong one


def local_size(media_root: str, key: str) -> int | None:
    """Bytes of a local file, -1 if it is no plain file, None if there is none.

    No file is opened: the safe way through the folders costs ten times as much, and the sample goes it.

    Raises:
        OSError: the file system does not answer.
    """
    try:
        status = os.lstat(f"{media_root}/{key}")
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else -1
