"""The state of a metric alarm, held to AWS's worked examples.

Vectors: "Using Amazon CloudWatch alarms" (docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/
AlarmThatSendsEmail.html), sections "How alarm state is evaluated when data is missing" (two tables), "Avoiding
premature transitions to alarm state" and "Percentile-based CloudWatch alarms and low data samples".
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cutover.alarms.errors import AlarmError
from cutover.alarms.states import STATES, TREATMENTS, decide, evaluate, minimum_samples

THRESHOLD = 3
SIGNS = {"0": 1.0, "X": 5.0, "-": None}
KEPT = "the current state"
ALARM_3 = {"EvaluationPeriods": 3, "Threshold": THRESHOLD, "ComparisonOperator": "GreaterThanThreshold"}
MARKS = {"0": False, "X": True, "-": None}


def range_of(signs: str) -> list[float | None]:
    return [SIGNS[sign] for sign in signs.split()]


def states_by_treatment(signs: str, to_alarm: int, state: str) -> list[str]:
    """The state under missing, ignore, breaching and notBreaching, in the tables' order."""
    alarm = ALARM_3 | {"DatapointsToAlarm": to_alarm}
    return [evaluate(alarm | {"TreatMissingData": each}, range_of(signs), state).state for each in TREATMENTS]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize(
    ("signs", "to_alarm", "expected"),
    [
        # The first table: 3 out of 3.
        ("0 - X - X", 3, ["OK", "OK", "OK", "OK"]),
        ("0 - - - -", 3, ["OK", "OK", "OK", "OK"]),
        ("- - - - -", 3, ["INSUFFICIENT_DATA", KEPT, "ALARM", "OK"]),
        ("0 X X - X", 3, ["ALARM", "ALARM", "ALARM", "ALARM"]),
        ("- - X - -", 3, ["ALARM", KEPT, "ALARM", "OK"]),
        # The second table: 2 out of 3.
        ("0 - X - X", 2, ["ALARM", "ALARM", "ALARM", "ALARM"]),
        ("0 0 X 0 X", 2, ["ALARM", "ALARM", "ALARM", "ALARM"]),
        ("0 - X - -", 2, ["OK", "OK", "ALARM", "OK"]),
        ("- - - - 0", 2, ["OK", "OK", "ALARM", "OK"]),
        ("- - - X -", 2, ["ALARM", KEPT, "ALARM", "OK"]),
        # The prose on premature alarms: not yet, because the next point may be good.
        ("- - - - X", 3, ["OK", "OK", "ALARM", "OK"]),
        ("- - - X -", 3, ["OK", "OK", "ALARM", "OK"]),
        ("- - - X 0", 3, ["OK", "OK", "OK", "OK"]),
        ("- - X - 0", 3, ["OK", "OK", "OK", "OK"]),
    ],
)
def test_the_worked_examples_of_the_user_guide(signs: str, to_alarm: int, expected: list[str], state: str) -> None:
    """An evaluator that differs from CloudWatch proves alarms that do not fire in production."""
    assert states_by_treatment(signs, to_alarm, state) == [state if each == KEPT else each for each in expected]


@pytest.mark.parametrize(
    ("signs", "to_alarm", "expected"),
    [
        ("- - - - X", 1, ["ALARM", "ALARM", "ALARM", "ALARM"]),  # M breaches are there: nothing is premature
        ("- - - X X", 2, ["ALARM", "ALARM", "ALARM", "ALARM"]),
        ("- - - - X", 2, ["OK", "OK", "ALARM", "OK"]),
        ("- X - - -", 3, ["ALARM", "INSUFFICIENT_DATA", "ALARM", "OK"]),
        ("X - - - 0", 2, ["OK", "OK", "ALARM", "OK"]),
        ("X - X", 3, ["ALARM", "INSUFFICIENT_DATA", "ALARM", "OK"]),  # a range no longer than N
        ("X X", 3, ["OK", "OK", "ALARM", "OK"]),  # and a shorter one
        ("", 3, ["INSUFFICIENT_DATA", "INSUFFICIENT_DATA", "ALARM", "OK"]),
        ("X X X 0 0 0", 1, ["OK", "OK", "OK", "OK"]),
        ("X X - 0 0 -", 2, ["OK", "OK", "OK", "OK"]),
        ("0 X - 0 - X", 2, ["ALARM", "ALARM", "ALARM", "ALARM"]),
    ],
)
def test_the_rules_beyond_the_tables(signs: str, to_alarm: int, expected: list[str]) -> None:
    """Only the shortfall is filled, and only the newest N real points decide: else old failures page again."""
    assert states_by_treatment(signs, to_alarm, "INSUFFICIENT_DATA") == expected


