"""What AWS refuses of alarms and filters: the stand-ins take it, so the rehearsal's provider must say no itself.

Each boundary is tested on both sides; sources stand in rehearsal.provider.limits.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from rehearsal.provider.cloudwatch import MetricAlarm
from rehearsal.provider.kept_types import CompositeAlarm
from rehearsal.provider.logs import LogGroup, LogMetricFilter
from rehearsal.provider.properties import ProviderError, completed, faults

if TYPE_CHECKING:
    from rehearsal.provider.resource import ResourceType

SINGLE: dict[str, Any] = {
    "name": "a",
    "comparisonOperator": "GreaterThanThreshold",
    "evaluationPeriods": 3,
    "threshold": 1,
    "metricName": "m",
    "namespace": "n",
    "period": 60,
    "statistic": "Sum",
}
COMMON = {name: SINGLE[name] for name in ("name", "comparisonOperator", "evaluationPeriods", "threshold")}
COMPOSITE = {"alarmName": "c", "alarmRule": 'ALARM("a")'}
TRANSFORMATION = {"name": "m", "namespace": "n", "value": "1"}
FILTER = {"name": "f", "logGroupName": "g", "pattern": "x", "metricTransformation": TRANSFORMATION}


def metric(name: str, period: int = 60, *, compared: bool = False) -> dict[str, Any]:
    stat = {"metricName": name, "namespace": "n", "period": period, "stat": "Sum"}
    return {"id": name, "metric": stat, "returnData": compared}


def math(*queries: dict[str, Any], **properties: Any) -> dict[str, Any]:
    return COMMON | {"metricQueries": [{"id": "e", "expression": "m0", "returnData": True}, *queries]} | properties


def transformation(**properties: Any) -> dict[str, Any]:
    return FILTER | {"metricTransformation": TRANSFORMATION | properties}


def parameters(resource_type: type[ResourceType], inputs: dict[str, Any]) -> dict[str, Any]:
    assert not list(faults(resource_type.fields, inputs))
    return resource_type.parameters(completed(resource_type.fields, inputs))


TAKEN: list[tuple[type[ResourceType], dict[str, Any]]] = [
    (MetricAlarm, SINGLE),
    (MetricAlarm, SINGLE | {"name": "a" * 255, "alarmDescription": "d" * 1024, "alarmActions": ["arn"] * 5}),
    (MetricAlarm, SINGLE | {"datapointsToAlarm": 3}),
    (MetricAlarm, SINGLE | {"period": 10}),
    (MetricAlarm, SINGLE | {"period": 1800, "evaluationPeriods": 48}),
    (MetricAlarm, SINGLE | {"period": 3600, "evaluationPeriods": 168}),
    (MetricAlarm, math(*(metric(f"m{number}") for number in range(10)))),
    (MetricAlarm, math(metric("m0"), dimensions={})),
    (CompositeAlarm, COMPOSITE | {"alarmRule": 'ALARM("a")'.ljust(10_240)}),
    (LogGroup, {"name": "g"}),  # for ever
    (LogGroup, {"name": "g", "retentionInDays": 90}),
    (LogMetricFilter, transformation(defaultValue="0")),
    (LogMetricFilter, transformation(dimensions={"a": "$.a", "b": "$.b", "c": "$.c"})),
    (LogMetricFilter, FILTER | {"name": "f" * 512, "pattern": "x" * 1024}),
]
REFUSED: list[tuple[type[ResourceType], dict[str, Any], str]] = [
    (MetricAlarm, SINGLE | {"name": "a" * 256}, "its name has more than 255 characters"),
    (MetricAlarm, SINGLE | {"alarmDescription": "d" * 1025}, "description has more than 1024 characters"),
    (MetricAlarm, SINGLE | {"okActions": ["arn"] * 6}, "more than 5 OKActions"),
    (MetricAlarm, SINGLE | {"comparisonOperator": "GreaterThan"}, "ComparisonOperator GreaterThan is none of"),
    (MetricAlarm, SINGLE | {"treatMissingData": "zero"}, "TreatMissingData zero is none of"),
    (MetricAlarm, SINGLE | {"datapointsToAlarm": 4}, "DatapointsToAlarm 4 is more than EvaluationPeriods"),
    (MetricAlarm, SINGLE | {"threshold": None}, "one of Threshold and ThresholdMetricId"),
    (MetricAlarm, SINGLE | {"period": None}, "needs a Period"),
    (MetricAlarm, SINGLE | {"extendedStatistic": "p95"}, "one of Statistic and ExtendedStatistic"),
    (MetricAlarm, SINGLE | {"statistic": None}, "one of Statistic and ExtendedStatistic"),
    (MetricAlarm, SINGLE | {"period": 0}, "the Period 0 is neither"),
    (MetricAlarm, SINGLE | {"period": 90}, "the Period 90 is neither"),
    (MetricAlarm, SINGLE | {"period": 1800, "evaluationPeriods": 49}, "49 periods of 1800 s are more than 86400 s"),
    (MetricAlarm, SINGLE | {"period": 3600, "evaluationPeriods": 169}, "169 periods of 3600 s are more than 604800 s"),
    (MetricAlarm, COMMON, "one of MetricName and Metrics"),
    (MetricAlarm, math(metric("m0")) | {"metricName": "m"}, "one of MetricName and Metrics"),
    (MetricAlarm, math(metric("m0"), period=60), "Period stands beside Metrics"),
    (MetricAlarm, math(metric("m0"), dimensions={"a": "b"}), "Dimensions stands beside Metrics"),
    (MetricAlarm, math(metric("m0", 90)), "the Period 90 is neither"),
    (MetricAlarm, math(metric("m0", 28_860), evaluationPeriods=21), "21 periods of 28860 s are more"),
    (MetricAlarm, math(*(metric(f"m{number}") for number in range(11))), "more than 10 metrics"),
    (MetricAlarm, math(metric("m0"), metric("m0")), "two metrics have the Id m0"),
    (MetricAlarm, math(metric("M0")), "the Id M0 of a metric"),
    (MetricAlarm, math(metric("m0", compared=True)), "exactly one of Metrics has ReturnData"),
    (MetricAlarm, math(metric("m0") | {"expression": "1"}), "m0 takes one of Expression and MetricStat"),
    (MetricAlarm, math(metric("m1")), "the expression e names m0, which is no Id of Metrics"),
    (MetricAlarm, math(metric("m0"), {"id": "f", "expression": "m0 /"}), "Expression 'm0 /', position 5"),
    (CompositeAlarm, COMPOSITE | {"alarmName": "c" * 256}, "its name has more than 255 characters"),
    (CompositeAlarm, COMPOSITE | {"alarmRule": 'ALARM("a")'.ljust(10_241)}, "it has 10241 characters"),
    (CompositeAlarm, COMPOSITE | {"alarmRule": 'ALARM("a") OR'}, "Invalid rule"),
    (LogGroup, {"name": "g", "retentionInDays": 91}, "a retention of 91 days is none of 1, 3, 5"),
    (LogMetricFilter, transformation(defaultValue="0", dimensions={"a": "$.a"}), "dimensions and a default value"),
    (LogMetricFilter, transformation(dimensions=dict.fromkeys("abcd", "$.a")), "more than 3 dimensions"),
    (LogMetricFilter, FILTER | {"name": "f" * 513}, "its name has more than 512 characters"),
    (LogMetricFilter, FILTER | {"pattern": "x" * 1025}, "it has 1025 characters"),
    (LogMetricFilter, FILTER | {"pattern": "METRIC: cert.s3="}, "Invalid filter pattern"),
    (LogMetricFilter, FILTER | {"pattern": "{ $.a = }"}, "Invalid filter pattern"),
]


@pytest.mark.parametrize(("resource_type", "inputs"), TAKEN)
def test_what_aws_takes_is_taken(resource_type: type[ResourceType], inputs: dict[str, Any]) -> None:
    """The rehearsal refuses an alarm that AWS would take, and somebody weakens the alarm."""
    assert parameters(resource_type, inputs)


@pytest.mark.parametrize(("resource_type", "inputs", "reason"), REFUSED)
def test_what_aws_refuses_is_refused(resource_type: type[ResourceType], inputs: dict[str, Any], reason: str) -> None:
    """The rehearsal is green, and `pulumi up` on AWS ends half way, without the alarms."""
    with pytest.raises(ProviderError, match=re.escape(reason)):
        parameters(resource_type, inputs)


def test_a_default_value_must_be_a_number() -> None:
    """A word as default value ends `pulumi up` with a traceback."""
    assert [path for path, _ in faults(LogMetricFilter.fields, transformation(defaultValue="none"))] == [
        "metricTransformation[0].defaultValue"
    ]
