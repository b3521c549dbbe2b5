"""Production of three machines that are this one, with a load balancer and an AWS, for plays of a fence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.playbooks.local_play import PLAYBOOKS, program

SCRIPT = """
case "$1" in --status) what=status ;; *) what=rollback ;; esac
cat {answers}/$what.json
"""
CUTOVER = """
[ "$1" = fence ] || [ "$1" = unfence ] || exit 99
case "$*" in *--show*) cat {answers}/shown.json ;; *) echo "$@" >> {answers}/aws.calls; cat {answers}/aws.json ;; esac
cat {answers}/aws.err >&2; exit "$(cat {answers}/aws.rc)"
"""
PROGRAM = Path(sys.executable).parent / "ansible-playbook"
HOSTS = ["m1", "m2", "m3"]


def process(machine: str, flags: tuple[bool, bool, bool], *, proven: bool) -> dict[str, Any]:
    names = dict(zip(("dual_write", "read_primary", "backfill"), flags, strict=True))
    return {"machine": machine, "worker": "worker1", "pid": 7, "proven": proven, **names}


@dataclass(frozen=True)
class Fleet:
    """Production's machines m1 to m3, all on this one; a machine that is `away` answers nobody."""

    directory: Path

    @classmethod
    def of(cls, directory: Path, *, away: str = "m2") -> Fleet:
        """A fleet of which one machine cannot be reached, and an AWS that says yes."""
        made = cls(directory)
        (directory / "answers").mkdir()
        programs = directory / "bin"
        programs.mkdir()
        program(programs, "sudo", 'shift; exec "$@"')
        program(programs, "deltacrown-s3-rollback", SCRIPT.format(answers=directory / "answers"))
        program(programs, "cutover", CUTOVER.format(answers=directory / "answers"))
        made.says_script("rollback")
        made.says_script("status")
        made.says_aws({"role": "deltacrown-s3-access", "sessions": ["i-2"], "whole_role": False})
        made.denies("i-2")
        made.away(away)
        return made

    def says_script(self, what: str, *flags: bool, proven: bool = True) -> None:
        """What the script says on every machine: to the rollback, or to --status."""
        flagged = (flags + (False,) * 3)[:3]
        last = {"machine": "m", "done": proven, "seconds": 1.0, "failed": [] if proven else ["worker1"], "epoch": 3}
        lines = [process("m", (flagged[0], flagged[1], flagged[2]), proven=proven), last]
        text = "".join(f"{json.dumps(line)}\n" for line in lines)
        (self.directory / "answers" / f"{what}.json").write_text(text)

    def says_aws(self, document: object, code: int = 0, stderr: str = "") -> None:
        """What `cutover fence` and `cutover unfence` answer."""
        answers = self.directory / "answers"
        (answers / "aws.json").write_text(json.dumps(document) if document else "")
        (answers / "aws.rc").write_text(str(code))
        (answers / "aws.err").write_text(stderr)

    def denies(self, *sessions: str, whole_role: bool = False) -> None:
        """Whom AWS denies S3 by its own word."""
        document = {"role": "deltacrown-s3-access", "sessions": sessions, "whole_role": whole_role}
        (self.directory / "answers" / "shown.json").write_text(json.dumps(document))

    def away(self, machine: str, **more: Any) -> None:
        """Writes the inventory; port 9 answers nobody."""
        hosts: dict[str, dict[str, Any]] = {name: {"ansible_host": "127.0.0.1"} for name in HOSTS}
        for number, name in enumerate(HOSTS, 1):
            hosts[name] |= {"machine": name, "aws_session_name": f"i-{number}", "ansible_connection": "local"}
            if name == machine:
                hosts[name] |= {"ansible_connection": "ssh", "ansible_port": 9}
        workers = {
            f"w-{name}": values | {"worker_unit": "deltacrown-uwsgi@worker1.service"} for name, values in hosts.items()
        }
        calls = self.directory / "answers" / "drain.calls"
        shared = {
            "ansible_become": False,
            "environment_file": "/nowhere.env",
            "drain_command": f"true && echo drain {{{{ machine }}}} >> {calls}",
            "undrain_command": f"true && echo undrain {{{{ machine }}}} >> {calls}",
        }
        groups = {
            "production_workers": {"hosts": workers},
            "production_machines": {"hosts": hosts},
            "production_data_host": {"hosts": {"m1": None}},
            "machines": {"hosts": dict.fromkeys(hosts)},
            "load_balancer": {"hosts": {"lb1": {"ansible_host": "127.0.0.1", "ansible_connection": "local"}}},
        }
        document = {"all": {"vars": shared | more, "children": groups}}
        (self.directory / "hosts.yml").write_text(yaml.safe_dump(document))

    @property
    def marked(self) -> Path:
        """The mark of the fence; all machines are this one."""
        return self.directory / "fenced"

    def mark(self, **changes: Any) -> dict[str, Any]:
        """Puts the mark of a fence of m2 there, but for the changes."""
        said = {"machines": {"m2": "i-2"}, "role": False, "s3_denied": True, "since": "2026-11-24T10:00:00Z", "by": "a"}
        self.marked.write_text(json.dumps(said | changes) + "\n")
        return said | changes

    def calls(self, what: str) -> list[str]:
        """What was asked of AWS (aws) and of the load balancer (drain)."""
        file = self.directory / "answers" / f"{what}.calls"
        return file.read_text().splitlines() if file.exists() else []

    def play(self, playbook: str, *arguments: str) -> tuple[int, str]:
        """The exit code of a playbook, and what Ansible said, on one line."""
        own = {
            "fence_mark": self.marked,
            "fence_cutover": self.directory / "bin/cutover",
            "evidence_copies": self.directory / "copies",
        }
        options = [option for name, value in own.items() for option in ("-e", f"{name}={value}")]
        result = subprocess.run(
            [PROGRAM, "-i", self.directory / "hosts.yml", playbook, *options, *arguments],
            cwd=PLAYBOOKS,
            env=os.environ
            | {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_CONFIG": str(PLAYBOOKS / "ansible.cfg"), "USER": "amina"}
            | {"PATH": f"{self.directory}/bin:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        (self.directory / "said").write_text(result.stdout + result.stderr)
        return result.returncode, " ".join((result.stdout + result.stderr).split())
