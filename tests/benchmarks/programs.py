"""The programs that the benchmarks run: the installed peers and the S3 server, measured as whole processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

REPOSITORY = Path(__file__).resolve().parents[2]
CUTOVER = Path(sys.executable).with_name("cutover")
TAIL_CHARACTERS = 400


class BenchmarkError(RuntimeError):
    """A benchmark could not be run; the sentence says which program failed and what it said."""


@dataclass(frozen=True)
class Usage:
    """What one whole process took, from its start to its end, its threads and ended children included."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int  # the most resident memory that it held at once


def peer(name: str) -> Path:
    """Returns the path of an installed peer or server program; BenchmarkError if `make bench` did not install it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    environment = cache / "deltacrown-cutover" / "benchmarks"
    # The package's own `s5cmd` is a Python program that starts this one: a third of a second that s5cmd does not need.
    inside = "lib/python3*/site-packages/s5cmd/bin/s5cmd" if name == "s5cmd" else f"bin/{name}"
    found = next(environment.glob(inside), None)
    if found is None:
        raise BenchmarkError(f"{name} is not installed in {environment}: run `make bench`.")
    return found


def measured(command: Sequence[str | Path], environment: Mapping[str, str], log: Path) -> Usage:
    """Runs a program to its end and returns what it took; its output goes to `log`.

    Raises:
        BenchmarkError: its exit status is not 0.
    """
    with log.open("wb") as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            command,
            env=dict(environment),
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.send_signal(signal.SIGTERM)
            process.wait()
            raise
        seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        said = log.read_text(errors="replace")[-TAIL_CHARACTERS:].strip()
        raise BenchmarkError(f"{' '.join(map(str, command[:3]))} … ended with {process.returncode}; {log} ends: {said}")
    return Usage(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)
