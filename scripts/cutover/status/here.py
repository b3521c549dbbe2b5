"""`cutover status-here`: what a machine knows that its processes do not say, as one JSON line for `cutover status`.

Each part is asked for by itself: one that cannot be is an `error` in its place, and the others are told.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cutover import settings
from cutover.exit_codes import CommandError, ExitCode
from cutover.status import ledger

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable

    from cutover.plan import Deployment, Plan

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

__all__ = ["BACKFILL", "TIMERS", "evidence", "register"]

LOCK = Path("/run/deltacrown/cutover.lock")
OVERRIDES = Path("/etc/deltacrown/workers")
FENCED = Path("/etc/deltacrown/fenced")
BACKFILL = "deltacrown-backfill.service"
TIMERS = ("cutover-check", "deltacrown-sweep", "cutover-daily")  # the data tools that run by themselves
_TOOL_SECONDS = 5.0  # systemctl and journalctl answer in milliseconds
# What progress and days of grace are judged by; manifests and time series stay where they are.
_CHAINED = ("sequence", "previous", "recorded_at", "attempt")
_TOLD = ("kind", "deployment", "verdict", "step", "who", "message", "mode", "seconds", "scenario", "criteria", "pages")
_PROPERTIES = (
    "Id,LoadState,ActiveState,Result,ExecMainStatus,ExecMainStartTimestamp,ExecMainExitTimestamp,InactiveEnterTimestamp"
)


def register(commands: Subparsers) -> None:
    """Adds `status-here` to the parser of `cutover`."""
    parser = commands.add_parser(
        "status-here",
        help="what `cutover status` asks of a machine: lock, overrides, fallback reads, on the data host all the rest",
        description="Prints one JSON line: this machine's lock and fence, its workers' overrides, the last hour's "
        "fallback reads by cause; with --deployment, on the data host, also evidence, alarms, last check, sweep, and "
        "what runs. Wants root. It changes nothing. What cannot be asked is an error in its place. Exit 0: told.",
        epilog="example: sudo cutover status-here --deployment staging --env-file /etc/deltacrown/staging.env",
    )
    parser.add_argument("--deployment", choices=["staging", "production"], help="this is its data host")
    parser.add_argument(
        "--copies", action="store_true", help="tell which files lie where instead of the alarms: for rollback-preview"
    )
    parser.add_argument(
        "--directory", type=Path, metavar="DIR", help="its chain of evidence (default: that of `cutover evidence`)"
    )
    settings.add_arguments(parser)
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> int:
    document: dict[str, Any] = {
        "machine": os.uname().nodename,
        "lock": _part(lambda: _note(LOCK, "holder")),
        "fence": _part(lambda: _note(FENCED, "by")),
        "overrides": _part(_overrides),
        "fallbacks": _part(ledger.recent),
    }
    if options.deployment is not None:
        document["data"] = _data(options)
    print(json.dumps({"here": document}))
    return ExitCode.DONE


def _part(tell: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever JSON has
    """What `tell` answers, or why it cannot."""
    try:
        return tell()
    except (CommandError, OSError, subprocess.SubprocessError) as error:
        return {"error": str(error)}


def _note(path: Path, who: str) -> dict[str, object] | None:
    """What somebody left on this machine for the others: a lock or a fence, as its author wrote it."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    try:
        return dict(json.loads(text))
    except (ValueError, TypeError):
        return {who: "nobody that could be told: the file is not readable"}


def _overrides() -> list[dict[str, Any]]:
    """The workers whose own file sets a flag, with what it sets; whoever asks has the table that names the flags."""
    found = []
    for path in sorted(OVERRIDES.glob("*.env")):
        values = settings.parse_environment_file(path.read_text(encoding="utf-8", errors="replace"))
        flags = {name: value for name, value in values.items() if name.startswith("CERT_S3_")}
        if flags:
            found.append({"worker": path.stem, "flags": flags})
    return found


