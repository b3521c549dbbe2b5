"""What machines remember of test certificates, as Ansible read it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from cutover import test_certificates as certificates

ABSENT = {"item": "m2", "failed": True, "msg": "File not found: /var/lib/deltacrown-cutover/test-certificates.jsonl"}


def read(machine: str, text: str) -> dict[str, Any]:
    return {"item": machine, "content": base64.b64encode(text.encode()).decode()}


def test_each_certificate_is_remembered_once() -> None:
    """Whoever was killed between issuing and removing is run again, and remembers more."""
    lines = [json.dumps({"id": number, "names": [f"certificates/{number}.pdf"]}) for number in (7, 8, 7)]
    results = [read("m1", "\n".join(lines) + "\n"), ABSENT, read("m3", f"{lines[0]}\n")]
    assert certificates.remembered(results) == [{"id": 7, "names": ["certificates/7.pdf"]}, json.loads(lines[1])]
    assert certificates.unread(results) == []


@pytest.mark.parametrize(
    "result",
    [
        {"item": "m1", "unreachable": True, "msg": "Connection refused"},
        {"item": "m1", "failed": True, "msg": "Permission denied"},
        read("m1", '{"id": 7, "names": ["certificates/7.pdf"]}\n{"id": 8, "na'),
        read("m1", "8\n"),
    ],
)
def test_a_memory_that_is_not_wholly_read_is_named(result: dict[str, Any]) -> None:
    """ "Nothing to remove" without having looked leaves certificates in the customers' table."""
    assert certificates.unread([result, ABSENT]) == ["m1"]
    assert {one["id"] for one in certificates.remembered([result])} <= {7}
