"""Whether a step may start: each refusal says no in a test, names what is missing, and says what to run."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from cutover import plan
from cutover.evidence import chain as chains
from cutover.evidence.errors import ChainError
from cutover.evidence.progress import next_step, standing
from tests.unit.evidence.documents import DAY, daily, drill, rollback, step

if TYPE_CHECKING:
    from cutover.evidence.requirements import Answer
    from tests.unit.evidence.documents import Story

SECOND = timedelta(seconds=1)
WEEK = timedelta(days=7)
DRILL = "ansible-playbook emergency-rollback.yml -e drill=true -e deployment=production"
PRODUCTION = [step(6), step(7), drill("production", "dual-write"), step(8), drill("production", "s3-reads")]


def told(story: Story, *documents: dict[str, object]) -> Story:
    for document in documents:
        story.tell(document)
    return story


def soaked(story: Story, days: int, *, without: int | None = None) -> Story:
    """Step 9 has passed, and so many days since have their daily PASS, but one; the newest drill is of the last day."""
    told(story, *PRODUCTION, step(9))
    for number in range(1, days + 1):
        story.now += DAY
        if number != without:
            story.tell(daily(), timedelta(0))
    story.tell(drill("production", "s3-reads"), timedelta(0))
    return story


def refused(answer: Answer, *reasons: str, run: str) -> None:
    assert not answer.allowed
    assert len(answer.refusals) == len(reasons), answer.document()
    for reason, refusal in zip(reasons, answer.refusals, strict=True):
        assert reason in str(refusal)
    assert answer.next == run


def test_the_first_step_needs_no_evidence(story: Story) -> None:
    assert story.ask(1).document() == {"allowed": True, "reasons": [], "next": "ansible-playbook go-live-step1.yml"}


@pytest.mark.parametrize("number", range(2, 6))
def test_a_step_follows_the_pass_of_the_one_before(story: Story, number: int) -> None:
    told(story, step(number - 1))
    assert story.ask(number).next == f"ansible-playbook go-live-step{number}.yml"
    assert story.ask(number).allowed


def test_without_a_record_of_the_step_before_there_is_no_step(story: Story) -> None:
    """Somebody begins in the middle of the runbook."""
    refused(told(story, step(1)).ask(3), "step 2 has no evidence", run="ansible-playbook go-live-step2.yml")


@pytest.mark.parametrize("verdict", ["FAIL", "INCONCLUSIVE", "ERROR"])
def test_the_newest_verdict_counts_and_only_pass_goes_on(story: Story, verdict: str) -> None:
    """A step that passed once and failed when it was run again has not passed."""
    told(story, step(2), step(2, verdict, message="12 hashes differ"))
    refused(
        story.ask(3),
        f"ended with {verdict} in 000002-step-2-{verdict}.json (12 hashes differ)",
        run="ansible-playbook go-live-step2.yml",
    )


def test_a_pass_that_measured_less_than_the_table_wants_is_none(story: Story) -> None:
    """A playbook lost a criterion, and nobody noticed because the rest was fine."""
    whole = step(2)
    criteria = whole["criteria"]
    assert isinstance(criteria, list)
    told(story, whole | {"criteria": criteria[1:]})
    refused(story.ask(3), "says PASS without measuring errors", run="ansible-playbook go-live-step2.yml")


def test_stale_evidence_is_refused_whatever_the_time_scale(story: Story) -> None:
    """Staging passed before the site's last release. Ages are not compressed, not even in a rehearsal."""
    told(story, step(1))
    assert story.ask(2, WEEK, time_scale=1000).allowed
    for scale in (1.0, 1000.0):
        refused(
            story.ask(2, WEEK + SECOND, scale),
            "passed 7 days ago, at most 7 days count",
            run="ansible-playbook go-live-step1.yml",
        )


def test_the_daily_checks_go_on_when_step_9_has_passed(story: Story) -> None:
    """During the thirty days of grace step 8's PASS grows old, and the day's check must not stop for that."""
    told(story, *PRODUCTION, step(9))
    story.now += timedelta(days=20)
    told(story, drill("production", "s3-reads"))
    assert story.ask(9).allowed


