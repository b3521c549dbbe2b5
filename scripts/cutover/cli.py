"""The command `cutover`."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING

from cutover.exit_codes import CommandError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["COMMANDS", "main", "outcome"]

# By command, the module that registers it. Only the module of the command that is called is imported: all of them
# together take a third of a second, which a backfill's start and a probe would pay, too.
COMMANDS = {
    "abort": "control_commands",
    "accept": "accepted",
    "alarms": "alarms.commands",
    "archive": "retirement.commands",
    "audit": "consistency.commands",
    "backfill": "backfill.command",
    "check": "consistency.commands",
    "compare": "compare_command",
    "cost": "cost",
    "delivered": "delivery",
    "doctor": "doctor.command",
    "downloads": "downloads",
    "evidence": "evidence.commands",
    "generate": "generate_command",
    "journal": "journal_command",
    "machine": "machine_command",
    "pause": "control_commands",
    "probe": "probe",
    "purge": "retirement.commands",
    "quarantine": "retirement.commands",
    "repair": "consistency.commands",
    "report": "evidence.report_command",
    "restore": "retirement.commands",
    "resume": "control_commands",
    "status": "status.command",
    "status-here": "status.here",
    "sweep": "sweep.command",
    "unlock": "status.unlock_command",
    "witnesses": "consistency.witnesses_command",
    "worker-requests": "worker_requests_command",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    options = _parser(given[0] if given else "").parse_args(given)
    return outcome(options.command, options)


def outcome(command: Callable[[argparse.Namespace], int], options: argparse.Namespace) -> int:
    """Runs what a command does and returns its exit code; what went wrong is one sentence on stderr."""
    try:
        return command(options)
    except CommandError as error:
        print(f"cutover: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader left; Python would complain at exit
        return ExitCode.FAILED
    except OSError as error:
        what = error.filename or "input or output"
        print(f"cutover: {what}: {error.strerror or error}; could not look, so nothing is said of it", file=sys.stderr)
        return ExitCode.ERROR
    except KeyboardInterrupt:
        print("cutover: interrupted; what was done before stays done", file=sys.stderr)
        return ExitCode.INTERRUPTED


def _parser(command: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cutover", description="DeltaCrown's move of its certificate files to S3: checks and data tools."
    )
    parser.add_argument("--version", action="version", version=f"cutover {version('deltacrown-cutover')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    modules = [COMMANDS[command]] if command in COMMANDS else dict.fromkeys(COMMANDS.values())
    for module in () if command == "--version" else modules:
        importlib.import_module(f"cutover.{module}").register(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
