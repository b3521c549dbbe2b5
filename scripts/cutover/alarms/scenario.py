"""Scenarios (ops/scenarios/*.yml): what happens to the site, in an operator's words, and what the alarms must say."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Literal, Self

import yaml
from pydantic import Field, PlainValidator, ValidationError, model_validator

from cutover import plan
from cutover.alarm_table import Table
from cutover.alarms.errors import AlarmError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Event", "Expectations", "Phase", "Scenario", "SentAt", "StateAt", "load"]

MAXIMUM_PER_MINUTE = 100_000


def _minutes(value: object) -> range:
    first, _, last = str(value).partition("-")
    if not (first.isdecimal() and last.isdecimal() and int(first) < int(last)):
        raise ValueError(f"{value!r} is no span of minutes: write 0-10 for the first ten")
    return range(int(first), int(last))


def _share(value: object) -> Fraction:
    text = str(value)
    share = _number(text.removesuffix("%")) / 100
    if not text.endswith("%") or not 0 <= share <= 1:
        raise ValueError(f"{value!r} is no percentage from 0% to 100%: write 2% or 0.5%")
    return share


def _rate(value: object) -> Fraction:
    rate = _number(str(value))
    if not 0 <= rate <= MAXIMUM_PER_MINUTE:
        raise ValueError(f"{value!r} is no number a minute from 0 to {MAXIMUM_PER_MINUTE}")
    return rate


def _number(text: str) -> Fraction:
    """The number as it is written: 0.3 is three tenths, not the nearest binary fraction."""
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(f"{text!r} is no number") from error


Minute = Annotated[int, Field(ge=0)]
Minutes = Annotated[range, PlainValidator(_minutes)]
Share = Annotated[Fraction, PlainValidator(_share)]
Rate = Annotated[Fraction, PlainValidator(_rate)]
Milliseconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
NONE = Fraction(0)


class Phase(Table):
    """What the site does in these minutes. Shares are of the saves, reads or probes of the phase so far.

    `telemetry: false`: the site writes, and no line of it is delivered. `probe: false`: no probe runs.
    """

    minutes: Minutes
    saves_per_minute: Rate = NONE
    save_failures: Share = NONE
    reads_per_minute: Rate = NONE
    read_fallbacks: Share = NONE
    requests_per_minute: Rate = NONE
    upload_ms: Milliseconds = 120
    slow_uploads: Share = NONE
    slow_upload_ms: Milliseconds = 2000
    sign_ms: Milliseconds = 20
    slow_signatures: Share = NONE
    slow_sign_ms: Milliseconds = 2000
    probe: bool = True
    telemetry: bool = True


class Event(Table):
    """What happens once, in its minute: a consistency check writes its result, or a silence begins."""

    minute: Minute
    consistency_mismatch: Share | None = None
    silence_minutes: Annotated[int, Field(ge=1, le=120)] | None = None

    @model_validator(mode="after")
    def _one_thing(self) -> Self:
        if (self.consistency_mismatch is None) == (self.silence_minutes is None):
            raise ValueError("give one of consistency_mismatch and silence_minutes")
        return self


class StateAt(Table):
    """An alarm's state after the evaluation at the end of so many minutes."""

    minute: Minute
    state: Literal["ALARM", "OK", "INSUFFICIENT_DATA"]


class SentAt(Table):
    """What is sent for an incident, or for an alarm that tells by itself, after so many minutes."""

    minute: Minute
    incident: str


class Expectations(Table):
    """What the timeline must hold. Each list is complete; what is not given is not judged.

    `alarms`: the changes into and out of ALARM. `others: quiet`: no alarm but those is ever in ALARM. `pages` and
    `mails`: incidents sent as critical and as warning. `resolved`: pages that were resolved.
    """

    alarms: dict[str, list[StateAt]] = Field(default_factory=dict)
    others: Literal["quiet"] | None = None
    pages: list[SentAt] | None = None
    resolved: list[SentAt] | None = None
    mails: list[SentAt] | None = None

    @model_validator(mode="before")
    @classmethod
    def _alarms_stand_beside_the_rest(cls, given: object) -> object:
        if not isinstance(given, dict):
            return given
        rest = {key: value for key, value in given.items() if key in cls.model_fields and key != "alarms"}
        alarms = {key: value for key, value in given.items() if key not in rest}
        known = plan.load().alarms
        if unknown := [key for key in alarms if key not in known]:
            raise ValueError(
                f"there is no alarm {unknown[0]!r}; alarms: {', '.join(known)}; beside them: pages, resolved, mails, "
                "others"
            )
        return {**rest, "alarms": alarms}


class Scenario(Table):
    """A scenario; minutes count from 0, and a phase `0-10` ends where `10-20` begins. Minutes in no phase: silence."""

    name: str
    deployment: plan.Deployment = "production"
    layout: Literal["console", "file", "json"] = "console"
    minutes: Annotated[int, Field(ge=1, le=60 * 24 * 31)]
    phases: list[Phase] = Field(min_length=1)
    events: list[Event] = Field(default_factory=list)
    expect: Expectations | None = None

    @model_validator(mode="after")
    def _phases_follow_each_other(self) -> Self:
        for earlier, later in zip(self.phases, self.phases[1:], strict=False):
            if later.minutes.start < earlier.minutes.stop:
                raise ValueError(f"phases: minute {later.minutes.start} is in two of them, or they are not in order")
        last = max([self.phases[-1].minutes.stop - 1, *(event.minute for event in self.events)])
        if last >= self.minutes:
            raise ValueError(f"minute {last} lies behind the end ({self.minutes} minutes)")
        return self

    @model_validator(mode="after")
    def _sends_what_exists(self) -> Self:
        table = plan.load()
        if self.expect is None:
            return self
        for key in ("pages", "resolved", "mails"):
            for sent in getattr(self.expect, key) or ():
                if sent.incident not in {*table.incidents, *table.alarms}:
                    raise ValueError(f"expect.{key}: there is no incident or alarm {sent.incident!r}")
        return self


def load(path: Path) -> Scenario:
    """Reads a scenario.

    Raises:
        AlarmError: the file cannot be read, or is no scenario; names the file and the key.
    """
    try:
        return Scenario.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise AlarmError(f"{path}: cannot be read ({error}): give a scenario's file") from error
    except yaml.YAMLError as error:
        raise AlarmError(f"{path}: is no YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the scenario"
        raise AlarmError(
            f"{path}: {key}: {first['msg'].removeprefix('Value error, ')}; correct it and run again"
        ) from error
