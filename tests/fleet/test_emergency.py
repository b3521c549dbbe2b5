"""The machine script and the emergency rollback on booted machines."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

from cutover import fleet
from rehearsal import playbook
from rehearsal.deployed_site import flip
from rehearsal.deployed_site import status_of as status
from rehearsal.lab import access
from rehearsal.lab.topology import MACHINES

if TYPE_CHECKING:
    from pathlib import Path

    from rehearsal.lab import Lab

LOCAL, DUAL = "false,false,false", "true,false,true"


def test_rollback_by_hand_proves_new_processes(deployed: Lab) -> None:
    """On one machine, without the control machine: the last way that must work."""
    assert flip(deployed, "web1", DUAL)["done"] is True
    before = {process["pid"] for process in status(deployed, "web1")["processes"]}
    report = fleet.machine_report(deployed.run("web1", ["sudo", "deltacrown-s3-rollback"]))
    assert report["done"] is True
    assert {process["worker"] for process in report["processes"]} == set(MACHINES["web1"].workers)
    assert fleet.processes_not_holding(report["processes"], LOCAL) == []
    assert not before & {process["pid"] for process in report["processes"]}


def test_lost_connection_leaves_the_machine_wholly_rolled_back(deployed: Lab) -> None:
    """Half a machine on S3 after a dropped ssh is a state that nobody can name."""
    flip(deployed, "web1", DUAL)
    connection = subprocess.Popen(
        access.command(MACHINES["web1"], ["sudo", "deltacrown-s3-rollback"]), stdout=subprocess.PIPE, text=True
    )
    assert connection.stdout is not None
    assert "worker1" in connection.stdout.readline()  # the first worker is done, the others are not yet
    connection.kill()
    connection.communicate()
    deadline = time.monotonic() + 20
    while (report := status(deployed, "web1"))["failed"] or fleet.processes_not_holding(report["processes"], LOCAL):
        assert time.monotonic() < deadline, report
        time.sleep(0.5)
    assert len(report["processes"]) >= 2 * len(MACHINES["web1"].workers)


def test_crash_in_the_middle_of_a_roll_keeps_the_flags_of_that_worker(deployed: Lab) -> None:
    """A crash applies what the file says: a canary that dies must come back as a canary, its neighbour as before."""
    epoch = str(status(deployed, "web1")["epoch"])
    canary = ["sudo", "deltacrown-s3-rollback", "--flags", DUAL, "--epoch", epoch, "--workers", "worker4"]
    deployed.run("web1", canary)
    pids = [str(process["pid"]) for process in status(deployed, "web1")["processes"]]
    deployed.run("web1", ["sudo", "kill", "-KILL", *pids])
    deadline = time.monotonic() + 20
    while len((report := status(deployed, "web1"))["processes"]) < len(pids):
        assert time.monotonic() < deadline, report
        time.sleep(0.5)
    strangers = {text.split()[0] for text in fleet.processes_not_holding(report["processes"], LOCAL)}
    assert strangers == {"worker4"}
    deployed.run("web1", ["sudo", "deltacrown-s3-rollback"])


def test_emergency_wins_over_a_step_that_is_still_running(deployed: Lab) -> None:
    """A step on somebody else's laptop must not put workers back on S3 after the rollback."""
    epoch = str(status(deployed, "web1")["epoch"])
    step = subprocess.Popen(
        access.command(MACHINES["web1"], ["sudo", "deltacrown-s3-rollback", "--flags", DUAL, "--epoch", epoch]),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert step.stdout is not None
    assert "worker1" in step.stdout.readline()  # one worker is flipped, three are still to come
    report = fleet.machine_report(deployed.run("web1", ["sudo", "deltacrown-s3-rollback"]))
    _, said = step.communicate(timeout=60)
    assert report["done"] is True
    assert step.returncode == 6, said
    assert "an emergency rollback came first" in said
    after = status(deployed, "web1")
    assert after["failed"] == []
    assert fleet.processes_not_holding(after["processes"], LOCAL) == []


def test_restart_of_the_umbrella_restarts_every_worker(deployed: Lab) -> None:
    """The runbook's own command must do what it says."""
    before = {process["pid"] for process in status(deployed, "web2")["processes"]}
    deployed.run("web2", ["sudo", "systemctl", "restart", "deltacrown-uwsgi"])
    after = {process["pid"] for process in status(deployed, "web2")["processes"]}
    assert len(after) >= 2 * len(MACHINES["web2"].workers)
    assert not before & after


def test_dead_machine_is_named_and_keeps_nobody_waiting(deployed: Lab, tmp_path: Path) -> None:
    """One machine without power must not keep the others on a failing S3."""
    for machine in ("web1", "web3"):
        flip(deployed, machine, DUAL)
    deployed.power_off("web2")
    try:
        run = playbook.run("emergency-rollback.yml", "-e", "deployment=production", log_directory=tmp_path)
    finally:
        deployed.power_on("web2")
    said = " ".join(run.output.split())
    assert run.returncode != 0
    assert "web2 cannot be reached" in said
    for machine in ("web1", "web3"):
        assert f"{machine}: done" in said
        report = status(deployed, machine)
        assert report["failed"] == []
        assert fleet.processes_not_holding(report["processes"], LOCAL) == []


def test_only_chosen_workers_are_rolled_back(deployed: Lab, tmp_path: Path) -> None:
    """`limit_workers` takes one bad worker off S3 and leaves the rest in its mode."""
    flip(deployed, "web3", DUAL)
    run = playbook.run(
        "emergency-rollback.yml", "-e", "deployment=production", "-e", "limit_workers=worker3", log_directory=tmp_path
    )
    assert run.returncode == 0, run.output
    strangers = {text.split()[0] for text in fleet.processes_not_holding(status(deployed, "web3")["processes"], DUAL)}
    assert strangers == {"worker3"}
    deployed.run("web3", ["sudo", "deltacrown-s3-rollback"])
