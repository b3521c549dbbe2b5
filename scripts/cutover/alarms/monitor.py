"""Declared alarms at work: log lines and metric values in, states and their changes out.

The replay and the lab's alarm engine use it alike. Time comes from the caller; nothing here reads a clock.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cutover.alarms.composites import CompositeAlarm, children_first
from cutover.alarms.errors import AlarmError
from cutover.alarms.filters import MetricFilter
from cutover.alarms.metric_alarms import MetricAlarm
from cutover.alarms.metric_store import MAXIMUM_MINUTES_AHEAD, MetricStore, metric_key
from cutover.alarms.transitions import Transition

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cutover.alarms.resources import Resources

__all__ = ["Monitor", "Transition"]


class Monitor:
    """Evaluates the declared alarms minute by minute.

    Lines and values may come late, in advance (a silence is written for the next hours) and in any order within their
    minute: they count in the minute that their time says, and every evaluation after their arrival sees them.
    """

    def __init__(self, resources: Resources, start: float) -> None:
        """Every alarm starts in INSUFFICIENT_DATA; `start` is the time of the last evaluation that is not made."""
        self._minute = math.floor(start / 60)
        self._metric_alarms = [MetricAlarm(alarm) for alarm in resources.metric_alarms]
        self._composites = [CompositeAlarm(alarm) for alarm in children_first(resources.composite_alarms)]
        self._horizon = max((alarm.minutes_back for alarm in self._metric_alarms), default=0)
        self._store = MetricStore(self._minute - self._horizon)
        self._filters: dict[str, list[MetricFilter]] = {}
        for declared in resources.metric_filters:
            self._filters.setdefault(declared["logGroupName"], []).append(MetricFilter(declared, self._store))
        self._states = {alarm.name: alarm.state for alarm in self._metric_alarms}
        self._states |= {alarm.name: alarm.state for alarm in self._composites}
        self._changed_from: int | None = None

    @property
    def states(self) -> Mapping[str, str]:
        """The alarms' present states, by name."""
        return self._states

    @property
    def values(self) -> Mapping[str, float | None]:
        """Each metric alarm's newest value: of the period that ended at the last evaluated minute."""
        return {alarm.name: alarm.newest for alarm in self._metric_alarms}

    def log(self, group: str, message: str, at: float) -> None:
        """A log line of this group; `at` in seconds since 1970."""
        minute = self._received(at)
        for declared in self._filters.get(group, ()):
            declared.take(message, minute)

    def put(
        self, namespace: str, name: str, value: float, at: float, dimensions: Mapping[str, str] | None = None
    ) -> None:
        """A metric's value; `at` in seconds since 1970, which may lie ahead.

        Raises:
            AlarmError: the value is no finite number, or the time lies more than a month ahead.
        """
        if not math.isfinite(value):
            raise AlarmError(f"{namespace} {name}: {value} is no value of a metric: put a finite number")
        minute = self._received(at)
        self._store.metric(metric_key(namespace, name, tuple((dimensions or {}).items()))).add(value, minute)

    def advance(self, to: float) -> list[Transition]:
        """Evaluates at each full minute after the last evaluation, up to and including `to` (seconds since 1970)."""
        last = math.floor(to / 60)
        if last <= self._minute:
            return []
        ends = range(self._minute + 1, last + 1)
        for alarm in self._metric_alarms:
            alarm.measure(self._store, ends, self._changed_from)
        transitions = [transition for end in ends for transition in self._evaluate(end)]
        self._minute, self._changed_from = last, None
        self._forget(last - self._horizon)
        return transitions

    def _received(self, at: float) -> int:
        minute = math.floor(at / 60)
        if minute > self._minute + MAXIMUM_MINUTES_AHEAD:
            raise AlarmError(f"time {at:g} lies more than a month ahead: give seconds since 1970, not milliseconds")
        if minute < self._minute and (self._changed_from is None or minute < self._changed_from):
            self._changed_from = minute
        return minute

    def _forget(self, minute: int) -> None:
        self._store.forget(minute)
        for filters in self._filters.values():
            for declared in filters:
                declared.forget(minute)

    def _evaluate(self, end: int) -> list[Transition]:
        """The metric alarms first, then the composite ones, each after those that it names."""
        changes = [alarm.evaluate(self._store, end) for alarm in self._metric_alarms]
        transitions = [change for change in changes if change is not None]
        for transition in transitions:
            self._states[transition.alarm] = transition.new
        for composite in self._composites:
            transitions += composite.evaluate(end, self._states)
            self._states[composite.name] = composite.state
        return transitions
