"""What an emergency leads to: for each scenario and starting state the flags, the units that stop, and what S3 may see.

Everything is derived from ops/cutover.yml: a scenario turns flags off, and a flag says what runs because of it.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from cutover.alarm_table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cutover.plan import Deployment, Mode, Plan

__all__ = [
    "STATE_FLAGS",
    "Degraded",
    "Expected",
    "FlagName",
    "Flags",
    "Scenario",
    "State",
    "degraded_flags",
    "expected",
    "flags_of",
    "outcome",
    "resuming_step",
    "starts_from",
    "state_of",
    "states_named",
    "turns_on",
    "units",
]

FlagName = Literal["dual_write", "read_primary", "backfill"]
Flags = tuple[bool, bool, bool]
_BOTH = (False, True)
STATE_FLAGS: tuple[Flags, ...] = tuple(itertools.product(_BOTH, _BOTH, _BOTH))


class Scenario(Table):
    """What an emergency sets; a flag that `sets` does not name keeps its value."""

    title: str
    sets: dict[FlagName, bool] = Field(min_length=1)
    stops_units_first: bool = False
    needs_audit: bool = False
    runbook: str

    @model_validator(mode="after")
    def _only_turns_off(self) -> Self:
        turned_on = [flag for flag, value in self.sets.items() if value]
        if turned_on:
            raise ValueError(f"an emergency may only turn flags off, and this one turns on {', '.join(turned_on)}")
        return self


class Degraded(Table):
    """A state that is no mode: no step leads to it. A `backfill` of None is either value."""

    dual_write: bool
    read_primary: bool
    backfill: bool | None
    writes: str
    reads: str

    def has(self, flags: Flags) -> bool:
        """Whether these flags are this state."""
        return (self.dual_write, self.read_primary) == flags[:2] and self.backfill in {None, flags[2]}


class State(NamedTuple):
    """A named state, and where writes and reads go in it."""

    name: str
    writes: str
    reads: str


@dataclass(frozen=True)
class Expected:
    """What holds for processes with these flags.

    `calls` are the S3 operations that the application may ask for, `operations` those that its METRIC lines may name
    (`save` of cert.s3.save.success).
    """

    flags: Flags
    state: State
    calls: frozenset[str]
    operations: frozenset[str]


def flags_of(mode: Mode) -> Flags:
    """A mode's flags as a triple."""
    return mode.dual_write, mode.read_primary, mode.backfill


def states_named(plan: Plan, flags: Flags) -> Iterator[State]:
    """Every name that these flags have; the table gives exactly one to each triple."""
    for name, mode in plan.modes.items():
        if flags_of(mode) == flags:
            yield State(name, mode.writes, mode.reads)
    for name, degraded in plan.degraded.items():
        if degraded.has(flags):
            yield State(name, degraded.writes, degraded.reads)


def state_of(plan: Plan, flags: Flags) -> State:
    """The one state that these flags are."""
    return next(states_named(plan, flags))


def expected(plan: Plan, flags: Flags) -> Expected:
    """Where writes and reads go with these flags (dual write, read primary, backfill), and what S3 may see of it."""
    held = [plan.flags[name].s3_calls for name, value in zip(plan.flags, flags, strict=True) if value]
    return Expected(
        flags=flags,
        state=state_of(plan, flags),
        calls=frozenset(call for operations in held for calls in operations.values() for call in calls),
        operations=frozenset(operation for operations in held for operation in operations),
    )


def outcome(plan: Plan, scenario: str, flags: Flags) -> Expected:
    """What this scenario makes of processes that hold these flags."""
    sets = plan.scenarios[scenario].sets
    target = tuple(sets.get(name, value) for name, value in zip(plan.flags, flags, strict=True))
    return expected(plan, target)  # type: ignore[arg-type]


def units(plan: Plan, sets: Mapping[FlagName, bool]) -> tuple[str, ...]:
    """The units that work only while a flag is on which is turned off here."""
    return tuple(flag.unit for name, flag in plan.flags.items() if name in sets and flag.unit)


def degraded_flags(plan: Plan) -> set[Flags]:
    """The triples beside the modes in which scenarios, one after another, may leave a fleet that was in a mode."""
    modes = {flags_of(mode) for mode in plan.modes.values()}
    found, new = set(modes), set(modes)
    while new:
        new = {outcome(plan, scenario, flags).flags for scenario in plan.scenarios for flags in new} - found
        found |= new
    return found - modes


def resuming_step(plan: Plan, deployment: Deployment, flags: Flags) -> int | None:
    """The step with which a deployment goes on from these flags: the first whose mode they lack a flag of.

    None if no step would turn anything on. It is the step that evidence calls undone after a rollback to these flags.
    """
    for number, step in plan.steps.items():
        wanted = plan.modes[step.to_mode].flags.values()
        lacking = any(want and not has for want, has in zip(wanted, flags, strict=True))
        if step.deployment == deployment and step.from_mode != step.to_mode and lacking:
            return number
    return None


def starts_from(plan: Plan, number: int) -> list[Flags]:
    """The flags that processes may hold when a step starts: its mode's, and those that scenarios leave for it."""
    step = plan.steps[number]
    left = (flags for flags in sorted(degraded_flags(plan)) if resuming_step(plan, step.deployment, flags) == number)
    return [flags_of(plan.modes[step.from_mode]), *left]


def turns_on(plan: Plan, number: int) -> bool:
    """Whether a step turns a flag on that is off in the mode from which it starts."""
    step = plan.steps[number]
    before, after = plan.modes[step.from_mode].flags, plan.modes[step.to_mode].flags
    return any(after[flag] and not before[flag] for flag in after)
