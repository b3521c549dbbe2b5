"""The state of a CloudWatch metric alarm, from its data points.

The rules are those of "Using Amazon CloudWatch alarms" (docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/
AlarmThatSendsEmail.html): "How alarm state is evaluated when data is missing", "Avoiding premature transitions to
alarm state" and "Percentile-based CloudWatch alarms and low data samples".
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from cutover.alarms.errors import AlarmError
from cutover.alarms.metric_math import compile_metrics

__all__ = ["STATES", "Evaluation", "breaches", "decide", "evaluate", "minimum_samples"]

OK, ALARM, INSUFFICIENT_DATA = "OK", "ALARM", "INSUFFICIENT_DATA"
STATES = (OK, ALARM, INSUFFICIENT_DATA)
MISSING, IGNORE, BREACHING, NOT_BREACHING = "missing", "ignore", "breaching", "notBreaching"
TREATMENTS = (MISSING, IGNORE, BREACHING, NOT_BREACHING)
EVALUATE = "evaluate"
LARGEST = float(2**360)  # API reference, MetricDatum: values lie between -2^360 and 2^360

_OPERATORS: dict[str, tuple[Callable[[float, float], bool], str]] = {
    "GreaterThanOrEqualToThreshold": (operator.ge, "greater than or equal to"),
    "GreaterThanThreshold": (operator.gt, "greater than"),
    "LessThanOrEqualToThreshold": (operator.le, "less than or equal to"),
    "LessThanThreshold": (operator.lt, "less than"),
}
_BAND_OPERATORS = ("GreaterThanUpperThreshold", "LessThanLowerOrGreaterThanUpperThreshold", "LessThanLowerThreshold")


@dataclass(frozen=True)
class Evaluation:
    """The state of an alarm after one evaluation, and why, in one sentence."""

    state: str
    reason: str


@dataclass(frozen=True)
class _Condition:
    """An alarm's checked settings; `fewest_samples` is set only where a point with fewer keeps the state."""

    evaluation_periods: int
    datapoints_to_alarm: int
    treatment: str
    comparison: str
    threshold: float
    fewest_samples: Fraction | None


def evaluate(
    alarm: Mapping[str, Any],
    datapoints: Sequence[float | None] | Mapping[str, Sequence[float | None]],
    state: str,
    sample_counts: Sequence[float | None] | None = None,
) -> Evaluation:
    """Evaluates an alarm once.

    Args:
        alarm: the parameters of PutMetricAlarm.
        datapoints: the evaluation range, oldest first, one a period, None where the metric has none; for an alarm with
            Metrics a list for each metric's Id, or one list: the values of what returns data, already computed.
        state: the current one.
        sample_counts: how many samples stand behind each data point of a percentile; None: not known, never too few.

    Raises:
        AlarmError: a setting, a data point or a count cannot be used; names the key.
    """
    if state not in STATES:
        raise AlarmError(f"state is {state!r}: give one of {', '.join(STATES)}")
    condition = _condition(alarm)
    points = _watched(alarm, datapoints)
    counts = _counts(sample_counts, len(points))
    real = [(point, count) for point, count in zip(points, counts, strict=True) if point is not None]
    newest = real[-condition.evaluation_periods :]
    for _, count in newest:
        if condition.fewest_samples is not None and count is not None and count < condition.fewest_samples:
            needed = math.ceil(condition.fewest_samples)
            return Evaluation(
                state,
                f"Unchecked: a datapoint has {count:g} samples, and its percentile needs {needed}; the state is kept",
            )
    marks = [None if point is None else breaches(alarm, point) for point in points]
    decided = _decided(marks, condition.evaluation_periods, condition.datapoints_to_alarm, condition.treatment)
    deciding = [point for point, _ in newest]
    return Evaluation(decided or state, _reason(alarm, condition, deciding, decided))