def test_evidence_from_the_future_cannot_be_judged(story: Story) -> None:
    """With a clock that is behind, everything looks fresh."""
    told(story, step(1))
    assert story.ask(2, -200 * SECOND).allowed
    with pytest.raises(ChainError, match="set the clock"):
        story.ask(2, -400 * SECOND)


@pytest.mark.parametrize("number", [1, 6])
def test_another_deployments_evidence_cannot_be_judged(story: Story, number: int) -> None:
    """Step 6 starts production, by what staging has shown."""
    told(story, step(6))
    with pytest.raises(ChainError, match="evidence of staging, and this is production's"):
        story.ask(number)


def test_a_rollback_undoes_the_steps_that_it_took_back(story: Story) -> None:
    """The fleet is in local again: step 8's PASS tells of another fleet, and the first step to repeat is step 6."""
    told(story, *PRODUCTION, rollback("production", scenario="local"))
    undone = "(000006-rollback-PASS.json) undid step"
    refused(story.ask(9), f"{undone} 6", run="ansible-playbook go-live-step6.yml")
    told(story, step(6))
    assert story.ask(7).allowed
    refused(story.ask(9), f"{undone} 7", run="ansible-playbook go-live-step7.yml")


def test_a_rollback_of_reads_leaves_what_led_to_dual_write(story: Story) -> None:
    """After scenario `reads` the fleet is in dual-write: step 8 is to be run again, and may be."""
    told(story, *PRODUCTION, step(9), rollback("production", scenario="reads"))
    assert story.ask(8).allowed
    refused(story.ask(9), "undid step 8", run="ansible-playbook go-live-step8.yml")
    refused(story.ask(10), "undid step 8", run="ansible-playbook go-live-step8.yml")


@pytest.mark.parametrize("scenario", [None, "sunspots"])
def test_a_rollback_of_unknown_scenario_undoes_everything(story: Story, scenario: str | None) -> None:
    told(story, *PRODUCTION[:3], rollback("production", scenario=scenario))
    refused(story.ask(8), "undid step 6", run="ansible-playbook go-live-step6.yml")


def test_an_earlier_step_that_was_tried_again_and_failed_is_in_the_way(story: Story) -> None:
    """Step 6 was run again and took dual-write back: step 7's PASS is of a fleet that is no more."""
    told(story, *PRODUCTION[:3], step(6, "FAIL"))
    refused(
        story.ask(8), "step 6 was run again after step 7 and ended with FAIL", run="ansible-playbook go-live-step6.yml"
    )


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ([], "no rollback drill from dual-write in production is recorded"),
        ([drill("production", "s3-reads")], "no rollback drill from dual-write"),
        ([drill("production", None)], "no rollback drill from dual-write"),
        ([drill("production", "dual-write", 61)], "took 61 s, the objective is 60 s"),
        ([drill("production", "dual-write", None)], "does not say how many seconds"),
        ([drill("production", "dual-write"), drill("production", "dual-write", verdict="ERROR")], "ended with ERROR"),
    ],
)
def test_production_needs_a_drill_that_was_fast_enough(
    story: Story, found: list[dict[str, object]], reason: str
) -> None:
    """The way back that nobody has tried from this mode is a hope."""
    told(story, step(6), *found)
    refused(story.ask(7), reason, run=DRILL)


def test_a_drill_grows_old(story: Story) -> None:
    told(story, step(6), drill("production", "dual-write", 60))
    story.tell(step(6), DAY)
    assert story.ask(7, WEEK - DAY).allowed
    refused(story.ask(7, WEEK - DAY + SECOND), "7 days old, at most 7 days count", run=DRILL)


def test_production_starts_after_a_drill_in_staging(story: Story) -> None:
    """Step 6 is judged by staging's chain, from the mode that staging is in."""
    told(story, step(4), step(5))
    refused(story.ask(6), "from s3-reads in staging", run=DRILL.replace("production", "staging"))
    told(story, drill("staging", "s3-reads"))
    assert story.ask(6).allowed


