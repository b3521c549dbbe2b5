"""Suspects looked up in the table again: what traffic explains is none, and what was accepted does not count."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from cutover.consistency.merge import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from cutover.accepted import Accepted
    from cutover.catalogue import Catalogue, Certificate
    from cutover.consistency.merge import Suspect

__all__ = ["Confirmation"]

# An object is stored before its row is committed, and before a backfill marks it: how long a save may be under way (the
# storage class gives it about a second in S3, and the rest of the application's transaction is as short), or a batch.
SETTLE_SECONDS = 3
_BATCH = 1000  # suspects looked up at once
_MOST_ORPHANS = 10_000  # so many are no traffic, and the table has no index by name


@dataclass(frozen=True)
class Confirmation:
    """Asks the table about suspects.

    Args:
        catalogue: the table.
        accepted: the accepted rows.
        as_of: a mark of after this is newer than the listing; None if the listing is fresh.
    """

    catalogue: Catalogue
    accepted: Accepted
    as_of: datetime | None

    def of(self, suspects: Sequence[Suspect]) -> list[Suspect]:
        """The suspects that still are, of no accepted row."""
        found = list(self._of_rows([suspect for suspect in suspects if suspect.certificate_id is not None]))
        orphans = [suspect for suspect in suspects if suspect.certificate_id is None]
        few = len(orphans) <= _MOST_ORPHANS
        if few:
            orphans = self._without_owner(orphans)
        unmarked = any(suspect.kind is Kind.UNMARKED_PRESENT for suspect in found)
        if unmarked or (few and orphans):
            time.sleep(SETTLE_SECONDS)
            found = list(self._of_rows(found)) if unmarked else found
            orphans = self._without_owner(orphans) if few else orphans
        return found + orphans

    def _of_rows(self, suspects: Sequence[Suspect]) -> Iterator[Suspect]:
        for batch in _batches(suspects):
            ids = {suspect.certificate_id for suspect in batch if suspect.certificate_id is not None}
            rows = {row.id: row for row in self.catalogue.by_id(ids)}
            for suspect in batch:
                row = rows.get(suspect.certificate_id or 0)
                if row is not None and self._still(suspect, row):
                    yield suspect

    def _still(self, suspect: Suspect, row: Certificate) -> bool:
        if suspect.key not in {file.key for file in row.files} or self.accepted.covers(row):
            return False
        if suspect.kind is Kind.MISSING:
            return row.migrated_at is not None and (self.as_of is None or row.migrated_at <= self.as_of)
        if suspect.kind is Kind.UNMARKED_PRESENT:
            return row.migrated_at is None
        return True

    def _without_owner(self, orphans: Sequence[Suspect]) -> list[Suspect]:
        """Those that no row owns; a row that came after the table was read is too young to be marked."""
        left = []
        for batch in _batches(orphans):
            rows = self.catalogue.by_keys([suspect.key for suspect in batch])
            owned = {file.key for row in rows for file in row.files}
            left += [suspect for suspect in batch if suspect.key not in owned]
        return left


def _batches(suspects: Sequence[Suspect]) -> Iterator[list[Suspect]]:
    left = iter(suspects)
    while batch := list(islice(left, _BATCH)):
        yield batch
