"""Metric math, held to the worked examples of AWS.

Vectors: "Using metric math" (docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html), sections
"Comparison and logical operators", "Functions supported for metric math" and "Using IF expressions".
"""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cutover.alarms.errors import AlarmError
from cutover.alarms.expressions import DEEPEST, ExpressionError, compile_expression
from cutover.alarms.math_functions import FUNCTIONS
from cutover.alarms.metric_math import compile_metrics

Points = list[float | None]
M1: Points = [1, 1, 0, 0, None]
M2: Points = [30, None, 0, 0, 30]
M3: Points = [0, 0, 20, None, 20]


def series(text: str, **values: Points) -> Points:
    return compile_expression(text).series(values)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("IF(m1, m2, m3)", [30, 0, 20, None, None]),
        ("IF(m1, 5, m3)", [5, 5, 20, None, None]),
        ("IF(m1, m2, 5)", [30, 0, 5, 5, None]),
        ("IF(m1, m2)", [30, 0, None, None, None]),
        ("IF(m1, 10, 2)", [10, 10, 2, 2, None]),
        ("IF(m2 < 20, m3, 7)", [7, None, 20, 0, 7]),
        ("IF(-m1, 10, 2)", [10, 10, 2, 2, None]),
        ("IF(1 > 0, m2, m3)", M2),
        ("IF(1 < 0, m2, m3)", M3),
        ("IF(1 < 0, m2)", [None] * 5),
        ("IF(1 < 0, 5, m3)", M3),
    ],
)
def test_if_as_the_guide_tabulates_it(text: str, expected: Points) -> None:
    """The ratio alarms stand on IF: a wrong gap in it is a page for nothing, or none at all."""
    assert series(text, m1=M1, m2=M2, m3=M3) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(metric1 < metric2)", [0, 0, 1, 0]),
        ("(metric1 >= 30)", [1, 0, 0, 0]),
        ("(metric1 > 15 AND metric2 > 15)", [1, 0, 0, 0]),
        ("metric1 > 15 && metric2 > 15", [1, 0, 0, 0]),
        ("metric1 > 25 OR metric2 > 15", [1, 0, 1, 0]),
        ("metric1 > 25 || metric2 > 15", [1, 0, 1, 0]),
        ("metric1 <= 20", [0, 1, 1, 1]),
        ("metric1 == metric2", [0, 0, 0, 1]),
        ("metric1 != metric2", [1, 1, 1, 0]),
        ("metric1 > metric2", [1, 1, 0, 0]),
    ],
)
def test_comparisons_as_the_guide_tabulates_them(text: str, expected: Points) -> None:
    """Between two series a gap compares as 0."""
    assert series(text, metric1=[30, 20, 0, 0], metric2=[20, None, 20, None]) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a + b", [5, 2, 3, None]),
        ("a - b", [-1, 2, -3, None]),
        ("a * b", [6, 0, 0, None]),
        ("a / b", [2 / 3, None, 0, None]),
        ("a ^ b", [8, 1, 0, None]),
        ("a + 1", [3, 3, None, None]),
        ("10 / a", [5, 5, None, None]),
        ("a / 0", [None] * 4),
        ("1 / 0 + a", [None] * 4),
        ("1 / 0 + 1 + a", [None] * 4),
        ("-5 * a", [-10, -10, None, None]),
        ("(-a) ^ 0.5", [None] * 4),
        ("a ^ 5000", [None] * 4),
        ("a * 9999999999 ^ 30 * 9999999999 ^ 30", [None] * 4),
        ("CEIL(a * 9999999999 ^ 30 * 9999999999 ^ 30)", [None] * 4),
    ],
)
def test_a_gap_is_nought_beside_a_point_and_a_division_by_nought_drops_the_point(text: str, expected: Points) -> None:
    """A counter that wrote nothing counts nothing; but a rate of nothing is no rate, least of all 0 or infinity."""
    assert series(text, a=[2, 2, None, None], b=[3, None, 3, None]) == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("8 - 4 - 2", 2),
        ("16 / 4 / 2", 2),
        ("2 * 3 ^ 2", 18),
        ("-2 ^ 2", -4),
        ("2 ^ 3 ^ 2", 512),
        ("2 ^ -1", 0.5),
        ("2 - -2", 4),
        ("1 + 1 == 2", 1),
        ("1 == 0 == 0", 1),
        ("8 - 2 * 3", 2),
        ("12 / 2 * 3", 18),
        ("1 OR 0 AND 0", 1),
        ("1 || 0 && 0", 1),
        ("0 < 1 AND 2 < 1", 0),
        (".5 + 1.", 1.5),
        ("ABS(-2) + CEIL(1.2) + FLOOR(-1.2)", 2),
        ("1" + "+1" * 2000, 2001),
    ],
)
def test_precedence(text: str, value: float) -> None:
    """`fail / success + fail` must not become the failure rate that somebody meant."""
    assert series(f"TIME_SERIES({text})", m=[None, 7]) == [value, value]