def test_thirty_days_of_grace_and_not_a_second_less(story: Story) -> None:
    soaked(story, 29)
    answer = story.ask(10, DAY - SECOND)
    refused(
        answer,
        "the 30 days of grace count from 2026-12-01T09:36:00Z and end at 2026-12-31T09:36:00Z",
        run="ansible-playbook go-live-step10.yml  # not before 2026-12-31T09:36:00Z",
    )
    assert story.ask(10, DAY).allowed


def test_a_day_without_its_check_starts_the_days_again(story: Story) -> None:
    """Nobody looked for a day; the count begins with the next look, and then step 9's PASS grows too old for it."""
    soaked(story, 29, without=12)
    reason = (
        "count from 2026-12-14T09:36:00Z (1 days without a daily PASS after 2026-12-12T09:36:00Z) and end at 2027-01-13"
    )
    refused(
        story.ask(10, DAY),
        f"{reason}T09:36:00Z, when step 9's PASS is too old",
        run="ansible-playbook go-live-step9.yml",
    )


def test_while_no_check_has_passed_since_the_count_does_not_begin(story: Story) -> None:
    soaked(story, 5)
    story.tell(daily("FAIL"), DAY)
    refused(
        story.ask(10, DAY),
        "of grace start again with the next daily PASS (2026-12-07T09:36:00Z 000013-daily-9-FAIL.json)",
        run="ansible-playbook go-live-step9.yml --tags daily",
    )


@pytest.mark.parametrize(
    "incident",
    [
        daily("INCONCLUSIVE"),
        daily("ERROR"),
        rollback("production", scenario="none"),
        drill("production", "s3-reads", pages=[{"at": "2026-12-02T09:36:30Z", "severity": "critical"}]),
        daily(pages_unknown="CloudWatch did not answer"),
    ],
)
def test_an_incident_starts_the_days_again(
    story: Story, incident: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also a rollback that no step's PASS fell to."""
    monkeypatch.setattr("cutover.evidence.requirements.undone_by", lambda *_: None)
    soaked(story, 1)
    story.tell(incident)
    story.tell(daily())
    answer = story.ask(10)
    assert "count from 2026-12-02T09:38:00Z (2026-12-02T09:3" in answer.refusals[0].reason


def test_a_warning_is_no_incident(story: Story) -> None:
    soaked(story, 1)
    told(story, daily(pages=[{"at": "2026-12-02T09:35:00Z", "severity": "warning"}]))
    assert "count from 2026-12-01T09:36:00Z and" in story.ask(10).refusals[0].reason


def test_a_rehearsals_days_are_shorter(story: Story) -> None:
    """At a scale of 1,440 a day takes a minute."""
    told(story, *PRODUCTION, step(9), *(daily() for _ in range(29)), drill("production", "s3-reads"))
    assert not story.ask(10, -SECOND, time_scale=1440).allowed
    assert story.ask(10, timedelta(0), time_scale=1440).allowed
    refused(
        story.ask(10, timedelta(minutes=5), time_scale=1440),
        "start again",
        run="ansible-playbook go-live-step9.yml --tags daily",
    )


def test_what_comes_next_is_told_for_both_deployments(story: Story) -> None:
    """The report and the status begin with it."""
    table = plan.load()
    told(story, *(step(number) for number in range(1, 6)))
    records = chains.read(story.directory).records
    answer = next_step(table, {"staging": records, "production": []}, story.now)
    assert answer is not None
    assert answer.step == 6
    refused(answer, "no rollback drill from s3-reads in staging", run=DRILL.replace("production", "staging"))
    assert next_step(table, {"staging": records}, story.now) is None
    alone = next_step(table, {"production": []}, story.now)
    assert alone is not None
    assert "evidence of staging is not in this report" in alone.refusals[0].reason


def test_how_a_step_stands(story: Story) -> None:
    table = plan.load()
    told(story, step(6), step(7, "ERROR"), rollback("production"))
    records = chains.read(story.directory).records
    assert [standing(table, records, number) for number in (6, 7, 8)] == ["UNDONE", "ERROR", "NOT RUN"]
