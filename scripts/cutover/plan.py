"""ops/cutover.yml as one validated model: modes, scenarios, steps, service levels, contacts and cost figures."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

__all__ = ["Bound", "Mode", "Plan", "PlanError", "Scenario", "ServiceLevel", "Step", "load"]

Ratio = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[int, Field(ge=0)]
FlagName = Literal["dual_write", "read_primary", "backfill"]
Deployment = Literal["staging", "production"]
Batch = Annotated[int, Field(ge=1)] | Annotated[str, Field(pattern=r"^([1-9]\d?|100)%$")]


class PlanError(ValueError):
    """The plan file cannot be used; the sentence names the file and the key."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Flag(_Table):
    """One of the application's three feature flags: its environment variable and what it does."""

    variable: str = Field(pattern=r"^CERT_S3_[A-Z_]+$")
    purpose: str


class Mode(_Table):
    """A storage mode: one triple of the flags, and where writes and reads go in it."""

    dual_write: bool
    read_primary: bool
    backfill: bool
    writes: str
    reads: str

    @property
    def flags(self) -> dict[FlagName, bool]:
        """The triple, by the flags' names."""
        return {"dual_write": self.dual_write, "read_primary": self.read_primary, "backfill": self.backfill}


class Scenario(_Table):
    """What an emergency sets; a flag that `sets` does not name keeps its value."""

    title: str
    sets: dict[FlagName, bool] = Field(min_length=1)
    runbook: str

    @model_validator(mode="after")
    def _only_turns_off(self) -> Self:
        turned_on = [flag for flag, value in self.sets.items() if value]
        if turned_on:
            raise ValueError(f"an emergency may only turn flags off, and this one turns on {', '.join(turned_on)}")
        return self


class Bound(_Table):
    """One limit of a measurement. Exactly one of the four is set; the unit is that of the measurement."""

    above: float | None = None
    below: float | None = None
    at_least: float | None = None
    at_most: float | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise ValueError("give exactly one of above, below, at_least, at_most")
        return self

    def holds(self, value: float) -> bool:
        """Whether `value` lies within the limit; `above` and `below` exclude the limit itself."""
        if self.above is not None:
            return value > self.above
        if self.below is not None:
            return value < self.below
        if self.at_least is not None:
            return value >= self.at_least
        return self.at_most is not None and value <= self.at_most

    def __str__(self) -> str:
        (name,) = self.model_fields_set
        return f"{name.replace('_', ' ')} {getattr(self, name):g}"


class ServiceLevel(_Table):
    """A row of the runbook's key metrics: target, alert threshold, severity and action."""

    measure: str
    percentile: Annotated[int, Field(gt=0, lt=100)] | None = None
    per_seconds: Annotated[int, Field(gt=0)] | None = None
    target: Bound | None = None
    alert: Bound
    severity: Literal["warning", "critical"]
    action: str
    minimum_samples: Annotated[int, Field(ge=1)]


class RatioFormula(_Table):
    """A rate over counters: sum of the numerator's metrics ÷ sum of the denominator's."""

    numerator: list[str] = Field(min_length=1)
    denominator: list[str] = Field(min_length=1)


class RollbackTrigger(_Table):
    """A measurement that calls for an emergency rollback when it holds for `for_seconds`."""

    measure: str
    above: Ratio
    for_seconds: Seconds
    scenario: str


class Sample(_Table):
    """How many certificates a step looks at: the larger of `minimum` and `fraction` of all."""

    minimum: Annotated[int, Field(ge=1)] | None = None
    fraction: Ratio | None = None
    full_downloads: Annotated[int, Field(ge=1)] | None = None


class Step(_Table):
    """A gated transition between two modes."""

    title: str
    phase: str
    deployment: Deployment
    from_mode: str = Field(alias="from")
    to_mode: str = Field(alias="to")
    batches: list[Batch] = []
    criteria: dict[str, Bound] = Field(min_length=1)
    stop: dict[str, Bound] = {}
    sample: Sample | None = None
    batch_size: Annotated[int, Field(ge=1)] | None = None
    run_size: Annotated[int, Field(ge=1)] | None = None
    cooldown_seconds: Seconds | None = None
    soak_seconds: Seconds | None = None
    soak_maximum_seconds: Seconds | None = None
    grace_seconds: Seconds | None = None
    drill_maximum_age_seconds: Seconds | None = None
    maximum_age_seconds: Seconds | None = None

    @model_validator(mode="after")
    def _batches_where_flags_change(self) -> Self:
        if (self.from_mode != self.to_mode) != bool(self.batches):
            raise ValueError("`batches` belongs to exactly those steps that change the mode")
        return self


