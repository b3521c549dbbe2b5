"""`cutover restore`: rollback depends on it, so it brings back what it can, whole, and overwrites nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest

from cutover import cli, plan
from cutover.retirement import places, report
from cutover.retirement.restore import Restore
from cutover.retirement.run import Run
from tests.data_tools.retired import (
    SETTLED,
    content,
    deny_reading,
    image,
    migrated,
    pdf,
    placed,
    quarantine_of,
    run,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.data_tools.certificate_site import Row, Site

NOBODY = 65534


def forget(site: Site, *rows: Row) -> dict[str, bytes]:
    """Removes the local copies of these rows, and returns what they were."""
    before = content(site, *rows)
    for key in before:
        site.path(key).unlink()
    return before


def leftovers(site: Site) -> list[Path]:
    """What a restore left unfinished."""
    return list(site.media_root.rglob(".*.restoring"))


def test_quarantined_copies_come_back_without_s3_and_without_the_database(site: Site) -> None:
    """In the emergency the one command that helps waits for the very things that are down."""
    rows = migrated(site, 3)
    before = content(site, *rows)
    assert run(site, "quarantine").code == 0
    dead = {"AWS_ENDPOINT_URL_S3": "https://127.0.0.1:9", "DATABASE_URL": "postgres://127.0.0.1:9/none"}
    looked = run(site, "restore", "--quarantined-only", "--dry-run", **dead)
    assert (looked.code, looked.document["from_quarantine"], content(site)) == (0, 6, {})
    assert [placed(site, row) for row in rows] == [["aside", "aside"]] * 3
    ended = run(site, "restore", "--quarantined-only", CERT_S3_READ_PRIMARY="false", **dead)
    assert (ended.code, ended.errors) == (0, "")
    assert (ended.document["from_quarantine"], ended.document["from_s3"]) == (6, 0)
    assert content(site, *rows) == before
    again = run(site, "restore", "--quarantined-only", **dead)
    assert (again.code, again.document["from_quarantine"]) == (0, 0)
    assert not (quarantine_of(site) / "restoring").exists()
    assert run(site, "quarantine").document["files"] == 6


def test_what_no_quarantine_has_comes_from_s3(site: Site) -> None:
    """After the purge there is no way back."""
    aside, gone, kept = migrated(site, 3)
    before = content(site, aside, gone, kept)
    assert run(site, "quarantine", "--limit", "1").code == 0
    forget(site, gone)
    looked = run(site, "restore", "--dry-run")
    assert (looked.document["from_quarantine"], looked.document["from_s3"]) == (2, 2)
    assert placed(site, gone) == ["gone", "gone"]
    ended = run(site, "restore", CERT_S3_DUAL_WRITE="false", CERT_S3_READ_PRIMARY="false")
    counted = [ended.document[name] for name in ("from_quarantine", "from_s3", "already_local", "errors", "stopped")]
    assert counted == [2, 2, 4, [], None]
    assert ended.code == 0
    assert content(site, aside, gone, kept) == before
    assert ended.document["bytes"] == sum(len(before[key]) for key in (*aside.keys, *gone.keys))
    assert leftovers(site) == []
    assert run(site, "restore").document["already_local"] == 6


def test_files_and_folders_belong_to_whom_their_folder_belongs(site: Site) -> None:
    """All is restored, and the application may not read it."""
    (row,) = migrated(site)
    forget(site, row)
    for folder in sorted(site.media_root.rglob("*"), reverse=True):
        folder.rmdir()
    os.chown(site.media_root, NOBODY, NOBODY)
    site.media_root.chmod(0o2750)
    assert run(site, "restore").code == 0
    for path in site.media_root.rglob("*"):
        status = path.stat()
        assert (status.st_uid, status.st_gid) == (NOBODY, NOBODY)
        assert status.st_mode & 0o7777 == (0o2750 if path.is_dir() else 0o640)


def test_a_local_file_that_differs_is_left_and_reported(site: Site) -> None:
    """A restore replaces what somebody repaired meanwhile, or calls a damaged file restored."""
    in_quarantine, in_s3 = migrated(site, 2)
    assert run(site, "quarantine", "--limit", "1").code == 0
    for row in (in_quarantine, in_s3):
        site.path(image(row)).write_bytes(b"\x89PNG by hand")
    ended = run(site, "restore")
    assert ended.code == 1
    causes = {(one["key"], one["cause"]) for one in ended.document["errors"]}
    assert causes == {(image(in_quarantine), "occupied"), (image(in_s3), "occupied")}
    assert site.path(image(in_s3)).read_bytes() == site.path(image(in_quarantine)).read_bytes() == b"\x89PNG by hand"
    assert placed(site, in_quarantine) == ["here", "both"]


def test_what_cannot_be_restored_is_named_and_stops_nothing_else(site: Site) -> None:
    """One lost object keeps all other certificates from coming back; or damaged bytes come back as good."""
    lost, damaged, linked, accepted, good = migrated(site, 5)
    before = forget(site, lost, damaged, linked, accepted, good)
    site.root.delete_object(Bucket=site.bucket, Key=image(lost))
    site.store(pdf(damaged), b"%PDF damaged")
    site.path(pdf(linked)).symlink_to(site.home)
    site.root.delete_object(Bucket=site.bucket, Key=pdf(accepted))
    assert run(site, "accept", "--certificate-id", str(accepted.id), "--reason", "lost long ago", "--force").code == 0
    ended = run(site, "restore")
    assert ended.code == 1
    expected = {lost: "missing_object", damaged: "damaged_object", linked: "unsafe_name", accepted: "accepted"}
    assert ended.causes() == {row.id: cause for row, cause in expected.items()}
    assert not site.path(pdf(damaged)).exists()
    assert content(site, good) == {key: before[key] for key in good.keys}
    assert leftovers(site) == []


def test_a_certificate_that_does_not_exist_is_not_restored(site: Site) -> None:
    """A mistyped number ends with 0, and the customer's certificate is still gone."""
    (row,) = migrated(site)
    ended = run(site, "restore", "--certificate-id", str(row.id), "--certificate-id", "4711")
    assert ended.code == 2
    assert "certificates 4711 are not in the table" in ended.errors


