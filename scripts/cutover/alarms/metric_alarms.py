"""One metric alarm at work: its values minute by minute, and its state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cutover.alarms.measures import compile_measure
from cutover.alarms.states import breaches, evaluate
from cutover.alarms.transitions import Transition, actions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cutover.alarms.metric_store import MetricStore

__all__ = ["MetricAlarm"]

# The user guide's example has a range of 5 for 3 evaluation periods ("How alarm state is evaluated when data is
# missing"); that it is two more for any number is a generalisation: AWS publishes no formula.
EXTRA_PERIODS = 2
DAY_MINUTES, HOUR_MINUTES = 1440, 60
MISSING, GOOD, BREACHING = 0, 1, 2


class MetricAlarm:
    """An alarm of PutMetricAlarm's shape, evaluated once a minute over periods that end at that minute.

    One that looks back for more than a day is evaluated once an hour (AWS's observability reference in
    github.com/aws/agent-toolkit-for-aws, cloudwatch/alarms.md, "Common mistakes"); at the full hour is a choice.
    """

    def __init__(self, declared: Mapping[str, Any]) -> None:
        self.name: str = declared["AlarmName"]
        self.state = "INSUFFICIENT_DATA"
        self.newest: float | None = None  # the value of the period that ended at the last evaluated minute
        self._declared = declared
        self._measure = compile_measure(declared)
        self._by_period = self._measure.by_period
        self._period = self._measure.minutes
        self._range: int = declared["EvaluationPeriods"] + EXTRA_PERIODS
        self._oldest = (self._range - 1) * self._period  # from an evaluation back to the end of the oldest period
        self._step = HOUR_MINUTES if self._period * declared["EvaluationPeriods"] > DAY_MINUTES else 1
        self._counts_samples = declared.get("EvaluateLowSampleCountPercentile") == "ignore" and not declared.get(
            "Metrics"
        )
        self._values: list[float | None] = []
        self._marks = bytearray()  # MISSING, GOOD or BREACHING for each of the values
        self._first = 0  # the end of the first value's period
        self._known: dict[tuple[bytes, str], str] = {}

    @property
    def minutes_back(self) -> int:
        """How far an evaluation looks back."""
        return self._range * self._period

    def measure(self, store: MetricStore, ends: range, changed_from: int | None) -> None:
        """Takes the values of the periods that end at `ends`, and again those that hold the minute `changed_from`."""
        if not self._by_period:
            return
        needed = ends.start - self._oldest
        old = max(needed - self._first, 0) if self._values else 0
        del self._values[:old], self._marks[:old]
        self._first = needed
        if changed_from is not None:
            kept = max(changed_from + 1 - needed, 0)
            del self._values[kept:], self._marks[kept:]
        new = self._measure.series(store, range(needed + len(self._values), ends.stop))
        self._values += new
        self._marks += bytes(map(self._mark, new))

    def evaluate(self, store: MetricStore, end: int) -> Transition | None:
        """The state after the minute `end`; the change, if it is one."""
        if end % self._step:
            return None
        if not self._by_period:
            values = self._measure.series(store, self._periods(end))
            self.newest = values[-1]
            return self._decide(store, end, values)
        newest = end - self._first
        at = slice(newest - self._oldest, newest + 1, self._period)
        self.newest = self._values[newest]
        # The state depends on which values breach, not on the values: most minutes were decided before.
        case = bytes(self._marks[at]), self.state
        if not self._counts_samples and self._known.get(case) == self.state:
            return None
        change = self._decide(store, end, self._values[at])
        self._known[case] = self.state
        return change

    def _periods(self, end: int) -> range:
        return range(end - self._oldest, end + 1, self._period)

    def _decide(self, store: MetricStore, end: int, values: Sequence[float | None]) -> Transition | None:
        counts = self._measure.sample_counts(store, self._periods(end)) if self._counts_samples else None
        evaluation = evaluate(self._declared, values, self.state, counts)
        if evaluation.state == self.state:
            return None
        old, self.state = self.state, evaluation.state
        todo = actions(self._declared, self.state)
        return Transition(end * 60, self.name, "metric", old, self.state, evaluation.reason, todo)

    def _mark(self, value: float | None) -> int:
        if value is None:
            return MISSING
        return BREACHING if breaches(self._declared, value) else GOOD
