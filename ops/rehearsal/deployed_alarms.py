"""What is deployed in the stand-ins: alarms and metric filters, and the lines and values that arrive for them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import ClientError

from cutover.alarms.metric_store import MetricKey, metric_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from cutover.alarms.monitor import Transition
    from rehearsal.aws_stand_in import AwsStandIn
    from rehearsal.monitoring_stand_in import MonitoringStandIn
    from rehearsal.provider.kept import KeptResources

__all__ = ["DeployedAlarms", "Document", "LogLine", "MetricValue"]

Document = dict[str, list[dict[str, Any]]]  # as cutover.alarms.resources.Resources.from_document takes it
GONE = "ResourceNotFoundException"
# What describe_alarms adds to PutMetricAlarm's parameters besides State…: none of it is a change of the alarm.
ADDED = ("AlarmArn", "AlarmConfigurationUpdatedTimestamp")
PERIOD = 60
BACK, AHEAD = 180, 7260  # seconds around now in which values are looked for: CloudWatch takes them two hours ahead


class LogLine(NamedTuple):
    """A line that arrived in a log group; `at` in seconds since 1970."""

    group: str
    message: str
    at: float


class MetricValue(NamedTuple):
    """A value that somebody put; `at` in seconds since 1970, which may lie ahead."""

    key: MetricKey
    value: float
    at: float


class DeployedAlarms:
    """Asks the stand-ins; every method raises ClientError or BotoCoreError if they do not answer."""

    def __init__(self, aws: AwsStandIn, monitoring: MonitoringStandIn, kept: KeptResources) -> None:
        self._logs = aws.logs()
        self._cloudwatch = monitoring.cloudwatch()
        self._monitoring = monitoring
        self._kept = kept
        self._streams: dict[tuple[str, str], str | None] = {}  # group and stream: where reading goes on
        self._put_by_others: set[MetricKey] = set()
        self._seen: set[MetricValue] = set()

    def describe(self) -> Document:
        """Returns the deployed resources in the API's shape, without what changes by itself."""
        alarms = [
            _as_put(alarm)
            for page in self._cloudwatch.get_paginator("describe_alarms").paginate(AlarmTypes=["MetricAlarm"])
            for alarm in page["MetricAlarms"]
        ]
        filters: list[Any] = [
            held
            for page in self._logs.get_paginator("describe_metric_filters").paginate()
            for held in page["metricFilters"]
        ]
        self._look_for_streams({held["logGroupName"] for held in filters})
        self._put_by_others = set(_watched(alarms)) - set(_counted(filters))
        return {"MetricAlarm": alarms, "CompositeAlarm": self._kept.list("CompositeAlarm"), "MetricFilter": filters}

    def rewind(self) -> None:
        """Lets `lines` begin anew: the log groups are the memory of what arrived."""
        self._streams = dict.fromkeys(self._streams)

    def lines(self) -> Iterator[LogLine]:
        """Gives what arrived in the log groups since the last time, a stream's lines in their order."""
        for group, stream in self._streams:
            try:
                yield from self._lines_of(group, stream)
            except ClientError as error:
                if error.response["Error"].get("Code") != GONE:  # the next `describe` no longer has the group
                    raise

    def values(self, now: float) -> Iterator[MetricValue]:
        """Gives what was put by others than metric filters, and was not given yet: each minute's extremes."""
        for key in sorted(self._put_by_others):
            namespace, name, dimensions = key
            answer = self._cloudwatch.get_metric_statistics(
                Namespace=namespace,
                MetricName=name,
                Dimensions=[{"Name": dimension, "Value": value} for dimension, value in dimensions],
                StartTime=datetime.fromtimestamp(now - BACK, UTC),
                EndTime=datetime.fromtimestamp(now + AHEAD, UTC),
                Period=PERIOD,
                Statistics=["Maximum", "Minimum"],
            )
            found = {
                MetricValue(key, point[extreme], point["Timestamp"].timestamp())
                for point in answer["Datapoints"]
                for extreme in ("Maximum", "Minimum")
            }
            yield from sorted(found - self._seen)
            self._seen |= found

    def set_state(self, alarm: str, state: str, reason: str) -> None:
        """Shows a metric alarm's state in describe_alarms; one that was deleted meanwhile is left alone."""
        try:
            self._cloudwatch.set_alarm_state(AlarmName=alarm, StateValue=state, StateReason=reason)  # type: ignore[arg-type]  # the evaluator gives a plain str
        except ClientError as error:
            if not error.response["Error"].get("Code", "").startswith("ResourceNotFound"):
                raise

    def note_change(self, change: Transition, at: float) -> None:
        """Adds a composite alarm's change of state to the history; `at` in seconds since 1970."""
        new = {"stateValue": change.new, "stateReason": change.reason}
        data = json.dumps({"version": "1.0", "oldState": {"stateValue": change.old}, "newState": new})
        self._note(change.alarm, "StateUpdate", f"Alarm updated from {change.old} to {change.new}", at, data)

    def note_action(self, alarm: str, what: str, at: float) -> None:
        """Adds what a composite alarm did to the history."""
        self._note(alarm, "Action", what, at, "{}")

    def _note(self, alarm: str, kind: str, summary: str, at: float, data: str) -> None:
        self._monitoring.note(
            {
                "AlarmName": alarm,
                "AlarmType": "CompositeAlarm",
                "Timestamp": datetime.fromtimestamp(at, UTC).isoformat(),
                "HistoryItemType": kind,
                "HistorySummary": summary,
                "HistoryData": data,
            }
        )

    def _look_for_streams(self, groups: set[str]) -> None:
        found = [
            (group, stream["logStreamName"])
            for group in sorted(groups)
            for page in self._logs.get_paginator("describe_log_streams").paginate(logGroupName=group)
            for stream in page["logStreams"]
        ]
        self._streams = {names: self._streams.get(names) for names in found}

    def _lines_of(self, group: str, stream: str) -> Iterator[LogLine]:
        while True:
            token = self._streams[group, stream]
            after: Any = {"nextToken": token} if token else {}
            answer = self._logs.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True, **after)
            self._streams[group, stream] = answer["nextForwardToken"]
            if not answer["events"]:
                return
            for event in answer["events"]:
                yield LogLine(group, event["message"], event["timestamp"] / 1000)


def _as_put(alarm: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what PutMetricAlarm was given: the stand-in answers an empty list for what was not."""
    return {
        name: value
        for name, value in alarm.items()
        if name not in ADDED and not name.startswith("State") and value != []
    }


def _watched(alarms: Iterable[Mapping[str, Any]]) -> Iterator[MetricKey]:
    """Gives the metrics that alarms look at."""
    for alarm in alarms:
        stats = [query["MetricStat"]["Metric"] for query in alarm.get("Metrics", ()) if "MetricStat" in query]
        for metric in stats or [alarm]:
            dimensions = [(each["Name"], each["Value"]) for each in metric.get("Dimensions", ())]
            yield metric_key(metric["Namespace"], metric["MetricName"], dimensions)


def _counted(filters: Iterable[Mapping[str, Any]]) -> Iterator[MetricKey]:
    """Gives the metrics that filters make."""
    for held in filters:
        for transformation in held["metricTransformations"]:
            yield metric_key(transformation["metricNamespace"], transformation["metricName"])
