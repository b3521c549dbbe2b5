"""The command `cutover sweep`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cutover import plan, settings
from cutover.arguments import positive, rate

if TYPE_CHECKING:
    import argparse

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

__all__ = ["register"]


def register(commands: Subparsers) -> None:
    """Adds `sweep` to the parser of `cutover`."""
    parser = commands.add_parser(
        "sweep",
        help="mark what dual-write stored, and store what it could not",
        description="Verifies and marks the rows that dual-write stored, and stores those whose S3 write failed. Looks "
        "at rows that were changed within the look-back of ops/cutover.yml and since their mark, if they have one; at "
        "older ones without a mark only if they are one batch at most, for the rest is the backfill's. Works while "
        "CERT_S3_DUAL_WRITE is on, which is read again before each batch; a dry run does not need it. Exit 0: done; "
        "1: some certificates could not be stored or differ; 2: settings, or the flag is off; 4: the database or S3 "
        "could not be asked, or the disk is away; 5: another sweep runs, or the state directory cannot be "
        "written; 130: interrupted.",
        epilog="example: cutover sweep --env-file /etc/deltacrown/production.env",
    )
    settings.add_arguments(parser)
    parser.add_argument("--dry-run", action="store_true", help="read and compare everything, write nothing")
    parser.add_argument("--limit", type=positive, metavar="N", help="how many certificates at most (default: all)")
    parser.add_argument("--max-rate", type=rate, metavar="R", help="certificates a second, at most")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> int:
    from cutover.sweep.session import Session  # noqa: PLC0415 - boto3 and the database driver take 0.4 s

    table, values = plan.load(), settings.load(options.env_file, role_arn=options.role_arn)
    flag = table.variables["dual_write"]
    if not options.dry_run and not settings.flag(values, flag):
        source = options.env_file or "the environment"
        raise settings.SettingsError(f"{flag} is not `true` in {source}, so nothing is swept: look with --dry-run")
    return Session(options, values, table).run()
