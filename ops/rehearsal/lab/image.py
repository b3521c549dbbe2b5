"""Builds what all machines share and no lab changes: Debian with its packages, and the site's Python packages.

Both are read-only lower layers of the machines' overlays. They lie in the cache under a key made of their
recipe, which is this file and the lists it reads: a change of either builds anew.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rehearsal.lab.commands import LabError, run
from rehearsal.lab.progress import timed
from rehearsal.lab.topology import OPERATOR, REPOSITORY, cache_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rehearsal.lab.progress import Progress

SUITE = "bookworm"
PACKAGES = (
    "ca-certificates",
    "curl",
    "dbus",
    "iproute2",
    "nginx-light",
    "openssh-server",
    "python3",
    "rsync",
    "sudo",
    "systemd",
    "systemd-sysv",
    "uwsgi-core",
    "uwsgi-plugin-python3",
)
SITE_REQUIREMENTS = REPOSITORY / "ops/rehearsal/site/requirements.txt"
PINS = REPOSITORY / "requirements.txt"
PROJECT = REPOSITORY / "pyproject.toml"
VIRTUAL_ENVIRONMENT = Path("opt/deltacrown/venv")  # relative to a machine's root
# In namespaces of its own: when this process ends in whatever way, so do all programs and mounts of a build.
DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child")
BUILD_SECONDS = 1200.0  # debootstrap takes 55 s on a good line; this bounds a dead one

# Timers that would use the two cores in the middle of a measurement, and consoles that nobody looks at.
MASKED_UNITS = (
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "console-getty.service",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "fstrim.timer",
    "systemd-networkd-wait-online.service",
)

# MaxStartups: the workers of a machine are hosts of their own to Ansible, which connects to all at once.
SSHD_SETTINGS = f"""\
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin no
AllowUsers {OPERATOR}
AuthorizedKeysFile /etc/ssh/authorized_keys/%u
HostKey /etc/ssh/ssh_host_ed25519_key
MaxStartups 60
"""


def system_layer(progress: Progress) -> Path:
    """Returns the layer with Debian and its packages, built if the cache lacks it; LabError if that fails."""
    key = recipe_key(SUITE, *PACKAGES, Path(__file__).read_text())
    return _cached("machine-system", key, _build_system, progress)


def python_layer(progress: Progress) -> Path:
    """Returns the layer with the site's and this project's Python requirements, built if the cache lacks it."""
    recipe = [path.read_text() for path in (Path(__file__), SITE_REQUIREMENTS, PINS, PROJECT)]
    key = recipe_key(*recipe)
    return _cached("machine-python", key, _build_python, progress)


def recipe_key(*parts: str) -> str:
    """Returns a short name that differs when a part of the recipe, or the order of parts, does."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def mirror(index_targets: str) -> str | None:
    """Returns the mirror this host's apt uses for Debian's main archive; None if it uses none for this suite.

    `index_targets` is what `apt-get indextargets` prints with the format of `_host_mirror`.
    """
    for line in index_targets.splitlines():
        address, _, rest = line.partition(" ")
        if rest.split() == [SUITE, "main"] and address.startswith(("http://", "https://")):
            return address
    return None


def _cached(name: str, key: str, build: Callable[[Path], None], progress: Progress) -> Path:
    """Builds beside the final place and renames, so that an interrupted build is never taken for a layer."""
    cache = cache_directory()
    layer = cache / f"{name}-{key}"
    if layer.exists():
        return layer
    cache.mkdir(parents=True, exist_ok=True)
    part = layer.with_suffix(".part")
    for outdated in cache.glob(f"{name}-*"):
        shutil.rmtree(outdated)
    part.mkdir(mode=0o755)
    with timed(progress, f"building the {name.replace('-', ' ')} image", announce="once, then cached"):
        build(part)
    part.rename(layer)
    return layer


def _host_mirror() -> str | None:
    layout = ("--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Identifier: Packages")
    return mirror(run(["apt-get", "indextargets", *layout]))


def _build_system(target: Path) -> None:
    chosen = _host_mirror()
    run(
        [
            *DIES_WITH_US,
            "debootstrap",
            "--variant=minbase",
            f"--include={','.join(PACKAGES)}",
            SUITE,
            target,
            *([chosen] if chosen else []),
        ],
        seconds=BUILD_SECONDS,
    )
    # Debian has a group of this name, but no user. "*": no password, and yet not locked for keys.
    user = ("--create-home", "--shell", "/bin/bash", "--password", "*", "--gid", OPERATOR)
    _in_root(target, "useradd", *user, OPERATOR)
    _in_root(target, "systemctl", "enable", "systemd-networkd.service", "nginx.service", "ssh.service")
    _in_root(target, "systemctl", "mask", *MASKED_UNITS)
    _write(target / "etc/ssh/sshd_config.d/lab.conf", SSHD_SETTINGS)
    _write(target / f"etc/sudoers.d/{OPERATOR}", f"{OPERATOR} ALL=(ALL) NOPASSWD: ALL\n", mode=0o440)
    _write(target / "etc/systemd/journald.conf.d/lab.conf", "[Journal]\nStorage=persistent\n")
    (target / "etc/default/locale").touch()  # PAM complains in the journal at each login without it
    # Shared by all machines, these would make them one: each gets its own before it boots.
    for shared in ("etc/machine-id", "var/lib/dbus/machine-id", "etc/nginx/sites-enabled/default"):
        (target / shared).unlink(missing_ok=True)
    for host_key in (target / "etc/ssh").glob("ssh_host_*"):
        host_key.unlink()
    for unneeded in ("var/cache/apt", "var/lib/apt/lists"):
        shutil.rmtree(target / unneeded)


def _build_python(target: Path) -> None:
    environment = target / VIRTUAL_ENVIRONMENT
    environment.parent.mkdir(parents=True)
    run([uv(), "venv", "--quiet", "--relocatable", "--python", "/usr/bin/python3", environment])
    install_into(environment, "-r", SITE_REQUIREMENTS, "-r", PROJECT, "-c", PINS)
    compile_bytecode(environment)


def uv() -> str:
    """Returns the uv that `make setup` put beside this interpreter; LabError if it is not there."""
    program = Path(sys.executable).with_name("uv")
    if not program.exists():
        raise LabError(f"{program} does not exist: run `make setup`.")
    return str(program)


def install_into(environment: Path, *what: str | Path) -> None:
    """Installs packages into a machine's environment; copied, for links would tie it to the package cache."""
    command: Sequence[str | Path] = (uv(), "pip", "install", "--quiet", "--link-mode=copy", "--python")
    run([*command, environment / "bin/python", *what], seconds=BUILD_SECONDS)


def compile_bytecode(*directories: Path) -> None:
    """Compiles ahead, so that twelve workers need not do it while they start; raises LabError.

    The host's Python is the machines' version (preflight sees to it), and an overlay keeps the sizes and times
    of sources, by which the machines find the compiled files valid.
    """
    run(["/usr/bin/python3", "-m", "compileall", "-q", "-j", "0", *directories], seconds=BUILD_SECONDS)


def _in_root(root: Path, *argv: str) -> None:
    run(["chroot", root, *argv], environment={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"})


def _write(path: Path, text: str, *, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
