"""What takes too long for every change: fifty kills, and time-outs and outages in their real length."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from rehearsal.service_process import free_port
from tests.data_tools import s3_proxy
from tests.data_tools.backfill_runs import backfill, causes, check_all_migrated, check_marks, issue, last_token, through
from tests.data_tools.crashes import kill_and_resume, remaining_output, started
from tests.data_tools.s3_proxy import Gate, hold, refusal

if TYPE_CHECKING:
    from rehearsal.aws_stand_in import AwsStandIn
    from tests.data_tools.certificate_site import Site
    from tests.data_tools.postgres import Cluster

CLIENT_SECONDS = 30  # after which the clients give an answer up
DATABASE_SECONDS = 60  # for which a database that is away is waited for
STOP_SECONDS = 20  # of the 30 that systemd gives a unit before it kills it
OUTAGE_SECONDS = 90  # within which a run must have given S3 up


@pytest.mark.timeout(1200)
def test_fifty_kills(site: Site) -> None:
    """The one instruction in a thousand at which a kill leaves a mark without its objects."""
    kill_and_resume(site, kills=50)


def test_an_upload_that_hangs_is_given_up_and_tried_again(site: Site, aws: AwsStandIn) -> None:
    """One dead connection holds a run for a night."""
    row, *_ = issue(site, 6)
    with s3_proxy.running(aws) as proxy:
        hangs = hold(CLIENT_SECONDS + 10)
        proxy.script = lambda request: hangs if request.key == row.file_pdf and request.number == 1 else None
        begun = time.monotonic()
        code, answer = backfill(site, proxy=proxy)
    assert time.monotonic() - begun > CLIENT_SECONDS
    assert (code, answer["errors"]) == (0, [])
    check_all_migrated(site)


def test_an_upload_that_hangs_does_not_hold_up_a_stop(site: Site, aws: AwsStandIn) -> None:
    """`systemctl stop` waits for a dead connection, and ends by SIGKILL without a token."""
    issue(site, 60)
    gate = Gate()
    with s3_proxy.running(aws) as proxy:
        proxy.script = lambda request: gate if request.operation == "put" and request.total > 30 else None
        process = started(site, "--batch-size", "10", environment=through(proxy))
        gate.wait()
        process.terminate()
        begun = time.monotonic()
        output = remaining_output(process)
    assert time.monotonic() - begun < STOP_SECONDS
    assert process.returncode == 130, output
    token = last_token(output)
    assert output.splitlines()[-1] == f"RESUME_TOKEN {token}"
    assert token is not None
    check_marks(site)
    assert backfill(site, "--resume-token", token)[0] == 0
    check_all_migrated(site)


@pytest.mark.parametrize("reachable", [True, False])
def test_an_outage_of_s3_ends_the_run_with_a_token(site: Site, aws: AwsStandIn, reachable: bool) -> None:
    """S3 is down for an hour, and the run tries each of its certificates for a minute, or marks them."""
    issue(site, 200)
    with s3_proxy.running(aws) as proxy:
        proxy.script = lambda _: refusal(503, "ServiceUnavailable")
        nobody = f"https://127.0.0.1:{free_port('127.0.0.1')}"
        environment = through(proxy) if reachable else {"AWS_ENDPOINT_URL_S3": nobody}
        begun = time.monotonic()
        result = site.run("backfill", "--batch-size", "20", environment=environment, timeout=OUTAGE_SECONDS * 2)
    assert time.monotonic() - begun < OUTAGE_SECONDS
    assert result.returncode == 1, result.stderr
    assert "s3_unavailable" in result.stdout
    token = last_token(result.stdout)
    assert token is not None
    assert [row.id for row in check_marks(site) if row.marked] == []
    assert backfill(site, "--resume-token", token)[0] == 0
    check_all_migrated(site)


def test_a_database_that_stays_away_ends_the_run_with_a_token(site: Site, cluster: Cluster, aws: AwsStandIn) -> None:
    """The run waits for ever, or its end looks like success."""
    issue(site, 60)
    gate = Gate()
    with s3_proxy.running(aws) as proxy:
        proxy.script = lambda request: gate if request.operation == "put" and request.total > 60 else None
        process = started(site, "--batch-size", "10", environment=through(proxy))
        gate.wait()
        cluster.control("stop", "--mode=immediate")
        try:
            gate.open()
            begun = time.monotonic()
            output = remaining_output(process)
        finally:
            cluster.start()
    assert time.monotonic() - begun >= DATABASE_SECONDS
    assert process.returncode == 4, output
    token = last_token(output)
    assert output.splitlines()[-1] == f"RESUME_TOKEN {token}"
    assert token is not None
    check_marks(site)
    assert backfill(site, "--resume-token", token)[0] == 0
    check_all_migrated(site)


def test_an_s3_that_slows_down_for_minutes_loses_no_certificate(site: Site, aws: AwsStandIn) -> None:
    """Each request is told to slow down four times, and the retries of some certificates end before that."""
    issue(site, 100)
    with s3_proxy.running(aws) as proxy:
        proxy.script = lambda request: refusal(503, "SlowDown") if request.number <= 4 else None
        code, answer = backfill(site, proxy=proxy)
    assert (code, causes(answer)) == (0, {})
    check_all_migrated(site)
