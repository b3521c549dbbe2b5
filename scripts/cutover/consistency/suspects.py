"""What disagreed, however much it is: on disk, for of a wrong bucket's million keys each one is missing."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from cutover.consistency.errors import ConsistencyError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from types import TracebackType

__all__ = ["Kind", "Suspect", "Suspects", "Witnesses"]

_BATCH = 1000  # read at once
Witnesses = dict[str, str | int | list[int] | None]


class Kind(StrEnum):
    """How table and bucket can disagree on a key."""

    MISSING = "missing"
    ORPHANED = "orphaned"
    DIFFERENT = "different"
    UNMARKED_PRESENT = "unmarked_present"


@dataclass(frozen=True, slots=True)
class Suspect:
    """A key on which table and bucket disagreed when they were read; `disagrees` names the witnesses in doubt."""

    kind: Kind
    key: str
    certificate_id: int | None = None
    witnesses: Witnesses = field(default_factory=dict)
    disagrees: tuple[str, ...] = ()


class Suspects:
    """Suspects in the order in which they came; a temporary file holds them. Not for several threads at once."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)  # a file without a name, which goes with it
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("CREATE TABLE suspects (number INTEGER PRIMARY KEY, kind, key, owner, said, disagrees)")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def add(self, suspect: Suspect) -> None:
        """Adds one; ConsistencyError if there is no room for it."""
        witnesses, disagrees = json.dumps(suspect.witnesses), json.dumps(suspect.disagrees)
        values = (suspect.kind, suspect.key, suspect.certificate_id, witnesses, disagrees)
        try:
            self._database.execute("INSERT INTO suspects VALUES (NULL, ?, ?, ?, ?, ?)", values)
        except sqlite3.OperationalError as error:
            raise ConsistencyError(
                f"what disagrees cannot be noted in a temporary file ({error}): free the disk, or name another TMPDIR"
            ) from error

    def batches(self, kinds: Collection[Kind]) -> Iterator[dict[int, Suspect]]:
        """All of these kinds by their numbers, a thousand at a time; what was given may be dropped meanwhile."""
        wanted, last = json.dumps(list(kinds)), 0
        while batch := self._rows("kind IN (SELECT value FROM json_each(?)) AND number > ?", wanted, last, _BATCH):
            yield batch
            last = max(batch)

    def drop(self, numbers: Iterable[int]) -> None:
        """Forgets those that are none after all."""
        self._database.executemany("DELETE FROM suspects WHERE number = ?", [(number,) for number in numbers])

    def first(self, kind: Kind, most: int) -> list[Suspect]:
        """The first keys of a kind, `most` at most."""
        keys = "SELECT key FROM suspects WHERE kind = ? GROUP BY key ORDER BY min(number) LIMIT ?"
        return one_a_key(self._rows(f"key IN ({keys}) AND kind = ?", kind, most, kind, -1).values())

    def count(self, kind: Kind) -> int:
        """How many keys are suspect in this way."""
        return self._number("SELECT count(DISTINCT key) FROM suspects WHERE kind = ?", kind)

    def keys(self) -> int:
        """How many keys are suspect, in whatever ways."""
        return self._number("SELECT count(DISTINCT key) FROM suspects")

    def _number(self, query: str, *values: str) -> int:
        return int(self._database.execute(query, values).fetchone()[0])

    def _rows(self, condition: str, *values: str | int) -> dict[int, Suspect]:
        """Those of which the condition holds, by their numbers; the last value is how many at most (-1: all)."""
        query = f"SELECT * FROM suspects WHERE {condition} ORDER BY number LIMIT ?"  # noqa: S608 - of this class alone
        return {
            number: Suspect(Kind(kind), key, owner, json.loads(said), tuple(json.loads(disagrees)))
            for number, kind, key, owner, said, disagrees in self._database.execute(query, values)
        }


def one_a_key(findings: Iterable[Suspect]) -> list[Suspect]:
    """The findings, those of one kind and key as one, which has what all their witnesses said: sizes, hashes, owners.

    Of two the later one says who is in doubt: hashes, which come last, name the wrong copy, and sizes do not.
    """
    merged: dict[tuple[Kind, str], Suspect] = {}
    for finding in findings:
        earlier = merged.get((finding.kind, finding.key))
        said = finding.witnesses
        if earlier is not None:
            said = said | earlier.witnesses | said  # in this order, and with its own words where both have some
        merged[finding.kind, finding.key] = replace(finding, witnesses=said)
    return list(merged.values())
