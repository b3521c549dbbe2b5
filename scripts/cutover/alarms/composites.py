"""Composite alarms at work: their order, their state from other alarms' states, and their actions' suppression."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any

from cutover.alarms.errors import AlarmError
from cutover.alarms.rules import compile_rule
from cutover.alarms.suppression import Decision, Suppression
from cutover.alarms.transitions import Transition, actions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["CompositeAlarm", "check_composite", "children_first", "named_alarms"]


def check_composite(declared: Mapping[str, Any]) -> None:
    """Refuses a rule that cannot be read, and a suppressor without its two periods, which AWS requires then.

    Raises:
        AlarmError: names the key.
    """
    if not isinstance(declared.get("AlarmRule"), str):
        raise AlarmError("AlarmRule is missing: a composite alarm needs one")
    compile_rule(declared["AlarmRule"])
    for key in ("ActionsSuppressorWaitPeriod", "ActionsSuppressorExtensionPeriod"):
        period = declared.get(key, 0 if declared.get("ActionsSuppressor") is None else None)
        if not isinstance(period, int) or period < 0:
            raise AlarmError(f"{key} is {period!r}: beside ActionsSuppressor give whole seconds")


def named_alarms(declared: Mapping[str, Any]) -> tuple[str, ...]:
    """The alarms that a composite alarm's rule names, and its suppressor, as names (an ARN ends in the name)."""
    suppressor = declared.get("ActionsSuppressor")
    alarms = compile_rule(declared["AlarmRule"]).alarms
    return (*alarms, suppressor.split(":alarm:", 1)[-1]) if suppressor else alarms


def children_first(declared: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The composite alarms, each after those that it names.

    Raises:
        AlarmError: they name each other in a circle, in which AWS would stop evaluating them.
    """
    by_name = {alarm["AlarmName"]: alarm for alarm in declared}
    order = TopologicalSorter({name: named_alarms(alarm) for name, alarm in by_name.items()})
    try:
        return [by_name[name] for name in order.static_order() if name in by_name]
    except CycleError as error:
        raise AlarmError(f"composite alarms name each other in a circle: {' → '.join(error.args[1])}") from error


class CompositeAlarm:
    """An alarm of PutCompositeAlarm's shape."""

    def __init__(self, declared: Mapping[str, Any]) -> None:
        self.name: str = declared["AlarmName"]
        self.state = "INSUFFICIENT_DATA"
        self._declared = declared
        self._rule = compile_rule(declared["AlarmRule"])
        self._names = named_alarms(declared)
        self._suppressor = self._names[-1] if declared.get("ActionsSuppressor") else None
        self._seen: list[str] = []
        self._suppression = Suppression(
            declared.get("ActionsSuppressorWaitPeriod", 0), declared.get("ActionsSuppressorExtensionPeriod", 0)
        )

    def evaluate(self, end: int, states: Mapping[str, str]) -> list[Transition]:
        """The change of state at the minute `end`, and the actions that run then for earlier changes.

        A wait or an extension that ends between two full minutes is noticed at the second.
        """
        old, seen = self.state, [states[name] for name in self._names]
        if seen != self._seen:
            self._seen, self.state = seen, self._rule.state(states)
        changed = old != self.state
        if self._suppressor is None:
            decision = Decision((self.state,) if changed else ())
        else:
            decision = self._suppression.at(end * 60, self.state, states[self._suppressor])
        acts_on_change = changed and decision.acts
        late = decision.states[:-1] if acts_on_change else decision.states
        at, reason = end * 60, self._reason(states)
        happened = [
            Transition(at, self.name, "action", state, state, reason, actions(self._declared, state)) for state in late
        ]
        if changed:
            todo = actions(self._declared, self.state) if acts_on_change else ()
            happened.append(
                Transition(at, self.name, "composite", old, self.state, reason, todo, decision.suppressed_by)
            )
        return happened

    def _reason(self, states: Mapping[str, str]) -> str:
        firing = [name for name in self._names if states[name] == "ALARM"]
        return f"in ALARM: {', '.join(firing) or 'none of its alarms'}"
