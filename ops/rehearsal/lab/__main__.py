"""`python -m rehearsal.lab up|down|status`: the lab by hand."""

from __future__ import annotations

import argparse
import signal
import sys

from rehearsal.aws_stand_in import AwsStandInError
from rehearsal.lab import reach
from rehearsal.lab.commands import LabError
from rehearsal.lab.lab import Lab

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


def main() -> int:
    """Does one command; the exit codes are those of all commands of this project."""
    parser = argparse.ArgumentParser(prog="python -m rehearsal.lab", description="The rehearsal's machines.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="raises the machines and services, and leaves them up")
    commands.add_parser("down", help="removes them and whatever a killed run left; caches stay")
    commands.add_parser("status", help="says whether a lab is up, and how to reach it")
    command = parser.parse_args().command
    for ending in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(ending) is not signal.SIG_IGN:  # as nohup sets it
            signal.signal(ending, _interrupt)
    lab = Lab()
    try:
        if command == "up":
            return _up(lab)
        if command == "down":
            lab.down()
        else:
            print(reach.hints(lab))
    except (LabError, AwsStandInError, OSError) as error:
        print(error, file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    return DONE


def _up(lab: Lab) -> int:
    try:
        lab.preflight()
    except LabError as error:
        print(error, file=sys.stderr)
        return USAGE
    lab.up(keep=True)
    print(reach.hints(lab))
    return DONE


def _interrupt(*_: object) -> None:
    """Lets SIGTERM and SIGHUP undo what was begun, as Ctrl-C does."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
