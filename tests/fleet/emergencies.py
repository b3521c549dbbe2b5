"""Emergencies as the tests see them: from this host, past ssh and the machine script, in the machines' processes."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from cutover import plan
from rehearsal import playbook
from rehearsal.lab import cgroups
from rehearsal.lab.topology import MACHINES
from tests.fleet.production import WEBS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rehearsal.playbook import PlaybookRun

POLL_SECONDS = 0.05
VARIABLES = tuple(name.encode() for name in plan.load().variables.values())  # each load of the table takes a while
Held = dict[str, set[str]]


def held_on(machine: str) -> Held:
    """What the processes of each worker of a machine hold, as the machine script writes flags; dead ones: nothing."""
    found: Held = {worker: set() for worker in MACHINES[machine].workers}
    for group, pids in _groups(machine):
        worker = group.name.removeprefix("deltacrown-uwsgi@").removesuffix(".service")
        if worker in found and worker != group.name:
            found[worker] |= {_flags_of(pid) for pid in pids} - {""}
    return found


def _groups(machine: str) -> Iterator[tuple[Path, list[str]]]:
    """The control groups of a machine with their processes; some vanish while one looks."""
    for directory, _, _ in os.walk(cgroups.hierarchies()[0] / cgroups.TREE / machine):
        yield Path(directory), _words(Path(directory) / "cgroup.procs")


def _flags_of(pid: str) -> str:
    """The flags of a process; empty if it ended meanwhile, or is still systemd on its way to become uWSGI."""
    try:
        entries = (Path("/proc") / pid / "environ").read_bytes().split(b"\0")
    except OSError:
        return ""
    environment = dict(entry.split(b"=", 1) for entry in entries if b"=" in entry)
    flags = [environment.get(name, b"").decode() for name in VARIABLES]
    return ",".join(flags) if any(flags) else ""


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:  # it is gone
        return []


def all_hold(machine: str, flags: str) -> bool:
    """Whether every worker of a machine runs, and each of its processes holds these flags."""
    return all(held == {flags} for held in held_on(machine).values())


def processes_of(machine: str) -> set[str]:
    """The processes of a machine's workers: others after a restart."""
    return {pid for group, pids in _groups(machine) if group.match("deltacrown-uwsgi@*.service") for pid in pids}


def script_on(machine: str) -> list[int]:
    """The processes of the machine script, somebody's or detached."""
    named = (
        pid
        for _, pids in _groups(machine)
        for pid in pids
        if "deltacrown-s3-rollback" in " ".join(_words(Path("/proc") / pid / "cmdline"))
    )
    return [int(pid) for pid in named]


def wait_until_all_hold(machines: Sequence[str], flags: str, seconds: float = 60.0) -> None:
    """Returns once every process of these machines holds the flags; AssertionError says what they hold instead."""
    deadline = time.monotonic() + seconds
    while not all(all_hold(machine, flags) for machine in machines):
        assert time.monotonic() < deadline, {machine: held_on(machine) for machine in machines}
        time.sleep(POLL_SECONDS)


def wait_until_it_serves(machine: str, seconds: float = 60.0) -> None:
    """Returns once every worker of a machine runs, each in one mode."""
    deadline = time.monotonic() + seconds
    while not all(len(held) == 1 for held in held_on(machine).values()):
        assert time.monotonic() < deadline, held_on(machine)
        time.sleep(POLL_SECONDS)


@dataclass
class Watch:
    """Looks at the machines' processes while it is entered, from the keypress on; seconds by this host's clock."""

    flags: str
    machines: Sequence[str] = WEBS
    proven_after: dict[str, float] = field(default_factory=dict)
    began: float = 0.0
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self.began = time.time()
        self._thread = threading.Thread(target=self._look, name="watch", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            for machine in self.machines:
                if machine not in self.proven_after and all_hold(machine, self.flags):
                    self.proven_after[machine] = round(time.time() - self.began, 2)


def roll_back(tmp_path: Path, *arguments: str) -> PlaybookRun:
    """The emergency of production, to its end."""
    return playbook.run("emergency-rollback.yml", *arguments, log_directory=tmp_path)


def said(run: PlaybookRun) -> str:
    """What it said, on one line."""
    return " ".join(run.output.split())


@contextmanager
def stopped(group: str) -> Iterator[None]:
    """The processes of a control group of the lab do not run during the block: they hang, and nobody is told."""
    freeze = cgroups.hierarchies()[0] / cgroups.TREE / group / "cgroup.freeze"
    freeze.write_text("1")
    try:
        yield
    finally:
        freeze.write_text("0")
