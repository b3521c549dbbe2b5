"""Step 9's seven days: counted since step 8 passed, or since the last incident."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from cutover import plan
from cutover.evidence import chain as chains
from cutover.evidence.soak_days import count_begins, idle, standing
from tests.unit.evidence.documents import BEGIN, DAY, daily, drill, rollback, step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cutover.evidence.record import Record
    from tests.unit.evidence.documents import Story

TABLE = plan.load()
HOUR = timedelta(hours=1)
COUNTS = {"cert.s3.save.success": 100, "cert.s3.save.fail": 1}


def read(story: Story) -> Sequence[Record]:
    return chains.read(story.directory).records


def soak(story: Story, *days: dict[str, object] | None) -> dict[str, Any]:
    """Step 8 has passed, and each day since brings a record, or none; the standing at the end of the last."""
    story.tell(step(8, cursors={"web1": "s=1"}))
    for number, record in enumerate(days, start=1):
        story.now += DAY
        if record is not None:
            story.tell(record | {"counts": COUNTS, "cursors": {"web1": f"s=1;day={number}"}}, timedelta(0))
    return standing(TABLE, read(story), story.now)


@pytest.mark.parametrize("number", range(1, 8))
def test_each_day_counts_once(story: Story, number: int) -> None:
    found = soak(story, *[daily()] * number)
    assert (found["days"], found["wanted"], found["reason"]) == (number, 7, "")
    assert found["counts"] == {name: number * count for name, count in COUNTS.items()}
    assert found["cursors"] == {"web1": f"s=1;day={number}"}


def test_two_checks_on_one_day_are_one_day(story: Story) -> None:
    """Seven checks in an afternoon are no soak."""
    soak(story, daily())
    story.tell(daily(), timedelta(minutes=5))
    assert standing(TABLE, read(story), story.now)["days"] == 1


@pytest.mark.parametrize(
    "incident", [daily("FAIL"), daily("INCONCLUSIVE"), rollback("production", scenario="reads"), None]
)
def test_an_incident_starts_the_count_again(story: Story, incident: dict[str, object] | None) -> None:
    """A failed day, a rollback, a day that nobody looked at: the week is not one without them."""
    found = soak(story, daily(), daily(), incident, daily(), daily())
    assert found["days"] == 2
    assert found["reason"]


def counted(source: str, until: datetime) -> dict[str, str]:
    return {"source": source, "since": "2026-12-01T09:30:00Z", "until": f"{until:%Y-%m-%dT%H:%M:%S.%fZ}"}


def test_a_day_counts_from_where_the_check_before_ended(story: Story) -> None:
    """Lines in between would be nobody's, and lines that two days count make two hundred saves of a hundred."""
    begun = "2026-12-01T09:00:00Z"
    story.tell(step(8, started_at=begun, cursors={"web1": "s=1"}))
    assert count_begins(read(story), story.now + HOUR) == datetime.fromisoformat(begun)
    until = story.now + HOUR
    story.tell(
        daily("FAIL", cursors={"web1": "s=2"}, counted=counted("journals", until)), timedelta(hours=1, minutes=1)
    )
    assert count_begins(read(story), story.now + HOUR) == until
    assert standing(TABLE, read(story), story.now)["cursors"] == {"web1": "s=2"}
    story.tell(step(10, "ERROR", cursors={"web1": "s=3"}))  # it counts nothing
    assert standing(TABLE, read(story), story.now)["cursors"] == {"web1": "s=2"}
    story.tell(daily(counted=counted("delivered lines", story.now)), HOUR)
    assert standing(TABLE, read(story), story.now)["cursors"] == {}  # the journals' older marks would count twice
    assert count_begins(read(story), story.now + DAY) == story.now - HOUR


def test_a_missing_day_is_not_counted_any_more(story: Story) -> None:
    """A machine that was silent a week ago would make every later count impossible."""
    assert count_begins(read(story), BEGIN) == BEGIN - DAY
    story.tell(step(8, started_at="2026-12-01T09:00:00Z"))
    late = story.now + 2 * DAY
    assert count_begins(read(story), late) == late - DAY
    assert count_begins(read(story), late, time_scale=24) == late - HOUR


@pytest.mark.parametrize(
    ("records", "idle_because"),
    [
        ([], "step 8 is NOT RUN"),
        ([step(8, "FAIL")], "step 8 is FAIL"),
        ([step(8)], ""),
        ([step(8), step(9)], ""),
        ([step(8), step(9), step(10, "FAIL")], ""),
        ([step(8), rollback("production", scenario="reads")], "step 8 is UNDONE"),
        ([step(8), rollback("production", scenario="reads"), step(8)], ""),
        ([step(8), step(9), step(10)], "step 10 has passed"),
    ],
)
def test_days_are_checked_from_step_8_to_step_10(
    story: Story, records: list[dict[str, object]], idle_because: str
) -> None:
    """A record of before the soak, or of a fleet that was rolled back, would start the days again."""
    for record in records:
        story.tell(record)
    assert idle(TABLE, read(story)) == idle_because


def test_staging_has_no_soak(story: Story) -> None:
    for number in range(1, 6):
        story.tell(step(number))
    assert idle(TABLE, read(story)) == "step 8 is NOT RUN"


def test_before_step_8_there_is_nothing_to_count(story: Story) -> None:
    story.tell(drill("production", "dual-write"))
    found = standing(TABLE, read(story), story.now)
    assert (found["days"], found["reason"]) == (0, "step 8 has not passed")


def test_a_rehearsals_days_are_shorter(story: Story) -> None:
    story.tell(step(8))
    for _ in range(7):
        story.tell(daily(), timedelta(seconds=60))
    records = read(story)
    assert standing(TABLE, records, story.now, time_scale=1440)["days"] == 7
    assert standing(TABLE, records, story.now)["days"] == 1
