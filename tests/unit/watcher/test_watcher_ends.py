"""What follows from how an emergency ends, and what the watcher says of itself."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from cutover import names
from cutover.status.asking import Answer
from cutover.status.sites import Machine, Site, Worker
from cutover.watcher.decision import Verdict
from cutover.watcher.emergency import is_rolled_back
from tests.unit.watcher.scene import ALARM, COMMAND, DEPLOYMENT, LONG, RULE, TABLE, TRIGGERS, Scene

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_an_emergency_whose_end_nobody_saw_is_run_again(scene: Scene) -> None:
    """The watcher was killed meanwhile; it may have ended before it reached every worker."""
    scene.set(ALARM, "ALARM")
    scene.looks(LONG)
    scene.started()
    scene.looks(LONG + RULE.retry_seconds)
    assert scene.commands == [COMMAND + "uploads"] * 2
    assert scene.watcher.health()["last_act"]["attempts"] == 2


def test_an_emergency_that_fails_is_run_again_a_few_times_and_then_given_up_loudly(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    scene.set(ALARM, "ALARM")
    scene.looks(LONG)
    for attempt in range(1, RULE.attempts + 1):
        assert len(scene.commands) == attempt
        scene.end(2)
        found = scene.look()
        assert len(scene.commands) == attempt  # not at once
        scene.looks(RULE.retry_seconds)
    assert len(scene.commands) == RULE.attempts
    found = scene.looks(LONG)
    assert found[ALARM].verdict is Verdict.GIVEN_UP
    health = scene.watcher.health()
    assert not health["healthy"]
    assert "ended badly, or unseen, at 03:0" in health["problems"][0]
    assert f"(attempt 3 of 3): read its output, then run {COMMAND}uploads" in health["problems"][0]
    said = capsys.readouterr().out
    assert "THE EMERGENCY ENDED BADLY (2)" in said
    assert f"GIVEN UP, run it by hand: {COMMAND}uploads" in said


@pytest.mark.parametrize("state", ["ALARM", "INSUFFICIENT_DATA"])
def test_a_bad_end_is_told_whatever_the_alarm_and_the_flags_say(scene: Scene, state: str) -> None:
    """The flags are back, and so is the alarm's silence, but the local copies may not be: somebody must look."""
    scene.set(ALARM, "ALARM")
    scene.looks(LONG)
    scene.emergencies.needless = True
    scene.end(2)
    scene.set(ALARM, state)
    scene.looks(LONG + RULE.retry_seconds)
    assert len(scene.commands) == 1
    (problem,) = scene.watcher.health()["problems"]
    assert "(attempt 1 of 3): read its output" in problem
    scene.set(ALARM, "OK")
    scene.look()
    assert scene.watcher.health()["healthy"]


@pytest.mark.parametrize("jump", [-timedelta(days=1), timedelta(days=1)])
def test_a_clock_that_is_set_keeps_no_retry_back(scene: Scene, jump: timedelta) -> None:
    scene.set(ALARM, "ALARM")
    scene.looks(LONG)
    scene.end(2)
    scene.look()
    scene.jump = jump
    scene.looks(RULE.retry_seconds)
    assert len(scene.commands) == 2


def test_a_clock_that_is_set_back_does_not_lengthen_the_cooldown(scene: Scene) -> None:
    """A machine that started with a wrong clock would otherwise not roll back for a year."""
    scene.jump = timedelta(days=365)
    scene.set(ALARM, "ALARM")
    scene.looks(LONG)
    scene.end(0)
    scene.look()
    scene.jump = timedelta()
    scene.looks(RULE.poll_seconds)
    assert len(scene.commands) == 2


