"""The roles that ask the data host, run something there, and seal evidence; its programs are the test's own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.playbooks.local_play import play_roles, playbooks_calling, program

if TYPE_CHECKING:
    from pathlib import Path

AWAY = {"step_data_host": "away"}
# Nobody answers there.
KNOWN = {
    "ansible.builtin.add_host": {
        "name": "away",
        "ansible_connection": "ssh",
        "ansible_host": "127.0.0.1",
        "ansible_port": 9,
    }
}
RUN = "`cutover check --json` on localhost ended with"


def played(tmp_path: Path, role: str, cutover: str, *others: dict[str, Any], **variables: Any) -> str:
    """What Ansible says of a role whose data tools are this script, and of the tasks after it."""
    programs = tmp_path / "bin"
    programs.mkdir(exist_ok=True)
    program(programs, "cutover", cutover)
    roles = playbooks_calling(tmp_path, f"{programs}/cutover") / "roles"
    site = {"environment_file": "/e", "site_directory": "/s", "site_python": "/s/python", "site_settings": "s.settings"}
    defaults = {"ansible_become": False, "step_data_host": "localhost", "step_site": site}
    task = {"ansible.builtin.include_role": {"name": role}}
    return play_roles(tmp_path, [KNOWN, task, *others], str(programs), roles, **(defaults | variables))


def ended(said: str, sentence: str) -> bool:
    """Whether the play failed with this sentence, and not by being unreachable, which no rescue catches."""
    return sentence in said and "failed=1" in said


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("exit 0", f"ERROR, could not measure: {RUN} 0 and printed no result: it said nothing"),
        ("exit 1", f"{RUN} 1 and printed no result"),
        ("echo no such table >&2; exit 4", f"{RUN} 4: no such table"),
        ("echo '{}'; exit 7", f"{RUN} 7: {{}}"),
        ("echo 3 certificates agree", f"{RUN} 0 and printed no JSON document: 3 certificates agree"),
        ("echo 3", f"{RUN} 0 and printed no JSON document: 3"),
        ("echo '{\"verdict\": '", f"{RUN} 0 and printed no JSON document"),
        ("kill -9 $$", f"{RUN} -9"),
    ],
)
def test_what_cannot_be_measured_is_no_result(tmp_path: Path, script: str, sentence: str) -> None:
    """Nothing found by a tool that did not look would be a step's PASS."""
    said = played(tmp_path, "data_command", script, data_command=["check", "--json"])
    assert ended(said, sentence), said


@pytest.mark.parametrize("role", ["data_command", "site_command"])
def test_a_data_host_that_is_away_fails_the_task(tmp_path: Path, role: str) -> None:
    """UNREACHABLE would end the play without the rescue that takes things back."""
    words = {"data_command": ["check"], "site_command": ["cutover.django.reads"]}
    said = played(tmp_path, role, "exit 0", **words, **AWAY)
    assert ended(said, "away cannot be reached, so `"), said


def test_a_document_is_kept_with_its_exit_code(tmp_path: Path) -> None:
    """And what is handed to the tool on its standard input is shown nowhere."""
    said = played(
        tmp_path,
        "data_command",
        f'echo "$*" >{tmp_path}/asked; cat >>{tmp_path}/asked; echo \'{{"files": 12}}\'; exit 1',
        {"ansible.builtin.debug": {"msg": "{{ data_command_document.files }} files, {{ data_command_rc }}"}},
        data_command=["check", "--json"],
        data_command_readonly=True,
        data_command_stdin='{"password": "secret"}',
        step_site={"environment_file": "/e", "readonly_role_arn": "arn:r"},
    )
    assert "12 files, 1" in said
    asked, handed = (tmp_path / "asked").read_text().splitlines()
    assert asked == "check --json --env-file /e --role-arn arn:r"
    assert json.loads(handed) == {"password": "secret"}
    assert "secret" not in said


