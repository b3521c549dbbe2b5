"""The AWS stand-in's start and stop: it must neither linger nor end what is not ours."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from rehearsal import aws_stand_in
from rehearsal.aws_stand_in import AwsStandIn, AwsStandInError


def test_it_starts_is_found_and_stops(tmp_path: Path) -> None:
    """A stand-in that lingers holds the lab's port; credentials lie open; a restart loses the buckets."""
    started = aws_stand_in.start(tmp_path)
    try:
        assert aws_stand_in.load(tmp_path) == started
        record = tmp_path / aws_stand_in.RECORD_NAME
        assert stat.S_IMODE(record.stat().st_mode) == 0o600
        command_line = Path(f"/proc/{started.pid}/cmdline").read_bytes()
        assert started.secret_key.encode() not in command_line
        started.s3().create_bucket(Bucket="kept-bucket")
        with pytest.raises(AwsStandInError, match="already runs"):
            aws_stand_in.start(tmp_path)
    finally:
        aws_stand_in.stop(tmp_path)
    with pytest.raises(AwsStandInError, match="No AWS stand-in runs"):
        aws_stand_in.load(tmp_path)
    aws_stand_in.stop(tmp_path)  # nothing to do is no error
    with aws_stand_in.running(tmp_path) as again:
        assert again.access_key != started.access_key
        assert [bucket["Name"] for bucket in again.s3().list_buckets()["Buckets"]] == ["kept-bucket"]


def test_the_operators_own_aws_settings_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown profile ends the rehearsal, or its buckets are made with someone's real account."""
    (tmp_path / "config").write_text("[default]\nendpoint_url = http://127.0.0.1:1\nuse_fips_endpoint = true\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "nonsense")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1/nonsense")
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", "true")
    stand_in = AwsStandIn("https://127.0.0.1:4566", "key", "secret", os.getpid())
    for client in (stand_in.s3(), stand_in.iam(), stand_in.sts()):
        assert client.meta.endpoint_url == "https://127.0.0.1:4566"
        assert not client.meta.config.use_fips_endpoint  # type: ignore[attr-defined]  # the stubs lack it


def test_a_foreign_process_with_our_old_number_is_left_alone(tmp_path: Path) -> None:
    """After a crash the pid belongs to something else, and `lab-down` kills it."""
    record = {"endpoint_url": "https://127.0.0.1:1", "access_key": "a", "secret_key": "s", "pid": os.getpid()}
    (tmp_path / aws_stand_in.RECORD_NAME).write_text(json.dumps(record))
    aws_stand_in.stop(tmp_path)
    assert not (tmp_path / aws_stand_in.RECORD_NAME).exists()


def test_a_start_that_fails_says_why(tmp_path: Path) -> None:
    """The rehearsal waits half a minute and then says nothing."""
    with pytest.raises(AwsStandInError, match="exit status 7"):
        aws_stand_in.start(tmp_path, command_prefix=("sh", "-c", "exit 7"))


def test_without_installation_it_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fresh machine shows a FileNotFoundError."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(AwsStandInError, match="make setup"):
        aws_stand_in.start(tmp_path)
