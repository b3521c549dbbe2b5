"""When the watcher runs an emergency, and every reason for which it does not."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from cutover import names
from cutover.watcher.decision import Verdict, triggers
from tests.unit.watcher.scene import ALARM, COMMAND, DEPLOYMENT, LONG, RULE, TABLE, TRIGGERS, Scene

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_the_table_has_it_off() -> None:
    """Nobody's site may roll back by itself because somebody pulled this repository."""
    assert RULE.enabled is False
    assert triggers(TABLE) == TRIGGERS


@pytest.mark.parametrize(("alarm", "scenario"), TRIGGERS.items())
def test_a_trigger_in_alarm_runs_its_own_emergency_once(scene: Scene, alarm: str, scenario: str) -> None:
    scene.set(alarm, "ALARM")
    scene.looks(LONG)
    assert scene.commands == [COMMAND + scenario]
    scene.end(0)
    found = scene.looks(LONG)
    assert scene.commands == [COMMAND + scenario]
    assert found[alarm].verdict is Verdict.HANDLED
    assert "rolled back at 03:0" in found[alarm].why
    assert scene.watcher.health()["healthy"]
    assert scene.watcher.health()["last_act"]["outcome"] == "done"


def test_no_alarm_no_emergency(scene: Scene) -> None:
    found = scene.looks(3600)
    assert {each.verdict for each in found.values()} == {Verdict.QUIET}
    assert (scene.commands, scene.emergencies.asked) == ([], 0)


@pytest.mark.parametrize("alarm", sorted(set(TABLE.alarms) - set(TRIGGERS) - set(RULE.needs_ok)))
def test_another_alarm_runs_nothing(scene: Scene, alarm: str) -> None:
    """A slow probe is no reason to take the site off S3."""
    scene.set(alarm, "ALARM")
    scene.looks(LONG)
    assert scene.commands == []


@pytest.mark.parametrize("state", ["INSUFFICIENT_DATA", "ABSENT"])
def test_what_is_not_in_alarm_runs_nothing(scene: Scene, state: str) -> None:
    scene.set(ALARM, state)
    scene.looks(LONG)
    assert scene.commands == []


def test_the_hold_off_is_waited_for(scene: Scene) -> None:
    """Whoever was paged may be faster, and a minute of noise rolls nothing back."""
    scene.set(ALARM, "ALARM")
    found = scene.looks(RULE.hold_off_seconds - RULE.poll_seconds)
    assert found[ALARM].verdict is Verdict.WAITS
    assert f"in ALARM for 50 of {RULE.hold_off_seconds} s" in found[ALARM].why
    assert scene.commands == []
    scene.look()
    assert scene.commands == [COMMAND + "uploads"]


def test_an_alarm_that_ended_meanwhile_begins_its_hold_off_anew(scene: Scene) -> None:
    scene.set(ALARM, "ALARM")
    scene.looks(RULE.hold_off_seconds - RULE.poll_seconds)
    scene.set(ALARM, "OK")
    scene.look()
    scene.set(ALARM, "ALARM")
    scene.looks(RULE.hold_off_seconds - RULE.poll_seconds)
    assert scene.commands == []


def test_an_alarm_that_ended_between_two_looks_begins_its_hold_off_anew(scene: Scene) -> None:
    """Two short alarms with an OK that no look saw are not one long one."""
    scene.set(ALARM, "ALARM")
    scene.looks(RULE.hold_off_seconds - RULE.poll_seconds)
    scene.set(ALARM, "ALARM")
    scene.looks(RULE.hold_off_seconds - RULE.poll_seconds)
    assert scene.commands == []


def test_too_few_looks_are_no_confirmation(scene: Scene) -> None:
    """A watcher that was suspended for a minute has seen nothing of that minute."""
    scene.set(ALARM, "ALARM")
    scene.look()
    scene.seconds += RULE.hold_off_seconds
    found = scene.look()
    assert found[ALARM].verdict is Verdict.WAITS
    assert f"2 of {RULE.looks} looks" in found[ALARM].why
    assert scene.commands == []


