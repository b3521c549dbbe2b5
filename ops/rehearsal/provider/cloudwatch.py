"""The types of CloudWatch that a stand-in keeps exactly: metric alarms and dashboards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from rehearsal.provider.kept_types import ALARM_ACTIONS, TAGS
from rehearsal.provider.limits import check_metric_alarm
from rehearsal.provider.properties import Field, Fields, from_api, to_api
from rehearsal.provider.resource import ResourceType, superfluous_tags, unless_gone

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_cloudwatch.type_defs import MetricAlarmTypeDef

    from rehearsal.provider.wire import Values

METRIC: Fields = {
    "metricName": Field("MetricName", required=True),
    "namespace": Field("Namespace", required=True),
    "dimensions": Field("Dimensions", default={}, kind="dimensions"),
    "period": Field("Period", required=True),
    "stat": Field("Stat", required=True),
    "unit": Field("Unit"),
}
METRIC_IDENTITY = ("MetricName", "Namespace", "Dimensions")  # these stand one level deeper in the API
METRIC_ALARM_FIELDS: Fields = {
    "name": Field("AlarmName", required=True, replaces=True),
    "alarmDescription": Field("AlarmDescription"),
    "comparisonOperator": Field("ComparisonOperator", required=True),
    "evaluationPeriods": Field("EvaluationPeriods", required=True),
    "datapointsToAlarm": Field("DatapointsToAlarm"),
    "threshold": Field("Threshold"),
    "thresholdMetricId": Field("ThresholdMetricId"),
    "treatMissingData": Field("TreatMissingData", default="missing"),
    "evaluateLowSampleCountPercentiles": Field("EvaluateLowSampleCountPercentile"),
    "metricName": Field("MetricName"),
    "namespace": Field("Namespace"),
    "dimensions": Field("Dimensions", default={}, kind="dimensions"),
    "period": Field("Period"),
    "statistic": Field("Statistic"),
    "extendedStatistic": Field("ExtendedStatistic"),
    "unit": Field("Unit"),
    "metricQueries": Field(
        "Metrics",
        fields={
            "id": Field("Id", required=True),
            "expression": Field("Expression"),
            "label": Field("Label"),
            "metric": Field("MetricStat", fields=METRIC),
            "period": Field("Period"),
            "returnData": Field("ReturnData", default=False),
        },
    ),
    **ALARM_ACTIONS,
    "tags": TAGS,
}
METRIC_ALARM_READ_ONLY = frozenset(
    {
        "AlarmArn",
        "AlarmConfigurationUpdatedTimestamp",
        "StateReason",
        "StateReasonData",
        "StateTransitionedTimestamp",
        "StateUpdatedTimestamp",
        "StateValue",
    }
)


class MetricAlarm(ResourceType):
    """An alarm on a metric, or on an expression of several; its id is its name."""

    type_name = "aws:cloudwatch/metricAlarm:MetricAlarm"
    kind = "MetricAlarm"
    fields = METRIC_ALARM_FIELDS
    computed = ("arn",)

    @classmethod
    def parameters(cls, inputs: Values) -> Values:
        """Returns the parameters of PutMetricAlarm."""
        api = to_api(cls.fields, inputs)
        for query in api.get("Metrics", []):
            if "MetricStat" in query:
                query["MetricStat"] = _with_metric(query["MetricStat"])
        check_metric_alarm(api)
        return api

    def create(self, inputs: Values) -> str:
        """Puts the alarm."""
        self._put(self.parameters(inputs))
        name: str = inputs["name"]
        return name

    def read(self, resource_id: str) -> Values | None:
        """Returns the alarm with its tags."""
        held = self._held(resource_id)
        if held is None:
            return None
        arn = held["AlarmArn"]
        answer: Values = {name: value for name, value in held.items() if value != []} | {"Tags": self._tags(arn)}
        if "Metrics" in answer:
            answer["Metrics"] = [_without_metric(query) for query in answer["Metrics"]]
        return from_api(self.fields, answer, read_only=METRIC_ALARM_READ_ONLY) | {"arn": arn}

    def update(self, resource_id: str, inputs: Values) -> None:
        """Puts the alarm anew, which does not touch an existing one's tags, and sets those."""
        self._put(self.parameters(inputs))
        held = self._held(resource_id)
        if held is not None:
            cloudwatch, arn = self.monitoring.cloudwatch, held["AlarmArn"]
            cloudwatch.untag_resource(ResourceARN=arn, TagKeys=superfluous_tags(self._tags(arn), inputs))
            cloudwatch.tag_resource(ResourceARN=arn, Tags=to_api({"tags": TAGS}, inputs)["Tags"])

    def delete(self, resource_id: str, state: Values) -> None:  # noqa: ARG002 (the interface's signature)
        """Deletes the alarm."""
        self.monitoring.cloudwatch.delete_alarms(AlarmNames=[resource_id])

    def _put(self, parameters: Values) -> None:
        """Puts the alarm; as on AWS a new one has too little data, and another keeps its state."""
        name = parameters["AlarmName"]
        before = self._held(name)
        self.monitoring.cloudwatch.put_metric_alarm(**parameters)
        self.monitoring.cloudwatch.set_alarm_state(
            AlarmName=name,
            StateValue=before["StateValue"] if before else "INSUFFICIENT_DATA",
            StateReason=before["StateReason"] if before else "Unchecked: Initial alarm creation",
        )

    def _held(self, name: str) -> MetricAlarmTypeDef | None:
        answer = self.monitoring.cloudwatch.describe_alarms(AlarmNames=[name], AlarmTypes=["MetricAlarm"])
        return next(iter(answer["MetricAlarms"]), None)

    def _tags(self, arn: str) -> list[Any]:
        return [*self.monitoring.cloudwatch.list_tags_for_resource(ResourceARN=arn)["Tags"]]


