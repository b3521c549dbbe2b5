"""A removal ends what a killed rehearsal left on the host, and nothing else."""

from __future__ import annotations

import os
import subprocess
import time
import uuid
from typing import TYPE_CHECKING

import pytest

from rehearsal.lab import orphans, removal
from rehearsal.lab.topology import MACHINES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# The sleeper outlives the shell that started it.
LEAVE_AN_ORPHAN = "sleep 60 >/dev/null 2>&1 & echo $!"
SECONDS = 5.0


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """An environment with a mark that no process outside of this test has."""
    name = f"REHEARSAL_{uuid.uuid4().hex}"
    monkeypatch.setattr(orphans, "MARK", f"{name}=1".encode())
    yield {"PATH": os.environ["PATH"], name: "1"}
    orphans.kill()


def test_what_a_killed_rehearsal_started_is_ended(environment: dict[str, str]) -> None:
    """Its Ansible would go on, and change the flags of the next rehearsal's machines."""
    left = subprocess.run(["sh", "-c", LEAVE_AN_ORPHAN], capture_output=True, check=True, env=environment)
    pid = int(left.stdout)
    assert orphans.find() == [pid]
    assert f"process {pid}" in removal.remaining()
    orphans.kill()
    assert orphans.find() == []


def test_what_a_living_program_started_is_spared(environment: dict[str, str]) -> None:
    """Tests of the stacks run Pulumi while a lab is removed."""
    shell = ["sh", "-c", "sleep 60 & echo $!; wait"]
    with subprocess.Popen(shell, stdout=subprocess.PIPE, env=environment) as living:
        assert living.stdout is not None
        child = int(living.stdout.readline())
        assert orphans.find() == []
        living.kill()
        deadline = time.monotonic() + SECONDS
        while orphans.find() != [child]:
            assert time.monotonic() < deadline, "its child was not found when it was an orphan"
        orphans.kill()


def test_machines_of_the_same_name_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that another `web1` uses would be taken, or make the lab unremovable for ever."""
    monkeypatch.setattr(removal, "NSPAWN_RUNTIME", tmp_path)
    names = ("web1", f"{MACHINES['web1'].container}/x", MACHINES["web2"].container)
    foreign, in_use, left = (tmp_path / "propagate" / name for name in names)
    for folder in (foreign, in_use, left):
        folder.mkdir(parents=True)
    removal._remove_nspawn_traces()
    assert foreign.exists()
    assert in_use.exists()
    assert not left.exists()
