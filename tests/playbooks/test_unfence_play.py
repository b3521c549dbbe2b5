"""The way back from a fence, played on this machine: nobody comes back unproven, and no mark stays behind."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.playbooks.fenced_fleet import Fleet
from tests.playbooks.local_play import program

if TYPE_CHECKING:
    from pathlib import Path

UNFENCE = "unfence.yml"


def test_a_machine_comes_back_when_it_is_as_the_others(tmp_path: Path) -> None:
    """It stays out for ever, or steps stay refused."""
    fleet = Fleet.of(tmp_path, away="")
    fleet.mark()
    code, said = fleet.play(UNFENCE)
    assert code == 0, said
    assert "UNFENCED production: m2 proven and back" in said
    assert fleet.calls("aws") == ["unfence --deployment production --session i-2 --json"]
    assert fleet.calls("drain") == ["undrain m2"]
    assert not fleet.marked.exists()


def test_the_role_gets_s3_back_when_all_machines_hold_the_same(tmp_path: Path) -> None:
    fleet = Fleet.of(tmp_path, away="")
    fleet.mark(machines={}, role=True)
    fleet.denies(whole_role=True)
    code, said = fleet.play(UNFENCE)
    assert code == 0, said
    assert fleet.calls("aws") == ["unfence --deployment production --role --json"]
    assert fleet.calls("drain") == []
    assert not fleet.marked.exists()


def test_the_role_does_not_get_s3_back_while_a_machine_is_away(tmp_path: Path) -> None:
    """It comes back with its old flags, and S3 is open to it again."""
    fleet = Fleet.of(tmp_path)
    fleet.mark(machines={}, role=True)
    fleet.denies(whole_role=True)
    code, said = fleet.play(UNFENCE)
    assert code != 0
    assert "STILL FENCED: m2 cannot be reached" in said
    assert fleet.calls("aws") == []
    assert fleet.marked.exists()


def test_a_fence_whose_mark_is_lost_does_not_end_unproven(tmp_path: Path) -> None:
    """Only AWS knows of it: somebody fenced by hand, or the marks of two people met."""
    fleet = Fleet.of(tmp_path)
    code, said = fleet.play(UNFENCE)
    assert code != 0
    assert "STILL FENCED: m2 cannot be reached" in said
    assert fleet.calls("aws") == fleet.calls("drain") == []
    fleet.away("")
    code, said = fleet.play(UNFENCE)
    assert code == 0, said
    assert fleet.calls("aws") == ["unfence --deployment production --session i-2 --json"]
    assert fleet.calls("drain") == ["undrain m2"]


def test_one_of_two_machines_comes_back_alone(tmp_path: Path) -> None:
    """The other one comes back with it, unproven."""
    fleet = Fleet.of(tmp_path, away="")
    fleet.mark(machines={"m2": "i-2", "m3": "i-3"})
    code, said = fleet.play(UNFENCE, "-e", "fence_machines=m3")
    assert code == 0, said
    assert fleet.calls("aws") == ["unfence --deployment production --session i-3 --json"]
    assert fleet.calls("drain") == ["undrain m3"]
    assert json.loads(fleet.marked.read_text())["machines"] == {"m2": "i-2"}


def test_a_machine_that_is_still_away_stays_fenced(tmp_path: Path) -> None:
    fleet = Fleet.of(tmp_path)
    fleet.mark()
    code, said = fleet.play(UNFENCE)
    assert code != 0
    assert "STILL FENCED: m2 cannot be reached" in said
    assert fleet.calls("aws") == fleet.calls("drain") == []
    assert fleet.marked.exists()


def test_a_machine_that_holds_other_flags_stays_fenced(tmp_path: Path) -> None:
    """The very thing that the fence is for: it serves customers again, on S3."""
    fleet = Fleet.of(tmp_path, away="")
    fleet.mark(machines={"m2": "i-2", "m3": "i-3"})
    differing = f"""
case "$ANSWER_AS" in m1) cat {tmp_path}/answers/status.json ;;
*) sed s/false/true/g {tmp_path}/answers/status.json ;; esac
"""
    program(tmp_path / "bin", "deltacrown-s3-rollback", differing)
    inventory = yaml.safe_load((tmp_path / "hosts.yml").read_text())
    for name, host in inventory["all"]["children"]["production_machines"]["hosts"].items():
        host["ansible_become"] = True
        host["ansible_become_method"] = "sudo"
        host["ansible_become_exe"] = f"{tmp_path}/bin/sudo-{name}"
        program(
            tmp_path / "bin", f"sudo-{name}", f'while [ "$1" != /bin/sh ]; do shift; done; ANSWER_AS={name} exec "$@"'
        )
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(inventory))
    code, said = fleet.play(UNFENCE)
    assert code != 0
    assert "STILL FENCED: m2: worker1 pid 7 holds true,true,true" in said
    assert "the other machines hold false,false,false" in said
    assert "Run: ansible-playbook emergency-rollback.yml -e deployment=production" in said
    assert fleet.calls("aws") == fleet.calls("drain") == []


def test_while_s3_is_denied_nobody_comes_back_unless_it_is_said(tmp_path: Path) -> None:
    """The machine serves customers with reads that S3 refuses; or an AWS that is down keeps it out for days."""
    fleet = Fleet.of(tmp_path, away="")
    fleet.mark()
    fleet.says_aws(None, 4, "Could not connect")
    code, said = fleet.play(UNFENCE)
    assert code != 0
    assert "STILL FENCED: Could not connect" in said
    assert "the same without it is yours to run later" in said
    assert fleet.calls("drain") == []
    code, said = fleet.play(UNFENCE, "-e", "without_aws=true")
    assert code == 0, said
    assert fleet.calls("drain") == ["undrain m2"]


@pytest.mark.parametrize(
    ("mark", "arguments", "sentence"),
    [
        ({}, ["-e", "fence_machines=m1"], "m1 is not fenced; fenced: m2"),
        (None, [], "the mark on m1, m2, m3 cannot be read"),
    ],
)
def test_what_is_not_fenced_is_not_unfenced(
    tmp_path: Path, mark: dict[str, Any] | None, arguments: list[str], sentence: str
) -> None:
    """A mark that is damaged would free everybody, and put nobody back into the load balancer."""
    fleet = Fleet.of(tmp_path, away="")
    if mark is None:
        fleet.marked.write_text("{")
    else:
        fleet.mark(**mark)
    code, said = fleet.play(UNFENCE, *arguments)
    assert code != 0
    assert f"STILL FENCED: {sentence}" in said
    assert fleet.calls("aws") == []


def test_a_load_balancer_that_does_not_take_it_back_keeps_the_mark(tmp_path: Path) -> None:
    fleet = Fleet.of(tmp_path, away="")
    fleet.away("", undrain_command="echo nginx is broken; exit 1")
    fleet.mark()
    code, said = fleet.play(UNFENCE)
    assert code != 0
    assert "m2 on lb1 is NOT back in the load balancer (nginx is broken)" in said
    assert fleet.marked.exists()
