"""Backfills that are ended at any moment, by a signal that can be caught and by one that cannot."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.data_tools import s3_proxy
from tests.data_tools.backfill_runs import backfill, check_all_migrated, check_marks, issue, last_token, through
from tests.data_tools.crashes import kill_and_resume, remaining_output, started
from tests.data_tools.s3_proxy import Gate

if TYPE_CHECKING:
    from rehearsal.aws_stand_in import AwsStandIn
    from tests.data_tools.certificate_site import Site


def test_a_backfill_may_be_killed_at_any_moment(site: Site) -> None:
    """A killed run leaves a mark without its objects, and step 10 deletes the only copy of a certificate."""
    kill_and_resume(site, kills=10)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_a_token_that_skips_nothing(site: Site, aws: AwsStandIn, number: signal.Signals) -> None:
    """`systemctl stop` and Ctrl-C lose the place, or the token skips the certificates that were under way."""
    issue(site, 100)
    with s3_proxy.running(aws) as proxy:
        proxy.script = lambda _: s3_proxy.hold(0.1)  # so that the signal comes in the middle
        process = started(site, "--batch-size", "10", environment=through(proxy))
        assert process.stdout is not None
        before = next(line for line in process.stdout if line.startswith("BACKFILL"))
        process.send_signal(number)
        output = remaining_output(process)
    assert process.returncode == 130
    token = last_token(output)
    assert output.splitlines()[-1] == f"RESUME_TOKEN {token}"
    assert token is not None
    assert last_token(before) is not None
    rows = check_marks(site)
    assert 10 <= sum(row.marked for row in rows) < 100
    code, answer = backfill(site, "--resume-token", token)
    assert (code, answer["errors"]) == (0, [])
    check_all_migrated(site)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_the_first_upload_is_obeyed_at_once(
    site: Site, aws: AwsStandIn, number: signal.Signals
) -> None:
    """S3 is silent, the run looks whether it checks checksums, and `systemctl stop` ends it without a word."""
    issue(site, 1)
    gate = Gate()
    with s3_proxy.running(aws) as proxy:
        proxy.script = lambda request: gate if request.operation == "put" else None
        process = started(site, environment=through(proxy))
        gate.wait()
        process.send_signal(number)
        assert process.wait(timeout=5) == 130
        gate.open()
    assert remaining_output(process).splitlines()[-1].startswith("RESUME_TOKEN ")
