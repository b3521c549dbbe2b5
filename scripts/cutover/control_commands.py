"""The commands `cutover pause`, `resume` and `abort`: what an operator tells a running backfill or sweep."""

from __future__ import annotations

import json
import math
import sys
from typing import TYPE_CHECKING

from cutover import control, settings
from cutover.arguments import rate
from cutover.exit_codes import ExitCode

if TYPE_CHECKING:
    import argparse

    from cutover.settings import Settings

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

__all__ = ["register"]

_NO_LIMIT = "none"
_ENDS = "Exit 0: told; 1: nothing runs that could be told; 2: usage or settings; 5: cannot write."


def register(commands: Subparsers) -> None:
    """Adds `pause`, `resume` and `abort` to the parser of `cutover`."""
    pause = commands.add_parser(
        "pause",
        help="let a running backfill or sweep wait before its next batch",
        description=f"A running backfill or sweep waits before its next batch until it is resumed or aborted. {_ENDS}",
        epilog="example: cutover pause backfill --env-file /etc/deltacrown/production.env",
    )
    pause.set_defaults(orders={"paused": True}, word="pauses before its next batch")
    resume = commands.add_parser(
        "resume",
        help="let a paused backfill or sweep go on, or change its --max-rate while it runs",
        description=f"A paused backfill or sweep goes on; with --max-rate it keeps to this rate from now on. {_ENDS}",
        epilog="example: cutover resume backfill --max-rate 50    (at most 50 certificates a second)",
    )
    resume.add_argument(
        "--max-rate", type=_rate, metavar="N", help="certificates a second from now on; `none` takes the limit away"
    )
    resume.set_defaults(orders={"paused": False}, word="goes on")
    abort = commands.add_parser(
        "abort",
        help="end a running backfill or sweep after the batch in flight",
        description="A running backfill or sweep ends after the batch in flight and prints the token to resume with; "
        f"a later run is not concerned. {_ENDS}",
        epilog="example: cutover abort sweep --env-file /etc/deltacrown/production.env",
    )
    abort.set_defaults(orders={"abort": True}, word="ends after the batch in flight")
    for parser in (pause, resume, abort):
        parser.add_argument("kind", nargs="?", choices=control.KINDS, help="which run (default: every one that runs)")
        settings.add_arguments(parser)
        parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
        parser.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> int:
    values = settings.load(options.env_file, role_arn=options.role_arn)
    orders = dict(options.orders)
    if getattr(options, "max_rate", None) is not None:
        orders["max_rate"] = None if math.isinf(options.max_rate) else options.max_rate
    told, killed = [], []
    for kind in [options.kind] if options.kind else control.KINDS:
        run = control.running(values, kind)
        if run is not None and run.process_state() is None:
            killed.append(run)
        elif run is not None:
            told.append((run, control.instruct(values, run, **orders)))
    if options.json:
        print(json.dumps([run.model_dump(mode="json") | state.model_dump() for run, state in told]))
    else:
        for run, _ in told:
            print(f"{run} {options.word}{_told_rate(orders)}")
    if not told:
        print(f"cutover: {_nothing(values, options.kind, killed)}", file=sys.stderr)
    return ExitCode.DONE if told else ExitCode.FAILED


def _nothing(values: Settings, kind: control.Kind | None, killed: list[control.Run]) -> str:
    sentence = f"no {kind or 'backfill or sweep'} runs here that uses {values.state_directory}, so nobody was told"
    for run in killed:
        sentence += f"; {run} was killed, go on with --resume-token {run.token}" if run.token else f"; {run} was killed"
    return sentence


def _told_rate(orders: dict[str, bool | float | None]) -> str:
    if "max_rate" not in orders:
        return ""
    limit = orders["max_rate"]
    return ", with no limit to its rate" if limit is None else f", at most {limit:g} certificates a second"


def _rate(text: str) -> float:
    return math.inf if text == _NO_LIMIT else rate(text)
