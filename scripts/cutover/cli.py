"""The command `cutover`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from cutover import control_commands, cost, delivery, generate, plan, probe, settings
from cutover.alarms import commands as alarm_commands
from cutover.alarms.errors import AlarmError
from cutover.backfill import command as backfill_command
from cutover.exit_codes import ExitCode
from cutover.local_files import UnsafeNameError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["main", "outcome"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    options = _parser().parse_args(arguments)
    return outcome(options.command, options)


def outcome(command: Callable[[argparse.Namespace], int], options: argparse.Namespace) -> int:
    """Runs what a command does and returns its exit code; what went wrong is one sentence on stderr."""
    try:
        return command(options)
    except (plan.PlanError, settings.SettingsError, generate.GenerateError, UnsafeNameError, AlarmError) as error:
        print(f"cutover: {error}", file=sys.stderr)
        return ExitCode.USAGE
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader left; Python would complain at exit
        return ExitCode.FAILED
    except OSError as error:
        what = error.filename or "input or output"
        print(f"cutover: {what}: {error.strerror}; could not look, so nothing is said of it", file=sys.stderr)
        return ExitCode.ERROR
    except KeyboardInterrupt:
        print("cutover: interrupted; nothing was changed by this command", file=sys.stderr)
        return ExitCode.INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cutover", description="DeltaCrown's move of its certificate files to S3: checks and data tools."
    )
    parser.add_argument("--version", action="version", version=f"cutover {version('deltacrown-cutover')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    generated = commands.add_parser(
        "generate",
        help="write the parts of script and runbook that repeat ops/cutover.yml",
        description="Writes the parts of the machine script and the runbook that repeat ops/cutover.yml.",
        epilog="example: cutover generate --check    (exit 1 if a generated part is out of date)",
    )
    generated.add_argument("--check", action="store_true", help="change nothing, exit 1 if something is out of date")
    generated.add_argument("--root", type=Path, default=Path(), metavar="DIR", help="the checkout (default: here)")
    generated.set_defaults(command=_generate)

    compared = commands.add_parser(
        "compare",
        help="read both copies of named files in full and compare their SHA-256",
        description="Reads the local and the S3 copy of each named file in full and compares their SHA-256, "
        "with the checksum that S3 recorded. Exit 0: all equal; 1: some differ or are absent; 4: S3 could not say.",
        epilog="example: cutover compare --env-file /etc/deltacrown/staging.env certificates/pdf/2026/11/cert_7_a1.pdf",
    )
    compared.add_argument("keys", nargs="+", metavar="NAME", help="a file's name as the database has it")
    compared.add_argument("--env-file", type=Path, metavar="FILE", help="the application's environment file")
    compared.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    compared.set_defaults(command=_compare)

    for module in (alarm_commands, backfill_command, control_commands, cost, delivery, probe):
        module.register(commands)
    return parser


def _generate(options: argparse.Namespace) -> int:
    table = plan.load(options.root / "ops" / "cutover.yml")
    paths = (generate.outdated if options.check else generate.write)(options.root, table)
    for path in paths:
        print(f"{path} is out of date: run `cutover generate`" if options.check else f"{path} written")
    return ExitCode.FAILED if options.check and paths else ExitCode.DONE


def _compare(options: argparse.Namespace) -> int:
    # boto3 takes a third of a second to import, which the other commands need not pay.
    from cutover import compare, object_store  # noqa: PLC0415

    values = settings.load(options.env_file)
    comparisons = []
    try:
        for comparison in compare.compare(values, object_store.ObjectStore(values), options.keys):
            comparisons.append(comparison)
            if not options.json:
                print(comparison)
    except object_store.ObjectStoreError as error:
        print(f"cutover: {error}", file=sys.stderr)
        return ExitCode.ERROR
    if options.json:
        print(json.dumps([asdict(comparison) | {"equal": comparison.equal} for comparison in comparisons]))
    return ExitCode.DONE if all(comparison.equal for comparison in comparisons) else ExitCode.FAILED


if __name__ == "__main__":
    sys.exit(main())
