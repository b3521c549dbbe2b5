"""The errors of the checks' own."""

from __future__ import annotations

from cutover.exit_codes import CommandError, ExitCode


class ConsistencyError(CommandError):
    """The check could not measure; the sentence says what was seen and what to do. Its verdict is ERROR."""

    exit_code = ExitCode.ERROR


class RefusedError(ConsistencyError):
    """A repair is refused as it was asked for; the sentence says why and what to do."""

    exit_code = ExitCode.FAILED
