"""Log lines on their way from booted machines to CloudWatch, and the probe that writes some of them."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from cutover import names, plan
from rehearsal import playbook
from rehearsal.lab.topology import DEPLOYMENTS, MACHINES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rehearsal.lab import Lab

POLICY = "CutoverTelemetry"
AGENT = "amazon-cloudwatch-agent.service"
JOURNAL = "/var/log/deltacrown/journal.log"
LINES = 300
# As fast as a busy worker; meanwhile the file is rotated as logrotate.conf says, and the agent is killed.
WRITE = f"""
write() {{
    number=0
    while [ $number -lt {LINES} ]; do
        number=$((number + 1))
        echo "$1 $number" >>{JOURNAL}
        sleep 0.01
    done
}}
write "$1" &
sleep 1
mv {JOURNAL} {JOURNAL}.1
systemctl try-restart deltacrown-journal.service
sleep 1
systemctl kill --signal=KILL {AGENT}
wait
"""


def delivered(lab: Lab, machine: str, holds: Callable[[list[str]], bool]) -> list[str]:
    """The machine's lines in CloudWatch of the last minutes, once they hold what is waited for."""
    deployment = MACHINES[machine].deployment
    assert deployment is not None
    group = names.log_group(plan.load().telemetry, deployment.name)  # type: ignore[arg-type]  # a name of the table
    since = int((time.time() - 300) * 1000)
    deadline = time.monotonic() + 30
    while True:
        pages = (
            lab.aws.logs()
            .get_paginator("filter_log_events")
            .paginate(logGroupName=group, logStreamNames=[machine], startTime=since)
        )
        lines = [event["message"] for page in pages for event in page["events"]]
        if holds(lines):
            return lines
        assert time.monotonic() < deadline, lines[-20:]
        time.sleep(0.5)


def test_machine_whose_delivery_is_denied_is_named(deployed: Lab, tmp_path: Path) -> None:
    """Without log lines every alarm is blind, and nobody would know before the first outage."""
    iam, role = deployed.aws.iam(), DEPLOYMENTS["staging"].role
    policy = iam.get_role_policy(RoleName=role, PolicyName=POLICY)["PolicyDocument"]
    iam.delete_role_policy(RoleName=role, PolicyName=POLICY)
    try:
        run = playbook.run("prepare-hosts.yml", "--limit", "staging_machines", log_directory=tmp_path)
    finally:
        iam.put_role_policy(RoleName=role, PolicyName=POLICY, PolicyDocument=json.dumps(policy))
    assert run.returncode != 0
    said = " ".join(run.output.split())
    assert "staging1: CloudWatch could not be asked for a marked line" in said
    assert "the role needs logs:" in said


def test_agent_survives_rotation_and_kill_without_losing_a_line(deployed: Lab) -> None:
    """The line that is lost is the one of the failure."""
    mark = f"rotation-{time.time_ns()}"
    deployed.run("web2", ["sudo", "sh", "-c", WRITE, "sh", mark])
    expected = {f"{mark} {number}" for number in range(1, LINES + 1)}
    lines = delivered(deployed, "web2", lambda found: expected <= set(found))
    own = [line for line in lines if line.startswith(mark)]
    numbers = [int(line.split()[1]) for line in dict.fromkeys(own)]
    assert numbers == sorted(numbers)
    # A slow machine may have written its last line before the kill: then the agent is still on its way back.
    deployed.run("web2", ["sudo", "systemctl", "start", AGENT])
    assert deployed.run("web2", ["systemctl", "show", "--property=NRestarts", "--value", AGENT]) != "0\n"


def test_probe_measures_on_every_machine(deployed: Lab) -> None:
    """The two p95 alarms watch the probe alone; on a machine without it they watch nothing."""
    wanted = set(plan.load().measurements.values()) - {"cert.consistency.mismatch_ratio"}

    def measured(lines: list[str]) -> dict[str, Any]:
        documents = [json.loads(line) for line in lines if line.startswith("{")]
        return {found["metric_name"]: found["value"] for found in documents if "metric_name" in found}

    for machine in MACHINES.values():
        if machine.workers:
            values = measured(delivered(deployed, machine.name, lambda lines: wanted <= measured(lines).keys()))
            assert 0 < values["cert.s3.probe.put_ms"] < 5000
            assert 0 < values["cert.s3.probe.get_ms"] < 5000
            assert 0 <= values["cert.s3.probe.workers_dual_write"] <= 1
