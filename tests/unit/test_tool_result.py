"""What a playbook got back from a data tool."""

from __future__ import annotations

from typing import Any

import pytest

from cutover import tool_result


@pytest.mark.parametrize(
    ("text", "document"),
    [
        ('{"files": 12}\n', {"files": 12}),
        ('{\n  "files": 12\n}', {"files": 12}),
        ("[]", []),
        ("System check identified no issues\n[1]\n", [1]),
    ],
)
def test_a_document_is_the_text_or_its_last_line(text: str, document: object) -> None:
    assert tool_result.document(text) == document


@pytest.mark.parametrize("text", ["", "12", "null", '"done"', '{"files": ', "{}\nTraceback"])
def test_what_is_no_document_is_refused(text: str) -> None:
    """A number would be judged as a measurement, and `null` as nothing found."""
    with pytest.raises(ValueError, match="no JSON document: "):
        tool_result.document(text)


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        ({"rc": 1, "stdout": "[]"}, ""),
        ({"unreachable": True, "msg": "Connection refused"}, "staging1 cannot be reached, so `cutover check` could"),
        ({"rc": 1, "stdout": ""}, "ended with 1 and printed no result: it said nothing"),
        ({"rc": 4, "stdout": "", "stderr": "no\ntable\n"}, "`cutover check` on staging1 ended with 4: no table"),
        ({"rc": 4, "stdout": '{"findings": []}', "stderr": ""}, 'ended with 4: {"findings": []}'),
        ({"rc": 2, "stdout": "", "msg": "No such file"}, "ended with 2: No such file"),
        ({"rc": 2, "stdout": "", "msg": "non-zero return code"}, "ended with 2: it said nothing"),
        ({"rc": 0, "stdout": "done"}, "ended with 0 and printed no JSON document: done"),
        ({"failed": True, "msg": "sudo: a password is required"}, "ended with None: sudo: a password is required"),
    ],
)
def test_the_sentence_names_command_machine_and_cause(result: dict[str, Any], sentence: str) -> None:
    """A cause that was swallowed is looked for on the wrong machine."""
    found = tool_result.problem(result, "cutover check", "staging1", [0, 1, 3])
    assert (found == sentence) if not sentence else (sentence in found)


def test_a_long_complaint_is_cut() -> None:
    """A traceback of three pages hides the sentence in which it stands."""
    found = tool_result.problem({"rc": 9, "stdout": "", "stderr": "x" * 10_000}, "cutover check", "staging1", [0])
    assert len(found) < 500