def test_a_module_of_the_site_runs_as_its_workers_do(tmp_path: Path) -> None:
    """Another environment than the workers' measures another application."""
    programs = tmp_path / "bin"
    programs.mkdir()
    program(programs, "systemd-run", f'echo "$*" >{tmp_path}/asked; echo site starts; echo \'{{"sign_ms": [7]}}\'')
    shown = {"ansible.builtin.debug": {"msg": "signed in {{ site_command_document.sign_ms[0] }} ms"}}
    said = played(tmp_path, "site_command", "exit 0", shown, site_command=["cutover.django.reads", "--json"])
    assert "signed in 7 ms" in said
    asked = (tmp_path / "asked").read_text()
    assert "--property=User=www-data --property=WorkingDirectory=/s --property=EnvironmentFile=/e " in asked
    assert asked.endswith("-- /s/python -m cutover.django.reads --json\n")


def background(tmp_path: Path, result: str, systemctl: str = "echo inactive; exit 3", start: str = "") -> str:
    """A run in the background that leaves this result."""
    programs, output = tmp_path / "bin", tmp_path / "result.json"
    programs.mkdir()
    output.write_text("left over from the run before")
    program(programs, "systemctl", systemctl)
    program(programs, "systemd-run", start or f"printf '%s' '{result}' >{output}; echo $* >{tmp_path}/started")
    shown = {"ansible.builtin.debug": {"msg": "uploaded {{ background_run_document.uploaded }}"}}
    variables = {"background_run_command": ["backfill", "--json"], "background_run_output": str(output)}
    return played(tmp_path, "background_run", "exit 0", shown, background_run_poll_seconds=1, **variables)


def test_a_run_in_the_background_leaves_its_result(tmp_path: Path) -> None:
    assert "uploaded 12" in background(tmp_path, '{"uploaded": 12}')
    started = (tmp_path / "started").read_text()
    assert "--unit=deltacrown-backfill " in started
    assert f"--property=StandardOutput=truncate:{tmp_path}/result.json " in started
    assert started.endswith("cutover backfill --json --env-file /e\n")


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        ("", "ERROR, the run left no result: `cutover backfill` on localhost ended with 0 and printed no result"),
        ("killed", "printed no JSON document: killed. Look: journalctl -u deltacrown-backfill on localhost"),
    ],
)
def test_a_run_without_a_result_is_refused(tmp_path: Path, result: str, sentence: str) -> None:
    """A run that the kernel ended for its memory would be one without errors."""
    said = background(tmp_path, result)
    assert ended(said, sentence), said


def test_a_run_that_cannot_start_is_refused(tmp_path: Path) -> None:
    """What the run before left would be judged instead."""
    said = background(tmp_path, "", start="echo Unit deltacrown-backfill.service was already loaded >&2; exit 1")
    assert ended(said, "ERROR, localhost: Unit deltacrown-backfill.service was already loaded"), said


def test_a_run_that_goes_on_already_is_waited_for(tmp_path: Path) -> None:
    """Whoever goes on after an interruption must not begin a second run."""
    asked = f"echo again >>{tmp_path}/asked; [ $(grep -c . {tmp_path}/asked) -lt 3 ] && echo active && exit 0; "
    finish = f"echo '{{\"uploaded\": 7}}' >{tmp_path}/result.json; echo inactive; exit 3"
    said = background(tmp_path, "", systemctl=asked + finish)
    assert "uploaded 7" in said
    assert not (tmp_path / "started").exists()


def test_a_lost_connection_does_not_end_the_wait(tmp_path: Path) -> None:
    """Ansible's `until` ends at the first one, and half a run would be judged."""
    ssh = f"""for last in "$@"; do :; done
case "$last" in *python*) ;; *) exec sh -c "$last" ;; esac
echo again >>{tmp_path}/calls
[ "$(grep -c . {tmp_path}/calls)" -gt 1 ] || exit 255
exec sh -c "$last\""""
    program(tmp_path, "ssh", ssh)
    program(tmp_path, "systemctl", "echo inactive; exit 3")
    host = {"name": "away", "ansible_connection": "ssh", "ansible_ssh_executable": f"{tmp_path}/ssh"}
    wait = {"ansible.builtin.include_role": {"name": "background_run", "tasks_from": "wait"}}
    said = play_roles(
        tmp_path,
        [{"ansible.builtin.add_host": host}, wait],
        str(tmp_path),
        playbooks_calling(tmp_path, "/bin/false") / "roles",
        **AWAY,
        background_run_losses=0,
        background_run_loss_seconds=1,
    )
    assert said.count("TASK [background_run : Wait until it has ended") == 2
    assert "unreachable=0 failed=0" in said


