"""Log delivery and probe as prepare-hosts.yml installs them; on booted machines the rehearsal runs the whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from cutover import names, plan
from tests.playbooks.local_play import PLAYBOOKS, play, program

FILES = PLAYBOOKS / "roles/log_delivery/files"
TABLE = plan.load()


@pytest.mark.parametrize("inventory", ["deltacrown", "rehearsal"])
@pytest.mark.parametrize("deployment", ["staging", "production"])
def test_lines_go_where_the_filters_look(inventory: str, deployment: plan.Deployment) -> None:
    """Lines in another group raise no alarm, and the delivery proof would pass."""
    variables = yaml.safe_load((PLAYBOOKS / f"inventories/{inventory}/group_vars/{deployment}.yml").read_text())
    assert variables["log_group"] == names.log_group(TABLE.telemetry, deployment)


def test_the_probes_proof_looks_for_the_tables_line() -> None:
    """A renamed measurement would refuse every machine."""
    variables = yaml.safe_load((PLAYBOOKS / "roles/probe/vars/main.yml").read_text())
    assert variables["probe_measured"] == f"METRIC: {TABLE.measurements['probe_put_ms']}="


@pytest.mark.parametrize("endpoint", ["", "https://10.213.77.1:4566"])
def test_agents_settings(tmp_path: Path, endpoint: str) -> None:
    """The agent ignores what it cannot read, and ships nothing."""
    source = PLAYBOOKS / "roles/log_delivery/templates/deltacrown.json.j2"
    destination = tmp_path / "deltacrown.json"
    task = {"ansible.builtin.template": {"src": str(source), "dest": str(destination), "mode": "0600"}}
    said = play(
        tmp_path,
        [task],
        aws_region="us-east-1",
        log_group="/deltacrown/certificates/staging",
        log_delivery_endpoint=endpoint,
    )
    assert "failed=0" in said
    document = json.loads(destination.read_text())
    shipped = {
        "file_path": "/var/log/deltacrown/journal.log",
        "log_group_name": "/deltacrown/certificates/staging",
        "log_stream_name": "localhost",
    }
    assert document["logs"].pop("endpoint_override", "") == endpoint
    assert document == {
        "agent": {"region": "us-east-1"},
        "logs": {"logs_collected": {"files": {"collect_list": [shipped]}}},
    }


def test_the_file_that_is_written_is_the_one_that_is_shipped() -> None:
    """Both ends would run, and nothing arrive."""
    assert "append:/var/log/deltacrown/journal.log\n" in (FILES / "deltacrown-journal.service").read_text()
    assert (FILES / "logrotate.conf").read_text().splitlines()[2] == "/var/log/deltacrown/journal.log {"


def test_a_machine_without_the_agent_is_refused_before_anything_is_changed(tmp_path: Path) -> None:
    """Everything would be installed and started, and no line arrive."""
    role = {"ansible.builtin.import_role": {"name": "log_delivery"}}
    said = play(tmp_path, [role], program(tmp_path, "systemctl", "echo not-found"), **SITE)
    assert (
        "localhost has no unit amazon-cloudwatch-agent.service (systemd says: not-found): install AWS's package" in said
    )
    assert "changed=0" in said
    assert "failed=1" in said


def prove(role: str) -> dict[str, Any]:
    return {"ansible.builtin.include_role": {"name": role, "tasks_from": "prove"}}


SITE = {"ansible_become": False, "aws_region": "us-east-1", "log_group": "/g", "environment_file": "/e"}


def test_a_line_that_does_not_arrive_fails_and_names_machine_and_seconds(tmp_path: Path) -> None:
    """The alarms are blind on this machine, and the preparation ends well."""
    script = 'case "$*" in *delivered*) echo "cutover: /g: no event within 60 s" >&2; exit 1 ;; esac'
    said = play(tmp_path, [prove("log_delivery")], program(tmp_path, "systemd-run", script), **SITE)
    assert "localhost: a marked line did not arrive in CloudWatch, cutover: /g: no event within 60 s" in said
    assert "failed=1" in said


def test_delivery_is_asked_under_the_workers_user_and_changes_nothing(tmp_path: Path) -> None:
    """Root's credentials may search what the role may not; a second run of the playbook must report no change."""
    script = f'echo "$*" >>{tmp_path}/calls; case "$*" in *delivered*) echo 1.2 ;; esac'
    said = play(tmp_path, [prove("log_delivery")], program(tmp_path, "systemd-run", script), **SITE)
    assert "a marked line arrived in /g after 1.2 s" in said
    assert "changed=0" in said
    logged, asked = (tmp_path / "calls").read_text().splitlines()
    mark = logged.partition("/bin/echo ")[2]
    assert mark.startswith("delivery-proof-localhost-")
    assert "--unit=cutover-delivery-proof.service" in logged
    assert "--property=User=www-data --property=EnvironmentFile=/e /usr/local/bin/cutover delivered" in asked
    assert asked.endswith(f"--log-group /g --mark {mark} --region us-east-1")


