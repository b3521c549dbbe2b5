"""Criteria to verdicts."""

from __future__ import annotations

import pytest

from cutover import plan
from cutover.gates import Verdict, evaluate, overall, sample_floors
from cutover.plan import Bound

CRITERIA = {"errors": Bound(at_most=0)}


@pytest.mark.parametrize(
    ("measured", "verdict"),
    [
        ({"errors": (0.0, 5)}, Verdict.PASS),
        ({"errors": (1.0, 5)}, Verdict.FAIL),
        ({"errors": (0.0, 0)}, Verdict.INCONCLUSIVE),
        ({"errors": (None, 5)}, Verdict.INCONCLUSIVE),
        ({}, Verdict.ERROR),
    ],
)
def test_only_a_measured_and_kept_criterion_passes(
    measured: dict[str, tuple[float | None, int]], verdict: Verdict
) -> None:
    """ "0 errors" out of zero requests is no success."""
    assert overall(evaluate(CRITERIA, measured)) is verdict


def test_too_few_samples_are_inconclusive() -> None:
    """Three good uploads do not prove 99.5 %."""
    assert overall(evaluate(CRITERIA, {"errors": (0.0, 3)}, minimum_samples={"errors": 4})) is Verdict.INCONCLUSIVE


def test_floors_of_the_service_levels_hold_for_the_steps() -> None:
    """A step that gates on a service level needs as many samples as the level says, by whichever name it has."""
    floors = sample_floors(plan.load())
    assert (floors["save_success_ratio"], floors["upload_p95"], floors["read_fallback_ratio"]) == (200, 60, 1000)
    assert "copies_equal" not in floors


def test_violation_outweighs_what_could_not_be_measured() -> None:
    """A FAIL must not be softened into "try again" by a second criterion without data."""
    results = evaluate({"a": Bound(at_most=0), "b": Bound(at_most=0)}, {"a": (1.0, 5)})
    assert overall(results) is Verdict.FAIL


def test_no_criteria_at_all_is_an_error() -> None:
    """An empty gate is a gate that was lost, not one that passed."""
    assert overall([]) is Verdict.ERROR


def test_reason_names_measurement_and_limit() -> None:
    """The operator reads this line at 3 a.m. and decides by it."""
    (result,) = evaluate(CRITERIA, {"errors": (2.0, 5)})
    assert str(result) == "FAIL errors: measured 2 (5 samples), wanted at most 0"
