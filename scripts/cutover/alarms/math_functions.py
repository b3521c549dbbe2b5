"""The operators and functions of CloudWatch metric math, over whole time series at once.

A value is a number, a time series (a list with None where a period has no data point) or an array of time series (a
tuple). The rules are those of "Using metric math" (docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/
using-metric-math.html); "silent" in a comment marks what that page leaves open.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from cutover.alarms.errors import AlarmError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "BINARY",
    "FUNCTIONS",
    "ExpressionError",
    "Scope",
    "Value",
    "apply_binary",
    "fill_linear",
    "fill_repeat",
    "map_series",
    "negate",
]

Point = float | None
Series = list[float | None]
Value = float | None | Series | tuple[Series, ...]


class ExpressionError(AlarmError):
    """A metric-math expression cannot be read, or its parts do not fit together."""


@dataclass(frozen=True)
class Scope:
    """What an expression is evaluated over.

    Args:
        values: what each id stands for.
        metrics: the ids that are metrics, not results of other expressions.
        length: the number of periods of every series.
        period: seconds; None where nobody said, and then PERIOD and RATE are errors.
    """

    values: Mapping[str, Value]
    metrics: tuple[str, ...]
    length: int
    period: float | None


def _divide(dividend: float, divisor: float) -> Point:
    return dividend / divisor if divisor else None


def _power(base: float, exponent: float) -> Point:
    try:
        return math.pow(base, exponent)
    except (ValueError, OverflowError):  # 0^-1 divides by zero; silent about the root of a negative number: dropped
        return None


def _truth(relation: Callable[[float, float], bool]) -> Callable[[float, float], Point]:
    return lambda left, right: 1.0 if relation(left, right) else 0.0


_AND = _truth(lambda left, right: left != 0 and right != 0)
_OR = _truth(lambda left, right: left != 0 or right != 0)

# The level of each operator, and what it does with two points. Silent about precedence: the usual one.
BINARY: dict[str, tuple[int, Callable[[float, float], Point]]] = {
    "OR": (1, _OR),
    "||": (1, _OR),
    "AND": (2, _AND),
    "&&": (2, _AND),
    "==": (3, _truth(operator.eq)),
    "!=": (3, _truth(operator.ne)),
    "<": (3, _truth(operator.lt)),
    ">": (3, _truth(operator.gt)),
    "<=": (3, _truth(operator.le)),
    ">=": (3, _truth(operator.ge)),
    "+": (4, operator.add),
    "-": (4, operator.sub),
    "*": (5, operator.mul),
    "/": (5, _divide),
    "^": (6, _power),
}


def apply_binary(operate: Callable[[float, float], Point], left: Value, right: Value) -> Value:
    """Combines two values point by point.

    Between two series a gap reads as 0 where the other has a point. Silent about a gap beside a number, which has no
    times of its own: the gap stays.

    Raises:
        ExpressionError: both are arrays.
    """
    if isinstance(left, tuple):
        if isinstance(right, tuple):
            raise ExpressionError(
                "An operator stands between two arrays of time series: reduce one, as in SUM([m1, m2])"
            )
        return tuple(_combine(operate, each, right) for each in left)

    def turned(second: float, first: float) -> Point:
        return operate(first, second)

    if isinstance(right, tuple):
        return tuple(_combine(turned, each, left) for each in right)
    if isinstance(left, list):
        return _combine(operate, left, right)
    if isinstance(right, list):
        return _combine(turned, right, left)
    return None if left is None or right is None else operate(left, right)


def _combine(operate: Callable[[float, float], Point], series: Series, other: Series | Point) -> Series:
    if isinstance(other, list):
        return [
            None if a is None and b is None else operate(a or 0.0, b or 0.0) for a, b in zip(series, other, strict=True)
        ]
    return [None if point is None or other is None else operate(point, other) for point in series]


def _each_point(change: Callable[[float], Point]) -> Callable[[Value], Value]:
    def series(points: Series) -> Series:
        return [None if point is None else change(point) for point in points]

    def apply(value: Value) -> Value:
        if isinstance(value, list | tuple):
            return map_series("", series, value)
        return None if value is None else change(value)  # the page has no numbers here; they leave no doubt

    return apply


negate = _each_point(operator.neg)


def map_series(name: str, change: Callable[[Series], Series], value: Value) -> Value:
    """Applies a function of one series to a series, or to each of an array.

    Raises:
        ExpressionError: the value is a single number.
    """
    if isinstance(value, tuple):
        return tuple(change(each) for each in value)
    if isinstance(value, list):
        return change(value)
    raise ExpressionError(f"{name} takes a time series, not a single number: write TIME_SERIES(…) around it")


def _positive(logarithm: Callable[[float], float]) -> Callable[[float], Point]:
    return lambda point: logarithm(point) if point > 0 else None  # silent; there is no such logarithm: dropped


def _rounded(to_integer: Callable[[float], int]) -> Callable[[float], Point]:
    return lambda point: float(to_integer(point)) if math.isfinite(point) else None


def _mean(present: list[float], periods: int) -> Point:
    # "Missing values are treated as 0", hence divided by the periods (DATAPOINT_COUNT's entry says how to avoid it).
    return sum(present) / periods if periods else None


def _deviation(present: list[float], _periods: int) -> Point:
    # "of all data points": the population's. Silent about gaps: they are no data points.
    if not present:
        return None
    mean = sum(present) / len(present)
    return math.sqrt(sum((point - mean) * (point - mean) for point in present) / len(present))


# From the points that exist and the number of periods (or of series) to one number. Silent about gaps in all but AVG.
_AGGREGATES: dict[str, Callable[[list[float], int], Point]] = {
    "AVG": _mean,
    "DATAPOINT_COUNT": lambda present, _periods: float(len(present)),
    "MAX": lambda present, _periods: max(present, default=None),
    "MIN": lambda present, _periods: min(present, default=None),
    "STDDEV": _deviation,
    "SUM": lambda present, _periods: sum(present),
}


def _aggregate(name: str, value: Value) -> Value:
    reduce = _AGGREGATES[name]
    if isinstance(value, list):
        return reduce([point for point in value if point is not None], len(value))
    if isinstance(value, tuple):
        result: Series = []
        for points in zip(*value, strict=True):
            present = [point for point in points if point is not None]
            result.append(reduce(present, len(points)) if present else None)
        return result
    raise ExpressionError(f"{name} takes a time series or an array of them, not a single number")


def fill_repeat(points: Series) -> Series:
    """FILL(…, REPEAT): a gap has the newest value before it. Silent about a gap at the start: it stays."""
    filled: Series = []
    newest = None
    for point in points:
        newest = newest if point is None else point
        filled.append(newest)
    return filled


def fill_linear(points: Series) -> Series:
    """FILL(…, LINEAR): a gap is interpolated between its ends. Silent about one at the start or the end: it stays."""
    filled = list(points)
    for start, end in pairwise(index for index, point in enumerate(points) if point is not None):
        first, last = points[start] or 0.0, points[end] or 0.0
        for index in range(start + 1, end):
            filled[index] = first + (last - first) * (index - start) / (end - start)
    return filled


def _fill(scope: Scope, value: Value, filler: Value) -> Value:
    if isinstance(filler, tuple):
        raise ExpressionError("FILL fills with a number, a time series, REPEAT or LINEAR, not with an array")
    fillers = _spread(filler, scope.length)
    return map_series(
        "FILL", lambda points: [f if p is None else p for p, f in zip(points, fillers, strict=True)], value
    )


def _changes(points: Series, seconds: float | None = None) -> Series:
    # The preceding value is the newest that exists. The first has none, and a gap stays one (silent).
    result: Series = []
    before: tuple[int, float] | None = None
    for index, point in enumerate(points):
        if point is None or before is None:
            result.append(None)
        else:
            change = point - before[1]
            result.append(change if seconds is None else change / (seconds * (index - before[0])))
        if point is not None:
            before = index, point
    return result


def _running_sum(points: Series) -> Series:
    result: Series = []
    total = 0.0
    for point in points:
        total += point or 0.0
        result.append(None if point is None else total)  # silent: a gap stays one
    return result


def _spread(value: Series | Point, length: int) -> Series:
    return value if isinstance(value, list) else [value] * length


def _if(scope: Scope, condition: Value, then: Value, otherwise: Value = None) -> Value:
    if isinstance(condition, tuple) or isinstance(then, tuple) or isinstance(otherwise, tuple):
        raise ExpressionError("IF takes time series and numbers, not arrays: write one IF for each series")
    if isinstance(condition, list):
        if isinstance(then, list):
            then = [point or 0.0 for point in then]
    elif not isinstance(then, list) and not isinstance(otherwise, list):
        raise ExpressionError("IF needs a time series among its arguments")
    columns = (_spread(value, scope.length) for value in (condition, then, otherwise))
    return [
        None if decides is None else chosen if decides else other
        for decides, chosen, other in zip(*columns, strict=True)
    ]


def _period(scope: Scope, name: str) -> float:
    if scope.period is None:
        raise ExpressionError(f"{name} needs the period in seconds, and none is known: give the metrics a Period")
    return scope.period


def _time_series(scope: Scope, value: Value) -> Value:
    if isinstance(value, list | tuple):
        raise ExpressionError("TIME_SERIES takes a single number, not a time series")
    return [value] * scope.length


def _period_function(scope: Scope, value: Value) -> Value:
    if not any(value is scope.values[name] for name in scope.metrics):
        raise ExpressionError("PERIOD takes the id of a metric, not the result of an expression")
    return _period(scope, "PERIOD")


def _over_series(name: str, change: Callable[[Series], Series]) -> Callable[..., Value]:
    return lambda _scope, value: map_series(name, change, value)


def _pointwise(change: Callable[[float], Point]) -> Callable[..., Value]:
    apply = _each_point(change)
    return lambda _scope, value: apply(value)


def _aggregator(name: str) -> Callable[..., Value]:
    return lambda _scope, value: _aggregate(name, value)


def _diff_time(scope: Scope, value: Value) -> Value:
    seconds = _period(scope, "DIFF_TIME")

    def times(points: Series) -> Series:
        return [None if point is None else seconds * index for index, point in enumerate(points)]

    return map_series("DIFF_TIME", lambda points: _changes(times(points)), value)


def _of_array(name: str, take: Callable[[tuple[Series, ...]], Value]) -> Callable[..., Value]:
    def apply(_scope: Scope, value: Value) -> Value:
        if not isinstance(value, tuple):
            raise ExpressionError(f"{name} takes an array of time series: write METRICS() or [m1, m2]")
        return take(value)

    return apply


def _rate(scope: Scope, value: Value) -> Value:
    seconds = _period(scope, "RATE")
    return map_series("RATE", lambda points: _changes(points, seconds), value)


# Each with the fewest and the most arguments it takes. METRICS, and FILL's two words, are the grammar's business.
FUNCTIONS: dict[str, tuple[int, int, Callable[..., Value]]] = {
    "ABS": (1, 1, _pointwise(abs)),
    "CEIL": (1, 1, _pointwise(_rounded(math.ceil))),
    "DIFF": (1, 1, _over_series("DIFF", _changes)),
    "DIFF_TIME": (1, 1, _diff_time),
    "FILL": (2, 2, _fill),
    "FIRST": (1, 1, _of_array("FIRST", lambda array: array[0])),
    "FLOOR": (1, 1, _pointwise(_rounded(math.floor))),
    "IF": (2, 3, _if),
    "LAST": (1, 1, _of_array("LAST", lambda array: array[-1])),
    "LOG": (1, 1, _pointwise(_positive(math.log))),
    "LOG10": (1, 1, _pointwise(_positive(math.log10))),
    "METRIC_COUNT": (1, 1, _of_array("METRIC_COUNT", lambda array: float(len(array)))),
    "PERIOD": (1, 1, _period_function),
    "RATE": (1, 1, _rate),
    "RUNNING_SUM": (1, 1, _over_series("RUNNING_SUM", _running_sum)),
    "TIME_SERIES": (1, 1, _time_series),
    **{name: (1, 1, _aggregator(name)) for name in _AGGREGATES},
}