def test_the_graph_of_the_user_guide() -> None:
    """ "Evaluating an alarm": three units, 3 out of 3; periods 3 to 5 breach, 6 is good, 9 breaches alone."""
    values = [4.0, 4.0, 4.0, 5.0, 4.0, 2.0, 2.0, 2.0, 4.0]
    states = [evaluate(ALARM_3, values[: end + 1], "OK").state for end in range(len(values))]
    assert states == ["OK", "OK", "ALARM", "ALARM", "ALARM", "OK", "OK", "OK", "OK"]


@pytest.mark.parametrize(
    ("operator", "breaching"),
    [
        ("GreaterThanThreshold", [False, False, True]),
        ("GreaterThanOrEqualToThreshold", [False, True, True]),
        ("LessThanThreshold", [True, False, False]),
        ("LessThanOrEqualToThreshold", [True, True, False]),
    ],
)
@pytest.mark.parametrize("threshold", [100, 100.0])
def test_each_operator_just_below_at_and_just_above_the_threshold(
    operator: str, breaching: list[bool], threshold: float
) -> None:
    """An alarm that fires at its limit pages for what the agreement allows; one with slack misses what it forbids."""
    alarm = {"EvaluationPeriods": 1, "Threshold": threshold, "ComparisonOperator": operator}
    values = [99.99999999999999, 100, 100.00000000000001]
    assert [evaluate(alarm, [value], "OK").state == "ALARM" for value in values] == breaching


