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
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "TelemetryError",
    "WorkerCounts",
    "count_journal",
    "measurement_line",
    "metric_line",
    "parse_metric",
    "since_mark",
]

# One form serves the console layout ("INFO <time> <logger> METRIC: …") and the file layout, which has module, process
# and thread in between: the metric is the end of the line in both.
_METRIC = re.compile(r"METRIC: (?P<name>[a-z0-9_.]+)=(?P<value>-?\d+(?:\.\d+)?)(?:\s|$)")
_SERVER_ERROR = re.compile(r"\bERROR\b.*\bdjango\.request\b.*\bInternal Server Error: ")
_ANSWERED_500 = re.compile(r"\(HTTP/[\d.]+ 5\d\d\)")
_COMPLAINT = re.compile(r"\b(?:WARNING|ERROR)\b.*\bapps\.tournaments\.storage\b")
_SUPPRESSED = re.compile(r"Suppressed \d+ messages from ")


class TelemetryError(ValueError):
    """The journal cannot be counted: lines are missing, or are not what journalctl prints."""


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
    text = message
    if message.startswith("{"):
        try:
            document = json.loads(message)
        except ValueError:
            return None
        text = str(document.get("message", "")) if isinstance(document, dict) else ""
    found = _METRIC.search(text)
    return (found["name"], float(found["value"])) if found else None


def count_journal(lines: Iterable[str], units: Iterable[str]) -> dict[str, WorkerCounts]:
    """Counts by unit, each of `units` present even when its journal is empty.

    Args:
        lines: what `journalctl -o json` printed.
        units: the workers' unit names.

    Raises:
        TelemetryError: a line is no journal entry, or journald dropped messages within the window.
    """
    counts = {unit: WorkerCounts() for unit in units}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        entry = _entry(line, number)
        message = _text(entry.get("MESSAGE"))
        if _SUPPRESSED.search(message):
            raise TelemetryError(f"journald dropped lines ({message}): set LogRateLimitIntervalSec=0 and measure again")
        worker = counts.get(str(entry.get("_SYSTEMD_UNIT", "")))
        if worker is not None:
            _count(worker, message)
    return counts


def since_mark(lines: Sequence[str], cursor: str) -> Sequence[str]:
    """The entries after the mark, which must be the first one, all of one boot.

    Args:
        lines: what `journalctl -o json --cursor=<cursor>` printed.
        cursor: of the mark.

    Raises:
        TelemetryError: the mark is gone, so entries after it may be, too; or the machine was restarted since.
    """
    entries = [_entry(line, number) for number, line in enumerate(lines, start=1)]
    if not entries or entries[0].get("__CURSOR") != cursor:
        raise TelemetryError("the mark in the journal is gone, so lines after it may be lost: measure again")
    if len({entry.get("_BOOT_ID") for entry in entries}) > 1:
        raise TelemetryError("the machine was restarted since the mark: measure again")
    return lines[1:]


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
    if not worker.first_complaint and _COMPLAINT.search(_flat(message)):
        worker.first_complaint = message[:400]
    worker.errors_logged += bool(_SERVER_ERROR.search(_flat(message)))
    worker.errors_answered += bool(_ANSWERED_500.search(message))


def _flat(message: str) -> str:
    """A JSON log line as the console layout would have it."""
    if not message.startswith("{"):
        return message
    try:
        document = json.loads(message)
    except ValueError:
        return message
    return f"{document.get('levelname')} {document.get('name')} {document.get('message')}"


def _entry(line: str, number: int) -> Mapping[str, object]:
    try:
        entry = json.loads(line)
    except ValueError as error:
        raise TelemetryError(f"line {number} of the journal is no JSON: {line[:80]!r}") from error
    if not isinstance(entry, dict):
        raise TelemetryError(f"line {number} of the journal is no entry: {line[:80]!r}")
    return entry


def _text(message: object) -> str:
    """The journal gives a message that is not plain UTF-8 as a list of bytes."""
    if isinstance(message, list):
        return bytes(message).decode("utf-8", errors="replace")
    return str(message or "")
