"""The data host's own daily check on booted machines: nobody is there, and each day is sealed, or is an error."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from rehearsal import deployed_site, traffic
from rehearsal.lab import LabError, reach
from rehearsal.lab.topology import MACHINES
from tests.fleet.production import DATA_HOST, PRODUCTION, passed_step, seal
from tests.fleet.staging import EVIDENCE, forget_copies

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal.lab import Lab

UNIT = "cutover-daily.service"
GROUP = "/deltacrown/certificates/production"
LOCAL, DUAL_WRITE = "false,false,false", "true,false,true"
ROLE, POLICY = "deltacrown-cutover-readonly", "CutoverReadonly"


def records(lab: Lab) -> list[dict[str, Any]]:
    """The daily records on production's data host, oldest first."""
    found = json.loads(lab.run(DATA_HOST, ["sudo", "cutover", "evidence", "list", "--json"]))
    return [record for record in found if record["kind"] == "daily"]


def start(lab: Lab) -> str:
    """Starts the daily check as its timer does, waits for its end, and returns what it said in this run."""
    before = lab.run(DATA_HOST, ["sudo", "journalctl", "-n", "1", "-o", "json"])
    cursor = json.loads(before)["__CURSOR"]
    lab.run(DATA_HOST, ["sudo", "sh", "-c", f"systemctl start {UNIT} || true"])
    return lab.run(DATA_HOST, ["sudo", "journalctl", "-q", "-u", UNIT, "-o", "cat", f"--after-cursor={cursor}"])


def failed(lab: Lab) -> bool:
    return UNIT in lab.run(DATA_HOST, ["systemctl", "--failed", "--no-legend"])


@pytest.fixture(scope="module")
def soak(deployed: Lab) -> Iterator[Lab]:
    """Production with twenty certificates that S3 has, a chain that says that step 8 has passed, and no other."""
    chain = MACHINES[DATA_HOST].root / EVIDENCE.lstrip("/")
    kept = f"{EVIDENCE}.kept"
    deployed.run(DATA_HOST, ["sudo", "sh", "-c", f"test ! -e {EVIDENCE} || mv {EVIDENCE} {kept}"])
    assert "no daily check: step 8 is NOT RUN" in start(deployed)
    assert not chain.exists() or not list(chain.iterdir())
    for machine in ("web1", "web2", "web3"):
        deployed_site.flip(deployed, machine, DUAL_WRITE)
    client = traffic.Client(reach.site_urls()["production"])
    client.sign_in("load-staff", json.loads(deployed_site.PASSWORDS.read_text())["load-staff"])
    traffic.issue_many(client, traffic.sizes(20))
    backfilled = deployed_site.shell("production", "cutover backfill")
    assert backfilled.returncode == 0, backfilled.stderr
    begun = datetime.now(UTC) - timedelta(seconds=20)
    seal(deployed, DATA_HOST, passed_step(8) | {"started_at": f"{begun:%Y-%m-%dT%H:%M:%SZ}"})
    yield deployed
    deployed.run(DATA_HOST, ["sudo", "sh", "-c", f"rm -r {EVIDENCE}; test ! -e {kept} || mv {kept} {EVIDENCE}"])
    forget_copies(deployed)
    for machine in ("web1", "web2", "web3"):
        deployed_site.flip(deployed, machine, LOCAL)


def test_the_timer_is_there_and_knows_its_next_start(deployed: Lab) -> None:
    """One that is not enabled is gone after the next start of the machine."""
    for machine in ("staging1", DATA_HOST):
        shown = deployed.run(machine, ["systemctl", "is-active", "cutover-daily.timer"]).strip()
        assert (machine, shown) == (machine, "active")
        assert "cutover-daily.timer" in deployed.run(machine, ["systemctl", "list-timers", "--no-legend", "--no-pager"])


def test_staging_has_nothing_to_check(deployed: Lab) -> None:
    deployed.run("staging1", ["sudo", "systemctl", "start", UNIT])
    assert UNIT not in deployed.run("staging1", ["systemctl", "--failed", "--no-legend"])


