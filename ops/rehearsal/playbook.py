"""Runs the operators' playbooks exactly as they would, with the rehearsal's inventory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PlaybookRun", "run"]

REPOSITORY = Path(__file__).resolve().parents[2]
PLAYBOOK_SECONDS = 600.0  # step 1 takes half a minute; more than this is a hang
LAST_LINES = 12


@dataclass(frozen=True)
class PlaybookRun:
    """The outcome of one ansible-playbook call; `log` holds its whole output."""

    returncode: int
    seconds: float
    output: str
    log: Path

    def last_lines(self) -> str:
        """What Ansible said last of a failure, for people."""
        failures = [
            line for line in self.output.splitlines() if line.startswith(("fatal:", "[ERROR]")) or '"msg"' in line
        ]
        lines = failures or self.output.splitlines()
        return "\n".join([*lines[-LAST_LINES:], f"(all of it: {self.log})"])


def run(playbook: str, *arguments: str, log_directory: Path) -> PlaybookRun:
    """Calls `ansible-playbook -i inventories/rehearsal <playbook>` from playbooks/; never raises for a failed play."""
    log_directory.mkdir(parents=True, exist_ok=True)
    log = log_directory / f"{int(time.time() * 1000)}-{Path(playbook).stem}.log"
    began = time.monotonic()
    result = subprocess.run(
        ["ansible-playbook", "-i", "inventories/rehearsal", playbook, *arguments],
        cwd=REPOSITORY / "playbooks",
        env=os.environ
        | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_CONFIG": str(REPOSITORY / "playbooks/ansible.cfg"),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PLAYBOOK_SECONDS,
        check=False,
    )
    log.write_text(result.stdout, encoding="utf-8")
    return PlaybookRun(result.returncode, time.monotonic() - began, result.stdout, log)
