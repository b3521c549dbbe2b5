"""The commands `cutover fence`, `unfence` and `session`: deny S3 to machines or to all, give it back, tell a name."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cutover.exit_codes import CommandError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from cutover.fence import Fence

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

__all__ = ["register"]

# Somebody waits for it: a dead AWS must be told within half a minute.
CONNECT_SECONDS, READ_SECONDS, ATTEMPTS = 3, 10, 2
REGION = "us-east-1"  # IAM has no regions; STS has, and any does
_CODES = "Exit 0: it is so, read back; 2: usage or settings; 4: AWS refused, or could not be asked."


class FenceUsageError(CommandError):
    """The command line does not say what to fence."""


def register(commands: Subparsers) -> None:
    """Adds `fence`, `unfence` and `session` to the parser of `cutover`."""
    fence = commands.add_parser(
        "fence",
        help="deny S3 to the sessions of single machines, or to all workers",
        description="Denies S3 in the workers' role by an inline policy of its own, CutoverFence: to the sessions of "
        "the machines that are named, or to the whole role. What was fenced before stays fenced. URLs that the denied "
        "sessions have signed die with it. It asks AWS under your own credentials, or under --role-arn, and touches no "
        f"machine: emergency-rollback.yml -e fence=machine calls it. {_CODES}",
        epilog="example: cutover fence --deployment production --session i-0123456789abcdef0",
    )
    fence.add_argument("--show", action="store_true", help="only look at what is denied")
    fence.set_defaults(command=_fence)
    unfence = commands.add_parser(
        "unfence",
        help="take back what `cutover fence` denied",
        description="Gives S3 back to the sessions that are named, to the role, or to all: the policy goes with the "
        "last of them. It proves nothing of the machines: ansible-playbook unfence.yml does that before it "
        f"calls this. {_CODES}",
        epilog="example: cutover unfence --deployment production --all",
    )
    unfence.add_argument("--all", action="store_true", help="everything that is denied")
    unfence.set_defaults(command=_unfence)
    for parser in (fence, unfence):
        parser.add_argument("--deployment", choices=["staging", "production"], required=True)
        parser.add_argument(
            "--session",
            action="append",
            default=[],
            type=_session,
            metavar="NAME",
            help="a machine's AWS session: on EC2 the id of the instance; can be given again",
        )
        parser.add_argument("--role", action="store_true", help="every session of the workers' role")
        parser.add_argument("--role-arn", metavar="ARN", help="assume this role, deltacrown-cutover-fence, for it")
        parser.add_argument("--json", action="store_true", help="one JSON document instead of a sentence")

    session = commands.add_parser(
        "session",
        help="the name of this machine's AWS session, by which a fence tells it from others",
        description="Asks STS under the credentials that the application has here, and prints the end of UserId: on "
        "EC2 the id of the instance. Exit 0: printed; 2: settings; 4: STS could not be asked, or knows no session.",
        epilog="example: cutover session --env-file /etc/deltacrown/production.env",
    )
    session.add_argument("--env-file", type=Path, metavar="FILE", help="the application's environment file")
    session.set_defaults(command=_tell_session)


def _session(text: str) -> str:
    from cutover.fence import SESSION_NAME  # noqa: PLC0415 - with boto3, which `cutover --help` need not wait for

    if not SESSION_NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no session's name, such as i-0123456789abcdef0")
    return text


def _fence(options: argparse.Namespace) -> int:
    if options.show == bool(options.session or options.role):
        raise FenceUsageError("say what to fence: --session NAME, or --role; or only --show")
    return _run(options, lambda found: found.extended(options.session, whole_role=options.role))


def _unfence(options: argparse.Namespace) -> int:
    if options.all == bool(options.session or options.role):
        raise FenceUsageError("say what to unfence: --session NAME, or --role; or --all")
    if options.all:
        return _run(options, lambda found: found.reduced(found.sessions, whole_role=True))
    return _run(options, lambda found: found.reduced(options.session, whole_role=options.role))


def _tell_session(options: argparse.Namespace) -> int:
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - as above

    from cutover import settings  # noqa: PLC0415
    from cutover.fence import FenceError  # noqa: PLC0415

    settings.adopt(options.env_file)
    try:
        user_id = _aws(None, "sts").get_caller_identity()["UserId"]
    except (ClientError, BotoCoreError) as error:
        raise FenceError(f"STS could not be asked who this machine is: {error}") from error
    _, sign, name = user_id.partition(":")
    if not sign:
        raise FenceError(f"{user_id} has no session, so no fence can tell this machine from others: give it a role")
    print(name)
    return ExitCode.DONE


def _run(options: argparse.Namespace, change: Callable[[Fence], Fence]) -> int:
    from cutover import fence, plan  # noqa: PLC0415 - as above

    role = plan.load().deployments[options.deployment].role
    guarded = fence.RoleFence(_aws(options.role_arn, "iam"), role)
    wanted, changed = guarded.change(change)
    document = {
        "deployment": options.deployment,
        "role": role,
        "sessions": sorted(wanted.sessions),
        "whole_role": wanted.whole_role,
        "changed": changed,
    }
    print(json.dumps(document) if options.json else _sentence(role, wanted))
    return ExitCode.DONE


def _aws(role_arn: str | None, service: Literal["iam", "sts"]) -> Any:  # noqa: ANN401 - one type each
    from botocore.config import Config  # noqa: PLC0415 - as above

    from cutover.object_store import role_session  # noqa: PLC0415

    config = Config(
        connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS, retries={"total_max_attempts": ATTEMPTS}
    )
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or REGION
    return role_session(region, role_arn).client(service, config=config)


def _sentence(role: str, fence: Fence) -> str:
    denied = [f"every session of {role}"] * fence.whole_role
    denied += [f"the sessions {', '.join(sorted(fence.sessions))} of {role}"] * bool(fence.sessions)
    return f"S3 is denied to {' and '.join(denied)}" if denied else f"no fence denies S3 to {role}"
