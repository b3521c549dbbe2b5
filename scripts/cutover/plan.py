"""ops/cutover.yml as one validated model: modes, scenarios, steps, service levels, contacts and cost figures."""

from __future__ import annotations

import os
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self, get_args

import yaml
from pydantic import Field, ValidationError, model_validator

from cutover.alarm_table import Alarm, Bound, Budget, Count, Incident, Severity, Silence, Table, Telemetry
from cutover.auto_rollback_table import AutoRollback  # noqa: TC001 - pydantic reads the annotation
from cutover.data_tool_table import DataTools  # noqa: TC001 - pydantic reads the annotation
from cutover.exit_codes import CommandError
from cutover.preflight_table import Preflight  # noqa: TC001 - pydantic reads the annotation
from cutover.rollback_table import STATE_FLAGS, Degraded, FlagName, Scenario, states_named

__all__ = [
    "Bound",
    "Deployment",
    "FlagName",
    "Mode",
    "Plan",
    "PlanError",
    "Scenario",
    "ServiceLevel",
    "Step",
    "Watch",
    "load",
]

Ratio = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[int, Field(ge=0)]
Deployment = Literal["staging", "production"]
Batch = Annotated[int, Field(ge=1)] | Annotated[str, Field(pattern=r"^([1-9]\d?|100)%$")]


class PlanError(CommandError, ValueError):
    """The plan file cannot be used; the sentence names the file and the key."""


class Flag(Table):
    """One of the application's three feature flags: its environment variable and what it does.

    `s3_calls`: S3's operations that the application asks for because of it, by the operation of its METRIC lines.
    `unit` works only while it is on.
    """

    variable: str = Field(pattern=r"^CERT_S3_[A-Z_]+$")
    purpose: str
    s3_calls: dict[str, list[str]]
    unit: Annotated[str, Field(pattern=r"\.service$")] | None = None


class Mode(Table):
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


class ServiceLevel(Table):
    """A row of the runbook's key metrics: target, alert threshold, severity and action."""

    measure: str
    percentile: Annotated[int, Field(gt=0, lt=100)] | None = None
    per_seconds: Annotated[int, Field(gt=0)] | None = None
    target: Bound | None = None
    alert: Bound
    severity: Severity
    action: str
    minimum_samples: Annotated[int, Field(ge=1)]


class RatioFormula(Table):
    """A rate over counters: sum of the numerator's metrics ÷ sum of the denominator's."""

    numerator: list[str] = Field(min_length=1)
    denominator: list[str] = Field(min_length=1)


class RollbackTrigger(Table):
    """A measurement that calls for an emergency rollback when it holds for `for_seconds`."""

    measure: str
    above: Ratio
    for_seconds: Seconds
    scenario: str


class Sample(Table):
    """How many certificates a step looks at: the larger of `minimum` and `fraction` of all."""

    minimum: Annotated[int, Field(ge=1)] | None = None
    fraction: Ratio | None = None
    full_downloads: Annotated[int, Field(ge=1)] | None = None


class Supplied(Table):
    """What the probe account adds over a whole soak: certificates issued, and certificates downloaded."""

    saves: Count
    reads: Count


class Soak(Table):
    """How a soak is watched, in seconds, and what is supplied to it."""

    poll_seconds: Count
    batch_seconds: Count
    supplied: Supplied


class Step(Table):
    """A gated transition between two modes."""

    title: str
    phase: str
    deployment: Deployment
    from_mode: str = Field(alias="from")
    to_mode: str = Field(alias="to")
    marks_rows: bool = False
    batches: list[Batch] = Field(default_factory=list)
    criteria: dict[str, Bound] = Field(min_length=1)
    stop: dict[str, Bound] = Field(default_factory=dict)
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


class DeploymentNames(Table):
    """The cloud names of a deployment."""

    bucket: str
    role: str
    readonly_role: str
    fence_role: str  # may deny S3 to the workers' role in an emergency
    # Where there is something to retire, which is production:
    retirement_role: str | None = None
    evidence_role: str | None = None
    backups_bucket: str | None = None  # takes the archives, and a copy of the evidence


class Rollback(Table):
    """What an emergency rollback promises."""

    objective_seconds: Annotated[int, Field(gt=0)]
    drill_downloads: Annotated[int, Field(gt=0)]
    validation_seconds: Annotated[int, Field(gt=0)]
    fence_drain_seconds: Annotated[int, Field(gt=0)]
    audit_seconds: Annotated[int, Field(gt=0)]
    drill_silence_seconds: Annotated[int, Field(ge=60, multiple_of=60)]
    drill_sweep_seconds: Annotated[int, Field(gt=0)]