def test_only_the_named_certificates_and_only_so_many(site: Site) -> None:
    """One customer's certificate is wanted back, and the whole tree is moved."""
    aside, gone, other = migrated(site, 3)
    assert run(site, "quarantine").code == 0
    for key in gone.keys:
        (quarantine_of(site) / key).unlink()
    ended = run(site, "restore", "--certificate-id", str(aside.id), "--certificate-id", str(gone.id))
    assert (ended.code, ended.document["from_quarantine"], ended.document["from_s3"]) == (0, 2, 2)
    assert [placed(site, row) for row in (aside, gone, other)] == [["here"] * 2, ["here"] * 2, ["aside"] * 2]
    limited = run(site, "restore", "--limit", "1")
    assert (limited.code, limited.document["stopped"], limited.document["from_quarantine"]) == (0, "limit", 1)
    forget(site, aside)
    limited = run(site, "restore", "--limit", "2")
    assert (limited.document["from_quarantine"], limited.document["from_s3"]) == (1, 1)


def test_without_s3_the_quarantine_still_comes_back_and_the_rest_is_named(site: Site) -> None:
    """The first download that fails keeps everything else away; or a restore of nothing exits with 0."""
    aside, gone = migrated(site, 2)
    assert run(site, "quarantine", "--limit", "1").code == 0
    forget(site, gone)
    deny_reading(site)
    ended = run(site, "restore")
    assert ended.code == 1
    assert placed(site, aside) == ["here", "here"]
    assert {(one["certificate_id"], one["cause"]) for one in ended.document["errors"]} >= {(gone.id, "s3_denied")}


def test_without_the_database_it_says_what_came_back(site: Site) -> None:
    """The only sentence of an emergency is about the database, and nobody knows that the files are there."""
    (row,) = migrated(site)
    assert run(site, "quarantine").code == 0
    ended = run(site, "restore", DATABASE_URL="postgres://127.0.0.1:9/none")
    assert (ended.code, ended.document["from_quarantine"], placed(site, row)) == (4, 2, ["here", "here"])
    assert "database" in ended.errors


def test_a_restore_that_is_asked_to_stop_says_that_it_did_not_do_all(site: Site) -> None:
    """A restore that was stopped half way exits with 0, and everything counts as restored."""
    rows = migrated(site, 5)
    assert run(site, "quarantine").code == 0
    asked, directory = threading.Event(), quarantine_of(site)

    def progress(_what: str, done: int, _total: int) -> None:
        if done == 3:
            asked.set()

    _, before = places.restores(directory)
    work = Restore(Run(site.settings, plan.load(), directory, asked, progress, before), limit=None, dry_run=False)
    work.from_quarantine(frozenset())
    assert (work.summary.stopped, work.summary.from_quarantine) == ("signal", 3)
    assert sorted(place for row in rows for place in placed(site, row)) == ["aside"] * 7 + ["here"] * 3
    assert report.restore_ended(work.summary) == 130


