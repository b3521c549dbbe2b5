"""The data tools on booted machines: their timers, the backfill as a unit, and the runbook's own words."""

from __future__ import annotations

import json
import re
import shlex
import time
from typing import TYPE_CHECKING

import pytest

from cutover import plan
from cutover.exit_codes import ExitCode
from rehearsal import data_acts, deployed_site, paging, traffic
from rehearsal.lab import LabError, access, monitoring, reach
from rehearsal.lab.commands import run
from rehearsal.lab.topology import DEPLOYMENTS, MACHINES, REPOSITORY
from tests.fleet.test_log_delivery import delivered

if TYPE_CHECKING:
    from collections.abc import Iterator
    from subprocess import CompletedProcess

    from rehearsal.lab import Lab

STAGING = DEPLOYMENTS["staging"]
DATA_HOSTS = ["staging1", "web1"]
LOCAL, DUAL_WRITE = "false,false,false", "true,false,true"
# The runbook's step 7 and its resume, word by word; the pauses between the batches are left out by `sleep`.
STEP_7 = r"""
sleep() { :; }
for i in {0..10}; do
    START_ID=$((i * 1000))
    python manage.py backfill_certificates_to_s3 \
        --start-id $START_ID \
        --limit 1000 \
        --batch-size 50 \
        --verify-hash \
        | tee backfill_batch_$i.log

    sleep 300  # 5-minute cooldown between batches
done

# Final resume if interrupted
python manage.py backfill_certificates_to_s3 \
    --resume-token $(tail -1 backfill_batch_*.log | grep "RESUME_TOKEN")
"""
STEP_5 = """
python manage.py shell << EOF
from apps.tournaments.tasks.certificate_consistency import check_certificate_consistency
result = check_certificate_consistency()
print(f"DB count: {result['db_count']}, S3 count: {result['s3_count']}")
EOF
"""
# Scenario 3: a running backfill is killed, and no other one starts.
SCENARIO_3 = r"""
python manage.py backfill_certificates_to_s3 --batch-size 1 --max-rate 2 >backfill.log & running=$!
until grep -q "BACKFILL batch 2" backfill.log; do sleep 0.2; done
export CERT_S3_BACKFILL_ENABLED=false
pkill -f backfill_certificates_to_s3  # Kill running backfill
wait $running; echo "killed: $?"
export CERT_S3_READ_PRIMARY=false
python manage.py shell << EOF
from apps.tournaments.models import Certificate
db_migrated = Certificate.objects.filter(migrated_to_s3_at__isnull=False).count()
print(f"DB reports {db_migrated} migrated")
EOF
python manage.py backfill_certificates_to_s3; echo "switched off: $?"
export CERT_S3_BACKFILL_ENABLED=true
python manage.py backfill_certificates_to_s3 \
    --resume-token $(tail -1 backfill.log | cut -d' ' -f2) \
    --batch-size 10 \
    --limit 100
"""
# "Local-S3 Hash Mismatch" of the runbook's troubleshooting, for the certificate of that number.
MISMATCH = r"""
python manage.py shell << EOF
from apps.tournaments.models import Certificate
cert = Certificate.objects.get(id={id})

# Clear migration flag
cert.migrated_to_s3_at = None
cert.save()

# Re-run backfill for this cert only
EOF

python manage.py backfill_certificates_to_s3 \
    --tournament-id 1 \
    --verify-hash
"""
BUCKET_NAME = """
python manage.py shell -c "
from apps.tournaments.storage import CertificateS3Storage
storage = CertificateS3Storage()
print(storage.s3_storage.bucket.name)  # Should print bucket name
"
"""
IN_BACKGROUND = (
    "sudo systemd-run --unit=deltacrown-backfill --collect --uid=www-data --gid=www-data "
    "-p Nice=10 -p IOSchedulingClass=idle -p MemoryMax=1G "
    "-p LogRateLimitIntervalSec=0 "
    "/usr/local/bin/cutover backfill --env-file /etc/deltacrown/staging.env --verify-hash"
)


