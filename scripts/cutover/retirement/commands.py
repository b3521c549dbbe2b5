"""The commands `archive`, `quarantine`, `purge` and `restore`."""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from cutover import plan, settings
from cutover.arguments import natural, positive
from cutover.retirement.window import until, window

if TYPE_CHECKING:
    from collections.abc import Callable

    from cutover.data_tool_table import Retirement

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

__all__ = ["register"]

_ENDS = (
    "Exit 0: done; 1: some files were left, each is named with its cause; 2: settings or usage; 4: S3 or the database "
    "could not be asked; 5: cannot write; 130: interrupted."
)
_COLUMNS = 100  # of a help text
_ENV = "--env-file /etc/deltacrown/production.env"


def register(commands: Subparsers) -> None:
    """Adds the four commands to the parser of `cutover`."""
    table = plan.load().data_tools.retirement
    _archive(commands)
    _quarantine(commands, table)
    _purge(commands, table)
    _restore(commands)


def _archive(commands: Subparsers) -> None:
    parser = _parser(
        commands,
        "archive",
        "stream all local copies into the backups bucket, and prove the archive by reading it back",
        "Streams the local copies, those in quarantine included, as a tar.gz with a SHA-256 manifest into the backups "
        "bucket, without a second local copy; then reads it back from S3 and compares every file with the manifest. A "
        "file that changes or vanishes meanwhile ends it, and then there is no archive. Symbolic links are not "
        "archived. Run it under the role deltacrown-cutover-retirement.",
        f"  cutover archive {_ENV} --role-arn arn:aws:iam::123456789012:role/deltacrown-cutover-retirement\n"
        f"  cutover archive {_ENV} --verify archives/deltacrown-certificates-prod/20261124T010000Z/certificates.tar.gz",
    )
    parser.add_argument("--bucket", help="the backups bucket (default: the deployment's in ops/cutover.yml)")
    parser.add_argument("--verify", metavar="KEY", help="make no archive, prove an existing one again")
    parser.set_defaults(command=_run("archive"))


def _quarantine(commands: Subparsers, table: Retirement) -> None:
    parser = _parser(
        commands,
        "quarantine",
        "put local copies aside whose objects are proven in this run",
        "Moves local copies by rename to a directory beside MEDIA_ROOT (where exactly MEDIA_ROOT is mounted: within "
        "it, closed to all but root), where no web server serves them and from where `cutover restore` takes them "
        "back at once. Both files of a certificate are proven together: S3's own SHA-256 "
        "equals the local file's, and the PDF's is the one it was issued with. Rows that are accepted, not marked, "
        "damaged or different stay and are named. Needs CERT_S3_DUAL_WRITE and CERT_S3_READ_PRIMARY on. May be ended "
        "and started again at any moment.",
        f"  cutover quarantine {_ENV} --dry-run\n"
        f"  cutover quarantine {_ENV} --sample 10 --json\n"
        f"  cutover quarantine {_ENV} --window 01:00-05:00 --limit 1000",
    )
    parser.add_argument("--directory", type=Path, metavar="DIR", help="default: MEDIA_ROOT.quarantine, or within")
    parser.add_argument("--batch-size", type=positive, default=table.batch_size, metavar="N", help="rows")
    how_many = parser.add_mutually_exclusive_group()
    how_many.add_argument("--limit", type=positive, metavar="N", help="how many certificates at most (default: all)")
    how_many.add_argument("--sample", type=positive, metavar="N", help="N certificates chosen at random")
    when = parser.add_mutually_exclusive_group()
    when.add_argument("--until", dest="opening", type=until, metavar="HH:MM", help="stop then (machine's local time)")
    when.add_argument("--window", dest="opening", type=window, metavar="HH:MM-HH:MM", help="only then (local time)")
    parser.add_argument("--dry-run", action="store_true", help="prove everything, move nothing")
    parser.set_defaults(command=_run("quarantine"))


def _purge(commands: Subparsers, table: Retirement) -> None:
    parser = _parser(
        commands,
        "purge",
        "delete what has lain in quarantine long enough: IRREVERSIBLE",
        f"Deletes local copies that have lain in quarantine for {table.quarantine_days} days, after their objects "
        "were read back, if they are in an archive that was proven within the last "
        f"{table.proof_seconds // 3600} hours. It is the one act that nothing takes back, so it asks for a phrase that "
        "names bucket and count; without --approve it only says which. Needs the flags as `quarantine` does.",
        f"  cutover purge {_ENV} --dry-run\n"
        f"  cutover purge {_ENV} --approve delete-19800-local-copies-of-deltacrown-certificates-prod-for-ever",
    )
    parser.add_argument("--directory", type=Path, metavar="DIR", help="default: the quarantine in use")
    parser.add_argument(
        "--older-than-days",
        type=_no_shorter(table.quarantine_days),
        default=table.quarantine_days,
        metavar="N",
        help=f"{table.quarantine_days} or more",
    )
    parser.add_argument("--without-archive", action="store_true", help="also what no proven archive has")
    parser.add_argument("--approve", metavar="PHRASE", help="the phrase that this command prints")
    parser.add_argument("--dry-run", action="store_true", help="count files and bytes, delete nothing")
    parser.set_defaults(command=_run("purge"))


def _restore(commands: Subparsers) -> None:
    parser = _parser(
        commands,
        "restore",
        "bring local copies back, from quarantine or from S3",
        "Renames what lies in quarantine back, then downloads what is still missing from S3, verified by S3's SHA-256 "
        "and for PDFs by the hash of issue. Overwrites no file that differs, needs no flag and no approval, holds a "
        "running quarantine back, and may be ended and started again at any moment.",
        f"  cutover restore {_ENV} --quarantined-only     (the emergency: seconds, asks neither S3 nor the database)\n"
        f"  cutover restore {_ENV}\n"
        f"  cutover restore {_ENV} --certificate-id 4711 --dry-run",
    )
    parser.add_argument("--directory", type=Path, metavar="DIR", help="the quarantine (default: the one in use)")
    parser.add_argument("--quarantined-only", action="store_true", help="ask neither S3 nor the database")
    parser.add_argument(
        "--certificate-id", type=natural, action="append", default=[], metavar="N", help="only this; may be repeated"
    )
    parser.add_argument("--limit", type=positive, metavar="N", help="how many files at most (default: all)")
    parser.add_argument(
        "--accept-unreadable",
        type=natural,
        metavar="N",
        help="for the emergency: move nothing (exit 2) while other than 0 or N purged files lie only in S3",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be brought back, change nothing")
    parser.set_defaults(command=_run("restore"))


def _parser(commands: Subparsers, name: str, brief: str, description: str, examples: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=brief,
        description=textwrap.fill(f"{description} {_ENDS}", _COLUMNS),
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    settings.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    return parser


def _run(name: str) -> Callable[[argparse.Namespace], int]:
    def run(options: argparse.Namespace) -> int:
        # boto3 and the database driver take 0.4 s to import, which other commands need not pay.
        from cutover.retirement import sessions  # noqa: PLC0415

        return sessions.run(name, options)

    return run


def _no_shorter(days: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if positive(text) < days:
            raise argparse.ArgumentTypeError(f"{text} is shorter than the {days} days of ops/cutover.yml")
        return int(text)

    return read
