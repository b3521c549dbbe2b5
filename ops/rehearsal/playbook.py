"""Runs the operators' playbooks exactly as they would, with the rehearsal's inventory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from rehearsal.lab.topology import REPOSITORY

__all__ = ["PlaybookRun", "run"]

PLAYBOOK_SECONDS = 600.0  # step 1 takes half a minute; more than this is a hang
LAST_LINES = 12


@dataclass(frozen=True)
class PlaybookRun:
    """The outcome of one ansible-playbook call; `log` holds its whole output, also of one that was interrupted."""

    returncode: int
    output: str
    log: Path

    def last_lines(self) -> str:
        """What Ansible said last of a failure, for people."""
        lines = self.output.splitlines()
        failures = [line for line in lines if line.startswith(("fatal:", "[ERROR]")) or '"msg"' in line]
        return "\n".join([*(failures or lines)[-LAST_LINES:], f"(all of it: {self.log})"])


def run(playbook: str, *arguments: str, log_directory: Path) -> PlaybookRun:
    """Calls `ansible-playbook -i inventories/rehearsal <playbook>` from playbooks/; a failed play is no exception.

    Raises:
        subprocess.TimeoutExpired: the playbook did not end in time; it was ended.
    """
    log_directory.mkdir(parents=True, exist_ok=True)
    log = log_directory / f"{int(time.time() * 1000)}-{Path(playbook).stem}.log"
    own = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    with log.open("w", encoding="utf-8") as output:
        result = subprocess.run(
            ["ansible-playbook", "-i", "inventories/rehearsal", playbook, *arguments],
            cwd=REPOSITORY / "playbooks",
            env=own
            | {
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
                "ANSIBLE_NOCOLOR": "1",
                "ANSIBLE_CONFIG": str(REPOSITORY / "playbooks/ansible.cfg"),
                "DELTACROWN_REHEARSAL": "1",
            },
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=PLAYBOOK_SECONDS,
            check=False,
        )
    return PlaybookRun(result.returncode, log.read_text(encoding="utf-8"), log)
