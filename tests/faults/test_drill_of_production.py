"""A drill from s3-reads on booted production: three machines, and the readers of the first one before the others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cutover import fleet, plan
from rehearsal import deployed_site, playbook
from tests.fleet import production as productions
from tests.fleet.production import WEBS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rehearsal.lab import Lab
    from rehearsal.playbook import StartedPlaybook
    from tests.fleet.production import Production

pytestmark = pytest.mark.timeout(600)
MIGRATED = 100  # as many as the read gate wants


@pytest.fixture(scope="module")
def production(deployed: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Production]:
    """Production in s3-reads, of which the first hundred certificates are migrated."""
    with productions.prepared(deployed, tmp_path_factory.mktemp("drill") / "copies") as production:
        production.flip("dual-write")
        backfill = deployed_site.shell("production", f"cutover backfill --json --limit {MIGRATED}")
        assert backfill.returncode == 0, backfill.stderr
        production.flip("s3-reads")
        yield production


def start(production: Production, tmp_path: Path) -> StartedPlaybook:
    own = ("-e", "drill=true", "-e", f"evidence_copies={production.copies}")
    return playbook.start("emergency-rollback.yml", *own, log_directory=tmp_path)


def test_workers_that_fall_back_end_the_drill_on_their_machine(production: Production, tmp_path: Path) -> None:
    """Each customer got the certificate, from the disk: nothing but the journals shows that S3 gave none."""
    drill = start(production, tmp_path)
    drill.reaches("Let the workers of the first machine read from S3", seconds=180)
    with productions.reads_denied(production.lab):
        run = drill.wait()
    said = " ".join(run.output.split())
    assert run.returncode == 2, said[-2000:]
    assert f"DRILL FAILED on its way back: {WEBS[0]}: deltacrown-uwsgi@worker" in said
    assert "since S3 did not give them" in said
    assert "Next, once the cause is mended: ansible-playbook go-live-step8.yml" in said
    assert production.is_in("dual-write")
    record = production.records()[-1]
    assert (record["kind"], record["verdict"], record["mode"]) == ("drill", "FAIL", "s3-reads")
    criteria = {criterion["criterion"]: criterion["verdict"] for criterion in record["criteria"]}
    assert criteria == dict.fromkeys(("seconds_to_proof", "shadow_reads_equal", "presigned_url_p95"), "PASS")
    production.flip("s3-reads")


def test_a_drill_of_three_machines_returns(production: Production, tmp_path: Path) -> None:
    run = start(production, tmp_path).wait()
    assert run.returncode == 0, run.last_lines()
    record: dict[str, Any] = production.records()[-1]
    print(f"to proof {record['seconds']} s, back after {record['seconds_to_return']} s")
    assert production.is_in("s3-reads")
    assert (record["kind"], record["verdict"], record["mode"]) == ("drill", "PASS", "s3-reads")


def test_an_emergency_in_a_drill_has_the_last_word(production: Production, tmp_path: Path) -> None:
    """A drill that returns over a real emergency would undo it in front of the customers' eyes."""
    drill = start(production, tmp_path)
    drill.reaches("Wait until the sweep takes what was issued last", seconds=120)
    options = ("-e", json.dumps({"evidence_copies": str(production.copies)}))
    emergency = playbook.run("emergency-rollback.yml", *options, log_directory=tmp_path / "emergency")
    assert emergency.returncode == 0, emergency.last_lines()
    run = drill.wait()
    assert run.returncode == 2
    assert production.is_in("local")
    wanted = fleet.triple(plan.load().modes["local"].flags)
    assert not fleet.processes_not_holding(production.processes(), wanted)
