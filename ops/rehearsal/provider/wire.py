"""Turns Pulumi's protobuf structures into Python values and back."""

from __future__ import annotations

from typing import Any, TypeAlias

from google.protobuf import struct_pb2
from pulumi.runtime.rpc import UNKNOWN

__all__ = ["UNKNOWN", "Value", "Values", "from_struct", "to_struct"]

Value: TypeAlias = Any  # what JSON can hold; types cannot follow its nesting usefully
Values: TypeAlias = dict[str, Value]  # property names in camelCase, as Pulumi's schema has them


def from_struct(struct: struct_pb2.Struct) -> Values:
    """Returns the structure's values; whole numbers become int, null properties are left out."""
    return {
        name: _from_value(value) for name, value in struct.fields.items() if value.WhichOneof("kind") != "null_value"
    }


def to_struct(values: Values) -> struct_pb2.Struct:
    """Returns the values as a structure."""
    struct = struct_pb2.Struct()
    struct.update(values)
    return struct


def _from_value(value: struct_pb2.Value) -> Value:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return from_struct(value.struct_value)
    if kind == "list_value":
        return [_from_value(item) for item in value.list_value.values]
    if kind == "number_value" and value.number_value.is_integer():
        return int(value.number_value)
    return getattr(value, kind) if kind and kind != "null_value" else None