def test_a_data_host_that_stays_away_ends_the_wait(tmp_path: Path) -> None:
    """The step would wait for ever, or judge half a run."""
    wait = {"ansible.builtin.include_role": {"name": "background_run", "tasks_from": "wait"}}
    roles = playbooks_calling(tmp_path, "/bin/false") / "roles"
    limits = {"background_run_losses": 0, "background_run_losses_allowed": 1, "background_run_loss_seconds": 1}
    said = play_roles(tmp_path, [KNOWN, wait], "", roles, **AWAY, **limits)
    assert ended(said, "away cannot be reached any more; the run may go on there. Run this step again"), said
    assert said.count("TASK [background_run : Wait until it has ended") == 2


STEP = {"number": 2, "from": "dual-write", "to": "dual-write"}
PASSED = {"errors": [0, 100], "hash_mismatches": [0, 100], "resume_token_valid": [1.0, 100]}


# A data host with the settings that only a host of the inventory has.
SITE = {
    "ansible.builtin.add_host": {
        "name": "data",
        "ansible_connection": "local",
        "environment_file": "/e",
        "evidence_role_arn": "arn:evidence",
        "readonly_role_arn": "arn:reader",
    }
}
SEAL = 'cat >{0}/sealed.json; echo \'{{"file": "000002-step-2-PASS.json", "sha256": "aa"}}\''


def sealed(tmp_path: Path, cutover: str, **more: Any) -> str:
    """A step that is judged and recorded as step playbooks do."""
    include = "ansible.builtin.include_role"
    block = {
        "block": [{include: {"name": "step", "tasks_from": "judge"}}],
        "rescue": [{include: {"name": "step", "tasks_from": "fail"}}],
    }
    programs = tmp_path / "bin"
    programs.mkdir()
    program(programs, "cutover", cutover)
    roles = playbooks_calling(tmp_path, f"{programs}/cutover") / "roles"
    record = {"kind": "step", "step": 2, "deployment": "staging", "criteria": "{{ step_gate.criteria }}"}
    paths = {"evidence_copies": f"{tmp_path}/copies/staging", "evidence_directory": f"{tmp_path}/chain"}
    variables = {"step": STEP, "step_measured": PASSED, "step_record": record, "step_data_host": "localhost", **paths}
    return play_roles(tmp_path, [KNOWN, SITE, block], "", roles, **({"ansible_become": False} | variables | more))


def test_a_pass_is_sealed_and_copied(tmp_path: Path) -> None:
    chain = tmp_path / "chain"
    chain.mkdir()
    (chain / "000001-step-1-PASS.json").write_text('{"step": 1}\n')
    append = f'cat >{chain}/000002-step-2-PASS.json; echo \'{{"file": "000002-step-2-PASS.json", "sha256": "aa"}}\''
    said = sealed(tmp_path, append)
    assert "sealed: 000002-step-2-PASS.json aa" in said
    copies = {path.name: path.read_bytes() for path in (tmp_path / "copies/staging").iterdir()}
    assert copies == {path.name: path.read_bytes() for path in chain.iterdir()}
    assert json.loads(copies["000002-step-2-PASS.json"])["verdict"] == "PASS"


@pytest.mark.parametrize(
    ("cutover", "more", "sentence"),
    [
        (
            "echo no space left >&2; exit 5",
            {},
            "the evidence could not be sealed: no space left. What was measured lies",
        ),
        ("exit 5", {}, "the evidence could not be sealed: cutover evidence append ended with 5. What"),
        ("exit 0", AWAY, "the evidence could not be sealed: away cannot be reached. What was measured lies"),
    ],
)
def test_a_pass_that_cannot_be_sealed_is_none(
    tmp_path: Path, cutover: str, more: dict[str, Any], sentence: str
) -> None:
    """The next step would find no evidence of a step that said that it had passed; nor may what it measured be lost."""
    said = sealed(tmp_path, cutover, **more)
    assert ended(said, sentence), said
    assert "End the step: it did not pass" in said
    kept = sorted((tmp_path / "copies").glob("staging-unsealed-*.json"))
    verdicts = [json.loads(path.read_text())["verdict"] for path in kept]
    assert verdicts == ["PASS", "ERROR"]
    assert [criterion["criterion"] for criterion in json.loads(kept[0].read_text())["criteria"]] == list(PASSED)


