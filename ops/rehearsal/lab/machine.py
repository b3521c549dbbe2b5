"""Boots, cuts off and removes one machine: a systemd-nspawn container in control groups of its own."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from rehearsal.lab import cgroups, overlay
from rehearsal.lab.topology import BRIDGE, MEDIA_ROOT, Machine

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def mount(machine: Machine, layers: Sequence[Path]) -> None:
    """Mounts the machine's root file system: the common `layers` under a writable one of its own."""
    directory = machine.directory
    # The host has a www-data too, which must not read the machines' environment files.
    directory.parent.mkdir(mode=0o700, exist_ok=True)
    overlay.mount(layers, upper=directory / "upper", work=directory / "work", at=machine.root)


def power_on(machine: Machine) -> None:
    """Starts a mounted machine, and returns while it boots; what it prints goes to its console.log."""
    with (machine.directory / "console.log").open("ab") as console:
        subprocess.Popen(
            [*cgroups.command_prefix(machine.name), *_nspawn(machine)],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            # Neither a Ctrl-C nor the end of this program reaches the machine.
            start_new_session=True,
            env={"PATH": os.environ["PATH"]},
        )


def power_off(machine: Machine) -> None:
    """Ends all of the machine's processes at once, as a power cut does; its disk stays."""
    cgroups.kill(machine.name)


def _nspawn(machine: Machine) -> list[str]:
    exports = [f"--bind={machine.deployment.export}:{MEDIA_ROOT}"] if machine.deployment else []
    return [
        "systemd-nspawn",
        "--quiet",
        "--boot",
        f"--directory={machine.root}",
        f"--machine={machine.container}",
        f"--hostname={machine.name}",
        f"--network-bridge={BRIDGE}",
        *exports,
        # No systemd on the host is needed, or told.
        "--register=no",
        "--keep-unit",
        "--resolv-conf=off",
        "--timezone=off",
        "--console=read-only",
        # Each machine journals to its own disk, never to the host's.
        "--link-journal=no",
    ]
