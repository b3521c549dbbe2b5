"""The seven days of step 9: which of them have their sealed PASS, and what they measured together."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from cutover.evidence import grace, progress
from cutover.evidence.record import PASS
from cutover.evidence.requirements import newest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cutover.evidence.record import Record
    from cutover.plan import Plan

__all__ = ["STEP", "count_begins", "idle", "standing"]

STEP = 9
_DAY = timedelta(seconds=grace.DAY_SECONDS)


def idle(table: Plan, records: Sequence[Record]) -> str:
    """Why there is nothing to check daily; empty from step 8's PASS on until step 10's, days of grace included."""
    before = progress.standing(table, records, STEP - 1)
    if before != PASS:
        return f"step {STEP - 1} is {before}"
    return f"step {STEP + 1} has passed" if progress.standing(table, records, STEP + 1) == PASS else ""


def count_begins(records: Sequence[Record], now: datetime, time_scale: float = 1.0) -> datetime:
    """From when on the lines of the day count: where the daily check before stopped, or step 8 began.

    A day at most if a whole one is missing: the days start again then, and what happened in it belongs to none of them.
    """
    before, today = _before(records), grace.day(now, time_scale)
    if before is None or today - grace.day(before.recorded_at, time_scale) > 1:
        return now - _DAY / time_scale
    until = (before.model_extra or {}).get("counted", {}).get("until")
    return datetime.fromisoformat(until) if until else before.started_at or before.recorded_at


def standing(table: Plan, records: Sequence[Record], now: datetime, time_scale: float = 1.0) -> dict[str, Any]:
    """How far the soak is: days with a PASS since it counts, of how many, and the sums of what those days counted.

    Args:
        table: whose step 9 says how many days the soak has.
        records: of production, oldest first.
        now: until when days must have had their PASS.
        time_scale: how many times shorter a day is.

    Returns:
        `days`, `wanted`, `since` (None: it waits for a daily PASS), `reason` (of a count that started again),
        `counts` (metric lines by name), `cursors` (where the next day's counts begin, by machine; empty after a check
        that counted delivered lines, see `count_begins`), `dailies` (files).
    """
    wanted = int(table.steps[STEP].criteria["days_passed"].limit[1])
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


def _before(records: Sequence[Record]) -> Record | None:
    """The daily check before, whatever it said, or step 8's PASS if there was none since."""
    passed = newest(records, "step", step=STEP - 1, verdict=PASS)
    daily = newest(records, "daily")
    if passed is None or (daily is not None and daily.sequence > passed.sequence):
        return daily
    return passed


def _cursors(records: Sequence[Record]) -> dict[str, str]:
    """Where in each machine's journal the check before had marked the end of what it counted."""
    before = _before(records)
    return dict((before.model_extra or {}).get("cursors") or {}) if before is not None else {}