@pytest.mark.parametrize("value", [True, "5", float("nan"), float("inf"), float("-inf"), 2.0**361, [1.0]])
def test_a_point_that_is_no_number_is_refused_by_its_place(value: Any) -> None:
    """A NaN compares as "not breaching": an outage that looks healthy."""
    with pytest.raises(AlarmError, match=r"datapoints\[1\]"):
        evaluate(ALARM_3, [1.0, value], "OK")


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"Threshold": None}, "Threshold"),
        ({"Threshold": "3"}, "Threshold"),
        ({"Threshold": float("nan")}, "Threshold"),
        ({"ComparisonOperator": None}, "ComparisonOperator"),
        ({"ComparisonOperator": ["GreaterThanThreshold"]}, "ComparisonOperator"),
        ({"ComparisonOperator": "EqualToThreshold"}, "ComparisonOperator"),
        ({"ComparisonOperator": "GreaterThanUpperThreshold"}, "not supported"),
        ({"ThresholdMetricId": "ad1"}, "not supported"),
        ({"EvaluationPeriods": None}, "EvaluationPeriods"),
        ({"EvaluationPeriods": 0}, "EvaluationPeriods"),
        ({"EvaluationPeriods": True}, "EvaluationPeriods"),
        ({"EvaluationPeriods": 2.5}, "EvaluationPeriods"),
        ({"DatapointsToAlarm": 0}, "DatapointsToAlarm"),
        ({"DatapointsToAlarm": 4}, "DatapointsToAlarm is 4, above EvaluationPeriods 3"),
        ({"TreatMissingData": "notbreaching"}, "TreatMissingData"),
        ({"TreatMissingData": ""}, "TreatMissingData"),
        ({"EvaluateLowSampleCountPercentile": "skip"}, "EvaluateLowSampleCountPercentile"),
        ({"ExtendedStatistic": "p101"}, "ExtendedStatistic"),
        ({"ExtendedStatistic": 95}, "ExtendedStatistic"),
        ({"Metrics": []}, "Metrics"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_by_its_name(change: dict[str, Any], key: str) -> None:
    """A misspelt treatment that falls back to the default is an alarm that nobody declared."""
    with pytest.raises(AlarmError, match=key):
        evaluate(ALARM_3 | change, [1.0], "OK")


def test_the_largest_numbers_of_cloudwatch_are_accepted() -> None:
    """API reference, MetricDatum: between -2^360 and 2^360."""
    assert evaluate(ALARM_3, [-(2.0**360), 2.0**360, 2**360], "ALARM").state == "OK"
    with pytest.raises(AlarmError, match="between"):
        evaluate(ALARM_3, [-(2.0**361)], "OK")


def test_a_range_that_is_no_list_an_unknown_state_and_no_alarm_are_refused() -> None:
    """A text is a sequence, too: "123" must not become three points."""
    with pytest.raises(AlarmError, match="datapoints is '123'"):
        evaluate(ALARM_3, "123", "OK")  # type: ignore[arg-type]  # what JSON may hold
    with pytest.raises(AlarmError, match=r"datapoints is \{"):
        evaluate(ALARM_3, {"m1": [1.0]}, "OK")
    with pytest.raises(AlarmError, match="state is 'ok'"):
        evaluate(ALARM_3, [1.0], "ok")
    with pytest.raises(AlarmError, match="alarm is no object"):
        evaluate([], [1.0], "OK")  # type: ignore[arg-type]  # what JSON may hold


def test_dynamodb_keeps_its_state_unless_told_otherwise() -> None:
    """ "Configuring how CloudWatch alarms treat missing data": that namespace ignores gaps by default."""
    alarm = ALARM_3 | {"Namespace": "AWS/DynamoDB"}
    assert evaluate(alarm, [None], "ALARM").state == "ALARM"
    assert evaluate(alarm | {"TreatMissingData": "missing"}, [None], "ALARM").state == "INSUFFICIENT_DATA"


@pytest.mark.parametrize(
    ("statistic", "needed"),
    [
        ("p99", Fraction(1000)),  # the guide's own example
        ("p95", Fraction(200)),
        ("p90", Fraction(100)),
        ("p99.9", Fraction(10_000)),
        ("p50", Fraction(20)),
        ("p49", Fraction(1000, 49)),
        ("p10", Fraction(100)),
        ("p100", None),
        ("p0", None),
        ("tm95", None),
        ("Average", None),
    ],
)
def test_how_many_samples_a_percentile_needs(statistic: str, needed: Fraction | None) -> None:
    """Ten divided by the rarer side, exactly: in floating point p90 would need 100.00000000000001 samples."""
    assert minimum_samples(statistic) == needed


@pytest.mark.parametrize(
    ("statistic", "samples", "state"),
    [
        ("p95", 199, "OK"),
        ("p95", 200, "ALARM"),
        ("p90", 99, "OK"),
        ("p90", 100, "ALARM"),
        ("p99.9", 9_999, "OK"),
        ("p99.9", 10_000, "ALARM"),
        ("p30", 33, "OK"),
        ("p30", 34, "ALARM"),
        ("tm95", 1, "ALARM"),
        ("p95", None, "ALARM"),
    ],
)
def test_a_percentile_of_few_samples_keeps_the_state(statistic: str, samples: int | None, state: str) -> None:
    """Three slow uploads at night are no p95; and two hundred must not be waved through."""
    alarm = ALARM_3 | {"ExtendedStatistic": statistic, "EvaluateLowSampleCountPercentile": "ignore"}
    evaluation = evaluate(alarm, [5, 5, 5], "OK", [10_000, samples, 10_000])
    assert evaluation.state == state
    assert ("samples" in evaluation.reason) == (state == "OK")
    assert evaluate(alarm, [5, 5, 5], "OK").state == "ALARM"
    assert (
        evaluate(alarm | {"EvaluateLowSampleCountPercentile": "evaluate"}, [5, 5, 5], "OK", [1, 1, 1]).state == "ALARM"
    )


def test_only_the_points_that_decide_need_samples() -> None:
    """A quiet hour before must not silence the alarm for the busy one."""
    alarm = ALARM_3 | {"ExtendedStatistic": "p95", "EvaluateLowSampleCountPercentile": "ignore"}
    assert evaluate(alarm, [5, 5, 5, None, 5], "OK", [1, 200, 200, 0, 200]).state == "ALARM"
    assert evaluate(alarm, [None, None], "OK", [0, 0]).state == "INSUFFICIENT_DATA"


@pytest.mark.parametrize("counts", [[1], [1, 1, 1], [1, -1], [1, True], 5])
def test_sample_counts_that_do_not_fit_are_refused(counts: Any) -> None:
    """A count shifted by one period judges the wrong point."""
    with pytest.raises(AlarmError, match="sample_counts"):
        evaluate(ALARM_3, [1.0, 2.0], "OK", counts)


def test_the_reason_says_what_decided() -> None:
    """The pager shows this sentence at 3 a.m."""
    ignoring = ALARM_3 | {"TreatMissingData": "ignore"}
    filling = ALARM_3 | {"TreatMissingData": "breaching"}
    assert evaluate(ALARM_3, [5, 6, 7], "OK").reason == (
        "Threshold Crossed: 3 out of the last 3 datapoints [5.0, 6.0, 7.0] are greater than the threshold (3.0)"
        " (minimum 3 for ALARM)"
    )
    assert evaluate(ALARM_3, [1, 6, 7], "OK").reason.startswith("Threshold Not Crossed: 2 out of the last 3 datapoints")
    assert "the oldest is 3 periods old" in evaluate(ALARM_3, [5, None, None], "OK").reason
    assert "the oldest is 2 periods old" in evaluate(ALARM_3 | {"DatapointsToAlarm": 2}, [5, None], "OK").reason
    assert "no datapoints, 3 missing are treated as breaching (min" in evaluate(filling, [], "OK").reason
    assert evaluate(ALARM_3, [], "OK").reason.startswith("Insufficient Data:")
    assert evaluate(ignoring, [], "OK").reason.startswith("Unchecked:")


def test_a_state_is_decided_by_metric_math() -> None:
    """A ratio without traffic has no data: only the treatment decides then."""
    alarm = ALARM_3 | {
        "EvaluationPeriods": 1,
        "Threshold": 0.01,
        "Metrics": [
            {"Id": "rate", "Expression": "fail / IF(total >= 20, total, 0)"},
            {"Id": "total", "Expression": "fail + success", "ReturnData": False},
            {"Id": "fail", "MetricStat": {"Stat": "Sum", "Period": 60}, "ReturnData": False},
            {"Id": "success", "MetricStat": {"Stat": "Sum", "Period": 60}, "ReturnData": False},
        ],
    }
    assert evaluate(alarm, {"fail": [1], "success": [98]}, "OK").state == "ALARM"
    assert evaluate(alarm, {"fail": [1], "success": [99]}, "OK").state == "OK"
    assert evaluate(alarm, {"fail": [19], "success": [None]}, "OK").state == "INSUFFICIENT_DATA"
    assert evaluate(alarm, {"fail": [20], "success": [None]}, "OK").state == "ALARM"
    assert evaluate(alarm, [0.02], "OK").state == "ALARM"  # what the expression gave, computed by the caller
    with pytest.raises(AlarmError, match=r"datapoints\.fail\[0\]"):
        evaluate(alarm, {"fail": [True], "success": [99]}, "OK")


RANGES = st.lists(st.sampled_from([True, False, None]), max_size=8)
N_AND_M = st.integers(1, 6).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n)))
FEW = settings(max_examples=150, deadline=None)


