"""What a backfill is asked for and cannot do."""

from cutover.exit_codes import CommandError, ExitCode

__all__ = ["SchedulerError", "UnknownCertificateError"]


class SchedulerError(CommandError):
    """The Dask scheduler does not answer, has no workers, or some shards failed; what is marked stays."""

    exit_code = ExitCode.ERROR


class UnknownCertificateError(CommandError):
    """A certificate is asked for by an id or a file that no row has."""
