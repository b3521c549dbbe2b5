"""What a host lacks is said in one line with the remedy, before anything starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rehearsal.lab import LabError, cgroups, database, network, preflight, state, topology

if TYPE_CHECKING:
    from collections.abc import Callable

HYBRID_MOUNTS = """\
tmpfs /sys/fs/cgroup tmpfs rw 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0
cgroup /sys/fs/cgroup/systemd cgroup rw,relatime,xattr,name=systemd 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0
"""
UNIFIED_MOUNTS = "cgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n"


@pytest.fixture
def break_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a program first on PATH that refuses, as the kernel would in an unprivileged container."""
    monkeypatch.setattr(preflight, "STATE_DIRECTORY", tmp_path / "lab")

    def breaks(name: str) -> None:
        program = tmp_path / name
        program.write_text("#!/bin/sh\necho 'Operation not permitted' >&2\nexit 1\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    return breaks


def test_missing_programs_are_named_by_their_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`command not found` halfway through leaves the reader to guess the package."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(database, "PROGRAMS", tmp_path)
    problem = preflight.check_programs()
    assert problem is not None
    assert problem.startswith("Programs are missing: apt-get install --no-install-recommends ")
    assert {"systemd-container", "debootstrap", "iproute2", "postgresql-15"} <= set(problem.split())


def test_another_python_than_the_machines_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled packages of another Python version would fail in every worker."""
    monkeypatch.setattr(preflight, "MACHINE_PYTHON", "3.99")
    problem = preflight.check_python()
    assert problem is not None
    assert "use a Debian 12 host" in problem


@pytest.mark.parametrize(
    ("mounts", "expected"),
    [
        (HYBRID_MOUNTS, ["/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"]),
        (UNIFIED_MOUNTS, ["/sys/fs/cgroup"]),
    ],
)
def test_both_kinds_of_control_group_hosts_are_known(mounts: str, expected: list[str]) -> None:
    """A machine without a group of its own sees the units of the others."""
    assert cgroups.hierarchies(mounts) == [Path(path) for path in expected]


def test_a_host_without_cgroup_v2_is_told_how_to_mount_it() -> None:
    """Without cgroup.kill a machine would outlive its lab."""
    without_unified = HYBRID_MOUNTS.replace("cgroup2", "cgroup")
    with pytest.raises(LabError, match="mount -t cgroup2 none /sys/fs/cgroup/unified"):
        cgroups.hierarchies(without_unified)


def test_a_read_only_control_group_hierarchy_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Machines in one shared group would count each other's processes as their own."""
    monkeypatch.setattr(cgroups, "hierarchies", lambda: [Path("/proc/self")])
    problem = preflight.check_cgroups()
    assert problem is not None
    assert problem.endswith("mount -o remount,rw /proc/self")


@pytest.mark.parametrize(
    ("program", "check", "remedy"),
    [
        ("unshare", preflight.check_mount_namespace, "run it with --privileged"),
        ("mount", preflight.check_overlay, "mount an ext4, xfs or tmpfs file system there"),
        ("ip", preflight.check_network_namespace, "load the kernel modules bridge and veth"),
    ],
)
def test_a_kernel_that_refuses_is_quoted_with_a_remedy(
    program: str, check: Callable[[], str | None], remedy: str, break_program: Callable[[str], None]
) -> None:
    """In an unprivileged container the lab must not fail in the middle of its network."""
    break_program(program)
    problem = check()
    assert problem is not None
    assert "Operation not permitted" in problem
    assert remedy in problem


def test_a_network_that_already_uses_the_labs_addresses_is_named() -> None:
    """The lab would cut the operator off from a network of the same addresses."""
    addresses = [{"ifname": "eth0", "addr_info": [{"local": "192.0.2.2", "prefixlen": 24}]}]
    routes = [{"dst": "default", "dev": "eth0"}, {"dst": "10.213.0.0/16", "dev": "tun3"}]
    assert network.foreign_user_of_subnet(json.dumps(addresses), json.dumps(routes)) == "tun3"
    assert network.foreign_user_of_subnet(json.dumps(addresses), json.dumps(routes[:1])) is None


def test_the_labs_own_interface_does_not_count_as_foreign() -> None:
    """Else a lab that was killed could never be raised again."""
    own = [{"ifname": "dclab0", "addr_info": [{"local": "10.213.77.254", "prefixlen": 24}]}]
    assert network.foreign_user_of_subnet(json.dumps(own), "[]") is None


def test_the_hosts_real_addresses_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check would be empty if it did not understand what `ip` says here."""
    monkeypatch.setattr(network, "SUBNET", "127.0.0.0/8")
    problem = preflight.check_subnet()
    assert problem is not None
    assert "in use on lo" in problem


def test_a_full_disk_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills up takes PostgreSQL and the image build down in the middle."""
    monkeypatch.setattr(preflight, "DISK_BYTES", 2**60)
    problem = preflight.check_disk()
    assert problem is not None
    assert "GB free" in problem


@pytest.mark.parametrize(
    ("available", "fine"), [("MemAvailable: 1048576 kB", False), ("MemAvailable: 8388608 kB", True), ("", False)]
)
def test_too_little_memory_is_refused(available: str, fine: bool) -> None:
    """Without memory the kernel ends workers at random, which looks like a failed restart."""
    assert (preflight.check_memory(f"MemTotal: 9 kB\n{available}\n") is None) is fine


def test_a_lab_in_use_is_named_by_its_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rehearsals at once would tear down each other's machines."""
    lock_file = tmp_path / "lock"
    monkeypatch.setattr(state, "LOCK_FILE", lock_file)
    hold = "import fcntl, os, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); f.write(str(os.getpid()))"
    program = f"{hold}; f.flush(); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program, lock_file], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(LabError, match=rf"in use by process {holder.pid}.*make lab-down"):
            state.HostLock().acquire()
        holder.communicate()
    state.HostLock().acquire()


def test_the_lock_is_roots_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any user who can open the file could hold the lock for ever."""
    monkeypatch.setattr(state, "LOCK_FILE", tmp_path / "lock")
    state.HostLock().acquire()
    assert (tmp_path / "lock").stat().st_mode & 0o077 == 0


def test_a_host_without_control_groups_has_no_remains(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search for remains comes first, and its complaint would hide those of all other checks."""
    refusal = LabError("No cgroup v2 hierarchy is mounted")

    def refuse() -> list[Path]:
        raise refusal

    monkeypatch.setattr(cgroups, "hierarchies", refuse)
    assert (cgroups.processes(), cgroups.remaining()) == ([], [])
    assert preflight.check_cgroups() == str(refusal)


def test_the_state_is_readable_by_root_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds the databases' passwords."""
    monkeypatch.setattr(state, "STATE_FILE", tmp_path / "state.json")
    written = state.State.new()
    written.save()
    assert (tmp_path / "state.json").stat().st_mode & 0o077 == 0
    assert state.load() == written
    assert set(written.database_passwords) == set(topology.DEPLOYMENTS)