def breaches(alarm: Mapping[str, Any], value: float) -> bool:
    """Whether one data point of an alarm that `evaluate` accepts violates its threshold."""
    holds: bool = _OPERATORS[alarm["ComparisonOperator"]][0](value, alarm["Threshold"])
    return holds


def decide(
    breaching: Sequence[bool | None], evaluation_periods: int, datapoints_to_alarm: int, treatment: str, state: str
) -> str:
    """The decision alone, for replays: unchecked and quick.

    Args:
        breaching: the evaluation range, oldest first; None where a data point is missing.
        evaluation_periods: N of "M out of N".
        datapoints_to_alarm: M, from 1 to N.
        treatment: TreatMissingData.
        state: the current state, returned where the rules keep it.
    """
    return _decided(breaching, evaluation_periods, datapoints_to_alarm, treatment) or state


def _decided(breaching: Sequence[bool | None], periods: int, to_alarm: int, treatment: str) -> str | None:
    """The state, or None where the current one is kept."""
    real = [point for point in breaching if point is not None]
    if len(real) >= periods:
        return ALARM if sum(real[-periods:]) >= to_alarm else OK
    bad = sum(real)
    filled = periods - len(real) if treatment == BREACHING else 0
    if bad + filled >= to_alarm:
        return ALARM
    if treatment in (BREACHING, NOT_BREACHING):
        return OK
    if not real:
        return INSUFFICIENT_DATA if treatment == MISSING else None
    # The text of the premature-alarm rule looks at what is newer than the oldest breaching point only, its table has
    # `0 - X - -` OK at 2 out of 3: so a good point anywhere in the range keeps the rule from applying.
    if bad == len(real) and len(breaching) - breaching.index(True) >= to_alarm:
        return ALARM if treatment == MISSING else None
    return OK


def minimum_samples(statistic: str) -> Fraction | None:
    """How many samples a percentile like "p99.9" needs: 10 / (1 - p), or 10 / p below the median.

    None where the rule has no number: for other statistics, the minimum (p0) and the maximum (p100).

    Raises:
        AlarmError: a percentile above 100.
    """
    written = re.fullmatch(r"p(\d+(?:\.\d+)?)", statistic)
    if written is None:
        return None
    percent = Fraction(written[1])
    if percent > 100:
        raise AlarmError(f"ExtendedStatistic is {statistic!r}: a percentile lies between p0 and p100")
    rarer = min(percent, 100 - percent)
    return 1000 / rarer if rarer else None


def _condition(alarm: Mapping[str, Any]) -> _Condition:
    if not isinstance(alarm, Mapping):
        raise AlarmError("alarm is no object: write the parameters of PutMetricAlarm")
    periods = _whole(alarm, "EvaluationPeriods", alarm.get("EvaluationPeriods"))
    to_alarm = _whole(alarm, "DatapointsToAlarm", periods)
    if to_alarm > periods:
        raise AlarmError(f"DatapointsToAlarm is {to_alarm}, above EvaluationPeriods {periods}: lower it")
    comparison = alarm.get("ComparisonOperator")
    if alarm.get("ThresholdMetricId") is not None or comparison in _BAND_OPERATORS:
        raise AlarmError("ThresholdMetricId and its operators are not supported: compare with a static Threshold")
    if comparison not in tuple(_OPERATORS):
        raise AlarmError(f"ComparisonOperator is {comparison!r}: give one of {', '.join(_OPERATORS)}")
    fewest = _fewest_samples(alarm)
    return _Condition(
        periods, to_alarm, _treatment(alarm), comparison, _number("Threshold", alarm.get("Threshold")), fewest
    )


def _treatment(alarm: Mapping[str, Any]) -> str:
    # "Configuring how CloudWatch alarms treat missing data": DynamoDB's metrics have a default of their own.
    default = IGNORE if alarm.get("Namespace") == "AWS/DynamoDB" else MISSING
    return _one_of(alarm, "TreatMissingData", TREATMENTS, default)


