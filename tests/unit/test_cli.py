"""The command line as a whole."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cutover import cli
from cutover.cli import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Iterator


def help_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> Iterator[str]:
    with pytest.raises(SystemExit) as ended:
        cli.main([*arguments, "--help"])
    assert ended.value.code == 0
    yield capsys.readouterr().out


def printing(lines: int, *, code: int) -> list[str]:
    """A process whose command prints so many lines and ends with this code."""
    program = (
        "import sys\nfrom cutover import cli\n"
        f"def command(_):\n    for _ in range({lines}): print('a line of output')\n    return {code}\n"
        "sys.exit(cli.outcome(command, None))"
    )
    return ["env", "--unset", "PYTHONUNBUFFERED", sys.executable, "-c", program]


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_each_command_is_in_the_module_that_is_imported_for_it(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A command that is listed and cannot be called is found out at 3 a.m."""
    (text,) = help_of(capsys, command)
    assert text.startswith(f"usage: cutover {command}")


def test_help_lists_every_command_and_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    """A command outside of the list would only work when nobody names it first."""
    (text,) = help_of(capsys)
    assert set(re.findall(r"^    ([a-z-]+)\b", text, re.MULTILINE)) == set(COMMANDS)


def test_an_interrupted_command_does_not_say_that_it_did_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """A purge that is interrupted twice says that nothing was changed."""

    def interrupted(_: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    assert cli.outcome(interrupted, argparse.Namespace()) == 130
    assert capsys.readouterr().err == "cutover: interrupted; what was done before stays done\n"


class PanicException(BaseException):
    """What a library in Rust raises."""


@pytest.mark.parametrize(
    "error", [PanicException("request\nvalid: InvalidUri"), ValueError("request valid: InvalidUri")]
)
def test_a_bug_is_no_verdict(capsys: pytest.CaptureFixture[str], error: BaseException) -> None:
    """Python ends with 1 over it, which is FAIL: a rollback over a mistake in a program."""

    def broken(_: argparse.Namespace) -> int:
        raise error

    assert cli.outcome(broken, argparse.Namespace()) == 4
    *traceback, sentence = capsys.readouterr().err.splitlines()
    assert "Traceback" in traceback[0]
    assert sentence.startswith(f"cutover: {type(error).__name__} (request valid: InvalidUri), which nobody expected")


def test_a_command_may_end_the_process_itself() -> None:
    """argparse does."""

    def ended(_: argparse.Namespace) -> int:
        raise SystemExit(2)

    with pytest.raises(SystemExit):
        cli.outcome(ended, argparse.Namespace())


@pytest.mark.parametrize("lines", [1, 100_000])  # written at the end, and while the command runs
def test_an_output_that_is_full_has_its_own_code(lines: int) -> None:
    """120 or a traceback's 1 says nothing, or FAIL."""
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(printing(lines, code=0), stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == 5
    (sentence,) = ended.stderr.splitlines()
    assert "No space left on device" in sentence


@pytest.mark.parametrize(("lines", "code"), [(1, 0), (1, 3), (100_000, 5)])
def test_a_reader_who_leaves_changes_no_verdict(lines: int, code: int) -> None:
    """`cutover check | head -1` of a PASS is no FAIL; a command that was cut short has no verdict."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        command = printing(lines, code=code)
        ended = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(writer)
    assert ended.returncode == code
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr


def test_unknown_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """And says which ones there are."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["backfil"])
    assert ended.value.code == 2
    assert "invalid choice: 'backfil'" in capsys.readouterr().err
