"""A deployment of two machines on this one: whatever a playbook asks a machine is answered from files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from cutover import plan
from tests.playbooks.local_play import playbooks_calling, program

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MACHINES", "Deployment"]

MACHINES = ("m1", "m2")
# Says what lies in the file of its first word, or words; TIME becomes now.
ANSWER = """
answer() {
    [ -e "$answers/$1.json" ] || { echo "nobody has said what $1 answers" >&2; exit 99; }
    sed "s/TIME/$(date +%s.%N)/" "$answers/$1.json"
    [ ! -e "$answers/$1.err" ] || cat "$answers/$1.err" >&2
    [ ! -e "$answers/$1.rc" ] || exit "$(cat "$answers/$1.rc")"
}
"""
CUTOVER = """
case "$1 $*" in
    evidence*|alarms*) answer "$1-$2" ;;
    machine*m2*) answer machine-m2 ;;
    machine*) answer machine-m1 ;;
    *) answer "$1" ;;
esac
"""
ROOMY = {"f_frsize": 4096, "f_blocks": 10_000_000, "f_bavail": 5_000_000, "f_files": 1000, "f_favail": 900}


@dataclass(frozen=True)
class Deployment:
    """Staging in the mode from which a step starts, and its answers, which a test changes."""

    directory: Path
    playbooks: Path
    inventory: Path

    @classmethod
    def ready_for(cls, directory: Path, number: int) -> Deployment:
        """A deployment that gives no reason to refuse this step."""
        answers = directory / "answers"
        answers.mkdir()
        programs = directory / "bin"
        programs.mkdir()
        head = f"answers={answers}\n{ANSWER}"
        program(programs, "cutover", head + CUTOVER)
        program(programs, "deltacrown-s3-rollback", f"{head}answer status")
        program(programs, "systemd-run", f"{head}answer site")
        made = cls(directory, playbooks_calling(directory, f"{programs}/cutover"), directory / "hosts.yml")
        made._write_inventory()
        for machine in MACHINES:
            made.says(f"machine-{machine}", {"time": "TIME", "tools": "0.1.0 with script aa", "disks": {"/m": ROOMY}})
        made.says("status", made._status(number))
        made.says("evidence-list", [])
        made.says("evidence-require", {"allowed": True, "reasons": [], "next": ""})
        made.says("alarms-live", {"verdict": "PASS", "alarms": []})
        made.says("doctor", [])
        made.says("site", {"verdict": "PASS", "findings": []})
        return made

    def says(self, name: str, document: Any, code: int = 0, stderr: str = "") -> None:
        """Sets what a program answers: a JSON document or a text, its exit code, and what it says beside."""
        text = document if isinstance(document, str) else json.dumps(document).replace('"TIME"', "TIME")
        answers = self.directory / "answers"
        (answers / f"{name}.json").write_text(f"{text}\n" if text else "")
        (answers / f"{name}.rc").write_text(str(code))
        (answers / f"{name}.err").write_text(stderr)

    def play(self, playbook: str, *arguments: str) -> tuple[int, str]:
        """The exit code of a playbook on this deployment, and what Ansible said, on one line."""
        result = subprocess.run(
            [f"{sys.executable.rpartition('/')[0]}/ansible-playbook", "-i", self.inventory, playbook, *arguments],
            cwd=self.playbooks,
            env=os.environ
            | {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_CONFIG": f"{self.playbooks}/ansible.cfg", "USER": "amina"}
            | {"PATH": f"{self.directory}/bin:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return result.returncode, " ".join((result.stdout + result.stderr).split())

    @staticmethod
    def _status(number: int) -> str:
        table = plan.load()
        flags = {str(name): value for name, value in table.modes[table.steps[number].from_mode].flags.items()}
        process = {"machine": "m", "worker": "worker1", "pid": 7, "proven": True, **flags}
        return f"{json.dumps(process)}\n{json.dumps({'done': True, 'epoch': 3, 'failed': []})}"

    def _write_inventory(self) -> None:
        environment = self.directory / "staging.env"
        environment.write_text("DATABASE_URL=postgres://a\nAWS_STORAGE_BUCKET_NAME=b\n")
        machines = {}
        for machine in MACHINES:
            media = self.directory / machine
            media.mkdir()
            machines[machine] = {"ansible_host": "127.0.0.1", "media_root": str(media)}
        workers = {
            f"w-{machine}": {
                "ansible_host": "127.0.0.1",
                "machine": machine,
                "worker_unit": "deltacrown-uwsgi@worker1.service",
            }
            for machine in MACHINES
        }
        shared = {
            "ansible_connection": "local",
            "ansible_become": False,
            "test_upload": "http",
            "environment_file": str(environment),
            "site_directory": "/site",
            "site_python": "/site/python",
            "site_settings": "site.settings",
        }
        groups = {
            "staging_workers": {"hosts": workers},
            "staging_machines": {"hosts": machines},
            "staging_data_host": {"hosts": {"m1": None}},
        }
        self.inventory.write_text(yaml.safe_dump({"all": {"vars": shared, "children": groups}}))