def test_an_emergency_that_cannot_be_started_counts_as_failed(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    scene.emergencies.cannot_start = True
    scene.set(ALARM, "ALARM")
    scene.looks(LONG + RULE.attempts * (RULE.retry_seconds + RULE.poll_seconds))
    assert not scene.watcher.health()["healthy"]
    assert f"cannot be started (No such file or directory): run it by hand: {COMMAND}uploads" in capsys.readouterr().out


def test_two_triggers_are_met_one_after_the_other(scene: Scene) -> None:
    scene.set(ALARM, "ALARM")
    scene.set("rollback-reads", "ALARM")
    scene.looks(LONG)
    assert scene.commands == [COMMAND + "uploads"]
    scene.end(0)
    scene.look()
    assert scene.commands == [COMMAND + "uploads", COMMAND + "reads"]


def test_an_emergency_that_hangs_keeps_no_other_back(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    """One machine's dead disk holds Ansible for ever; the other trigger's flags must not wait for it."""
    scene.set(ALARM, "ALARM")
    scene.looks(LONG)
    scene.set("rollback-reads", "ALARM")
    scene.looks(LONG)
    assert scene.commands == [COMMAND + "uploads"]
    scene.looks(RULE.hung_seconds)
    assert "THE EMERGENCY HANGS after 3" in capsys.readouterr().out
    assert scene.commands == [COMMAND + "uploads", COMMAND + "reads"]
    scene.end(0)
    scene.looks(LONG)
    assert scene.commands == [COMMAND + "uploads", COMMAND + "reads", COMMAND + "uploads"]


def test_an_emergency_that_does_not_end_is_told(scene: Scene) -> None:
    scene.set(ALARM, "ALARM")
    found = scene.looks(LONG + TABLE.rollback.objective_seconds)
    assert found[ALARM].verdict is Verdict.WAITS
    assert "its emergency, attempt 1, runs since" in found[ALARM].why
    (problem,) = scene.watcher.health()["problems"]
    assert "the emergency of rollback-uploads runs for" in problem
    assert len(scene.commands) == 1


@pytest.mark.parametrize("alarm", TRIGGERS)
def test_a_trigger_that_is_not_deployed_is_not_healthy(scene: Scene, alarm: str) -> None:
    """A watcher of alarms that nobody made would be quiet for ever."""
    del scene.states[names.alarm(DEPLOYMENT, alarm)]
    scene.look()
    assert scene.watcher.health()["problems"] == [
        f"{names.alarm(DEPLOYMENT, alarm)} is not in CloudWatch: pulumi up --stack production"
    ]


def test_a_state_file_that_cannot_be_written_keeps_no_emergency_back(scene: Scene) -> None:
    """A full disk is no reason to leave customers on an S3 that fails; it is one to say so."""
    scene.state_file.parent.write_text("in the way")
    scene.started()
    scene.set(ALARM, "ALARM")
    scene.looks(LONG)
    scene.end(0)
    scene.looks(LONG)
    assert len(scene.commands) == 1
    assert "cannot be written" in scene.watcher.health()["problems"][0]


@pytest.mark.parametrize(
    "text", ["{", '{"acts": {"rollback-uploads": {"at": "2026-11-24T03:00:00", "attempts": 1, "outcome": "done"}}}']
)
def test_a_state_file_that_is_none_is_told_and_forgotten(scene: Scene, text: str) -> None:
    scene.state_file.parent.mkdir(exist_ok=True)
    scene.state_file.write_text(text)
    scene.started()
    scene.look()
    assert "what was done before is forgotten" in scene.watcher.health()["problems"][0]
    scene.set(ALARM, "ALARM")
    scene.looks(LONG)
    assert scene.commands == [COMMAND + "uploads"]


def test_a_machine_that_no_emergency_would_reach_is_told_before_one_is_needed(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    """A watcher whose ssh key was taken away sees every alarm, and can do nothing."""
    scene.emergencies.in_the_way = ["web1 (10.0.0.2) cannot be reached: Permission denied (publickey)."]
    scene.looks(RULE.reach_seconds - RULE.poll_seconds)
    assert scene.emergencies.reach_checked == 1
    assert scene.watcher.health()["problems"] == scene.emergencies.in_the_way
    assert capsys.readouterr().out.count("Permission denied") == 1
    scene.emergencies.in_the_way = []
    scene.look()
    assert scene.emergencies.reach_checked == 2
    assert scene.watcher.health()["healthy"]


def test_an_alarm_does_not_wait_for_that(scene: Scene) -> None:
    scene.set(ALARM, "ALARM")
    scene.look()
    checked = scene.emergencies.reach_checked
    scene.looks(RULE.reach_seconds + LONG)
    assert scene.emergencies.reach_checked == checked


UPLOADS = TABLE.scenarios["uploads"].sets
SITE = Site(
    "production",
    (Machine("web1", {}), Machine("web2", {})),
    (Worker("p1", "web1", "worker1"), Worker("p2", "web2", "worker2")),
    Machine("web1", {}),
)


def process(worker: str, **flags: Any) -> dict[str, Any]:
    held = {"dual_write": False, "read_primary": True, "backfill": False}
    return {"worker": worker, "pid": 7, "proven": True} | held | flags


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer("web2", processes=(process("worker2"),)), True),
        (Answer("web2", processes=(process("worker2"), process("worker2", dual_write=True))), False),
        (Answer("web2", processes=(process("worker2"), process("worker9", backfill=True))), False),
        (Answer("web2", processes=(process("worker2", dual_write=None),)), False),
        (Answer("web2", processes=(process("worker2", proven=False),)), False),
        (Answer("web2", processes=(process("worker2"),), failed=("worker2",)), False),
        (Answer("web2", "web2 cannot be reached"), False),
        (Answer("web2"), False),
    ],
)
def test_a_fleet_is_rolled_back_only_if_all_of_it_is_proven(answer: Answer, expected: bool) -> None:
    """One worker that still uploads, or one that nobody could ask, is reason enough."""
    answers = {"web1": Answer("web1", processes=(process("worker1"),)), "web2": answer}
    assert is_rolled_back(SITE, answers, UPLOADS) is expected
