"""`cutover unlock` removes the lock of a step that died, and no other."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from cutover import cli
from tests.unit.status import recorded

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.status.recorded import Fleet

LIVE = {"holder": "amina", "step": 6, "host": "laptop", "start": "2026-11-28T05:00:00Z", "epoch": 2}
DEAD = LIVE | {"host": os.uname().nodename, "step": 11}  # which has no playbook that could run here


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    return recorded.healthy(tmp_path, monkeypatch)


def unlock(fleet: Fleet, *arguments: str) -> int:
    fleet.write()
    return cli.main(["unlock", "--deployment", "production", "-i", fleet.inventory, *arguments])


def removed(fleet: Fleet) -> list[str]:
    """The addresses on which a lock was removed."""
    lines = [line for line in fleet.calls().splitlines() if "cutover.lock" in line and "rm " in line]
    return [line.partition(" -- ")[2].split()[0] for line in lines]


def test_a_dead_step_s_lock_is_removed_everywhere(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    """Its holder is named: whoever reads it may know better."""
    for machine in ("web1", "web2"):
        fleet.here[machine]["lock"] = DEAD
    assert unlock(fleet) == 0
    assert sorted(removed(fleet)) == ["10.0.0.2", "10.0.0.3"]
    assert json.dumps(DEAD) in fleet.calls()  # that lock, and none that was taken since
    said = capsys.readouterr().out
    assert "web1: step 11 by amina on" in said
    assert "production holds no lock" in said


def test_a_lock_that_an_emergency_overtook_is_removed(fleet: Fleet) -> None:
    fleet.here["web2"]["lock"] = LIVE | {"epoch": 1}
    assert unlock(fleet) == 0
    assert removed(fleet) == ["10.0.0.3"]


def test_a_step_that_may_be_at_work_is_not_disturbed(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    """From here nobody can see whether amina's laptop still works."""
    fleet.here["web1"]["lock"] = LIVE
    assert unlock(fleet) == 1
    assert removed(fleet) == []
    said = capsys.readouterr().err
    assert "web1: step 6 by amina on laptop" in said
    assert "look on laptop, then --force" in said
    assert unlock(fleet, "--force") == 0
    assert removed(fleet) == ["10.0.0.2"]


@pytest.mark.parametrize("broken", ["unreachable", "removal"])
def test_what_could_not_be_done_is_no_success(fleet: Fleet, capsys: pytest.CaptureFixture[str], broken: str) -> None:
    """A machine that nobody asked may still be locked."""
    lock: dict[str, Any] = DEAD
    fleet.here["web2"]["lock"] = lock
    if broken == "unreachable":
        fleet.stdout["web1"], fleet.ended["web1"] = "", (255, "No route to host")
    else:
        fleet.ended["web2"] = (1, "rm: read-only file system")
    assert unlock(fleet) == {"unreachable": 4, "removal": 1}[broken]
    said = capsys.readouterr().err
    assert {"unreachable": "web1 (10.0.0.2) cannot be reached", "removal": "read-only file system"}[broken] in said


def test_no_lock_is_no_work(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    assert unlock(fleet) == 0
    assert capsys.readouterr().out == "production holds no lock\n"
