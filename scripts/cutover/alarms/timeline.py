"""A replay's timeline as text, a line a transition, or as JSON Lines."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cutover.alarms.expectations import sendings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cutover.alarms.monitor import Transition
    from cutover.alarms.replay import Replay, Verdict

__all__ = ["show"]

COLUMNS = ("minute", "UTC", "alarm", "change", "reason", "sent")
COLOURS = {"ALARM": "red", "OK": "green", "INSUFFICIENT_DATA": "yellow"}


def show(shown: Replay, verdict: Verdict, broken: Sequence[str], *, as_json: bool) -> None:
    """Prints the timeline, and under it how much was sent, the verdict, and what did not happen (`broken`)."""
    if as_json:
        for transition in shown.transitions:
            print(json.dumps(_document(shown, transition)))
        closing = {"source": shown.source, "lines": shown.line_count, **_counts(shown)}
        print(json.dumps({**closing, "verdict": verdict, "broken": [*broken]}))
        return
    print(f"{shown.source}: {shown.minutes} minutes, {shown.line_count} log lines")
    if sys.stdout.isatty():
        _print_table(shown)
    else:
        for transition in shown.transitions:
            print("\t".join(_cells(shown, transition)))
    print("sent: " + ", ".join(f"{what} {number}" for what, number in _counts(shown).items()))
    for sentence in broken:
        print(f"FAIL {sentence}")
    if verdict == "PASS":
        print("PASS all expectations hold")
    elif verdict == "INCONCLUSIVE":
        print("INCONCLUSIVE no expectations, nothing judged: add `expect` to the scenario")
    elif verdict is None:
        print("no expectations, nothing judged: a log has none")


def _counts(shown: Replay) -> dict[str, int]:
    pages, resolved = sendings(shown, "critical")
    mails, _ = sendings(shown, "warning")
    return {"pages": len(pages), "resolved": len(resolved), "mails": len(mails)}


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
