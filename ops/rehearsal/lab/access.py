"""ssh to the machines: one key for the lab, known host keys, and a configuration that `ssh -F` reads."""

from __future__ import annotations

import shlex
import socket
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from rehearsal.lab.commands import LabError, run
from rehearsal.lab.topology import MACHINES, OPERATOR, STATE_DIRECTORY, Machine

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

DIRECTORY = STATE_DIRECTORY / "ssh"
KEY = DIRECTORY / "id_ed25519"
KNOWN_HOSTS = DIRECTORY / "known_hosts"
CONFIG = DIRECTORY / "config"
READY_SECONDS = 60.0  # five machines take about three; a machine busy with a build needs longer
POLL_SECONDS = 0.1


def prepare() -> None:
    """Makes the key and the files that ssh needs; `host_key` adds each machine's."""
    DIRECTORY.mkdir(mode=0o700)
    _make_key(KEY, "rehearsal")
    KNOWN_HOSTS.touch(mode=0o600)
    aliases = "".join(f"Host {name}\n    HostName {machine.address}\n" for name, machine in MACHINES.items())
    CONFIG.write_text(
        f"{aliases}Host *\n"
        f"    User {OPERATOR}\n"
        f"    IdentityFile {KEY}\n"
        "    IdentitiesOnly yes\n"
        "    BatchMode yes\n"
        f"    UserKnownHostsFile {KNOWN_HOSTS}\n"
        "    StrictHostKeyChecking yes\n"
        "    ConnectTimeout 5\n"
    )


def public_key() -> str:
    """Returns the line for authorized_keys."""
    return KEY.with_suffix(".pub").read_text()


def make_host_key(machine: Machine, path: Path) -> None:
    """Makes a machine's own host key at `path`, and notes it as known."""
    _make_key(path, machine.name)
    with KNOWN_HOSTS.open("a") as known:
        known.write(f"{machine.address} {path.with_suffix('.pub').read_text()}")


def command(machine: Machine, argv: Sequence[str] = ()) -> list[str]:
    """Returns the local command that runs `argv` on a machine (without `argv`: a login)."""
    remote = [shlex.join(argv)] if argv else []  # the machine's shell takes it apart again
    return ["ssh", "-F", str(CONFIG), machine.name, *remote]


def wait(machines: Iterable[Machine]) -> None:
    """Returns when a login works on each machine; LabError names those on which it does not in 60 seconds."""
    waited_for = list(machines)
    end = threading.Event()  # so that after a Ctrl-C nobody waits for the machines any longer
    timer = threading.Timer(READY_SECONDS, end.set)
    timer.start()
    with ThreadPoolExecutor(max_workers=len(waited_for)) as pool:
        try:
            ready = list(pool.map(lambda machine: _wait_for(machine, end), waited_for))
        finally:
            timer.cancel()
            end.set()
    missing = [machine.name for machine, came in zip(waited_for, ready, strict=True) if not came]
    if missing:
        logs = ", ".join(str(MACHINES[name].directory / "console.log") for name in missing)
        raise LabError(f"No login within {READY_SECONDS:g} s on {', '.join(missing)}: read {logs} with KEEP=1.")


def _wait_for(machine: Machine, end: threading.Event) -> bool:
    while not end.is_set():
        if _listens(machine) and _logs_in(machine):
            return True
        end.wait(POLL_SECONDS)
    return False


def _listens(machine: Machine) -> bool:
    """Looks before a login is tried, which costs far more of the processors that the boot needs."""
    try:
        socket.create_connection((machine.address, 22), timeout=1).close()
    except OSError:
        return False
    return True


def _logs_in(machine: Machine) -> bool:
    login = subprocess.run(command(machine, ["true"]), capture_output=True, check=False, stdin=subprocess.DEVNULL)
    return login.returncode == 0


def _make_key(path: Path, comment: str) -> None:
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path])
