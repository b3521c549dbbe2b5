"""One record: what a step, daily check, drill, rollback, audit or purge says of itself, and its bytes."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Annotated, Literal, Self, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictFloat, StrictInt, ValidationError
from pydantic import model_validator as validator

from cutover.evidence.errors import DocumentError
from cutover.plan import Deployment  # noqa: TC001 - pydantic reads the annotation

__all__ = [
    "FAIL",
    "GIVEN_BY_CHAIN",
    "PASS",
    "Criterion",
    "Document",
    "Fallback",
    "Gap",
    "Kind",
    "ModeChange",
    "Page",
    "Record",
    "canonical",
    "document",
    "file_name",
    "parsed",
    "validated",
]

Kind = Literal["step", "daily", "drill", "rollback", "audit", "purge"]
VerdictName = Literal["PASS", "FAIL", "INCONCLUSIVE", "ERROR"]
PASS, FAIL = "PASS", "FAIL"


def _moment(value: object) -> datetime:
    """A time with its zone, as ISO 8601; a number would leave open whether it counts seconds."""
    if not isinstance(value, str):
        raise ValueError("give a time as ISO 8601 text")  # noqa: TRY004 - pydantic takes no TypeError
    found = datetime.fromisoformat(value)
    if found.tzinfo is None:
        raise ValueError(f"{value} has no time zone, give it as UTC with Z")
    return found.astimezone(UTC)


Moment = Annotated[datetime, BeforeValidator(_moment)]
Number = StrictInt | StrictFloat
Count = Annotated[StrictInt, Field(ge=0)]

FILE_NAME = re.compile(
    rf"\d{{6,}}-({'|'.join(get_args(Kind))})(-([1-9]|10))?-({'|'.join(get_args(VerdictName))})\.json", re.ASCII
)
# What the chain gives a record, and what `append` adds when it prints one: no document brings these along.
GIVEN_BY_CHAIN = ("attempt", "file", "previous", "recorded_at", "sequence", "sha256")


class _Part(BaseModel):
    """A part of a record that gates and report read; what else it holds is kept as it is."""

    model_config = ConfigDict(frozen=True, extra="allow")


class Criterion(_Part):
    """A success criterion. `measured` is null if nothing could be measured; `probes` of the samples are the probe's."""

    criterion: Annotated[str, Field(min_length=1)]
    wanted: str
    measured: Number | None
    samples: Count
    probes: Count | None = None
    verdict: VerdictName

    @validator(mode="after")
    def _passes_by_measurement(self) -> Self:
        if self.verdict == PASS and (self.measured is None or not self.samples):
            raise ValueError(f"criterion {self.criterion} says PASS and measured nothing")
        return self


class ModeChange(_Part):
    """From `at` on, this worker's processes were in this mode."""

    at: Moment
    worker: str
    mode: str


class Fallback(_Part):
    """A read that was answered from the local copy; key, operation and cause where the log line tells them."""

    at: Moment
    worker: str | None = None
    key: str | None = None
    operation: str | None = None
    cause: str | None = None


class Page(_Part):
    """An incident that told somebody: it paged (critical) or warned. `incident` is its name in CloudWatch."""

    at: Moment
    severity: str | None = None
    incident: str | None = None


class Gap(_Part):
    """A time of which a machine delivered nothing that could be counted."""

    machine: str
    since: Moment
    until: Moment

    def __str__(self) -> str:
        begin, end = (f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in (self.since, self.until))
        return f"{self.machine} delivered no METRIC line from {begin} to {end}"


class Window(_Part):
    """From when to when something was asked for, and the gaps in what answered."""

    since: Moment
    until: Moment
    gaps: tuple[Gap, ...] = ()


