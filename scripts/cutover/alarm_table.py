"""The models of ops/cutover.yml's monitoring: telemetry, alarms, incidents, silence and budget."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = [
    "Alarm",
    "Bound",
    "Budget",
    "Count",
    "Incident",
    "Severity",
    "Silence",
    "Table",
    "Telemetry",
    "longest_range",
]

Severity = Literal["warning", "critical"]
Count = Annotated[int, Field(ge=1)]
# API reference, PutMetricAlarm: period times evaluation periods is a day at most, or a week from one-hour periods on.
DAY, HOUR, WEEK = 86400, 3600, 604800


def longest_range(period_seconds: int) -> int:
    """How far back an alarm of this period may look, in seconds: CloudWatch's limit of period x evaluation periods."""
    return WEEK if period_seconds >= HOUR else DAY


class Table(BaseModel):
    """What every part of the table is: closed and unchangeable."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Bound(Table):
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

    @property
    def limit(self) -> tuple[str, float]:
        """The name of the one that is set, and its value."""
        (name,) = self.model_fields_set
        return name, getattr(self, name)

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
        name, value = self.limit
        return f"{name.replace('_', ' ')} {value:g}"


class Probe(Table):
    """How often the probe measures, and with objects of which sizes (bytes)."""

    interval_seconds: Count
    object_bytes: list[Count] = Field(min_length=1)
    prefix: Annotated[str, Field(pattern=r"^[a-z-]+/$")]


class Telemetry(Table):
    """How log lines reach CloudWatch. `delivery_seconds`: how long a line may take to arrive there."""

    namespace: str
    log_group: Annotated[str, Field(pattern=r"^/[\w/-]+[^/]$")]
    retention_days: Count
    delivery_seconds: Count
    any_line: str
    probe: Probe


class WhileBelow(Table):
    """Restricts a count to periods in which this ratio's denominator is smaller than `denominator`."""

    ratio: str
    denominator: Count


class Alarm(Table):
    """One metric alarm: what it watches (`level`, `trigger` or `measure`), and how CloudWatch judges it."""

    level: str | None = None
    trigger: str | None = None
    measure: str | None = None
    alert: Bound | None = None
    severity: Severity | None = None
    period_seconds: Annotated[int, Field(ge=60, multiple_of=60)]
    evaluation_periods: Count
    datapoints: Count
    minimum_denominator: Count | None = None
    companion: str | None = None
    while_below: WhileBelow | None = None
    low_samples: Literal["evaluate", "ignore"] | None = None
    treat_missing_data: Literal["missing", "ignore", "breaching", "notBreaching"]
    may_lack_data: bool = False
    reason: str
    meaning: str
    next: str
    without_data: str = "ansible-playbook prepare-hosts.yml"
    needed_from_step: Annotated[int, Field(ge=1, le=10)] = 1

    @model_validator(mode="after")
    def _watches_one_thing(self) -> Self:
        if sum(source is not None for source in (self.level, self.trigger, self.measure)) != 1:
            raise ValueError("give exactly one of level, trigger, measure")
        if (self.measure is not None) != (self.alert is not None) or (self.measure is None) == bool(self.severity):
            raise ValueError("alert and severity belong to exactly those alarms that name their own measure")
        return self

    @model_validator(mode="after")
    def _is_what_cloudwatch_takes(self) -> Self:
        if self.datapoints > self.evaluation_periods:
            raise ValueError(f"{self.datapoints} datapoints of {self.evaluation_periods} periods can never breach")
        longest = longest_range(self.period_seconds)
        if self.period_seconds * self.evaluation_periods > longest:
            raise ValueError(f"period times evaluation periods may be {longest} s at most")
        return self


class Incident(Table):
    """A composite alarm: these alarms together are one page or mail."""

    severity: Severity
    alarms: list[str] = Field(min_length=1)
    unless: str | None = None


class Silence(Table):
    """The suppressor of the incidents' actions during drills; times in seconds."""

    metric: str
    maximum_seconds: Annotated[int, Field(ge=60, le=7200)]  # PutMetricData takes points up to two hours ahead
    wait_seconds: Annotated[int, Field(ge=0)]
    extension_seconds: Annotated[int, Field(ge=0)]


class NotifyAt(Table):
    """Shares of the monthly budget at which mail goes out."""

    actual: list[Annotated[float, Field(gt=0)]]
    forecasted: list[Annotated[float, Field(gt=0)]]


class Budget(Table):
    """The monthly budget: `headroom` times the estimate of `cutover cost`."""

    headroom: Annotated[float, Field(ge=1)]
    notify_at: NotifyAt
