"""`cutover ready` with a false ssh: a fleet that is ready, and one test for each reason why it is not."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from cutover import cli, ready
from tests.unit.status import recorded
from tests.unit.status.recorded import ADDRESSES

if TYPE_CHECKING:
    from tests.unit.status.recorded import Fleet

REPOSITORY = Path(__file__).resolve().parents[3]
SCRIPT = REPOSITORY / "scripts/deltacrown-s3-rollback"
LOCK = {"holder": "amina", "step": 6, "host": "laptop", "start": "2026-11-28T05:00:00Z", "epoch": 7}
REPORT = '{"machine": "m", "done": true, "seconds": 0.1, "failed": [], "epoch": 7}'
REFUSED = "10.0.0.3: Permission denied (publickey)."


def words(**changed: str) -> str:
    """What a machine's shell prints."""
    script = hashlib.sha256(SCRIPT.read_bytes()).hexdigest()
    marks = {"script": f"{script}  -", "epoch": "7", "room": "90000", "purged": "", "lock": "", "fence": ""}
    marks |= {"report": REPORT, "status": "0"}
    lines = {**marks, **changed}
    return "".join(f"{text}\n" if mark == "report" else f"{mark} {text}\n" for mark, text in lines.items())


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """Production of two machines, of which web1 is the data host; this control machine lacks nothing."""
    fleet = recorded.healthy(tmp_path, monkeypatch)
    monkeypatch.chdir(REPOSITORY / "playbooks")
    program(tmp_path, "exit 0")
    fleet.stdout = {machine: words() for machine in ADDRESSES}
    for data_host in ("web1", "staging1"):
        fleet.stdout[data_host] = words(cutover="cutover 0.1.0")
    return fleet


def program(directory: Path, script: str) -> None:
    path = directory / "ansible-playbook"
    path.write_text(f'#!/bin/sh\necho "$PWD $*" >>{directory}/ansible.calls\n{script}\n')
    path.chmod(0o755)


