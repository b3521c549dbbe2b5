"""`cutover worker-command`: the site's own programs with a worker's environment; systemd-run is a stand-in."""

from __future__ import annotations

import datetime
import json
import os
import re
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from cutover import cli, worker_command
from cutover.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.data_tools.certificate_site import Site

    Run = Callable[..., tuple[int, dict[str, Any]]]

ISSUE = (
    "import sys; print('INFO apps.tournaments.storage METRIC: cert.s3.save.success=1', file=sys.stderr);"
    "print('Issued a certificate'); print({})"
)


@pytest.fixture
def run(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs an action with a program of Python; its exit code and document. `asked` has what systemd-run was told."""
    programs = tmp_path / "bin"
    programs.mkdir()
    systemd_run = programs / "systemd-run"
    systemd_run.write_text(
        f'#!/bin/sh\necho "$*" >>{tmp_path}/asked\nwhile [ "$1" != -- ]; do shift; done\nshift\nexec "$@"\n'
    )
    systemd_run.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    file = site.environment_file()

    def call(action: str, code: str, *arguments: str) -> tuple[int, dict[str, Any]]:
        program = json.dumps([sys.executable, "-c", code])
        given = ["--worker", "worker1", "--env-file", str(file), "--directory", "/site", "--settings", "site.settings"]
        ended = cli.main(["worker-command", action, "--json", *given, "--program", program, *arguments])
        return ended, json.loads(capsys.readouterr().out)

    return call


def test_certificates_are_issued_with_the_worker_s_environment(site: Site, run: Run, tmp_path: Path) -> None:
    """The program has the flags of a worker that was switched, though its machine's own file still says otherwise."""
    row = site.add()
    code, document = run("issue", ISSUE.format(row.id), "--count", "2", "--remember", str(tmp_path / "memory"))
    assert (code, document["done"], document["ids"]) == (ExitCode.DONE, 2, [row.id, row.id])
    assert document["names"] == [*row.keys, *row.keys]
    assert document["metrics"] == {"cert.s3.save.success": 2}
    told = (tmp_path / "asked").read_text().splitlines()[0]
    files = "--property=EnvironmentFile={}/site.env --property=EnvironmentFile=-/etc/deltacrown/workers/worker1.env"
    assert files.format(site.home) in told
    assert "--property=User=www-data --property=WorkingDirectory=/site " in told
    assert "--setenv=DJANGO_SETTINGS_MODULE=site.settings -- " in told
    lines = [json.loads(line) for line in (tmp_path / "memory").read_text().splitlines()]
    assert lines == [{"id": row.id, "names": list(row.keys)}] * 2


@pytest.mark.parametrize(
    ("program", "detail"),
    [
        ("raise SystemExit('no tournament 2')", "the program ended with 1: no tournament 2"),
        ("print('done')", "it printed no id of a certificate: done"),
        ("print(4711)", "it printed no id of a certificate: 4711"),
        ("pass", "it printed no id of a certificate: it said nothing"),
    ],
)
@pytest.mark.usefixtures("site")
def test_a_program_that_issues_nothing_is_a_failure(run: Run, program: str, detail: str) -> None:
    """Uploads that did not happen would else be missing from the ratio that they spoil; one failure is enough."""
    code, document = run("issue", program, "--count", "20")
    assert (code, document["done"], document["ids"]) == (ExitCode.FAILED, 0, [])
    (failure,) = document["failures"]
    said, unknown = failure["detail"].split("; whether it issued one is not known, and nobody would remove it: ")
    assert said == detail
    assert datetime.datetime.fromisoformat(unknown.split()[3]) <= datetime.datetime.now(datetime.UTC)


def test_issuing_ends_before_the_soak_is_blind(
    site: Site, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty programs of a minute each: no emergency is seen, and no stop limit."""
    row = site.add()
    monkeypatch.setattr(worker_command, "LONGEST_SECONDS", 3)
    began = time.monotonic()
    code, document = run("issue", f"import time; time.sleep(1.2); {ISSUE.format(row.id)}", "--count", "20")
    assert time.monotonic() - began < 10
    assert (code, document["done"]) == (ExitCode.FAILED, len(document["ids"]))
    assert 0 < document["done"] < 4
    assert document["failures"] == [
        {"status": None, "detail": f"3 s were over after {document['done']}: ask for fewer, or make the program faster"}
    ]
    told = re.findall(r"RuntimeMaxSec=(\d+)", (tmp_path / "asked").read_text())
    assert told == sorted(told, reverse=True)
    assert int(told[0]) > int(told[-1]) > 0


def test_a_certificate_of_a_program_that_failed_is_remembered(site: Site, run: Run, tmp_path: Path) -> None:
    row = site.add()
    memory = tmp_path / "memory"
    code, document = run("issue", f"print({row.id}); raise SystemExit(3)", "--count", "1", "--remember", str(memory))
    assert code == ExitCode.FAILED
    assert json.loads(memory.read_text())["id"] == row.id
    assert "not known" not in document["failures"][0]["detail"]


def test_certificates_are_removed_by_id_and_gone_ones_are_done(site: Site, run: Run, tmp_path: Path) -> None:
    row = site.add()
    code, document = run("remove", "pass", str(row.id), "999999")
    assert (code, document["done"], document["ids"]) == (ExitCode.DONE, 2, [row.id, 999999])
    (told,) = (tmp_path / "asked").read_text().splitlines()
    assert told.endswith(f" {row.id}")
    code, document = run("remove", "raise SystemExit('held by a lock')", str(row.id))
    assert code == ExitCode.FAILED
    assert document["failures"] == [
        {"status": 1, "detail": f"certificate {row.id}: the program ended with 1: held by a lock"}
    ]


@pytest.mark.parametrize("program", ["manage.py", "[]", '["a", 1]', '{"a": 1}'])
def test_what_is_no_program_is_refused(program: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["worker-command", "remove", "--worker", "w", "--directory", "/", "--program", program, "7"])
    assert "is no program: write a JSON list" in capsys.readouterr().err
