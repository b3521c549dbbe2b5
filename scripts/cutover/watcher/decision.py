"""Whether a trigger alarm is to be acted on: every reason against it, in the order in which it is told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING

from cutover import names
from cutover.alarms.live import ABSENT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from cutover.alarms.live import States
    from cutover.plan import Deployment, Plan
    from cutover.watcher.memory import Act

__all__ = ["Judgement", "Known", "Look", "Sight", "Verdict", "blind", "is_of_this_incident", "judge", "triggers"]


class Verdict(Enum):
    """What follows from a look at one trigger alarm."""

    QUIET = "quiet"  # it is not in ALARM
    WAITS = "waits"  # not yet
    HELD_BACK = "held back"  # somebody or something forbids it
    HANDLED = "handled"  # it was acted on in this incident
    GIVEN_UP = "given up"  # it was acted on, and that did not end well
    DUE = "due"  # the emergency is to be run


@dataclass(frozen=True)
class Judgement:
    """A trigger alarm's verdict, and why, as a phrase."""

    alarm: str
    state: str
    verdict: Verdict
    why: str

    def __str__(self) -> str:
        return f"{self.alarm} {self.state}: {self.verdict.value}{', ' if self.why else ''}{self.why}"


@dataclass(frozen=True)
class Look:
    """What one look saw: when (UTC; `clock`: monotonic seconds), the states, and whether the kill file is there."""

    at: datetime
    clock: float
    states: States
    kill_file: bool


@dataclass(frozen=True)
class Sight:
    """How an alarm has been seen in ALARM with nothing against it: since when (seconds, monotonic), in how many looks.

    `since` is when CloudWatch says that it went there: another time is another ALARM, whose hold-off begins anew.
    """

    since: datetime | None
    first: float
    looks: int = 0

    @classmethod
    def again(cls, before: Sight | None, since: datetime | None, now: float) -> Sight:
        """This look's sight after the one before."""
        if before is None or before.since != since:
            return cls(since, now, 1)
        return cls(since, before.first, before.looks + 1)


@dataclass(frozen=True)
class Known:
    """What is known of an alarm: how it has been seen in ALARM (None: it is not), and what was done for it last."""

    sight: Sight | None
    act: Act | None


def triggers(table: Plan) -> dict[str, str]:
    """The scenario that each trigger alarm calls for, by the alarm's name in the table."""
    return {
        name: table.rollback_triggers[alarm.trigger].scenario
        for name, alarm in table.alarms.items()
        if alarm.trigger is not None
    }


def blind(table: Plan, deployment: Deployment, states: States) -> list[str]:
    """Why a trigger might be reached without anybody seeing it, a sentence each: alarms that are not there or blind."""
    absent = [names.alarm(deployment, name) for name in triggers(table) if names.alarm(deployment, name) not in states]
    needed = {name: _state(states, names.alarm(deployment, name)) for name in table.auto_rollback.needs_ok}
    return [f"{name} is not in CloudWatch: pulumi up --stack {deployment}" for name in absent] + [
        f"{names.alarm(deployment, name)} is {state}: {table.next_command(name, deployment)}"
        for name, state in needed.items()
        if state != "OK"
    ]


def judge(table: Plan, deployment: Deployment, alarm: str, look: Look, known: Known) -> Judgement:
    """Whether this alarm's emergency is due.

    Args:
        table: whose auto_rollback sets hold-off, freshness, attempts and cooldown; `enabled` is the caller's affair.
        deployment: whose states `look` holds.
        alarm: a trigger's, by its name in the table.
        look: the last one.
        known: of this alarm, this look included.
    """
    state, sight = _state(look.states, names.alarm(deployment, alarm)), known.sight
    if sight is None:
        return Judgement(alarm, state, Verdict.QUIET, "")
    for verdict, why in (
        _acted(table, look.at, known.act),
        (Verdict.HELD_BACK, _silenced(deployment, look)),
        (Verdict.HELD_BACK, _killed(table, look)),
        (Verdict.HELD_BACK, _stale(table, deployment, alarm, look)),
        (Verdict.WAITS, _too_young(table, sight, look.clock)),
    ):
        if why:
            return Judgement(alarm, state, verdict, why)
    return Judgement(
        alarm, state, Verdict.DUE, f"in ALARM for {look.clock - sight.first:.0f} s and {sight.looks} looks"
    )


def is_of_this_incident(table: Plan, act: Act, now: datetime) -> bool:
    """Whether an alarm's act counts against the next one: not once the alarm was OK, or the cooldown is over.

    An act of the future was kept before this machine's clock was set back.
    """
    return not act.alarm_was_ok and abs(now - act.at) < timedelta(seconds=table.auto_rollback.cooldown_seconds)


def _acted(table: Plan, now: datetime, act: Act | None) -> tuple[Verdict, str]:
    """What was done in this incident, and what follows from it."""
    if act is None or not is_of_this_incident(table, act, now):
        return Verdict.WAITS, ""
    until = f"{act.at + timedelta(seconds=table.auto_rollback.cooldown_seconds):%H:%M:%S} UTC"
    again = f"not again before it was OK, or {until}"
    if act.outcome == "running":
        return Verdict.WAITS, f"its emergency, attempt {act.attempts}, runs since {act.at:%H:%M:%S} UTC"
    if act.outcome == "done":
        return Verdict.HANDLED, f"rolled back at {act.at:%H:%M:%S} UTC; {again}"
    if act.attempts >= table.auto_rollback.attempts:
        return Verdict.GIVEN_UP, f"{act.attempts} emergencies ended badly, the last of {act.at:%H:%M:%S} UTC; {again}"
    wait = (act.at + timedelta(seconds=table.auto_rollback.retry_seconds) - now).total_seconds()
    is_early = 0 < wait <= table.auto_rollback.retry_seconds  # a longer one: the clock was set back
    return Verdict.WAITS, f"attempt {act.attempts} ended badly, the next one is in {wait:.0f} s" if is_early else ""


def _silenced(deployment: Deployment, look: Look) -> str:
    silence = names.silence(deployment)
    return f"{silence} is in ALARM: a drill, or other maintenance" if _state(look.states, silence) == "ALARM" else ""


def _killed(table: Plan, look: Look) -> str:
    return f"{table.auto_rollback.kill_file} is there" if look.kill_file else ""


def _stale(table: Plan, deployment: Deployment, alarm: str, look: Look) -> str:
    """Why nobody knows whether the alarm's data are of now; empty if they are."""
    for name in table.auto_rollback.needs_ok:
        state = _state(look.states, names.alarm(deployment, name))
        if state != "OK":
            return f"its data may be stale: {names.alarm(deployment, name)} is {state}"
    if table.alarms[alarm].treat_missing_data != "ignore":
        return ""
    _, since = look.states[names.alarm(deployment, alarm)]
    fresh = timedelta(seconds=table.auto_rollback.fresh_seconds)
    if since is not None and look.at - since <= fresh:
        return ""
    told = f"{since:%Y-%m-%d %H:%M:%S} UTC" if since else "an unknown time"
    return f"its data may be stale: it is in ALARM since {told}, longer than {fresh.total_seconds():.0f} s"


def _too_young(table: Plan, sight: Sight, now: float) -> str:
    rule, held = table.auto_rollback, now - sight.first
    if held >= rule.hold_off_seconds and sight.looks >= rule.looks:
        return ""
    return f"in ALARM for {held:.0f} of {rule.hold_off_seconds} s, {sight.looks} of {rule.looks} looks"


def _state(states: Mapping[str, tuple[str, datetime | None]], name: str) -> str:
    return states.get(name, (ABSENT, None))[0]
