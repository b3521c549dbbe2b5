"""What a command says when it ends."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["ExitCode"]


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
