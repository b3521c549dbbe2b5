"""`cutover delivered`: arrived, not arrived, or could not be asked."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rehearsal import aws_stand_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal.aws_stand_in import AwsStandIn

GROUP = "/deltacrown/certificates/staging"


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AwsStandIn]:
    with aws_stand_in.running(tmp_path_factory.mktemp("aws")) as running:
        running.logs().create_log_group(logGroupName=GROUP)
        running.logs().create_log_stream(logGroupName=GROUP, logStreamName="staging1")
        yield running


def write(aws: AwsStandIn, message: str) -> None:
    event = {"timestamp": int(time.time() * 1000), "message": message}
    aws.logs().put_log_events(logGroupName=GROUP, logStreamName="staging1", logEvents=[event])  # type: ignore[list-item]


def delivered(
    aws: AwsStandIn, mark: str, *, group: str = GROUP, within: str = "0", key: tuple[str, str] | None = None
) -> subprocess.Popen[str]:
    access_key, secret_key = key or (aws.access_key, aws.secret_key)
    credentials = {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key}
    command = [str(Path(sys.executable).parent / "cutover"), "delivered", "--log-group", group, "--mark", mark]
    options = ["--within", within, "--region", "us-east-1", "--endpoint-url", aws.endpoint_url]
    return subprocess.Popen(
        [*command, *options],
        env=os.environ | credentials | {"AWS_CA_BUNDLE": str(aws.ca_file)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def outcome(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    said, complained = process.communicate(timeout=60)
    return process.returncode, said, complained


def test_a_line_that_arrives_later_is_waited_for(aws: AwsStandIn) -> None:
    """The agent ships after seconds; one look would refuse every healthy machine."""
    process = delivered(aws, "proof-web1-20261124T1715", within="30")
    time.sleep(1)
    write(aws, "delivery proof-web1-20261124T1715")
    code, said, complained = outcome(process)
    assert (code, complained) == (0, "")
    assert 0 <= float(said) < 30


def test_another_machines_mark_does_not_count(aws: AwsStandIn) -> None:
    """One machine that delivers would vouch for all others."""
    write(aws, "delivery proof-web1-20261124T1716")
    code, said, complained = outcome(delivered(aws, "proof-web2-20261124T1716"))
    assert (code, said) == (1, "")
    assert "no event with 'proof-web2-20261124T1716' within 0 s" in complained


def test_missing_group_is_no_verdict(aws: AwsStandIn) -> None:
    """ "Not arrived" would send the operator to the agent, while the stack is not up."""
    code, said, complained = outcome(delivered(aws, "mark", group="/nowhere"))
    assert (code, said, complained.count("\n")) == (4, "", 1)
    assert "/nowhere: there is no such log group in this region: run `pulumi up`" in complained


def test_denied_search_names_the_missing_right(aws: AwsStandIn) -> None:
    """The role lacks one action, and the operator reads a traceback."""
    aws.iam().create_user(UserName="powerless")
    key = aws.iam().create_access_key(UserName="powerless")["AccessKey"]
    code, _, complained = outcome(delivered(aws, "mark", key=(key["AccessKeyId"], key["SecretAccessKey"])))
    assert (code, complained.count("\n")) == (4, 1)
    assert "logs:FilterLogEvents" in complained


@pytest.mark.parametrize("mark", ["", 'a"b'])
def test_mark_that_would_match_everything_is_refused(aws: AwsStandIn, mark: str) -> None:
    """An empty mark is in every line, so that delivery is proven by any."""
    code, _, complained = outcome(delivered(aws, mark))
    assert code == 2
    assert "a mark is some text without quotation marks" in complained
