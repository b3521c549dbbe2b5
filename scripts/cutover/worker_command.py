"""The command `cutover worker-command`: certificates issued and removed by the site's own commands, as a worker would.

For a site that has no POST for staff. Each program runs as a unit of its own with the worker's user, directory and
environment, so also with its flags and credentials; its METRIC lines are counted here, where no worker's journal has
them.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import time
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cutover import settings
from cutover.arguments import positive
from cutover.exit_codes import ExitCode
from cutover.settings import SettingsError
from cutover.stopping import asked_to_stop
from cutover.telemetry import parse_metric
from cutover.worker_requests_command import Failure, Memory, Requests

if TYPE_CHECKING:
    from cutover.catalogue import Catalogue

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

__all__ = ["register"]

OVERRIDES = Path("/etc/deltacrown/workers")
# Of all that is issued at once, and of one removal: a soak sees neither an emergency nor its stop limits meanwhile.
LONGEST_SECONDS = 60
_STOP_SECONDS = 5  # of a program that was told to end and does not
_TOLD = 200  # characters of what a program said last
_SLOW = "ask for fewer, or make the program faster"
# A program that is ended, or that fails, may have issued one before.
_UNKNOWN = "; whether it issued one is not known, and nobody would remove it: cutover issued --since {} --env-file {}"


def register(commands: Subparsers) -> None:
    """Adds `worker-command` to the parser of `cutover`."""
    parser = commands.add_parser(
        "worker-command",
        help="issue and remove test certificates by the site's own commands, run as a worker that is named",
        description="Runs a program of the site with a worker's user, environment and credentials: `issue` as often "
        "as is asked, each time it issues one certificate and prints its id as its last line; `remove` with one id "
        "more on its command line. Issuing ends with the first failure, and after a minute at the latest. Run it as "
        "root on the worker's machine. Exit 0: all were done; 1: some failed; 2: usage or settings; 4: the database "
        "could not be read; 130: interrupted.",
        epilog="example: cutover worker-command issue --worker worker1 --env-file /etc/deltacrown/staging.env "
        '--directory /opt/deltacrown/app --count 4 --program \'["venv/bin/python", "manage.py", "issue_probe"]\'',
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    issue = actions.add_parser("issue", help="issue certificates")
    issue.add_argument("--count", type=positive, required=True, metavar="N", help="how many")
    issue.add_argument(
        "--remember", type=Path, metavar="FILE", help="write each certificate down as soon as it is issued"
    )
    issue.set_defaults(command=_issue)
    remove = actions.add_parser("remove", help="remove certificates; one that is gone counts as done")
    remove.add_argument("ids", type=positive, nargs="+", metavar="ID", help="of a certificate")
    remove.set_defaults(command=_remove)
    for action in (issue, remove):
        action.add_argument("--worker", required=True, metavar="W", help="whose environment the program gets")
        action.add_argument("--directory", required=True, metavar="D", help="of the site, where the program runs")
        action.add_argument("--settings", metavar="MODULE", help="DJANGO_SETTINGS_MODULE")
        action.add_argument("--program", type=_program, required=True, metavar="JSON", help="and its arguments, a list")
        action.add_argument("--json", action="store_true", help="one JSON document instead of lines")
        settings.add_arguments(action)


def _issue(options: argparse.Namespace) -> int:
    found, metrics = Requests(asked=options.count), Counter[str]()
    end = time.monotonic() + LONGEST_SECONDS
    with Memory(options.remember) as memory, _catalogue(options) as catalogue, asked_to_stop() as stopping:
        while found.done < found.asked and not stopping.is_set():
            if (seconds := math.floor(end - time.monotonic())) < 1:
                found.failures.append(Failure(None, f"{LONGEST_SECONDS} s were over after {found.done}: {_SLOW}"))
                break
            began = datetime.now(UTC).isoformat(timespec="seconds")
            ran = _run(options, seconds=seconds)
            metrics.update(_metrics(ran))
            row = catalogue.by_id([number]) if (number := _last_number(ran)) else []
            names = [file.key for each in row for file in each.files]
            if row:
                memory.add(row[0].id, names)
            if ran.returncode or not row:
                why = _why(ran, "it printed no id of a certificate")
                why += "" if row else _UNKNOWN.format(began, options.env_file)
                found.failures.append(Failure(ran.returncode, why))
                break
            found.done += 1
            found.ids.append(row[0].id)
            found.names.extend(names)
        interrupted = stopping.is_set()
    return _ended(options, found, metrics, interrupted=interrupted)


def _remove(options: argparse.Namespace) -> int:
    found, metrics = Requests(asked=len(options.ids)), Counter[str]()
    with _catalogue(options) as catalogue, asked_to_stop() as stopping:
        there = {row.id for row in catalogue.by_id(options.ids)}
        for number in options.ids:
            if stopping.is_set():
                break
            ran = _run(options, str(number), seconds=LONGEST_SECONDS) if number in there else None
            if ran is not None and ran.returncode:
                found.failures.append(Failure(ran.returncode, f"certificate {number}: {_why(ran, '')}"))
                continue
            metrics.update(_metrics(ran) if ran else ())
            found.done += 1
            found.ids.append(number)
        interrupted = stopping.is_set()
    return _ended(options, found, metrics, interrupted=interrupted)


def _catalogue(options: argparse.Namespace) -> Catalogue:
    if options.env_file is None:
        raise SettingsError(
            "--env-file is absent: give the file of the worker's unit, /etc/deltacrown/<deployment>.env"
        )
    from cutover.catalogue import Catalogue  # noqa: PLC0415 - psycopg takes a while to import

    return Catalogue(settings.load(options.env_file, role_arn=options.role_arn), read_only=True)


def _run(options: argparse.Namespace, *more: str, seconds: int) -> subprocess.CompletedProcess[str]:
    """Runs the program with systemd's own reading of the worker's files, which a shell would read otherwise."""
    properties = {
        "User": "www-data",
        "WorkingDirectory": options.directory,
        "RuntimeMaxSec": str(seconds),
        "TimeoutStopSec": str(_STOP_SECONDS),
    }
    files = (str(options.env_file), f"-{OVERRIDES / options.worker}.env")
    command = ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", "--setenv=PYTHONDONTWRITEBYTECODE=1"]
    command += [f"--property={name}={value}" for name, value in properties.items()]
    command += [f"--property=EnvironmentFile={file}" for file in files]
    command += [f"--setenv=DJANGO_SETTINGS_MODULE={options.settings}"] if options.settings else []
    return subprocess.run(
        [*command, "--", *options.program, *more],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )


def _metrics(ran: subprocess.CompletedProcess[str]) -> Counter[str]:
    """The METRIC lines that the program logged, by name."""
    counts: Counter[str] = Counter()
    for line in (*ran.stdout.splitlines(), *ran.stderr.splitlines()):
        if metric := parse_metric(line):
            counts[metric[0]] += round(metric[1])
    return counts


def _last_number(ran: subprocess.CompletedProcess[str]) -> int | None:
    last = ran.stdout.strip().rpartition("\n")[2].strip()
    return int(last) if last.isascii() and last.isdigit() else None


def _why(ran: subprocess.CompletedProcess[str], otherwise: str) -> str:
    said = (ran.stderr.strip() or ran.stdout.strip()).rpartition("\n")[2][:_TOLD]
    if ran.returncode:
        return f"the program ended with {ran.returncode}: {said or 'it said nothing'}"
    return f"{otherwise}: {said or 'it said nothing'}"


def _ended(options: argparse.Namespace, found: Requests, metrics: Counter[str], *, interrupted: bool) -> int:
    document = {**asdict(found), "metrics": dict(metrics)}
    print(json.dumps(document) if options.json else "\n".join(found.lines(options.command.__name__.strip("_"))))
    if interrupted:
        return ExitCode.INTERRUPTED
    return ExitCode.FAILED if found.failures else ExitCode.DONE


def _program(text: str) -> list[str]:
    try:
        words = json.loads(text)
    except ValueError:
        words = None
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        raise argparse.ArgumentTypeError(f'{text!r} is no program: write a JSON list, ["python", "manage.py", "name"]')
    return words