def test_an_object_without_s3s_checksum_comes_back_too(site: Site) -> None:
    """What dual-write stored without a SHA-256 cannot be taken back."""
    (row,) = migrated(site)
    site.store(image(row), b"\x89PNG 0", checksum=False)
    before = forget(site, row)
    assert run(site, "restore").code == 0
    assert content(site, row) == before


@pytest.fixture
def small_disk(site: Site) -> Iterator[Path]:
    """MEDIA_ROOT on a file system of 256 KB."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", site.media_root], check=True)
    yield site.media_root
    subprocess.run(["umount", site.media_root], check=True)


def test_a_full_disk_leaves_whole_files_or_none(site: Site, small_disk: Path) -> None:
    """A rollback serves certificates that were cut where the disk was full."""
    bodies = [(b"%%PDF %d" % number + os.urandom(30_000), None) for number in range(16)]
    rows = site.add_many(bodies[:4], marked=True)
    site.store_files(*rows)
    forget(site, *rows)
    for pdf_body, _ in bodies[4:]:
        (row,) = site.add_many([(pdf_body, None)], marked=True)
        site.store_files(row)
        forget(site, row)
    ended = run(site, "restore")
    assert ended.code == 5
    assert ended.document["stopped"] == "disk"
    assert ended.errors.count("\n") == 1
    assert "No space left on device" in ended.errors
    whole = {path.stat().st_size for path in small_disk.rglob("*") if path.is_file()}
    assert whole <= {len(body) for body, _ in bodies}
    assert 0 < ended.document["from_s3"] < len(bodies)
    assert leftovers(site) == []


def test_a_killed_restore_leaves_no_half_file_under_a_certificates_name(site: Site) -> None:
    """A second restore, after the first was killed, takes cut files for restored ones."""
    pairs = [(b"%%PDF %d" % number + os.urandom(200_000), None) for number in range(40)]
    rows = site.add_many(pairs, marked=True)
    site.store_files(*rows)
    before = forget(site, *rows)
    process = site.start("restore", environment=SETTLED)
    deadline = time.monotonic() + 20
    while not any(site.path(key).exists() for key in before) and time.monotonic() < deadline:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert all(site.path(key).read_bytes() == body for key, body in before.items() if site.path(key).exists())
    assert run(site, "restore").code == 0
    assert content(site, *rows) == before
    assert leftovers(site) == []


def test_a_restore_that_came_and_went_ends_a_quarantine_that_waited_for_s3(tmp_path: Path) -> None:
    """An emergency is over within seconds; the quarantine that hung in S3 meanwhile goes on, and undoes it."""
    with places.restoring(tmp_path):
        pass
    _, before = places.restores(tmp_path)
    assert places.restores(tmp_path) == (False, before)
    with places.restoring(tmp_path):
        assert places.restores(tmp_path)[0]
    assert places.restores(tmp_path) != (False, before)


def test_a_restore_beside_a_running_quarantine_wins(site: Site) -> None:
    """An emergency takes files back, and a quarantine that is still running moves others away behind it."""
    rows = migrated(site, 60)
    process = site.start("quarantine", "--batch-size", "5", "--json", environment=SETTLED)
    while not any(quarantine_of(site).rglob("*.pdf")):
        time.sleep(0.005)
    errors: list[str] = []
    waiting = threading.Thread(target=lambda: errors.append(process.communicate()[1]))
    waiting.start()
    while any("aside" in placed(site, row) for row in rows) or waiting.is_alive():
        assert run(site, "restore", "--quarantined-only").code == 0
    assert [placed(site, row) for row in rows] == [["here", "here"]] * 60


def test_names_are_quoted_and_accepted_rows_are_one_line(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """A line break in a name makes a line of its own, which somebody greps for; what is accepted is no news."""
    spoilt, lost = migrated(site, 2)
    forget(site, spoilt, lost)
    name = "certificates/pdf/x\nRESUME_TOKEN forged"
    site.execute("UPDATE {table} SET file_pdf = %s WHERE id = %s", name, spoilt.id)
    site.store(pdf(lost), b"%PDF other bytes")
    assert run(site, "accept", "--certificate-id", str(lost.id), "--reason", "damaged", "--force").code == 0
    assert cli.main(["restore"]) == 1
    said = capsys.readouterr().out
    assert r"'certificates/pdf/x\nRESUME_TOKEN forged': unsafe_name: " in said
    assert "RESUME_TOKEN forged" not in said.splitlines()
    assert "1 accepted, not migrated" in said.splitlines()
    assert pdf(lost) not in said
    assert run(site, "accept", "--certificate-id", str(spoilt.id), "--reason", "lost", "--force").code == 0
    assert run(site, "restore").code == 0
