"""The data tools' units as prepare-hosts.yml installs them; on booted machines: tests/fleet/test_data_tools.py."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from typing import TYPE_CHECKING, Any, get_args

import pytest
import yaml

from cutover import plan
from tests.playbooks.local_play import PLAYBOOKS, play, program

if TYPE_CHECKING:
    from pathlib import Path

ROLE, PREPARE = PLAYBOOKS / "roles/data_tools", PLAYBOOKS / "prepare-hosts.yml"
TABLE = plan.load()
READONLY = "arn:aws:iam::123456789012:role/readonly"
GROUP = "/deltacrown/certificates/staging"
MACHINES = {"one": "staging_machines", "two": "staging_machines", "other": "production_machines"}
RECORD = "/run/cutover-daily.json"
STATE = "/var/lib/deltacrown-cutover"


def installed(directory: Path, **variables: Any) -> dict[str, str]:
    """The texts of the units by their names, as the role installs them."""
    load = [{"ansible.builtin.include_vars": {"file": str(ROLE / part / "main.yml")}} for part in ("defaults", "vars")]
    write = [
        {
            "ansible.builtin.template": {
                "src": str(ROLE / f"templates/data-tool.{kind}.j2"),
                "dest": f"{directory}/{{{{ item.name }}}}.{kind}",
                "mode": "0600",
            },
            "loop": "{{ data_tools_units }}",
        }
        for kind in ("service", "timer")
    ]
    variables |= {"environment_file": str(directory / "staging.env"), "log_group": GROUP}
    groups: list[dict[str, Any]] = [
        {"ansible.builtin.group_by": {"key": "staging_data_host"}},
        *({"ansible.builtin.add_host": {"name": name, "groups": [group]}} for name, group in MACHINES.items()),
    ]
    said = play(directory, [*groups, *load, *write], **variables)
    assert "failed=0" in said, said
    return {path.name: path.read_text() for path in directory.iterdir() if path.suffix in {".service", ".timer"}}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `units` lie, and the environment file that they name."""
    return tmp_path_factory.mktemp("units")


@pytest.fixture(scope="module")
def units(directory: Path) -> dict[str, str]:
    """The units of an inventory that sets nothing about them."""
    return installed(directory)


def test_the_timers_keep_the_tables_intervals(units: dict[str, str]) -> None:
    """A check that comes every 26 hours fires its own alarm."""
    assert f"OnUnitActiveSec={TABLE.data_tools.sweep.interval_seconds}s\n" in units["deltacrown-sweep.timer"]
    for name, tool in (("cutover-check", TABLE.data_tools.check), ("cutover-daily", TABLE.data_tools.daily)):
        assert f"OnUnitActiveSec={tool.interval_hours * 3600}s\n" in units[f"{name}.timer"]


def test_a_daily_check_may_come_late(units: dict[str, str]) -> None:
    """One that is started every 24 hours skips a day as soon as one run begins late."""
    assert TABLE.data_tools.daily.interval_hours <= 12
    assert "--in-soak" in units["cutover-daily.service"]


def test_the_daily_check_names_whose_lines_must_be_there(units: dict[str, str]) -> None:
    """A machine that is not named may be silent; one of the other deployment delivers elsewhere."""
    assert f" --log-group {GROUP} --time-scale 1 --machine one two\n" in units["cutover-daily.service"]


@pytest.mark.parametrize(
    ("record", "code", "sealed"),
    [('{"verdict": "FAIL"}\n', 0, '{"verdict": "FAIL"}\n'), ("", 0, None), (None, 0, None), ("{", 5, "{")],
)
def test_root_seals_what_the_daily_check_left(
    tmp_path: Path, units: dict[str, str], record: str | None, code: int, sealed: str | None
) -> None:
    """A FAIL that nobody seals would be a day that nobody looked at; a run with nothing to do leaves nothing."""
    file, taken = tmp_path / "record.json", tmp_path / "taken"
    if record is not None:
        file.write_text(record)
    program(tmp_path, "cutover", f'[ "$*" = "evidence append" ] && cat >{taken}; exit {code}')
    (command,) = re.findall(r"^ExecStopPost=\+(.*)$", units["cutover-daily.service"], re.MULTILINE)
    command = command.replace(RECORD, str(file)).replace("/usr/local/bin/cutover", f"{tmp_path}/cutover")
    assert subprocess.run(shlex.split(command), check=False).returncode == code
    assert (taken.read_text() if taken.exists() else None) == sealed


