"""When a composite alarm with an actions suppressor runs its actions.

Source: "Composite alarm action suppression" (docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/
Create_Composite_Alarm.html).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cutover.alarms.errors import AlarmError

__all__ = ["Decision", "SuppressedBy", "Suppression"]

SuppressedBy = Literal["WaitPeriod", "ExtensionPeriod", "Alarm"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do at a moment.

    Attributes:
        states: the states whose actions run now, the oldest first. There are two only if a period ended since the last
            moment, and the alarm has changed and need not wait.
        suppressed_by: why actions would not run from now on; None if they would.
    """

    states: tuple[str, ...] = ()
    suppressed_by: SuppressedBy | None = None

    @property
    def acts(self) -> bool:
        """Whether the actions of the alarm's present state run now."""
        return bool(self.states) and self.suppressed_by is None


class Suppression:
    """Follows a composite alarm and its suppressor through time.

    Where AWS's page leaves it open: actions run after a wait or an extension only if the alarm changed its state since
    actions last ran (they always belong to a change), then for the state in which it is, be it the old one again
    (example 3). A state that comes exactly when a period ends still counts within the period.
    """

    def __init__(
        self, wait_seconds: float, extension_seconds: float, composite_state: str = "INSUFFICIENT_DATA"
    ) -> None:
        """Takes the two periods of PutCompositeAlarm, and the state that the alarm has before the first `at`.

        Raises:
            AlarmError: a period is negative.
        """
        for key, seconds in (("WaitPeriod", wait_seconds), ("ExtensionPeriod", extension_seconds)):
            if seconds < 0:
                raise AlarmError(f"ActionsSuppressor{key} is {seconds}: give 0 or more seconds")
        self._wait = wait_seconds
        self._extension = extension_seconds
        self._composite = composite_state
        self._suppressing = False
        self._kept_back = False
        self._period: SuppressedBy | None = None
        self._until = 0.0

    def at(self, seconds: float, composite_state: str, suppressor_state: str) -> Decision:
        """Takes the states that hold from this moment on; the moments come in order.

        Periods that ended since the last moment end before the new states count.
        """
        states = self._end_period() if self._period is not None and self._until < seconds else ()
        changed = composite_state != self._composite
        suppressing = suppressor_state == "ALARM"
        released = self._suppressing and not suppressing
        self._composite, self._suppressing = composite_state, suppressing
        self._kept_back = self._kept_back or changed
        if suppressing:
            self._period = None
        elif changed:
            self._start("WaitPeriod", seconds + self._wait)
        elif released:
            self._start("ExtensionPeriod", seconds + self._extension)
        if self._period is not None and self._until <= seconds:
            states += self._end_period()
        return Decision(states, "Alarm" if suppressing else self._period)

    def _start(self, period: SuppressedBy, until: float) -> None:
        self._period, self._until = period, until

    def _end_period(self) -> tuple[str, ...]:
        self._period = None
        kept_back, self._kept_back = self._kept_back, False
        return (self._composite,) if kept_back else ()
