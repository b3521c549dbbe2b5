"""Ways in which a machine is broken during a block; afterwards it is mended."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rehearsal import playbook
from rehearsal.lab import cgroups
from rehearsal.lab.topology import MACHINES
from tests.fleet import emergencies

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rehearsal.lab import Lab

ETC = "/etc/deltacrown"
INI = "opt/deltacrown/app/deploy/uwsgi.ini"
SUDOERS = "etc/sudoers.d/operator"


@contextmanager
def powered_off(lab: Lab, machine: str) -> Iterator[None]:
    """It is gone, and boots afterwards."""
    lab.power_off(machine)
    try:
        yield
    finally:
        lab.power_on(machine)
        emergencies.wait_until_it_serves(machine)


@contextmanager
def hanging_ssh(_lab: Lab, machine: str) -> Iterator[None]:
    """sshd takes the connection and never says a word."""
    with emergencies.stopped(_group(machine, "ssh.service")):
        yield


@contextmanager
def hanging_behind_a_cached_connection(lab: Lab, machine: str) -> Iterator[None]:
    """The whole machine hangs, and Ansible still has a connection to it from a minute ago."""
    logs = lab.ssh_config.parent / "logs"
    status = playbook.run("fleet-status.yml", "-e", "deployment=production", log_directory=logs)
    assert status.returncode == 0, status.last_lines()
    with emergencies.stopped(machine):
        yield


@contextmanager
def read_only(lab: Lab, machine: str) -> Iterator[None]:
    """Its settings lie on a file system that the kernel has made read-only."""
    lab.run(machine, ["sudo", "sh", "-c", "mount --rbind /etc /etc && mount -o remount,bind,ro /etc"])
    try:
        yield
    finally:
        lab.run(machine, ["sudo", "umount", "--lazy", "/etc"])


@contextmanager
def full_disk(lab: Lab, machine: str) -> Iterator[None]:
    """What a disk with not one free block does to the files of the flags."""
    fill = (
        f"cp -a {ETC} /run/kept && mount -t tmpfs -o size=128k,mode=755 none {ETC} && cp -a /run/kept/. {ETC} && "
        f"rm -r /run/kept && ! dd if=/dev/zero of={ETC}/filler bs=4k 2>/dev/null"
    )
    lab.run(machine, ["sudo", "sh", "-c", fill])
    try:
        yield
    finally:
        lab.run(machine, ["sudo", "umount", ETC])


@contextmanager
def workers_that_do_not_start(_lab: Lab, machine: str) -> Iterator[None]:
    """A deploy has left something that no new process can load."""
    with _edited(MACHINES[machine].root / INI, "deltacrown.wsgi", "deltacrown.no_such_module"):
        yield


@contextmanager
def sudo_that_asks_for_a_password(_lab: Lab, machine: str) -> Iterator[None]:
    """The operator has lost a right."""
    with _edited(MACHINES[machine].root / SUDOERS, "NOPASSWD: ", ""):
        yield


@contextmanager
def _edited(file: Path, old: str, new: str) -> Iterator[None]:
    """A machine's file with other words in it, during the block."""
    whole = file.read_text()
    file.write_text(whole.replace(old, new))
    try:
        yield
    finally:
        file.write_text(whole)


def _group(machine: str, unit: str) -> str:
    """The control group of a machine's unit, below the lab's tree."""
    tree = cgroups.hierarchies()[0] / cgroups.TREE
    (found,) = (tree / machine).rglob(unit)
    return str(found.relative_to(tree))