class Document(_Part):
    """What `append` is given.

    A drill says its `mode` and how many `seconds` the way back took, a rollback its `scenario` (ops/cutover.yml).
    `series` are measurements over time: name → [[time, value or null], …]. `pages_unknown`: why nobody can say which
    pages there were. A daily check's `counted` is the time whose lines it counted, its `pages_asked` that of its pages.
    """

    kind: Kind
    deployment: Deployment
    verdict: VerdictName
    step: Annotated[StrictInt, Field(ge=1, le=10)] | None = None
    who: str | None = None
    message: str | None = None
    mode: str | None = None
    seconds: Annotated[Number, Field(ge=0)] | None = None
    scenario: str | None = None
    started_at: Moment | None = None
    ended_at: Moment | None = None
    criteria: tuple[Criterion, ...] = ()
    timeline: tuple[ModeChange, ...] = ()
    fallbacks: tuple[Fallback, ...] = ()
    pages: tuple[Page, ...] = ()
    pages_unknown: str | None = None
    pages_asked: Window | None = None
    counted: Window | None = None
    series: dict[str, tuple[tuple[Moment, Number | None], ...]] = Field(default_factory=dict)

    @validator(mode="after")
    def _step_has_its_number(self) -> Self:
        if self.kind == "step" and self.step is None:
            raise ValueError("a record of kind step names its step")
        return self

    @validator(mode="after")
    def _verdict_follows_from_criteria(self) -> Self:
        failed = next((each for each in self.criteria if each.verdict != PASS), None)
        if self.verdict == PASS and failed is not None:
            raise ValueError(f"the verdict is PASS and criterion {failed.criterion} says {failed.verdict}")
        return self


AnyDocument = TypeVar("AnyDocument", bound=Document)


class Record(Document):
    """A document in the chain. `previous` is the SHA-256 of the bytes before, null for the first."""

    sequence: Annotated[StrictInt, Field(ge=1)]
    previous: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None
    recorded_at: Moment
    attempt: Annotated[StrictInt, Field(ge=1)]

    @property
    def file_name(self) -> str:
        """What its file is called."""
        return file_name(self.sequence, self)


def file_name(sequence: int, said: Document) -> str:
    """The name of a record's file: `000007-step-3-FAIL.json`."""
    step = "" if said.step is None else f"-{said.step}"
    return f"{sequence:06d}-{said.kind}{step}-{said.verdict}.json"


def canonical(values: dict[str, object]) -> bytes:
    """The one way to write a record: sorted keys, indent 1, UTF-8, a newline at the end.

    Raises:
        DocumentError: it holds what JSON cannot say (NaN, infinity, half a UTF-16 pair).
    """
    try:
        text = json.dumps(values, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
        return f"{text}\n".encode()
    except (ValueError, RecursionError) as error:  # UnicodeEncodeError is a ValueError
        raise DocumentError(f"the document cannot be written as JSON ({error}): correct it") from error


def parsed(text: bytes) -> dict[str, object]:
    """A JSON object of bytes.

    Raises:
        DocumentError: they are no UTF-8, no JSON, no object, or name a key twice.
    """
    try:
        values = json.loads(text.decode("utf-8"), object_pairs_hook=_no_key_twice)
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"the document is no JSON ({error}): give one JSON object") from error
    if not isinstance(values, dict):
        raise DocumentError(f"the document is a JSON {type(values).__name__}: give one JSON object")
    return values


def document(values: dict[str, object]) -> Document:
    """What `append` was given, validated.

    Raises:
        DocumentError: a key is missing, wrong, or the chain's own; names it.
    """
    reserved = [key for key in GIVEN_BY_CHAIN if key in values]
    if reserved:
        raise DocumentError(f"{', '.join(reserved)}: the chain gives a record these: leave them out")
    return validated(Document, values)


def validated(model: type[AnyDocument], values: dict[str, object]) -> AnyDocument:
    """The values as this model; DocumentError names the first key that is wrong."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the document"
        raise DocumentError(f"{key}: {first['msg']}: correct it and append again") from error


def _no_key_twice(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("an object names a key twice")
    return values