class Contact(Table):
    """A line of the escalation table."""

    role: str
    contact: str
    escalation: str
    receives: list[Severity] = Field(default_factory=list)

    @model_validator(mode="after")
    def _can_be_mailed(self) -> Self:
        if self.receives and "@" not in self.contact:
            raise ValueError(f"{self.role} receives mail, and {self.contact!r} is no address")
        return self


class Watch(NamedTuple):
    """What an alarm watches, wherever the table says it: the measure, its limit, the severity, the percentile."""

    measure: str
    alert: Bound
    severity: Severity
    percentile: int | None = None


class PlannedUse(Table):
    """The runbook's planning figures."""

    certificates: int
    average_kb: int
    puts_per_day: int
    gets_per_day: int
    transfer_out_gb_per_month: int
    probe_machines: int


class Cost(Table):
    """Prices in US dollars, S3 Standard in us-east-1."""

    storage_per_gb_month: float
    put_per_1000: float
    get_per_1000: float
    transfer_out_per_gb: float
    planned: PlannedUse


class Plan(Table):
    """The whole table."""

    flags: dict[FlagName, Flag]
    modes: dict[str, Mode]
    degraded: dict[str, Degraded]
    scenarios: dict[str, Scenario]
    rollback: Rollback
    deployments: dict[Deployment, DeploymentNames]
    metrics: dict[str, str]
    measurements: dict[str, str]
    ratios: dict[str, RatioFormula]
    reported: dict[str, str]
    service_levels: dict[str, ServiceLevel]
    rollback_triggers: dict[str, RollbackTrigger]
    auto_rollback: AutoRollback
    telemetry: Telemetry
    alarms: dict[str, Alarm]
    incidents: dict[str, Incident]
    silence: Silence
    budget: Budget
    data_tools: DataTools
    soak: Soak
    preflight: Preflight
    steps: dict[int, Step]
    contacts: list[Contact] = Field(min_length=1)
    runbook_url: Annotated[str, Field(pattern=r"^https://")]
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
        known = {*self.metrics, *self.measurements, *self.ratios, *self.reported}
        measures = {name: level.measure for name, level in self.service_levels.items()}
        measures |= {f"trigger {name}": trigger.measure for name, trigger in self.rollback_triggers.items()}
        measures |= {f"alarms.{name}": alarm.measure for name, alarm in self.alarms.items() if alarm.measure}
        for name, measure in measures.items():
            if measure not in known:
                raise ValueError(f"{name}: measure {measure!r} is none of metrics, measurements, ratios and reported")
        return self

    @model_validator(mode="after")
    def _alarms_are_whole(self) -> Self:
        for name, alarm in self.alarms.items():
            if alarm.level not in {None, *self.service_levels} or alarm.trigger not in {None, *self.rollback_triggers}:
                raise ValueError(f"alarms.{name}: there is no level or trigger {alarm.level or alarm.trigger!r}")
            if alarm.while_below is not None and alarm.while_below.ratio not in self.ratios:
                raise ValueError(f"alarms.{name}: while_below names no ratio ({alarm.while_below.ratio!r})")
            is_ratio = self.watch(name).measure in self.ratios
            if is_ratio != (alarm.minimum_denominator is not None and alarm.companion in self.alarms):
                raise ValueError(f"alarms.{name}: a ratio, and nothing else, has minimum_denominator and companion")
            if (self.watch(name).percentile is None) != (alarm.low_samples is None):
                raise ValueError(f"alarms.{name}: a percentile, and nothing else, says what low_samples do")
            for_seconds = self.rollback_triggers[alarm.trigger].for_seconds if alarm.trigger else 0
            if for_seconds and alarm.period_seconds * alarm.datapoints != for_seconds:
                raise ValueError(f"alarms.{name}: its datapoints must span the trigger's {for_seconds} s exactly")
        return self

    @model_validator(mode="after")
    def _triggers_name_their_emergency(self) -> Self:
        for name, alarm in self.alarms.items():
            scenario = self.rollback_triggers[alarm.trigger].scenario if alarm.trigger else None
            emergency = "ansible-playbook emergency-rollback.yml -e deployment={deployment} -e scenario="
            if scenario is not None and alarm.next != f"{emergency}{scenario}":
                raise ValueError(f"alarms.{name}: next must be the trigger's own emergency, {emergency}{scenario}")
        if unknown := set(self.auto_rollback.needs_ok) - set(self.alarms):
            raise ValueError(f"auto_rollback.needs_ok: no alarm is called {', '.join(sorted(unknown))}")
        return self

    @model_validator(mode="after")
    def _something_counts_where_data_may_lack(self) -> Self:
        for name, alarm in self.alarms.items():
            if alarm.may_lack_data and (alarm.companion is None or self.alarms[alarm.companion].may_lack_data):
                raise ValueError(f"alarms.{name}: may_lack_data wants a companion that counts, and may not lack data")
        return self

    @model_validator(mode="after")
    def _each_alarm_is_in_one_incident(self) -> Self:
        grouped = [alarm for incident in self.incidents.values() for alarm in incident.alarms]
        if sorted(grouped) != sorted(self.alarms):
            raise ValueError("incidents: each alarm must stand in exactly one incident")
        for name, incident in self.incidents.items():
            if incident.unless not in {None, *self.incidents} - {name}:
                raise ValueError(f"incidents.{name}: no other incident is called {incident.unless!r}")
            for alarm in incident.alarms:
                if self.watch(alarm).severity != incident.severity:
                    raise ValueError(f"incidents.{name}: {alarm} has another severity")
        return self

    @model_validator(mode="after")
    def _flags_in_their_order(self) -> Self:
        if tuple(self.flags) != get_args(FlagName):
            raise ValueError(f"flags: they must be {', '.join(get_args(FlagName))}, in this order")
        return self

    @model_validator(mode="after")
    def _silence_of_a_drill_can_be_written(self) -> Self:
        if self.rollback.drill_silence_seconds > self.silence.maximum_seconds:
            raise ValueError("rollback.drill_silence_seconds is longer than silence.maximum_seconds")
        return self

    @model_validator(mode="after")
    def _each_state_has_one_name(self) -> Self:
        for flags in STATE_FLAGS:
            names = [state.name for state in states_named(self, flags)]
            if len(names) != 1:
                raise ValueError(f"modes, degraded: {flags} must have exactly one name, and has {names}")
        return self

    def deployment_of(self, bucket: str) -> Deployment | None:
        """The deployment whose certificates lie in this bucket, None if the table has no such bucket."""
        return next((name for name, names in self.deployments.items() if names.bucket == bucket), None)

    @property
    def evidence_bucket(self) -> str | None:
        """The bucket that takes a copy of every deployment's evidence: the one for backups, which production has."""
        return next((names.backups_bucket for names in self.deployments.values() if names.backups_bucket), None)

    def watch(self, alarm_name: str) -> Watch:
        """What this alarm watches; a rollback trigger is always critical."""
        alarm = self.alarms[alarm_name]
        if alarm.level is not None:
            level = self.service_levels[alarm.level]
            return Watch(level.measure, level.alert, level.severity, level.percentile)
        if alarm.trigger is not None:
            trigger = self.rollback_triggers[alarm.trigger]
            return Watch(trigger.measure, Bound(above=trigger.above), "critical")
        if alarm.measure is None or alarm.alert is None or alarm.severity is None:  # the model forbids it
            raise ValueError(f"alarms.{alarm_name} watches nothing")
        return Watch(alarm.measure, alarm.alert, alarm.severity)

    def without_data(self, alarm_name: str, deployment: str) -> str:
        """What is run next where this alarm of this deployment has no data."""
        return self.alarms[alarm_name].without_data.replace("{deployment}", deployment)

    def condition(self, alarm_name: str) -> str:
        """When this alarm fires, as a phrase: measure, limit, M of N periods (seconds)."""
        alarm, watch = self.alarms[alarm_name], self.watch(alarm_name)
        measure = watch.measure if watch.percentile is None else f"p{watch.percentile} of {watch.measure}"
        if alarm.while_below is not None:
            measure += f" (while {alarm.while_below.ratio} is of fewer than {alarm.while_below.denominator})"
        return f"{measure} {watch.alert} in {alarm.datapoints} of {alarm.evaluation_periods} x {alarm.period_seconds} s"

    def next_command(self, alarm_name: str, deployment: str) -> str:
        """What the on-call runs next for this alarm of this deployment."""
        return self.alarms[alarm_name].next.replace("{deployment}", deployment)

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
        return _validated(source.read_text(encoding="utf-8"))
    except OSError as error:
        raise PlanError(f"{source}: cannot be read ({error.strerror}); give another with CUTOVER_PLAN") from error
    except yaml.YAMLError as error:
        raise PlanError(f"{source}: is not valid YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the table"
        raise PlanError(f"{source}: {key}: {first['msg']}; correct it and run again") from error


@cache
def _validated(text: str) -> Plan:
    return Plan.model_validate(yaml.load(text, yaml.CSafeLoader))