def look(fleet: Fleet, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    """The exit code and the document."""
    fleet.write()
    code = cli.main(["ready", "-i", fleet.inventory, "--json", *arguments])
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert document["exit_code"] == code
    assert document["ready"] is (code == 0)
    return code, document


def problem(fleet: Fleet, capsys: pytest.CaptureFixture[str], code: int = 1) -> dict[str, Any]:
    """The only problem of production."""
    found, document = look(fleet, capsys)
    assert found == code, document
    (only,) = document["problems"]
    assert only["next"]
    told: dict[str, Any] = only
    return told


def test_a_fleet_that_is_ready(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    """The opposite of every test below; the command that it prints is what one would type."""
    code, document = look(fleet, capsys)
    assert code == 0, document["problems"]
    assert {each["machine"]: each["epoch"] for each in document["machines"]} == {"web1": 7, "web2": 7}
    expected = f"ansible-playbook emergency-rollback.yml -i {fleet.inventory} -e deployment=production"
    assert document["command"] == f"cd {REPOSITORY}/playbooks && {expected}"
    assert cli.main(["ready", "-i", fleet.inventory, "--deployment", "all"]) == 0
    said = capsys.readouterr().out
    assert said.count("  ok  ") == 3
    assert "all READY: 3 machines asked" in said
    assert said.endswith("-e deployment=all\n")


def test_every_machine_is_asked_as_the_emergency_asks(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    """Over a cached connection, or as somebody else, it would be ready and the emergency not."""
    look(fleet, capsys)
    calls = fleet.calls().splitlines()
    assert len(calls) == 2
    for call in calls:
        emergency = yaml.safe_load((REPOSITORY / "playbooks/vars/emergency.yml").read_text())["emergency_ssh_args"]
        assert "KexAlgorithms" in emergency
        for part in (emergency, "-l operator", "sudo -n sh -c true && sudo -n deltacrown-s3-rollback --status"):
            assert part in call
    assert ["cutover --version" in call for call in sorted(calls, key=lambda call: "10.0.0.3" in call)] == [True, False]
    asked = (fleet.directory / "ansible.calls").read_text()
    assert asked == f"{REPOSITORY}/playbooks --syntax-check -i {fleet.inventory} emergency-rollback.yml\n"


@pytest.mark.parametrize(
    ("marks", "what", "do"),
    [
        ({"script": "0" * 64}, "not this checkout's (SHA-256 000000000000…", "prepare-hosts.yml --limit web2"),
        ({"script": "", "report": "", "status": "1"}, "there is no /usr/local/sbin/delta", "prepare-hosts.yml"),
        ({"epoch": ""}, "rollback-epoch cannot be read", "prepare-hosts.yml --limit web2"),
        ({"epoch": "seven"}, "rollback-epoch cannot be read", "prepare-hosts.yml --limit web2"),
        ({"lock": json.dumps(LOCK)}, "is held step 6 by amina on laptop since", "cutover unlock"),
        ({"lock": "unreadable"}, "nobody that could be told", "cutover unlock"),
        ({"fence": '{"what": "web3"}'}, 'under a fence: {"what": "web3"}', "ansible-playbook unfence.yml"),
        ({"fence": '{"unfence": "as it says"}'}, "under a fence", "once its cause is mended: as it says"),
        ({"room": ""}, "/etc/deltacrown cannot be written, even by root, so no flag could", "findmnt -T /etc/delta"),
        ({"room": "0"}, "/etc/deltacrown has no room left, so no flag could", "df -h /etc/deltacrown"),
        ({"report": "", "status": "1"}, "--status, says: sudo: a terminal", "try it there: sudo -n sh"),
        ({"report": '{"failed": []', "status": "0"}, "--status, says: ", "try it there: sudo -n sh"),
    ],
)
def test_what_is_amiss_on_a_machine_is_named(
    fleet: Fleet, capsys: pytest.CaptureFixture[str], marks: dict[str, str], what: str, do: str
) -> None:
    """Each of these is found at 3 a.m. otherwise."""
    fleet.stdout["web2"] = words(**marks)
    if "status" in marks:
        fleet.ended["web2"] = (0, "sudo: a terminal\n")
    found = problem(fleet, capsys)
    assert found["where"] == "web2"
    assert what in found["what"]
    assert do in found["next"]


def test_sudo_that_asks_for_a_password_is_named(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    fleet.stdout["web2"] = words(report="", status="1")
    fleet.ended["web2"] = (0, "sudo: a password is required\n")
    found = problem(fleet, capsys)
    assert found["what"] == "sudo asks operator for a password"
    assert "operator ALL=(ALL) NOPASSWD: ALL" in found["next"]


def test_a_purge_that_makes_the_emergency_refuse_is_told(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    """The command that it prints would be refused, and whoever types it learns that at night."""
    fleet.stdout["web2"] = words(purged="1200 2026-11-27T05:00:00Z")
    code, document = look(fleet, capsys)
    assert code == 0
    (note,) = document["notes"]
    assert note.startswith("1200 files lie only in S3 since the purge, so the command is refused as it stands")
    assert cli.main(["ready", "-i", fleet.inventory]) == 0
    assert f"  !   {note}\n" in capsys.readouterr().out


def test_emergency_options_that_cannot_be_read_are_named(
    fleet: Fleet, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The syntax check reads no file of variables; with a conflict in it the emergency ends at its first play."""
    checkout = tmp_path / "checkout"
    shutil.copytree(REPOSITORY / "playbooks/vars", checkout / "playbooks/vars")
    for name in ("playbooks/ansible.cfg", "scripts/deltacrown-s3-rollback"):
        (checkout / name).parent.mkdir(exist_ok=True)
        shutil.copy(REPOSITORY / name, checkout / name)
    (checkout / "playbooks/vars/emergency.yml").write_text("<<<<<<< HEAD\na: b: c\n")
    monkeypatch.chdir(checkout)
    found = problem(fleet, capsys)
    assert (found["where"], "vars/emergency.yml cannot be read" in found["what"]) == ("here", True)


def test_another_epoch_is_named_with_how_to_even_it(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    """A machine that no emergency reached takes the flags of a step that is still running."""
    fleet.stdout["web2"] = words(epoch="6")
    found = problem(fleet, capsys)
    assert (found["where"], "is 6, the others' 7" in found["what"]) == ("web2", True)
    assert "on web2: echo 7 | sudo tee /etc/deltacrown/rollback-epoch" in found["next"]


def test_a_data_host_without_cutover_is_named(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    """What lies in quarantine would not be put back."""
    fleet.stdout["web1"] = words(cutover="")
    assert "data host, and its /usr/local/bin/cutover does not answer" in problem(fleet, capsys)["what"]


@pytest.mark.parametrize(
    ("errors", "what", "do"),
    [
        ("ssh: connect to host 10.0.0.3 port 22: No route to host", "cannot be reached: ssh: connect", "is it up"),
        (f"operator@{REFUSED}", "does not take your key as operator", "ssh-add"),
        ("Host key verification failed.", "another host key than is known here", "compare it: ssh operator@10.0.0.3"),
    ],
)
def test_a_machine_that_is_not_reached_is_named(
    fleet: Fleet, capsys: pytest.CaptureFixture[str], errors: str, what: str, do: str
) -> None:
    fleet.stdout["web2"], fleet.ended["web2"] = "", (255, f"{errors}\n")
    found = problem(fleet, capsys)
    assert found["where"] == "web2"
    assert what in found["what"]
    assert do in found["next"]


def test_a_machine_that_hangs_is_named_in_time(
    fleet: Fleet, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.hanging.add("web2")
    monkeypatch.setattr(ready, "SECONDS", 0.5)
    begun = time.monotonic()
    assert "(10.0.0.3) did not answer within 0.5 s" in problem(fleet, capsys)["what"]
    assert time.monotonic() - begun < 10


def test_an_answer_that_is_cut_off_is_not_known(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    """Half an answer is neither ready nor amiss."""
    fleet.stdout["web2"] = words().partition("lock")[0]
    found = problem(fleet, capsys, code=4)
    assert "ended with 0 before it had answered" in found["what"]
    assert found["measured"] is False


def test_a_key_that_is_not_there_is_named(
    fleet: Fleet, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_key = recorded.INVENTORY.replace(
        "ansible_user:", f"ansible_ssh_private_key_file: {fleet.directory}/id, ansible_user:"
    )
    monkeypatch.setattr(recorded, "INVENTORY", with_key)
    assert f"the key {fleet.directory}/id of the inventory is not there" in problem(fleet, capsys)["what"]
    (fleet.directory / "id").touch()
    assert look(fleet, capsys)[0] == 0


def test_a_playbook_that_cannot_be_read_here_is_named(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    """A checkout in the middle of a merge has no emergency."""
    program(fleet.directory, "echo ERROR: conflict in line 7 >&2; exit 4")
    found = problem(fleet, capsys)
    assert found["where"] == "here"
    assert "cannot read emergency-rollback.yml: ERROR: conflict in line 7" in found["what"]


def test_an_environment_without_ansible_is_named(
    fleet: Fleet, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (fleet.directory / "ansible-playbook").unlink()
    monkeypatch.setenv("PATH", f"{fleet.directory}{os.pathsep}/usr/bin{os.pathsep}/bin")
    found = problem(fleet, capsys)
    assert "no ansible-playbook on the PATH" in found["what"]
    assert ".venv/bin/activate" in found["next"]


def test_a_machine_that_is_too_busy_is_not_known(
    fleet: Fleet, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    program(fleet.directory, "exec sleep 30")
    monkeypatch.setattr(ready, "SECONDS", 0.5)
    assert "was not read within 0.5 s" in problem(fleet, capsys, code=4)["what"]


def test_the_lines_say_what_to_do(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    """As the person on call reads them."""
    fleet.stdout["web2"] = words(epoch="")
    fleet.write()
    assert cli.main(["ready", "-i", fleet.inventory]) == 1
    said = capsys.readouterr().out
    assert "  NO  web2: /etc/deltacrown/rollback-epoch cannot be read, or holds no number\n      next: ansible" in said
    assert "production NOT READY: 2 machines asked" in said


def test_a_data_host_of_its_own_needs_no_script(
    fleet: Fleet, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    apart = recorded.INVENTORY.replace(
        "production_data_host: {hosts: {web1: }}", "production_data_host: {hosts: {db1: {ansible_host: 10.0.0.4}}}"
    )
    monkeypatch.setattr(recorded, "INVENTORY", apart)
    monkeypatch.setitem(ADDRESSES, "db1", "10.0.0.4")
    fleet.stdout["db1"] = "lock \nfence \ncutover cutover 0.1.0\nstatus 0\n"
    fleet.stdout["web1"] = words()
    assert look(fleet, capsys)[0] == 0
    fleet.stdout["db1"] = "lock \nfence \ncutover cutover 0.1.0\nstatus 1\n"
    assert problem(fleet, capsys)["where"] == "db1"


@pytest.mark.parametrize("deployment", ["production", "all"])
def test_an_inventory_that_is_not_there_is_no_answer(deployment: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ready", "-i", "/nowhere/hosts.yml", "--deployment", deployment]) == 2
    assert "/nowhere/hosts.yml" in capsys.readouterr().err
