"""`cutover rollback-preview` on booted machines: what a healthy fleet would meet, asked of real S3, table and disk."""

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


def rollback_preview(deployment: str) -> tuple[int, dict[str, Any]]:
    """Exit code and document, asked on the control machine."""
    command: list[str | Path] = [
        Path(sys.executable).parent / "cutover",
        "rollback-preview",
        "--json",
        "--deployment",
        deployment,
    ]
    run = subprocess.run(
        [*command, "-i", "inventories/rehearsal"],
        cwd=REPOSITORY / "playbooks",
        env={name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout, run.stderr
    found: dict[str, Any] = json.loads(run.stdout)
    return run.returncode, found


def test_a_fleet_whose_files_lie_locally_may_be_rolled_back(deployed: Lab) -> None:
    """The one answer that an on-call acts upon, from the programs that really run there."""
    assert deployed.ssh_config.exists()
    code, seen = rollback_preview("staging")
    # A site without any certificate proves nothing; other tests of this session may have issued some.
    assert (code, seen["not_measured"]) == (0 if seen["files"] else 3, []), seen
    assert (seen["only_in_s3"], seen["quarantined"], seen["purged"]) == (0, 0, 0)
    assert [worker["problem"] for worker in seen["workers"]] == [""] * len(seen["workers"])
    assert seen["degraded"].keys() == {"local", "uploads", "reads", "inconsistency"}
