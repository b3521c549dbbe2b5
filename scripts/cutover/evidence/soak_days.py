"""The seven days of step 9: which of them have their sealed PASS, and what they measured together."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from cutover.evidence import grace
from cutover.evidence.record import PASS
from cutover.evidence.requirements import newest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from cutover.evidence.record import Record
    from cutover.plan import Plan

__all__ = ["STEP", "standing"]

STEP = 9


def standing(table: Plan, records: Sequence[Record], now: datetime, time_scale: float = 1.0) -> dict[str, Any]:
    """How far the soak is: days with a PASS since it counts, of how many, and the sums of what those days counted.

    Args:
        table: whose step 9 says how long the soak is.
        records: of production, oldest first.
        now: until when days must have had their PASS.
        time_scale: how many times shorter a day is.

    Returns:
        `days`, `wanted`, `since` (None: it waits for a daily PASS), `reason` (of a count that started again),
        `counts` (metric lines by name), `cursors` (where the next day's counts begin, by machine), `dailies` (files).
    """
    wanted = (table.steps[STEP].soak_seconds or 0) // grace.DAY_SECONDS
    passed = newest(records, "step", step=STEP - 1)
    answer: dict[str, Any] = {"days": 0, "wanted": wanted, "since": None, "reason": "", "counts": {}, "dailies": []}
    answer["cursors"] = _cursors(records)
    if passed is None or passed.verdict != PASS:
        return answer | {"reason": f"step {STEP - 1} has not passed"}
    counted = grace.count(records, passed, now, time_scale)
    if counted.since is None:
        return answer | {"reason": counted.reason}
    dailies = [each for each in grace.dailies(records, passed) if each.recorded_at >= counted.since]
    counts: Counter[str] = Counter()
    for daily in dailies:
        counts.update((daily.model_extra or {}).get("counts", {}))
    return answer | {
        "days": len({grace.day(daily.recorded_at, time_scale) for daily in dailies}),
        "since": f"{counted.since:%Y-%m-%dT%H:%M:%SZ}",
        "reason": counted.reason,
        "counts": dict(counts),
        "dailies": [daily.file_name for daily in dailies],
    }


def _cursors(records: Sequence[Record]) -> dict[str, str]:
    """Where in each machine's journal the last daily check, or step, had marked the end of what it counted."""
    for record in reversed(records):
        cursors = (record.model_extra or {}).get("cursors")
        if cursors and record.kind in {"daily", "step"}:
            return dict(cursors)
    return {}
