"""The proxy that plays S3's faults: a fault that is not played makes every test above it pass."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ResponseStreamingError

from tests.data_tools import s3_proxy
from tests.data_tools.s3_proxy import Exchange

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3.client import S3Client

    from rehearsal.aws_stand_in import AwsStandIn
    from tests.data_tools.certificate_site import Site
    from tests.data_tools.s3_proxy import S3Proxy

KEY, BODY = "certificates/pdf/a b+ü.pdf", b"0123456789"
SHA256 = base64.b64encode(hashlib.sha256(BODY).digest()).decode()


@pytest.fixture
def proxy(aws: AwsStandIn) -> Iterator[S3Proxy]:
    with s3_proxy.running(aws) as proxy:
        yield proxy


@pytest.fixture
def s3(site: Site, proxy: S3Proxy) -> S3Client:
    """A client of the application's role, which speaks to the proxy and retries nothing."""
    assert site.bucket
    config = Config(retries={"total_max_attempts": 1})
    return boto3.client("s3", endpoint_url=proxy.endpoint_url, config=config)


def put(site: Site, s3: S3Client) -> None:
    s3.put_object(Bucket=site.bucket, Key=KEY, Body=BODY, ChecksumSHA256=SHA256)


def test_without_a_script_it_changes_nothing_and_counts(site: Site, proxy: S3Proxy, s3: S3Client) -> None:
    """Each answer of the stand-in arrives as it was given."""
    put(site, s3)
    head = s3.head_object(Bucket=site.bucket, Key=KEY, ChecksumMode="ENABLED")
    assert (head["ContentLength"], head["ChecksumSHA256"]) == (len(BODY), SHA256)
    assert s3.get_object(Bucket=site.bucket, Key=KEY)["Body"].read() == BODY
    assert [found["Key"] for found in s3.list_objects_v2(Bucket=site.bucket)["Contents"]] == [KEY]
    counts = [proxy.count(operation, KEY) for operation in ("put", "head", "get")]
    assert (counts, proxy.count("list")) == ([1, 1, 1], 1)
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.put_object(Bucket=site.bucket, Key="elsewhere", Body=BODY)


def test_a_refusal_is_s3s_own_and_reaches_no_bucket(site: Site, proxy: S3Proxy, s3: S3Client) -> None:
    """A refused upload was stored all the same."""
    proxy.script = lambda request: s3_proxy.refusal(503, "SlowDown") if request.number == 1 else None
    with pytest.raises(ClientError, match="SlowDown"):
        put(site, s3)
    assert site.objects() == {}
    put(site, s3)
    assert site.objects() == {KEY: BODY}


def test_a_cut_upload_is_refused_by_the_stand_in(site: Site, proxy: S3Proxy, s3: S3Client) -> None:
    """Half of the bytes under the checksum of all of them."""
    proxy.script = lambda _: Exchange.forward_cut
    with pytest.raises(ClientError, match="BadDigest"):
        put(site, s3)
    assert site.objects() == {}


def test_a_cut_answer_and_a_broken_connection(site: Site, proxy: S3Proxy, s3: S3Client) -> None:
    """A truncated download that looks whole."""
    site.store(KEY, BODY)
    proxy.script = lambda request: Exchange.reply_cut if request.number == 1 else Exchange.hang_up
    with pytest.raises(ResponseStreamingError):
        s3.get_object(Bucket=site.bucket, Key=KEY)["Body"].read()
    with pytest.raises(BotoCoreError):
        s3.get_object(Bucket=site.bucket, Key=KEY)


def test_a_lost_answer_leaves_the_object(site: Site, proxy: S3Proxy, s3: S3Client) -> None:
    """A retry after a lost answer meets an empty bucket, and proves nothing."""
    proxy.script = lambda _: Exchange.lose_answer
    with pytest.raises(BotoCoreError):
        put(site, s3)
    assert site.objects() == {KEY: BODY}


def test_unchecked_storage_takes_other_bytes_and_keeps_no_sha256(site: Site, proxy: S3Proxy, s3: S3Client) -> None:
    """The server that ignores checksums is played by one that enforces them."""
    proxy.script = lambda request: (lambda one: one.store_unchecked(b"others")) if request.operation == "put" else None
    put(site, s3)
    assert site.objects() == {KEY: b"others"}
    assert "ChecksumSHA256" not in s3.head_object(Bucket=site.bucket, Key=KEY, ChecksumMode="ENABLED")


def test_a_held_answer_comes_late(site: Site, proxy: S3Proxy) -> None:
    """A time-out that never happens."""
    proxy.script = lambda _: s3_proxy.hold(5)
    config = Config(retries={"total_max_attempts": 1}, read_timeout=0.2)
    s3 = boto3.client("s3", endpoint_url=proxy.endpoint_url, config=config)
    with pytest.raises(BotoCoreError, match="timeout"):
        s3.head_object(Bucket=site.bucket, Key=KEY)
