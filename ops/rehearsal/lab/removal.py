"""Removes a lab from what is found on the host, so that it works after any kind of end, and proves it."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from rehearsal.lab import cgroups, database, network, orphans, overlay
from rehearsal.lab.commands import LabError, run
from rehearsal.lab.topology import HOST_INTERFACE, MACHINES, STATE_DIRECTORY, SUBNET

if TYPE_CHECKING:
    from rehearsal.lab.progress import Progress

NSPAWN_RUNTIME = Path("/run/systemd/nspawn")


def remove(progress: Progress) -> None:
    """Removes everything of the lab but the caches; LabError says what could not be removed."""
    orphans.kill()
    _end_ssh_connections()
    if cgroups.processes():
        try:
            database.stop()
        except LabError as error:
            progress(f"PostgreSQL did not stop by itself and is killed: {error}")
    cgroups.kill()
    _remove_nspawn_traces()
    overlay.unmount_all(STATE_DIRECTORY)
    network.down()
    _remove_state()
    left = remaining()
    if left:
        raise LabError(f"The lab could not be removed; left are {', '.join(left)}: remove them by hand.")


def remaining() -> list[str]:
    """Returns what is left of a lab: processes, control groups, mounts, network, files."""
    return [
        *(f"process {pid}" for pid in [*cgroups.processes(), *orphans.find()]),
        *cgroups.remaining(),
        *(f"mount {point}" for point in overlay.mounts_under(STATE_DIRECTORY)),
        *network.remaining(),
        *([str(STATE_DIRECTORY)] if STATE_DIRECTORY.exists() and not STATE_DIRECTORY.is_mount() else []),
    ]


def _end_ssh_connections() -> None:
    """Ends ssh clients that are connected to machines: a shared connection would outlive its machine."""
    if not Path(f"/sys/class/net/{HOST_INTERFACE}").exists():
        return
    connections = run(["ss", "--no-header", "--tcp", "--processes", "dst", SUBNET])
    for pid in set(re.findall(r'\("ssh",pid=(\d+),', connections)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGTERM)


def _remove_nspawn_traces() -> None:
    """Removes the lock and the empty folder that systemd-nspawn leaves of a machine when it is killed."""
    for machine in MACHINES.values():
        if machine.root.is_mount():
            root = machine.root.stat()
            (NSPAWN_RUNTIME / "locks" / f"inode-{root.st_dev}:{root.st_ino}").unlink(missing_ok=True)
        try:
            (NSPAWN_RUNTIME / "propagate" / machine.container).rmdir()
        except OSError as error:
            if error.errno not in {errno.ENOENT, errno.ENOTEMPTY}:  # what somebody put there is not the lab's
                raise


def _remove_state() -> None:
    """Removes the lab's folder; one that is a file system of its own is emptied."""
    if not STATE_DIRECTORY.exists():
        return
    for path in STATE_DIRECTORY.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    if not STATE_DIRECTORY.is_mount():
        STATE_DIRECTORY.rmdir()
