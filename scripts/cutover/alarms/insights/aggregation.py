"""The command `stats`: aggregations, by fields and bins of time.

Source: "stats", docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_QuerySyntax-Stats.html. AWS does not say how it
computes a percentile; here it is the smallest value that at least that share of the values does not exceed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from string import ascii_letters, digits
from typing import TYPE_CHECKING

from cutover.alarms.errors import AlarmError
from cutover.alarms.insights.rows import Row, Timestamp, Value, number, sort_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cutover.alarms.insights.tokens import Reader, Token

__all__ = ["Statistics", "alias", "column", "statistics"]

Aggregation = Callable[[Sequence[Row]], Value | None]
Key = Callable[[Row], Value | None]
_MILLISECONDS = {
    **dict.fromkeys(("ms", "msec", "msecs"), 1),
    **dict.fromkeys(("s", "sec", "secs"), 1000),
    **dict.fromkeys(("m", "min", "mins"), 60_000),
    **dict.fromkeys(("h", "hr", "hrs"), 3_600_000),
    "d": 86_400_000,
}
_OF_NUMBERS: dict[str, Callable[[Sequence[float]], float]] = {
    "sum": math.fsum,
    "avg": lambda numbers: math.fsum(numbers) / len(numbers),
}
_OF_VALUES: dict[str, Callable[[Sequence[Value]], Value | None]] = {
    "count": len,
    "min": lambda values: min(values, key=sort_key, default=None),
    "max": lambda values: max(values, key=sort_key, default=None),
    "count_distinct": lambda values: len({sort_key(value) for value in values}),
}


@dataclass(frozen=True)
class Statistics:
    """One row a group, in the order of their keys (AWS promises none: sort)."""

    aggregations: tuple[tuple[str, Aggregation], ...]
    keys: tuple[tuple[str, Key], ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Keys first, as Logs Insights shows them."""
        return tuple(name for name, _ in (*self.keys, *self.aggregations))

    def __call__(self, rows: Iterable[Row]) -> list[Row]:
        """The groups; none if there are no rows."""
        groups: dict[tuple[Value | None, ...], list[Row]] = {}
        for row in rows:
            groups.setdefault(tuple(key(row) for _, key in self.keys), []).append(row)
        names = [name for name, _ in self.keys]
        found = []
        for group in sorted(groups, key=lambda values: [sort_key(value) for value in values]):
            cells = [
                *zip(names, group, strict=True),
                *((name, function(groups[group])) for name, function in self.aggregations),
            ]
            found.append({name: value for name, value in cells if value is not None})
        return found


def statistics(reader: Reader) -> Statistics:
    """Reads what follows `stats`.

    Raises:
        AlarmError: a function or a time period is not run here, or a word is missing.
    """
    aggregations = reader.listed(lambda: _aggregation(reader))
    keys = reader.listed(lambda: _key(reader)) if reader.accept("by") else []
    return Statistics(tuple(aggregations), tuple(keys))


def column(reader: Reader) -> str:
    """Reads a column's name; that of a function without an alias is the function as it is written, without spaces."""
    name = reader.take("name").text
    return _written(name, _arguments(reader)) if reader.next_is("(") else name


def alias(reader: Reader, name: str) -> str:
    """Reads `as` and another name, if they are there."""
    return reader.take("name").text if reader.accept("as") else name


def _key(reader: Reader) -> tuple[str, Key]:
    if not reader.accept("bin", "("):
        field = reader.take("name").text
        if reader.next_is("("):
            raise reader.error(f"the function {field} is not run here, found")
        return alias(reader, field), lambda row: row.get(field)
    period = reader.take("period")
    reader.expect(")")
    length = _milliseconds(period)
    return alias(reader, f"bin({period.text})"), lambda row: _bin(row, length)


def _bin(row: Row, length: int) -> Value | None:
    at = row.get("@timestamp")
    return Timestamp(at // length * length) if isinstance(at, Timestamp) else None


def _milliseconds(period: Token) -> int:
    count, unit = period.text.rstrip(ascii_letters), period.text.lstrip(digits)
    if unit not in _MILLISECONDS or not int(count):
        raise AlarmError(f"query, line {period.line}: the period {period.text} is not run here: use ms, s, m, h or d")
    return int(count) * _MILLISECONDS[unit]


def _aggregation(reader: Reader) -> tuple[str, Aggregation]:
    line, function = reader.line, reader.take("name").text
    arguments = _arguments(reader)
    aggregation = _function(line, function.lower(), arguments)
    return alias(reader, _written(function, arguments)), aggregation


def _function(line: int, name: str, arguments: Sequence[Token]) -> Aggregation:
    kinds = [token.text if token.kind == "sign" else token.kind for token in arguments]
    if name == "count" and kinds in ([], ["*"]):
        return len
    if name == "pct" and kinds == ["name", ",", "number"] and 0 < Fraction(arguments[-1].text) <= 100:
        return _of_numbers(arguments[0].text, partial(_percentile, Fraction(arguments[-1].text)))
    if kinds == ["name"] and name in _OF_NUMBERS:
        return _of_numbers(arguments[0].text, _OF_NUMBERS[name])
    if kinds == ["name"] and name in _OF_VALUES:
        return _of_values(arguments[0].text, _OF_VALUES[name])
    usable = ", ".join(f"{function}(field)" for function in (*_OF_VALUES, *_OF_NUMBERS))
    raise AlarmError(
        f"query, line {line}: {_written(name, arguments)} is not run here: use count(*), pct(field, percent), {usable}"
    )


def _of_numbers(field: str, function: Callable[[Sequence[float]], float]) -> Aggregation:
    def aggregation(rows: Sequence[Row]) -> Value | None:
        numbers = [value for row in rows if (value := number(row.get(field))) is not None]
        return function(numbers) if numbers else None

    return aggregation


def _of_values(field: str, function: Callable[[Sequence[Value]], Value | None]) -> Aggregation:
    return lambda rows: function([row[field] for row in rows if field in row])


def _percentile(percent: Fraction, numbers: Sequence[float]) -> float:
    return sorted(numbers)[math.ceil(percent * len(numbers) / 100) - 1]


def _arguments(reader: Reader) -> list[Token]:
    reader.expect("(")
    arguments = []
    while not reader.accept(")"):
        arguments.append(reader.take("name", "number", "period", "sign"))
    return arguments


def _written(name: str, arguments: Iterable[Token]) -> str:
    return f"{name}({''.join(token.text for token in arguments)})"
