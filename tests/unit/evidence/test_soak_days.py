"""Step 9's seven days: counted since step 8 passed, or since the last incident."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from cutover import plan
from cutover.evidence import chain as chains
from cutover.evidence.soak_days import count_begins, idle, pages_begin, standing
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


def window(since: datetime, until: datetime, **more: object) -> dict[str, object]:
    """What a day counted, or asked for."""
    return {"since": since.isoformat(), "until": until.isoformat()} | more


def test_a_day_counts_from_where_the_check_before_ended(story: Story) -> None:
    """Lines in between would be nobody's, and lines that two days count make two hundred saves of a hundred."""
    begun = "2026-12-01T09:00:00Z"
    story.tell(step(8, started_at=begun, cursors={"web1": "s=1"}))
    assert count_begins(read(story), story.now + HOUR) == datetime.fromisoformat(begun)
    until = story.now + HOUR
    journals = window(story.now, until)
    story.tell(daily("FAIL", cursors={"web1": "s=2"}, counted=journals), timedelta(hours=1, minutes=1))
    assert count_begins(read(story), story.now + HOUR) == until
    assert standing(TABLE, read(story), story.now)["cursors"] == {"web1": "s=2"}
    story.tell(step(10, "ERROR", cursors={"web1": "s=3"}))  # it counts nothing
    assert standing(TABLE, read(story), story.now)["cursors"] == {"web1": "s=2"}
    story.tell(daily(counted=window(until, story.now)), HOUR)
    assert standing(TABLE, read(story), story.now)["cursors"] == {}  # the journals' older marks would count twice
    assert count_begins(read(story), story.now + DAY) == story.now - HOUR


def counting(story: Story, since: datetime, until: datetime, **more: object) -> None:
    """A daily check whose record is sealed where it stopped."""
    story.now = until
    story.tell(daily(counted=window(since, until, **more), counts=COUNTS), timedelta(0))


def gap(since: datetime) -> dict[str, object]:
    return {"gaps": [{"machine": "web2", **window(since, since + HOUR)}]}


def test_a_silent_machine_leaves_the_days_and_takes_the_weeks_ratio(story: Story) -> None:
    """Five minutes of one machine started seven days again, or thirty; counted as they are, they had no failures."""
    story.tell(step(8))
    begin = story.now
    for number in range(4):
        counting(story, begin + number * DAY, begin + (number + 1) * DAY, **(gap(begin) if number == 0 else {}))
    for number in range(4, 7):
        counting(story, begin + number * DAY, begin + (number + 1) * DAY)
    found = standing(TABLE, read(story), story.now)
    assert (found["days"], found["reason"]) == (7, "")
    assert found["gaps"] == ["web2 delivered no METRIC line from 2026-12-01T09:31:00Z to 2026-12-01T10:31:00Z"]
    counting(story, begin + 7 * DAY, begin + 8 * DAY)
    found = standing(TABLE, read(story), story.now)
    assert (found["days"], found["gaps"]) == (8, [])
    assert found["counts"] == {name: 7 * count for name, count in COUNTS.items()}


def test_what_two_checks_counted_at_once_counts_once(story: Story) -> None:
    """The timer sealed its record while the playbook made the same check: two hundred saves of a hundred."""
    story.tell(step(8, cursors={"web1": "s=1"}))
    begin, middle, end = story.now, story.now + HOUR, story.now + 2 * HOUR
    counting(story, begin, middle)
    story.tell(daily(counted=window(begin, end), counts=COUNTS, cursors={"web1": "s=2"}), HOUR)
    found = standing(TABLE, read(story), story.now)
    assert (found["counts"], len(found["dailies"])) == (COUNTS, 2)
    assert found["cursors"] == {}  # from there on the lines between the two ends would be nobody's
    assert count_begins(read(story), story.now + HOUR) == middle
    counting(story, middle, end + HOUR)
    assert standing(TABLE, read(story), story.now)["counts"] == {name: 2 * count for name, count in COUNTS.items()}


def test_a_step_8_that_is_run_again_counts_its_own_time_whoever_counted_meanwhile(story: Story) -> None:
    """A check of the soak before, sealed while step 8 ran again, would take all lines from the new one."""
    story.tell(step(8))
    begin = story.now
    counting(story, begin, begin + 2 * HOUR)
    story.tell(step(8, started_at=(begin + HOUR).isoformat()))
    counting(story, begin + HOUR, begin + 4 * HOUR)
    assert standing(TABLE, read(story), story.now)["counts"] == COUNTS


def test_pages_are_asked_for_from_where_they_were_known_last(story: Story) -> None:
    """Nobody knew a day's pages, and the next day asked for its own alone."""
    assert pages_begin(read(story), BEGIN) == BEGIN - DAY
    story.tell(step(8, started_at="2026-12-01T09:00:00Z"))
    begun = datetime.fromisoformat("2026-12-01T09:00:00Z")
    story.tell(daily(pages_unknown="CloudWatch did not answer", counted=window(begun, story.now)))
    assert pages_begin(read(story), story.now) == begun
    until = story.now
    story.tell(daily(pages=[], pages_asked=window(begun, until)))
    story.tell(daily(pages_unknown="CloudWatch did not answer", counted=window(until, story.now)))
    assert pages_begin(read(story), story.now) == until


def test_unknown_pages_are_an_incident_until_somebody_knows_them(story: Story) -> None:
    """The one page of the week fell into the hour without CloudWatch."""
    story.tell(step(8))
    begin = story.now
    for _ in range(3):
        story.tell(daily(pages=[], pages_asked=window(begin, story.now + DAY)), DAY)
    known = story.now
    story.tell(daily(pages_unknown="CloudWatch did not answer", counted=window(known, known + DAY)), DAY)
    found = standing(TABLE, read(story), story.now)
    assert (found["days"], found["since"]) == (0, None)
    assert "pages unknown, 000005-daily-9-PASS.json: CloudWatch did not answer" in found["reason"]
    late = known + HOUR  # what lies before is not kept any more
    story.tell(daily(pages=[], pages_asked=window(late, story.now + DAY)), DAY)
    assert standing(TABLE, read(story), story.now)["days"] == 1
    story.tell(daily(pages=[], pages_asked=window(known, story.now + HOUR)), HOUR)
    assert standing(TABLE, read(story), story.now)["days"] == 5
    page = {"at": (known + HOUR).isoformat(), "severity": "critical"}
    story.tell(daily(pages=[page], pages_asked=window(known, story.now + HOUR)), HOUR)
    assert "a critical alarm paged" in standing(TABLE, read(story), story.now)["reason"]


def test_a_missing_day_is_not_counted_any_more(story: Story) -> None:
    """The days start again, and what happened before belongs to none of them."""
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
