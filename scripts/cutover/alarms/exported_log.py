"""Exported log lines: `aws logs filter-log-events`, JSON Lines of its events, or `journalctl -o json`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cutover.alarms.errors import AlarmError
from cutover.alarms.site_lines import Line

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read"]


def read(path: Path) -> list[Line]:
    """The file's lines, oldest first; `at` in seconds since 1970.

    Raises:
        AlarmError: the file cannot be read, or an event has no time or text; names the file and the event.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise AlarmError(f"{path}: cannot be read ({error}): give an exported log") from error
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if isinstance(document, dict) and isinstance(document.get("events"), list):
        events = list(enumerate(document["events"], start=1))
    else:
        events = [
            (number, _parsed(path, number, line))
            for number, line in enumerate(text.splitlines(), start=1)
            if line.strip()
        ]
    return sorted((_line(path, number, event) for number, event in events), key=lambda line: line.at)


def _parsed(path: Path, number: int, line: str) -> object:
    try:
        return json.loads(line)
    except ValueError as error:
        raise AlarmError(
            f"{path}: line {number} is no JSON: export with `aws logs filter-log-events` or `journalctl -o json`"
        ) from error


def _line(path: Path, number: int, event: Any) -> Line:  # noqa: ANN401 (whatever the JSON holds)
    try:
        if "timestamp" in event:
            return Line(event["timestamp"] / 1000, str(event["message"]))
        return Line(int(event["__REALTIME_TIMESTAMP"]) / 1_000_000, _text(event["MESSAGE"]))
    except (KeyError, TypeError, ValueError) as error:
        raise AlarmError(
            f"{path}: event {number} needs timestamp (milliseconds) and message, "
            "or __REALTIME_TIMESTAMP (microseconds) and MESSAGE: export it again"
        ) from error


def _text(message: object) -> str:
    """The journal gives a message that is no plain UTF-8 as a list of bytes."""
    return bytes(message).decode("utf-8", errors="replace") if isinstance(message, list) else str(message)
