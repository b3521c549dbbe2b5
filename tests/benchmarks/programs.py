"""The programs that the benchmarks run: the installed peers and the S3 server, measured as whole processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

REPOSITORY = Path(__file__).resolve().parents[2]
CUTOVER = Path(sys.executable).with_name("cutover")
TAIL_CHARACTERS = 400
# Linux counts the memory of whoever starts a process as that process's own peak, and the benchmarks' own is large: so a
# small program starts it, measures it, and writes exit code, seconds, CPU seconds and KB to the descriptor argv[1].
LAUNCHER = """
import json, os, subprocess, sys, time
started = time.perf_counter()
process = subprocess.Popen(sys.argv[2:])
_, status, usage = os.wait4(process.pid, 0)
seconds = time.perf_counter() - started
code = process.returncode = os.waitstatus_to_exitcode(status)
os.write(int(sys.argv[1]), json.dumps([code, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss]).encode())
"""


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
    told, tell = os.pipe()
    with log.open("wb") as output, os.fdopen(told, encoding="utf-8") as answer:
        launcher = subprocess.Popen(
            [sys.executable, "-I", "-c", LAUNCHER, str(tell), *command],
            env=dict(environment),
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=[tell],
            process_group=0,
        )
        os.close(tell)
        try:
            measures = answer.read()
            launcher.wait()
        except BaseException:
            os.killpg(launcher.pid, signal.SIGTERM)
            launcher.wait()
            raise
    code, seconds, cpu_seconds, kilobytes = json.loads(measures) if measures else (launcher.returncode, 0, 0, 0)
    if code != 0:
        said = log.read_text(errors="replace")[-TAIL_CHARACTERS:].strip()
        raise BenchmarkError(f"{' '.join(map(str, command[:3]))} … ended with {code}; {log} ends: {said}")
    return Usage(seconds, cpu_seconds, kilobytes * 1024)