@FEW
@given(
    older=RANGES, marks=RANGES, periods=N_AND_M, treatment=st.sampled_from(TREATMENTS), state=st.sampled_from(STATES)
)
def test_older_points_and_the_treatment_do_not_matter_once_enough_are_real(
    older: list[bool | None], marks: list[bool | None], periods: tuple[int, int], treatment: str, state: str
) -> None:
    """Else last night's failures, or a gap in them, page for a healthy morning."""
    enough = marks + [True, False] * 3
    expected = "ALARM" if sum(mark is True for mark in _newest(enough, periods[0])) >= periods[1] else "OK"
    assert decide(older + enough, *periods, treatment, state) == expected


def _newest(marks: list[bool | None], count: int) -> list[bool]:
    return [mark for mark in marks if mark is not None][-count:]


@FEW
@given(marks=RANGES, periods=N_AND_M, state=st.sampled_from(STATES))
def test_the_treatments_are_ordered(marks: list[bool | None], periods: tuple[int, int], state: str) -> None:
    """What alarms although gaps count as good, alarms under every treatment; `ignore` keeps or agrees."""
    good, bad, missing, ignore = (
        decide(marks, *periods, treatment, state) for treatment in ("notBreaching", "breaching", "missing", "ignore")
    )
    if good == "ALARM":
        assert (bad, missing, ignore) == ("ALARM", "ALARM", "ALARM")
    if missing == "ALARM":
        assert bad == "ALARM"
    assert ignore in (missing, state)
    assert "INSUFFICIENT_DATA" not in (good, bad)


@FEW
@given(
    values=st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6, allow_subnormal=False)), max_size=6),
    threshold=st.floats(-1e6, 1e6, allow_subnormal=False),
    power=st.integers(-20, 20),
)
def test_a_change_of_unit_changes_nothing(values: list[float | None], threshold: float, power: int) -> None:
    """Comparisons are exact: no tolerance hides in them."""
    scaled = [None if value is None else value * 2.0**power for value in values]
    before = evaluate(ALARM_3 | {"Threshold": threshold}, values, "OK").state
    assert evaluate(ALARM_3 | {"Threshold": threshold * 2.0**power}, scaled, "OK").state == before


@FEW
@given(signs=st.lists(st.sampled_from("0X-"), max_size=7), periods=N_AND_M, state=st.sampled_from(STATES))
def test_the_quick_decision_is_the_evaluation(signs: list[str], periods: tuple[int, int], state: str) -> None:
    """A replay that decides by other rules than `cutover alarms evaluate` proves nothing."""
    alarm = ALARM_3 | {"EvaluationPeriods": periods[0], "DatapointsToAlarm": periods[1]}
    marks = [MARKS[sign] for sign in signs]
    for treatment in TREATMENTS:
        evaluation = evaluate(alarm | {"TreatMissingData": treatment}, [SIGNS[sign] for sign in signs], state)
        assert evaluation.state == decide(marks, *periods, treatment, state)
