"""The command `cutover watch`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from cutover.exit_codes import CommandError, ExitCode
from cutover.settings import STATE_DIRECTORY, add_arguments

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from mypy_boto3_cloudwatch import CloudWatchClient

    from cutover.alarms.live import States
    from cutover.plan import Deployment, Plan
    from cutover.watcher.watcher import Watcher

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

__all__ = ["register"]


class WatchError(CommandError):
    """The watcher cannot be started; the sentence says why."""


def register(commands: Subparsers) -> None:
    """Adds `watch` to the parser of `cutover`."""
    parser = commands.add_parser(
        "watch",
        help="the automatic rollback: run the emergency that a trigger alarm names",
        description="Looks at a deployment's rollback-trigger alarms in CloudWatch, and runs the emergency that one\n"
        "names once it has been in ALARM for the hold-off: once an incident, never while the kill file is there or a\n"
        "silence is on, never where every worker is rolled back already. Without `enabled: true` under auto_rollback\n"
        "in ops/cutover.yml it only says what it would do.\n"
        "Runs on the control machine, in the checkout; needs ssh to the machines and cloudwatch:DescribeAlarms, which\n"
        "the read-only role has. SIGTERM ends it, and never an emergency. GET /health on 127.0.0.1 (port:\n"
        "health_ports in ops/cutover.yml) answers 200 or 503.\n"
        "Exit 0: ended, or no trigger is in ALARM; with --once 1: one is, 4: it could not be seen whether one is.",
        epilog="examples:\n  cutover watch --deployment staging --dry-run\n"
        "  cutover watch --deployment production --once",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--deployment", required=True, choices=["staging", "production"])
    parser.add_argument(
        "-i",
        "--inventory",
        metavar="INVENTORY",
        help="as for ansible-playbook (default: $ANSIBLE_INVENTORY, else what playbooks/ansible.cfg says)",
    )
    add_arguments(parser)
    parser.add_argument("--region", metavar="REGION", help="default: AWS_REGION, AWS_DEFAULT_REGION, the profile's")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
    parser.add_argument("--once", action="store_true", help="one look, which never acts")
    parser.add_argument("--json", action="store_true", help="JSON objects, a line each")
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> int:
    from cutover import plan  # noqa: PLC0415 - `cutover --help` needs none of it
    from cutover.stopping import asked_to_stop  # noqa: PLC0415

    table = plan.load()
    watcher = _watcher(options, table)
    if options.once:
        return _once(watcher, as_json=options.json)
    with ExitStack() as stack:
        if not options.dry_run:  # which may be tried beside the one that acts
            stack.enter_context(_health(options.deployment, table, watcher))
        asked = stack.enter_context(asked_to_stop())
        print(_begins(options, table, acts=watcher.acts), flush=True)
        watcher.watch(asked)
    return ExitCode.DONE


def _health(deployment: Deployment, table: Plan, watcher: Watcher) -> AbstractContextManager[int]:
    from cutover.watcher import health  # noqa: PLC0415 - as above

    port = table.auto_rollback.health_ports[deployment]
    try:
        return health.serving(port, watcher.health)
    except OSError as error:
        raise WatchError(
            f"{health.HOST}:{port} cannot be listened on ({error.strerror}): does another watcher of {deployment} "
            f"run here? See: curl {health.HOST}:{port}{health.PATH}"
        ) from error


def _watcher(options: argparse.Namespace, table: Plan) -> Watcher:
    from cutover.status import sites  # noqa: PLC0415 - as above
    from cutover.watcher import memory, watcher  # noqa: PLC0415
    from cutover.watcher.emergency import Emergency  # noqa: PLC0415

    # The emergency runs in playbooks/, wherever this was started.
    inventory = str(Path(options.inventory).resolve()) if options.inventory else None
    directory = Path(os.environ.get("CUTOVER_STATE_DIRECTORY") or STATE_DIRECTORY)
    return watcher.Watcher(
        table,
        options.deployment,
        _asker(options),
        Emergency(options.deployment, sites.playbooks_directory(Path.cwd()), inventory),
        memory.Memory(directory / f"watcher-{options.deployment}.json", keeps=not (options.once or options.dry_run)),
        acts=table.auto_rollback.enabled and not options.dry_run and not options.once,
        as_json=options.json,
    )


def _asker(options: argparse.Namespace) -> Callable[[], States]:
    """What asks CloudWatch, through one client once there can be one."""
    from cutover.alarms import live  # noqa: PLC0415 - as above

    clients: list[CloudWatchClient] = []

    def ask() -> States:
        with live.explained(options.deployment, "cloudwatch:DescribeAlarms"):
            if not clients:
                clients.append(live.connect(options))
            return live.states(clients[0], options.deployment)

    return ask


def _begins(options: argparse.Namespace, table: Plan, *, acts: bool) -> str:
    if acts:
        does = f"rolls back by itself; to stop it: touch {table.auto_rollback.kill_file}"
    elif options.dry_run:
        does = "only says what it would do (--dry-run)"
    else:
        does = "only says what it would do (auto_rollback.enabled is false in ops/cutover.yml)"
    return (
        json.dumps({"deployment": options.deployment, "says": does})
        if options.json
        else f"{options.deployment}: {does}"
    )


def _once(watcher: Watcher, *, as_json: bool) -> int:
    watcher.look()
    found = watcher.health()
    if as_json:
        print(json.dumps(found))
    if any(each["state"] == "ALARM" for each in found["alarms"].values()):
        return ExitCode.FAILED
    for problem in found["problems"]:
        print(f"cutover: {problem}", file=sys.stderr)
    return ExitCode.ERROR if found["problems"] else ExitCode.DONE
