"""Control groups of the lab: one tree that holds every process of it, one group in it for each machine.

Machines that share a control group see each other's units, and a machine outlives a killed systemd-nspawn;
only the group tells which processes are the lab's.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from rehearsal.lab.commands import LabError
from rehearsal.lab.topology import NAMESPACE

TREE = "deltacrown-lab"
EMPTY_SECONDS = 5.0  # a killed machine is gone after about 0.1 s
POLL_SECONDS = 0.02


def hierarchies(mounts: str | None = None) -> list[Path]:
    """Returns the hierarchies a machine needs a group in, cgroup v2 first.

    That is the v2 mount, and on a hybrid host the v1 hierarchy `name=systemd` as well. `mounts` is the text
    of /proc/self/mounts. LabError if no v2 hierarchy is mounted: only there can a group be killed as one.
    """
    lines = (Path("/proc/self/mounts").read_text() if mounts is None else mounts).splitlines()
    fields = [line.split() for line in lines]
    unified = [Path(field[1]) for field in fields if field[2] == "cgroup2"]
    named = [Path(field[1]) for field in fields if field[2] == "cgroup" and "name=systemd" in field[3].split(",")]
    if not unified:
        raise LabError(
            "No cgroup v2 hierarchy is mounted: "
            "mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified"
        )
    return [unified[0], *named[:1]]


def command_prefix(group: str) -> list[str]:
    """Makes the group `group` in the lab's tree, and returns what starts a command in it and in the lab's network.

    The command replaces the prefix, so that the started process's pid is the command's.
    """
    groups = [hierarchy / TREE / group for hierarchy in hierarchies()]
    for directory in groups:
        directory.mkdir(parents=True, exist_ok=True)
    enter = "".join(f"echo $$ >{directory}/cgroup.procs && " for directory in groups)
    return ["/bin/sh", "-c", f'{enter}exec nsenter --net=/run/netns/{NAMESPACE} -- "$@"', "sh"]


def kill(group: str = "") -> None:
    """Kills every process of `group` (default: of the lab), and removes the group; LabError if one stays."""
    unified, *others = [hierarchy / TREE / group for hierarchy in hierarchies()]
    if unified.exists():
        (unified / "cgroup.kill").write_text("1")
        _wait_until_empty(unified)
    for directory in (unified, *others):
        _remove(directory)


def processes() -> list[int]:
    """Returns the pids of all processes of the lab, read from every hierarchy; zombies are in none."""
    found: set[int] = set()
    for tree in _trees():
        for listing in tree.rglob("cgroup.procs"):
            with contextlib.suppress(OSError):  # a group that vanishes meanwhile has no processes
                found.update(int(pid) for pid in listing.read_text().split())
    return sorted(found)


def remaining() -> list[str]:
    """Returns the lab's groups that still exist."""
    return [str(tree) for tree in _trees() if tree.exists()]


def _trees() -> list[Path]:
    """Returns the lab's tree in each hierarchy; none on a host where no lab can ever have been."""
    try:
        return [hierarchy / TREE for hierarchy in hierarchies()]
    except LabError:
        return []


def _wait_until_empty(directory: Path) -> None:
    deadline = time.monotonic() + EMPTY_SECONDS
    while "populated 1" in (directory / "cgroup.events").read_text():
        if time.monotonic() > deadline:
            raise LabError(f"Processes in {directory} survive cgroup.kill: read their state in /proc.")
        time.sleep(POLL_SECONDS)


def _remove(directory: Path) -> None:
    if not directory.exists():
        return
    deepest_first = sorted((path for path in directory.rglob("*") if path.is_dir()), key=lambda path: -len(path.parts))
    for path in (*deepest_first, directory):
        _remove_when_idle(path)


def _remove_when_idle(path: Path) -> None:
    """Removes one group; for a moment after its last process ended the kernel still calls it busy."""
    deadline = time.monotonic() + EMPTY_SECONDS
    while True:
        try:
            path.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise LabError(f"The control group {path} cannot be removed: {error.strerror}.") from error
            time.sleep(POLL_SECONDS)
        else:
            return
