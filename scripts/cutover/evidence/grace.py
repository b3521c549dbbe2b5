"""The days of grace after the soak: each has its daily PASS, and an incident starts the count again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cutover.evidence.record import PASS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from cutover.evidence.record import Record

__all__ = ["Count", "count", "dailies", "day"]

DAY_SECONDS = 86400


@dataclass(frozen=True)
class Count:
    """Since when the days count, and what started them again; None if they wait for the next daily PASS."""

    since: datetime | None
    reason: str = ""


def day(moment: datetime, time_scale: float = 1.0) -> int:
    """The number of the UTC day; with a `time_scale` of compressed days, which are so many times shorter."""
    return int(moment.timestamp() * time_scale // DAY_SECONDS)


def count(records: Sequence[Record], passed: Record, now: datetime, time_scale: float = 1.0) -> Count:
    """The count as it stands: from the soak's PASS on, or from the first daily PASS after the last incident.

    Args:
        records: of the deployment, oldest first.
        passed: the soak's PASS.
        now: until when days must have had their daily PASS; today may still get its own.
        time_scale: how many times shorter a day is.
    """
    incidents = sorted(_incidents(records, passed, now, time_scale), key=lambda incident: incident[0])
    if not incidents:
        return Count(passed.recorded_at)
    at, reason = incidents[-1]
    healthy = (daily for daily in dailies(records, passed) if daily.recorded_at > at)
    first = next(healthy, None)
    return Count(first.recorded_at if first else None, reason)


def _incidents(
    records: Sequence[Record], passed: Record, now: datetime, time_scale: float
) -> Iterator[tuple[datetime, str]]:
    """When and why the count starts again.

    A rollback, a daily check without PASS, a critical page, a time whose pages nobody knows, a day without a check.
    """
    for record in records:
        for page in record.pages:
            if page.severity == "critical" and page.at > passed.recorded_at:
                yield page.at, f"{page.at:%Y-%m-%dT%H:%M:%SZ} a critical alarm paged, {record.file_name}"
        if record.sequence <= passed.sequence:
            continue
        if record.kind == "rollback" or (record.kind == "daily" and record.verdict != PASS):
            yield record.recorded_at, f"{record.recorded_at:%Y-%m-%dT%H:%M:%SZ} {record.file_name}"
        elif record.pages_unknown is not None and not _pages_known(records, record, passed):
            when = f"{record.recorded_at:%Y-%m-%dT%H:%M:%SZ}"
            yield record.recorded_at, f"{when} pages unknown, {record.file_name}: {record.pages_unknown}"
    yield from _days_without(records, passed, now, time_scale)


def _pages_known(records: Sequence[Record], unknown: Record, passed: Record) -> bool:
    """Whether the daily checks that could ask for pages asked for all of the time of one that could not.

    One that does not say since when it lacks them lacks them since the soak's PASS.
    """
    begin = unknown.counted.since if unknown.counted else unknown.started_at or passed.recorded_at
    begin = min(begin, unknown.recorded_at)  # another machine's clock may be ahead
    asked = ((each.pages_asked.since, each.pages_asked.until) for each in records if each.pages_asked is not None)
    for since, until in sorted(asked):
        if since <= begin:
            begin = max(begin, until)
    return begin > unknown.recorded_at


def _days_without(
    records: Sequence[Record], passed: Record, now: datetime, time_scale: float
) -> Iterator[tuple[datetime, str]]:
    """Gaps between one daily PASS (or the soak's) and the next (or now) that hold a whole day; told by their begin."""
    last = passed.recorded_at
    for moment in [*(record.recorded_at for record in dailies(records, passed)), now]:
        missing = day(moment, time_scale) - day(last, time_scale) - 1
        if missing > 0:
            yield last, f"{missing} days without a daily PASS after {last:%Y-%m-%dT%H:%M:%SZ}"
        last = moment


def dailies(records: Sequence[Record], passed: Record) -> Iterator[Record]:
    """The daily PASS records after a step's PASS, oldest first."""
    for record in records:
        if record.kind == "daily" and record.verdict == PASS and record.sequence > passed.sequence:
            yield record
