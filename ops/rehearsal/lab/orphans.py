"""Programs that a killed rehearsal started on the host, and that outlive it: Ansible, Pulumi and their children.

They are in no control group of the lab. What tells them is a variable in their environment, and that nobody who
started them is alive any more: the tests run Pulumi with the same variable, without a lab.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rehearsal.lab.commands import LabError

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK = b"DELTACROWN_REHEARSAL=1"
INIT = 1
USER_MANAGER = "systemd"  # on a desktop it inherits orphans in init's place
END_SECONDS = 5.0  # a killed process is gone within milliseconds, unless it waits for a disk
POLL_SECONDS = 0.02


def find() -> list[int]:
    """Returns the pids of this user's marked processes that init has inherited, and of their marked children."""
    own = {os.getpid(), *_ancestors(os.getpid())}
    marked = {int(path.name) for path in Path("/proc").glob("[0-9]*") if _is_marked(path)} - own
    starters = {pid: next(each for each in _ancestors(pid) if each not in marked) for pid in marked}
    return sorted(pid for pid, starter in starters.items() if _inherits_orphans(starter))


def kill() -> None:
    """Kills them; LabError names those that stay."""
    deadline = time.monotonic() + END_SECONDS
    while pids := find():
        if time.monotonic() > deadline:
            raise LabError(f"Processes {pids} of an earlier rehearsal survive SIGKILL: read their state in /proc.")
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(POLL_SECONDS)


def _is_marked(process: Path) -> bool:
    try:
        is_own = process.stat().st_uid == os.geteuid()
        return is_own and MARK in (process / "environ").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False


def _inherits_orphans(pid: int) -> bool:
    try:
        return pid == INIT or Path(f"/proc/{pid}/comm").read_text().strip() == USER_MANAGER
    except (FileNotFoundError, ProcessLookupError):
        return False


def _ancestors(pid: int) -> Iterator[int]:
    """Gives a process's parent, the parent's and so on; the last is 0, that of init and of what has ended."""
    while pid:
        try:
            status = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            pid = 0
        else:
            # After the program's name, which may hold anything, come its state and its parent's pid.
            pid = int(status.rpartition(")")[2].split()[1])
        yield pid