def test_cloudwatch_away_is_no_trigger_and_no_health(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    """Not to know is neither an alarm nor its absence."""
    scene.set(ALARM, "ALARM")
    scene.looks(RULE.hold_off_seconds - RULE.poll_seconds)
    scene.away = True
    scene.looks(RULE.unhealthy_after_seconds + RULE.poll_seconds)
    assert scene.commands == []
    health = scene.watcher.health()
    assert (health["healthy"], health["alarms"]) == (False, {})
    assert "no good look for" in health["problems"][0]
    assert "could not be asked for" in health["problems"][0]
    assert "Nothing is rolled back on what is not known" in capsys.readouterr().out
    scene.away = False
    found = scene.look()
    assert f"1 of {RULE.looks} looks" in found[ALARM].why  # what it saw before counts no longer as successive
    assert scene.watcher.health()["healthy"]
    assert "CloudWatch answers again" in capsys.readouterr().out
    scene.looks(RULE.looks * RULE.poll_seconds)
    assert scene.commands == [COMMAND + "uploads"]


def test_a_watcher_that_never_looked_is_not_healthy(scene: Scene) -> None:
    assert scene.watcher.health()["problems"] == ["it has not looked yet"]


def test_the_kill_file_stops_it(scene: Scene) -> None:
    """Whoever mends S3 by hand must be able to say: not now."""
    kill_file = scene.table.auto_rollback.kill_file
    kill_file.touch()
    scene.set(ALARM, "ALARM")
    found = scene.looks(LONG)
    assert (found[ALARM].verdict, found[ALARM].why) == (Verdict.HELD_BACK, f"{kill_file} is there")
    health = scene.watcher.health()
    assert health["kill_file"] == {"path": str(kill_file), "is_there": True}
    assert health["problems"] == [f"{kill_file} is there: nothing is rolled back until somebody removes it"]
    assert scene.commands == []
    kill_file.unlink()
    assert scene.watcher.health()["healthy"]
    scene.looks(RULE.hold_off_seconds - 2 * RULE.poll_seconds)
    assert scene.commands == []  # whoever allows it again has as long to think better of it
    scene.looks(RULE.poll_seconds)
    assert scene.commands == [COMMAND + "uploads"]


def test_a_kill_file_that_comes_at_the_last_moment_stops_it(scene: Scene) -> None:
    scene.emergencies.while_asked = scene.table.auto_rollback.kill_file.touch
    scene.set(ALARM, "ALARM")
    scene.looks(LONG)
    assert (scene.emergencies.asked, scene.commands) == (1, [])


def test_a_stop_that_comes_at_the_last_moment_stops_it(scene: Scene) -> None:
    """Whoever stops the service to keep it from acting must not see it act."""
    scene.emergencies.while_asked = scene.asked_to_stop.set
    scene.set(ALARM, "ALARM")
    scene.looks(LONG)
    assert scene.emergencies.asked > 0
    assert scene.commands == []


def test_the_end_of_a_silence_begins_the_hold_off(scene: Scene) -> None:
    """A drill's alarm is still in ALARM when its silence ends, and is OK a minute later."""
    scene.states[names.silence(DEPLOYMENT)] = ("ALARM", scene.now())
    scene.set(ALARM, "ALARM")
    scene.looks(LONG)
    scene.states[names.silence(DEPLOYMENT)] = ("OK", scene.now())
    found = scene.looks(RULE.hold_off_seconds - 2 * RULE.poll_seconds)
    assert found[ALARM].verdict is Verdict.WAITS
    scene.set(ALARM, "OK")
    scene.looks(LONG)
    assert scene.commands == []


def test_a_silence_stops_it(scene: Scene) -> None:
    """A drill makes S3 fail on purpose."""
    scene.states[names.silence(DEPLOYMENT)] = ("ALARM", scene.now())
    scene.set(ALARM, "ALARM")
    found = scene.looks(LONG)
    assert found[ALARM].verdict is Verdict.HELD_BACK
    assert "deltacrown-production-silence is in ALARM" in found[ALARM].why
    assert scene.commands == []


@pytest.mark.parametrize("state", ["ALARM", "INSUFFICIENT_DATA", "ABSENT"])
def test_nothing_is_done_on_stale_data(scene: Scene, state: str) -> None:
    """Where no line arrives, an alarm tells of the past."""
    scene.set("no-telemetry", state)
    scene.set(ALARM, "ALARM")
    found = scene.looks(LONG)
    assert found[ALARM].verdict is Verdict.HELD_BACK
    assert f"its data may be stale: deltacrown-production-no-telemetry is {state}" in found[ALARM].why
    assert scene.commands == []
    assert not scene.watcher.health()["healthy"]


def test_a_state_that_cloudwatch_keeps_without_data_is_acted_on_while_it_is_fresh(scene: Scene) -> None:
    """The check runs once a day: its alarm of this morning says nothing of whatever was repaired since."""
    alarm = "rollback-inconsistency"
    scene.states[names.alarm(DEPLOYMENT, alarm)] = ("ALARM", scene.now() - timedelta(seconds=RULE.fresh_seconds))
    found = scene.looks(LONG)
    assert found[alarm].verdict is Verdict.HELD_BACK
    assert "its data may be stale: it is in ALARM since" in found[alarm].why
    assert scene.commands == []
    scene.states[names.alarm(DEPLOYMENT, ALARM)] = ("ALARM", scene.now() - timedelta(seconds=RULE.fresh_seconds))
    scene.looks(LONG)
    assert scene.commands == [COMMAND + "uploads"]  # this one has data each minute, or no state


def test_workers_that_are_back_already_are_left_alone(scene: Scene) -> None:
    """The on-call was faster: another restart of every worker helps nobody."""
    scene.emergencies.needless = True
    scene.set(ALARM, "ALARM")
    found = scene.looks(LONG)
    assert (found[ALARM].verdict, scene.commands) == (Verdict.HANDLED, [])
    assert "every worker holds the flags of uploads already" in found[ALARM].why
    assert scene.emergencies.asked == 1  # not at each look
    assert scene.watcher.health()["last_act"] is None


def test_disabled_says_what_it_would_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene = Scene(tmp_path, acts=False)
    scene.set(ALARM, "ALARM")
    found = scene.looks(LONG)
    assert scene.commands == []
    assert found[ALARM].verdict is Verdict.HELD_BACK
    said = capsys.readouterr().out
    assert said.count(f"WOULD ROLL BACK, and may not: {COMMAND}uploads") == 1
    assert scene.watcher.health()["acts"] is False
    scene.acts = True  # and once it is on, what was only said does not count
    scene.started()
    scene.looks(LONG)
    assert scene.commands == [COMMAND + "uploads"]


def test_one_incident_is_rolled_back_once_a_second_one_again(scene: Scene) -> None:
    """A flapping alarm must not restart every worker every few minutes; a real second incident must be met."""
    scene.set(ALARM, "ALARM")
    scene.looks(LONG)
    scene.end(0)
    scene.look()
    scene.set(ALARM, "INSUFFICIENT_DATA")  # nothing is uploaded any more
    scene.looks(LONG)
    scene.set(ALARM, "ALARM")
    scene.looks(LONG)
    assert len(scene.commands) == 1
    scene.set(ALARM, "OK")
    scene.look()
    scene.set(ALARM, "ALARM")
    scene.looks(LONG)
    assert len(scene.commands) == 2


def test_an_alarm_that_is_ok_while_its_emergency_runs_has_ended_its_incident(scene: Scene) -> None:
    scene.set(ALARM, "ALARM")
    scene.looks(LONG)
    scene.set(ALARM, "OK")
    scene.look()
    scene.end(0)
    scene.look()
    scene.set(ALARM, "ALARM")
    scene.looks(LONG)
    assert len(scene.commands) == 2


def test_after_the_cooldown_it_may_roll_back_again(scene: Scene) -> None:
    scene.set(ALARM, "ALARM")
    scene.looks(LONG)
    scene.end(0)
    scene.looks(RULE.cooldown_seconds - 2 * RULE.poll_seconds)
    assert len(scene.commands) == 1
    scene.looks(3 * RULE.poll_seconds)
    assert len(scene.commands) == 2


def test_a_restarted_watcher_remembers(scene: Scene) -> None:
    scene.set(ALARM, "ALARM")
    scene.looks(LONG)
    scene.end(0)
    scene.look()
    scene.started()
    found = scene.looks(LONG)
    assert (len(scene.commands), found[ALARM].verdict) == (1, Verdict.HANDLED)
