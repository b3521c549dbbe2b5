"""What the playbooks refuse before they connect anywhere; booted machines: tests/fleet."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from cutover import plan

PLAYBOOKS = Path(__file__).resolve().parents[2] / "playbooks"
WORKER = {
    "ansible_host": "127.0.0.1",
    "machine": "m1",
    "worker_unit": "deltacrown-uwsgi@worker1.service",
}


def inventory(tmp_path: Path, worker: dict[str, str], **variables: object) -> Path:
    """One machine with one worker; port 9 answers nobody, so an attempt to connect shows as UNREACHABLE."""
    hosts = {"m1": {"ansible_host": "127.0.0.1"}}
    document = {
        "all": {
            "vars": {
                "ansible_port": 9,
                "media_root": "/nowhere",
                "test_upload": "http",
                "approver": "bilal",
                **variables,
            },
            "children": {
                "staging_workers": {"hosts": {"w1": worker}},
                "staging_machines": {"hosts": hosts},
                "staging_data_host": {"hosts": {"m1": None}},
                "machines": {"hosts": {"m1": None}},
            },
        }
    }
    path = tmp_path / "hosts.yml"
    path.write_text(yaml.safe_dump(document))
    return path


def play(playbook: str, hosts: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", "-i", hosts, playbook, *arguments],
        cwd=PLAYBOOKS,
        env=os.environ | {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_CONFIG": str(PLAYBOOKS / "ansible.cfg"), "USER": "amina"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("playbook", "worker", "arguments", "sentence"),
    [
        ("go-live-step1.yml", WORKER, ["-e", "deployment=prod"], 'deployment is "prod"'),
        ("go-live-step1.yml", WORKER, ["-e", "deployment=production"], "step 1 belongs to staging"),
        ("go-live-step1.yml", WORKER | {"machine": "m9"}, [], "worker w1 is on machine m9"),
        ("go-live-step1.yml", {"ansible_host": "127.0.0.1"}, [], "worker w1 has no machine"),
        ("go-live-step1.yml", WORKER, ["-e", "time_scale=60"], "only the rehearsal's inventory may compress time"),
        ("emergency-rollback.yml", WORKER, ["-e", "deployment=prod"], 'deployment is "prod"'),
        ("emergency-rollback.yml", WORKER, ["-e", "deployment=staging", "-e", "scenario=read"], 'scenario is "read"'),
        ("emergency-rollback.yml", WORKER, [], "production_machines"),
        (
            "emergency-rollback.yml",
            WORKER,
            ["-e", "deployment=staging", "-e", "limit_workers=worker1,worker9"],
            "limit_workers names worker9",
        ),
        ("go-live-step1.yml", WORKER, ["-e", "test_upload=command"], "set test_upload_issue and test_upload_remove in"),
        ("go-live-step1.yml", WORKER, ["-e", "test_upload=mail"], 'test_upload is "mail"'),
        ("go-live-step1.yml", WORKER, ["--limit", "m1"], "leave out --limit"),
        ("go-live-step1.yml", WORKER, ["--limit", "w1"], "the preflight did not end well"),
        ("fleet-status.yml", WORKER, ["-e", "deployment=all"], 'deployment is "all"'),
        ("go-live-step2.yml", WORKER, ["-e", "approver="], "nobody approved this step: give -e approver=NAME"),
        (
            "go-live-step2.yml",
            WORKER,
            ["-e", "approver=Amina@example.com"],
            "Amina@example.com runs this step and cannot approve it",
        ),
        ("go-live-step3.yml", WORKER, [], "no database backup is named: make one and give -e database_backup="),
        ("go-live-step3.yml", WORKER, ["-e", "{'database_backup': '2026-01-01T02:00:00Z n-1'}"], "n-1 of 2026-01-01"),
        ("go-live-step3.yml", WORKER, ["-e", "{'database_backup': 'n-1'}"], "'n-1' does not begin with a time"),
    ],
)
def test_wrong_settings_end_before_any_connection(
    tmp_path: Path, playbook: str, worker: dict[str, str], arguments: list[str], sentence: str
) -> None:
    """A typing error must not touch a machine, least of all one of the other deployment."""
    result = play(playbook, inventory(tmp_path, worker), *arguments)
    assert result.returncode != 0
    assert sentence in " ".join(result.stdout.split())
    assert "UNREACHABLE" not in result.stdout


def test_unreachable_machine_fails_the_emergency_and_is_named(tmp_path: Path) -> None:
    """Ansible alone ends with 0 when nobody was asked; a rollback of nobody must not."""
    result = play("emergency-rollback.yml", inventory(tmp_path, WORKER), "-e", "deployment=staging")
    assert result.returncode != 0
    assert "m1 cannot be reached" in " ".join(result.stdout.split())


def test_step_ends_in_preflight_when_a_machine_is_unreachable(tmp_path: Path) -> None:
    """A machine that nobody can look at must not be counted as ready."""
    result = play("go-live-step1.yml", inventory(tmp_path, WORKER))
    assert result.returncode != 0
    assert "m1 did not end the preflight" in " ".join(result.stdout.split())


def test_a_recent_backup_and_a_second_person_let_a_step_look_at_its_machines(tmp_path: Path) -> None:
    """Refusals that nothing satisfies would be those of a broken check."""
    backup = f"{datetime.now(UTC).strftime('%Y-%m-%dT%H:%M:%SZ')} nightly"
    result = play("go-live-step3.yml", inventory(tmp_path, WORKER, database_backup=backup))
    assert "UNREACHABLE" in result.stdout
    assert "a second person" not in result.stdout


def test_emergency_with_limit_never_ends_well(tmp_path: Path) -> None:
    """`--limit` leaves out the play that reports: exit code 0 would then say nothing at all."""
    result = play("emergency-rollback.yml", inventory(tmp_path, WORKER), "-e", "deployment=staging", "--limit", "m1")
    assert result.returncode != 0


def test_emergency_knows_the_scenarios_of_the_table() -> None:
    """The emergency does not wait for the table to be read, so its own list must be the table's."""
    (check,) = re.findall(r"scenario in (\[.*\])", (PLAYBOOKS / "emergency-rollback.yml").read_text())
    assert yaml.safe_load(check) == list(plan.load().scenarios)
