"""The command `cutover unlock`: removes the lock of a step that died."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from cutover.exit_codes import CommandError, ExitCode

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from cutover.status.sites import Machine

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

__all__ = ["register"]

LOCK = "/run/deltacrown/cutover.lock"
SECONDS = 15.0  # for one machine
# Removes the lock that was looked at, and no other: a step may have taken it in between.
_REMOVE = 'test "$(cat "$1")" = "$2" && rm "$1"'


class HeldError(CommandError):
    """A step that may be at work holds the lock."""

    exit_code = ExitCode.FAILED


def register(commands: Subparsers) -> None:
    """Adds `unlock` to the parser of `cutover`."""
    parser = commands.add_parser(
        "unlock",
        help="remove the lock of a step that died: killed, unplugged, or overtaken by a rollback",
        description="Looks at the lock on every machine of a deployment, from the control machine, names its holder, "
        "and removes it where that step cannot be at work any more: it ran on this host and is gone, or an emergency "
        "came after it. Whoever ran on another host may still be at work: look there, then give --force. Exit 0: no "
        "machine holds a lock now; 1: one is left; 2: usage or inventory; 4: a machine could not be asked.",
        epilog="example: cutover unlock --deployment staging",
    )
    parser.add_argument("--deployment", choices=["staging", "production"], required=True)
    parser.add_argument("-i", "--inventory", metavar="INVENTORY", help="as for ansible-playbook")
    parser.add_argument("--force", action="store_true", help="also if the holder may be at work: you have looked")
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> int:
    from cutover.status import asking, locks, sites  # noqa: PLC0415 - `cutover --help` needs none of it

    ((site,), _) = sites.read([options.deployment], options.inventory)
    answers = asking.ask(asking.tasks([site]))()
    left = False
    for machine, (lock, why) in locks.held(list(answers.values())).items():
        told = f"{machine}: {locks.described(lock)}"
        if not why and not options.force:
            print(f"{told}: it may be at work; look on {lock.get('host', 'that host')}, then --force", file=sys.stderr)
            left = True
        else:
            _remove(next(each for each in site.machines if each.name == machine), lock)
            print(f"{told}: removed ({why or 'by --force'})")
    unasked = [answer.problem or answer.here_problem for answer in answers.values() if answer.here is None]
    for problem in unasked:
        print(problem, file=sys.stderr)
    if unasked:
        return ExitCode.ERROR
    if left:
        raise HeldError(f"{options.deployment} is still locked")
    print(f"{options.deployment} holds no lock")
    return ExitCode.DONE


def _remove(machine: Machine, lock: Mapping[str, Any]) -> None:
    command = shlex.join(["sudo", "-n", "sh", "-c", _REMOVE, "sh", LOCK, json.dumps(lock)])
    try:
        done = subprocess.run(
            machine.ssh(command), stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise HeldError(f"{machine.name} did not answer within {SECONDS:g} s: run this again") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip() or "another step has taken the lock since"
        raise HeldError(f"{machine.name}: the lock is not removed: {said}")
