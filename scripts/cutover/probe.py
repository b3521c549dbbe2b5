"""The probe: what a save and a signed URL cost on this machine, measured because the application does not log it.

It also says which flags the machine's worker processes hold. Everything goes to standard output as METRIC lines in the
application's JSON layout, which the journal and the metric filters take.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from cutover import plan, settings
from cutover.exit_codes import ExitCode
from cutover.telemetry import measurement_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cutover.probe_store import ProbeStore

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

__all__ = ["FAILURE", "register", "worker_flags"]

FAILURE = "cert.s3.probe.fail"  # not one of the table's counters: those count customers' saves
_WORKER_UNIT = re.compile(r"/deltacrown-uwsgi@[^/]+\.service(?:/|$)", re.MULTILINE)


def register(commands: Subparsers) -> None:
    """Adds `probe` to the parser of `cutover`."""
    parser = commands.add_parser(
        "probe",
        help="measure uploads, signing and downloads again and again, as this machine's workers do them",
        description="Puts small objects into the bucket, signs URLs for them, fetches those and compares the bytes, "
        "under the workers' credentials; says what the workers' processes hold. Writes METRIC lines, one JSON object "
        "a line, until SIGTERM. A failure is a line, too. Exit 0: ended; 1: with --once, an operation failed; "
        "2: a setting is missing.",
        epilog="example: cutover probe --env-file /etc/deltacrown/staging.env --once",
    )
    parser.add_argument("--env-file", type=Path, metavar="FILE", help="the application's environment file")
    parser.add_argument("--once", action="store_true", help="measure once and say by the exit code how it went")
    parser.add_argument("--interval", type=_seconds, metavar="S", help="seconds from start to start (default: table)")
    parser.set_defaults(command=_run)


def worker_flags(variables: Mapping[str, str], proc: Path = Path("/proc")) -> dict[str, float]:
    """The share (0 to 1) of this machine's worker processes that hold each flag on.

    A flag is left out if there is no worker process, or if one of them does not have it or cannot be read: that is
    unproven, never off.

    Args:
        variables: the flags' environment variables by the flags' names.
        proc: the root of the process information.
    """
    environments = list(_worker_environments(proc))
    shares = {}
    for flag, variable in variables.items():
        held = [environment[variable] for environment in environments if variable in environment]
        if held and len(held) == len(environments):
            shares[flag] = round(sum(value.lower() == "true" for value in held) / len(held), 4)
    return shares


def _worker_environments(proc: Path) -> Iterator[dict[str, str]]:
    """The environment of each process in a worker unit's control group; empty if it cannot be read."""
    for process in proc.glob("[0-9]*"):
        try:
            if not _WORKER_UNIT.search((process / "cgroup").read_text()):
                continue
            entries = (process / "environ").read_bytes().decode(errors="replace").split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended between the listing and the look
        except PermissionError:
            entries = []
        yield {name: value for name, sign, value in (entry.partition("=") for entry in entries) if sign}


def _run(options: argparse.Namespace) -> int:
    # boto3 takes a third of a second to import, which the other commands need not pay.
    from cutover.probe_store import ProbeStore  # noqa: PLC0415

    signal.signal(signal.SIGTERM, _end)
    table, store = plan.load(), ProbeStore(settings.load(options.env_file))
    interval = options.interval or table.telemetry.probe.interval_seconds
    while True:
        started = time.monotonic()
        failed = _measure_all(table, store)
        if options.once:
            return ExitCode.FAILED if failed else ExitCode.DONE
        time.sleep(max(0.0, started + interval - time.monotonic()))


def _measure_all(table: plan.Plan, store: ProbeStore) -> bool:
    """Writes one round's lines; returns whether an operation failed."""
    from cutover.probe_store import ProbeError  # noqa: PLC0415 (as in _run)

    failed = False
    for size in table.telemetry.probe.object_bytes:
        key = f"{table.telemetry.probe.prefix}{socket.gethostname()}/{size}"
        try:
            for measure, milliseconds in _measure(store, key, os.urandom(size)):
                print(measurement_line(table.measurements[measure], milliseconds), flush=True)
        except ProbeError as error:
            failed = True
            print(
                measurement_line(FAILURE, 1, level="WARNING", operation=error.operation, cause=str(error)), flush=True
            )
    for flag, share in worker_flags({flag: table.variables[flag] for flag in ("dual_write", "read_primary")}).items():
        print(measurement_line(table.measurements[f"workers_{flag}"], share), flush=True)
    return failed


def _measure(store: ProbeStore, key: str, content: bytes) -> Iterator[tuple[str, float]]:
    """Measure and milliseconds of each operation, in order; ProbeError ends it."""
    started = time.perf_counter()
    store.put(key, content)
    yield "probe_put_ms", _milliseconds_since(started)
    started = time.perf_counter()
    url = store.sign(key)
    yield "probe_sign_ms", _milliseconds_since(started)
    started = time.perf_counter()
    store.get(url, content)
    yield "probe_get_ms", _milliseconds_since(started)


def _milliseconds_since(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 2)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds from 0 to an hour")
    return seconds


def _end(_signal: int, _frame: object) -> NoReturn:
    """Ends the process within whatever it waits for; S3 keeps a whole object or none."""
    raise SystemExit(ExitCode.DONE)
