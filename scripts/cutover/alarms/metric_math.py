"""The Metrics of an alarm: metrics and expressions that refer to each other, as one time series."""

from __future__ import annotations

import re
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any

from cutover.alarms.errors import AlarmError
from cutover.alarms.expressions import compile_expression
from cutover.alarms.math_functions import Scope

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cutover.alarms.expressions import Expression
    from cutover.alarms.math_functions import Value

__all__ = ["MetricMath", "compile_metrics"]


@dataclass(frozen=True)
class MetricMath:
    """A compiled list of MetricDataQuery.

    Attributes:
        metrics: the ids that need values.
        expressions: by id, each after those that it refers to.
        returned: the id of the series that the alarm watches.
        period: of the metrics, in seconds; None if they state none, or not the same.
    """

    metrics: tuple[str, ...]
    expressions: Mapping[str, Expression]
    returned: str
    period: float | None

    def series(self, values: Mapping[str, Sequence[float | None]]) -> list[float | None]:
        """The watched series, from the values of each metric (oldest first, None is a gap).

        Raises:
            AlarmError: a metric without values, values without a metric, unequal lengths, or no time series results.
        """
        if missing := sorted(set(self.metrics) - set(values)):
            raise AlarmError(f"datapoints: none for {missing[0]!r}: give a list for each of {', '.join(self.metrics)}")
        if unknown := sorted(set(values) - set(self.metrics)):
            raise AlarmError(
                f"datapoints: {unknown[0]!r} is no metric of the alarm: name only {', '.join(self.metrics)}"
            )
        lengths = {name: len(values[name]) for name in self.metrics}
        if len(set(lengths.values())) != 1:
            raise AlarmError(f"datapoints: the lists need one length, and have {lengths}")
        known: dict[str, Value] = {name: list(values[name]) for name in self.metrics}
        scope = Scope(known, self.metrics, lengths[self.metrics[0]], self.period)
        for name, expression in self.expressions.items():
            if name == self.returned:
                return expression.one_series(scope)
            known[name] = expression.value(scope)
        return list(values[self.returned])


def compile_metrics(queries: object) -> MetricMath:
    """Compiles the Metrics of PutMetricAlarm.

    Raises:
        AlarmError: not exactly one returns data, an id is missing, repeated or unknown, the expressions refer to each
            other in a circle, or one of them is no metric math.
    """
    if not isinstance(queries, list) or not queries or not all(isinstance(query, dict) for query in queries):
        raise AlarmError("Metrics is no list of queries: write [{Id, MetricStat or Expression, ReturnData}, …]")
    by_id: dict[str, dict[str, Any]] = {}
    for query in queries:
        name = query.get("Id")
        if not isinstance(name, str) or not re.fullmatch("[a-z][a-zA-Z0-9_]*", name) or name in by_id:
            raise AlarmError(f"Metrics: the Id {name!r} is no name, or repeated: give each query its own, like m1")
        if not isinstance(query.get("ReturnData", True), bool):
            raise AlarmError(f"Metrics.{name}.ReturnData is {query['ReturnData']!r}: give true or false")
        by_id[name] = query
    metrics = tuple(name for name, query in by_id.items() if query.get("Expression") is None)
    if not metrics:
        raise AlarmError("Metrics: all are expressions, and an alarm needs a metric: add one with MetricStat")
    return MetricMath(metrics, _in_order(by_id), _returned(by_id), _period(by_id, metrics))


def _returned(by_id: Mapping[str, Mapping[str, Any]]) -> str:
    # ReturnData is true unless said otherwise (API reference, MetricDataQuery).
    returned = [name for name, query in by_id.items() if query.get("ReturnData", True)]
    if len(returned) != 1:
        raise AlarmError(
            f"Metrics: ReturnData is true for {len(returned)} of them ({', '.join(returned) or 'none'}):"
            " set it to true for the one to watch, and to false for the others"
        )
    return returned[0]


def _in_order(by_id: Mapping[str, Mapping[str, Any]]) -> dict[str, Expression]:
    expressions = {}
    for name, query in by_id.items():
        text = query.get("Expression")
        if text is None:
            continue
        if not isinstance(text, str):
            raise AlarmError(f"Metrics.{name}.Expression is no text, but {text!r}")
        if query.get("MetricStat") is not None:
            raise AlarmError(f"Metrics.{name} has both Expression and MetricStat: leave one out")
        expressions[name] = compile_expression(text)
        if unknown := sorted(set(expressions[name].names) - set(by_id)):
            raise AlarmError(
                f"Metrics.{name}.Expression refers to {unknown[0]!r}, which is no Id: add it or correct it"
            )
    try:
        order = list(TopologicalSorter({name: each.names for name, each in expressions.items()}).static_order())
    except CycleError as error:
        raise AlarmError(f"Metrics: the expressions refer in a circle: {' → '.join(error.args[1])}") from None
    return {name: expressions[name] for name in order if name in expressions}


def _period(by_id: Mapping[str, Mapping[str, Any]], metrics: Sequence[str]) -> float | None:
    periods = set()
    for name in metrics:
        stat = {} if by_id[name].get("MetricStat") is None else by_id[name]["MetricStat"]
        if not isinstance(stat, dict):
            raise AlarmError(f"Metrics.{name}.MetricStat is {stat!r}: write {{Metric, Period, Stat}}")
        period = stat.get("Period")
        if period is not None and (not isinstance(period, int) or isinstance(period, bool) or period < 1):
            raise AlarmError(f"Metrics.{name}.MetricStat.Period is {period!r}: give the metric's period in seconds")
        periods.add(period)
    return periods.pop() if len(periods) == 1 else None
