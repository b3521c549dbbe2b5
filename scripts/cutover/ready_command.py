"""The command `cutover ready`."""

from __future__ import annotations

import argparse
import getpass
import json
import os
import shlex
import textwrap
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from cutover.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cutover.plan import Deployment
    from cutover.ready import Look, Picture

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

__all__ = ["register"]

_DEPLOYMENTS: tuple[Deployment, ...] = ("staging", "production")
_COLUMNS = 80  # argparse leaves text as it is where the examples must stay as they are


def register(commands: Subparsers) -> None:
    """Adds `ready` to the parser of `cutover`."""
    parser = commands.add_parser(
        "ready",
        help="whether an emergency rollback could be started from this machine now; before each shift",
        description=textwrap.fill(
            "Looks, from this control machine and as the user of the inventory, whether an emergency rollback could "
            "start now: the inventory, the ssh key and ansible-playbook here; on every machine, all at once, by new "
            "connections: that it is reached, passwordless sudo, the machine script as in this checkout, one epoch, "
            "room for the flags, no lock, no fence; on the data host also cutover. It needs neither AWS nor the "
            "database, and changes nothing. The last line is the emergency's command. Exit 0: ready; 1: not ready, "
            "each cause with what to do; 2: usage or inventory; 4: a machine broke off before it had answered, or "
            "this one is too busy.",
            _COLUMNS,
        ),
        epilog="examples:\n  cutover ready\n  cutover ready --deployment all --json\n"
        "  cutover ready -i inventories/rehearsal --deployment staging",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--deployment", choices=[*_DEPLOYMENTS, "all"], default="production", help="default: %(default)s"
    )
    parser.add_argument(
        "-i",
        "--inventory",
        metavar="INVENTORY",
        help="as for ansible-playbook (default: $ANSIBLE_INVENTORY, else what playbooks/ansible.cfg says)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> int:
    begun = monotonic()
    from cutover import ready  # noqa: PLC0415 - `cutover --help` needs none of it
    from cutover.status import sites  # noqa: PLC0415

    playbooks = sites.playbooks_directory(Path.cwd())
    wanted = _DEPLOYMENTS if options.deployment == "all" else (options.deployment,)
    found, _ = sites.read(wanted, options.inventory)
    inventory = _inventory(options.inventory)
    seen = ready.look(found, playbooks, inventory, getpass.getuser())
    code = _exit_code(seen)
    given = shlex.join([*inventory, "-e", f"deployment={options.deployment}"])
    command = f"cd {shlex.quote(str(playbooks))} && ansible-playbook {ready.PLAYBOOK} {given}"
    took = round(monotonic() - begun, 2)
    if options.json:
        print(json.dumps(_document(options.deployment, seen, code, took, command)))
    else:
        print("\n".join(_lines(options.deployment, seen, code, took, command)))
    return code


def _inventory(given: str | None) -> Sequence[str]:
    """The options by which ansible-playbook, run in playbooks/, finds the inventory that was read here."""
    inventory = given or os.environ.get("ANSIBLE_INVENTORY")
    if inventory is None:
        return ()
    return "-i", inventory if "," in inventory else str(Path(inventory).absolute())


def _exit_code(seen: Picture) -> ExitCode:
    """What is amiss outweighs what nobody could look at."""
    if any(problem.measured for problem in seen.problems):
        return ExitCode.FAILED
    return ExitCode.ERROR if seen.problems else ExitCode.DONE


def _document(deployment: str, seen: Picture, code: ExitCode, took: float, command: str) -> dict[str, Any]:
    return {
        "deployment": deployment,
        "ready": code is ExitCode.DONE,
        "exit_code": int(code),
        "seconds": took,
        "machines": [
            {
                "machine": each.machine.name,
                "address": each.machine.address,
                "answered": not each.silent,
                "seconds": round(each.seconds, 2),
                "epoch": each.epoch,
                "script": each.said.get("script", "").partition(" ")[0] or None,
            }
            for each in seen.looks
        ],
        "problems": [asdict(problem) for problem in seen.problems],
        "notes": list(seen.notes),
        "command": command,
    }


def _lines(deployment: str, seen: Picture, code: ExitCode, took: float, command: str) -> Iterator[str]:
    named = {problem.where for problem in seen.problems}
    yield from (f"  ok  {_well(each)}" for each in seen.looks if each.machine.name not in named)
    for problem in seen.problems:
        yield f"  {'NO ' if problem.measured else ' ? '} {problem.where}: {problem.what}"
        yield f"      next: {problem.next}"
    yield from (f"  !   {note}" for note in seen.notes)
    verdict = {ExitCode.DONE: "READY", ExitCode.FAILED: "NOT READY"}.get(code, "NOT KNOWN")
    machines = f"{len(seen.looks)} machine{'s' if len(seen.looks) != 1 else ''}"
    yield f"{deployment} {verdict}: {machines} asked from here in {took:.1f} s. In an emergency:"
    yield f"  {command}"


def _well(each: Look) -> str:
    return (
        f"{each.machine.name}: reached in {each.seconds:.1f} s, sudo without a password, script as in this checkout, "
        f"epoch {each.epoch}, no lock, no fence"
    )