def _fewest_samples(alarm: Mapping[str, Any]) -> Fraction | None:
    few = _one_of(alarm, "EvaluateLowSampleCountPercentile", (EVALUATE, IGNORE), EVALUATE)
    statistic = "" if alarm.get("ExtendedStatistic") is None else alarm["ExtendedStatistic"]
    if not isinstance(statistic, str):
        raise AlarmError(f"ExtendedStatistic is {statistic!r}: write it as text, like p95")
    fewest = minimum_samples(statistic)
    return fewest if few == IGNORE else None


def _one_of(alarm: Mapping[str, Any], key: str, allowed: Sequence[str], default: str) -> str:
    value = default if alarm.get(key) is None else alarm[key]
    if value not in allowed:
        raise AlarmError(f"{key} is {value!r}: give one of {', '.join(allowed)}")
    return str(value)


def _whole(alarm: Mapping[str, Any], key: str, default: object) -> int:
    value = default if alarm.get(key) is None else alarm[key]
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise AlarmError(f"{key} is {value!r}: give a whole number from 1")
    return value


def _number(key: str, value: object) -> float:
    # NaN fails both comparisons.
    if isinstance(value, bool) or not isinstance(value, int | float) or not -LARGEST <= value <= LARGEST:
        raise AlarmError(f"{key} is {value!r}: give a number between -2^360 and 2^360")
    return float(value)


def _points(key: str, values: object) -> list[float | None]:
    if not isinstance(values, list | tuple):
        raise AlarmError(f"{key} is {values!r}: give a list of numbers and nulls, oldest first")
    return [None if value is None else _number(f"{key}[{index}]", value) for index, value in enumerate(values)]


def _watched(alarm: Mapping[str, Any], datapoints: object) -> list[float | None]:
    queries = alarm.get("Metrics")
    if queries is None:
        return _points("datapoints", datapoints)
    metrics = compile_metrics(queries)
    if not isinstance(datapoints, Mapping):
        return _points("datapoints", datapoints)
    return metrics.series({name: _points(f"datapoints.{name}", values) for name, values in datapoints.items()})


def _counts(sample_counts: object, length: int) -> list[float | None]:
    if sample_counts is None:
        return [None] * length
    counts = _points("sample_counts", sample_counts)
    if len(counts) != length:
        raise AlarmError(f"sample_counts has {len(counts)} entries for {length} datapoints: give one for each")
    if any(count is not None and count < 0 for count in counts):
        raise AlarmError("sample_counts has a negative entry: give how many samples stand behind each datapoint")
    return counts


def _reason(alarm: Mapping[str, Any], condition: _Condition, newest: Sequence[float], decided: str | None) -> str:
    """Tells the decision; `newest` are the real points that decided."""
    if decided == INSUFFICIENT_DATA:
        return "Insufficient Data: no datapoint in the evaluation range"
    bad = sum(breaches(alarm, point) for point in newest)
    phrase = f"{_OPERATORS[condition.comparison][1]} the threshold ({condition.threshold!r})"
    seen = f"{bad} out of the last {len(newest)} datapoints {newest} are {phrase}" if newest else "no datapoints"
    lacking = condition.evaluation_periods - len(newest)
    if lacking:
        seen += f", {lacking} missing are treated as {condition.treatment}"
    if decided is None:
        return f"Unchecked: {seen}; the state is kept"
    if decided == OK:
        return f"Threshold Not Crossed: {seen} (minimum {condition.datapoints_to_alarm} for ALARM)"
    if bad + (lacking if condition.treatment == BREACHING else 0) >= condition.datapoints_to_alarm:
        return f"Threshold Crossed: {seen} (minimum {condition.datapoints_to_alarm} for ALARM)"
    return f"Threshold Crossed: {seen}; the oldest is {condition.datapoints_to_alarm} periods old, and none is good"
