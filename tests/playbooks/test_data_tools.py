"""The data tools' units as prepare-hosts.yml installs them; on booted machines: tests/fleet/test_data_tools.py."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, Any, get_args

import pytest
import yaml

from cutover import plan
from tests.playbooks.local_play import PLAYBOOKS, play, program

if TYPE_CHECKING:
    from pathlib import Path

ROLE = PLAYBOOKS / "roles/data_tools"
TABLE = plan.load()
READONLY = "arn:aws:iam::123456789012:role/readonly"


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
    environment_file = directory / "staging.env"
    said = play(directory, [*load, *write], environment_file=str(environment_file), **variables)
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
    assert f"OnUnitActiveSec={TABLE.data_tools.check.interval_hours * 3600}s\n" in units["cutover-check.timer"]


def test_the_alarm_names_the_timer_that_exists(units: dict[str, str]) -> None:
    """The on-call's next command would say "could not be found"."""
    assert TABLE.next_command("no-consistency-check", "staging").split()[-1] in units


def test_only_the_check_takes_the_read_only_role(tmp_path: Path, units: dict[str, str]) -> None:
    """A sweep that cannot write marks nothing; a check under the workers' role could write."""
    assert not [name for name, text in units.items() if "--role-arn" in text]
    with_role = installed(tmp_path, readonly_role_arn=READONLY, time_scale=20)
    assert [name for name, text in with_role.items() if f"--role-arn {READONLY}\n" in text] == ["cutover-check.service"]
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
