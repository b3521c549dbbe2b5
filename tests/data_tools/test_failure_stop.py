"""When upload failures end a backfill, and which failures do not; when the disk does."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from cutover import plan
from cutover.backfill.failure_stop import DiskStop, FailureStop
from cutover.catalogue import Certificate
from cutover.migration import UPLOAD_FAILURES, Outcome, Problem, UnreadableProblem

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


IN_A_ROW = plan.load().data_tools.failure_stop.in_a_row
FILE = "certificates/pdf/a.pdf"
LOST = Outcome(ROW, (), (Problem(1, FILE, "missing_local", "x"),), attempted=False)
UNREADABLE = Outcome(ROW, (), (UnreadableProblem(1, FILE, "damaged_local", "x"),), attempted=False)
UNSAFE, GOOD = outcome("unsafe_name"), outcome(None)


def away_after(outcomes: list[Outcome], *, others: bool = False) -> int | None:
    """How many rows it took to say that the disk is away, None if it went on to the end."""
    stop = DiskStop(IN_A_ROW, lambda _: others)
    return next((number for number, one in enumerate(outcomes, start=1) if stop.reason(one)), None)


def test_unreadable_files_in_a_row_are_a_disk_that_is_away() -> None:
    """Nineteen bad sectors are files; a time-out for each of all the others is not."""
    assert away_after([GOOD] + [UNREADABLE] * IN_A_ROW) == IN_A_ROW + 1
    assert away_after(([UNREADABLE] * (IN_A_ROW - 1) + [GOOD]) * 3) is None


def test_a_start_without_any_file_is_a_disk_that_is_away() -> None:
    """Lost files in the midst of others are lost, and so they are at the start while the table's others are there."""
    assert away_after([LOST] * IN_A_ROW) == IN_A_ROW
    assert away_after([LOST] * IN_A_ROW * 3, others=True) is None
    assert away_after([GOOD] + [LOST] * IN_A_ROW * 3) is None
    assert away_after([LOST] * 5 + [UNSAFE] + [LOST] * (IN_A_ROW - 5)) == IN_A_ROW + 1  # of its disk nothing was asked
