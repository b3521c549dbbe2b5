"""The command `cutover journal`: what this machine's workers and probe logged since a mark, counted where it lies."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cutover import plan
from cutover.exit_codes import CommandError, ExitCode
from cutover.fallbacks import Ledger
from cutover.telemetry import TelemetryError, WorkerCounts, after_mark, count, entries, parse_metric

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Sequence

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

__all__ = ["JournalError", "Window", "register"]

PROBE = "deltacrown-probe.service"  # whose METRIC lines are measurements; the units of workers write counters


class JournalError(CommandError):
    """The journal proves nothing: the mark is gone, lines were dropped, or it cannot be read."""

    exit_code = ExitCode.ERROR


@dataclass
class Window:
    """What the journal says from the mark on; times are UTC.

    Args:
        units: the workers' unit names.
        table: whose `measurements` are taken from the probe's lines.
        until: when the journal was read.
    """

    units: Sequence[str]
    table: plan.Plan
    until: datetime
    since: datetime | None = None
    counts: dict[str, WorkerCounts] = field(init=False)
    measurements: dict[str, list[float]] = field(init=False)
    ledger: Ledger = field(init=False)

    def __post_init__(self) -> None:
        self.counts = {unit: WorkerCounts() for unit in self.units}
        self.measurements = {name: [] for name in self.table.measurements.values()}
        self.ledger = Ledger(set(self.units), self.table.metrics["read_fallback"])

    def read(self, lines: Iterable[str], cursor: str, end: str | None = None) -> None:
        """Takes all of `journalctl -o json --cursor=<cursor>`, the mark first, up to the mark `end` if there is one.

        Raises:
            TelemetryError: it proves nothing.
        """
        found = after_mark(entries(lines), cursor)
        ended = False
        for entry in found:
            if self.since is None:
                self.since = entry.at  # the mark
                continue
            if ended:
                continue  # read all the same, so that journalctl ends well
            if entry.cursor == end:
                self.until, ended = entry.at, True
                continue
            self.until = max(self.until, entry.at)
            count(self.counts, entry)
            self.ledger.add(entry)
            metric = parse_metric(entry.message) if entry.unit == PROBE else None
            if metric is not None and metric[0] in self.measurements:
                self.measurements[metric[0]].append(metric[1])
        if end is not None and not ended:
            raise TelemetryError("the mark at the end is not there, so lines may be lost: measure again")

    def document(self) -> dict[str, Any]:
        """The JSON document; a unit or a measurement without lines is there, empty."""
        return {
            "units": {
                unit: {
                    "metrics": dict(worker.metrics),
                    "server_errors": worker.server_errors,
                    "first_complaint": worker.first_complaint,
                }
                for unit, worker in self.counts.items()
            },
            "measurements": self.measurements,
            "fallbacks": [fallback.document() for fallback in self.ledger.fallbacks],
            "since": _iso(self.since),
            "until": _iso(self.until),
        }

    def lines(self) -> Iterator[str]:
        """The same for people."""
        yield f"from {_iso(self.since)} to {_iso(self.until)}"
        for unit, worker in self.counts.items():
            metrics = ", ".join(f"{name} {number}" for name, number in sorted(worker.metrics.items()))
            yield f"{unit}: {metrics or 'no METRIC line'}; server errors {worker.server_errors}"
            if worker.first_complaint:
                yield f"  first complaint: {worker.first_complaint}"
        for name, values in self.measurements.items():
            if values:
                yield f"{name}: {len(values)} values, the highest {max(values):g}"
        for fallback in self.ledger.fallbacks:
            told = (fallback.operation, fallback.key, fallback.cause)
            yield f"fallback {_iso(fallback.at)} {fallback.unit}: {' '.join(filter(None, told)) or 'nothing is told'}"


def register(commands: Subparsers) -> None:
    """Adds `journal` to the parser of `cutover`."""
    parser = commands.add_parser(
        "journal",
        help="count what this machine's workers logged since a mark",
        description="Reads the journal from a mark on (an entry with the tag deltacrown-cutover), counts the METRIC "
        "lines and server errors of the named units, takes the probe's measurements, and lists the reads that fell "
        "back to local files. Needs the right to read the journal. Exit 0: counted; 4: the journal proves nothing, "
        "because the mark is gone, the machine was restarted, or journald dropped lines.",
        epilog="example: cutover journal --cursor 's=…;i=…;b=…' --unit deltacrown-uwsgi@worker1.service",
    )
    parser.add_argument("--cursor", required=True, metavar="C", help="of the mark, as journalctl gives it (__CURSOR)")
    parser.add_argument("--until-cursor", metavar="C", help="of a later mark, which ends the count; default: now")
    parser.add_argument("--unit", required=True, action="append", metavar="U", help="of a worker; may be repeated")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> int:
    window = Window(options.unit, plan.load(), datetime.now(UTC))
    try:
        _read(window, options.cursor, options.until_cursor)
    except TelemetryError as error:
        raise JournalError(str(error)) from error
    print(json.dumps(window.document()) if options.json else "\n".join(window.lines()))
    return ExitCode.DONE


def _read(window: Window, cursor: str, end: str | None) -> None:
    """Takes what journalctl prints while it prints it: a week's lines need not fit into memory."""
    failure: TelemetryError | None = None
    with (
        tempfile.TemporaryFile() as complaints,  # a pipe that nobody reads could fill up and hold journalctl
        subprocess.Popen(
            _journalctl(window.units, cursor),
            stdout=subprocess.PIPE,
            stderr=complaints,
            encoding="utf-8",
            errors="replace",
        ) as journal,
    ):
        lines = journal.stdout or contextlib.nullcontext(())
        try:
            with lines as printed:  # closed at the first error, which ends a journalctl that still prints
                window.read(printed, cursor, end)
        except TelemetryError as error:
            failure = error
        code = journal.wait()
        complaints.seek(0)
        said = complaints.read().decode(errors="replace").strip()
    if code > 0 and (failure is None or window.since is None):
        raise JournalError(f"journalctl ended with {code} ({said or 'without a word'}): run this as root")
    if failure is not None:
        raise failure


def _journalctl(units: Sequence[str], cursor: str) -> list[str]:
    """The marks, what journald says of itself, and these units; `--all`, or lines above 4,096 bytes have no text."""
    command = ["journalctl", "--quiet", "--all", "--output=json", "--output-fields=MESSAGE,_SYSTEMD_UNIT"]
    matches = ["SYSLOG_IDENTIFIER=deltacrown-cutover", "SYSLOG_IDENTIFIER=systemd-journald"]
    matches += [f"_SYSTEMD_UNIT={unit}" for unit in dict.fromkeys((*units, PROBE))]
    return [*command, f"--cursor={cursor}", *" + ".join(matches).split(" ")]


def _iso(at: datetime | None) -> str | None:
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z") if at else None
