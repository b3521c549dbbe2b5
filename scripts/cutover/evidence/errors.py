"""What ends a command of the evidence."""

from __future__ import annotations

from cutover.exit_codes import CommandError, ExitCode

__all__ = ["ChainError", "DocumentError", "WriteError"]


class DocumentError(CommandError, ValueError):
    """A document is no record; the sentence names the key."""


class ChainError(CommandError):
    """A chain cannot be judged or continued; the sentence names the file."""

    exit_code = ExitCode.ERROR


class WriteError(CommandError):
    """A record could not be written, so it is not in the chain; the sentence names the directory."""

    exit_code = ExitCode.CANNOT_WRITE
