"""`cutover alarms query`: a saved query over a file of exported events."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cutover.alarms import exported_log
from cutover.alarms.errors import AlarmError
from cutover.alarms.insights.query import compile_query
from cutover.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cutover.alarms.insights.rows import Value

__all__ = ["SUFFIX", "run_query", "saved_query"]

SUFFIX = ".logsinsights"  # of the saved queries' files


def run_query(query: str, source: str, *, as_json: bool) -> int:
    """Prints what a query finds; returns the exit code: 3 if there was no event to look at.

    Args:
        query: the name of a saved query, or a path.
        source: the events' file, or `-` for standard input; see `exported_log.events`.
        as_json: one JSON document instead of a table.

    Raises:
        AlarmError: there is no such query, it uses what is not run here, or the events cannot be read.
    """
    compiled = compile_query(_text(str(saved_query(query))))
    looked_at = list(exported_log.events(_text(source), source))
    if not looked_at:
        print(f"cutover: {source}: holds no event, so nothing is said: export a longer time", file=sys.stderr)
        return ExitCode.INCONCLUSIVE
    found = compiled.run(looked_at)
    if as_json:
        print(json.dumps(found))
    else:
        print("\n".join([*_table(found, compiled.shown), f"{len(found)} rows from {len(looked_at)} events"]))
    return ExitCode.DONE


def saved_query(name: str) -> Path:
    """The file of a query: a path, or a name in $CUTOVER_QUERIES (by default what this package carries: ops/queries/).

    Raises:
        AlarmError: there is no such query; names the folder and what there is in it.
    """
    if "/" in name or name.endswith(SUFFIX):
        return Path(name)
    folder = Path(os.environ.get("CUTOVER_QUERIES") or Path(__file__).with_name("queries")).resolve()
    path = folder / f"{name}{SUFFIX}"
    if not path.is_file():
        known = ", ".join(sorted(saved.stem for saved in folder.glob(f"*{SUFFIX}"))) or "none; set CUTOVER_QUERIES"
        raise AlarmError(f"{folder}: no query is called {name}; there are: {known}")
    return path


def _text(source: str) -> str:
    try:
        return sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise AlarmError(f"{source}: is no UTF-8 text ({error.reason}): export it again") from error


def _table(found: Sequence[Mapping[str, Value]], columns: Sequence[str]) -> Iterator[str]:
    names = [name for name in columns if any(name in row for row in found)]
    cells = [names, *([_cell(row.get(name, "")) for name in names] for row in found)]
    widths = [max(len(line[place]) for line in cells) for place in range(len(names))]
    for line in cells if found else []:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def _cell(value: Value) -> str:
    text = value if isinstance(value, str) else f"{value:.10g}"
    # A log line may hold anything, a terminal's escape sequences and halves of characters too.
    return re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", lambda found: f"\\x{ord(found[0]):02x}", text)
