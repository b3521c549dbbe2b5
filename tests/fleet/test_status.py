"""`cutover status` on booted machines: all workers in one look, and one that does not run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rehearsal.lab.topology import REPOSITORY

if TYPE_CHECKING:
    from rehearsal.lab import Lab

WORKER = ("deltacrown-uwsgi@worker2.socket", "deltacrown-uwsgi@worker2.service")


def look(*arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit code and document, asked from a directory deep in the checkout."""
    run = subprocess.run(
        [
            str(Path(sys.executable).parent / "cutover"),
            "status",
            "-i",
            "../inventories/rehearsal",
            "--json",
            *arguments,
        ],
        cwd=REPOSITORY / "playbooks/roles",
        env={name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout, run.stderr
    found: dict[str, Any] = json.loads(run.stdout)
    return run.returncode, found


def workers_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [worker for state in document["deployments"] for worker in state["workers"]]


def test_twelve_workers_are_shown_in_one_look(deployed: Lab) -> None:
    """Wanted: under three seconds; how many it took depends on what else the host does, so it is printed."""
    assert deployed.ssh_config.exists()
    code, document = look()
    print(f"cutover status: {document['seconds']} s")
    workers = workers_of(document)
    assert len(workers) == 12
    assert code != 4, [state["unasked"] for state in document["deployments"]]
    assert [worker for worker in workers if worker["problem"] or not worker["pid"]] == []
    for state in document["deployments"]:
        assert state["evidence"]
        assert state["alarms_ok"] is not None
        assert state["last"]["check"]["at"]


def test_a_stopped_worker_is_amiss(deployed: Lab) -> None:
    """Its socket is down, too, or the next request would start it again before anybody looks."""
    deployed.run("staging1", ["sudo", "systemctl", "stop", *WORKER])
    try:
        code, document = look("--deployment", "staging")
    finally:
        deployed.run("staging1", ["sudo", "systemctl", "start", *WORKER])
    assert code == 1
    (stopped,) = (worker for worker in workers_of(document) if worker["problem"])
    assert (stopped["worker"], stopped["problem"]) == ("staging-worker2", "runs no process")
    assert "staging-worker2 on staging1: runs no process" in document["deployments"][0]["amiss"]
