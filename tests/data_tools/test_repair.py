"""`cutover repair`: which copy wins, what is refused, and what happens to the mark."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

import pytest

from cutover import cli
from tests.data_tools import s3_proxy
from tests.data_tools.certificate_site import IMAGE, PDF

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.data_tools.account import Account
    from tests.data_tools.certificate_site import Row, Site

    Repair = Callable[..., tuple[int, dict[str, Any]]]

BAD = b"damaged"


def migrated(site: Site, **columns: Any) -> Row:
    row = site.add(**{"marked": True, **columns})
    site.store_files(row)
    return row


@pytest.fixture
def repair(capsys: pytest.CaptureFixture[str]) -> Repair:
    """Runs the command; returns its exit code and its document."""

    def run(row: Row, *arguments: str) -> tuple[int, dict[str, Any]]:
        code = cli.main(["repair", "--json", "--certificate-id", str(row.id), *arguments])
        output = capsys.readouterr().out
        return code, json.loads(output) if output else {}

    return run


def actions(document: dict[str, Any]) -> list[str]:
    return [file["action"] for file in document["files"]]


def test_a_wrong_object_is_replaced_by_the_proven_file(site: Site, repair: Repair) -> None:
    """The runbook's way clears the mark first and re-uploads whatever lies on the disk."""
    row = migrated(site)
    site.store(row.keys[0], BAD)
    code, shown = repair(row, "--dry-run")
    assert (code, actions(shown)) == (0, ["upload", "nothing"])
    assert shown["files"][0]["disagrees"] == ["s3"]
    assert site.objects()[row.keys[0]] == BAD
    assert repair(row)[0] == 0
    assert site.objects() == {row.keys[0]: PDF, row.keys[1]: IMAGE}
    assert BAD in [
        site.root.get_object(Bucket=site.bucket, Key=row.keys[0], VersionId=version.version_id)["Body"].read()
        for version in site.versions()
        if version.key == row.keys[0]
    ]
    assert site.row(row.id).migrated_to_s3_at == row.migrated_to_s3_at


def test_a_missing_object_is_stored_and_the_row_marked(site: Site, repair: Repair) -> None:
    """A mark that the bucket does not back, or no mark at all: afterwards both files are in S3 and the row says so."""
    row = migrated(site, marked=False)
    site.root.delete_object(Bucket=site.bucket, Key=row.keys[1])
    code, shown = repair(row)
    assert (code, actions(shown)) == (0, ["nothing", "upload"])
    assert site.objects() == {row.keys[0]: PDF, row.keys[1]: IMAGE}
    assert site.row(row.id).marked


def test_a_damaged_local_file_is_written_from_s3(site: Site, repair: Repair) -> None:
    """Re-uploading it would destroy the last good copy; and the web server must be able to read the new one."""
    row = migrated(site)
    path = site.path(row.keys[0])
    path.write_bytes(BAD)
    path.chmod(0o640)
    os.chown(path, 33, 33)
    code, shown = repair(row)
    assert (code, actions(shown)) == (0, ["restore", "nothing"])
    assert path.read_bytes() == PDF
    status = path.stat()
    assert (status.st_mode & 0o777, status.st_uid, status.st_gid) == (0o640, 33, 33)
    assert len(site.versions()) == 2
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_lost_local_file_is_written_from_s3(site: Site, repair: Repair) -> None:
    """Step 8 wants a local copy of everything as long as the way back is open."""
    row = migrated(site)
    path = site.path(row.keys[1])
    path.unlink()
    code, shown = repair(row)
    assert (code, actions(shown)) == (0, ["nothing", "restore"])
    assert path.read_bytes() == IMAGE
    assert path.stat().st_mode & 0o111 == 0


def test_a_pdf_without_a_good_copy_is_refused(site: Site, repair: Repair) -> None:
    """Whichever copy were made the truth, a forged or broken certificate would pass from then on."""
    row = migrated(site)
    site.path(row.keys[0]).write_bytes(BAD)
    site.store(row.keys[0], BAD)
    code, shown = repair(row, "--trust", "local")
    assert (code, actions(shown)) == (1, ["refused", "nothing"])
    assert "issue the certificate again, or accept it by name" in shown["files"][0]["reason"]
    assert site.path(row.keys[0]).read_bytes() == site.objects()[row.keys[0]] == BAD
    assert site.row(row.id).marked


