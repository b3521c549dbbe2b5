"""The alarms of ops/cutover.yml: metric alarms that watch, incidents that call someone, and the drills' silence."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi_aws import cloudwatch

from cutover import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cutover.alarm_table import Alarm, Bound, Severity
    from cutover.plan import Deployment, Plan, Watch

# An alarm fires when its bound holds.
COMPARISONS = {
    "above": "GreaterThanThreshold",
    "below": "LessThanThreshold",
    "at_least": "GreaterThanOrEqualToThreshold",
    "at_most": "LessThanOrEqualToThreshold",
}
SILENCE_PERIOD = 60  # seconds


@dataclasses.dataclass(frozen=True)
class AlarmsArgs:
    """The table, whose alarms they are, and the topic of each severity."""

    table: Plan
    deployment: Deployment
    topic_arns: Mapping[Severity, pulumi.Output[str]]
    tags: Mapping[str, str]


def metric_alarm(table: Plan, deployment: Deployment, name: str) -> dict[str, Any]:
    """Returns the arguments of one MetricAlarm of the table, without actions and tags."""
    alarm, watch = table.alarms[name], table.watch(name)
    comparison, threshold = _comparison(watch.alert)
    return {
        "name": names.alarm(deployment, name),
        "alarm_description": _description(table, deployment, name),
        "comparison_operator": comparison,
        "threshold": threshold,
        "evaluation_periods": alarm.evaluation_periods,
        "datapoints_to_alarm": alarm.datapoints,
        "treat_missing_data": alarm.treat_missing_data,
        **_measured(table, names.namespace(table.telemetry, deployment), alarm, watch),
    }


def silence_alarm(table: Plan, deployment: Deployment) -> dict[str, Any]:
    """Returns the arguments of the alarm that holds the incidents' actions back while a drill is announced.

    `cutover alarms silence` writes a point for each minute, in advance: the time of writing, and its negative to lift
    the silence. The larger in size is the newer, so the sum of maximum and minimum has the sign of what counts.
    """
    metric: cloudwatch.MetricAlarmMetricQueryMetricArgsDict = {
        "namespace": names.namespace(table.telemetry, deployment),
        "metric_name": table.silence.metric,
        "period": SILENCE_PERIOD,
        "stat": "Maximum",
    }
    queries: list[cloudwatch.MetricAlarmMetricQueryArgsDict] = [
        {"id": "newest", "metric": metric, "return_data": False},
        {"id": "lifted", "metric": {**metric, "stat": "Minimum"}, "return_data": False},
        {"id": "silent", "expression": "newest + lifted", "return_data": True},
    ]
    return {
        "name": names.silence(deployment),
        "alarm_description": (
            "In ALARM while a drill is announced: incidents then tell nobody. It ends by itself; "
            f"`cutover alarms silence --deployment {deployment} --lift` ends it at once. {table.runbook_url}#alarms"
        ),
        "comparison_operator": "GreaterThanThreshold",
        "threshold": 0,
        "evaluation_periods": 1,
        "datapoints_to_alarm": 1,
        "treat_missing_data": "notBreaching",
        "metric_queries": queries,
    }


def composite_alarm(table: Plan, deployment: Deployment, name: str) -> dict[str, Any]:
    """Returns the arguments of one CompositeAlarm of the table, without actions and tags."""
    incident = table.incidents[name]
    rule = " OR ".join(f'ALARM("{names.alarm(deployment, alarm)}")' for alarm in incident.alarms)
    if incident.unless is not None:
        rule = f'({rule}) AND NOT ALARM("{names.incident(deployment, incident.unless)}")'
    commands = "\n".join(f"- {alarm}: {table.next_command(alarm, deployment)}" for alarm in incident.alarms)
    return {
        "alarm_name": names.incident(deployment, name),
        "alarm_description": (
            f"One of these alarms of {deployment} is in ALARM; what to do next for each:\n{commands}\n"
            f"{table.runbook_url}#alarms"
        ),
        "alarm_rule": rule,
        "actions_suppressor": {
            "alarm": names.silence(deployment),
            "wait_period": table.silence.wait_seconds,
            "extension_period": table.silence.extension_seconds,
        },
    }


def _comparison(bound: Bound) -> tuple[str, float]:
    name, value = bound.limit
    return COMPARISONS[name], value


def _description(table: Plan, deployment: Deployment, name: str) -> str:
    alarm = table.alarms[name]
    return (
        f"{alarm.meaning[0].upper()}{alarm.meaning[1:]}. Fires at {table.condition(name)}. "
        f"Next: {table.next_command(name, deployment)}\n{table.runbook_url}#alarm-{name}"
    )


def _measured(table: Plan, namespace: str, alarm: Alarm, watch: Watch) -> dict[str, Any]:
    """Returns what the alarm looks at: metric math for ratios and restricted counts, else a statistic of a metric."""
    if watch.measure in table.ratios:
        ratio = table.ratios[watch.measure]
        total = sum_of(ratio.denominator)
        # Too few saves or reads divide by zero, which drops the point: no rate at all, instead of a rate by chance.
        expression = f"{sum_of(ratio.numerator)} / IF({total} >= {alarm.minimum_denominator}, {total}, 0)"
        counters = [*ratio.numerator, *ratio.denominator]
        return {"metric_queries": _math(namespace, alarm.period_seconds, counters, ("ratio", expression))}
    if alarm.while_below is not None:
        denominator = table.ratios[alarm.while_below.ratio].denominator
        expression = f"IF({sum_of(denominator)} < {alarm.while_below.denominator}, {watch.measure}, 0)"
        counters = [watch.measure, *denominator]
        return {"metric_queries": _math(namespace, alarm.period_seconds, counters, ("counted", expression))}
    metric = {"namespace": namespace, "metric_name": watch.measure, "period": alarm.period_seconds}
    if watch.percentile is not None:
        return metric | {
            "extended_statistic": f"p{watch.percentile}",
            "evaluate_low_sample_count_percentiles": alarm.low_samples,
        }
    return metric | {"statistic": "Maximum" if watch.measure in table.measurements else "Sum"}


def sum_of(counters: Iterable[str]) -> str:
    """Returns the metric math that adds these counters up."""
    return f"({' + '.join(counters)})"


def _math(
    namespace: str, period: int, counters: Iterable[str], judged: tuple[str, str]
) -> list[cloudwatch.MetricAlarmMetricQueryArgsDict]:
    """Returns the sum of each counter a period (seconds), and id and expression that the threshold is held against."""
    sums: list[cloudwatch.MetricAlarmMetricQueryArgsDict] = [
        {
            "id": counter,
            "metric": {"namespace": namespace, "metric_name": counter, "period": period, "stat": "Sum"},
            "return_data": False,
        }
        for counter in dict.fromkeys(counters)
    ]
    name, expression = judged
    return [*sums, {"id": name, "expression": expression, "return_data": True}]


class Alarms(pulumi.ComponentResource):
    """All alarms of a deployment. `metric_alarms` and `incidents` by the table's names."""

    metric_alarms: Mapping[str, cloudwatch.MetricAlarm]
    incidents: Mapping[str, cloudwatch.CompositeAlarm]
    silence: cloudwatch.MetricAlarm

    def __init__(self, name: str, args: AlarmsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("deltacrown:monitoring:Alarms", name, None, opts)
        self._args = args
        self.metric_alarms = {alarm: self._metric_alarm(alarm) for alarm in args.table.alarms}
        self.silence = cloudwatch.MetricAlarm(
            "silence",
            **silence_alarm(args.table, args.deployment),
            tags=args.tags,
            opts=pulumi.ResourceOptions(parent=self),
        )
        incidents: dict[str, cloudwatch.CompositeAlarm] = {}
        # AWS takes a rule only once the alarms that it names exist, so an incident follows the one that explains it.
        for incident in sorted(args.table.incidents, key=lambda each: args.table.incidents[each].unless is not None):
            incidents[incident] = self._incident(incident, incidents)
        self.incidents = incidents
        self.register_outputs({"incidents": [incident.alarm_name for incident in incidents.values()]})

    @property
    def all(self) -> list[cloudwatch.MetricAlarm | cloudwatch.CompositeAlarm]:
        """Incidents, the alarms that they consist of, and the silence."""
        return [*self.incidents.values(), *self.metric_alarms.values(), self.silence]

    def _metric_alarm(self, name: str) -> cloudwatch.MetricAlarm:
        args = self._args
        # Incidents act for their alarms. A rollback trigger tells by itself, too, because a page that is open already
        # does not say that its trigger was reached meanwhile; as a warning, for the page is there. No silence holds
        # that back: only composite alarms have a suppressor.
        actions = [args.topic_arns["warning"]] if args.table.alarms[name].trigger is not None else []
        return cloudwatch.MetricAlarm(
            name,
            **metric_alarm(args.table, args.deployment, name),
            alarm_actions=actions,
            tags=args.tags,
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _incident(self, name: str, earlier: Mapping[str, cloudwatch.CompositeAlarm]) -> cloudwatch.CompositeAlarm:
        args = self._args
        incident = args.table.incidents[name]
        topic = args.topic_arns[incident.severity]
        named: list[pulumi.Resource] = [self.silence, *(self.metric_alarms[alarm] for alarm in incident.alarms)]
        if incident.unless is not None:
            named.append(earlier[incident.unless])
        return cloudwatch.CompositeAlarm(
            name,
            **composite_alarm(args.table, args.deployment, name),
            alarm_actions=[topic],
            ok_actions=[topic],  # by which PagerDuty resolves
            tags=args.tags,
            opts=pulumi.ResourceOptions(parent=self, depends_on=named),
        )
