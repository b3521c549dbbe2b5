"""`cutover worker-requests` on booted machines: real uWSGI, real sockets, and proof that the named worker answered."""

from __future__ import annotations

import json
import shlex
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from cutover.exit_codes import ExitCode
from rehearsal import deployed_site
from rehearsal.lab import access
from rehearsal.lab.topology import MACHINES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal.lab import Lab

MACHINE, HOST = "staging1", "staging.deltacrown"
PROBE_TOURNAMENT = 2
LOCAL, DUAL_WRITE = "false,false,false", "true,false,true"


@pytest.fixture(scope="module")
def staging(deployed: Lab) -> Iterator[Lab]:
    """Staging in dual-write, so that each upload is a METRIC line in the journal of the worker that did it."""
    deployed_site.flip(deployed, MACHINE, DUAL_WRITE)
    yield deployed
    deployed_site.flip(deployed, MACHINE, LOCAL)


def unit(worker: str) -> str:
    return f"deltacrown-uwsgi@{worker}.service"


def ask(
    worker: str, action: str, *arguments: str, user: str = "www-data", **account: str
) -> tuple[int, dict[str, Any], str]:
    """Runs an action on a worker of staging1: exit code, document, and what was said on standard error."""
    passwords = json.loads(deployed_site.PASSWORDS.read_text())
    command = ["sudo", "-u", user, "cutover", "worker-requests", action]
    command += ["--socket", f"/run/deltacrown/{worker}.sock", "--host", HOST, "--json", *arguments]
    given = {"user": "probe", "password": passwords["probe"], "tournament": PROBE_TOURNAMENT} | account
    done = subprocess.run(
        access.command(MACHINES[MACHINE], command),
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


def marked(lab: Lab) -> str:
    """The cursor of a new mark in the machine's journal."""
    script = (
        "logger --tag deltacrown-cutover 'a test begins' && journalctl --sync && "
        "journalctl --quiet --output=json --identifier=deltacrown-cutover --lines=1"
    )
    cursor: str = json.loads(lab.run(MACHINE, ["sudo", "sh", "-c", script]))["__CURSOR"]
    return cursor


def counted(lab: Lab, cursor: str) -> dict[str, Any]:
    """What `cutover journal` says of both workers since the mark."""
    units = [option for worker in ("worker1", "worker2") for option in ("--unit", unit(worker))]
    command = shlex.join(["cutover", "journal", "--cursor", cursor, *units, "--json"])
    found: dict[str, Any] = json.loads(lab.run(MACHINE, ["sudo", "sh", "-c", f"journalctl --sync && {command}"]))
    return found


@pytest.mark.parametrize(("worker", "other"), [("worker1", "worker2"), ("worker2", "worker1")])
def test_the_named_worker_alone_issues_and_the_journal_says_so(staging: Lab, worker: str, other: str) -> None:
    """A canary that is proven by its neighbour's uploads is not proven."""
    cursor = marked(staging)
    code, issued, said = ask(worker, "issue", "--count", "6", "--concurrency", "3", "--size-kb", "40")
    assert (code, issued["done"], issued["failures"]) == (ExitCode.DONE, 6, []), said
    assert len(issued["names"]) == 12
    units = counted(staging, cursor)["units"]
    assert units[unit(worker)]["metrics"]["cert.s3.save.success"] == 12
    assert units[unit(other)]["metrics"] == {}
    ids = list(map(str, issued["ids"]))
    code, downloaded, said = ask(other, "download", *ids)
    assert (code, downloaded["done"]) == (ExitCode.DONE, 6), said
    for _ in range(2):
        code, removed, said = ask(worker, "remove", *ids)
        assert (code, removed["done"]) == (ExitCode.DONE, 6), said
    code, gone, _ = ask(worker, "download", *ids)
    assert (code, {failure["status"] for failure in gone["failures"]}) == (ExitCode.FAILED, {404})


ISSUE = """
import json, secrets, django
django.setup()
from apps.tournaments import orders, services
order = {"tournament_id": 2, "participant_id": 10**9 + secrets.randbelow(10**9), "certificate_type": "participant"}
print(services.issue(orders.read_order(json.dumps(order).encode())).pk)
"""
REMOVE = """
import sys, django
django.setup()
from apps.tournaments import models, services
services.remove(models.Certificate.objects.get(pk=int(sys.argv[1])))
"""


def run_program(lab: Lab, action: str, code: str, *arguments: str) -> dict[str, Any]:
    """What the site's own program did with the environment of worker1."""
    command = ["sudo", "cutover", "worker-command", action, "--json", "--worker", "worker1", *arguments]
    command += ["--env-file", "/etc/deltacrown/staging.env", "--directory", "/opt/deltacrown/app"]
    command += ["--settings", "deltacrown.settings"]
    command += ["--program", json.dumps(["/opt/deltacrown/venv/bin/python", "-c", code])]
    found: dict[str, Any] = json.loads(lab.run(MACHINE, command))
    return found


def test_the_site_s_own_program_issues_as_the_worker_would(staging: Lab) -> None:
    """Where the site has no POST: the flags are those of the worker, and so is the role that stores in S3."""
    memory = "/run/test-certificates.jsonl"
    issued = run_program(staging, "issue", ISSUE, "--count", "2", "--remember", memory)
    assert (issued["done"], issued["failures"]) == (2, [])
    assert issued["metrics"]["cert.s3.save.success"] == 4
    removed = run_program(staging, "remove", REMOVE, *map(str, issued["ids"]))
    assert (removed["done"], removed["failures"]) == (2, [])
    proof = "cutover removed --json --env-file /etc/deltacrown/staging.env"
    given = "[" + ",".join(staging.run(MACHINE, ["sudo", "cat", memory]).split("\n")[:2]) + "]"
    script = f'printf %s "$1" | sudo -u www-data {proof}; rm {memory}'
    gone = json.loads(staging.run(MACHINE, ["sudo", "sh", "-c", script, "sh", given]))
    assert (gone["gone"], gone["left"]) == (2, [])


@pytest.mark.usefixtures("staging")
def test_who_may_not_use_the_socket_or_the_site_is_told() -> None:
    """Nothing was measured, and the operator must read what to run instead."""
    code, document, said = ask("worker1", "issue", "--count", "1", password="wrong")
    assert (code, document) == (ExitCode.ERROR, {})
    assert "answers HTTP 403 when probe signs in" in said
    code, _, said = ask("worker1", "issue", "--count", "1", user="nobody")
    assert code == ExitCode.ERROR
    assert "no answer (Permission denied) when probe signs in: run this as www-data" in said
    code, _, said = ask("worker9", "issue", "--count", "1")
    assert code == ExitCode.ERROR
    assert "no answer (No such file or directory)" in said


def test_a_machine_whose_mark_is_gone_counts_nothing(staging: Lab) -> None:
    """A journal that was vacuumed says zero errors, and journalctl says so with exit code 0."""
    cursor = marked(staging).replace(";x=", ";x=0")
    command = shlex.join(["cutover", "journal", "--cursor", cursor, "--unit", unit("worker1"), "--json"])
    said = staging.run(MACHINE, ["sudo", "sh", "-c", f"{command} 2>&1; echo exit $?"])
    assert f"exit {ExitCode.ERROR:d}" in said
    assert '"units"' not in said
