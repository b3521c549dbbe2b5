"""The application's METRIC lines in a unit's journal, turned into counts.

The journal knows the unit, the process and UTC; the application's own lines know neither zone nor worker. So lines
are read as `journalctl -o json` gives them, and only their message is parsed.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = [
    "STORAGE_LOGGER",
    "Entry",
    "LogLine",
    "TelemetryError",
    "WorkerCounts",
    "after_mark",
    "count",
    "entries",
    "measurement_line",
    "metric_line",
    "parse_metric",
]

STORAGE_LOGGER = "apps.tournaments.storage"  # of the application's storage and of the drop-in's
# One form serves the console layout ("INFO <time> <logger> METRIC: …") and the file layout, which has module, process
# and thread in between: the metric is the end of the line in both.
_METRIC = re.compile(r"METRIC: (?P<name>[a-z0-9_.]+)=(?P<value>-?\d+(?:\.\d+)?)(?:\s|$)")
_SERVER_ERROR = re.compile(r"\bERROR\b.*\bdjango\.request\b.*\bInternal Server Error: ")
_ANSWERED_500 = re.compile(r"\(HTTP/[\d.]+ 5\d\d\)")
_COMPLAINT = re.compile(rf"\b(?:WARNING|ERROR)\b.*\b{re.escape(STORAGE_LOGGER)}\b")
_SUPPRESSED = re.compile(r"Suppressed \d+ messages from ")


class TelemetryError(ValueError):
    """The journal cannot be counted: lines are missing, or are not what journalctl prints."""


@dataclass(frozen=True)
class Entry:
    """An entry of the journal: the unit that wrote it, its text, and when journald took it (UTC)."""

    unit: str
    message: str
    at: datetime
    cursor: str
    boot: str


@dataclass(frozen=True)
class LogLine:
    """A log message as the console layout would have it, with what only the JSON layout tells: the metric's tags."""

    text: str
    tags: Mapping[str, object]

    @classmethod
    def of(cls, message: str) -> Self:
        """Reads a message of any of the application's three layouts."""
        document = _document(message)
        if document is None:
            return cls(message, {})
        tags = document.get("tags")
        text = f"{document.get('levelname')} {document.get('name')} {document.get('message')}"
        return cls(text, tags if isinstance(tags, dict) else {})


@dataclass
class WorkerCounts:
    """What one worker's journal says of a window of time."""

    metrics: Counter[str] = field(default_factory=Counter)
    errors_logged: int = 0
    errors_answered: int = 0
    first_complaint: str = ""  # of the storage class: why a save or read failed

    @property
    def server_errors(self) -> int:
        """Requests that ended in a 5xx: Django logs each, and uWSGI too, where its request log is on."""
        return max(self.errors_logged, self.errors_answered)


def parse_metric(message: str) -> tuple[str, float] | None:
    """Name and value of the METRIC in one log message of any of the application's three layouts, else None."""
    document = _document(message)
    if document is None and message.startswith("{"):
        return None  # a part of a line, whose number may be one, too
    found = _METRIC.search(message if document is None else str(document.get("message", "")))
    return (found["name"], float(found["value"])) if found else None


def count(counts: Mapping[str, WorkerCounts], entry: Entry) -> None:
    """Adds an entry to the counts of its unit, if it is one of these.

    Raises:
        TelemetryError: the entry says that journald dropped messages.
    """
    if _SUPPRESSED.search(entry.message):
        raise TelemetryError(
            f"journald dropped lines ({entry.message}): set LogRateLimitIntervalSec=0 and measure again"
        )
    if entry.unit in counts:
        _count(counts[entry.unit], entry.message)


def entries(lines: Iterable[str]) -> Iterator[Entry]:
    """The entries that `journalctl -o json` printed, one a line; TelemetryError names a line that is none."""
    for number, line in enumerate(lines, start=1):
        if line.strip():
            fields = _fields(line, number)
            yield Entry(
                unit=str(fields.get("_SYSTEMD_UNIT", "")),
                message=_text(fields.get("MESSAGE")),
                at=_time(fields.get("__REALTIME_TIMESTAMP"), number),
                cursor=str(fields.get("__CURSOR", "")),
                boot=str(fields.get("_BOOT_ID", "")),
            )


def after_mark(found: Iterator[Entry], cursor: str) -> Iterator[Entry]:
    """The mark itself and all entries after it, as they come.

    Raises:
        TelemetryError: the mark is not the first, so entries after it may be gone, too; or, even after some entries,
            the machine was restarted since.
    """
    mark = next(found, None)
    if mark is None or mark.cursor != cursor:
        raise TelemetryError("the mark in the journal is gone, so lines after it may be lost: measure again")
    yield mark
    for entry in found:
        if entry.boot != mark.boot:
            raise TelemetryError("the machine was restarted since the mark: measure again")
        yield entry


def metric_line(name: str, value: float) -> str:
    """A METRIC line as the application's console layout ends; what counts lines reads it."""
    return f"METRIC: {name}={value}"


def measurement_line(name: str, value: float, *, level: str = "INFO", **more: str) -> str:
    """A METRIC line in the application's JSON layout, whose number a metric filter takes; `more` stands beside."""
    now = time.time()
    return json.dumps(
        {
            "levelname": level,
            "asctime": f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(now))},{int(now % 1 * 1000):03d}",
            "name": "cutover",
            "message": metric_line(name, value),
            "metric_name": name,
            "value": value,
            **more,
        }
    )


def _count(worker: WorkerCounts, message: str) -> None:
    metric = parse_metric(message)
    if metric:
        worker.metrics[metric[0]] += round(metric[1])
    text = LogLine.of(message).text
    if not worker.first_complaint and _COMPLAINT.search(text):
        worker.first_complaint = message[:400]
    worker.errors_logged += bool(_SERVER_ERROR.search(text))
    worker.errors_answered += bool(_ANSWERED_500.search(message))


def _document(message: str) -> Mapping[str, object] | None:
    """The object of a line in the JSON layout, None if it is in another."""
    if not message.startswith("{"):
        return None
    try:
        document = json.loads(message)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _fields(line: str, number: int) -> Mapping[str, object]:
    try:
        fields = json.loads(line)
    except ValueError as error:
        raise TelemetryError(f"line {number} of the journal is no JSON: {line[:80]!r}") from error
    if not isinstance(fields, dict):
        raise TelemetryError(f"line {number} of the journal is no entry: {line[:80]!r}")
    return fields


def _text(message: object) -> str:
    """The journal gives a message that is not plain UTF-8 as a list of bytes."""
    if isinstance(message, list):
        return bytes(message).decode("utf-8", errors="replace")
    return str(message or "")


def _time(microseconds: object, number: int) -> datetime:
    """The journal's time, in microseconds since 1970; entries that were written down without one have that year."""
    try:
        return datetime.fromtimestamp(int(str(microseconds or 0)) / 1_000_000, UTC)
    except ValueError as error:
        raise TelemetryError(f"line {number} of the journal has no time: {microseconds!r}") from error
