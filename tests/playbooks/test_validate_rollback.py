"""What the emergency looks at once the fleet is proven, and what comes of it; the programs are the test's own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.playbooks.local_play import PLAYBOOKS, program
from tests.playbooks.stub_deployment import Deployment

if TYPE_CHECKING:
    from pathlib import Path

FLAGS = {"local": (False, False, False), "reads-off": (True, False, False)}
KEY = "certificates/pdf/a.pdf"
UNIT = "deltacrown-uwsgi@worker1.service"
EMERGENCY = ("emergency-rollback.yml", "-e", "deployment=staging")


def journal(**metrics: int) -> dict[str, Any]:
    return {"units": {UNIT: {"metrics": {f"cert.s3.{name}": count for name, count in metrics.items()}}}}


def downloads(failures: list[dict[str, Any]]) -> dict[str, Any]:
    counts = {"asked": 3, "equal": 3 - len(failures), "not_found": 0, "failed": len(failures)}
    return {"migrated": counts, "unmigrated": counts, "failures": failures}


def copies(downloaded: str | None) -> list[dict[str, Any]]:
    equal = downloaded == "aa"
    return [{"key": KEY, "local": "aa", "downloaded": downloaded, "recorded_by_s3": downloaded, "equal": equal}]


def audit(verdict: str, **more: Any) -> dict[str, Any]:
    lists: dict[str, Any] = {"missing": [], "orphaned": [], "different": [], "unmarked_present": [], "left_out": {}}
    return {"verdict": verdict, "db_count": 2, "s3_count": 2, "sampled": 2, **lists, **more}


def rolled_back(deployment: Deployment, state: str) -> None:
    flags = dict(zip(("dual_write", "read_primary", "backfill"), FLAGS[state], strict=True))
    process = {"machine": "m", "worker": "worker1", "pid": 7, "proven": True, **flags}
    last = {"machine": "m", "done": True, "seconds": 1.5, "failed": [], "epoch": 4, "stopped": ["a.service"]}
    deployment.says("status", f"{json.dumps(process)}\n{json.dumps(last)}")


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    """Staging, which an emergency takes to local files without a fault."""
    made = Deployment.ready_for(tmp_path, 1)
    programs = tmp_path / "bin"
    program(programs, "sudo", 'while [ "${1#-}" != "$1" ]; do shift; done; exec "$@"')
    program(programs, "logger", "exit 0")
    program(programs, "journalctl", 'echo \'{"__CURSOR": "c"}\'')
    program(programs, "systemctl", "echo inactive")
    rolled_back(made, "local")
    made.says("downloads", downloads([]))
    issued = {"ids": [5], "names": [KEY], "failures": [], "asked": 1, "done": 1, "seconds": [0.1]}
    made.says("worker-requests", issued)
    made.says("compare", copies(None), 1)
    made.says("journal", journal())
    made.says("evidence-append", {"file": "000001-rollback-PASS.json", "sha256": "ab"})
    return made


def play(deployment: Deployment, *arguments: str) -> tuple[int, str]:
    site = "{site_url: http://site, test_upload_user: probe, test_upload_password: p, test_upload_tournament: 2}"
    return deployment.play(*EMERGENCY, "-e", site, "-e", f"evidence_directory={deployment.directory}/none", *arguments)


def test_a_rollback_that_is_well_says_so_and_what_comes_next(deployment: Deployment) -> None:
    code, said = play(deployment)
    assert code == 0, said
    assert "YES: downloads: 6 of 6 downloads through the site have the bytes that were issued" in said
    assert "YES: upload: local: new uploads go to local; 1 of 1 files are there" in said
    assert "YES: journals: 2 workers logged no operation on S3 that their flags forbid" in said
    assert "once the cause is gone: ansible-playbook go-live-step1.yml" in said
    assert "stopped a.service" in said


@pytest.mark.parametrize(
    ("program_name", "answer", "sentence"),
    [
        ("downloads", (downloads([{"certificate_id": 9, "status": 500, "detail": "HTTP 500"}]), 1), "9: HTTP 500"),
        ("compare", (copies("aa"), 0), f"0 of 1 files are there, not so: {KEY}"),
        ("journal", (journal(**{"save.success": 2}), 0), "m1 worker1: 2 x cert.s3.save.success"),
        (
            "worker-requests",
            ({"ids": [], "names": [], "failures": [{"status": 500, "detail": "HTTP 500"}]}, 1),
            "w-m1 issued nothing; 500 HTTP 500",
        ),
    ],
)
def test_what_says_no_is_named_and_is_no_success(
    deployment: Deployment, program_name: str, answer: tuple[Any, int], sentence: str
) -> None:
    """All flags are off, and customers still meet errors: the on-call must not go to bed."""
    deployment.says(program_name, *answer)
    code, said = play(deployment)
    assert code != 0
    assert "ROLLED BACK: 2 processes proven" in said
    assert "the fleet is rolled back and proven, and yet: " in said
    assert sentence in said


@pytest.mark.parametrize(
    ("program_name", "arguments", "sentence"),
    [
        ("downloads", (), "NOT MEASURED: downloads: ERROR, could not measure: `cutover downloads"),
        ("compare", (), "NOT MEASURED: upload: ERROR, could not measure: `cutover compare"),
        ("worker-requests", (), "NOT MEASURED: upload: ERROR, could not measure: w-m1: the database is away"),
        ("journal", (), "NOT MEASURED: journals: ERROR, could not measure: `cutover journal` on m1 ended with 4"),
        (None, ("-e", "test_upload=organic"), "NOT MEASURED: upload: test_upload is organic"),
    ],
)
def test_what_cannot_be_measured_is_said_and_changes_nothing(
    deployment: Deployment, program_name: str | None, arguments: tuple[str, ...], sentence: str
) -> None:
    """An emergency often comes with the database or S3 away; the rollback itself is done all the same."""
    if program_name:
        deployment.says(program_name, "", 4, "the database is away")
    code, said = play(deployment, *arguments)
    assert sentence in said
    assert code == 0, said


def shortened(tmp_path: Path, patch: pytest.MonkeyPatch, seconds: str) -> None:
    """Lets the playbooks read a table in which this number is 2."""
    text = (PLAYBOOKS.parent / "ops/cutover.yml").read_text()
    assert text.count(seconds) == 1
    (tmp_path / "cutover.yml").write_text(text.replace(seconds, f"{seconds.partition(':')[0]}: 2"))
    patch.setenv("CUTOVER_PLAN", str(tmp_path / "cutover.yml"))


def test_a_look_that_hangs_is_given_up(deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for the verdict at night must get one."""
    cutover = (tmp_path / "bin/cutover").read_text()
    program(tmp_path / "bin", "cutover", cutover.replace("#!/bin/sh", '[ "$1" != downloads ] || exec sleep 50'))
    shortened(tmp_path, monkeypatch, "validation_seconds: 60")
    code, said = play(deployment)
    assert "NOT MEASURED: downloads: " in said
    assert "YES: upload" in said
    assert code == 0, said


