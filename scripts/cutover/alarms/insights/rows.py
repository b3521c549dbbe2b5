"""Log events as rows of fields, and how their values compare."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Row", "Timestamp", "Value", "number", "row", "same", "shown", "sort_key"]

Value = str | float
Row = dict[str, Value]

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
# Both spellings: a program's own events, and those of `aws logs filter-log-events`.
_SYSTEM_FIELDS = {"logStream": "@logStream", "logStreamName": "@logStream", "log": "@log"}


class Timestamp(int):
    """Milliseconds since 1970 that are shown as a time, in UTC, as Logs Insights does."""

    __slots__ = ()

    def __str__(self) -> str:
        at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=int(self))
        return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d}"


def row(event: Mapping[str, Any]) -> Row:
    """The event's fields: `@message`, `@timestamp` if it has one, and those of a message that is a JSON object."""
    message = str(event["message"])
    found = _discovered(message)
    found |= {field: str(event[key]) for key, field in _SYSTEM_FIELDS.items() if key in event}
    found["@message"] = message
    if event.get("timestamp") is not None:
        found["@timestamp"] = Timestamp(event["timestamp"])
    return found


def number(value: Value | None) -> float | None:
    """The value as a number, whether it was one or reads like one, else None."""
    if isinstance(value, str):
        return float(value) if _NUMBER.fullmatch(value) else None
    return value


def same(left: Value | None, right: Value) -> bool:
    """Whether both are the same number or the same text; a missing value is nothing's equal."""
    if left is None:
        return False
    numbers = number(left), number(right)
    return numbers[0] == numbers[1] if None not in numbers else str(left) == str(right)


def sort_key(value: Value | None) -> tuple[Any, ...]:
    """Ascending order: missing values, texts, numbers; in a text, digits by their number.

    Source: "sort", docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_QuerySyntax-Sort.html; it does not say where
    missing values come.
    """
    if value is None:
        return (0,)
    as_number = number(value)
    if as_number is not None:
        return (2, as_number)
    chunks = re.findall(r"[0-9]+|[^0-9]+", str(value))
    # A run of digits stands where its first digit does among the signs; among digits, the longer one is the larger.
    return (1, *((("0", len(chunk), chunk) if chunk[0] in "0123456789" else (chunk, 0, "")) for chunk in chunks))


def shown(value: Value) -> Value:
    """The value as results have it: times as text."""
    return str(value) if isinstance(value, Timestamp) else value


def _discovered(message: str) -> Row:
    if not message.lstrip().startswith("{"):
        return {}
    try:
        return dict(_flattened(json.loads(message), ""))
    except (ValueError, RecursionError):
        return {}


def _flattened(value: Any, name: str) -> Iterator[tuple[str, Value]]:  # noqa: ANN401 (whatever the JSON holds)
    """Nested fields by dots, list items by their number; a name that starts with @ gets another one.

    Source: "Supported logs and discovered fields", docs.aws.amazon.com/AmazonCloudWatch/latest/logs/
    CWL_AnalyzeLogData-discoverable-fields.html
    """
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            inner = f"{name}.{key}" if name else f"@{key}" if str(key).startswith("@") else str(key)
            yield from _flattened(item, inner)
    elif isinstance(value, bool):
        yield name, int(value)
    elif value is not None:
        yield name, value
