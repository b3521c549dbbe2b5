"""Real parts for the data tools: a PostgreSQL cluster and an AWS stand-in a session, a site of its own a test."""

from __future__ import annotations

import os
import secrets
import signal
from typing import TYPE_CHECKING

import boto3
import pytest

from rehearsal import aws_stand_in
from rehearsal.aws_stand_in import REGION
from tests.data_tools import postgres
from tests.data_tools.account import Account
from tests.data_tools.certificate_site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rehearsal.aws_stand_in import AwsStandIn
    from tests.data_tools.postgres import Cluster, Database

pytest.register_assert_rewrite("tests.data_tools.backfill_runs", "tests.data_tools.crashes")

DUAL_WRITE = {"CERT_S3_DUAL_WRITE": "true", "CERT_S3_READ_PRIMARY": "false", "CERT_S3_BACKFILL_ENABLED": "true"}


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL server."""
    with postgres.running() as cluster:
        yield cluster


@pytest.fixture
def database(cluster: Cluster) -> Iterator[Database]:
    """A database with the application's certificate table, empty."""
    with postgres.fresh_database(cluster) as database:
        yield database


@pytest.fixture(scope="session")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """The AWS stand-in with policies enforced, and clients of its root."""
    with aws_stand_in.running(tmp_path_factory.mktemp("aws")) as aws:
        yield Account.of(aws)
        os.kill(aws.pid, signal.SIGKILL)  # nothing of it is kept, and SIGTERM waits for the tests' open connections


@pytest.fixture(scope="session")
def aws(account: Account) -> AwsStandIn:
    """The AWS stand-in as its root."""
    return account.aws


@pytest.fixture
def site(account: Account, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A site in mode dual-write; its environment is this process's, too, and nothing of the operator's is."""
    bucket = f"certificates-{secrets.token_hex(6)}"
    backups = f"{bucket}-backups"
    for name in (bucket, backups):
        account.make_bucket(name)
    roles = account.make_roles(bucket, backups)
    media_root, home = tmp_path / "media", tmp_path / "home"
    for directory in (media_root, home):
        directory.mkdir()
    environment = {
        "DATABASE_URL": database.url,
        "MEDIA_ROOT": str(media_root),
        "AWS_STORAGE_BUCKET_NAME": bucket,
        "AWS_S3_REGION_NAME": REGION,
        "AWS_ENDPOINT_URL_S3": account.aws.endpoint_url,
        "AWS_ENDPOINT_URL_STS": account.aws.endpoint_url,
        "AWS_CA_BUNDLE": str(account.aws.ca_file),
        "AWS_EC2_METADATA_DISABLED": "true",
        **account.credentials(roles.application),
        **DUAL_WRITE,
        "CUTOVER_STATE_DIRECTORY": str(home / "state"),
    }
    for name in [name for name in os.environ if name.startswith(("AWS_", "CERT_"))]:
        monkeypatch.delenv(name)
    for name, value in ({"HOME": str(home)} | environment).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it keeps the credentials of the test that made it
    return Site(media_root, bucket, backups, database, roles, account.s3, environment, home)
