"""A metric filter at work: the lines of a log group become samples of a metric."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cutover.alarms.errors import AlarmError
from cutover.alarms.metric_store import MetricStore, metric_key
from cutover.alarms.patterns import compile_pattern

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MetricFilter", "check_filter"]


def check_filter(declared: Mapping[str, Any]) -> None:
    """Refuses what PutMetricFilter would refuse, and what is not supported here.

    Raises:
        AlarmError: names the key.
    """
    for key in ("logGroupName", "filterName", "filterPattern", "metricTransformations"):
        if key not in declared:
            raise AlarmError(f"{key} is missing: a metric filter needs it")
    transformations = declared["metricTransformations"]
    if len(transformations) != 1:
        raise AlarmError(f"metricTransformations has {len(transformations)} entries, and AWS takes one")
    (transformation,) = transformations
    for key in ("metricName", "metricNamespace", "metricValue"):
        if not transformation.get(key):
            raise AlarmError(f"metricTransformations.{key} is missing: a metric filter needs it")
    if transformation.get("dimensions"):
        raise AlarmError("metricTransformations.dimensions are not supported: put what they tell into metricNamespace")
    compile_pattern(declared["filterPattern"])


class MetricFilter:
    """A filter of PutMetricFilter's shape.

    A matching line is a sample. In a minute whose lines all do not match, the default value is the one sample; a
    minute without lines has none (docs.aws.amazon.com, CloudWatch Logs user guide, "Creating metrics from log events
    using filters", "default value").
    """

    def __init__(self, declared: Mapping[str, Any], store: MetricStore) -> None:
        (transformation,) = declared["metricTransformations"]
        self._pattern = compile_pattern(declared["filterPattern"])
        self._value = transformation["metricValue"]
        self._default: float | None = transformation.get("defaultValue")
        self._metric = store.metric(metric_key(transformation["metricNamespace"], transformation["metricName"]))
        self._matched: dict[int, bool] = {}

    def take(self, message: str, minute: int) -> None:
        """Counts a line in its minute; one that matches takes the place of the minute's default."""
        match = self._pattern.match(message)
        value = None if match is None else match.value(self._value)
        matched = self._matched.get(minute)
        if value is not None:
            if matched is False and self._default is not None:
                self._metric.remove(self._default, minute)
            self._matched[minute] = True
            self._metric.add(value, minute)
        elif matched is None:
            self._matched[minute] = False
            if self._default is not None:
                self._metric.add(self._default, minute)

    def forget(self, minute: int) -> None:
        """Drops what is older than `minute`."""
        for old in [known for known in self._matched if known < minute]:
            del self._matched[old]
