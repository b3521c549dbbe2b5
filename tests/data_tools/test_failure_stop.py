"""When upload failures end a backfill, and which failures do not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from cutover import plan
from cutover.backfill.failure_stop import FailureStop
from cutover.catalogue import Certificate
from cutover.migration import UPLOAD_FAILURES, Outcome, Problem

if TYPE_CHECKING:
    from cutover.migration import Cause

NOW = datetime(2026, 11, 24, tzinfo=UTC)
ROW = Certificate(1, 1, "certificates/pdf/a.pdf", None, "", None, NOW, NOW, revoked=False)


def outcome(cause: Cause | None, *, attempted: bool = True) -> Outcome:
    problems = () if cause is None else (Problem(1, "certificates/pdf/a.pdf", cause, "x"),)
    return Outcome(ROW, (), problems, attempted)


def stopped_after(causes: list[Cause | None], *, attempted: bool = True) -> int | None:
    """How many rows it took to stop, None if the run went on to the end."""
    stop = FailureStop(plan.load().data_tools.failure_stop)
    for number, cause in enumerate(causes, start=1):
        if stop.reason(outcome(cause, attempted=attempted)):
            return number
    return None


def test_more_than_five_percent_of_the_window_stops() -> None:
    """The runbook's trigger: STOP, investigate. Exactly 5 % is not more than 5 %."""
    good: list[Cause | None] = [None]
    assert stopped_after(good * 200 + ["s3_unavailable"] * 10) is None
    assert stopped_after(good * 200 + ["s3_unavailable"] * 11) == 211
    assert stopped_after(good * 100 + ["s3_denied"] * 5) is None
    assert stopped_after(good * 94 + ["s3_denied"] * 6) == 100
    assert stopped_after(good * 100 + ["s3_unavailable"] * 6) == 106


def test_fewer_than_a_hundred_rows_are_not_judged_but_a_bad_start_is() -> None:
    """Three failures of thirty are no rate; twenty of twenty from the first are."""
    assert stopped_after(["s3_unavailable"] * 20) == 20
    good: list[Cause | None] = [None]
    bad: list[Cause | None] = ["s3_unavailable"]
    assert stopped_after(bad * 19 + good) is None
    assert stopped_after(good + bad * 98) is None


def test_failures_of_the_window_are_forgotten() -> None:
    """A transient error an hour ago must not stop a run that has long recovered."""
    good: list[Cause | None] = [None]
    assert stopped_after(good * 100 + ["s3_denied"] * 5 + good * 200 + ["s3_denied"] * 10) is None
    assert stopped_after(good * 100 + ["s3_denied"] * 5 + good * 100 + ["s3_denied"] * 6) == 211


@pytest.mark.parametrize("cause", ["missing_local", "damaged_local", "unsafe_name", "changed_while_read", "conflict"])
def test_sources_and_conflicts_do_not_stop(cause: Cause) -> None:
    """One bad folder of the disk must not keep all other certificates from S3."""
    assert cause not in UPLOAD_FAILURES
    assert stopped_after([cause] * 500) is None
    assert stopped_after(["s3_denied"] * 500, attempted=False) is None
