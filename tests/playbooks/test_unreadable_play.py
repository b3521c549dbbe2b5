"""The emergency after a purge, on a stub deployment: it refuses first of all, or tells machines what is accepted."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from cutover import plan
from tests.playbooks.local_play import play_roles, playbooks_calling, program
from tests.playbooks.stub_deployment import ANSWER, Deployment

FORTY = "ONLY_IN_S3 40 20\n"


@dataclass(frozen=True)
class Emergency:
    """A deployment of two machines, one of them its data host, on which something was once put aside."""

    deployment: Deployment

    @property
    def called(self) -> list[str]:
        """How machine script and data tool were called, in order."""
        path = self.deployment.directory / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def counts(self, said: str, code: int = 0) -> None:
        """What the data host answers when it is to put copies back."""
        self.deployment.says("restore", said, code, "moved\n")

    def play(self, *arguments: str) -> tuple[int, str]:
        return self.deployment.play("emergency-rollback.yml", "-e", "deployment=staging", *arguments)


@pytest.fixture
def emergency(tmp_path: Path) -> Emergency:
    deployment = Deployment.ready_for(tmp_path, 5)  # whose mode is s3-reads
    head = f"answers={tmp_path}/answers\n{ANSWER}"
    script = f'{head}echo "script $*" >>{tmp_path}/calls\nanswer status'
    program(tmp_path / "bin", "deltacrown-s3-rollback", script)
    restore = f'*--dry-run*) answer aside ;; restore*) echo "$*" >>{tmp_path}/calls; answer restore ;;'
    program(tmp_path / "bin", "cutover", f'{head}case "$*" in {restore} *) answer "$1" ;; esac')
    deployment.says("aside", {"from_quarantine": 0, "errors": [], "directory": "/q"})  # a drill asks for that first
    program(tmp_path / "bin", "sudo", 'shift\nexec "$@"')
    part = deployment.playbooks / "parts/put_copies_back.yml"
    part.write_text(part.read_text().replace("/var/lib/deltacrown-cutover", f"{tmp_path}/state"))
    (tmp_path / "state/bucket").mkdir(parents=True)
    (tmp_path / "state/bucket/quarantine-directory").write_text("/media.quarantine\n")
    return Emergency(deployment)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("-e", "scenario=reads"),
        ("-e", "scenario=inconsistency"),
        ("-e", "limit_workers=worker1"),
        ("-e", "accept_unreadable=41"),
        ("-e", "accept_unreadable=39"),
    ],
)
def test_it_refuses_before_any_flag_and_names_the_count(emergency: Emergency, arguments: tuple[str, ...]) -> None:
    """Forty files that nobody can read any more, for the sake of a rollback that nobody had to make."""
    emergency.counts(FORTY, 2)
    code, said = emergency.play(*arguments)
    assert code != 0
    assert "REFUSED, and nothing was changed: 40 files of 20 certificates of staging lie only in S3" in said
    others = " -e limit_workers=worker1" if "limit_workers=worker1" in arguments else ""  # else it reaches all
    assert f"-e deployment=staging{others} -e scenario=uploads" in said
    assert "on m1: sudo cutover restore --env-file" in said
    assert "-e accept_unreadable=40" in said
    (asked,) = emergency.called
    accepted = arguments[1].partition("accept_unreadable=")[2] if arguments else ""
    assert asked.startswith(f"restore --quarantined-only --accept-unreadable {accepted or 0} --env-file")


def test_a_drill_is_refused_too(emergency: Emergency) -> None:
    """Customers cannot read their certificates for the length of an exercise."""
    emergency.counts(FORTY, 2)
    code, said = emergency.play("-e", "drill=true")
    assert code != 0
    assert "REFUSED, and nothing was changed: 40 files" in said
    assert "-e deployment=staging -e drill=true -e scenario=local -e accept_unreadable=40" in said
    assert [call for call in emergency.called if call.startswith("script")] == ["script --status"] * 2


def test_uploads_asks_nobody(emergency: Emergency) -> None:
    """The scenario that leaves the reads alone is refused, too, and S3 goes on taking uploads that fail."""
    emergency.counts(FORTY, 2)
    code, said = emergency.play("-e", "scenario=uploads")
    assert code == 0, said
    assert emergency.called == ["script uploads"] * 2


@pytest.mark.parametrize(
    ("said", "code", "arguments", "told"),
    [
        (FORTY, 0, ("-e", "accept_unreadable=40"), " --unreadable 40 --accept-unreadable 40"),
        ("ONLY_IN_S3 0 0\n", 0, (), " --unreadable 0"),
        ("ONLY_IN_S3 0 0\n", 0, ("-e", "accept_unreadable=40"), " --unreadable 0"),
        ("", 0, (), ""),
        ("the disk does not answer\n", 4, (), ""),
        ("the disk does not answer\n", 4, ("-e", "accept_unreadable=40"), " --accept-unreadable 40"),
    ],
)
def test_the_machines_are_told_what_was_counted_and_accepted(
    emergency: Emergency, said: str, code: int, arguments: tuple[str, ...], told: str
) -> None:
    """The accepted number is lost on the way, and each machine refuses; or a broken data host keeps the flags on."""
    emergency.counts(said, code)
    _, output = emergency.play(*arguments)
    assert "REFUSED" not in output
    before, *machines, after = emergency.called
    assert before.startswith("restore --quarantined-only --accept-unreadable ")
    assert machines == [f"script local{told}"] * 2
    assert after.startswith("restore --quarantined-only --env-file ")  # after the flags nothing is asked any more


def test_where_nothing_was_ever_put_aside_nobody_is_asked(emergency: Emergency) -> None:
    """Before step 10 the emergency pays nothing for what comes after it."""
    (emergency.deployment.directory / "state/bucket/quarantine-directory").unlink()
    code, said = emergency.play()
    assert code == 0, said
    assert emergency.called == ["script local"] * 2


@pytest.mark.parametrize("given", ["all", "4 0", "40; reboot", "-1", ""])
def test_what_is_no_number_ends_before_any_connection(emergency: Emergency, given: str) -> None:
    """A text becomes part of a command of root's on another machine."""
    code, said = emergency.play("-e", json.dumps({"accept_unreadable": given}))
    assert code != 0
    assert "give the number of files that the refusal named" in said
    assert emergency.called == []


