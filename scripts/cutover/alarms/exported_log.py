"""Exported log events: `aws logs filter-log-events`, JSON Lines of its events, `journalctl -o json`, or plain lines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cutover.alarms.errors import AlarmError
from cutover.alarms.site_lines import Line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["events", "lines"]

END_OF_TIME = 253_402_300_800_000  # the year 10000, ms: nothing later can be shown as a date
NEEDED = (
    "lacks timestamp (ms since 1970) and message, or __REALTIME_TIMESTAMP and MESSAGE: export it again, with `aws logs "
    "filter-log-events --output json` or `journalctl -o json --all`"
)


def events(text: str, source: str) -> Iterator[Mapping[str, Any]]:
    """Reads exported events (`message`; `timestamp`, ms since 1970), or plain log lines, which have no times.

    Args:
        text: what `aws logs filter-log-events --output json` printed (or its `events` alone), the same events or a
            journal's as JSON Lines, or log lines.
        source: where the text is from.

    Raises:
        AlarmError: the text is none of them, or is cut off; names `source` and the event or the line.
    """
    document = _parsed(text)
    listed = document.get("events") if isinstance(document, dict) else document
    if isinstance(listed, list):
        for number, given in enumerate(listed, start=1):
            event = _event(given)
            if event is None:
                raise AlarmError(f"{source}: event {number} {NEEDED}")
            yield event
        return
    # Only \n ends a line: others may stand within a journal's JSON.
    numbered = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    exported = bool(numbered) and _event(_parsed(numbered[0][1])) is not None
    for number, line in numbered:
        parsed = _parsed(line)
        if parsed is None and line.lstrip().startswith("{"):
            raise AlarmError(f"{source}: line {number} is JSON that is cut off: export it again")
        event = _event(parsed)
        if (event is not None) != exported:
            raise AlarmError(f"{source}: line {number} is of another kind than the first line: give one export")
        yield event or {"message": line}


def lines(path: Path) -> list[Line]:
    """A file's events as lines, oldest first.

    Raises:
        AlarmError: the file cannot be read, or as for `events`, or its lines have no times; names the file.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise AlarmError(f"{path}: cannot be read ({error}): give an exported log") from error
    found = list(events(text, str(path)))
    if found and "timestamp" not in found[0]:
        raise AlarmError(f"{path}: line 1 {NEEDED}")
    return sorted((Line(event["timestamp"] / 1000, event["message"]) for event in found), key=lambda line: line.at)


def _parsed(text: str) -> Any:  # noqa: ANN401 (whatever the JSON holds)
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _event(given: Any) -> Mapping[str, Any] | None:  # noqa: ANN401 (whatever the JSON holds)
    """The event with `timestamp` and `message`, or None if it is none."""
    if not isinstance(given, dict):
        return None
    event = _journal_entry(given) if "__REALTIME_TIMESTAMP" in given else given
    timestamp = event.get("timestamp")
    known = isinstance(event.get("message"), str) and type(timestamp) is int and 0 <= timestamp < END_OF_TIME
    return event if known else None


def _journal_entry(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """A journal's entry as an event; its message is null if it is too long and `--all` was not given."""
    at, message = entry["__REALTIME_TIMESTAMP"], entry.get("MESSAGE")
    try:
        if isinstance(message, list):  # what is no plain UTF-8 is given as a list of bytes
            message = bytes(message).decode("utf-8", errors="replace")
        return {"timestamp": int(at) // 1000, "message": message}
    except (TypeError, ValueError):
        return {}
