"""What an alarm did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Transition", "actions"]

_ACTIONS = {"ALARM": "AlarmActions", "OK": "OKActions", "INSUFFICIENT_DATA": "InsufficientDataActions"}


@dataclass(frozen=True)
class Transition:
    """An alarm's change of state, or (`kind` "action") what it does later for a change that was kept back.

    `at`: the full minute of the evaluation, seconds since 1970. `actions`: the ARNs that run now. An "action" has
    old == new: the state in which the alarm is, once the wait or the extension is over. `suppressed_by`: why
    none does, as DescribeAlarms' ActionsSuppressedBy says it: Alarm, WaitPeriod or ExtensionPeriod.
    """

    at: float
    alarm: str
    kind: Literal["metric", "composite", "action"]
    old: str
    new: str
    reason: str
    actions: tuple[str, ...] = ()
    suppressed_by: str | None = None


def actions(alarm: Mapping[str, Any], state: str) -> tuple[str, ...]:
    """The ARNs that an alarm runs on its change to `state`; none if its actions are disabled."""
    return tuple(alarm.get(_ACTIONS[state], ())) if alarm.get("ActionsEnabled", True) else ()