@pytest.fixture(scope="module")
def client(deployed: Lab) -> Iterator[traffic.Client]:
    """Staff of staging, which is in dual-write."""
    client = traffic.Client(reach.site_urls()["staging"])
    client.sign_in("load-staff", json.loads(deployed_site.PASSWORDS.read_text())["load-staff"])
    deployed_site.flip(deployed, "staging1", DUAL_WRITE)
    yield client
    deployed_site.flip(deployed, "staging1", LOCAL)


@pytest.fixture
def pending(deployed: Lab, client: traffic.Client) -> Iterator[list[traffic.Issued]]:
    """Twelve certificates, and no others, on the local disk alone; the sweep does not take them."""
    deployed.run("staging1", ["sudo", "systemctl", "stop", "deltacrown-sweep.timer"])
    assert deployed_site.shell("staging", "cutover backfill").returncode == ExitCode.DONE
    with paging.uploads_denied(deployed, "staging"):
        issued = traffic.issue_many(client, traffic.sizes(12))
    yield issued
    deployed.run("staging1", ["sudo", "systemctl", "start", "deltacrown-sweep.timer"])


def shown(lab: Lab, machine: str, unit: str, name: str) -> str:
    """A property of a unit."""
    return lab.run(machine, ["systemctl", "show", f"--property={name}", "--value", unit]).strip()


def marked(lab: Lab, issued: list[traffic.Issued]) -> set[int]:
    """Which of these certificates are marked."""
    ids = {each.id for each in issued}  # not in their order: several were issued at once
    rows = data_acts.certificates(lab, "WHERE id BETWEEN %s AND %s", min(ids), max(ids))
    return {row.id for row in rows if row.is_marked} & ids


def said(result: CompletedProcess[str]) -> str:
    """What a script said, for a failed assertion."""
    return result.stdout[-3000:] + result.stderr[-1000:]


@pytest.mark.usefixtures("deployed")
@pytest.mark.parametrize("machine", DATA_HOSTS)
def test_both_timers_run_and_know_their_next_start(lab: Lab, machine: str) -> None:
    """A timer that is installed and not started looks the same until the alarm, a day later."""
    tools = plan.load().data_tools
    intervals = {"deltacrown-sweep": tools.sweep.interval_seconds, "cutover-check": tools.check.interval_hours * 3600}
    for name, seconds in intervals.items():
        timer = f"{name}.timer"
        assert shown(lab, machine, timer, "ActiveState") == "active"
        assert shown(lab, machine, timer, "UnitFileState") == "enabled"
        scaled = round(seconds / monitoring.time_scale())
        assert f"OnUnitActiveSec={scaled}s" in lab.run(machine, ["systemctl", "cat", timer])
        assert shown(lab, machine, f"{name}.service", "InvocationID"), "it never ran"
        assert timer in lab.run(machine, ["systemctl", "list-timers", "--no-legend", "--no-pager"])


@pytest.mark.parametrize("machine", DATA_HOSTS)
def test_the_workers_user_replaces_nothing_that_root_trusts(deployed: Lab, machine: str) -> None:
    """It would begin a chain of evidence of its own, or lead root's list of test certificates into any file."""
    state, name = "/var/lib/deltacrown-cutover", "test-certificates.jsonl"
    owners = deployed.run(machine, ["sudo", "stat", "--format=%U:%G %a", state, f"{state}/evidence"])
    assert owners.split("\n")[:2] == ["root:www-data 1775", "root:root 755"]
    with pytest.raises(LabError, match="Operation not permitted"):
        deployed.run(machine, ["sudo", "-u", "www-data", "mv", f"{state}/evidence", f"{state}/other"])
    with pytest.raises(LabError, match="Permission denied"):
        deployed.run(machine, ["sudo", "-u", "www-data", "touch", f"{state}/evidence/000001-step-1-PASS.json"])
    deployed.run(machine, ["sudo", "rm", "--force", f"{state}/{name}"])
    deployed.run(machine, ["sudo", "-u", "www-data", "ln", "-s", "/run/followed", f"{state}/{name}"])
    try:
        issue = ["sudo", "cutover", "worker-requests", "issue", "--socket", "/run/deltacrown/worker1.sock"]
        issue += ["--host", "any", "--count", "1", "--remember", f"{state}/{name}"]
        with pytest.raises(LabError, match="is a link or another user's"):
            deployed.run(machine, issue, stdin=json.dumps({"user": "a", "password": "b", "tournament": 2}))
        deployed.run(machine, ["sudo", "test", "!", "-e", "/run/followed"])
    finally:
        deployed.run(machine, ["sudo", "rm", f"{state}/{name}"])


