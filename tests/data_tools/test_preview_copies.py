"""What the data host tells a preview of a rollback: which files lie where, by table, disks and S3."""

from __future__ import annotations

import contextlib
import io
import json
import os
import time
from typing import TYPE_CHECKING, Any
from unittest import mock

from cutover import cli, rollback_preview_copies
from tests.data_tools.retired import image, migrated, pdf, quarantine_of, run
from tests.data_tools.test_only_in_s3 import DEAD, environment_file, purged

if TYPE_CHECKING:
    import pytest

    from tests.data_tools.certificate_site import Site


def told(site: Site, **variables: str) -> dict[str, Any]:
    """The part of `cutover status-here` that is the files'."""
    output = io.StringIO()
    arguments = ["--copies", "--deployment", "production", "--directory", str(site.home / "none")]
    with mock.patch.dict(os.environ), contextlib.redirect_stdout(output):
        code = cli.main(["status-here", *arguments, "--env-file", str(environment_file(site, **variables))])
    assert code == 0
    data = json.loads(output.getvalue())["here"]["data"]
    assert "alarms" not in data
    found: dict[str, Any] = data["copies"]
    return found


def test_where_every_file_lies_locally_s3_is_not_asked(site: Site) -> None:
    """The preview waits for the S3 that fails, to learn what the disk knows."""
    migrated(site, 2)
    found = told(site, AWS_ENDPOINT_URL_S3=DEAD["AWS_ENDPOINT_URL_S3"])
    assert found == {
        "purged": None,
        "quarantine": {"files": 0, "per_second": None},
        "table": {"files": 4, "missing": 0, "named": [], "s3": None},
    }


def test_each_file_is_counted_where_it_lies(site: Site) -> None:
    """Retired copies are taken for lost ones; a file that was never written locally is not seen; or one nobody has."""
    rows = purged(site, 2)
    aside, unwritten, lost, here = migrated(site, 4)
    assert run(site, "quarantine", "--limit", "1").code == 0
    site.path(image(unwritten)).unlink()
    site.path(pdf(lost)).unlink()
    site.root.delete_object(Bucket=site.bucket, Key=pdf(lost))
    found = told(site)
    assert found["purged"] == {"files": 4, "certificates": 2}
    assert found["quarantine"]["files"] == len(aside.keys)
    assert found["quarantine"]["per_second"] > 0
    assert [path.name for path in quarantine_of(site).iterdir() if path.name.startswith(".preview")] == []
    table = found["table"]
    assert (table["files"], table["missing"]) == (12, 6)
    missing = sorted([*(key for row in rows for key in row.keys), image(unwritten), pdf(lost)])
    assert table["named"] == missing[:3]
    assert table["s3"] == {"files": 5, "certificates": 3, "nowhere": 1, "nowhere_named": [pdf(lost)]}
    assert site.path(pdf(here)).exists()


def test_without_s3_the_rest_is_told(site: Site) -> None:
    """S3 is away, which is when one asks."""
    purged(site)
    found = told(site, AWS_ENDPOINT_URL_S3=DEAD["AWS_ENDPOINT_URL_S3"])
    assert found["purged"]["files"] == found["table"]["missing"] == 2
    assert found["table"]["s3"]["error"].startswith(f"s3://{site.bucket}/certificates/: ")


def test_an_s3_that_hangs_hides_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client of the role waits for minutes, and the preview with it."""
    purged(site)
    monkeypatch.setattr(rollback_preview_copies, "S3_SECONDS", 0.2)
    monkeypatch.setattr(rollback_preview_copies, "_listed", lambda *_: time.sleep(5))
    found = told(site)["table"]
    assert found["missing"] == 2
    assert found["s3"] == {"error": f"s3://{site.bucket} did not answer within 0.2 s"}


def test_without_the_database_the_disk_is_told(site: Site) -> None:
    purged(site)
    found = told(site, DATABASE_URL=DEAD["DATABASE_URL"])
    assert found["purged"]["files"] == 2
    assert "the database could not connect" in found["table"]["error"]


def test_a_media_directory_that_is_not_mounted_is_no_loss_of_everything(site: Site) -> None:
    """Every file of the table is missing, because none was looked for where it lies."""
    migrated(site)
    site.media_root.rename(site.home / "media")
    site.media_root.mkdir()
    assert "mount the media directory" in told(site)["table"]["error"]


def test_two_rows_that_name_one_file_name_one_file(site: Site) -> None:
    (row,) = migrated(site)
    site.add(marked=True, file_pdf=pdf(row))
    assert told(site)["table"]["files"] == 3


def test_a_disk_that_takes_no_trial_is_counted_all_the_same(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full, and the preview says nothing of the quarantine."""
    migrated(site)
    assert run(site, "quarantine").code == 0

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryDirectory", full)
    assert told(site)["quarantine"] == {"files": 2, "per_second": None}


def test_an_empty_table_is_told_as_such(site: Site) -> None:
    """A new site is told to mount what it has never had."""
    assert told(site)["table"] == {"files": 0, "missing": 0, "named": [], "s3": None}
