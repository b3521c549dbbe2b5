"""Samples of metrics in one-minute buckets, and CloudWatch's statistics over periods that end at any full minute.

A period of an alarm slides: it ends at the last full minute, not at a multiple of its length (docs.aws.amazon.com,
CloudWatch user guide, "Alarm evaluation window": SlidingWindow is the default).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from cutover.alarms.errors import AlarmError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Metric", "MetricKey", "MetricStore", "Statistic", "metric_key"]

MetricKey = tuple[str, str, tuple[tuple[str, str], ...]]
# Further ahead than anything is written on purpose: CloudWatch takes values for the next two hours.
MAXIMUM_MINUTES_AHEAD = 60 * 24 * 31
_PLAIN = frozenset({"Sum", "SampleCount", "Average", "Minimum", "Maximum"})
_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d{1,10})?|100)")


def metric_key(namespace: str, name: str, dimensions: Sequence[tuple[str, str]] = ()) -> MetricKey:
    """What identifies a metric; the order of its dimensions does not count."""
    return namespace, name, tuple(sorted(dimensions))


@dataclass(frozen=True)
class Statistic:
    """A statistic by CloudWatch's name: Sum, SampleCount, Average, Minimum, Maximum or pNN (`percentile` set then)."""

    name: str
    percentile: Fraction | None = None

    @classmethod
    def named(cls, name: object) -> Statistic:
        """The statistic of this name.

        Raises:
            AlarmError: there is none, or it is one of those that nothing here needs (trimmed means and such).
        """
        if name in _PLAIN:
            return cls(str(name))
        found = _PERCENTILE.fullmatch(name) if isinstance(name, str) else None
        if found is None:
            raise AlarmError(f"statistic {name!r} is not known: use {', '.join(sorted(_PLAIN))}, or p0 to p100")
        return cls(str(name), Fraction(found[1]) / 100)

    def of(self, values: list[float]) -> float | None:
        """The statistic of one period's values, at least one; None where CloudWatch has none.

        A percentile is the nearest rank's value: CloudWatch does not publish how it interpolates, but describes p99 as
        the largest value once the highest 1 % are left out ("CloudWatch statistics definitions", "Percentiles versus
        trimmed mean"). Negative values have no percentiles ("Percentiles" in "Amazon CloudWatch concepts").
        """
        if self.percentile is not None:
            values = sorted(values)
            return None if values[0] < 0 else values[max(math.ceil(self.percentile * len(values)), 1) - 1]
        return min(values) if self.name == "Minimum" else max(values)


class Metric:
    """The samples of one metric. Minutes are whole numbers: seconds since 1970 divided by 60."""

    def __init__(self, first_minute: int) -> None:
        self._first = first_minute
        self._values: dict[int, list[float]] = {}
        self._totals: list[float] = []
        self._counts: list[int] = []
        self._changed: set[int] = set()

    def add(self, value: float, minute: int) -> None:
        """Counts a sample in its minute; one that is older than any alarm looks back is dropped."""
        if minute < self._first:
            return
        self._values.setdefault(minute, []).append(value)
        self._changed.add(minute)

    def remove(self, value: float, minute: int) -> None:
        """Takes back one sample of this value, if the minute has one."""
        if value in self._values.get(minute, ()):
            self._values[minute].remove(value)
            self._changed.add(minute)

    def series(self, statistic: Statistic, ends: range, length: int) -> list[float | None]:
        """The statistic over the periods of `length` minutes that end just before each of `ends`; None: no samples."""
        self._settle()
        spans = self._spans(ends, length)
        counts, totals = self._counts, self._totals
        match statistic.name:
            case "Sum":
                return [math.fsum(totals[span]) if any(counts[span]) else None for span in spans]
            case "SampleCount":
                return [sum(counts[span]) or None for span in spans]
            case "Average":
                return [math.fsum(totals[span]) / sum(counts[span]) if any(counts[span]) else None for span in spans]
        values = (self._within(end, length) for end in ends)
        return [statistic.of(period) if period else None for period in values]

    def sample_counts(self, ends: range, length: int) -> list[int]:
        """How many samples each of those periods has."""
        self._settle()
        return [sum(self._counts[span]) for span in self._spans(ends, length)]

    def forget(self, minute: int) -> None:
        """Drops what is older than `minute`, now and from now on."""
        if minute <= self._first:
            return
        self._settle()
        for old in range(self._first, min(minute, self._first + len(self._counts))):
            self._values.pop(old, None)
        del self._totals[: minute - self._first], self._counts[: minute - self._first]
        self._first = minute

    def _settle(self) -> None:
        if not self._changed:
            return
        missing = max(self._changed) + 1 - self._first - len(self._counts)
        if missing > 0:
            self._totals.extend([0.0] * missing)
            self._counts.extend([0] * missing)
        for minute in self._changed:
            # fsum, because the order in which lines arrive must not change a sum
            self._totals[minute - self._first] = math.fsum(self._values[minute])
            self._counts[minute - self._first] = len(self._values[minute])
        self._changed.clear()

    def _spans(self, ends: range, length: int) -> list[slice]:
        """Where the periods lie in the lists; a negative index would count from their end."""
        lasts = [max(end - self._first, 0) for end in ends]
        return [slice(max(last - length, 0), last) for last in lasts]

    def _within(self, end: int, length: int) -> list[float]:
        values = self._values
        return [value for minute in range(end - length, end) if minute in values for value in values[minute]]


class MetricStore:
    """All metrics by their key, from `first_minute` on."""

    def __init__(self, first_minute: int) -> None:
        self._first = first_minute
        self._metrics: dict[MetricKey, Metric] = {}

    def metric(self, key: MetricKey) -> Metric:
        """The metric of this key, empty if nothing was put yet."""
        if key not in self._metrics:
            self._metrics[key] = Metric(self._first)
        return self._metrics[key]

    def forget(self, minute: int) -> None:
        """Drops what is older than `minute`."""
        self._first = max(self._first, minute)
        for metric in self._metrics.values():
            metric.forget(minute)
