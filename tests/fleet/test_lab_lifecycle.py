"""The lab can be raised after any kind of end, and removing it leaves nothing."""

from __future__ import annotations

import re
import signal
import subprocess
import sys

import pytest

from rehearsal.lab import Lab, LabError, cgroups, monitoring, network, overlay, removal
from rehearsal.lab.commands import run
from rehearsal.lab.topology import STATE_DIRECTORY


def exposed() -> set[str]:
    """What listens in the host's own network beyond its loopback, by protocol and address."""
    answer = subprocess.run(["ss", "-Hltun"], capture_output=True, check=True, text=True)
    listeners = [(line.split()[0], line.split()[4]) for line in answer.stdout.splitlines()]
    return {f"{protocol} {address}" for protocol, address in listeners if not address.startswith(("127.", "[::1]"))}


def listening_processes() -> set[int]:
    """The processes that listen anywhere in the host's own network."""
    answer = subprocess.run(["ss", "-Hltunp"], capture_output=True, check=True, text=True)
    return {int(pid) for pid in re.findall(r"pid=(\d+)", answer.stdout)}


def raise_until(line: str) -> subprocess.Popen[str]:
    """Starts `lab up` as a program of its own, and returns when it has said `line`."""
    raising = subprocess.Popen(
        [sys.executable, "-m", "rehearsal.lab", "up"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    assert raising.stderr is not None
    said = []
    for said_line in raising.stderr:
        said.append(said_line)
        if line in said_line:
            return raising
    pytest.fail(f"`lab up` never said {line!r}, but: {''.join(said)}")


def test_a_lab_rises_after_kill_9_and_leaves_nothing(own_lab: Lab) -> None:
    """A rehearsal that was killed must neither block the next one nor leave machines or open ports behind."""
    before = exposed()
    killed = raise_until("application and packages")  # the machines boot now
    killed.kill()
    killed.communicate()
    assert removal.remaining(), "nothing was left to clean up: it was killed too early"
    own_lab.up()
    assert own_lab.run("web1", ["hostname"]) == "web1\n"
    assert monitoring.require_live_engine().states == {}
    assert monitoring.incidents() == []
    assert exposed() == before
    assert not listening_processes() & set(cgroups.processes()), "the lab listens outside of its network"
    own_lab.down()
    assert removal.remaining() == []
    with pytest.raises(LabError, match="No lab is up"):
        _ = own_lab.state


def test_a_killed_preflight_does_not_block_the_next(own_lab: Lab) -> None:
    """Its trial network and mount would be in the way for ever, and no command would remove them."""
    run(["ip", "netns", "add", network.TRIAL])
    run(["ip", "link", "add", network.TRIAL, "type", "veth", "peer", network.BRIDGE_PORT, "netns", network.TRIAL])
    layer, upper, work, root = (STATE_DIRECTORY / "trial" / name for name in ("layer", "upper", "work", "root"))
    layer.mkdir(parents=True)
    overlay.mount([layer], upper=upper, work=work, at=root)
    assert len(removal.remaining()) == 4  # mount, cable, namespace, folder
    for _ in range(3):  # one right after another: the kernel frees names late
        own_lab.preflight()
        assert removal.remaining() == []


@pytest.mark.usefixtures("own_lab")
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_start_is_undone(ending: signal.Signals) -> None:
    """Ctrl-C must not leave a database and a network behind."""
    raising = raise_until("PostgreSQL: ")
    raising.send_signal(ending)
    raising.communicate(timeout=60)
    assert raising.returncode == 130
    assert removal.remaining() == []


@pytest.mark.usefixtures("own_lab")
def test_remains_that_cannot_be_removed_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """`lab down` that claims success while machines still run would make the next measurement wrong."""
    monkeypatch.setattr(removal, "remaining", lambda: ["process 4711"])
    with pytest.raises(LabError, match="left are process 4711"):
        removal.remove(print)