def test_the_sweep_marks_an_upload_and_the_check_passes(deployed: Lab, client: traffic.Client) -> None:
    """Rows that dual-write stored are nobody's business: the check fails from ordinary traffic."""
    issued_at = time.monotonic()
    (issued,) = traffic.issue_many(client, traffic.sizes(1))
    data_acts.swept(deployed, issued, issued_at)
    assert data_acts.checked(deployed).startswith("METRIC: cert.consistency.mismatch_ratio=0")


def test_a_missing_object_is_a_failed_unit_that_names_it(deployed: Lab, client: traffic.Client) -> None:
    """A check whose verdict nobody sees is none."""
    issued_at = time.monotonic()
    (issued,) = traffic.issue_many(client, traffic.sizes(1))
    data_acts.swept(deployed, issued, issued_at)
    s3 = deployed.aws.s3()
    body = s3.get_object(Bucket=STAGING.bucket, Key=issued.file_pdf)["Body"].read()
    s3.delete_object(Bucket=STAGING.bucket, Key=issued.file_pdf)
    try:
        with pytest.raises(LabError):
            deployed.run("staging1", ["sudo", "systemctl", "start", "cutover-check.service"])
        assert "cutover-check.service" in deployed.run("staging1", ["systemctl", "--failed", "--no-legend"])
        log = deployed.run("staging1", ["sudo", "journalctl", "-u", "cutover-check.service", "-o", "cat", "-n", "30"])
        assert issued.file_pdf in log
    finally:
        s3.put_object(Bucket=STAGING.bucket, Key=issued.file_pdf, Body=body, ChecksumAlgorithm="SHA256")
    deployed.run("staging1", ["sudo", "systemctl", "start", "cutover-check.service"])


def test_a_denied_sweep_fails_names_the_certificate_and_comes_back(deployed: Lab, client: traffic.Client) -> None:
    """A failed S3 write is one log line, and nobody comes back for it."""
    with paging.uploads_denied(deployed, "staging"):
        (issued,) = traffic.issue_many(client, traffic.sizes(1))
        deadline = time.monotonic() + 120
        while "deltacrown-sweep.service" not in deployed.run("staging1", ["systemctl", "--failed", "--no-legend"]):
            assert time.monotonic() < deadline
            time.sleep(1)
        log = deployed.run(
            "staging1", ["sudo", "journalctl", "-u", "deltacrown-sweep.service", "-o", "cat", "-n", "20"]
        )
        assert f"certificate {issued.id}, " in log
        assert "s3_denied" in log
        assert marked(deployed, [issued]) == set()
    data_acts.swept(deployed, issued, time.monotonic())
    assert "deltacrown-sweep" not in deployed.run("staging1", ["systemctl", "--failed", "--no-legend"])


def test_the_sweep_is_skipped_while_dual_write_is_off(deployed: Lab) -> None:
    """After a rollback a sweep that goes on uploads what the operator turned off; one that fails is noise."""
    deployed.run("web1", ["sudo", "systemctl", "start", "deltacrown-sweep.service"])
    assert shown(deployed, "web1", "deltacrown-sweep.service", "Result") == "exec-condition"
    assert "deltacrown-sweep" not in deployed.run("web1", ["systemctl", "--failed", "--no-legend"])


