"""The module behind the cutover lock."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

MODULE = Path(__file__).resolve().parents[2] / "playbooks/library/cutover_lock.py"
AMINA, RAHIM = {"holder": "amina", "step": 1}, {"holder": "rahim", "step": 6}


def call(path: Path, state: str, holder: dict[str, Any], *, check_mode: bool = False) -> dict[str, Any]:
    arguments = {"path": str(path), "state": state, "holder": holder, "_ansible_check_mode": check_mode}
    result = subprocess.run(
        [sys.executable, MODULE],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
        capture_output=True,
        text=True,
        check=False,
    )
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def test_second_holder_is_refused_and_the_first_is_named(tmp_path: Path) -> None:
    """Two steps at once would flip each other's workers."""
    lock = tmp_path / "run/cutover.lock"
    assert call(lock, "held", AMINA)["changed"] is True
    assert call(lock, "held", AMINA)["changed"] is False
    refused = call(lock, "held", RAHIM)
    assert refused["failed"] is True
    assert "holder amina" in refused["msg"]
    assert json.loads(lock.read_text()) == AMINA


def test_only_the_holder_releases(tmp_path: Path) -> None:
    """A step that was refused must not free the lock of the one that runs."""
    lock = tmp_path / "cutover.lock"
    call(lock, "held", AMINA)
    assert call(lock, "released", RAHIM)["holder"] == AMINA
    assert lock.exists()
    assert call(lock, "released", AMINA)["changed"] is True
    assert not lock.exists()


def test_check_mode_takes_nothing(tmp_path: Path) -> None:
    """`--check` promises to change nothing."""
    lock = tmp_path / "cutover.lock"
    assert call(lock, "held", AMINA, check_mode=True)["changed"] is True
    assert not lock.exists()


def test_unreadable_lock_still_refuses(tmp_path: Path) -> None:
    """A lock that was cut off while it was written is a lock."""
    lock = tmp_path / "cutover.lock"
    lock.write_text("{")
    assert call(lock, "held", AMINA)["failed"] is True
