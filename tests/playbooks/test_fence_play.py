"""An emergency's fence and its way back, played on this machine: who is fenced, who is refused, what is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.playbooks.local_play import PLAYBOOKS, play, program

SCRIPT = """
case "$1" in --status) what=status ;; *) what=rollback ;; esac
cat {answers}/$what.json
"""
CUTOVER = """
[ "$1" = fence ] || [ "$1" = unfence ] || exit 99
case "$*" in *--show*) cat {answers}/shown.json ;; *) echo "$@" >> {answers}/aws.calls; cat {answers}/aws.json ;; esac
cat {answers}/aws.err >&2; exit "$(cat {answers}/aws.rc)"
"""
PROGRAM = Path(sys.executable).parent / "ansible-playbook"
HOSTS = ["m1", "m2", "m3"]


def process(machine: str, flags: tuple[bool, bool, bool], *, proven: bool) -> dict[str, Any]:
    names = dict(zip(("dual_write", "read_primary", "backfill"), flags, strict=True))
    return {"machine": machine, "worker": "worker1", "pid": 7, "proven": proven, **names}


@dataclass(frozen=True)
class Fleet:
    """Production's machines m1 to m3, all on this one; a machine that is `away` answers nobody."""

    directory: Path

    @classmethod
    def of(cls, directory: Path, *, away: str = "m2") -> Fleet:
        """A fleet of which one machine cannot be reached, and an AWS that says yes."""
        made = cls(directory)
        (directory / "answers").mkdir()
        programs = directory / "bin"
        programs.mkdir()
        program(programs, "sudo", 'shift; exec "$@"')
        program(programs, "deltacrown-s3-rollback", SCRIPT.format(answers=directory / "answers"))
        program(programs, "cutover", CUTOVER.format(answers=directory / "answers"))
        made.says_script("rollback")
        made.says_script("status")
        made.says_aws({"role": "deltacrown-s3-access", "sessions": ["i-2"], "whole_role": False})
        made.denies("i-2")
        made.away(away)
        return made

    def says_script(self, what: str, *flags: bool, proven: bool = True) -> None:
        """What the script says on every machine: to the rollback, or to --status."""
        flagged = (flags + (False,) * 3)[:3]
        last = {"machine": "m", "done": proven, "seconds": 1.0, "failed": [] if proven else ["worker1"], "epoch": 3}
        lines = [process("m", (flagged[0], flagged[1], flagged[2]), proven=proven), last]
        text = "".join(f"{json.dumps(line)}\n" for line in lines)
        (self.directory / "answers" / f"{what}.json").write_text(text)

    def says_aws(self, document: object, code: int = 0, stderr: str = "") -> None:
        """What `cutover fence` and `cutover unfence` answer."""
        answers = self.directory / "answers"
        (answers / "aws.json").write_text(json.dumps(document) if document else "")
        (answers / "aws.rc").write_text(str(code))
        (answers / "aws.err").write_text(stderr)

    def denies(self, *sessions: str, whole_role: bool = False) -> None:
        """Whom AWS denies S3 by its own word."""
        document = {"role": "deltacrown-s3-access", "sessions": sessions, "whole_role": whole_role}
        (self.directory / "answers" / "shown.json").write_text(json.dumps(document))

    def away(self, machine: str, **more: Any) -> None:
        """Writes the inventory; port 9 answers nobody."""
        hosts: dict[str, dict[str, Any]] = {name: {"ansible_host": "127.0.0.1"} for name in HOSTS}
        for number, name in enumerate(HOSTS, 1):
            hosts[name] |= {"machine": name, "aws_session_name": f"i-{number}", "ansible_connection": "local"}
            if name == machine:
                hosts[name] |= {"ansible_connection": "ssh", "ansible_port": 9}
        workers = {
            f"w-{name}": values | {"worker_unit": "deltacrown-uwsgi@worker1.service"} for name, values in hosts.items()
        }
        calls = self.directory / "answers" / "drain.calls"
        shared = {
            "ansible_become": False,
            "environment_file": "/nowhere.env",
            "drain_command": f"true && echo drain {{{{ machine }}}} >> {calls}",
            "undrain_command": f"true && echo undrain {{{{ machine }}}} >> {calls}",
        }
        groups = {
            "production_workers": {"hosts": workers},
            "production_machines": {"hosts": hosts},
            "production_data_host": {"hosts": {"m1": None}},
            "machines": {"hosts": dict.fromkeys(hosts)},
            "load_balancer": {"hosts": {"lb1": {"ansible_host": "127.0.0.1", "ansible_connection": "local"}}},
        }
        document = {"all": {"vars": shared | more, "children": groups}}
        (self.directory / "hosts.yml").write_text(yaml.safe_dump(document))

    @property
    def marked(self) -> Path:
        """The mark of the fence; all machines are this one."""
        return self.directory / "fenced"

    def mark(self, **changes: Any) -> dict[str, Any]:
        """Puts the mark of a fence of m2 there, but for the changes."""
        said = {"machines": {"m2": "i-2"}, "role": False, "s3_denied": True, "since": "2026-11-24T10:00:00Z", "by": "a"}
        self.marked.write_text(json.dumps(said | changes) + "\n")
        return said | changes

    def calls(self, what: str) -> list[str]:
        """What was asked of AWS (aws) and of the load balancer (drain)."""
        file = self.directory / "answers" / f"{what}.calls"
        return file.read_text().splitlines() if file.exists() else []

    def play(self, playbook: str, *arguments: str) -> tuple[int, str]:
        """The exit code of a playbook, and what Ansible said, on one line."""
        own = {
            "fence_mark": self.marked,
            "fence_cutover": self.directory / "bin/cutover",
            "evidence_copies": self.directory / "copies",
        }
        options = [option for name, value in own.items() for option in ("-e", f"{name}={value}")]
        result = subprocess.run(
            [PROGRAM, "-i", self.directory / "hosts.yml", playbook, *options, *arguments],
            cwd=PLAYBOOKS,
            env=os.environ
            | {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_CONFIG": str(PLAYBOOKS / "ansible.cfg"), "USER": "amina"}
            | {"PATH": f"{self.directory}/bin:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        (self.directory / "said").write_text(result.stdout + result.stderr)
        return result.returncode, " ".join((result.stdout + result.stderr).split())


EMERGENCY, UNFENCE = "emergency-rollback.yml", "unfence.yml"
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
