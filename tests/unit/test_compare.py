"""`cutover compare` against a real S3 protocol server."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from cutover import cli, local_files, settings
from rehearsal import aws_stand_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUCKET = "deltacrown-certificates-staging"
KEY = "certificates/pdf/2026/11/cert_7_0a1b2c3d.pdf"
BODY = b"%PDF-1.7 certificate"


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[aws_stand_in.AwsStandIn]:
    with aws_stand_in.running(tmp_path_factory.mktemp("aws")) as running:
        running.s3().create_bucket(Bucket=BUCKET)
        yield running


@pytest.fixture
def environment_file(stand_in: aws_stand_in.AwsStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("MEDIA_ROOT", "AWS_STORAGE_BUCKET_NAME", "AWS_ENDPOINT_URL_S3", "AWS_CA_BUNDLE"):
        monkeypatch.setenv(name, "")  # what the command exports is taken back after the test
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", stand_in.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", stand_in.secret_key)
    media = tmp_path / "media"
    (media / KEY).parent.mkdir(parents=True)
    (media / KEY).write_bytes(BODY)
    path = tmp_path / "staging.env"
    path.write_text(
        f"MEDIA_ROOT='{media}'\nAWS_STORAGE_BUCKET_NAME={BUCKET}\nAWS_ENDPOINT_URL_S3={stand_in.endpoint_url}\n"
        f"AWS_CA_BUNDLE={stand_in.ca_file}\n"
    )
    return path


def run(environment_file: Path, *keys: str) -> int:
    return cli.main(["compare", "--json", "--env-file", str(environment_file), *keys])


def test_equal_copies_pass(
    stand_in: aws_stand_in.AwsStandIn, environment_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The three witnesses are the local bytes, the downloaded bytes and S3's own checksum."""
    stand_in.s3().put_object(Bucket=BUCKET, Key=KEY, Body=BODY, ChecksumAlgorithm="SHA256")
    assert run(environment_file, KEY) == 0
    (found,) = json.loads(capsys.readouterr().out)
    expected = hashlib.sha256(BODY).hexdigest()
    assert found == {"key": KEY, "local": expected, "downloaded": expected, "recorded_by_s3": expected, "equal": True}


def test_other_bytes_in_s3_fail(
    stand_in: aws_stand_in.AwsStandIn, environment_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An object under the right name with the wrong bytes would be served to a customer."""
    stand_in.s3().put_object(Bucket=BUCKET, Key=KEY, Body=b"something else")
    assert run(environment_file, KEY) == 1
    assert json.loads(capsys.readouterr().out)[0]["equal"] is False


def test_absent_copy_fails(
    stand_in: aws_stand_in.AwsStandIn, environment_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing here and nothing there is not "equal"."""
    stand_in.s3().delete_object(Bucket=BUCKET, Key=KEY)
    assert run(environment_file, KEY, "certificates/pdf/none.pdf") == 1
    found = json.loads(capsys.readouterr().out)
    assert [(entry["local"] is None, entry["downloaded"] is None) for entry in found] == [(False, True), (True, True)]


def test_denied_or_unreachable_s3_is_an_error_not_a_difference(
    stand_in: aws_stand_in.AwsStandIn,
    environment_file: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """ "Could not look" must never read as "absent": somebody would upload over it."""
    stand_in.s3().put_object(Bucket=BUCKET, Key=KEY, Body=BODY)  # the stand-in answers 404, not 403, for an absent key
    stand_in.iam().create_user(UserName="nobody")
    key = stand_in.iam().create_access_key(UserName="nobody")["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    assert run(environment_file, KEY) == 4
    said = capsys.readouterr().err
    assert KEY in said
    assert "AccessDenied" in said


def test_missing_settings_are_named(environment_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A default bucket in place of a missing setting would check somebody else's."""
    environment_file.write_text(environment_file.read_text().replace("AWS_STORAGE_BUCKET_NAME", "OTHER"))
    assert run(environment_file, KEY) == 2
    assert "AWS_STORAGE_BUCKET_NAME is not set" in capsys.readouterr().err
    assert run(tmp_path / "none.env", KEY) == 2
    assert "none.env" in capsys.readouterr().err
    environment_file.write_text(f"MEDIA_ROOT={tmp_path}/gone\nAWS_STORAGE_BUCKET_NAME={BUCKET}\n")
    assert run(environment_file, KEY) == 2
    assert "is the export mounted?" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../x", "a//b", "a/./b", "a/../b", "link/x", "leaf-link", "pipe", "directory"]
)
def test_names_that_leave_the_media_directory_are_refused(tmp_path: Path, name: str) -> None:
    """A row with such a name would publish a file of the machine, or hang on a pipe."""
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "directory")
    (tmp_path / "leaf-link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(local_files.UnsafeNameError, match=r"no (name|plain file)|symbolic link"):
        local_files.sha256(tmp_path, name)


def test_environment_file_is_read_as_its_writer_meant_it() -> None:
    """A backfill that is turned off by an `export` line, as the runbook writes it, must end."""
    text = "# c\nA='b c'\nexport B=1\nC=\"x\"\r\n D = e \nA=last\nnothing\n; comment=1\n"
    assert settings.parse_environment_file(text) == {"A": "last", "B": "1", "C": "x", "D": "e"}


def test_expired_token_is_said_in_one_sentence(
    environment_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who reads only an error code at 3 a.m. looks for a broken bucket."""

    def refuse(*_arguments: object) -> None:
        raise ClientError({"Error": {"Code": "ExpiredToken", "Message": "It has expired."}}, "GetObject")

    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", refuse)
    assert run(environment_file, KEY) == 4
    assert "session token of these credentials has expired" in capsys.readouterr().err


def test_file_that_cannot_be_read_is_an_error_not_absent(
    environment_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stale NFS handle reported as "absent" would let somebody restore over a good file."""

    def stale(*_arguments: object, **_options: object) -> int:
        raise OSError(errno.ESTALE, "Stale file handle", KEY)

    monkeypatch.setattr("cutover.local_files.os.open", stale)
    assert run(environment_file, KEY) == 4
    assert "Stale file handle" in capsys.readouterr().err