@pytest.mark.parametrize("comparison", ["==", "!=", "<", ">", "<=", ">="])
def test_a_comparison_binds_less_than_arithmetic(comparison: str) -> None:
    """`fail > limit + 1` compares with the sum."""
    written, meant = f"TIME_SERIES(4 {comparison} 3 + 2)", f"TIME_SERIES(4 {comparison} 5)"
    assert series(written, m=[0]) == series(meant, m=[0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ABS(m)", [1, None, 4, 2.5]),
        ("CEIL(m)", [1, None, -4, 3]),
        ("FLOOR(m)", [1, None, -4, 2]),
        ("FLOOR(LOG(m * 3))", [1, None, None, 2]),
        ("LOG(m - m)", [None] * 4),
        ("CEIL(LOG(m / 2))", [0, None, None, 1]),
        ("LOG10(m * 100)", [2, None, None, math.log10(250)]),
        ("DIFF(m)", [None, None, -5, 6.5]),
        ("RUNNING_SUM(m)", [1, None, -3, -0.5]),
        ("m - m + SUM(m)", [-0.5, None, -0.5, -0.5]),
        ("m - m + AVG(m)", [-0.125, None, -0.125, -0.125]),
        ("m - m + MIN(m)", [-4, None, -4, -4]),
        ("m - m + MAX(m)", [2.5, None, 2.5, 2.5]),
        ("TIME_SERIES(MAX(m))", [2.5] * 4),
        ("FILL(m, 9)", [1, 9, -4, 2.5]),
        ("FILL(m, MIN(m))", [1, -4, -4, 2.5]),
        ("FILL(m, g)", [1, 3, -4, 2.5]),
        ("FILL(g, m)", [1, 3, -4, 5]),
        ("FILL(m, REPEAT)", [1, 1, -4, 2.5]),
        ("FILL(m, LINEAR)", [1, -1.5, -4, 2.5]),
        ("FILL(g, REPEAT)", [None, 3, 3, 5]),
        ("FILL(g, LINEAR)", [None, 3, 4, 5]),
        ("SUM([m, g])", [1, 3, -4, 7.5]),
        ("AVG([m, g])", [0.5, 1.5, -2, 3.75]),
        ("MAX([m, g])", [1, 3, -4, 5]),
        ("MIN([m, g])", [1, 3, -4, 2.5]),
        ("STDDEV([m, g])", [0, 0, 0, 1.25]),
        ("MIN(ABS([m, g]))", [1, 3, 4, 2.5]),
        ("SUM(-[m, g])", [-1, -3, 4, -7.5]),
        ("SUM(100 / [m, g])", [100, 100 / 3, -25, 60]),
        ("SUM([m, g] - 1)", [0, 2, -5, 5.5]),
        ("SUM(m - [m, g])", [1, -3, -4, -2.5]),
        ("SUM([m, [g, g]])", [1, 6, -4, 12.5]),
        ("SUM(FILL([m, g], 0))", [1, 3, -4, 7.5]),
        ("SUM(METRICS())", [1, 3, -4, 7.5]),
        ('SUM(METRICS("g"))', [None, 3, None, 5]),
        ("DATAPOINT_COUNT([m, g])", [1, 1, 1, 2]),
        ("m - m + DATAPOINT_COUNT(m)", [3, None, 3, 3]),
        ("m - m + DATAPOINT_COUNT(e)", [0, None, 0, 0]),
        ("m - m + METRIC_COUNT([m, g, e])", [3, None, 3, 3]),
        ("FIRST([m, g])", [1, None, -4, 2.5]),
        ("LAST([m, g])", [None, 3, None, 5]),
        ("SUM([e, e])", [None] * 4),
        ("m + SUM(e)", [1, None, -4, 2.5]),
        ("m + MAX(e)", [None] * 4),
        ("m + STDDEV(e)", [None] * 4),
    ],
)
def test_functions(text: str, expected: Points) -> None:
    """Each function of the guide, over gaps at every place."""
    names: dict[str, Points] = {"m": [1.0, None, -4.0, 2.5], "g": [None, 3.0, None, 5.0], "e": [None] * 4}
    expression = compile_expression(text)
    values = names if "METRICS" not in text else {"m": names["m"], "g": names["g"]}
    assert expression.series(values) == expected


