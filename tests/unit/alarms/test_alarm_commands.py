"""`cutover alarms evaluate|match|combine`: JSON Lines in, JSON Lines out."""

from __future__ import annotations

import io
import json
import re
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


@pytest.mark.parametrize(
    ("command", "document"),
    [
        ("evaluate", {"alarm": ALARM, "datapoints": [7], "state": "OK", "sample_counts": None}),
        ("match", {"pattern": "a", "message": "a"}),
        ("combine", {"rule": "TRUE", "states": {}, "suppressor": None}),
    ],
)
def test_what_else_a_line_says_is_not_looked_at(command: str, document: dict[str, Any]) -> None:
    """A file of cases that numbers or names them would get no answer at all."""
    assert ask(command, line(**document, case="7 of 9"))[0] == 0


def test_a_field_of_a_space_delimited_pattern_is_answered() -> None:
    """Without the fields nobody can check what a filter takes its number from."""
    _, answers = ask("match", line(pattern="[level, ..., value]", message="INFO took 12"))
    assert answers == [{"matches": True, "fields": {"$level": "INFO", "$value": "12"}}]


@pytest.mark.parametrize("command", ["evaluate", "match", "combine"])
def test_the_example_of_the_help_can_be_copied(command: str) -> None:
    """Who tries the command for the first time must not be answered "no JSON"."""
    help_text = subprocess.run(
        [sys.executable, "-m", "cutover.cli", "alarms", command, "--help"], capture_output=True, text=True, check=True
    ).stdout
    echo = re.search(rf"^example: echo '(.*)' \| cutover alarms {command}$", help_text, re.MULTILINE)
    assert echo is not None
    assert ask(command, echo[1].encode())[0] == 0


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


def test_a_reader_that_leaves_early_gets_no_complaint() -> None:
    """`… | head` would end with a sentence about a broken pipe, which looks like a failure of the evaluation."""
    program = [sys.executable, "-m", "cutover.cli", "alarms", "combine"]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as started:
        assert started.stdin is not None
        assert started.stdout is not None
        assert started.stderr is not None
        started.stdout.close()
        started.stdin.write(line(rule="TRUE", states={}) + b"\n")
        started.stdin.close()
        assert started.stderr.read() == b""
    assert started.returncode == 5  # cannot write
