"""A replay's timeline as text, a line a transition, or as JSON Lines."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cutover.alarms.monitor import Transition
    from cutover.alarms.replay import Replay

__all__ = ["show"]

COLUMNS = ("minute", "UTC", "alarm", "change", "reason", "sent")
COLOURS = {"ALARM": "red", "OK": "green", "INSUFFICIENT_DATA": "yellow"}


def show(shown: Replay, broken: Sequence[str], *, judged: bool, as_json: bool) -> None:
    """Prints the timeline, and under it what was expected and did not happen (`broken`; `judged`: anything was)."""
    if as_json:
        for transition in shown.transitions:
            print(json.dumps(_document(shown, transition)))
        verdict = ("FAIL" if broken else "PASS") if judged else None
        print(json.dumps({"source": shown.source, "lines": shown.line_count, "verdict": verdict, "broken": [*broken]}))
        return
    print(f"{shown.source}: {shown.minutes} minutes, {shown.line_count} log lines")
    if sys.stdout.isatty():
        _print_table(shown)
    else:
        for transition in shown.transitions:
            print("\t".join(_cells(shown, transition)))
    for sentence in broken:
        print(f"FAIL {sentence}")
    if judged and not broken:
        print("PASS all expectations hold")


def _document(shown: Replay, transition: Transition) -> dict[str, object]:
    return {
        "source": shown.source,
        "minute": shown.minute(transition.at),
        "at": transition.at,
        "alarm": transition.alarm,
        "kind": transition.kind,
        "old": transition.old,
        "new": transition.new,
        "reason": transition.reason,
        "actions": list(transition.actions),
        "suppressed_by": transition.suppressed_by,
    }


def _print_table(shown: Replay) -> None:
    from rich.console import Console  # noqa: PLC0415 (the fleet's installations have none, and print to no terminal)
    from rich.table import Table  # noqa: PLC0415 (as above)

    table = Table(*COLUMNS, box=None)
    for transition in shown.transitions:
        table.add_row(*_cells(shown, transition), style=COLOURS[transition.new])
    Console().print(table)


def _cells(shown: Replay, transition: Transition) -> tuple[str, ...]:
    at = datetime.fromtimestamp(transition.at, UTC)
    change = f"{transition.old} → {transition.new}" if transition.old != transition.new else f"still {transition.new}"
    return (
        str(shown.minute(transition.at)),
        f"{at:%H:%M}",
        transition.alarm,
        change,
        transition.reason,
        _sent(transition),
    )


def _sent(transition: Transition) -> str:
    if transition.suppressed_by:
        return f"kept back: {transition.suppressed_by}"
    return ", ".join(action.rsplit(":", 1)[-1] for action in transition.actions) or "-"
