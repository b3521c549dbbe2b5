"""What AWS refuses of alarms, metric filters and log groups, and the stand-ins take.

Sources: the API references of PutMetricAlarm, PutCompositeAlarm, MetricDataQuery (docs.aws.amazon.com/AmazonCloudWatch/
latest/APIReference) and of PutMetricFilter, MetricTransformation, PutRetentionPolicy (docs.aws.amazon.com/
AmazonCloudWatchLogs/latest/APIReference), as of 2025; the syntax of expressions, rules and patterns: cutover.alarms.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cutover.alarm_table import longest_range
from cutover.alarms.errors import AlarmError
from cutover.alarms.expressions import compile_expression
from cutover.alarms.patterns import compile_pattern
from cutover.alarms.rules import compile_rule
from rehearsal.provider.properties import ProviderError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rehearsal.provider.wire import Values

NAME_CHARACTERS = 255  # of an alarm
DESCRIPTION_CHARACTERS = 1024
ACTIONS = 5  # for each state
MATH_METRICS = 10
SHORT_PERIODS = (10, 20, 30)  # seconds; every other period is whole minutes
QUERY_ID = re.compile(r"[a-z][a-zA-Z0-9_]*")
FOR_EVER = 0  # Pulumi's word for a log group without retention
RETENTIONS = frozenset(  # days
    {FOR_EVER, 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545}
    | {731, 1096, 1827, 2192, 2557, 2922, 3288, 3653}
)
FILTER_NAME_CHARACTERS = 512
FILTER_DIMENSIONS = 3
STATES = ("AlarmActions", "OKActions", "InsufficientDataActions")
COMPARISONS = frozenset(
    {"GreaterThanOrEqualToThreshold", "GreaterThanThreshold", "LessThanThreshold", "LessThanOrEqualToThreshold"}
)
TREATMENTS = frozenset({"breaching", "notBreaching", "ignore", "missing"})


def check_metric_alarm(alarm: Values) -> None:
    """Raises ProviderError for parameters of PutMetricAlarm that AWS does not take, with the first reason."""
    _raise_first(f"the alarm {alarm['AlarmName']}", _metric_alarm_faults(alarm))


def check_composite_alarm(alarm: Values) -> None:
    """Raises ProviderError for parameters of PutCompositeAlarm that AWS does not take, with the first reason."""
    _raise_first(f"the composite alarm {alarm['AlarmName']}", _composite_alarm_faults(alarm))


def check_metric_filter(metric_filter: Values) -> None:
    """Raises ProviderError for parameters of PutMetricFilter that AWS does not take, with the first reason."""
    _raise_first(f"the metric filter {metric_filter['filterName']}", _metric_filter_faults(metric_filter))


def check_log_group(log_group: Values) -> None:
    """Raises ProviderError for a retention that PutRetentionPolicy does not take."""
    _raise_first(f"the log group {log_group['logGroupName']}", _log_group_faults(log_group))


def _syntax_faults(compiler: Callable[[str], object], text: str) -> Iterator[str]:
    try:
        compiler(text)
    except AlarmError as error:
        yield str(error)


def _raise_first(what: str, faults: Iterator[str]) -> None:
    if fault := next(faults, None):
        raise ProviderError(f"AWS would refuse {what}: {fault}.")


def _metric_alarm_faults(alarm: Values) -> Iterator[str]:
    yield from _common_faults(alarm)
    if alarm["ComparisonOperator"] not in COMPARISONS:
        yield f"ComparisonOperator {alarm['ComparisonOperator']} is none of {', '.join(sorted(COMPARISONS))}"
    if alarm["TreatMissingData"] not in TREATMENTS:
        yield f"TreatMissingData {alarm['TreatMissingData']} is none of {', '.join(sorted(TREATMENTS))}"
    if alarm.get("DatapointsToAlarm", 1) > alarm["EvaluationPeriods"]:
        yield f"DatapointsToAlarm {alarm['DatapointsToAlarm']} is more than EvaluationPeriods"
    if ("Threshold" in alarm) == ("ThresholdMetricId" in alarm):
        yield "it takes one of Threshold and ThresholdMetricId"
    if ("MetricName" in alarm) == ("Metrics" in alarm):
        yield "it takes one of MetricName and Metrics"
    if "Metrics" in alarm:
        yield from _math_faults(alarm)
    else:
        yield from _single_metric_faults(alarm)
    for period in _periods(alarm):
        yield from _period_faults(period, alarm["EvaluationPeriods"])


def _single_metric_faults(alarm: Values) -> Iterator[str]:
    if "Period" not in alarm:
        yield "an alarm on one metric needs a Period"
    if ("Statistic" in alarm) == ("ExtendedStatistic" in alarm):
        yield "it takes one of Statistic and ExtendedStatistic"


def _math_faults(alarm: Values) -> Iterator[str]:
    for name in ("Dimensions", "Period", "Namespace", "Statistic", "ExtendedStatistic", "Unit"):
        if name in alarm:
            yield f"{name} stands beside Metrics: write it into the metric it belongs to"
    queries = alarm["Metrics"]
    if sum("MetricStat" in query for query in queries) > MATH_METRICS:
        yield f"it reads more than {MATH_METRICS} metrics"
    names = [query["Id"] for query in queries]
    for name in names:
        if not QUERY_ID.fullmatch(name):
            yield f"the Id {name} of a metric is no lower-case letter with letters, digits and underscores behind it"
        if names.count(name) > 1:
            yield f"two metrics have the Id {name}"
    if sum(query["ReturnData"] for query in queries) != 1 + ("ThresholdMetricId" in alarm):
        yield "exactly one of Metrics has ReturnData, the one that is compared"
    for query in queries:
        yield from _query_faults(query, names)


def _query_faults(query: Values, names: list[str]) -> Iterator[str]:
    if ("Expression" in query) == ("MetricStat" in query):
        yield f"{query['Id']} takes one of Expression and MetricStat"
    elif "Expression" in query:
        yield from _syntax_faults(compile_expression, query["Expression"])
        for name in compile_expression(query["Expression"]).names:
            if name not in names:
                yield f"the expression {query['Id']} names {name}, which is no Id of Metrics"


def _periods(alarm: Values) -> Iterator[int]:
    for holder in (alarm, *(query.get("MetricStat", query) for query in alarm.get("Metrics", []))):
        if "Period" in holder:
            yield holder["Period"]


def _period_faults(period: int, evaluation_periods: int) -> Iterator[str]:
    if period not in SHORT_PERIODS and (period <= 0 or period % 60):
        yield f"the Period {period} is neither 10, 20 or 30 nor a multiple of 60 seconds"
    longest = longest_range(period)
    if period * evaluation_periods > longest:
        yield f"{evaluation_periods} periods of {period} s are more than {longest} s"


def _common_faults(alarm: Values) -> Iterator[str]:
    if len(alarm["AlarmName"]) > NAME_CHARACTERS:
        yield f"its name has more than {NAME_CHARACTERS} characters"
    if len(alarm.get("AlarmDescription", "")) > DESCRIPTION_CHARACTERS:
        yield f"its description has more than {DESCRIPTION_CHARACTERS} characters"
    for state in STATES:
        if len(alarm[state]) > ACTIONS:
            yield f"it has more than {ACTIONS} {state}"


def _composite_alarm_faults(alarm: Values) -> Iterator[str]:
    yield from _common_faults(alarm)
    yield from _syntax_faults(compile_rule, alarm["AlarmRule"])


def _metric_filter_faults(metric_filter: Values) -> Iterator[str]:
    if len(metric_filter["filterName"]) > FILTER_NAME_CHARACTERS:
        yield f"its name has more than {FILTER_NAME_CHARACTERS} characters"
    yield from _syntax_faults(compile_pattern, metric_filter["filterPattern"])
    (transformation,) = metric_filter["metricTransformations"]
    dimensions = transformation.get("dimensions", {})
    if dimensions and "defaultValue" in transformation:
        yield "it has dimensions and a default value: leave one out"
    if len(dimensions) > FILTER_DIMENSIONS:
        yield f"it has more than {FILTER_DIMENSIONS} dimensions"


def _log_group_faults(log_group: Values) -> Iterator[str]:
    days = log_group["retentionInDays"]
    if days not in RETENTIONS:
        yield f"a retention of {days} days is none of {', '.join(map(str, sorted(RETENTIONS - {FOR_EVER})))}"
