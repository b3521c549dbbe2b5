"""What a metric alarm watches: one metric's statistic, or metric math over several, as a value a period."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cutover.alarms.errors import AlarmError
from cutover.alarms.metric_math import MetricMath, compile_metrics
from cutover.alarms.metric_store import MetricKey, MetricStore, Statistic, metric_key

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Measure", "compile_measure"]

PERIOD_UNIT = 60  # seconds: metric filters have standard resolution
# What gives each period's value from that period's values alone; every other word may look at the whole series (FILL
# does so with REPEAT and LINEAR, words of their own).
_WORD = re.compile(r"\b[A-Z][A-Z0-9_]*\b")
_BY_PERIOD = frozenset({"IF", "AND", "OR", "ABS", "CEIL", "FLOOR", "FILL"})


@dataclass(frozen=True)
class Input:
    """One metric under one statistic."""

    key: MetricKey
    statistic: Statistic


@dataclass(frozen=True)
class Measure:
    """The watched series: of the one input if there is no math. `minutes`: the period."""

    inputs: Mapping[str, Input]
    math: MetricMath | None
    minutes: int

    def series(self, store: MetricStore, ends: range) -> list[float | None]:
        """The value of the periods that end just before each of `ends` (minutes); None: missing."""
        values = {
            name: store.metric(given.key).series(given.statistic, ends, self.minutes)
            for name, given in self.inputs.items()
        }
        return self.math.series(values) if self.math else values[""]

    @property
    def by_period(self) -> bool:
        """Whether a period's value depends on no other period, so that it can be worked out once."""
        expressions = self.math.expressions.values() if self.math else ()
        return all(_BY_PERIOD.issuperset(_WORD.findall(expression.text)) for expression in expressions)

    def sample_counts(self, store: MetricStore, ends: range) -> list[int]:
        """How many samples the one input has in those periods."""
        return store.metric(self.inputs[""].key).sample_counts(ends, self.minutes)


def compile_measure(alarm: Mapping[str, Any]) -> Measure:
    """Compiles what an alarm of PutMetricAlarm's shape watches.

    Raises:
        AlarmError: a key is missing or wrong; names the key.
    """
    if not alarm.get("Metrics"):
        given = _input(alarm, alarm.get("ExtendedStatistic") or alarm.get("Statistic"), "")
        return Measure({"": given}, None, _minutes(alarm, ""))
    math = compile_metrics(alarm["Metrics"])
    inputs, periods = {}, set()
    for query in alarm["Metrics"]:
        if query["Id"] in math.metrics:
            where, stat = f"Metrics.{query['Id']}.MetricStat.", query.get("MetricStat") or {}
            inputs[query["Id"]] = _input(stat.get("Metric") or {}, stat.get("Stat"), where)
            periods.add(_minutes(stat, where))
    if len(periods) > 1:
        raise AlarmError(
            f"Metrics: their Periods differ ({sorted(periods)} minutes), and an alarm needs one: make them equal"
        )
    return Measure(inputs, math, periods.pop())


def _input(metric: Mapping[str, Any], statistic: object, where: str) -> Input:
    for key in ("Namespace", "MetricName"):
        if not isinstance(metric.get(key), str):
            raise AlarmError(f"{where}{key} is missing: name the metric")
    dimensions = [(str(each["Name"]), str(each["Value"])) for each in metric.get("Dimensions", ())]
    return Input(metric_key(metric["Namespace"], metric["MetricName"], dimensions), Statistic.named(statistic))


def _minutes(given: Mapping[str, Any], where: str) -> int:
    period = given.get("Period")
    if not isinstance(period, int) or period < PERIOD_UNIT or period % PERIOD_UNIT:
        raise AlarmError(f"{where}Period is {period!r}: give a multiple of {PERIOD_UNIT} s, as one-minute metrics need")
    return period // PERIOD_UNIT
