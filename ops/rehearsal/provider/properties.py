"""Describes a resource type's properties, and checks, completes, compares and translates values by that."""

from __future__ import annotations

import dataclasses
import functools
import json
from typing import TYPE_CHECKING, Any, Literal

from rehearsal.provider.wire import UNKNOWN, Value, Values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from collections.abc import Set as AbstractSet


class ProviderError(Exception):
    """A sentence for the operator: what was refused, for which property or resource."""


@dataclasses.dataclass(frozen=True)
class Field:
    """One property; the name under which a mapping holds it is Pulumi's, `api` is that of the AWS API."""

    api: str
    default: Any = None
    required: bool = False
    replaces: bool = False  # a change needs a new resource
    local: bool = False  # known to Pulumi alone; AWS does not hold it
    kind: Literal["plain", "json", "tags", "dimensions", "number"] = "plain"
    fields: Mapping[str, Field] | None = None  # of a nested object, or of each object of a list


Fields = dict[str, Field]
KEY_NAMES = {"tags": "Key", "dimensions": "Name"}  # of a mapping that AWS has as a list
READERS: Mapping[str, Callable[[str], Any]] = {"json": json.loads, "number": float}  # of texts that stand for more


def faults(fields: Mapping[str, Field], values: Values, path: str = "") -> Iterator[tuple[str, str]]:
    """Yields the path of, and the reason against, each unknown, missing or malformed property."""
    for name in sorted(values.keys() - fields.keys()):
        yield path + name, "the rehearsal's provider does not know this property: add it to the type's fields"
    for name, field in fields.items():
        value = values.get(name)
        if value is None and field.required:
            yield path + name, "the property is required"
        elif value is not None and (reason := _malformed(field, value)):
            yield path + name, reason
        elif value is not None and field.fields is not None:
            for index, item in enumerate(value if isinstance(value, list) else [value]):
                if isinstance(item, dict):
                    yield from faults(field.fields, item, f"{path}{name}[{index}].")
                elif item != UNKNOWN:
                    yield f"{path}{name}[{index}]", "the property takes an object"


def completed(fields: Mapping[str, Field], values: Values) -> Values:
    """Returns the values with AWS's defaults in place of absent properties, at every depth."""
    result: Values = {}
    for name, field in fields.items():
        value = values.get(name)
        if value is None:
            value = field.default
        elif field.fields is not None:
            value = _each(value, functools.partial(completed, field.fields))
        elif field.kind == "number" and value != UNKNOWN:
            value = f"{float(value):.15g}"  # one spelling, so that 0 and 0.0 are no difference
        if value is not None:
            result[name] = value
    return result


def changed(fields: Mapping[str, Field], state: Values, inputs: Values) -> list[str]:
    """Returns the names of properties that differ; JSON texts are compared by meaning."""
    return [
        name
        for name, field in fields.items()
        if _comparable(field, state.get(name)) != _comparable(field, inputs.get(name))
    ]


def to_api(fields: Mapping[str, Field], values: Values) -> Values:
    """Translates Pulumi's names and values into those of the AWS API.

    No dimensions are left out: AWS takes not even an empty list of them beside metric math.
    """
    return {
        field.api: _to_api_value(field, values[name])
        for name, field in fields.items()
        if not field.local and name in values and (values[name] or field.kind != "dimensions")
    }


def from_api(
    fields: Mapping[str, Field], answer: Mapping[str, Any], *, read_only: AbstractSet[str] = frozenset(), path: str = ""
) -> Values:
    """Translates an answer of the AWS API.

    ProviderError names the first property, at any depth, that neither `fields` nor `read_only` (API names of
    what nobody can set) knows: it may be drift.
    """
    unknown = answer.keys() - {field.api for field in fields.values()} - read_only - {"ResponseMetadata"}
    if unknown:
        raise ProviderError(
            f"AWS holds {path}{min(unknown)}, which the rehearsal's provider does not know: take it away, or add it "
            "to the type's fields."
        )
    return completed(
        {name: field for name, field in fields.items() if not field.local},
        {
            name: _from_api_value(field, answer[field.api], f"{path}{field.api}.")
            for name, field in fields.items()
            if not field.local and field.api in answer
        },
    )


def _malformed(field: Field, value: Value) -> str | None:
    """Returns what is wrong with a text that stands for something else."""
    reader = READERS.get(field.kind)
    if value == UNKNOWN or reader is None:
        return None
    try:
        reader(value)
    except (TypeError, ValueError) as error:
        return f"the property takes a {field.kind} text: {error}"
    return None


def _each(value: Value, convert: Callable[[Value], Value]) -> Value:
    if isinstance(value, list):
        return [_each(item, convert) for item in value]
    return convert(value) if value != UNKNOWN else value


def _comparable(field: Field, value: Value) -> Value:
    return json.loads(value) if field.kind == "json" and value not in {None, UNKNOWN} else value


def _to_api_value(field: Field, value: Value) -> Value:
    if field.kind in KEY_NAMES:
        return [{KEY_NAMES[field.kind]: key, "Value": text} for key, text in value.items()]
    if field.kind == "number":
        return float(value)
    if field.fields is not None:
        return _each(value, functools.partial(to_api, field.fields))
    return value


def _from_api_value(field: Field, value: Value, path: str) -> Value:
    if field.kind in KEY_NAMES:
        return {item[KEY_NAMES[field.kind]]: item["Value"] for item in value}
    if field.kind == "json" and not isinstance(value, str):
        return json.dumps(value)
    if field.fields is not None:
        return _each(value, functools.partial(from_api, field.fields, path=path))
    return value