def _data(options: argparse.Namespace) -> dict[str, Any]:
    from cutover import plan  # noqa: PLC0415 - it takes a tenth of a second, which the other machines need not wait

    proof = _part(lambda: evidence(options.directory))
    told = {"evidence": proof, "units": _part(_units), "runs": _part(lambda: _runs(options))}
    if options.copies:
        return told | {"copies": _part(lambda: _copies(options))}
    step = _step(plan.load(), options.deployment, proof.get("records", ()))
    return told | {"alarms": _part(lambda: _alarms(options, step))}  # last: it changes this process's environment


def evidence(directory: Path | None) -> dict[str, Any]:
    """What is judged of a chain's records, and its ledger of fallbacks; where it is broken, if it is.

    Raises:
        OSError, ChainError: it cannot be read.
    """
    from cutover.evidence import chain as chains  # noqa: PLC0415 - the other machines have no evidence

    chain = chains.read(directory or chains.DEFAULT_DIRECTORY)
    if chain.broken is not None:
        return {"broken": f"the evidence in {chain.directory} is broken at {chain.broken}"}
    return {
        "records": [
            {key: link.values[key] for key in (*_CHAINED, *_TOLD) if key in link.values} for link in chain.links
        ],
        "fallbacks": ledger.of_evidence(chain.links),
    }


def _step(table: Plan, deployment: Deployment, values: Iterable[dict[str, object]]) -> int | None:
    """The deployment's first step that does not stand, which is the one that asks for alarms; None if all stand."""
    from cutover.evidence import progress  # noqa: PLC0415 - the other machines have no evidence
    from cutover.evidence.record import PASS, Record, validated  # noqa: PLC0415

    records = [validated(Record, each) for each in values]
    own = (number for number, step in table.steps.items() if step.deployment == deployment)
    return next((number for number in own if progress.standing(table, records, number) != PASS), None)


def _alarms(options: argparse.Namespace, step: int | None) -> list[dict[str, Any]]:
    from cutover.alarms import live  # noqa: PLC0415 - the other machines ask no cloud

    return [asdict(alarm) for alarm in live.ask(options, step)]


def _copies(options: argparse.Namespace) -> dict[str, Any]:
    from cutover import rollback_preview_copies  # noqa: PLC0415 - only a preview asks S3 and the database

    return rollback_preview_copies.copies(settings.load(options.env_file, role_arn=options.role_arn), _part)


def _units() -> dict[str, dict[str, str]]:
    """The data tools' units as systemd has them, times in seconds since 1970 with @ before."""
    names = [f"{tool}.{kind}" for tool in TIMERS for kind in ("service", "timer")]
    show = ["systemctl", "show", "--timestamp=unix", f"--property={_PROPERTIES}"]
    shown = _output([*show, *names, BACKFILL])
    units = (dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in shown.split("\n\n"))
    return {unit["Id"]: unit for unit in units if "Id" in unit}


def _runs(options: argparse.Namespace) -> list[dict[str, Any]]:
    """What runs, by its own word: batch, token, rate, phase, whether its process lives, and how far it is."""
    from cutover import control  # noqa: PLC0415 - the other machines run none

    values = settings.load(options.env_file, role_arn=options.role_arn)
    found = []
    for kind in control.KINDS:
        run = control.running(values, kind)
        if run is not None:
            said = run.model_dump(mode="json") | {"process": run.process_state()}
            found.append(said | ({"progress": _progress(run.started)} if kind == "backfill" else {}))
    return found


def _progress(since: datetime) -> str:
    """The last progress line that the transient unit wrote, with its ETA; empty if there is none."""
    begun = f"@{int(since.astimezone(UTC).timestamp())}"
    journal = ["journalctl", "--quiet", "--output=cat", "--lines=100", "--since", begun, "--unit", BACKFILL]
    found = re.findall(r"Progress: (.+)", _output(journal))
    return found[-1] if found else ""


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=_TOOL_SECONDS, check=True).stdout
