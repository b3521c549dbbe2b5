"""A whole query: its commands, one after the other."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cutover.alarms.errors import AlarmError
from cutover.alarms.insights import rows
from cutover.alarms.insights.aggregation import alias, column, statistics
from cutover.alarms.insights.conditions import condition
from cutover.alarms.insights.rows import Row, Value
from cutover.alarms.insights.tokens import Reader, Token, regular_expression

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Query", "compile_query"]

# "limit", docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_QuerySyntax-Limit.html: what a query without `limit`
# returns, and the most that one may ask for.
DEFAULT_LIMIT, LARGEST_LIMIT = 10_000, 100_000

Step = Callable[[list[Row]], list[Row]]


@dataclass
class Query:
    """A compiled query. `needs_time`: the line of the first word that needs the events' times."""

    steps: list[Step] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    columns: tuple[str, ...] = ()
    needs_time: int | None = None

    @property
    def shown(self) -> tuple[str, ...]:
        """The columns of the result, in their order."""
        return self.columns or ("@timestamp", "@message")

    def run(self, events: Iterable[Mapping[str, Any]]) -> list[dict[str, Value]]:
        """The result's rows, their columns in the query's order; a field that an event lacks is absent.

        Without `sort` the newest event comes first, and groups come in the order of their keys.

        Args:
            events: `message`, and where there are: `timestamp` (milliseconds since 1970), `logStream`, `log`.

        Raises:
            AlarmError: the query needs times, and an event has none.
        """
        found = [rows.row(event) for event in events]
        timeless = sum("@timestamp" not in row for row in found)
        if self.needs_time is not None and timeless:
            raise AlarmError(
                f"query, line {self.needs_time}: it needs each event's time, and {timeless} of {len(found)} events "
                "have none: export them with `aws logs filter-log-events --output json`"
            )
        found.sort(key=lambda row: rows.sort_key(row.get("@timestamp")), reverse=True)
        for step in self.steps:
            found = step(found)
        if "limit" not in self.commands:
            found = found[:DEFAULT_LIMIT]
        return [{name: rows.shown(row[name]) for name in self.shown if name in row} for row in found]


def compile_query(text: str) -> Query:
    """Compiles a query of the commands fields, filter, parse, stats, sort, dedup, limit and display.

    Raises:
        AlarmError: a command, a function or a sign is not run here, or a word is missing; names it and its line.
    """
    reader, query = Reader(text), Query()
    while True:
        token = reader.take("name")
        name = token.text.lower()
        if name not in _COMMANDS:
            raise AlarmError(f"query, line {token.line}: {token.text} is not run here: use {', '.join(_COMMANDS)}")
        _check_order(query, name, token.line)
        query.commands.append(name)
        begin = reader.position
        _COMMANDS[name](reader, query)
        if name not in {"fields", "display"} and query.needs_time is None:
            query.needs_time = reader.first_line_of({"@timestamp", "bin"}, begin)
        if reader.at_end:
            return query
        reader.expect("|")


def _check_order(query: Query, name: str, line: int) -> None:
    if "dedup" in query.commands and name != "limit":
        raise AlarmError(f"query, line {line}: {name} follows dedup, after which only limit may come: move it up")
    if name in {"stats", "limit"} and name in query.commands:
        raise AlarmError(f"query, line {line}: a second {name} is not run here: use one")


def _fields(reader: Reader, query: Query) -> None:
    shown = _shown(reader, query)
    if "display" not in query.commands:
        query.columns = tuple(dict.fromkeys((*query.columns, *shown)))


def _display(reader: Reader, query: Query) -> None:
    query.columns = _shown(reader, query)


def _shown(reader: Reader, query: Query) -> tuple[str, ...]:
    """Reads fields with their aliases, and gives each row the aliases."""
    pairs = reader.listed(lambda: (name := _field(reader, query), alias(reader, name)))
    query.steps.append(lambda found: [row | {new: row[old] for old, new in pairs if old in row} for row in found])
    return tuple(new for _, new in pairs)