def test_a_rollback_of_single_workers_is_looked_at_where_they_are(deployment: Deployment) -> None:
    """The others go on using S3; no step starts from such a fleet."""
    code, said = play(deployment, "-e", "limit_workers=w-m2")
    assert code == 0, said
    assert "YES: upload: local" in said
    assert "Ask one worker for certificates: issue, w-m2" in said
    assert "only w-m2 went back; before any step: the same command without limit_workers" in said


@pytest.mark.parametrize(
    ("found", "sentences"),
    [
        (audit("PASS"), ["AUDIT PASS: 2 files compared"]),
        (
            audit("FAIL", missing=[KEY]),
            ["AUDIT FAIL: 2 files compared by SHA-256; 1 missing", f'exec cutover repair --key "$1"\' sh {KEY}'],
        ),
        (None, ["NOT MEASURED: the audit of staging: ERROR, the run left no result", "--key KEY"]),
    ],
)
def test_an_inconsistency_is_audited_and_its_resolution_printed(
    deployment: Deployment, tmp_path: Path, found: dict[str, Any] | None, sentences: list[str]
) -> None:
    """Scenario 3 leaves the on-call with certificates to repair; the commands must stand there."""
    rolled_back(deployment, "reads-off")
    deployment.says("compare", copies("aa"))
    output = tmp_path / "audit.json"
    if found is not None:
        output.write_text(json.dumps(found))
    code, said = play(deployment, "-e", "scenario=inconsistency", "-e", f"background_run_output={output}")
    for sentence in [*sentences, "ansible-playbook integrity-audit.yml -e deployment=staging, until PASS"]:
        assert sentence in said.replace("\\", "")
    assert code == 0, said


def test_an_audit_that_takes_long_goes_on_alone(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hashing a million files takes longer than anybody waits at night."""
    shortened(tmp_path, monkeypatch, "audit_seconds: 120")
    rolled_back(deployment, "reads-off")
    deployment.says("compare", copies("aa"))
    program(tmp_path / "bin", "systemctl", "echo active")
    code, said = play(deployment, "-e", "scenario=inconsistency")
    assert "NOT MEASURED: the audit of staging: ERROR, it takes longer than it is waited for, and goes on" in said
    assert "Run: ansible-playbook integrity-audit.yml -e deployment=staging" in said
    assert code == 0, said


@pytest.mark.parametrize(("verdict", "code"), [("PASS", 0), ("FAIL", 2), ("INCONCLUSIVE", 2)])
def test_the_audit_alone_ends_by_its_verdict(deployment: Deployment, tmp_path: Path, verdict: str, code: int) -> None:
    output = tmp_path / "audit.json"
    output.write_text(json.dumps(audit(verdict, sampled=0 if verdict == "INCONCLUSIVE" else 2)))
    ended, said = deployment.play(
        "integrity-audit.yml", "-e", "deployment=staging", "-e", f"background_run_output={output}"
    )
    assert f"AUDIT {verdict}: " in said
    assert ended == code
