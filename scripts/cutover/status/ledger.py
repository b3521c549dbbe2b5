"""The ledger of fallback reads in short: by cause, how many, by how many workers, when the last."""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from cutover.exit_codes import CommandError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from cutover.evidence.chain import Link

__all__ = ["RECENT", "LedgerError", "merged", "of_evidence", "recent"]

RECENT = "the last hour"
_SINCE = "-1h"
# What fallbacks.Ledger looks at, so that journalctl prints nothing else: the METRIC lines, and what stands beside them.
_SPEAKS_OF_ONE = "fall ?back|falls back|falling back|fallen back|fell back|local file is tried"
_FILE = re.compile(r"\bcertificates/[^\s:,;'\"]+")
_SECONDS = 5.0  # journalctl looks through a hundred thousand entries in less than one


class LedgerError(CommandError):
    """The journal cannot be read."""

    exit_code = ExitCode.ERROR


def of_evidence(links: Iterable[Link]) -> list[dict[str, Any]]:
    """What the records of a chain hold."""
    return _by_cause((read.cause, read.at, read.worker) for link in links for read in link.record.fallbacks)


def recent() -> list[dict[str, Any]]:
    """What this machine's workers wrote within the last hour; times are UTC.

    Raises:
        LedgerError: the journal cannot be read.
        subprocess.TimeoutExpired: it could not be read in time.
    """
    command = ["journalctl", "--quiet", "--all", "--output=json", "--output-fields=MESSAGE,_SYSTEMD_UNIT"]
    command += [f"--since={_SINCE}", "--unit=deltacrown-uwsgi@*", f"--grep={_SPEAKS_OF_ONE}"]
    said = subprocess.run(command, capture_output=True, check=False, timeout=_SECONDS)
    if said.stderr.strip() or said.returncode not in {0, 1}:  # 1: nothing matches
        raise LedgerError(f"journalctl ended with {said.returncode} ({said.stderr.decode(errors='replace').strip()})")
    if not said.stdout:
        return []
    from cutover import fallbacks, plan, telemetry  # noqa: PLC0415 - most of the time there is nothing to read

    try:
        found = list(telemetry.entries(said.stdout.decode(errors="replace").splitlines()))
    except telemetry.TelemetryError as error:
        raise LedgerError(str(error)) from error
    read = fallbacks.Ledger({entry.unit for entry in found}, plan.load().metrics["read_fallback"])
    for entry in found:
        read.add(entry)
    return _by_cause((each.cause, each.at, each.unit) for each in read.fallbacks)


def merged(machines: Iterable[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """What several machines told of the same time; a worker is on one of them."""
    found: dict[str | None, dict[str, Any]] = {}
    for each in (each for told in machines for each in told):
        before = found.get(each["cause"], {"reads": 0, "workers": 0, "last": ""})
        found[each["cause"]] = {
            "cause": each["cause"],
            "reads": before["reads"] + each["reads"],
            "workers": before["workers"] + each["workers"],
            "last": max(before["last"], each["last"]),
        }
    return sorted(found.values(), key=lambda each: -each["reads"])


def _by_cause(reads: Iterable[tuple[str | None, datetime, str | None]]) -> list[dict[str, Any]]:
    """By cause (null: no line told it), the most frequent first; the name of a file in a cause makes no other cause."""
    found = defaultdict(list)
    for cause, at, worker in reads:
        found[_FILE.sub("FILE", cause) if cause else None].append((at, worker))
    return [
        {
            "cause": cause,
            "reads": len(told),
            "workers": len({worker for _, worker in told}),
            "last": f"{max(at for at, _ in told):%Y-%m-%dT%H:%M:%SZ}",
        }
        for cause, told in sorted(found.items(), key=lambda item: -len(item[1]))
    ]