def _field(reader: Reader, query: Query) -> str:
    """Reads a field's name. After `stats` there are its columns only, and a function is the name of such a column."""
    line, name = reader.line, column(reader)
    if name not in query.columns and ("(" in name or "stats" in query.commands):
        raise AlarmError(f"query, line {line}: {name} is no field here: name a field, or a column of stats")
    return name


def _filter(reader: Reader, query: Query) -> None:
    line = reader.line
    try:
        holds = condition(reader)
    except RecursionError as error:
        raise AlarmError(f"query, line {line}: the conditions are nested too deep: take parentheses out") from error
    query.steps.append(lambda found: [row for row in found if holds(row)])


def _parse(reader: Reader, query: Query) -> None:
    source, pattern = reader.take("name").text, reader.take("text", "regex")
    if pattern.kind == "regex":
        expression = regular_expression(pattern)
        groups = {name: name for name in expression.groupindex}
    else:
        reader.expect("as")
        names = reader.listed(lambda: reader.take("name").text)
        expression, groups = _glob(pattern, names)
    if not groups:
        raise AlarmError(f"query, line {pattern.line}: /{pattern.text}/ extracts nothing: write (?<name>…)")

    def parsed(row: Row) -> Row:
        match = expression.search(str(row.get(source, "")))
        return (
            row | {name: match[group] for name, group in groups.items() if match[group] is not None} if match else row
        )

    query.steps.append(lambda found: [parsed(row) for row in found])


def _glob(pattern: Token, names: Sequence[str]) -> tuple[re.Pattern[str], dict[str, Any]]:
    """Each asterisk is the shortest text up to what follows it, the last one of a pattern the whole rest."""
    first, *others = (re.escape(part) for part in pattern.text.split("*"))
    if len(others) != len(names):
        raise AlarmError(
            f"query, line {pattern.line}: {len(others)} asterisks have {len(names)} names: give each its name"
        )
    expression = first + "".join("(.*?)" + part if part else "(.*)" for part in others)
    return re.compile(expression, re.DOTALL), {name: number for number, name in enumerate(names, start=1)}


def _stats(reader: Reader, query: Query) -> None:
    compute = statistics(reader)
    query.columns = compute.columns
    query.steps.append(compute)


def _sort(reader: Reader, query: Query) -> None:
    orders = reader.listed(lambda: (_field(reader, query), _descending(reader)))

    def step(found: list[Row]) -> list[Row]:
        for name, descending in reversed(orders):
            found = sorted(found, key=lambda row: rows.sort_key(row.get(name)), reverse=descending)
        return found

    query.steps.append(step)


def _descending(reader: Reader) -> bool:
    if reader.accept("desc"):
        return True
    reader.accept("asc")
    return False


def _dedup(reader: Reader, query: Query) -> None:
    names = reader.listed(lambda: _field(reader, query))

    def step(found: list[Row]) -> list[Row]:
        seen = set()
        kept = []
        for row in found:
            values = tuple(row.get(name) for name in names)
            if None in values or values not in seen:
                kept.append(row)
            seen.add(values)
        return kept

    query.steps.append(step)


def _limit(reader: Reader, query: Query) -> None:
    token = reader.take("number")
    if not token.text.isdigit() or not 1 <= int(token.text) <= LARGEST_LIMIT:
        raise AlarmError(f"query, line {token.line}: limit {token.text} is no number from 1 to {LARGEST_LIMIT}")
    query.steps.append(lambda found: found[: int(token.text)])


_COMMANDS: dict[str, Callable[[Reader, Query], None]] = {
    "fields": _fields,
    "filter": _filter,
    "parse": _parse,
    "stats": _stats,
    "sort": _sort,
    "dedup": _dedup,
    "limit": _limit,
    "display": _display,
}
