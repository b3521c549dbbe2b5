"""Scenarios (ops/scenarios/*.yml): what happens to the site, in an operator's words, and what the alarms must say."""

from __future__ import annotations

import reprlib
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Literal, Self

import yaml
from pydantic import ConfigDict, Field, PlainValidator, ValidationError, model_validator

from cutover import plan
from cutover.alarm_table import Table
from cutover.alarms.errors import AlarmError

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic_core import ErrorDetails

__all__ = ["Described", "Event", "Expectations", "Phase", "Scenario", "SentAt", "StateAt", "load"]

MAXIMUM_PER_MINUTE = 100_000
REFERENCE = "ops/scenarios/README.md"
# What to write in place of a wrong value, by pydantic's name of the error or its first word.
EXPECTED = {
    "literal_error": "{expected}",
    "greater_than_equal": "a number from {ge} on",
    "less_than_equal": "a number up to {le}",
    "too_short": "a list of at least {min_length}",
    "finite": "a number",
    "float": "a number",
    "int": "a whole number",
    "bool": "true or false",
    "string": "a text",
    "list": "a list",
    "dict": "keys with their values",
    "model": "keys with their values",
}


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


class Described(Table):
    """A part of a scenario; the texts under its keys are the reference in ops/scenarios/README.md."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class Phase(Described):
    """What the site does in some minutes. A share is written as `2%`, and is of what happened in the phase so far."""

    minutes: Minutes
    """From minute to minute, `0-10` for the first ten; the next phase may begin at `10`"""
    saves_per_minute: Rate = NONE
    """Saves of certificate files; `0.2` is one in five minutes, `119/30` is exact, too"""
    save_failures: Share = NONE
    """The share of the saves whose upload fails"""
    reads_per_minute: Rate = NONE
    """Reads that S3 is asked for"""
    read_fallbacks: Share = NONE
    """The share of the reads that fall back to the local copy"""
    requests_per_minute: Rate = NONE
    """Other lines, which hold no METRIC"""
    upload_ms: Milliseconds = 120
    """How long the probe's uploads take, milliseconds"""
    slow_uploads: Share = NONE
    """The share of the probe's uploads that are slow"""
    slow_upload_ms: Milliseconds = 2000
    """How long the slow ones take, milliseconds"""
    sign_ms: Milliseconds = 20
    """How long the probe's signatures take, milliseconds"""
    slow_signatures: Share = NONE
    """The share of the probe's signatures that are slow"""
    slow_sign_ms: Milliseconds = 2000
    """How long the slow ones take, milliseconds"""
    probe: bool = True
    """`false`: no probe runs"""
    telemetry: bool = True
    """`false`: the site writes, and no line of it is delivered"""


class Event(Described):
    """What happens once: a consistency check writes its result, or a silence begins."""

    minute: Minute
    """When it happens"""
    consistency_mismatch: Share | None = None
    """A check's result: the share of keys on which table and bucket disagree"""
    silence_minutes: Annotated[int, Field(ge=1, le=120)] | None = None
    """Or a silence begins: how long `cutover alarms silence` is called for"""

    @model_validator(mode="after")
    def _one_thing(self) -> Self:
        if (self.consistency_mismatch is None) == (self.silence_minutes is None):
            raise ValueError("give one of consistency_mismatch and silence_minutes")
        return self


class StateAt(Described):
    """An alarm's change into or out of ALARM."""

    minute: Minute
    """The change is seen by the evaluation after so many minutes"""
    state: Literal["ALARM", "OK", "INSUFFICIENT_DATA"]
    """The new one: `ALARM`, `OK` or `INSUFFICIENT_DATA`"""


class SentAt(Described):
    """What is sent."""

    minute: Minute
    """It is sent after so many minutes"""
    incident: str
    """The incident, or the alarm that tells by itself, by its name in ops/cutover.yml"""


class Expectations(Described):
    """What the timeline must hold. Each list is complete; what is not given is not judged."""

    alarms: dict[str, list[StateAt]] = Field(default_factory=dict, title="an alarm's name")
    """Its changes into and out of ALARM; the name is that of ops/cutover.yml"""
    others: Literal["quiet"] | None = None
    """`quiet`: no alarm but those is ever in ALARM"""
    pages: list[SentAt] | None = None
    """What is sent as critical"""
    resolved: list[SentAt] | None = None
    """Which of the pages are resolved"""
    mails: list[SentAt] | None = None
    """What is sent as warning"""

    @model_validator(mode="before")
    @classmethod
    def _alarms_stand_beside_the_rest(cls, given: object) -> object:
        if not isinstance(given, dict):
            return given
        if not given:
            raise ValueError("expects nothing: name an alarm, others, pages, resolved or mails")
        rest = {key: value for key, value in given.items() if key in cls.model_fields and key != "alarms"}
        alarms = {key: value for key, value in given.items() if key not in rest}
        known = plan.load().alarms
        if unknown := [key for key in alarms if key not in known]:
            raise ValueError(
                f"there is no alarm {unknown[0]!r}; alarms: {', '.join(known)}; beside them: pages, resolved, mails, "
                "others"
            )
        return {**rest, "alarms": alarms}


class Scenario(Described):
    """A scenario. Minutes count from 0; in minutes of no phase nothing is written."""

    name: str
    """What happens, for people"""
    deployment: plan.Deployment = "production"
    """`staging` or `production`: whose site; `--stack` replays it as the other's"""
    layout: Literal["console", "file", "json"] = "console"
    """`console`, `file` or `json`: which of the application's log layouts the lines have"""
    minutes: Annotated[int, Field(ge=1, le=60 * 24 * 31)]
    """How long it lasts, a month at most"""
    phases: list[Phase] = Field(min_length=1)
    """What the site does, one phase after the other"""
    events: list[Event] = Field(default_factory=list)
    """What happens once"""
    expect: Expectations | None = None
    """What the alarms must say; without it nothing is judged, and the exit code is 3"""

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
        # The alarms of `expect` are a dictionary of the model's own, which nobody writes.
        key = ".".join(str(part) for part in first["loc"] if part != "alarms") or "the scenario"
        raise AlarmError(f"{path}: {key}: {_fault(first)} ({REFERENCE} has the format)") from error


def _fault(error: ErrorDetails) -> str:
    """What is wrong with a key's value, and what to write, in place of pydantic's own words."""
    kind, context = error["type"], error.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "missing":
        return "is missing: add it"
    if kind == "extra_forbidden":
        return "there is no such key: correct or remove it"
    expected = EXPECTED.get(kind) or EXPECTED.get(kind.partition("_")[0], "another value")
    return f"{reprlib.repr(error['input'])} cannot stand here: write {expected.format(**context)}"