@pytest.mark.parametrize("trust", ["local", "s3"])
def test_nothing_proves_a_png_but_a_person(site: Site, repair: Repair, trust: str) -> None:
    """A guess would overwrite the right picture in half of the cases."""
    row = migrated(site)
    site.store(row.keys[1], BAD)
    code, shown = repair(row)
    assert (code, actions(shown)) == (1, ["nothing", "refused"])
    assert site.objects()[row.keys[1]] == BAD
    assert repair(row, "--trust", trust)[0] == 0
    assert site.path(row.keys[1]).read_bytes() == site.objects()[row.keys[1]] == {"local": IMAGE, "s3": BAD}[trust]


@pytest.mark.parametrize("where", ["local", "s3"])
def test_an_empty_png_is_no_copy(site: Site, repair: Repair, where: str) -> None:
    """A disk that was full left a file of no bytes, which must not win over the picture."""
    row = migrated(site)
    if where == "local":
        site.path(row.keys[1]).write_bytes(b"")
    else:
        site.store(row.keys[1], b"")
    assert repair(row)[0] == 0
    assert site.path(row.keys[1]).read_bytes() == site.objects()[row.keys[1]] == IMAGE


def test_a_file_of_two_rows_is_left_alone(site: Site, repair: Repair) -> None:
    """What repairs one of the two certificates breaks the other."""
    row = migrated(site)
    site.add(image=None, file_pdf=row.file_pdf)
    site.store(row.keys[0], BAD)
    assert repair(row) == (1, {})
    assert site.objects()[row.keys[0]] == BAD


@pytest.mark.parametrize("name", ["certificates/../x.pdf", "certificates/pdf/a\nb.pdf", "media/x.pdf"])
def test_a_name_that_can_be_no_key_is_refused(site: Site, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """Asked of S3, the name ends as an outage, and somebody looks at the network instead of the row."""
    row = site.add(pdf=None, image=None, file_pdf=name)
    assert cli.main(["repair", "--certificate-id", str(row.id), "--dry-run"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"cutover: certificate {row.id}: unsafe name: {name!r} ")


def test_an_upload_that_fails_takes_the_mark_back(
    site: Site, account: Account, repair: Repair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the mark on the row, customers would go on getting an object that is known to be wrong."""
    row = migrated(site)
    site.store(row.keys[0], BAD)
    with s3_proxy.running(account.aws) as proxy:
        proxy.script = lambda request: s3_proxy.refusal(403, "AccessDenied") if request.operation == "put" else None
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint_url)
        assert repair(row)[0] == 4
    assert not site.row(row.id).marked


def test_the_kill_switch_stops_uploads_and_nothing_else(
    site: Site, repair: Repair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an emergency nothing may be uploaded, and a damaged local file must still be mended."""
    monkeypatch.setenv("CERT_S3_BACKFILL_ENABLED", "false")
    upload, restore = migrated(site), migrated(site)
    site.store(upload.keys[0], BAD)
    site.path(restore.keys[0]).write_bytes(BAD)
    assert repair(upload)[0] == 2
    assert site.objects()[upload.keys[0]] == BAD
    assert repair(restore)[0] == 0
    assert site.path(restore.keys[0]).read_bytes() == PDF


def test_the_command_itself(site: Site) -> None:
    """By the name of a file, with the witnesses for people; and the read-only role is enough to look."""
    row = migrated(site)
    site.path(row.keys[0]).write_bytes(BAD)
    shown = site.run("repair", "--key", row.keys[1], "--dry-run", "--role-arn", site.roles.readonly)
    assert shown.returncode == 0, shown.stderr
    assert f"certificate {row.id} (dry run)" in shown.stdout
    assert re.search(r"^  local +[0-9a-f]{64}  <- disagrees$", shown.stdout, re.MULTILINE)
    assert "  restore: the object is right, the local file is wrong\n" in shown.stdout
    assert site.run("repair", "--key", "certificates/pdf/none.pdf").returncode == 2
