"""Recorded answers of a fleet, played back by a false `ssh`: by address, what the machine prints and how ssh ends."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cutover.status import here as status_here
from tests.unit.evidence.documents import Story, step

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

LOCAL, DUAL_WRITE, S3_READS = (False, False, False), (True, False, True), (True, True, True)
Flags = tuple[bool | None, bool | None, bool | None]
FALSE_SSH = """#!/bin/sh
echo "$@" >>"$0.calls"
while [ "$1" != -- ]; do shift; done
directory=$(dirname "$0")/$2
[ -f "$directory/hangs" ] && exec sleep 60
cat "$directory/stdout"
cat "$directory/stderr" >&2
exit "$(cat "$directory/code")"
"""
INVENTORY = """
all:
  vars: {ansible_user: operator, ansible_ssh_common_args: "-o IdentitiesOnly=yes", time_scale: "{{ 1 }}"}
  children:
    staging_workers:
      hosts:
        s1: {ansible_host: 10.0.0.1, machine: staging1, worker_unit: deltacrown-uwsgi@worker1.service}
    staging_machines: {hosts: {staging1: {ansible_host: 10.0.0.1, environment_file: /etc/deltacrown/staging.env}}}
    staging_data_host: {hosts: {staging1: }}
    production_workers:
      hosts:
        p1: {ansible_host: 10.0.0.2, machine: web1, worker_unit: deltacrown-uwsgi@worker1.service}
        p2: {ansible_host: 10.0.0.3, machine: web2, worker_unit: deltacrown-uwsgi@worker2.service}
        p3: {ansible_host: 10.0.0.2, machine: web1, worker_unit: deltacrown-uwsgi@worker3.service}
    production_machines:
      hosts:
        web1: {ansible_host: 10.0.0.2, environment_file: /etc/deltacrown/production.env, readonly_role_arn: "arn:ro"}
        web2: {ansible_host: 10.0.0.3}
    production_data_host: {hosts: {web1: }}
"""
ADDRESSES = {"staging1": "10.0.0.1", "web1": "10.0.0.2", "web2": "10.0.0.3"}


def now() -> datetime:
    """The time of the answers: asked for anew, for a whole session of tests takes minutes."""
    return datetime.now(UTC)


def process(worker: str, flags: Flags = LOCAL, pid: int = 41, *, proven: bool = True) -> dict[str, Any]:
    names = ("dual_write", "read_primary", "backfill")
    started = (now() - timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"machine": "uname", "worker": worker, "pid": pid, "started": started, "proven": proven} | dict(
        zip(names, flags, strict=True)
    )


def units(**changed: dict[str, str]) -> dict[str, dict[str, str]]:
    """The data tools' units as systemd shows them: checks an hour ago, a sweep a minute ago, all PASS."""
    found = {}
    hour, minute = timedelta(hours=1), timedelta(minutes=1)
    tools = {"cutover-check": hour, "deltacrown-sweep": minute, "cutover-daily": hour}
    for tool, ago in tools.items():
        ended = f"@{int((now() - ago).timestamp())}"
        found[f"{tool}.service"] = {
            "Id": f"{tool}.service", "ActiveState": "inactive", "Result": "success",
            "ExecMainStatus": "0", "ExecMainStartTimestamp": ended, "ExecMainExitTimestamp": ended,
        } | changed.get(tool.replace("-", "_"), {})  # fmt: skip
        found[f"{tool}.timer"] = {"Id": f"{tool}.timer", "ActiveState": "active"}
    return found


def alarm(name: str = "deltacrown-production-no-telemetry", state: str = "OK") -> dict[str, Any]:
    ok = state == "OK"
    return {"name": name, "state": state, "since": None, "ok": ok, "next": "" if ok else "look there"}


def evidence(directory: Path, *documents: dict[str, Any]) -> dict[str, Any]:
    """What status-here tells of a chain with these records, an hour old."""
    story = Story(directory, now=now() - timedelta(hours=1))
    for document in documents:
        story.tell(document)
    return status_here.evidence(directory if documents else directory / "none")


@dataclass
class Fleet:
    """The machines' answers; change `processes`, `here` or what else a test is about, then call `write`."""

    directory: Path
    processes: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    failed: dict[str, list[str]] = field(default_factory=dict)
    here: dict[str, dict[str, Any]] = field(default_factory=dict)
    stdout: dict[str, str] = field(default_factory=dict)  # instead of all that
    ended: dict[str, tuple[int, str]] = field(default_factory=dict)
    hanging: set[str] = field(default_factory=set)

    @property
    def inventory(self) -> str:
        return str(self.directory / "hosts.yml")

    def calls(self) -> str:
        return (self.directory / "ssh.calls").read_text(encoding="utf-8")

    def write(self) -> None:
        (self.directory / "hosts.yml").write_text(INVENTORY, encoding="utf-8")
        ssh = self.directory / "ssh"
        ssh.write_text(FALSE_SSH, encoding="utf-8")
        ssh.chmod(0o755)
        for machine, address in ADDRESSES.items():
            place = self.directory / address
            place.mkdir(exist_ok=True)
            code, errors = self.ended.get(machine, (0, ""))
            (place / "stdout").write_text(self.stdout.get(machine, self._said(machine)), encoding="utf-8")
            (place / "stderr").write_text(errors, encoding="utf-8")
            (place / "code").write_text(str(code), encoding="utf-8")
            if machine in self.hanging:
                (place / "hangs").touch()

    def _said(self, machine: str) -> str:
        failed = self.failed.get(machine, [])
        last = {"machine": "uname", "done": not failed, "seconds": 0.05, "failed": failed, "epoch": 2}
        lines = [*self.processes.get(machine, []), last, {"here": self.here.get(machine, {})}]
        return "".join(f"{json.dumps(line)}\n" for line in lines)


def healthy(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """Staging in s3-reads after its five steps, production in local; nothing is amiss."""
    monkeypatch.setenv("PATH", f"{directory}{os.pathsep}{os.environ['PATH']}")
    common: dict[str, Any] = {"lock": None, "overrides": [], "fallbacks": []}
    staging = evidence(directory / "staging-chain", *(step(number) for number in range(1, 6)))
    data = {"units": units(), "runs": [], "alarms": [alarm()]}
    return Fleet(
        directory,
        processes={
            "staging1": [process("worker1", S3_READS)],
            "web1": [process("worker1"), process("worker1", pid=42), process("worker3", pid=50)],
            "web2": [process("worker2")],
        },
        here={
            "staging1": common | {"data": data | {"evidence": staging}},
            "web1": common | {"data": data | {"evidence": evidence(directory / "production-chain")}},
            "web2": dict(common),
        },
    )
