"""`cutover backfill`, which is the application's `manage.py backfill_certificates_to_s3`, too."""

from __future__ import annotations

import argparse
import re
import sys
from typing import TYPE_CHECKING

from cutover import plan, settings
from cutover.arguments import key, natural, positive, rate, seconds
from cutover.backfill import token
from cutover.control import batch_rows

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

__all__ = ["DESCRIPTION", "EXAMPLES", "add_arguments", "register", "run"]

DESCRIPTION = (
    "Stores certificates in S3 and marks a row once both of its files are proven there by S3's own SHA-256. Reads and "
    "proves the local files first, never overwrites an object that differs, and may be ended and resumed at any "
    "moment. Needs CERT_S3_BACKFILL_ENABLED, which is read again before each batch; a dry run does not need it. "
    "Exit 0: done; 1: some certificates failed, or more than 5 % of the uploads did; 2: settings, or the flag is off; "
    "4: the database or S3 could not be asked, or the disk is away; 5: another backfill runs; 130: "
    "interrupted."
)
EXAMPLES = """examples:
  cutover backfill --env-file /etc/deltacrown/staging.env --dry-run --limit 100 --verify-hash
  cutover backfill --env-file /etc/deltacrown/production.env --start-id 0 --limit 1000 --batch-size 50 --verify-hash
  cutover backfill --env-file /etc/deltacrown/production.env --verify-hash --run-size 1000 --cooldown 300
  cutover backfill --env-file /etc/deltacrown/production.env --resume-token eyJzdGFydF9pZCI6IDEwfQ==
  cutover backfill --env-file /etc/deltacrown/production.env --certificate-id 4711 --repair
  cutover backfill --env-file /etc/deltacrown/production.env --scheduler tcp://127.0.0.1:8786"""


def register(commands: Subparsers) -> None:
    """Adds `backfill` to the parser of `cutover`."""
    parser = commands.add_parser(
        "backfill",
        help="store certificates in S3, verified, and mark them as migrated",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser)
    parser.set_defaults(command=run)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of a backfill: the runbook's, and ours."""
    tools = plan.load().data_tools
    settings.add_arguments(parser)
    parser.add_argument("--dry-run", action="store_true", help="read and compare everything, write nothing")
    parser.add_argument("--start-id", type=natural, metavar="N", help="first certificate (default: 0)")
    parser.add_argument("--limit", type=positive, metavar="N", help="how many that are not migrated yet (default: all)")
    parser.add_argument("--batch-size", type=positive, default=tools.batch_size, metavar="N", help="rows a batch")
    parser.add_argument("--tournament-id", type=natural, metavar="N", help="only this tournament's")
    parser.add_argument(
        "--certificate-id", type=natural, action="append", default=[], metavar="N", help="only this; may be repeated"
    )
    parser.add_argument(
        "--key", type=key, action="append", default=[], help="only the certificate that owns this file; may be repeated"
    )
    parser.add_argument("--verify-hash", action="store_true", help="read the SHA-256 back from S3 after each upload")
    parser.add_argument("--repair", action="store_true", help="put the local file in place of an object that differs")
    parser.add_argument("--resume-token", nargs="*", metavar="TOKEN", help="go on where a run ended")
    parser.add_argument("--concurrency", type=positive, default=tools.concurrency, metavar="N", help="uploads at once")
    parser.add_argument("--max-rate", type=rate, metavar="R", help="certificates a second, at most")
    parser.add_argument(
        "--run-size", type=positive, metavar="N", help="certificates until it cools down (with --cooldown)"
    )
    parser.add_argument(
        "--cooldown", type=seconds, metavar="S", help="seconds to wait after each run of --run-size; not in a dry run"
    )
    parser.add_argument(
        "--scheduler", type=_scheduler, metavar="ADDRESS", help="spread it over the workers of this Dask scheduler"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output, lines on error")


def run(options: argparse.Namespace) -> int:
    """Runs a backfill and returns its exit code."""
    from cutover.backfill.session import Session  # noqa: PLC0415 - boto3 and the database driver take 0.4 s

    _refuse_half_a_pace(options)
    _refuse_two_starts(options)
    table, values = plan.load(), settings.load(options.env_file, role_arn=options.role_arn)
    flag = table.variables["backfill"]
    if not options.dry_run and not settings.flag(values, flag):
        source = options.env_file or "the environment"
        raise settings.SettingsError(f"{flag} is not `true` in {source}: turn it on, or look first with --dry-run")
    if options.resume_token:
        options.start_id = token.decode(options.resume_token)
    elif options.resume_token is not None:  # as the runbook's `tail` of several logs gives it
        print("cutover: --resume-token without a token: from the start, passing what is migrated", file=sys.stderr)
    options.start_id = options.start_id or 0
    options.batch_size = batch_rows(options.batch_size, options.max_rate)
    return Session(options, values, table).run()


def _refuse_half_a_pace(options: argparse.Namespace) -> None:
    if (options.run_size is None) != (options.cooldown is None):
        raise settings.SettingsError("--run-size N and --cooldown S belong together: give both, or none")
    if options.run_size is not None and options.scheduler is not None:
        raise settings.SettingsError("--run-size paces one process: leave it out, or leave --scheduler out")


def _refuse_two_starts(options: argparse.Namespace) -> None:
    if options.start_id is not None and options.resume_token is not None:
        raise settings.SettingsError("--start-id N and --resume-token TOKEN each say where to begin: leave one out")


def _scheduler(text: str) -> str:
    if not re.fullmatch(r"(tcp|tls)://[^/\s]+:\d+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no scheduler: write tcp://HOST:PORT or tls://HOST:PORT")
    return text
