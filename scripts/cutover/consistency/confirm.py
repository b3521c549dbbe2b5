"""Suspects looked up in the table again: what traffic explains is none, and what was accepted does not count."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cutover.consistency.suspects import Kind

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from cutover.accepted import Accepted
    from cutover.catalogue import Catalogue, Certificate
    from cutover.consistency.suspects import Suspect, Suspects

__all__ = ["Confirmation"]

# An object is stored before its row is committed, and before a backfill marks it: how long a save may be under way (the
# storage class gives it about a second in S3, and the rest of the application's transaction is as short), or a batch.
SETTLE_SECONDS = 3
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

    def sift(self, suspects: Suspects) -> None:
        """Drops those that are none any more, or are of an accepted row."""
        few = suspects.count(Kind.ORPHANED) <= _MOST_ORPHANS
        self._sift(suspects, [kind for kind in Kind if few or kind is not Kind.ORPHANED])
        settling = [Kind.UNMARKED_PRESENT, Kind.ORPHANED] if few else [Kind.UNMARKED_PRESENT]
        if any(suspects.count(kind) for kind in settling):
            time.sleep(SETTLE_SECONDS)
            self._sift(suspects, settling)

    def _sift(self, suspects: Suspects, kinds: Collection[Kind]) -> None:
        for batch in suspects.batches(kinds):
            still = self._owned(batch) | self._without_owner(batch)
            suspects.drop(batch.keys() - still)

    def _owned(self, batch: Mapping[int, Suspect]) -> set[int]:
        """The numbers of those that have a row, and still are what was seen of it."""
        ids = {suspect.certificate_id for suspect in batch.values() if suspect.certificate_id is not None}
        rows = {row.id: row for row in self.catalogue.by_id(ids)}
        return {
            number
            for number, suspect in batch.items()
            if (row := rows.get(suspect.certificate_id or 0)) is not None and self._still(suspect, row)
        }

    def _still(self, suspect: Suspect, row: Certificate) -> bool:
        if suspect.key not in {file.key for file in row.files} or self.accepted.covers(row):
            return False
        if suspect.kind is Kind.MISSING:
            return row.migrated_at is not None and (self.as_of is None or row.migrated_at <= self.as_of)
        if suspect.kind is Kind.UNMARKED_PRESENT:
            return row.migrated_at is None
        return True

    def _without_owner(self, batch: Mapping[int, Suspect]) -> set[int]:
        """The numbers of the orphans that no row owns; one that came after the table was read is too young to count."""
        orphans = {number: suspect.key for number, suspect in batch.items() if suspect.certificate_id is None}
        rows = self.catalogue.by_keys(orphans.values()) if orphans else []
        owned = {file.key for row in rows for file in row.files}
        return {number for number, key in orphans.items() if key not in owned}