class DeploymentNames(_Table):
    """The cloud names of a deployment."""

    bucket: str
    role: str


class Rollback(_Table):
    """What an emergency rollback promises."""

    objective_seconds: Annotated[int, Field(gt=0)]


class Contact(_Table):
    """A line of the escalation table."""

    role: str
    contact: str
    escalation: str


class PlannedUse(_Table):
    """The runbook's planning figures."""

    certificates: int
    average_kb: int
    puts_per_day: int
    gets_per_day: int
    transfer_out_gb_per_month: int


class Cost(_Table):
    """Prices in US dollars, S3 Standard in us-east-1."""

    storage_per_gb_month: float
    put_per_1000: float
    get_per_1000: float
    transfer_out_per_gb: float
    planned: PlannedUse


class Plan(_Table):
    """The whole table."""

    flags: dict[FlagName, Flag]
    modes: dict[str, Mode]
    scenarios: dict[str, Scenario]
    rollback: Rollback
    deployments: dict[Deployment, DeploymentNames]
    metrics: dict[str, str]
    ratios: dict[str, RatioFormula]
    reported: dict[str, str]
    service_levels: dict[str, ServiceLevel]
    rollback_triggers: dict[str, RollbackTrigger]
    steps: dict[int, Step]
    contacts: list[Contact] = Field(min_length=1)
    cost: Cost

    @model_validator(mode="after")
    def _references_exist(self) -> Self:
        if list(self.steps) != list(range(1, 11)):
            raise ValueError(f"steps must be 1 to 10 in this order, found {list(self.steps)}")
        for number, step in self.steps.items():
            for mode in (step.from_mode, step.to_mode):
                if mode not in self.modes:
                    raise ValueError(f"steps.{number}: no mode is called {mode!r}; modes: {', '.join(self.modes)}")
        for name, trigger in self.rollback_triggers.items():
            if trigger.scenario not in self.scenarios:
                raise ValueError(f"rollback_triggers.{name}: no scenario is called {trigger.scenario!r}")
        for name, ratio in self.ratios.items():
            unknown = {*ratio.numerator, *ratio.denominator} - set(self.metrics)
            if unknown:
                raise ValueError(f"ratios.{name}: unknown metrics {', '.join(sorted(unknown))}")
        return self

    @model_validator(mode="after")
    def _measures_are_defined(self) -> Self:
        known = {*self.metrics, *self.ratios, *self.reported}
        measures = {name: level.measure for name, level in self.service_levels.items()}
        measures |= {f"trigger {name}": trigger.measure for name, trigger in self.rollback_triggers.items()}
        for name, measure in measures.items():
            if measure not in known:
                raise ValueError(f"{name}: measure {measure!r} is none of metrics, ratios and reported")
        return self

    @model_validator(mode="after")
    def _flags_in_their_order(self) -> Self:
        if tuple(self.flags) != get_args(FlagName):
            raise ValueError(f"flags: they must be {', '.join(get_args(FlagName))}, in this order")
        return self

    @model_validator(mode="after")
    def _each_state_has_one_name(self) -> Self:
        triples = [tuple(mode.flags.values()) for mode in self.modes.values()]
        if len(set(triples)) != len(triples):
            raise ValueError("modes: two modes have the same flags")
        return self

    @cached_property
    def variables(self) -> dict[FlagName, str]:
        """The environment variable of each flag, in the table's order."""
        return {name: flag.variable for name, flag in self.flags.items()}


def load(path: Path | None = None) -> Plan:
    """Reads and validates the plan.

    Args:
        path: the file; by default `$CUTOVER_PLAN`, else the one that this package carries (ops/cutover.yml).

    Raises:
        PlanError: the file is absent, is no YAML, or breaks a rule of the model; names the file and the key.
    """
    source = path or Path(os.environ.get("CUTOVER_PLAN") or Path(__file__).with_name("cutover.yml"))
    try:
        document = yaml.safe_load(source.read_text(encoding="utf-8"))
        return Plan.model_validate(document)
    except OSError as error:
        raise PlanError(f"{source}: cannot be read ({error.strerror}); give another with CUTOVER_PLAN") from error
    except yaml.YAMLError as error:
        raise PlanError(f"{source}: is not valid YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the table"
        raise PlanError(f"{source}: {key}: {first['msg']}; correct it and run again") from error
