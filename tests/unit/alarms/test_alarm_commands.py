"""`cutover alarms evaluate|match|combine`: JSON Lines in, JSON Lines out."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from typing import Any

import pytest

from cutover.alarms.commands import answer_lines
from cutover.alarms.errors import AlarmError


def ask(command: str, *lines: bytes) -> tuple[int, list[dict[str, Any]]]:
    """Runs the command as a user does; one answer a line."""
    done = subprocess.run(
        [sys.executable, "-m", "cutover.cli", "alarms", command],
        input=b"\n".join(lines),
        capture_output=True,
        check=False,
    )
    assert not done.stderr
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def line(**document: Any) -> bytes:
    return json.dumps(document).encode()


ALARM = {"Threshold": 5, "ComparisonOperator": "GreaterThanThreshold", "EvaluationPeriods": 1}


@pytest.mark.parametrize(
    ("command", "good", "answer"),
    [
        ("evaluate", line(alarm=ALARM, datapoints=[7], state="OK"), {"state": "ALARM"}),
        ("match", line(pattern="[level, ..., value]", message="INFO took 12"), {"matches": True}),
        ("combine", line(rule="ALARM(a) AND NOT ALARM(b)", states={"a": "ALARM", "b": "OK"}), {"state": "ALARM"}),
    ],
)
def test_every_line_gets_its_answer(command: str, good: bytes, answer: dict[str, Any]) -> None:
    """One bad line in a file of a thousand must cost one answer, not nine hundred."""
    code, answers = ask(command, good, b"{", b"[]", b"\xff", b"{}", good)
    assert code == 1
    assert answers[0] == answers[5]
    assert answer.items() <= answers[0].items()
    assert [given.get("line") for given in answers[1:4]] == [2, 3, 4]
    assert all(given["error"] for given in answers[1:5])
    assert ask(command, good)[0] == 0


def test_a_field_of_a_space_delimited_pattern_is_answered() -> None:
    """Without the fields nobody can check what a filter takes its number from."""
    _, answers = ask("match", line(pattern="[level, ..., value]", message="INFO took 12"))
    assert answers == [{"matches": True, "fields": {"$level": "INFO", "$value": "12"}}]


def test_numbers_that_json_has_not_are_refused() -> None:
    """NaN compares as false with everything, so an alarm on it is quiet for ever."""
    code, answers = ask("evaluate", b'{"alarm": {}, "datapoints": [NaN], "state": "OK"}')
    assert code == 1
    assert "NaN" in answers[0]["error"]


def test_an_error_of_the_evaluator_is_an_answer() -> None:
    """A traceback in the middle of the output hides which line it was."""

    def refuse(_: Any) -> dict[str, Any]:
        raise AlarmError("Threshold is missing: give one")

    output = io.StringIO()
    assert answer_lines(refuse, [b"{}"], output) == 1
    assert json.loads(output.getvalue()) == {"error": "Threshold is missing: give one"}
