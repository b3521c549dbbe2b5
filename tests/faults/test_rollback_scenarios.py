"""Every scenario from every mode that a fleet serves in, counted at S3's own door; then the way back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from cutover import fleet, rollback_table
from rehearsal import deployed_site
from tests.fleet import rollback_site
from tests.fleet import staging as stagings
from tests.fleet.rollback_site import MACHINE, TABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal.lab import Lab
    from tests.fleet.rollback_site import RollbackSite

pytestmark = pytest.mark.timeout(600)  # the first test may wait for a whole lab


@pytest.fixture(scope="module")
def site(deployed: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RollbackSite]:
    """Staging with an empty chain of evidence."""
    directory = tmp_path_factory.mktemp("rollback")
    with stagings.prepared(deployed, directory / "copies"), rollback_site.prepared(deployed, directory) as prepared:
        yield prepared


@pytest.mark.parametrize("mode", ["dual-write", "s3-reads"])
@pytest.mark.parametrize("scenario", ["local", "uploads", "reads"])
def test_s3_sees_what_the_table_allows(site: RollbackSite, scenario: str, mode: str) -> None:
    """A scenario that leaves one operation on a failing S3, or takes away one that was healthy."""
    flags = site.bring_to(mode)
    expected = rollback_table.outcome(TABLE, scenario, flags)
    site.start_backfill("deltacrown-backfill")
    run = site.play("emergency-rollback.yml", "-e", f"scenario={scenario}")
    said = " ".join(run.output.split())
    assert run.returncode == 0, said
    assert "NOT MEASURED" not in said
    held = {fleet.held(each) for each in deployed_site.status_of(site.lab, MACHINE)["processes"]}
    assert held == {fleet.joined(expected.flags)}
    assert site.is_at_work("deltacrown-backfill") == expected.flags[2]
    site.sudo("systemctl stop deltacrown-backfill || true")
    rollback_site.judge(site, scenario, flags)


@pytest.mark.parametrize("mode", ["dual-write", "s3-reads"])
def test_an_inconsistency_ends_any_backfill_and_is_audited_before_flags_come_back(
    site: RollbackSite, mode: str
) -> None:
    """The runbook's scenario 3 from the alarm to the step with which the fleet goes on."""
    flags = site.bring_to(mode)
    site.start_backfill("by-hand")  # outside of its unit, as from somebody's terminal
    time.sleep(2)
    assert site.is_at_work("by-hand")
    run = site.play("emergency-rollback.yml", "-e", "scenario=inconsistency")
    said = " ".join(run.output.split())
    assert run.returncode == 0, said
    assert not site.is_at_work("by-hand")
    assert "stopped backfill:" in said
    assert "AUDIT PASS: " in said
    rollback_site.judge(site, "inconsistency", flags)
    stagings.wait_for_alarms("staging", 1)
    checked = site.play("go-live-step1.yml", "--check")
    assert checked.returncode == 0, checked.last_lines()


def test_a_missing_object_keeps_the_flags_off_until_it_is_repaired(site: RollbackSite) -> None:
    """An audit that says no must close the way back, and its own commands must open it."""
    site.bring_to("s3-reads")
    s3, key = site.lab.aws.s3(), site.migrated.file_pdf
    s3.delete_object(Bucket=rollback_site.STAGING.bucket, Key=key)
    said = " ".join(site.play("emergency-rollback.yml", "-e", "scenario=inconsistency").output.split())
    assert "AUDIT FAIL: " in said
    assert f'--key "$1"\' sh {key}' in said.replace("\\", "")
    refused = site.play("go-live-step1.yml", "--check")
    assert "the audit ended with FAIL" in " ".join(refused.output.split())
    source = f"set -a; . {rollback_site.STAGING.environment_file}"
    repair = f"{source}; CERT_S3_BACKFILL_ENABLED=true exec cutover repair --key {key}"
    site.sudo(f"setpriv --reuid=www-data --regid=www-data --init-groups sh -c '{repair}'")
    assert site.play("integrity-audit.yml").returncode == 0
    stagings.wait_for_alarms("staging", 1)
    assert site.play("go-live-step1.yml", "--check").returncode == 0
