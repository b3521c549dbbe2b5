"""Step 1 on booted machines, each time with one part broken: it must say no and take everything back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from cutover import fleet
from rehearsal import paging, playbook
from tests.fleet.staging import Staging, issue_missing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rehearsal.lab import Lab

LOCAL = "false,false,false"
READY = "Everything is ready: the step may act"
UWSGI_INI = "/opt/deltacrown/app/deploy/uwsgi.ini"
ENVIRONMENT = "/etc/deltacrown/staging.env"
BROKEN_WORKER = "/etc/systemd/system/deltacrown-uwsgi@worker2.service.d/99-broken.conf"


@pytest.fixture
def staging(deployed: Lab, tmp_path: Path) -> Iterator[Lab]:
    """Staging in mode local with quiet alarms, and in mode local again afterwards."""
    issue_missing(deployed)
    Staging(deployed, tmp_path).wait_for_alarms(1)
    yield deployed
    deployed.run("staging1", ["sudo", "deltacrown-s3-rollback"])


def refused_step(tmp_path: Path, lab: Lab) -> str:
    """Runs step 1, which must fail; proves that every process is back in mode local and the lock is free."""
    return refused(playbook.run("go-live-step1.yml", log_directory=tmp_path), lab)


def refused(run: playbook.PlaybookRun, lab: Lab) -> str:
    """What a run of step 1 said that failed and left everything in mode local."""
    assert run.returncode != 0, run.output
    report = fleet.machine_report(lab.run("staging1", ["sudo", "deltacrown-s3-rollback", "--status"]))
    assert len(report["processes"]) >= 4
    assert fleet.processes_not_holding(report["processes"], LOCAL) == []
    assert "cutover.lock" not in lab.run("staging1", ["ls", "/run/deltacrown"])
    return " ".join(run.output.split())


def acting(tmp_path: Path) -> playbook.StartedPlaybook:
    """Step 1, begun, and past a preflight that would have refused what is broken now."""
    run = playbook.start("go-live-step1.yml", log_directory=tmp_path)
    run.reaches(READY)
    return run


def test_application_that_ignores_its_flags_fails_the_step(staging: Lab, tmp_path: Path) -> None:
    """The flags are in every /proc and the application does not look: only a real upload shows it."""
    staging.run("staging1", ["sudo", "sh", "-c", f"echo 'env = CERT_S3_DUAL_WRITE=false' >> {UWSGI_INI}"])
    try:
        said = refused_step(tmp_path, staging)
    finally:
        staging.run("staging1", ["sudo", "sed", "-i", "$d", UWSGI_INI])
    assert "FAIL save_success_per_worker: measured 0" in said
    assert "flags_proven" not in said


def test_second_worker_that_does_not_start_takes_the_first_one_back(staging: Lab, tmp_path: Path) -> None:
    """A batch that fails must not leave the earlier batches in the new mode."""
    unit = "[Service]\\nExecStartPre=/bin/sh -c 'test \"$CERT_S3_DUAL_WRITE\" != true'\\n"
    write = f"mkdir -p $(dirname {BROKEN_WORKER}) && printf '%b' \"$1\" > {BROKEN_WORKER} && systemctl daemon-reload"
    staging.run("staging1", ["sudo", "sh", "-c", write, "sh", unit])
    try:
        said = refused_step(tmp_path, staging)
    finally:
        staging.run("staging1", ["sudo", "sh", "-c", f"rm {BROKEN_WORKER} && systemctl daemon-reload"])
    assert "staging-worker2: " in said
    assert "every worker of staging is back in mode local" in said


def test_step_refuses_to_start_from_another_mode(staging: Lab, tmp_path: Path) -> None:
    """A step that starts from a state nobody knows cannot be taken back to it."""
    staging.run("staging1", ["sudo", "sed", "-i", "s/BACKFILL_ENABLED=false/BACKFILL_ENABLED=true/", ENVIRONMENT])
    staging.run("staging1", ["sudo", "systemctl", "restart", "deltacrown-uwsgi"])
    run = playbook.run("go-live-step1.yml", log_directory=tmp_path)
    assert run.returncode != 0
    assert "expected every process in mode local" in " ".join(run.output.split())


def test_step_refuses_while_another_holds_the_lock(staging: Lab, tmp_path: Path) -> None:
    """Two operators, two laptops, one fleet."""
    holder = json.dumps({"holder": "amina", "step": 1})
    staging.run("staging1", ["sudo", "sh", "-c", f"echo '{holder}' > /run/deltacrown/cutover.lock"])
    run = playbook.run("go-live-step1.yml", log_directory=tmp_path)
    staging.run("staging1", ["sudo", "rm", "/run/deltacrown/cutover.lock"])
    assert run.returncode != 0
    assert "holder amina" in " ".join(run.output.split())


def test_step_refuses_files_that_a_restart_would_change(staging: Lab, tmp_path: Path) -> None:
    """A file edited by hand takes effect at the first flip, in a mode that nobody chose."""
    staging.run("staging1", ["sudo", "sed", "-i", "s/READ_PRIMARY=false/READ_PRIMARY=true/", ENVIRONMENT])
    run = playbook.run("go-live-step1.yml", log_directory=tmp_path)
    assert run.returncode != 0
    assert "files that a restart would change: worker1, worker2" in " ".join(run.output.split())


@pytest.mark.usefixtures("staging")
def test_step_refuses_a_missing_media_directory(tmp_path: Path) -> None:
    """Without its export a machine would write certificates where nobody else sees them."""
    run = playbook.run("go-live-step1.yml", "--check", "-e", "media_root=/nowhere", log_directory=tmp_path)
    assert run.returncode != 0
    assert "staging1: the media directory /nowhere is missing" in " ".join(run.output.split())


def test_step_refuses_an_environment_file_that_the_application_cannot_use(staging: Lab, tmp_path: Path) -> None:
    """A deploy may have written it since prepare-hosts.yml looked."""
    staging.run("staging1", ["sudo", "sed", "-i", "s/^AWS_STORAGE_BUCKET_NAME/#&/", ENVIRONMENT])
    run = playbook.run("go-live-step1.yml", "--check", log_directory=tmp_path)
    staging.run("staging1", ["sudo", "sed", "-i", "s/^#AWS_STORAGE/AWS_STORAGE/", ENVIRONMENT])
    assert run.returncode != 0
    assert "has no line AWS_STORAGE_BUCKET_NAME" in " ".join(run.output.split())


# The last two ring an alarm, which the next step would have to wait for.
def test_compare_that_cannot_reach_s3_is_an_error_with_its_sentence(staging: Lab, tmp_path: Path) -> None:
    """ "Could not look" is neither a pass nor a difference, and the operator must read why."""
    run = acting(tmp_path)
    staging.run("staging1", ["sudo", "sed", "-i", "s/^AWS_CA_BUNDLE/#&/", ENVIRONMENT])
    try:
        said = refused(run.wait(), staging)
    finally:
        staging.run("staging1", ["sudo", "sed", "-i", "s/^#AWS_CA/AWS_CA/", ENVIRONMENT])
    assert "ERROR, could not measure: " in said
    assert "s3://" in said
    assert "every worker of staging is back in mode local" in said


def test_upload_that_s3_denies_fails_the_step(staging: Lab, tmp_path: Path) -> None:
    """A role without s3:PutObject swallows every upload, one log line each, while customers notice nothing."""
    run = acting(tmp_path)
    with paging.uploads_denied(staging, "staging"):
        said = refused(run.wait(), staging)
    assert "step 1 FAIL" in said
    assert "FAIL copies_equal: measured 0" in said
    assert "AccessDenied" in said
    assert "every worker of staging is back in mode local" in said
