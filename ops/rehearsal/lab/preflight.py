"""Whether this host can carry a lab. Each check asks the host for real, and names the remedy if it says no."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rehearsal.lab import cgroups, database, network, overlay
from rehearsal.lab.commands import LabError, run
from rehearsal.lab.topology import STATE_DIRECTORY, SUBNET, cache_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS = {
    "systemd-nspawn": "systemd-container",
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "ssh": "openssh-client",
    "nsenter": "util-linux",
}
DISK_BYTES = 4 * 1024**3  # image 0.7 GB, a build beside the old one, machines and certificates
# Measured at rest: 5 machines with 12 workers, PostgreSQL and the AWS stand-in hold 0.75 GB.
MEMORY_BYTES = 2 * 1024**3
MACHINE_PYTHON = "3.11"  # Debian 12's, which the machines run


def run_all() -> None:
    """Runs all checks but that of root; LabError has one line for each that says no."""
    checks = (
        check_programs,
        check_python,
        check_cgroups,
        check_mount_namespace,
        check_overlay,
        check_network_namespace,
        check_subnet,
        check_disk,
        check_memory,
    )
    found = [problem for check in checks if (problem := check())]
    if found:
        raise LabError("\n".join(found))


def require_root() -> None:
    """Raises LabError without root; without it all other checks would say no for that reason alone."""
    if os.geteuid() != 0:
        raise LabError("The rehearsal needs root: run `sudo make rehearse`.")


def check_programs() -> str | None:
    """Says no if a program or PostgreSQL 15 is missing, and names the packages."""
    packages = [package for program, package in PROGRAMS.items() if shutil.which(program) is None]
    if not (database.PROGRAMS / "initdb").exists():
        packages.append("postgresql-15")
    if not packages:
        return None
    return f"Programs are missing: apt-get install --no-install-recommends {' '.join(packages)}"


def check_python() -> str | None:
    """Says no unless /usr/bin/python3 is the machines' version, by which their packages are chosen."""
    try:
        version = run(["/usr/bin/python3", "-c", "import platform; print(platform.python_version())"]).strip()
    except LabError as error:
        return f"/usr/bin/python3 cannot be asked for its version: {error}"
    if version.startswith(f"{MACHINE_PYTHON}."):
        return None
    return f"/usr/bin/python3 is {version}, the machines' is {MACHINE_PYTHON}: use a Debian 12 host."


def check_cgroups() -> str | None:
    """Says no unless groups can be made in each hierarchy that the machines need."""
    try:
        hierarchies = cgroups.hierarchies()
    except LabError as error:
        return str(error)
    for hierarchy in hierarchies:
        trial = hierarchy / cgroups.TREE
        try:
            trial.mkdir()
            trial.rmdir()
        except OSError as error:
            return f"No control group can be made in {hierarchy} ({error.strerror}): mount -o remount,rw {hierarchy}"
    return None


def check_mount_namespace() -> str | None:
    """Says no if this process may not have mounts of its own."""
    try:
        run(["unshare", "--mount", "true"])
    except LabError as error:
        return f"No mount namespace can be made ({error}): in a container, run it with --privileged."
    return None


def check_overlay() -> str | None:
    """Says no if an overlay with its writable layer in the lab's folder cannot be mounted."""
    try:
        with _state_directory(), tempfile.TemporaryDirectory(dir=STATE_DIRECTORY) as name:
            trial = Path(name)
            lower = trial / "lower"
            lower.mkdir()
            with overlay.mounted([lower], upper=trial / "upper", work=trial / "work", at=trial / "root"):
                return None
    except (LabError, OSError) as error:
        return (
            f"No overlay can be mounted in {STATE_DIRECTORY} ({error}): mount an ext4, xfs or tmpfs file system there."
        )


def check_network_namespace() -> str | None:
    """Says no if a network namespace with a bridge and a cable into it cannot be made."""
    try:
        network.try_out()
    except LabError as error:
        return f"No network can be made ({error}): load the kernel modules bridge and veth, or run privileged."
    return None


def check_subnet() -> str | None:
    """Says no if the host uses the lab's addresses for something else."""
    interface = network.foreign_user_of_subnet(run(["ip", "-json", "address"]), run(["ip", "-json", "route"]))
    if interface is None:
        return None
    return f"The lab's addresses {SUBNET} are in use on {interface}: take that interface down."


def check_disk() -> str | None:
    """Says no if the disk of the lab or of its image cache is too full."""
    for directory in (STATE_DIRECTORY, cache_directory()):
        free = shutil.disk_usage(_existing(directory)).free
        if free < DISK_BYTES:
            return (
                f"{directory} has {free / 1024**3:.1f} GB free, the lab needs {DISK_BYTES / 1024**3:.0f}: "
                "free some, or set XDG_CACHE_HOME to a disk with room."
            )
    return None


def check_memory(memory_information: str | None = None) -> str | None:
    """Says no if less memory is available than the lab takes; the argument is the text of /proc/meminfo."""
    text = Path("/proc/meminfo").read_text() if memory_information is None else memory_information
    available = re.search(r"^MemAvailable:\s+(\d+) kB$", text, re.MULTILINE)
    if available is None:
        return "/proc/meminfo does not say MemAvailable: use Linux 3.14 or later."
    if int(available[1]) * 1024 >= MEMORY_BYTES:
        return None
    return (
        f"{int(available[1]) / 1024**2:.1f} GB of memory are available, the lab needs "
        f"{MEMORY_BYTES / 1024**3:.0f}: end other programs."
    )


@contextlib.contextmanager
def _state_directory() -> Iterator[None]:
    """Makes the lab's folder for a trial: what a killed trial leaves there is removed with the lab's remains."""
    is_new = not STATE_DIRECTORY.exists()
    STATE_DIRECTORY.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        if is_new:
            STATE_DIRECTORY.rmdir()


def _existing(directory: Path) -> Path:
    """Returns the nearest folder upwards that exists."""
    return next(path for path in (directory, *directory.parents) if path.exists())
