"""The seven days of step 9: which of them have their sealed PASS, and what they measured together."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from cutover.evidence import grace, progress
from cutover.evidence.record import PASS
from cutover.evidence.requirements import newest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from cutover.evidence.record import Gap, Record
    from cutover.plan import Plan

__all__ = ["STEP", "count_begins", "idle", "pages_begin", "standing"]

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
    A check that counted the lines of another one once more (two ran at once) is not the one before.
    """
    before, today = _before(records), grace.day(now, time_scale)
    if before is None or today - grace.day(before.recorded_at, time_scale) > 1:
        return now - _DAY / time_scale
    return before.counted.until if before.counted else before.started_at or before.recorded_at


def pages_begin(records: Sequence[Record], now: datetime) -> datetime:
    """From when on to ask for pages: where the last daily check that knew its own stopped, or step 8 began."""
    asked = [daily.pages_asked.until for daily in _dailies(records) if daily.pages_asked is not None]
    return asked[-1] if asked else _begun(records, now)


def standing(table: Plan, records: Sequence[Record], now: datetime, time_scale: float = 1.0) -> dict[str, Any]:
    """How far the soak is: days with a PASS since it counts, of how many, and the sums of what those days counted.

    Args:
        table: whose step 9 says how many days the soak has.
        records: of production, oldest first.
        now: until when days must have had their PASS.
        time_scale: how many times shorter a day is.

    Returns:
        `days`, `wanted`, `since` (None: it waits for a daily PASS), `reason` (of a count that started again),
        `counts` (metric lines by name; see `_week`), `gaps` (sentences: whose lines of when are missing in them),
        `cursors` (where the next day's counts begin, by machine; empty after a check that counted delivered lines, see
        `count_begins`), `dailies` (files).
    """
    wanted = int(table.steps[STEP].criteria["days_passed"].limit[1])
    passed = newest(records, "step", step=STEP - 1)
    answer: dict[str, Any] = {"days": 0, "wanted": wanted, "since": None, "reason": "", "counts": {}, "gaps": []}
    answer |= {"cursors": _cursors(records), "dailies": []}
    if passed is None or passed.verdict != PASS:
        return answer | {"reason": f"step {STEP - 1} has not passed"}
    counted = grace.count(records, passed, now, time_scale)
    if counted.since is None:
        return answer | {"reason": counted.reason}
    dailies = [each for each in grace.dailies(records, passed) if each.recorded_at >= counted.since]
    counting = {daily.sequence for daily in _counting(records)}
    week = _week([daily for daily in dailies if daily.sequence in counting], wanted, time_scale)
    counts: Counter[str] = Counter()
    for daily in week:
        counts.update((daily.model_extra or {}).get("counts", {}))
    return answer | {
        "days": _days(dailies, time_scale),
        "since": f"{counted.since:%Y-%m-%dT%H:%M:%SZ}",
        "reason": counted.reason,
        "counts": dict(counts),
        "gaps": [str(gap) for daily in week for gap in _gaps(daily)],
        "dailies": [daily.file_name for daily in dailies],
    }


def _days(dailies: Sequence[Record], time_scale: float) -> int:
    return len({grace.day(daily.recorded_at, time_scale) for daily in dailies})


def _gaps(daily: Record) -> Sequence[Gap]:
    return daily.counted.gaps if daily.counted else ()


def _week(counting: Sequence[Record], wanted: int, time_scale: float) -> Sequence[Record]:
    """The checks whose counts the week adds up: those after the last gap if they are enough days, else all of them."""
    last = max((number for number, daily in enumerate(counting, start=1) if _gaps(daily)), default=0)
    return counting[last:] if _days(counting[last:], time_scale) >= wanted else counting


def _passed(records: Sequence[Record]) -> Record | None:
    """Step 8's newest PASS."""
    return newest(records, "step", step=STEP - 1, verdict=PASS)


def _begun(records: Sequence[Record], now: datetime) -> datetime:
    """When step 8 began; a day ago if nobody knows."""
    passed = _passed(records)
    return now - _DAY if passed is None else passed.started_at or passed.recorded_at


def _dailies(records: Sequence[Record]) -> Sequence[Record]:
    """The daily checks since step 8's newest PASS, whatever they said, oldest first."""
    passed = _passed(records)
    return [each for each in records if each.kind == "daily" and (passed is None or each.sequence > passed.sequence)]


def _counting(records: Sequence[Record]) -> Sequence[Record]:
    """Those of them that counted no line which one before them has: the timer's and a playbook's may run at once."""
    found: list[Record] = []
    until: datetime | None = None
    for daily in _dailies(records):
        if daily.counted is not None:
            if until is not None and daily.counted.since < until:
                continue
            until = daily.counted.until
        found.append(daily)
    return found


def _before(records: Sequence[Record]) -> Record | None:
    """The daily check before, whatever it said, or step 8's PASS if there was none since."""
    counting = _counting(records)
    return counting[-1] if counting else _passed(records)


def _cursors(records: Sequence[Record]) -> dict[str, str]:
    """Where in each machine's journal the check before had marked the end of what it counted."""
    before = _before(records)
    return dict((before.model_extra or {}).get("cursors") or {}) if before is not None else {}
