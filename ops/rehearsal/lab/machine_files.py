"""What distinguishes one machine from another: its name, address, keys, settings and enabled units."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

from rehearsal.lab import access
from rehearsal.lab.topology import CREDENTIALS_ADDRESS, MACHINES, OPERATOR, SUBNET, WWW_DATA, Machine

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

UMBRELLA_WANTS = "etc/systemd/system/deltacrown-uwsgi.service.wants"
BOOT_WANTS = "etc/systemd/system/multi-user.target.wants"
SOCKET_WANTS = "etc/systemd/system/sockets.target.wants"


def write(machine: Machine, files: Mapping[Path, str]) -> None:
    """Writes into a machine's mounted root what makes it this machine, and `files` by their path on it."""
    root = machine.root
    _write(root / "etc/hostname", f"{machine.name}\n")
    _write(root / "etc/hosts", hosts())
    _write(root / "etc/machine-id", f"{uuid.uuid4().hex}\n")
    _write(root / "etc/systemd/network/10-lab.network", network_settings(machine))
    _write(root / f"etc/ssh/authorized_keys/{OPERATOR}", access.public_key())
    access.make_host_key(machine, root / "etc/ssh/ssh_host_ed25519_key")
    for path, text in files.items():
        # Environment files hold passwords; the application's user must read them.
        access_rights = {"mode": 0o640, "group": WWW_DATA} if path.suffix == ".env" else {}
        _write(root / path.relative_to("/"), text, **access_rights)
    _enable_workers(machine)


def hosts() -> str:
    """Returns /etc/hosts, the same on all machines."""
    lines = [f"{machine.address} {machine.name}" for machine in MACHINES.values()]
    return "\n".join(["127.0.0.1 localhost", *lines, ""])


def network_settings(machine: Machine) -> str:
    """Returns the settings of a machine's interface: its address, the credentials endpoint, no gateway."""
    prefix_length = SUBNET.partition("/")[2]
    return (
        "[Match]\nName=host0\n\n"
        f"[Network]\nAddress={machine.address}/{prefix_length}\n"
        "LinkLocalAddressing=no\nIPv6AcceptRA=no\nLLDP=no\n\n"
        f"[Route]\nDestination={CREDENTIALS_ADDRESS}/32\nScope=link\n"
    )


def _enable_workers(machine: Machine) -> None:
    """Enables a machine's workers and their sockets as `systemctl enable` would."""
    for worker in machine.workers:
        _link(machine.root / SOCKET_WANTS / f"deltacrown-uwsgi@{worker}.socket")
        _link(machine.root / UMBRELLA_WANTS / f"deltacrown-uwsgi@{worker}.service")
    if machine.workers:
        _link(machine.root / BOOT_WANTS / "deltacrown-uwsgi.service")


def _link(link: Path) -> None:
    template = f"{link.name.partition('@')[0]}@{link.suffix}" if "@" in link.name else link.name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(f"/etc/systemd/system/{template}")


def _write(path: Path, text: str, *, mode: int = 0o644, group: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)
    os.chown(path, 0, group)
    path.chmod(mode)
