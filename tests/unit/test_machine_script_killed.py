"""scripts/deltacrown-s3-rollback, killed in the middle: whole files, whole workers, and a rerun that finishes.

Booted machines, their power and their connections: tests/faults/test_never_half.py.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from tests.unit.test_machine_script import LOCAL, PLAIN_LOCAL, REPOSITORY, Machine, held, lines, machine

__all__ = ["machine"]

SEED, MOMENTS, LATEST_SECONDS = 7, 6, 0.9  # a run takes about a second
ON = PLAIN_LOCAL.replace("false", "true")
READS = PLAIN_LOCAL.replace("READ_PRIMARY=false", "READ_PRIMARY=true")
WAIT_SECONDS = 20.0


def pids_of(machine: Machine) -> list[int]:
    """The processes of the script and of the systemctl that it called, detached ones too."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"DELTACROWN_ROOT={machine.root}\0".encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
    return found


def is_script(pid: int) -> bool:
    try:
        return b"deltacrown-s3-rollback" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def test_script_that_is_killed_leaves_whole_files_and_workers(machine: Machine) -> None:
    """The machine loses its memory or its power in the middle of the writes: no setting and no flag may be lost."""
    settings = "DATABASE_URL=postgres://x\nLAST=1\n"
    generator = random.Random(SEED)  # noqa: S311 - repeatable, not secret
    for moment in sorted(generator.uniform(0, LATEST_SECONDS) for _ in range(MOMENTS)):
        machine.main.write_text(settings + ON)
        machine.override("worker2").write_text(READS)
        machine.systemctl("restart", "deltacrown-uwsgi@worker1.service", "deltacrown-uwsgi@worker2.service")
        epoch = int(machine.epoch.read_text())
        run = subprocess.Popen(
            [REPOSITORY / "scripts/deltacrown-s3-rollback"],
            env={"DELTACROWN_ROOT": str(machine.root), "PATH": os.environ["PATH"]},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(moment)
        for pid in filter(is_script, pids_of(machine)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        run.wait()
        deadline = time.monotonic() + WAIT_SECONDS
        while pids_of(machine):  # what systemd has begun it ends
            assert time.monotonic() < deadline
            time.sleep(0.05)
        print(f"seed {SEED}: killed after {moment:.2f} s")
        assert machine.main.read_text() in {settings + ON, settings + PLAIN_LOCAL}
        if machine.override("worker2").exists():
            assert machine.override("worker2").read_text() in {READS, PLAIN_LOCAL}
        assert int(machine.epoch.read_text()) in {epoch, epoch + 1}
        processes, _ = lines(machine.script("--status"))
        assert len(held(processes, "worker1")) == len(held(processes, "worker2")) == 1
        again = machine.script()
        processes, last = lines(again)
        assert (again.returncode, last["done"]) == (0, True), again.stderr
        assert held(processes, "worker1") == held(processes, "worker2") == {(False, False, False)}
        assert machine.script("--flags", LOCAL, "--epoch", str(last["epoch"])).returncode == 0
