"""The parts that the other tests stand on: what they claim must be so, or every test above them proves nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import boto3
import psycopg
import pytest
from botocore.exceptions import ClientError

from rehearsal.aws_stand_in import REGION

if TYPE_CHECKING:
    from tests.data_tools.certificate_site import Site


def test_the_table_has_no_defaults_and_one_valid_certificate_of_a_type(site: Site) -> None:
    """A tool passes the tests because the tests' table forgives what the application's does not."""
    with pytest.raises(psycopg.errors.NotNullViolation):
        site.execute("INSERT INTO {table} (tournament_id) VALUES (1)")
    first = site.add()
    with pytest.raises(psycopg.errors.UniqueViolation):
        site.add(participant_id=first.id)
    site.add(participant_id=first.id, revoked=True)
    assert [row.keys == () for row in site.rows()] == [False, False]


def test_an_added_certificate_is_on_disk_and_in_the_table(site: Site) -> None:
    """Tests that compare nothing with nothing pass for ever."""
    row = site.add(b"the PDF", None, marked=True)
    assert row.file_pdf is not None
    assert row.file_image is None
    assert site.path(row.file_pdf).read_bytes() == b"the PDF"
    assert row.marked
    site.store_files(row)
    assert site.objects() == {row.file_pdf: b"the PDF"}
    assert len(site.versions()) == 1


def test_the_application_reaches_its_own_prefix_alone(site: Site) -> None:
    """The tests run as root and never notice a missing permission."""
    s3 = boto3.client("s3")
    s3.put_object(Bucket=site.bucket, Key="certificates/pdf/a.pdf", Body=b"a")
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.put_object(Bucket=site.bucket, Key="elsewhere/a.pdf", Body=b"a")


@pytest.mark.parametrize("role", ["readonly", "retirement"])
def test_an_operators_role_reads_and_cannot_write(site: Site, role: str) -> None:
    """A dry run is proven harmless by a role that could have written."""
    site.store("certificates/pdf/a.pdf", b"a")
    sts = boto3.client("sts", region_name=REGION)
    given = sts.assume_role(RoleArn=getattr(site.roles, role), RoleSessionName="operator")["Credentials"]
    s3 = boto3.client(
        "s3",
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
    )
    assert s3.get_object(Bucket=site.bucket, Key="certificates/pdf/a.pdf")["Body"].read() == b"a"
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.put_object(Bucket=site.bucket, Key="certificates/pdf/b.pdf", Body=b"b")


def test_the_command_runs_with_the_sites_environment_alone(site: Site) -> None:
    """The operator's own AWS profile decides what the tests see."""
    result = site.run("--help")
    assert result.returncode == 0
    assert "usage: cutover" in result.stdout


@pytest.mark.parametrize("checksum", [True, False])
def test_s3_keeps_the_sha256_of_what_dual_write_stored_and_of_nothing_else(site: Site, checksum: bool) -> None:
    """An object without a checksum is never met in tests, and the first real one is taken for verified."""
    site.store("certificates/pdf/a.pdf", b"a", checksum=checksum)
    head = site.root.head_object(Bucket=site.bucket, Key="certificates/pdf/a.pdf", ChecksumMode="ENABLED")
    assert ("ChecksumSHA256" in head) is checksum
    assert head["ContentLength"] == 1
