"""The command line as a whole."""

from __future__ import annotations

import argparse
import re
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


def test_unknown_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """And says which ones there are."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["backfil"])
    assert ended.value.code == 2
    assert "invalid choice: 'backfil'" in capsys.readouterr().err