def test_a_day_is_sealed_by_root_with_what_the_workers_logged(soak: Lab) -> None:
    """Nobody watched, and the seventh day asks for seven records."""
    said = start(soak)
    (record,) = records(soak)
    assert record["verdict"] == "PASS", said
    assert record["who"] == f"www-data@{DATA_HOST}"
    assert record["counted"]["source"] == "delivered lines"
    assert "METRIC: cert.consistency.mismatch_ratio=0" in said
    assert not failed(soak)
    assert soak.run(DATA_HOST, ["stat", "-c", "%U %a", "/run/cutover-daily.json"]).split()[0] == "root"
    start(soak)
    first, second = records(soak)
    assert second["counted"]["since"] == first["counted"]["until"]  # no line twice, none lost


def test_a_machine_whose_lines_do_not_arrive_ends_it_without_a_record(soak: Lab) -> None:
    """Its failures would be none."""
    before = len(records(soak))
    soak.run(DATA_HOST, ["sudo", "sed", "-i", "s/ --machine / --machine web9 /", f"/etc/systemd/system/{UNIT}"])
    soak.run(DATA_HOST, ["sudo", "systemctl", "daemon-reload"])
    try:
        assert f"{GROUP}: web9 delivered no METRIC line from " in start(soak)
        assert failed(soak)
    finally:
        soak.run(DATA_HOST, ["sudo", "sed", "-i", "s/ web9 / /", f"/etc/systemd/system/{UNIT}"])
        soak.run(DATA_HOST, ["sudo", "systemctl", "daemon-reload"])
    assert len(records(soak)) == before


def test_a_role_that_may_not_search_is_named(soak: Lab) -> None:
    before = len(records(soak))
    iam = soak.aws.iam()
    policy = json.dumps(iam.get_role_policy(RoleName=ROLE, PolicyName=POLICY)["PolicyDocument"])
    denied = policy.replace('"logs:FilterLogEvents"', '"logs:GetQueryResults"')
    iam.put_role_policy(RoleName=ROLE, PolicyName=POLICY, PolicyDocument=denied)
    try:
        assert "the role needs logs:FilterLogEvents" in start(soak)
        assert failed(soak)
    finally:
        iam.put_role_policy(RoleName=ROLE, PolicyName=POLICY, PolicyDocument=policy)
    assert len(records(soak)) == before


def test_a_disagreement_is_sealed_as_fail_and_a_failed_unit(soak: Lab) -> None:
    """Tomorrow's PASS would follow on yesterday's."""
    s3 = soak.aws.s3()
    key = s3.list_objects_v2(Bucket=PRODUCTION.bucket, Prefix="certificates/", MaxKeys=1)["Contents"][0]["Key"]
    body = s3.get_object(Bucket=PRODUCTION.bucket, Key=key)["Body"].read()
    s3.delete_object(Bucket=PRODUCTION.bucket, Key=key)
    try:
        said = start(soak)
        assert records(soak)[-1]["verdict"] == "FAIL", said
        assert "FAIL keys_agree" in records(soak)[-1]["message"]
        assert failed(soak)
    finally:
        s3.put_object(Bucket=PRODUCTION.bucket, Key=key, Body=body, ChecksumAlgorithm="SHA256")
    time.sleep(1)
    start(soak)
    assert records(soak)[-1]["verdict"] == "PASS"


def test_after_a_rollback_nothing_is_sealed(soak: Lab) -> None:
    """The fleet is not in the mode that the days are about."""
    rollback = {"kind": "rollback", "deployment": "production", "verdict": "PASS", "scenario": "reads", "seconds": 4.0}
    seal(soak, DATA_HOST, rollback)
    before = len(records(soak))
    assert "no daily check: step 8 is UNDONE" in start(soak)
    assert len(records(soak)) == before
    with pytest.raises(LabError):
        soak.run(DATA_HOST, ["systemctl", "is-failed", UNIT])