@pytest.mark.parametrize(
    ("said_by_probe", "failures"),
    [("METRIC: cert.s3.probe.put_ms=12", 0), ("METRIC: cert.s3.probe.fail=1", 1), ("", 1)],
)
def test_a_probe_that_uploads_nothing_is_refused(tmp_path: Path, said_by_probe: str, failures: int) -> None:
    """A probe under a role that may not write would be found by its alarm, at night."""
    # Only the present start of the probe counts: what its predecessor uploaded proves nothing.
    program(tmp_path, "systemctl", "echo 5eed")
    said_now = f'case "$*" in *_SYSTEMD_INVOCATION_ID=5eed*) echo "{said_by_probe}" ;; esac'
    search_path = program(tmp_path, "journalctl", said_now)
    said = play(tmp_path, [prove("probe")], search_path, ansible_become=False, probe_looks=1)
    assert f"failed={failures}" in said
    assert ("localhost: the probe wrote no METRIC: cert.s3.probe.put_ms= in 2 s" in said) == bool(failures)


@pytest.mark.skipif(Path("/usr/local/bin/cutover").exists(), reason="this machine has the command")
def test_a_machine_without_the_command_is_refused_first(tmp_path: Path) -> None:
    """The probe's unit would be installed, and fail every five seconds."""
    hosts = tmp_path / "hosts.yml"
    hosts.write_text(
        "machines: {hosts: {m1: {ansible_connection: local, environment_file: /nowhere}}}\ndata_host: {}\n"
    )
    result = subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", "-i", hosts, "prepare-hosts.yml", "--check"],
        cwd=PLAYBOOKS,
        env=os.environ | {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_CONFIG": str(PLAYBOOKS / "ansible.cfg")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode != 0
    assert "m1 has no command /usr/local/bin/cutover: install this repository" in " ".join(result.stdout.split())
    assert "Look at the application's environment file" not in result.stdout


# Runs a journald of its own and the program that copies the journal, in a mount and a process namespace; /run and
# /var/log are empty there. A message belongs to a unit by the sender's control group, which this cannot choose; but
# journalctl also counts what root logs as a unit's core dump among the unit's messages.
COPYING = """
mount --make-rprivate / && mount -t tmpfs none /run && mount -t tmpfs none /var/log
mkdir -p /run/systemd/journal /var/log/journal
/lib/systemd/systemd-journald & journald=$!
until [ -S /run/systemd/journal/socket ]; do sleep 0.1; done
say() {
    printf 'MESSAGE_ID=fc2e22bc6ee647b6b90729ab34a250b1\\nCOREDUMP_UNIT=%s\\nMESSAGE=%s\\n' "$1" "$2" |
        logger --journald
    sleep 0.3
}
copy() { "$program" >>"$out" & copier=$!; }
end() { sleep "$1"; kill "$copier"; wait "$copier" || exit 9; }
say deltacrown-uwsgi@worker1.service "before the installation"
copy; sleep 0.5
say deltacrown-uwsgi@worker1.service one
say cron.service "not ours"
say cutover-delivery-proof.service two
say deltacrown-sweep.service swept
say deltacrown-backfill-2.service "BACKFILL batch"
end 2.5
say deltacrown-probe.service "three, while nothing copied"
copy; end 0.5
kill $journald
"""


def test_a_full_disk_keeps_the_cursor_where_it_was(tmp_path: Path) -> None:
    """journalctl ends well when nothing could be written, and the lines of the outage are lost for good."""
    (tmp_path / "cursor").write_text("before")
    moves = 'for each in "$@"; do case $each in --cursor-file=*) echo after >"${each#*=}" ;; esac; done; echo a line'
    search_path = program(tmp_path, "journalctl", moves)
    environment = {"PATH": f"{search_path}:{os.environ['PATH']}", "STATE_DIRECTORY": str(tmp_path)}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [FILES / "deltacrown-journal"],
            env=environment,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=20,
            check=False,
        )
    assert done.returncode != 0
    assert (tmp_path / "cursor").read_text() == "before"


@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and a journal of one's own need root")
def test_each_message_is_copied_once_across_restarts(tmp_path: Path) -> None:
    """A lost line is an uncounted failure; a repeated one counts a failure twice and pages."""
    subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-eu", "-c", COPYING],
        env=os.environ
        | {
            "STATE_DIRECTORY": str(tmp_path),
            "out": str(tmp_path / "out"),
            "program": str(FILES / "deltacrown-journal"),
        },
        check=True,
        capture_output=True,
        timeout=60,
    )
    assert (tmp_path / "out").read_text().splitlines() == [
        *("one", "two", "swept", "BACKFILL batch"),
        "three, while nothing copied",
    ]
