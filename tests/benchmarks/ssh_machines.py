"""Machines that only ssh can tell from real ones: one sshd on many addresses, in a network of its own.

Each login takes what a login takes; the machine script is a program that waits as long as one real machine needs, and
then says what it says. sshd is that of the lab's image. Needs root, as the lab does.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rehearsal.lab import image
from rehearsal.lab.commands import LabError, run
from tests.benchmarks.programs import BenchmarkError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rehearsal.lab.progress import Progress

NAMESPACE = "deltacrown-bench"
WORKERS = 3  # of a machine
MACHINE_SECONDS = 1.7  # that one machine takes alone, from login to proof
START_SECONDS = 15.0
INSIDE = "/run/bench"
SSHD = f"""\
ListenAddress 0.0.0.0
HostKey {INSIDE}/host_key
AuthorizedKeysFile {INSIDE}/key.pub
StrictModes no
UsePAM no
PasswordAuthentication no
AllowUsers operator
MaxStartups 1000
PidFile none
LogLevel ERROR
ForceCommand /bin/sh {INSIDE}/machine
"""
# In namespaces of its own, so that nothing of it outlives it; the image itself is only read.
BOOT = """
mount --rbind "$1" "$2" && mount -t tmpfs none "$2/run" && mkdir "$2/run/sshd" && cp -r "$3" "$2/run/bench" &&
mount --rbind /dev "$2/dev" && mount -t proc none "$2/proc" &&
exec chroot "$2" /usr/sbin/sshd -D -e -f /run/bench/sshd_config
"""


@dataclass(frozen=True)
class SshMachines:
    """The machines, as an inventory and as addresses for ssh."""

    inventory: Path
    ssh_config: Path
    addresses: tuple[str, ...]

    @staticmethod
    def command(*argv: str | Path) -> list[str]:
        """What runs a program where it reaches them."""
        return ["nsenter", f"--net=/run/netns/{NAMESPACE}", "--", *map(str, argv)]


@contextmanager
def running(directory: Path, count: int, progress: Progress) -> Iterator[SshMachines]:
    """Runs `count` of them for the duration of a `with` block; BenchmarkError if sshd does not come up."""
    files, root = directory / "files", directory / "root"
    files.mkdir(parents=True)
    root.mkdir()
    try:
        layer = image.system_layer(progress)
        made = _write(files, directory, count)
        run(["ip", "netns", "add", NAMESPACE])
        run(["ip", "-netns", NAMESPACE, "link", "set", "lo", "up"])
    except LabError as error:
        raise BenchmarkError(str(error)) from error
    boot = ["/bin/sh", "-c", BOOT, "sh", str(layer), str(root), str(files)]
    with (directory / "sshd.log").open("wb") as log:
        sshd = subprocess.Popen(
            made.command(*image.DIES_WITH_US, *boot), stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        _wait(made, directory / "sshd.log")
        yield made
    finally:
        sshd.kill()  # unshare takes no other signal, and sshd ends with it
        sshd.wait()
        run(["ip", "netns", "delete", NAMESPACE])


def _write(files: Path, directory: Path, count: int) -> SshMachines:
    addresses = tuple(f"127.0.1.{number}" for number in range(1, count + 1))
    known, key = directory / "known_hosts", files / "key"
    for made in (key, files / "host_key"):
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", made])
    known.write_text(f"127.0.1.* {(files / 'host_key.pub').read_text()}")
    (files / "sshd_config").write_text(SSHD)
    (files / "machine").write_text(_machine())
    options = {"UserKnownHostsFile": known, "StrictHostKeyChecking": "yes", "IdentitiesOnly": "yes", "BatchMode": "yes"}
    config = directory / "ssh_config"
    config.write_text(
        "\n".join([f"IdentityFile {key}", "User operator", *(f"{k} {v}" for k, v in options.items()), ""])
    )
    inventory = directory / "hosts.json"
    connection = {
        "ansible_user": "operator",
        "ansible_ssh_private_key_file": str(key),
        "ansible_ssh_common_args": " ".join(f"-o {name}={value}" for name, value in options.items()),
        "environment_file": "/etc/deltacrown/production.env",
        "evidence_root": str(directory / "evidence"),
    }
    inventory.write_text(json.dumps({"all": {"vars": connection, "children": _groups(addresses)}}))
    return SshMachines(inventory, config, addresses)


def _groups(addresses: tuple[str, ...]) -> dict[str, object]:
    machines = {f"machine{number}": {"ansible_host": each} for number, each in enumerate(addresses, start=1)}
    workers = {
        f"worker{number}-{name}": {
            **place,
            "machine": name,
            "worker_unit": f"deltacrown-uwsgi@worker{number}.service",
        }
        for name, place in machines.items()
        for number in range(1, WORKERS + 1)
    }
    return {
        "production_machines": {"hosts": machines},
        "production_workers": {"hosts": workers},
        "production_data_host": {"hosts": {"machine1": None}},
        "machines": {"children": {"production_machines": None}},
    }


def _machine() -> str:
    """What answers instead of a machine: the script's report after so long, and nothing to any other command."""
    flags = {"dual_write": False, "read_primary": False, "backfill": False, "proven": True}
    processes = [
        {"machine": "m", "worker": f"worker{worker}", "pid": 100 * worker + process, "started": "x", **flags}
        for worker in range(1, WORKERS + 1)
        for process in range(2)
    ]
    last = {"machine": "m", "done": True, "seconds": MACHINE_SECONDS, "failed": [], "kept": [], "epoch": 2}
    says = shlex.join(json.dumps(line) for line in (*processes, last))
    return (
        'case "$SSH_ORIGINAL_COMMAND" in *deltacrown-s3-rollback*) ;; *) exit 0 ;; esac\n'
        f"sleep {MACHINE_SECONDS}\nprintf '%s\\n' {says}\n"
    )


def _wait(machines: SshMachines, log: Path) -> None:
    login = machines.command("ssh", "-F", machines.ssh_config, machines.addresses[0], "true")
    deadline = time.monotonic() + START_SECONDS
    while subprocess.run(login, capture_output=True, check=False).returncode != 0:
        if time.monotonic() > deadline:
            raise BenchmarkError(
                f"sshd does not answer within {START_SECONDS:g} s; {log} ends: {log.read_text()[-400:]}"
            )
        time.sleep(0.1)
