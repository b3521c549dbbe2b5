"""What a step says whose next flip a machine refuses, because an emergency came in between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.playbooks.local_play import play, program

if TYPE_CHECKING:
    from pathlib import Path

REFUSAL = "this change carries epoch 3 and the machine is at 4: an emergency rollback came first; nothing was changed"


@pytest.mark.parametrize(
    ("code", "said", "expected"),
    [
        (6, REFUSAL, f"localhost: step 8 SUPERSEDED: {REFUSAL}"),
        (1, "worker1 did not come up", "localhost: worker1 did not come up"),
    ],
)
def test_step_that_an_emergency_overtook_says_so(tmp_path: Path, code: int, said: str, expected: str) -> None:
    """Whoever reads "not proven" starts the step again; whoever reads SUPERSEDED asks who rolled back, and why."""
    bin_directory = tmp_path / "bin"
    bin_directory.mkdir()
    path = program(bin_directory, "deltacrown-s3-rollback", f"echo '{said}' >&2; exit {code}")
    tasks: list[dict[str, Any]] = [
        {"ansible.builtin.set_fact": {"step_ready": True, "preflight_epoch": 3}},
        {"ansible.builtin.include_role": {"name": "rolling_flip"}},
    ]
    worker = {"machine": "localhost", "worker_unit": "deltacrown-uwsgi@worker1.service", "ansible_become": False}
    text = play(tmp_path, tasks, path, step={"number": 8}, flip_flags="true,true,true", **worker)
    assert expected in text
    assert ("SUPERSEDED" in text) == (code == 6)