def test_the_standard_deviation_of_a_series_is_that_of_its_points() -> None:
    """Two, four, four, four, five, five, seven, nine: the textbook's two."""
    points: Points = [2, 4, 4, 4, None, 5, 5, 7, 9]
    assert series("TIME_SERIES(STDDEV(m))", m=points) == [2] * 9


def test_a_long_gap_is_filled_along_a_line() -> None:
    """From and to a nought as well."""
    assert series("FILL(m, LINEAR)", m=[0, None, None, 3, None, 0, None]) == [0, 1, 2, 3, 1.5, 0, None]


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_each_function_refuses_an_argument_too_few_or_too_many(name: str) -> None:
    """What is silently dropped was meant by somebody."""
    fewest, most, _ = FUNCTIONS[name]
    for count in (fewest - 1, most + 1):
        with pytest.raises(ExpressionError, match=f"position 1: {name} takes {fewest}.*and {count} are given"):
            compile_expression(f"{name}({', '.join(['m'] * count)})")
    assert compile_expression(f"{name}({', '.join(['m'] * most)})").names == ("m",)
    assert (fewest, most) == {"IF": (2, 3), "FILL": (2, 2)}.get(name, (1, 1))


def test_the_period_is_that_of_the_metrics() -> None:
    """A rate a second over a gap is spread over the gap."""
    values: dict[str, Points] = {"m": [60, None, 180, 60]}
    assert compile_expression("m / PERIOD(m)").series(values, 60) == [1, None, 3, 1]
    assert compile_expression("RATE(m)").series(values, 60) == [None, None, 1, -2]
    assert compile_expression("DIFF_TIME(m)").series(values, 60) == [None, None, 120, 60]
    for text, problem in (
        ("m / PERIOD(m)", "no"),
        ("RATE(m)", "RATE needs the period .* none is known"),
        ("DIFF_TIME(m)", "DIFF_TIME needs the period .* none is known"),
        ("m / PERIOD(m + 1)", "id of a metric"),
    ):
        with pytest.raises(ExpressionError, match=problem):
            compile_expression(text).series(values)


