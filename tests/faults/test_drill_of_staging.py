"""A drill from s3-reads on booted staging, under load: what is issued meanwhile, the silence, a gate that says no."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cutover import fleet, plan
from rehearsal import data_acts, deployed_site, playbook, traffic
from rehearsal.lab import monitoring, reach
from tests.fleet import staging as stagings
from tests.fleet.production import reads_denied

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal.lab import Lab
    from rehearsal.playbook import StartedPlaybook
    from tests.fleet.staging import Staging

pytestmark = pytest.mark.timeout(600)
MIGRATED = 100  # as many as the read gate wants


@pytest.fixture(scope="module")
def staging(deployed: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Staging]:
    """Staging in s3-reads, of which the first hundred certificates are migrated."""
    with stagings.prepared(deployed, tmp_path_factory.mktemp("drill") / "copies") as staging:
        deployed_site.flip(deployed, stagings.MACHINE, flags("dual-write"))
        backfill = deployed_site.shell("staging", f"cutover backfill --json --limit {MIGRATED}")
        assert backfill.returncode == 0, backfill.stderr
        deployed_site.flip(deployed, stagings.MACHINE, flags("s3-reads"))
        yield staging


def flags(mode: str) -> str:
    return fleet.triple(plan.load().modes[mode].flags)


def start(staging: Staging, tmp_path: Path, *arguments: str) -> StartedPlaybook:
    own = ("-e", "deployment=staging", "-e", "drill=true", "-e", f"evidence_copies={staging.copies}")
    return playbook.start("emergency-rollback.yml", *own, *arguments, log_directory=tmp_path)


def silent_until() -> str | None:
    """Until when staging is silent, as CloudWatch's stand-in has it."""
    run = subprocess.run(
        [
            Path(sys.executable).with_name("cutover"),
            "alarms",
            "silence",
            "--deployment",
            "staging",
            "--status",
            "--json",
        ],
        env=os.environ
        | {"AWS_ENDPOINT_URL_CLOUDWATCH": monitoring.place().endpoint_url, "AWS_DEFAULT_REGION": "us-east-1"}
        | {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"},
        capture_output=True,
        text=True,
        check=True,
    )
    until: str | None = json.loads(run.stdout)["until"]
    return until


def test_what_is_issued_in_a_drill_is_in_s3_before_anybody_reads_there(staging: Staging, tmp_path: Path) -> None:
    """A certificate that was issued while nothing went to S3 would be on one disk alone, and nobody would come back."""
    passwords = json.loads(deployed_site.PASSWORDS.read_text())
    client = traffic.Client(reach.site_urls()["staging"])
    client.sign_in("load-staff", passwords["load-staff"])
    s3 = staging.lab.aws.s3()
    drill = start(staging, tmp_path)
    with traffic.Load(client, rate=5) as load:
        drill.reaches("Stop the clock")
        (issued,) = traffic.issue_many(client, traffic.sizes(1))
        assert not s3.list_objects_v2(Bucket=stagings.STAGING.bucket, Prefix=issued.file_pdf).get("Contents")
        assert silent_until() is not None
        drill.reaches("Read certificates as a worker would that reads from S3")
        assert staging.is_in("dual-write")
        (row,) = data_acts.certificates(staging.lab, "WHERE id = %s", issued.id)
        assert row.id in staging.marked()
        assert s3.head_object(Bucket=stagings.STAGING.bucket, Key=issued.file_pdf)
        run = drill.wait()
    assert run.returncode == 0, run.last_lines()
    record = staging.records()[-1]
    print(f"to proof {record['seconds']} s, back after {record['seconds_to_return']} s")
    assert staging.is_in("s3-reads")
    assert (record["kind"], record["verdict"], record["mode"]) == ("drill", "PASS", "s3-reads")
    assert record["sweep"]["objects_uploaded"] >= 2
    assert record["seconds_to_prepare"] < record["seconds"] < record["seconds_to_return"]
    assert silent_until() is None
    assert not load.report().failures


def test_readers_stay_local_while_s3_gives_nothing(staging: Staging, tmp_path: Path) -> None:
    """A drill must not end an outage's first minute by sending every reader into it."""
    with reads_denied(staging.lab, stagings.STAGING.role):
        run = start(staging, tmp_path).wait()
    said = " ".join(run.output.split())
    assert run.returncode == 2, said[-2000:]
    assert "DRILL FAILED on its way back: " in said
    assert "Next, once the cause is mended: ansible-playbook go-live-step4.yml" in said
    assert staging.is_in("dual-write")
    record: dict[str, Any] = staging.records()[-1]
    assert (record["kind"], record["verdict"]) == ("drill", "FAIL")
    assert silent_until() is None
    deployed_site.flip(staging.lab, stagings.MACHINE, flags("s3-reads"))


def test_a_drill_that_cannot_be_silenced_changes_nothing(staging: Staging, tmp_path: Path) -> None:
    before = deployed_site.state_of(staging.lab, stagings.MACHINE)
    nowhere = json.dumps({"silence_environment": {"AWS_ENDPOINT_URL_CLOUDWATCH": "http://127.0.0.1:9"}})
    run = start(staging, tmp_path, "-e", nowhere).wait()
    assert run.returncode == 2
    assert "NOT STARTED, nothing was changed: the drill cannot be silenced" in " ".join(run.output.split())
    assert deployed_site.state_of(staging.lab, stagings.MACHINE) == before
