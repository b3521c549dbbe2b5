"""The ledger of fallback reads: what the storage's METRIC lines count, with what the lines beside them tell.

A fallback is one METRIC line, which says neither file nor cause, and mostly one WARNING with both. The two are brought
together by unit and time; a WARNING that finds no METRIC line is none, because the METRIC lines are what is counted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from cutover.telemetry import STORAGE_LOGGER, LogLine, parse_metric

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from cutover.telemetry import Entry

__all__ = ["Fallback", "Ledger"]

# The two lines are written one after the other by one thread; other threads' lines may stand in between.
_TOGETHER = timedelta(seconds=1)
_WARNING = re.compile(rf"\bWARNING\b.*\b{re.escape(STORAGE_LOGGER)}\b")
_SPEAKS_OF_ONE = re.compile(r"fall(?:s|ing|en)? ?back|fell back|local file is tried", re.IGNORECASE)
_KEY = re.compile(r"\bcertificates/[^,:;'\"]+?\.(?:pdf|png)\b", re.IGNORECASE)
_OPERATION = re.compile(r"\b(?:open|read|get|size|exists|head|url|sign)\b", re.IGNORECASE)
# The drop-in's cause begins with the call of S3 and the file; the site's own wording is whatever stands behind a colon.
_CAUSE = re.compile(r": (?:(?P<operation>get|head|sign|client|settings)(?: .+?)?: )?(?P<cause>\S.*)$")


@dataclass
class Fallback:
    """One fallback: when (UTC) and in which unit it was counted; the rest as far as a line told it."""

    at: datetime
    unit: str
    operation: str | None = None
    key: str | None = None
    cause: str | None = None

    def document(self) -> dict[str, str | None]:
        """The JSON document; the time has its zone."""
        return {
            "at": self.at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "unit": self.unit,
            "operation": self.operation,
            "key": self.key,
            "cause": self.cause,
        }


@dataclass
class _Warning:
    """A WARNING that has not met its METRIC line yet."""

    at: datetime
    line: LogLine


@dataclass
class Ledger:
    """Takes the entries of a journal in their order and keeps the fallbacks of some units.

    Args:
        units: whose entries count.
        metric: the name of the METRIC line that counts fallbacks.
    """

    units: Collection[str]
    metric: str
    fallbacks: list[Fallback] = field(default_factory=list)
    _untold: dict[str, list[Fallback]] = field(default_factory=dict)
    _waiting: dict[str, list[_Warning]] = field(default_factory=dict)

    def add(self, entry: Entry) -> None:
        """Takes one entry."""
        if entry.unit not in self.units:
            return
        found = parse_metric(entry.message)
        line = LogLine.of(entry.message)
        if found is not None and found[0] == self.metric:
            for _ in range(round(found[1])):
                self._count(entry, line.tags)
        elif _WARNING.search(line.text) and _SPEAKS_OF_ONE.search(line.text):
            self._tell(entry, line)

    def _count(self, entry: Entry, tags: Mapping[str, object]) -> None:
        fallback = Fallback(
            entry.at,
            entry.unit,
            operation=_told(tags, "operation"),
            key=_told(tags, "key"),
            cause=_told(tags, "error") or _told(tags, "cause"),
        )
        self.fallbacks.append(fallback)
        waiting = self._waiting.setdefault(entry.unit, [])
        waiting[:] = [warning for warning in waiting if entry.at - warning.at <= _TOGETHER]
        if waiting:
            _explain(fallback, waiting.pop().line)
        else:
            self._untold.setdefault(entry.unit, []).append(fallback)

    def _tell(self, entry: Entry, line: LogLine) -> None:
        untold = self._untold.setdefault(entry.unit, [])
        untold[:] = [fallback for fallback in untold if entry.at - fallback.at <= _TOGETHER]
        if untold:
            _explain(untold.pop(), line)
        else:
            self._waiting.setdefault(entry.unit, []).append(_Warning(entry.at, line))


def _explain(fallback: Fallback, line: LogLine) -> None:
    """Adds what a WARNING tells: a whole cause, where tags have a word; operation and key unless tags told them."""
    text = line.text.partition(STORAGE_LOGGER)[2]
    cause, key = _CAUSE.search(text), _KEY.search(text)
    operation = (cause and cause["operation"]) or _first(_OPERATION.search(text[: cause.start()] if cause else text))
    fallback.operation = fallback.operation or (operation.lower() if operation else None)
    fallback.key = fallback.key or _first(key)
    fallback.cause = (cause["cause"] if cause else None) or fallback.cause


def _first(found: re.Match[str] | None) -> str | None:
    return found[0] if found else None


def _told(tags: Mapping[str, object], name: str) -> str | None:
    value = tags.get(name)
    return value if isinstance(value, str) and value else None
