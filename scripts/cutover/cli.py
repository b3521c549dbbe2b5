"""The command `cutover`."""

from __future__ import annotations

import argparse
import contextlib
import errno
import gc
import importlib
import os
import sys
import traceback
from importlib.metadata import version
from typing import TYPE_CHECKING

from cutover.exit_codes import CommandError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["COMMANDS", "main", "outcome"]

# New objects until Python looks for unused cycles. What commands make by the million, at their start and of a listing,
# has none; with Python's own 700 a fifth of a check's time went into looking.
_COLLECT_AFTER = 50_000
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

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
    "daily": "daily_command",
    "delivered": "delivery",
    "doctor": "doctor.command",
    "downloads": "downloads",
    "evidence": "evidence.commands",
    "generate": "generate_command",
    "issued": "test_certificates",
    "journal": "journal_command",
    "machine": "machine_command",
    "pause": "control_commands",
    "probe": "probe",
    "purge": "retirement.commands",
    "quarantine": "retirement.commands",
    "ready": "ready_command",
    "removed": "test_certificates",
    "repair": "consistency.commands",
    "report": "evidence.report_command",
    "restore": "retirement.commands",
    "resume": "control_commands",
    "status": "status.command",
    "status-here": "status.here",
    "sweep": "sweep.command",
    "unlock": "status.unlock_command",
    "watch": "watcher.command",
    "witnesses": "consistency.witnesses_command",
    "worker-command": "worker_command",
    "worker-requests": "worker_requests_command",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    gc.set_threshold(_COLLECT_AFTER)
    given = sys.argv[1:] if arguments is None else arguments
    options = _parser(given[0] if given else "").parse_args(given)
    return outcome(options.command, options)


def outcome(command: Callable[[argparse.Namespace], int], options: argparse.Namespace) -> int:
    """Runs what a command does and returns its exit code; what went wrong is one sentence on stderr."""
    code = _ended(command, options)
    try:
        print(end="", flush=True)  # Python does it at exit, too late for an exit code
    except BrokenPipeError:  # the reader has what it wanted; the command's end is known
        _close_output()
    except OSError as error:
        _close_output()
        if code != ExitCode.CANNOT_WRITE:  # else it was said
            _say(f"standard output: {error.strerror or error}; the result was not written: run again")
        return ExitCode.CANNOT_WRITE
    return code


def _ended(command: Callable[[argparse.Namespace], int], options: argparse.Namespace) -> int:
    try:
        return command(options)
    except CommandError as error:
        _say(str(error))
        return error.exit_code
    except OSError as error:
        return _of_the_system(error)
    except KeyboardInterrupt:
        _say("interrupted; what was done before stays done")
        return ExitCode.INTERRUPTED
    except (SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # noqa: BLE001 - a Rust library's panic is no Exception; 1 would be a verdict
        with contextlib.suppress(OSError):
            traceback.print_exc()
        reason = " ".join(str(error).split())
        _say(f"{type(error).__name__} ({reason}), which nobody expected; nothing is said of the result: report it")
        return ExitCode.ERROR


def _of_the_system(error: OSError) -> ExitCode:
    what = error.filename or "input or output"
    if isinstance(error, BrokenPipeError):
        _close_output()  # whoever read it left, and has what it wanted
        return ExitCode.CANNOT_WRITE
    if error.errno in _FULL:
        _say(f"{what}: {error.strerror}; not written: make room, then run again")
        return ExitCode.CANNOT_WRITE
    _say(f"{what}: {error.strerror or error}; could not look, so nothing is said of it")
    return ExitCode.ERROR


def _say(sentence: str) -> None:
    with contextlib.suppress(OSError):  # a standard error that is full changes no exit code
        print(f"cutover: {sentence}", file=sys.stderr)


def _close_output() -> None:
    """Drops what cannot be written: Python would try again at exit, and end with a code of its own."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
