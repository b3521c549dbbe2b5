"""The command `cutover status`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from time import monotonic, sleep
from typing import TYPE_CHECKING

from cutover.arguments import seconds

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from cutover.plan import Deployment
    from cutover.status.sites import Site

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

__all__ = ["register"]

_DEPLOYMENTS: tuple[Deployment, ...] = ("staging", "production")
_CLEAR = "\033[H\033[2J"


def register(commands: Subparsers) -> None:
    """Adds `status` to the parser of `cutover`."""
    parser = commands.add_parser(
        "status",
        help="one screen: every worker's state, the next step and what blocks it, alarms, last drill and check",
        description="Asks every machine of the inventory at once, by ssh, on the control machine: what each worker's "
        "processes hold, which step comes next and what blocks it, alarms, the last drill, check and sweep, what runs "
        "in the background, fallback reads by cause. It changes nothing. Flags: D dual write, R reads from S3, B "
        "backfill; - is off, ? is not set. Exit 0: all well; 1: something is amiss; 2: usage or inventory; 4: a "
        "machine could not be asked (it is named, the others are shown).",
        epilog="example: cutover status --deployment production --watch 5",
    )
    parser.add_argument("--deployment", choices=[*_DEPLOYMENTS, "all"], default="all", help="default: %(default)s")
    parser.add_argument(
        "-i",
        "--inventory",
        metavar="INVENTORY",
        help="as for ansible-playbook (default: $ANSIBLE_INVENTORY, else what playbooks/ansible.cfg says)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document instead of the screen")
    parser.add_argument("--watch", type=seconds, metavar="S", help="look again every S seconds, until interrupted")
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> int:
    from cutover.status import sites  # noqa: PLC0415 - `cutover --help` needs none of it

    begun = monotonic()
    wanted = _DEPLOYMENTS if options.deployment == "all" else (options.deployment,)
    others = tuple(name for name in _DEPLOYMENTS if name not in wanted)  # whose evidence may judge the next step
    shown, judges = sites.read(wanted, options.inventory, others)
    while True:
        code = _look(options, shown, judges, begun)
        if options.watch is None:
            return code
        sleep(options.watch)
        begun = monotonic()


def _look(options: argparse.Namespace, shown: Sequence[Site], judges: Sequence[Site], begun: float) -> int:
    from cutover.status import asking  # noqa: PLC0415 - as above

    asked = asking.ask(asking.tasks(shown, judges))
    from cutover import plan  # noqa: PLC0415 - while the machines are answering: it takes a fifth of a second
    from cutover.status import picture, screen  # noqa: PLC0415

    table = plan.load()
    seen = picture.assemble(table, shown, asked(), datetime.now(UTC), judges)
    took = monotonic() - begun
    if options.json:
        print(screen.document(seen, took), flush=True)
    else:
        terminal = sys.stdout.isatty()
        clear = _CLEAR if options.watch is not None and terminal else ""
        print(clear + "\n".join(screen.lines(seen, took, colours=terminal)), flush=True)
    return seen.exit_code
