"""Whether a line that a machine logged has arrived in its deployment's log group."""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import TYPE_CHECKING

from cutover import plan
from cutover.exit_codes import ExitCode

if TYPE_CHECKING:
    from botocore.exceptions import ClientError
    from mypy_boto3_logs import CloudWatchLogsClient

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

__all__ = ["register", "seconds_until_delivered", "sentence"]

_POLL_SECONDS = 1.0  # AWS takes at least five such requests a second from an account
_LOOK_BACK_SECONDS = 600  # the mark was written before the command began; searching all that is retained takes minutes


def register(commands: Subparsers) -> None:
    """Adds `delivered` to the parser of `cutover`."""
    parser = commands.add_parser(
        "delivered",
        help="wait until a marked log line has arrived in CloudWatch",
        description="Waits until an event that contains the mark is in the log group, and prints the seconds it took. "
        "Needs logs:FilterLogEvents on the group. Exit 0: arrived; 1: not in time; 4: could not be asked.",
        epilog="example: cutover delivered --log-group /deltacrown/certificates/staging --mark staging1-20261124T1715",
    )
    parser.add_argument("--log-group", required=True, metavar="GROUP")
    parser.add_argument("--mark", required=True, type=_mark, metavar="TEXT", help="what only this line contains")
    parser.add_argument("--within", type=float, metavar="S", help="how long to wait, in seconds (default: the table's)")
    parser.add_argument(
        "--region",
        default=os.environ.get("AWS_REGION") or None,  # which boto3 does not read
        metavar="REGION",
        help="default: AWS_REGION, AWS_DEFAULT_REGION, the profile's",
    )
    parser.add_argument("--endpoint-url", metavar="URL", help="another endpoint than AWS's")
    parser.set_defaults(command=_run)


def seconds_until_delivered(
    client: CloudWatchLogsClient, log_group: str, mark: str, within_seconds: float
) -> float | None:
    """Seconds until an event with the mark was found, None if that took longer than `within_seconds`.

    Raises:
        ClientError, BotoCoreError: the group is missing, access is denied, or CloudWatch Logs does not answer.
    """
    started = time.monotonic()
    since = int((time.time() - _LOOK_BACK_SECONDS) * 1000)
    pages = client.get_paginator("filter_log_events")
    while True:
        for page in pages.paginate(logGroupName=log_group, filterPattern=f'"{mark}"', startTime=since):
            if page["events"]:
                seconds = time.monotonic() - started
                return seconds if seconds <= within_seconds else None
        if time.monotonic() - started + _POLL_SECONDS > within_seconds:
            return None
        time.sleep(_POLL_SECONDS)


def _run(options: argparse.Namespace) -> int:
    # boto3 takes a third of a second to import, which the other commands need not pay.
    import boto3  # noqa: PLC0415
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    within = plan.load().telemetry.delivery_seconds if options.within is None else options.within
    try:
        client = boto3.Session().client("logs", region_name=options.region, endpoint_url=options.endpoint_url)
        seconds = seconds_until_delivered(client, options.log_group, options.mark, within)
    except ClientError as error:
        print(f"cutover: {options.log_group}: {sentence(error)}", file=sys.stderr)
        return ExitCode.ERROR
    except BotoCoreError as error:
        print(f"cutover: {options.log_group}: CloudWatch Logs could not be asked: {error}", file=sys.stderr)
        return ExitCode.ERROR
    if seconds is None:
        print(f"cutover: {options.log_group}: no event with {options.mark!r} within {within:g} s", file=sys.stderr)
        return ExitCode.FAILED
    print(f"{seconds:.1f}")
    return ExitCode.DONE


def sentence(error: ClientError) -> str:
    """Why CloudWatch Logs refused a search, and what to do."""
    code, message = error.response["Error"].get("Code", ""), error.response["Error"].get("Message")
    if code == "ResourceNotFoundException":
        return "there is no such log group in this region: run `pulumi up` for the deployment, or correct log_group"
    if code.startswith("AccessDenied"):
        return f"these credentials may not search it; the role needs logs:FilterLogEvents ({message})"
    return f"{code}: {message}"


def _mark(text: str) -> str:
    if not text or '"' in text:
        raise argparse.ArgumentTypeError("a mark is some text without quotation marks, which a filter pattern ends at")
    return text