@pytest.mark.parametrize(
    ("text", "position", "problem"),
    [
        ("", 1, "the end"),
        ("m1 +", 5, "the end"),
        ("m1 m2", 4, "'m2'"),
        ("(m1", 4, "'\\)'"),
        ("m1)", 3, "'\\)'"),
        ("m1 ; m2", 4, "';'"),
        ("2e3", 2, "'e3'"),
        ("a and b", 3, "'and'"),
        ("1 + M1", 5, "'M1' is not supported"),
        ("SEARCH(m1)", 1, "'SEARCH' is not supported"),
        ("1 + avg(m1)", 8, "'\\('"),
        ("AVG m1", 5, "'m1'"),
        ("AVG()", 1, "takes 1 argument"),
        ("2*AVG(m1, m2)", 3, "takes 1 argument"),
        ("IF(m1)", 1, "takes 2 or 3"),
        ("FILL(m1)", 1, "takes 2"),
        ("FILL(m1,)", 9, "'\\)'"),
        ("FILL(REPEAT, m1)", 6, "'REPEAT' is not supported"),
        ("METRICS(m1)", 9, "'m1'"),
        ('"m1"', 1, "'\"m1\"'"),
        ("[]", 2, "'\\]'"),
        ("+m1", 1, "'\\+'"),
        ("(" * 60 + "m1" + ")" * 60, DEEPEST + 1, "nested"),
        ("-" * 60 + "m1", DEEPEST + 1, "nested"),
    ],
)
def test_what_is_no_metric_math_is_refused_at_its_place(text: str, position: int, problem: str) -> None:
    """An expression that is half understood alarms on something else."""
    with pytest.raises(ExpressionError, match=rf"position {position}: .*{problem}"):
        compile_expression(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("5", "single number"),
        ("AVG(m1)", "single number"),
        ("[m1, m2]", "2 time series"),
        ("METRICS() / 2", "2 time series"),
        ("[m1, m2] + [m1, m2]", "two arrays"),
        ("[m1, 5]", "TIME_SERIES"),
        ("TIME_SERIES(m1)", "single number"),
        ("m1 + AVG(5)", "AVG takes"),
        ("DIFF(5)", "DIFF takes"),
        ("FIRST(m1)", "FIRST takes an array"),
        ("m1 / METRIC_COUNT(m1)", "METRIC_COUNT takes an array"),
        ('SUM(METRICS("error"))', "no metric has an Id with 'error'"),
        ("FILL(5, m1)", "FILL takes"),
        ("FILL(m1, [m1, m2])", "not with an array"),
        ("IF([m1, m2], 1, 0)", "not arrays"),
        ("m1 + IF(1, 2, 3)", "needs a time series"),
        ("m3 + 1", "no values for 'm3'"),
    ],
)
def test_parts_that_do_not_fit_are_refused(text: str, problem: str) -> None:
    """An alarm watches one time series: CloudWatch refuses anything else."""
    with pytest.raises(ExpressionError, match=problem):
        series(text, m1=[1.0], m2=[2.0])


def test_series_of_several_lengths_are_refused() -> None:
    """A shorter list would be compared with another minute."""
    with pytest.raises(ExpressionError, match=r"one length, and have \[1, 2\]"):
        series("a + b", a=[1.0], b=[1.0, 2.0])


def test_an_expression_names_what_it_reads() -> None:
    """The order of evaluation is taken from it."""
    assert compile_expression("IF(total >= 20, fail_1 / total, SUM([aB, aB]))").names == ("aB", "fail_1", "total")


def query(name: str, expression: str | None = None, *, returned: bool = False, **more: Any) -> dict[str, Any]:
    what = {"MetricStat": {"Stat": "Sum", "Period": 60}} if expression is None else {"Expression": expression}
    return {"Id": name, "ReturnData": returned, **what, **more}


def test_expressions_may_refer_to_each_other_in_any_order() -> None:
    """CloudWatch does not care for the order of the list."""
    metrics = compile_metrics(
        [
            query("e1", "e2 * 2 / PERIOD(a)", returned=True),
            query("e2", "SUM(e3)"),
            query("e3", "[a, b]"),
            query("a"),
            query("b"),
        ]
    )
    assert metrics.series({"a": [30, None], "b": [30, 60]}) == [2, 2]
    assert metrics.metrics == ("a", "b")


def test_metrics_leaves_the_expressions_out() -> None:
    """ "Math expressions aren't included": else each sum would count its own parts twice."""
    queries = [query("e1", "SUM(METRICS())", returned=True), query("e2", "a * 100"), query("a"), query("b")]
    assert compile_metrics(queries).series({"a": [1], "b": [2]}) == [3]


def test_a_single_metric_may_be_what_is_returned() -> None:
    """Without an expression the alarm watches the metric; ReturnData is true unless said otherwise."""
    assert compile_metrics([{"Id": "a"}]).series({"a": [1.0, None]}) == [1.0, None]