class Dashboard(ResourceType):
    """A dashboard; its id is its name."""

    type_name = "aws:cloudwatch/dashboard:Dashboard"
    kind = "Dashboard"
    computed = ("dashboardArn",)
    fields: ClassVar[Fields] = {
        "dashboardName": Field("DashboardName", required=True, replaces=True),
        "dashboardBody": Field("DashboardBody", required=True, kind="json"),
    }

    def create(self, inputs: Values) -> str:
        """Puts the dashboard."""
        self.monitoring.cloudwatch.put_dashboard(**self.parameters(inputs))
        name: str = inputs["dashboardName"]
        return name

    def read(self, resource_id: str) -> Values | None:
        """Returns the dashboard."""
        get = self.monitoring.cloudwatch.get_dashboard
        answer = unless_gone(lambda: get(DashboardName=resource_id), "ResourceNotFound")
        if answer is None:
            return None
        return from_api(self.fields, answer, read_only={"DashboardArn"}) | {"dashboardArn": answer["DashboardArn"]}

    def update(self, resource_id: str, inputs: Values) -> None:  # noqa: ARG002 (the interface's signature)
        """Puts the dashboard anew."""
        self.monitoring.cloudwatch.put_dashboard(**self.parameters(inputs))

    def delete(self, resource_id: str, state: Values) -> None:  # noqa: ARG002 (the interface's signature)
        """Deletes the dashboard."""
        delete = self.monitoring.cloudwatch.delete_dashboards
        unless_gone(lambda: delete(DashboardNames=[resource_id]), "ResourceNotFound")


def _with_metric(stat: Values) -> Values:
    """Puts what identifies a metric one level deeper."""
    metric = {name: stat[name] for name in METRIC_IDENTITY if name in stat}
    return {"Metric": metric} | {name: value for name, value in stat.items() if name not in METRIC_IDENTITY}


def _without_metric(query: Mapping[str, Any]) -> Values:
    """Undoes `_with_metric` in an answer."""
    flat = dict(query)
    if "MetricStat" in flat:
        stat = dict(flat["MetricStat"])
        flat["MetricStat"] = {**stat.pop("Metric"), **stat}
    return flat
