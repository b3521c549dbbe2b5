"""An emergency's fence, played on this machine: who is fenced, who is refused, what is told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.playbooks.fenced_fleet import Fleet
from tests.playbooks.local_play import PLAYBOOKS, play, program

if TYPE_CHECKING:
    from pathlib import Path

EMERGENCY = "emergency-rollback.yml"
MACHINE = ("-e", "fence=machine")


def test_a_machine_that_nobody_reaches_is_offered_a_fence(tmp_path: Path) -> None:
    """Whoever reads the report has a machine that comes back on S3, and does not know the command."""
    fleet = Fleet.of(tmp_path)
    code, said = fleet.play(EMERGENCY)
    assert code != 0
    assert "m2 cannot be reached" in said
    command = "ansible-playbook emergency-rollback.yml -e deployment=production -e scenario=local -e fence=machine"
    assert (
        f"m2 may come back with the old flags; to keep it from customers and from S3 until it is proven: {command}"
        in said
    )
    assert fleet.calls("aws") == fleet.calls("drain") == []
    assert not fleet.marked.exists()


def test_a_fence_drains_denies_and_marks_and_the_run_still_fails(tmp_path: Path) -> None:
    """The machine is kept from S3 and gets customers all the same; or exit code 0 says that all is rolled back."""
    fleet = Fleet.of(tmp_path)
    code, said = fleet.play(EMERGENCY, *MACHINE)
    assert code != 0
    assert "NOT PROVEN" in said
    assert "m2 is out of the load balancer" in said
    assert "S3 is denied to i-2" in said
    assert "the way back, once all machines answer: ansible-playbook unfence.yml -e deployment=production" in said
    assert fleet.calls("drain") == ["drain m2"]
    assert fleet.calls("aws") == ["fence --deployment production --session i-2 --json"]
    mark = json.loads(fleet.marked.read_text())
    assert (mark["machines"], mark["role"], mark["s3_denied"]) == ({"m2": "i-2"}, False, True)
    assert mark["unfence"] == "ansible-playbook unfence.yml -e deployment=production"
    assert mark["by"].startswith("amina@")


def test_without_aws_the_machine_is_drained_and_it_is_said(tmp_path: Path) -> None:
    """S3 is down, which is why there is an emergency; the half that works must work, and the other must be named."""
    fleet = Fleet.of(tmp_path)
    fleet.says_aws(None, 4, "cutover: the fence could not be looked at: Could not connect")
    code, said = fleet.play(EMERGENCY, *MACHINE)
    assert code != 0
    assert (
        "S3 is NOT denied: cutover: the fence could not be looked at: Could not connect. Once AWS answers: cutover"
        in said
    )
    assert fleet.calls("drain") == ["drain m2"]
    assert json.loads(fleet.marked.read_text())["s3_denied"] is False


def test_a_machine_that_stays_in_the_load_balancer_is_named(tmp_path: Path) -> None:
    """Customers meet the machine, and the report says that it is fenced."""
    fleet = Fleet.of(tmp_path)
    fleet.away("m2", drain_command="echo no such backend; exit 3")
    code, said = fleet.play(EMERGENCY, *MACHINE)
    assert code != 0
    assert "m2 is NOT out of the load balancer (lb1: no such backend)" in said
    assert fleet.calls("aws") == ["fence --deployment production --session i-2 --json"]


def test_a_load_balancer_that_hangs_does_not_keep_s3_open(tmp_path: Path) -> None:
    """The machine writes to S3 for as long as a reload waits for its last connection."""
    fleet = Fleet.of(tmp_path)
    fleet.away("m2", drain_command="sleep 600")
    code, said = fleet.play(EMERGENCY, *MACHINE, "-e", "fence_drain_seconds=1")
    assert code != 0
    assert "m2 is NOT out of the load balancer (" in said
    assert "S3 is denied to i-2" in said
    assert fleet.marked.exists()


def test_a_drain_command_that_cannot_be_read_keeps_nothing_else_from_being_done(tmp_path: Path) -> None:
    """A typing error in the inventory, found at night: S3 stays open, and the verdict is not even told."""
    fleet = Fleet.of(tmp_path)
    fleet.away("m2", drain_command="drain {{ nobody_has_set_this }}")
    code, said = fleet.play(EMERGENCY, *MACHINE)
    assert code != 0
    assert "NOT PROVEN" in said
    assert "m2 is NOT out of the load balancer (the inventory has no drain_command, or one that names an" in said
    assert "S3 is denied to i-2" in said
    assert fleet.marked.exists()


def test_a_machine_whose_session_nobody_knows_is_named(tmp_path: Path) -> None:
    """An empty list of sessions would deny nobody, and be reported as a fence."""
    fleet = Fleet.of(tmp_path)
    inventory = yaml.safe_load((tmp_path / "hosts.yml").read_text())
    del inventory["all"]["children"]["production_machines"]["hosts"]["m2"]["aws_session_name"]
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(inventory))
    code, said = fleet.play(EMERGENCY, *MACHINE)
    assert code != 0
    assert "S3 is NOT denied to m2: the inventory has no aws_session_name there" in said
    assert fleet.calls("aws") == []
    assert json.loads(fleet.marked.read_text())["s3_denied"] is False


def test_the_role_is_fenced_without_touching_the_load_balancer(tmp_path: Path) -> None:
    """Whoever denies the role must know what becomes of the links that customers have."""
    fleet = Fleet.of(tmp_path, away="")
    fleet.says_aws({"role": "deltacrown-s3-access", "sessions": [], "whole_role": True})
    code, said = fleet.play(EMERGENCY, "-e", "fence=role")
    assert code == 0, said
    assert "Links to certificates that customers have already (presigned URLs) answer 403 at once" in said
    assert "S3 is denied to every session of deltacrown-s3-access" in said
    assert fleet.calls("drain") == []
    assert fleet.calls("aws") == ["fence --deployment production --role --json"]
    assert json.loads(fleet.marked.read_text())["role"] is True


def test_half_a_fence_is_no_success_where_everybody_is_proven(tmp_path: Path) -> None:
    fleet = Fleet.of(tmp_path, away="")
    fleet.says_aws(None, 4, "AccessDenied")
    code, said = fleet.play(EMERGENCY, "-e", "fence=role")
    assert code != 0
    assert "the fence is not whole: S3 is NOT denied: AccessDenied" in said


def test_a_worker_that_can_be_reached_comes_before_any_fence(tmp_path: Path) -> None:
    """A machine is fenced instead of being rolled back, while another one that answers goes on writing to S3."""
    fleet = Fleet.of(tmp_path)
    fleet.says_script("rollback", True, proven=False)
    code, said = fleet.play(EMERGENCY, *MACHINE)
    assert code != 0
    assert "NOT FENCED: m1, m3 can be reached and is not proven, and the rollback comes before a fence" in said
    assert "-e fence_machines=m2,m1,m3" in said
    assert fleet.calls("aws") == fleet.calls("drain") == []
    assert "to keep it from customers" not in fleet.play(EMERGENCY)[1]  # nor is it offered


def test_a_named_machine_joins_those_that_are_fenced(tmp_path: Path) -> None:
    """The second fence forgets the first machine, and the way back leaves it out for ever."""
    fleet = Fleet.of(tmp_path, away="")
    fleet.mark()
    code, said = fleet.play(EMERGENCY, *MACHINE, "-e", "fence_machines=m3")
    assert code == 0, said
    assert fleet.calls("drain") == ["drain m3"]
    mark = json.loads(fleet.marked.read_text())
    assert (mark["machines"], mark["since"]) == ({"m2": "i-2", "m3": "i-3"}, "2026-11-24T10:00:00Z")


def test_an_order_that_is_not_clear_ends_before_any_connection(tmp_path: Path) -> None:
    """Half of it would be done before the typing error shows."""
    code, said = Fleet.of(tmp_path).play(EMERGENCY, *MACHINE, "-e", "fence_machines=m9")
    assert code != 0
    assert "fence_machines names m9, no machine of production" in said
    assert "UNREACHABLE" not in said


@pytest.mark.parametrize(
    ("script", "refused"),
    [
        ("echo i-2", ""),
        ("echo i-9", "localhost has the AWS session i-9, and aws_session_name is i-2 in the inventory"),
        (
            "echo STS is down >&2; exit 4",
            "localhost has the AWS session (none: STS is down), and aws_session_name is i-2",
        ),
    ],
)
def test_a_session_s_name_that_would_fence_nobody_is_refused_when_hosts_are_prepared(
    tmp_path: Path, script: str, refused: str
) -> None:
    """AWS takes a fence of an instance that does not exist, and the report says that S3 is denied."""
    (machines,) = [each for each in yaml.safe_load((PLAYBOOKS / "prepare-hosts.yml").read_text()) if is_prepared(each)]
    tasks = [task for task in machines["tasks"] if "session" in task["name"]]
    assert len(tasks) == 2
    tasks[0]["ansible.builtin.command"]["argv"][0] = f"{program(tmp_path, 'cutover', script)}/cutover"
    said = play(tmp_path, tasks, ansible_become=False, environment_file="/nowhere.env", aws_session_name="i-2")
    assert refused in said
    assert ("failed=0" in said) is (refused == "")


def is_prepared(book: dict[str, Any]) -> bool:
    return bool(book["name"] == "Prepare the machines")
