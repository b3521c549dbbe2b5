"""Step 9's seven days: counted since step 8 passed, or since the last incident."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from cutover import plan
from cutover.evidence import chain as chains
from cutover.evidence.soak_days import standing
from tests.unit.evidence.documents import DAY, daily, drill, rollback, step

if TYPE_CHECKING:
    from tests.unit.evidence.documents import Story

COUNTS = {"cert.s3.save.success": 100, "cert.s3.save.fail": 1}


def soak(story: Story, *days: dict[str, object] | None) -> dict[str, Any]:
    """Step 8 has passed, and each day since brings a record, or none; the standing at the end of the last."""
    story.tell(step(8, cursors={"web1": "s=1"}))
    for number, record in enumerate(days, start=1):
        story.now += DAY
        if record is not None:
            story.tell(record | {"counts": COUNTS, "cursors": {"web1": f"s=1;day={number}"}}, timedelta(0))
    return standing(plan.load(), chains.read(story.directory).records, story.now)


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
    assert standing(plan.load(), chains.read(story.directory).records, story.now)["days"] == 1


@pytest.mark.parametrize(
    "incident", [daily("FAIL"), daily("INCONCLUSIVE"), rollback("production", scenario="reads"), None]
)
def test_an_incident_starts_the_count_again(story: Story, incident: dict[str, object] | None) -> None:
    """A failed day, a rollback, a day that nobody looked at: the week is not one without them."""
    found = soak(story, daily(), daily(), incident, daily(), daily())
    assert found["days"] == 2
    assert found["reason"]


def test_before_step_8_there_is_nothing_to_count(story: Story) -> None:
    story.tell(drill("production", "dual-write"))
    found = standing(plan.load(), chains.read(story.directory).records, story.now)
    assert (found["days"], found["reason"]) == (0, "step 8 has not passed")


def test_a_rehearsals_days_are_shorter(story: Story) -> None:
    story.tell(step(8))
    for _ in range(7):
        story.tell(daily(), timedelta(seconds=60))
    records = chains.read(story.directory).records
    assert standing(plan.load(), records, story.now, time_scale=1440)["days"] == 7
    assert standing(plan.load(), records, story.now)["days"] == 1
