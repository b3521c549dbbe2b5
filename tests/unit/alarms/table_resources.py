"""The alarms and filters that ops/cutover.yml asks for, in API shape: the tests' own reading of the table.

The Pulumi program makes the real ones; a test of its declarations holds both against each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cutover import names, plan
from cutover.alarms.resources import Resources

if TYPE_CHECKING:
    from cutover.plan import Deployment, Plan

COMPARISONS = {
    "above": "GreaterThanThreshold",
    "below": "LessThanThreshold",
    "at_least": "GreaterThanOrEqualToThreshold",
    "at_most": "LessThanOrEqualToThreshold",
}
TOPICS = "arn:aws:sns:us-east-1:123456789012:"


def declared(table: Plan | None = None, deployment: Deployment = "production") -> Resources:
    """The resources of one deployment."""
    table = table or plan.load()
    alarms = [_alarm(table, deployment, name) for name in table.alarms]
    return Resources(
        [*alarms, _silence(table, deployment)],
        [_incident(table, deployment, name) for name in table.incidents],
        _filters(table, deployment),
    )


def _alarm(table: Plan, deployment: Deployment, name: str) -> dict[str, Any]:
    alarm, watch = table.alarms[name], table.watch(name)
    (bound,) = watch.alert.model_fields_set
    declared: dict[str, Any] = {
        "AlarmName": names.alarm(deployment, name),
        "ComparisonOperator": COMPARISONS[bound],
        "Threshold": getattr(watch.alert, bound),
        "EvaluationPeriods": alarm.evaluation_periods,
        "DatapointsToAlarm": alarm.datapoints,
        "TreatMissingData": alarm.treat_missing_data,
        "AlarmActions": [TOPICS + names.topic(deployment, "warning")] if alarm.trigger is not None else [],
    }
    namespace = names.namespace(table.telemetry, deployment)
    if watch.measure in table.ratios:
        return declared | {"Metrics": _ratio(table, namespace, watch.measure, alarm.period_seconds, alarm)}
    if alarm.while_below is not None:
        return declared | {"Metrics": _while_below(table, namespace, alarm)}
    metric = {"Namespace": namespace, "MetricName": watch.measure, "Period": alarm.period_seconds}
    if watch.percentile is not None:
        statistic = {"ExtendedStatistic": f"p{watch.percentile}", "EvaluateLowSampleCountPercentile": alarm.low_samples}
    else:
        statistic = {"Statistic": "Maximum" if watch.measure in table.measurements else "Sum"}
    return declared | metric | statistic


def _ratio(table: Plan, namespace: str, measure: str, period: int, alarm: Any) -> list[dict[str, Any]]:
    ratio = table.ratios[measure]
    numerator, denominator = " + ".join(ratio.numerator), " + ".join(ratio.denominator)
    total = f"({denominator})"
    expression = f"({numerator}) / IF({total} >= {alarm.minimum_denominator}, {total}, 0)"
    return [
        *(_sum(namespace, metric, period) for metric in dict.fromkeys([*ratio.numerator, *ratio.denominator])),
        {"Id": "ratio", "Expression": expression, "ReturnData": True},
    ]


def _while_below(table: Plan, namespace: str, alarm: Any) -> list[dict[str, Any]]:
    denominator = table.ratios[alarm.while_below.ratio].denominator
    expression = f"IF(({' + '.join(denominator)}) < {alarm.while_below.denominator}, {alarm.measure}, 0)"
    return [
        *(_sum(namespace, metric, alarm.period_seconds) for metric in dict.fromkeys([alarm.measure, *denominator])),
        {"Id": "counted", "Expression": expression, "ReturnData": True},
    ]


def _sum(namespace: str, metric: str, period: int) -> dict[str, Any]:
    stat = {"Metric": {"Namespace": namespace, "MetricName": metric}, "Period": period, "Stat": "Sum"}
    return {"Id": metric, "MetricStat": stat, "ReturnData": False}


def _silence(table: Plan, deployment: Deployment) -> dict[str, Any]:
    metric = {"Namespace": names.namespace(table.telemetry, deployment), "MetricName": table.silence.metric}
    return {
        "AlarmName": names.silence(deployment),
        "Metrics": [
            {"Id": "newest", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Maximum"}, "ReturnData": False},
            {"Id": "lifted", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Minimum"}, "ReturnData": False},
            {"Id": "silent", "Expression": "newest + lifted"},
        ],
        "ComparisonOperator": "GreaterThanThreshold",
        "Threshold": 0,
        "EvaluationPeriods": 1,
        "TreatMissingData": "notBreaching",
    }


def _incident(table: Plan, deployment: Deployment, name: str) -> dict[str, Any]:
    incident = table.incidents[name]
    rule = " OR ".join(f'ALARM("{names.alarm(deployment, alarm)}")' for alarm in incident.alarms)
    if incident.unless is not None:
        rule = f'({rule}) AND NOT ALARM("{names.incident(deployment, incident.unless)}")'
    topic = TOPICS + names.topic(deployment, incident.severity)
    return {
        "AlarmName": names.incident(deployment, name),
        "AlarmRule": rule,
        "ActionsEnabled": True,
        "AlarmActions": [topic],
        "OKActions": [topic],
        "ActionsSuppressor": names.silence(deployment),
        "ActionsSuppressorWaitPeriod": table.silence.wait_seconds,
        "ActionsSuppressorExtensionPeriod": table.silence.extension_seconds,
    }


def _filters(table: Plan, deployment: Deployment) -> list[dict[str, Any]]:
    group = names.log_group(table.telemetry, deployment)
    namespace = names.namespace(table.telemetry, deployment)
    patterns = {metric: f'"METRIC: {line}="' for metric, line in table.metrics.items()}
    patterns["telemetry_lines"] = f'"{table.telemetry.any_line}"'
    counted = {metric: {"metricValue": "1", "defaultValue": 0} for metric in patterns}
    measured = {metric: {"metricValue": "$.value"} for metric in table.measurements}
    patterns |= {metric: f'{{ $.metric_name = "{line}" }}' for metric, line in table.measurements.items()}
    return [
        {
            "logGroupName": group,
            "filterName": metric,
            "filterPattern": patterns[metric],
            "metricTransformations": [{"metricName": metric, "metricNamespace": namespace, **transformation}],
        }
        for metric, transformation in (counted | measured).items()
    ]