def test_the_guides_backfill_is_a_unit_that_stops_at_once_and_is_logged(
    deployed: Lab, pending: list[traffic.Issued]
) -> None:
    """An ssh that drops must not end it, a second one must not start, `systemctl stop` must not lose a row."""
    guide = " ".join((REPOSITORY / "ops/runbook.md").read_text().replace("\\\n", " ").split())
    assert IN_BACKGROUND.replace("staging.env", "<deployment>.env") in guide
    slowly = [*shlex.split(IN_BACKGROUND), "--batch-size", "1", "--max-rate", "2"]
    deployed.run("staging1", slowly)
    with pytest.raises(LabError, match="already loaded"):
        deployed.run("staging1", slowly)
    deadline = time.monotonic() + 60
    while not marked(deployed, pending):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    began = time.monotonic()
    deployed.run("staging1", ["sudo", "systemctl", "stop", "deltacrown-backfill"])
    assert time.monotonic() - began < 10
    assert 0 < len(marked(deployed, pending)) < len(pending)
    lines = delivered(deployed, "staging1", lambda found: any(line.startswith("RESUME_TOKEN") for line in found))
    assert any(line.startswith("BACKFILL batch 1/") for line in lines)
    token = next(line for line in reversed(lines) if line.startswith("RESUME_TOKEN"))
    result = deployed_site.shell("staging", f"cutover backfill --resume-token {token}")
    assert result.returncode == ExitCode.DONE, said(result)
    assert marked(deployed, pending) == {issued.id for issued in pending}


def test_the_runbooks_dry_run_sample_full_backfill_and_check(deployed: Lab, pending: list[traffic.Issued]) -> None:
    """Whoever follows the runbook must not have to translate it."""
    looked = deployed_site.shell("staging", data_acts.STEP_2)
    assert looked.returncode == ExitCode.DONE, said(looked)
    assert looked.stdout.startswith("=== Certificate S3 Backfill (DRY-RUN) ===\n")
    assert "Would migrate: 12\n" in looked.stdout
    assert marked(deployed, pending) == set()
    result = deployed_site.shell("staging", f"{data_acts.STEP_3}\ncat backfill_phase1.log >&2\n{STEP_7}", seconds=600)
    assert result.returncode == ExitCode.DONE, said(result)
    assert result.stderr.count("=== Summary ===") == 1
    assert result.stdout.count("=== Summary ===") == 1 + 11 + 1
    assert marked(deployed, pending) == {issued.id for issued in pending}
    counted = deployed_site.shell("staging", STEP_5)
    (numbers,) = re.findall(r"DB count: (\d+), S3 count: (\d+)", counted.stdout)
    assert numbers[0] == numbers[1] != "0", said(counted)


def test_the_runbooks_scenario_3_and_troubleshooting(deployed: Lab, pending: list[traffic.Issued]) -> None:
    """In an emergency the words of the runbook must stop the backfill, and its remedies must end well."""
    result = deployed_site.shell("staging", SCENARIO_3)
    assert f"killed: {ExitCode.INTERRUPTED:d}\n" in result.stdout, said(result)
    assert f"switched off: {ExitCode.USAGE:d}\n" in result.stdout
    assert " migrated\n" in result.stdout
    assert result.returncode == ExitCode.DONE, said(result)
    assert marked(deployed, pending) == {issued.id for issued in pending}
    again = deployed_site.shell("staging", MISMATCH.format(id=pending[0].id) + BUCKET_NAME)
    assert again.returncode == ExitCode.DONE, said(again)
    assert again.stdout.splitlines()[-1] == STAGING.bucket
    assert pending[0].id in marked(deployed, pending)


def test_a_step_by_hand_as_root_leaves_the_timers_their_state(deployed: Lab) -> None:
    """An operator who forgets `--uid` must not make tonight's sweep fail for its state directory."""
    command = "sudo cutover backfill --env-file /etc/deltacrown/staging.env"
    run(access.command(MACHINES["staging1"], shlex.split(command)))
    deployed.run("staging1", ["sudo", "systemctl", "start", "deltacrown-sweep.service", "cutover-check.service"])
