"""auto_rollback of ops/cutover.yml: what the table refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cutover import plan
from tests.unit.test_plan import broken

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"enabled": "perhaps"}, "enabled"),
        ({"looks": 1}, "looks"),
        ({"hold_off_seconds": 900}, "outlast fresh_seconds"),
        ({"unhealthy_after_seconds": 10}, "longer than poll_seconds"),
        ({"kill_file": "auto-rollback.off"}, "must be an absolute path"),
        ({"needs_ok": []}, "needs_ok"),
        ({"needs_ok": ["no-telemetri"]}, "no alarm is called no-telemetri"),
        ({"health_ports": {"staging": 8471, "production": 8471}}, "a port of its own"),
        ({"health_ports": {"staging": 8471}}, "a port of its own"),
        ({"health_ports": {"staging": 80, "production": 8471}}, "health_ports"),
    ],
)
def test_a_watcher_that_would_never_or_always_act_is_refused(
    tmp_path: Path, change: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(plan.PlanError, match=sentence):
        plan.load(broken(tmp_path, lambda document: document["auto_rollback"].update(change)))


@pytest.mark.parametrize(
    "command",
    [
        "ansible-playbook emergency-rollback.yml -e deployment={deployment} -e scenario=reads",
        "ansible-playbook emergency-rollback.yml -e scenario=uploads",
        "rm -rf /",
    ],
)
def test_a_trigger_that_names_another_command_than_its_emergency_is_refused(tmp_path: Path, command: str) -> None:
    """The page tells the on-call to run it, and the watcher runs it."""
    with pytest.raises(plan.PlanError, match="rollback-uploads: next must be the trigger's own emergency"):
        plan.load(broken(tmp_path, lambda document: document["alarms"]["rollback-uploads"].update(next=command)))