def on_the_data_host(tmp_path: Path, copy: str, pages: str = "exit 99", **more: Any) -> str:
    """The same on a data host that copies its evidence: what the copy and the look for pages do there."""
    script = f"""case "$1 $2" in
"evidence append") {SEAL.format(tmp_path)} ;;
"evidence copy") echo $* >{tmp_path}/copy; {copy} ;;
"alarms pages") echo $* >{tmp_path}/pages; {pages} ;;
esac"""
    return sealed(tmp_path, script, step_data_host="data", **more)


def test_the_sealed_chain_is_copied_into_the_backups_bucket(tmp_path: Path) -> None:
    said = on_the_data_host(tmp_path, 'echo \'{"verdict": "PASS"}\'')
    assert "SEALED, BUT NOT COPIED" not in said
    assert "failed=0" in said
    chain = f"--directory {tmp_path}/chain --env-file /e --role-arn arn:evidence"
    assert (tmp_path / "copy").read_text() == f"evidence copy --json {chain}\n"


@pytest.mark.parametrize(
    ("copy", "sentence"),
    [
        ("echo S3 is away >&2; exit 4", "`cutover evidence copy` on data ended with 4: S3 is away"),
        (
            "echo first at 000001 >&2; echo '{}'; exit 1",
            "`cutover evidence copy` on data ended with 1: first at 000001",
        ),
        ("exit 0", "`cutover evidence copy` on data ended with 0 and printed no result"),
    ],
)
def test_a_copy_that_fails_is_named_and_takes_no_step_back(tmp_path: Path, copy: str, sentence: str) -> None:
    """A step that passed is taken back because S3 is away; or nobody learns that one disk alone has its evidence."""
    said = on_the_data_host(tmp_path, copy)
    assert f"SEALED, BUT NOT COPIED into the backups bucket: {sentence}" in said
    assert "failed=0" in said
    assert "End the step" not in said


def test_an_emergency_waits_for_no_copy(tmp_path: Path) -> None:
    """Whoever rolls back during an outage of AWS waits for AWS."""
    programs = tmp_path / "bin"
    programs.mkdir()
    program(programs, "cutover", f"echo $* >>{tmp_path}/calls; cat >/dev/null; echo '{{}}'")
    roles = playbooks_calling(tmp_path, f"{programs}/cutover") / "roles"
    task = {"ansible.builtin.include_role": {"name": "evidence", "tasks_from": "rollback"}}
    paths = {"evidence_copies": f"{tmp_path}/copies/staging", "evidence_directory": f"{tmp_path}/chain"}
    what = {"evidence_deployment": "staging", "scenario": "local", "drill": False, "emergency_seconds": 5}
    groups = {"ansible.builtin.add_host": {"name": "data", "groups": "staging_machines"}}
    play_roles(tmp_path, [SITE, groups, task], "", roles, ansible_become=False, step_data_host="data", **paths, **what)
    assert (tmp_path / "calls").read_text() == f"evidence append --directory {tmp_path}/chain\n"


STARTED = {"kind": "step", "step": 2, "deployment": "staging", "started_at": "2026-12-01T10:00:00Z"}


def test_a_record_holds_the_pages_of_its_time(tmp_path: Path) -> None:
    page = {"at": "2026-12-01T10:05:00Z", "severity": "critical"}
    copied = "echo '{}'"
    on_the_data_host(tmp_path, copied, f"echo '{json.dumps({'pages': [page]})}'", step_record=STARTED)
    assert json.loads((tmp_path / "sealed.json").read_text())["pages"] == [page]
    asked = "--deployment staging --since 2026-12-01T10:00:00Z --env-file /e --role-arn arn:reader"
    assert (tmp_path / "pages").read_text() == f"alarms pages --json {asked}\n"


def test_a_record_whose_pages_nobody_could_ask_for_says_so(tmp_path: Path) -> None:
    """CloudWatch was away, and the record says that nobody was woken."""
    said = on_the_data_host(tmp_path, "echo '{}'", "echo CloudWatch is away >&2; exit 4", step_record=STARTED)
    record = json.loads((tmp_path / "sealed.json").read_text())
    assert "pages" not in record
    assert record["pages_unknown"] == "`cutover alarms pages` on data ended with 4: CloudWatch is away"
    assert "failed=0" in said
