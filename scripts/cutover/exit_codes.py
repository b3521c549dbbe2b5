"""What a command says when it ends."""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar

__all__ = ["CommandError", "ExitCode"]


class ExitCode(IntEnum):
    """The exit codes of all commands, the machine script included."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    INCONCLUSIVE = 3
    ERROR = 4
    CANNOT_WRITE = 5
    SUPERSEDED = 6
    INTERRUPTED = 130


class CommandError(Exception):
    """Ends a command: its text is one sentence for whoever called it, its class knows the exit code."""

    exit_code: ClassVar[ExitCode] = ExitCode.USAGE
