"""Plays tasks of the roles on this machine, with programs of the test in place of the machine's own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PLAYBOOKS = Path(__file__).resolve().parents[2] / "playbooks"


def play(tmp_path: Path, tasks: Sequence[Mapping[str, Any]], search_path: str = "", **variables: Any) -> str:
    """Runs tasks on this machine with a role's files within reach, and returns what Ansible said."""
    return play_roles(tmp_path, tasks, search_path, PLAYBOOKS / "roles", **variables)


def play_roles(
    tmp_path: Path, tasks: Sequence[Mapping[str, Any]], search_path: str, roles: Path, /, **variables: Any
) -> str:
    """The same with the roles of this folder."""
    book = [{"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": variables, "tasks": [*tasks]}]
    path = tmp_path / "play.yml"
    path.write_text(yaml.safe_dump(book))
    result = subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", "-i", "localhost,", path],
        env=os.environ
        | {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_CONFIG": str(PLAYBOOKS / "ansible.cfg"), "ANSIBLE_ROLES_PATH": str(roles)}
        | {"PATH": f"{search_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return " ".join(result.stdout.split())


def program(directory: Path, name: str, script: str) -> str:
    """Puts a program before the machine's own, and returns the search path's first folder."""
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(directory)


def playbooks_calling(directory: Path, cutover: str) -> Path:
    """A copy of the playbooks whose data tools are the program `cutover` instead of the machine's own."""
    copy = directory / "playbooks"
    shutil.copytree(PLAYBOOKS, copy, ignore=shutil.ignore_patterns("inventories", "__pycache__", ".ansible"))
    for path in copy.glob("roles/*/*/*.yml"):
        path.write_text(path.read_text().replace("/usr/local/bin/cutover", cutover))
    return copy