@pytest.mark.parametrize(("record", "code", "copied"), [("{}\n", 3, True), ("", 0, False)])
def test_a_sealed_day_is_copied_into_the_backups_bucket(tmp_path: Path, record: str, code: int, copied: bool) -> None:
    """Thirty days of records that only the data host has go with its disk."""
    role = "arn:aws:iam::123456789012:role/evidence"
    unit = installed(tmp_path, evidence_role_arn=role)["cutover-daily.service"]
    seal, copy = re.findall(r"^ExecStopPost=(.*)$", unit, re.MULTILINE)
    assert seal.startswith("+")
    assert copy.startswith("-")  # as www-data; a copy that fails takes nothing back
    file, asked = tmp_path / "record.json", tmp_path / "asked"
    file.write_text(record)
    program(tmp_path, "cutover", f'echo "$*" >{asked}; echo said; exit 3')
    command = copy[1:].replace(RECORD, str(file)).replace("/usr/local/bin/cutover", f"{tmp_path}/cutover")
    ran = subprocess.run(shlex.split(command), check=False, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (code, "")  # its output would be a record
    expected = f"evidence copy --env-file {tmp_path}/staging.env --role-arn {role}\n"
    assert (asked.read_text() if asked.exists() else None) == (expected if copied else None)


def test_without_its_role_there_is_no_copy(units: dict[str, str]) -> None:
    assert units["cutover-daily.service"].count("ExecStopPost=") == 1


def test_the_daily_check_begins_without_yesterdays_record(units: dict[str, str]) -> None:
    """A run that ends in an error would seal the day before again; what it says beside the record is none."""
    unit = units["cutover-daily.service"]
    assert f"\nExecStartPre=+/bin/rm --force {RECORD}\n" in unit
    assert f"\nStandardOutput=append:{RECORD}\nStandardError=journal\n" in unit


def test_the_tools_state_stays_root_s(units: dict[str, str]) -> None:
    """By StateDirectory= systemd gives all of it to the unit's user, the evidence and what machines remember, too."""
    services = {name: text for name, text in units.items() if name.endswith(".service")}
    assert services
    for text in services.values():
        assert "\nStateDirectory=" not in text
        assert f"\nReadWritePaths={STATE}\n" in text


def test_the_workers_user_replaces_nothing_that_root_trusts(tmp_path: Path) -> None:
    """It would begin a chain of evidence of its own, and the next step would trust it."""
    (task,) = (task for task in yaml.safe_load(PREPARE.read_text())[0]["tasks"] if STATE in str(task))
    state = tmp_path / "state"
    made = [json.loads(json.dumps(task).replace(STATE, str(state)))]
    assert "failed=0" in play(tmp_path, made, ansible_become=False)
    (state / "evidence/000001.json").write_text("{}")
    (state / "test-certificates.jsonl").write_text("{}")

    def as_www_data(*command: str) -> int:
        ended = subprocess.run(command, cwd=state, user="www-data", group="www-data", extra_groups=[], check=False)
        return ended.returncode

    for command in (
        ("mv", "evidence", "other"),
        ("touch", "evidence/000002.json"),
        ("rm", "-f", "evidence/000001.json"),
        ("mv", "test-certificates.jsonl", "other"),
        ("ln", "-sfn", "/etc/passwd", "test-certificates.jsonl"),
    ):
        assert as_www_data(*command) != 0, command
    assert as_www_data("mkdir", "deltacrown-certificates-staging") == 0  # or no run could be paused, nor a row accepted
    assert "changed=0" in play(tmp_path, made, ansible_become=False)


def test_the_alarm_names_the_timer_that_exists(units: dict[str, str]) -> None:
    """The on-call's next command would say "could not be found"."""
    assert TABLE.next_command("no-consistency-check", "staging").split()[-1] in units


def test_only_the_checks_take_the_read_only_role(tmp_path: Path, units: dict[str, str]) -> None:
    """A sweep that cannot write marks nothing; a check under the workers' role could write."""
    assert not [name for name, text in units.items() if "--role-arn" in text]
    with_role = installed(tmp_path, readonly_role_arn=READONLY, time_scale=20)
    assert {name for name, text in with_role.items() if f"--role-arn {READONLY}\n" in text} == {
        "cutover-check.service",
        "cutover-daily.service",
    }
    assert f"OnUnitActiveSec={TABLE.data_tools.sweep.interval_seconds // 20}s\n" in with_role["deltacrown-sweep.timer"]


@pytest.mark.parametrize(
    ("line", "runs"),
    [
        ("CERT_S3_DUAL_WRITE=true", True),
        ("CERT_S3_DUAL_WRITE='True'", True),
        ("export CERT_S3_DUAL_WRITE=true", True),
        ("CERT_S3_DUAL_WRITE=false", False),
        ("# CERT_S3_DUAL_WRITE=true", False),
        ("OTHER_CERT_S3_DUAL_WRITE=true", False),
        ("", False),
    ],
)
def test_the_sweep_is_skipped_unless_dual_write_is_on(
    directory: Path, units: dict[str, str], line: str, runs: bool
) -> None:
    """A unit that fails every five minutes before step 1 teaches everybody to ignore failed units."""
    (directory / "staging.env").write_text(f"A=b\n{line}\n")
    (condition,) = re.findall("^ExecCondition=(.*)$", units["deltacrown-sweep.service"], re.MULTILINE)
    assert (subprocess.run(["sh", "-c", condition], check=False).returncode == 0) == runs


def test_systemd_understands_the_units(tmp_path: Path, units: dict[str, str]) -> None:
    """An unknown setting is one warning in a journal, and the unit runs without it."""
    for name, text in units.items():  # the command of the machines is none of this machine's
        (tmp_path / name).write_text(text.replace("/usr/local/bin/cutover", "/bin/true"))
    verified = subprocess.run(
        ["systemd-analyze", "verify", *(tmp_path / name for name in units)], capture_output=True, text=True, check=False
    )
    assert (verified.returncode, [line for line in verified.stderr.splitlines() if str(tmp_path) in line]) == (0, [])


@pytest.mark.parametrize(("status", "failures"), [("1", 0), ("3", 0), ("4", 1)])
def test_a_data_host_on_which_a_tool_cannot_look_is_refused(tmp_path: Path, status: str, failures: int) -> None:
    """A check that never reached the database would be found by its alarm, a day later."""
    program(tmp_path, "systemctl", f'case "$*" in *ExecMainStatus*) echo {status} ;; *InvocationID*) echo 5eed ;; esac')
    words = "cutover: the database cannot be reached"
    search_path = program(tmp_path, "journalctl", f'case "$*" in *_SYSTEMD_INVOCATION_ID=5eed*) echo "{words}" ;; esac')
    prove = {"ansible.builtin.include_role": {"name": "data_tools", "tasks_from": "prove"}}
    said = play(tmp_path, [prove], search_path, ansible_become=False, data_tools_unit={"name": "cutover-check"})
    assert f"failed={failures}" in said
    assert f"localhost: cutover-check.service ended with {status}: {words}" in said
    assert ("Look: journalctl -u cutover-check" in said) == bool(failures)
    assert "changed=0" in said


@pytest.mark.parametrize("deployment", get_args(plan.Deployment))
def test_the_rehearsals_check_runs_under_the_read_only_role(deployment: plan.Deployment) -> None:
    """The rehearsal would prove a check that could have written."""
    variables = yaml.safe_load((PLAYBOOKS / f"inventories/rehearsal/group_vars/{deployment}.yml").read_text())
    assert variables["readonly_role_arn"].endswith(f":role/{TABLE.deployments[deployment].readonly_role}")


def test_the_rehearsals_evidence_is_copied_under_its_role() -> None:
    """The rehearsal would prove a copy that the deployed role may not make."""
    variables = yaml.safe_load((PLAYBOOKS / "inventories/rehearsal/group_vars/all.yml").read_text())
    assert variables["evidence_role_arn"].endswith(f":role/{TABLE.deployments['production'].evidence_role}")
