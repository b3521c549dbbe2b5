"""The rehearsal provider's handling of values, without a server."""

from __future__ import annotations

import pytest
from google.protobuf.struct_pb2 import Struct

from rehearsal.provider.properties import (
    Field,
    Fields,
    ProviderError,
    changed,
    completed,
    faults,
    from_api,
    to_api,
)
from rehearsal.provider.wire import UNKNOWN, Values, from_struct, to_struct

FIELDS: Fields = {
    "bucket": Field("Bucket", required=True, replaces=True),
    "tags": Field("Tags", default={}, kind="tags"),
    "policy": Field("Policy", kind="json"),
    "rules": Field("Rules", fields={"id": Field("ID", required=True), "days": Field("Days", default=1)}),
    "forceDestroy": Field("", default=False, local=True),
}


def test_values_survive_the_wire() -> None:
    """A day count that arrives as 30.0 is refused by AWS."""
    values: Values = {"a": 30, "b": 0.5, "c": [{"d": True}, "x"], "e": {}}
    assert from_struct(to_struct(values)) == values
    assert isinstance(from_struct(to_struct(values))["a"], int)
    null = Struct()
    null.update({"a": None})
    assert from_struct(null) == {}


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"bucket": "b", "acl": "public-read"}, "acl"),
        ({"bucket": "b", "rules": [{"id": "1"}, {"id": "2", "prefix": ""}]}, "rules[1].prefix"),
        ({"bucket": "b", "rules": [{"days": 1}]}, "rules[0].id"),
        ({"bucket": "b", "rules": ["text"]}, "rules[0]"),
        ({}, "bucket"),
        ({"bucket": "b", "policy": '{"Version":'}, "policy"),
        ({"bucket": "b", "policy": {"Version": "2012-10-17"}}, "policy"),  # not a text
    ],
)
def test_each_unknown_missing_or_malformed_property_is_named(values: Values, path: str) -> None:
    """The rehearsal passes with a property that it ignored, and production gets something else."""
    assert [fault for fault, _ in faults(FIELDS, values)] == [path]


def test_good_and_unknown_values_have_no_fault() -> None:
    """A preview fails because a value will be known only later."""
    assert not list(faults(FIELDS, {"bucket": UNKNOWN, "policy": UNKNOWN, "rules": UNKNOWN}))
    assert not list(faults(FIELDS, {"bucket": "b", "policy": "{}"}))
    assert completed(FIELDS, {"bucket": UNKNOWN, "rules": UNKNOWN})["rules"] == UNKNOWN


def test_defaults_are_no_difference_and_policies_compare_by_meaning() -> None:
    """Every preview shows changes that are none, and nobody reads previews any more."""
    inputs = completed(FIELDS, {"bucket": "b", "policy": '{"a":1}', "rules": [{"id": "1"}]})
    state = {**inputs, "policy": '{ "a": 1 }', "rules": [{"id": "1", "days": 1}], "arn": "x"}
    assert changed(FIELDS, state, inputs) == []
    assert changed(FIELDS, state | {"policy": '{"a":2}', "tags": {"k": "v"}}, inputs) == ["tags", "policy"]


def test_translation_is_reversible() -> None:
    """What is read back differs from what was written."""
    inputs = completed(FIELDS, {"bucket": "b", "tags": {"k": "v"}, "rules": [{"id": "1", "days": 2}]})
    api = to_api(FIELDS, inputs)
    assert api == {"Bucket": "b", "Tags": [{"Key": "k", "Value": "v"}], "Rules": [{"ID": "1", "Days": 2}]}
    assert from_api(FIELDS, api) | {"forceDestroy": False} == inputs


@pytest.mark.parametrize(
    ("more", "named"),
    [({"Rules": [{"ID": "1", "Prefix": "x"}]}, r"Rules\.Prefix"), ({"Boundary": "x"}, "Boundary")],
)
def test_a_property_that_only_aws_knows_is_named(more: Values, named: str) -> None:
    """Drift made by hand stays invisible because the provider does not look there."""
    with pytest.raises(ProviderError, match=f"AWS holds {named},"):
        from_api(FIELDS, {"Bucket": "b"} | more)


def test_what_nobody_can_set_is_passed_over() -> None:
    """Every refresh fails because a resource has a date of creation."""
    answer = {"Bucket": "b", "CreateDate": "today", "ResponseMetadata": {}}
    assert from_api(FIELDS, answer, read_only={"CreateDate"}) == {"bucket": "b", "tags": {}}