@pytest.mark.parametrize(
    ("queries", "problem"),
    [
        ("m1", "no list"),
        ([], "no list"),
        ([5], "no list"),
        ([{}], "Id None"),
        ([query("a", returned=True), query("a")], "'a' is no name, or repeated"),
        ([query("A", returned=True)], "'A' is no name"),
        ([{"Id": "a", "ReturnData": "false"}], r"a\.ReturnData"),
        ([{"Id": "a", "MetricStat": {"Period": 0}}], r"a\.MetricStat\.Period"),
        ([{"Id": "a", "MetricStat": {"Period": [60]}}], r"a\.MetricStat\.Period"),
        ([{"Id": "a", "MetricStat": "Sum"}], r"a\.MetricStat is 'Sum'"),
        ([{"Id": "a", "MetricStat": 60}], r"a\.MetricStat is 60"),
        ([query("a"), query("b", "a")], "true for 0 of them"),
        ([query("a", returned=True), query("b", "a", returned=True)], r"true for 2 of them \(a, b\)"),
        ([query("a"), {"Id": "b", "Expression": "a"}, {"Id": "c", "Expression": "a"}], "true for 2"),
        ([query("a"), query("b", "c", returned=True)], "'c', which is no Id"),
        ([query("a"), query("b", "c", returned=True), query("c", "b")], "circle"),
        ([query("a"), query("b", "b + a", returned=True)], "circle"),
        ([query("b", "TIME_SERIES(1)", returned=True)], "needs a metric"),
        ([query("a"), query("b", "a", returned=True, MetricStat={})], "both"),
        ([query("a"), {"Id": "b", "Expression": 5}], "no text"),
        ([query("a"), query("b", "a +", returned=True)], "position 4"),
    ],
)
def test_metrics_that_cannot_be_used_are_refused(queries: Any, problem: str) -> None:
    """Two returned series, or an id that nobody has, would be an alarm on chance."""
    with pytest.raises(AlarmError, match=problem):
        compile_metrics(queries)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"a": [1]}, "none for 'b'"),
        ({"a": [1], "b": [1], "c": [1]}, "'c' is no metric"),
        ({"a": [1], "b": [1, 2]}, "one length"),
    ],
)
def test_values_that_do_not_fit_the_metrics_are_refused(values: Any, problem: str) -> None:
    """A metric that is missing from the vector is no metric without data."""
    with pytest.raises(AlarmError, match=problem):
        compile_metrics([query("a"), query("b"), query("e", "a + b", returned=True)]).series(values)


def test_the_alarm_refuses_an_array_and_a_number() -> None:
    """Both are refused by CloudWatch when the alarm is put."""
    with pytest.raises(ExpressionError, match="1 time series"):
        compile_metrics([query("a"), query("e", "[a]", returned=True)]).series({"a": [1]})
    with pytest.raises(ExpressionError, match="single number"):
        compile_metrics([query("a"), query("n", "MAX(a)"), query("e", "a - n", returned=True)]).series({"a": [1]})


POINTS = st.lists(st.one_of(st.none(), st.integers(-50, 50).map(float)), min_size=1, max_size=8)
POINTWISE = (
    "a / IF(b >= 20, b, 0)",
    "IF(a < b, a, 0) ^ 2",
    "MAX([a, b]) - MIN([a, b])",
    "FILL(a, b) * 3 OR b",
    "LOG(ABS(a)) / CEIL(b)",
)


@settings(max_examples=80, deadline=None)
@given(a=POINTS, b=POINTS, text=st.sampled_from(POINTWISE))
def test_each_period_depends_on_itself_alone(a: Points, b: Points, text: str) -> None:
    """A month is evaluated in one go: that must not differ from minute by minute."""
    length = min(len(a), len(b))
    whole = series(text, a=a[:length], b=b[:length])
    assert whole == [series(text, a=[x], b=[y])[0] for x, y in zip(a[:length], b[:length], strict=True)]


@settings(max_examples=80, deadline=None)
@given(a=POINTS)
def test_filling_changes_nothing_that_is_there(a: Points) -> None:
    """FILL may add points, never move one; what is filled lies between the ends of the gap."""
    for text in ("FILL(a, 0)", "FILL(a, REPEAT)", "FILL(a, LINEAR)"):
        filled = series(text, a=a)
        assert [new for new, old in zip(filled, a, strict=True) if old is not None] == [p for p in a if p is not None]
    assert None not in series("FILL(a, 0)", a=a)
    real = [point for point in a if point is not None]
    assert all(p is None or min(real) <= p <= max(real) for p in series("FILL(a, LINEAR)", a=a))