def test_the_scenarios_that_ask_are_those_that_turn_reads_off() -> None:
    """A scenario that is added to the table turns reads off, and nobody is asked."""
    part = (Path(__file__).parents[2] / "playbooks/parts/put_copies_back.yml").read_text()
    assert 'when: scenario != "uploads"' in part
    scenarios = plan.load().scenarios
    assert [name for name, each in scenarios.items() if each.sets.get("read_primary") is not False] == ["uploads"]


MARK = {"ansible.builtin.include_role": {"name": "local_copies", "tasks_from": "mark"}}


def marking(tmp_path: Path, files: int, **host: object) -> str:
    """What is said when the machines of a deployment are told that so many files lie only in S3."""
    roles = playbooks_calling(tmp_path, "none") / "roles"
    path = roles / "local_copies/tasks/mark.yml"
    path.write_text(path.read_text().replace("/etc/deltacrown/", f"{tmp_path}/"))
    connection = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"} | host
    added = {"ansible.builtin.add_host": {"name": "web1", "groups": "production_machines", **connection}}
    return play_roles(
        tmp_path,
        [added, MARK],
        "",
        roles,
        ansible_become=False,
        deployment="production",
        step_data_host="web1",
        local_copies_only_in_s3=files,
    )


def test_machines_are_marked_and_the_mark_is_taken_away(tmp_path: Path) -> None:
    """After the purge a machine that is rolled back by hand knows of nothing; or after a restore it still refuses."""
    assert "failed=0" in marking(tmp_path, 40)
    number, moment = (tmp_path / "purged-copies").read_text().split()
    assert (number, moment[-1]) == ("40", "Z")
    (tmp_path / "playbooks").rename(tmp_path / "first")
    assert "failed=0" in marking(tmp_path, 0)
    assert not (tmp_path / "purged-copies").exists()


def test_a_machine_that_cannot_be_told_ends_the_purge_before_it_begins(tmp_path: Path) -> None:
    """The one machine that nobody told turns its reads to files that are gone."""
    said = marking(tmp_path, 40, ansible_connection="ssh", ansible_host="127.0.0.1", ansible_port=9)
    assert "web1 could not be told how many files lie only in S3 (40)" in said
    assert "failed=1" in said


def test_nothing_is_deleted_before_every_machine_is_told() -> None:
    """The order of two tasks, which no run without a failure shows."""
    book = yaml.safe_load((Path(__file__).parents[2] / "playbooks/purge-local-copies.yml").read_text())
    (block,) = (task["block"] for task in book[-1]["tasks"] if "block" in task)
    included = [task.get("ansible.builtin.include_role", {}) for task in block]
    tasks = [(each.get("name"), each.get("tasks_from")) for each in included]
    marks = [number for number, task in enumerate(tasks) if task == ("local_copies", "mark")]
    deletes = next(number for number, task in enumerate(block) if str(task["name"]).startswith("IRREVERSIBLE"))
    assert marks[0] < deletes < marks[1]
