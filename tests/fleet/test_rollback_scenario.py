"""One scenario on booted machines, counted at S3's own door; all of them: tests/faults."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal.lab.lab import AWS_DIRECTORY
from rehearsal.s3_requests import Requests
from tests.fleet import rollback_site
from tests.fleet.rollback_site import STAGING

if TYPE_CHECKING:
    from pathlib import Path

    from rehearsal.lab import Lab


def test_uploads_stop_at_the_server_and_with_them_the_backfill(deployed: Lab, tmp_path: Path) -> None:
    """Flags that are off in every /proc, and an application, a backfill or a sweep that goes on writing to S3."""
    with rollback_site.prepared(deployed, tmp_path) as site:
        flags = site.bring_to("s3-reads")
        counted = Requests.from_now(AWS_DIRECTORY)
        site.use_as_customers_do()
        assert counted.operations(STAGING.bucket)["PutObject"] >= 2  # else the silence below proves nothing
        site.start_backfill("deltacrown-backfill")
        run = site.play("emergency-rollback.yml", "-e", "scenario=uploads")
        said = " ".join(run.output.split())
        assert run.returncode == 0, said
        assert not site.is_at_work("deltacrown-backfill")
        rollback_site.judge(site, "uploads", flags)
    for sentence in ("stopped deltacrown-backfill.service", "YES: downloads: ", "YES: upload: ", "YES: journals: "):
        assert sentence in said
    assert "staging is in state uploads-off" in said
    assert "go-live-step1.yml" in said
