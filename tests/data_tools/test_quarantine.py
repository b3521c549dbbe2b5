"""`cutover quarantine`: local copies are put aside, each with fresh proof, and none that is still needed."""

from __future__ import annotations

import argparse
import datetime
import os
import random
import signal
import subprocess
import time
from itertools import islice
from typing import TYPE_CHECKING

import pytest

from cutover.catalogue import Catalogue, CatalogueError
from cutover.retirement.ledger import FILE_NAME, Entry, Ledger, LedgerError
from cutover.retirement.window import until, window
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
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cutover.catalogue import Certificate, Selection
    from tests.data_tools.certificate_site import Row, Site

NOW = datetime.datetime(2026, 11, 24, 12, 0, tzinfo=datetime.UTC)
ENTRY = Entry(at=NOW, act="quarantine", certificate_id=7, key="certificates/pdf/a.pdf", sha256="0" * 64)


def test_proven_copies_are_put_aside_under_their_names(site: Site) -> None:
    """Files are moved to names from which no rollback finds them again, or with other bytes."""
    revoked = site.add(b"%PDF revoked", None, marked=True, revoked=True)
    site.store_files(revoked)
    rows = [revoked, *migrated(site, 3)]
    before = content(site, *rows)
    assert run(site, "quarantine", "--dry-run").document["files"] == 7
    assert {place for row in rows for place in placed(site, row)} == {"here"}
    ended = run(site, "quarantine")
    assert (ended.code, ended.errors) == (0, "")
    counted = {name: ended.document[name] for name in ("certificates", "files", "left", "stopped")}
    assert counted == {"certificates": 4, "files": 7, "left": [], "stopped": None}
    assert ended.document["bytes"] == sum(map(len, before.values()))
    assert {place for row in rows for place in placed(site, row)} == {"aside"}
    assert {key: (quarantine_of(site) / key).read_bytes() for key in before} == before
    assert quarantine_of(site).stat().st_mode & 0o777 == 0o700
    assert run(site, "quarantine").document["certificates"] == 0


def test_root_follows_no_link_to_where_it_would_note_the_quarantine(site: Site) -> None:
    """The folder is www-data's, and root would write into any file of the machine."""
    (row,) = migrated(site)
    victim = site.home / "victim"
    site.settings.state_directory.mkdir(parents=True)
    (site.settings.state_directory / "quarantine-directory.new").symlink_to(victim)
    ended = run(site, "quarantine")
    assert (ended.code, placed(site, row)) == (5, ["here", "here"])
    assert "quarantine-directory: cannot be written (Too many levels of symbolic links)" in ended.errors
    assert not victim.exists()


def test_nothing_moves_while_customers_read_local_copies(site: Site) -> None:
    """Every download answers 404, because the flags say local and the files are gone."""
    (row,) = migrated(site)
    for flag in ("CERT_S3_DUAL_WRITE", "CERT_S3_READ_PRIMARY"):
        ended = run(site, "quarantine", **{flag: "false"})
        assert ended.code == 2
        assert flag in ended.errors
    assert placed(site, row) == ["here", "here"]


def _link(site: Site, row: Row) -> None:
    elsewhere = site.path(image(row)).rename(site.home / "elsewhere.png")
    site.path(image(row)).symlink_to(elsewhere)


SPOILED: dict[str, Callable[[Site, Row], object]] = {
    "unmarked": lambda site, row: site.execute("UPDATE {table} SET migrated_to_s3_at = NULL WHERE id = %s", row.id),
    "accepted": lambda site, row: run(
        site, "accept", "--certificate-id", str(row.id), "--reason", "lost long ago", "--force"
    ),
    "damaged_local": lambda site, row: site.path(pdf(row)).write_bytes(b"%PDF broken"),
    "damaged_object": lambda site, row: site.store(pdf(row), b"%PDF other"),
    "conflict": lambda site, row: site.store(image(row), b"\x89PNG other"),
    "missing_object": lambda site, row: site.root.delete_object(Bucket=site.bucket, Key=image(row)),
    "unsafe_name": _link,
    "shared_name": lambda site, row: site.add(None, None, file_image=image(row)),
}


def test_an_unproven_certificate_keeps_both_files_and_is_named(site: Site) -> None:
    """The last good copy of a certificate leaves the site, because only its other file was looked at."""
    *bad, good = migrated(site, len(SPOILED) + 1)
    for spoil, row in zip(SPOILED.values(), bad, strict=True):
        spoil(site, row)
    ended = run(site, "quarantine")
    expected = {row.id: cause for cause, row in zip(SPOILED, bad, strict=True)}
    assert {identity: cause for identity, cause in ended.causes().items() if identity in expected} == expected
    assert ended.code == 1
    assert [placed(site, row) for row in bad] == [["here", "here"]] * len(bad)
    assert placed(site, good) == ["aside", "aside"]


def test_a_file_that_is_no_certificates_stays(site: Site) -> None:
    """A wrong row names a file of another kind, which `restore` would not look for."""
    row = site.add(b"%PDF elsewhere", None, file_pdf="avatars/a.pdf", marked=True)
    site.store_files(row)
    ended = run(site, "quarantine")
    assert (ended.code, ended.causes(), placed(site, row)) == (1, {row.id: "unsafe_name"}, ["here"])


def test_what_is_accepted_or_just_issued_makes_no_run_fail(site: Site) -> None:
    """Each nightly run fails from ordinary traffic, until nobody reads its exit code any more."""
    (accepted,) = migrated(site)
    SPOILED["accepted"](site, accepted)
    issued = site.add(created_at=datetime.datetime.now(tz=datetime.UTC))
    ended = run(site, "quarantine")
    assert (ended.code, ended.document["too_young"], ended.causes()) == (0, 1, {accepted.id: "accepted"})
    assert placed(site, issued) == placed(site, accepted) == ["here", "here"]


def test_two_names_of_one_file_are_put_aside_as_well(site: Site) -> None:
    """`cp -al` made the quarantine: rename leaves both names, and files count as retired that are still served."""
    (row,) = migrated(site)
    before = content(site, row)
    for key in row.keys:
        (quarantine_of(site) / key).parent.mkdir(parents=True)
        (quarantine_of(site) / key).hardlink_to(site.path(key))
    assert run(site, "quarantine").document["files"] == 2
    assert placed(site, row) == ["aside", "aside"]
    assert {key: (quarantine_of(site) / key).read_bytes() for key in before} == before


def test_what_moved_is_told_even_if_the_run_breaks_off(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database goes away at the hundredth batch, and nobody knows what was put aside before."""
    rows = migrated(site, 3)
    pages = Catalogue.pages

    def one_page(self: Catalogue, selection: Selection, size: int) -> Iterator[list[Certificate]]:
        yield from islice(pages(self, selection, size), 1)
        raise CatalogueError("the database went away")

    monkeypatch.setattr(Catalogue, "pages", one_page)
    ended = run(site, "quarantine", "--batch-size", "1")
    assert (ended.code, ended.document["files"]) == (4, 2)
    assert ended.errors == "cutover: the database went away\n"
    assert [placed(site, row)[0] for row in rows] == ["aside", "here", "here"]


def test_a_quarantined_file_is_not_overwritten_by_other_bytes(site: Site) -> None:
    """The original that a rollback would take back is replaced by something else."""
    (row,) = migrated(site)
    aside = quarantine_of(site) / image(row)
    aside.parent.mkdir(parents=True)
    aside.write_bytes(b"\x89PNG another")
    ended = run(site, "quarantine")
    assert (ended.code, ended.causes()) == (1, {row.id: "conflict"})
    assert aside.read_bytes() == b"\x89PNG another"
    assert placed(site, row) == ["here", "both"]
    aside.write_bytes(site.path(image(row)).read_bytes())
    assert run(site, "quarantine").code == 0
    assert placed(site, row) == ["aside", "aside"]


def test_a_file_is_not_moved_on_the_proof_of_another_day(site: Site) -> None:
    """A bucket that lost an object since the last check takes the local copy with it."""
    (row,) = migrated(site)
    site.store(image(row), site.path(image(row)).read_bytes(), checksum=False)  # read back, for S3 keeps no SHA-256
    assert run(site, "quarantine", "--dry-run").document["certificates"] == 1
    site.root.delete_object(Bucket=site.bucket, Key=image(row))
    assert run(site, "quarantine").causes() == {row.id: "missing_object"}


def test_limit_and_sample_take_so_many_and_no_more(site: Site) -> None:
    """Step 10 looks at ten certificates first, and all are gone already."""
    rows = migrated(site, 5)
    limited = run(site, "quarantine", "--limit", "1")
    assert (limited.code, limited.document["stopped"], limited.document["certificates"]) == (0, "limit", 1)
    assert [placed(site, row)[0] for row in rows] == ["aside", "here", "here", "here", "here"]
    sampled = run(site, "quarantine", "--sample", "2", "--batch-size", "1")
    chosen = sampled.document["certificate_ids"]
    assert len(set(chosen)) == 2
    assert [row.id for row in rows if placed(site, row)[0] == "aside"] == sorted([rows[0].id, *chosen])


def test_outside_its_window_nothing_moves(site: Site) -> None:
    """The disk is busy with renames while the site has its most visitors."""
    (row,) = migrated(site)
    closed = datetime.datetime.now().astimezone() + datetime.timedelta(hours=2)
    span = f"{closed:%H:%M}-{closed + datetime.timedelta(hours=1):%H:%M}"
    ended = run(site, "quarantine", "--window", span)
    assert (ended.code, ended.document["stopped"], placed(site, row)) == (0, "window", ["here", "here"])


@pytest.mark.parametrize(
    ("span", "hour", "is_open"),
    [("01:00-05:00", 1, True), ("01:00-05:00", 5, False), ("23:00-05:00", 0, True), ("23:00-05:00", 12, False)],
)
def test_a_window_may_span_midnight(span: str, hour: int, *, is_open: bool) -> None:
    """A nightly window is never open, or always."""
    assert window(span).is_open(NOW.replace(hour=hour)) is is_open


def test_until_means_the_next_such_moment() -> None:
    """`--until 05:00`, given in the evening, ends at once."""
    assert until("05:00", NOW).end == NOW + datetime.timedelta(hours=17)
    assert until("13:00", NOW).end == NOW + datetime.timedelta(hours=1)


@pytest.mark.parametrize("text", ["25:00-26:00", "01:00", "01:00-01:00", "1-2"])
def test_no_span_is_refused(text: str) -> None:
    """A mistyped window moves everything at noon."""
    with pytest.raises(argparse.ArgumentTypeError, match="is no"):
        window(text)


def test_the_directory_must_take_files_by_rename_and_not_be_served(site: Site, tmp_path: Path) -> None:
    """Taking files back is a copy of hours, or the web server goes on serving what was retired."""
    (row,) = migrated(site)
    shared_memory = f"/dev/shm/{tmp_path.name}"  # noqa: S108 - another file system, which stays empty
    elsewhere = run(site, "quarantine", "--directory", shared_memory)
    assert elsewhere.code == 2
    assert "is not on the file system" in elsewhere.errors
    served = run(site, "quarantine", "--directory", str(site.media_root / "aside"))
    assert served.code == 2
    assert "serves what lies under MEDIA_ROOT" in served.errors
    assert placed(site, row) == ["here", "here"]


@pytest.fixture
def mounted(site: Site) -> Iterator[Path]:
    """MEDIA_ROOT as a mount of its own, whose device number is the one of the folder beside it."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    subprocess.run(["mount", "--bind", site.media_root, site.media_root], check=True)
    yield site.media_root
    subprocess.run(["umount", site.media_root], check=True)


def test_where_media_root_is_a_mount_the_quarantine_is_within_and_closed(site: Site, mounted: Path) -> None:
    """An export cannot be retired at all; or the web server goes on serving what was retired."""
    (row,) = migrated(site)
    before = content(site, row)
    elsewhere = run(site, "quarantine", "--directory", str(quarantine_of(site)))
    assert (elsewhere.code, placed(site, row)) == (2, ["here", "here"])
    assert f"or {mounted / '.cutover-quarantine'}" in elsewhere.errors
    assert not quarantine_of(site).exists()
    ended = run(site, "quarantine")
    within = mounted / ".cutover-quarantine"
    assert (ended.code, ended.document["files"], ended.document["directory"]) == (0, 2, str(within))
    assert {key: (within / key).read_bytes() for key in before} == before
    assert (within.stat().st_uid, within.stat().st_mode & 0o777) == (0, 0o700)
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "cat"]
    assert subprocess.run([*nobody, within / pdf(row)], check=False, capture_output=True).returncode == 1
    (site.settings.state_directory / "quarantine-directory").unlink()  # another machine has no record
    assert run(site, "restore", "--quarantined-only").document["from_quarantine"] == 2
    assert content(site, row) == before


@pytest.mark.parametrize(("owner", "mode"), [(0, 0o750), (0, 0o701), (65534, 0o700)])
def test_a_quarantine_within_that_others_may_enter_is_refused(site: Site, mounted: Path, owner: int, mode: int) -> None:
    """The one directory under MEDIA_ROOT that must not be served is."""
    (row,) = migrated(site)
    within = mounted / ".cutover-quarantine"
    within.mkdir()
    within.chmod(mode)
    os.chown(within, owner, owner)
    ended = run(site, "quarantine")
    assert (ended.code, placed(site, row)) == (2, ["here", "here"])
    assert f"belongs to user {owner} with mode {mode:03o}" in ended.errors


def test_a_restore_finds_the_directory_that_was_named(site: Site, tmp_path: Path) -> None:
    """In the emergency, `restore` looks at the default place, finds nothing, and says done."""
    (row,) = migrated(site)
    assert run(site, "quarantine", "--directory", str(tmp_path / "named")).code == 0
    another = run(site, "quarantine", "--directory", str(tmp_path / "second"))
    assert another.code == 2
    assert "named" in another.errors
    assert run(site, "restore", "--quarantined-only").document["from_quarantine"] == 2
    assert placed(site, row) == ["here", "here"]


def test_a_restore_that_runs_holds_it_back(site: Site) -> None:
    """A rollback takes files back, and a forgotten quarantine moves them away again behind it."""
    (row,) = migrated(site)
    quarantine_of(site).mkdir()
    (quarantine_of(site) / "restoring").touch()
    ended = run(site, "quarantine")
    assert (ended.code, ended.document["stopped"], placed(site, row)) == (1, "restore", ["here", "here"])


def test_without_s3_nothing_moves(site: Site) -> None:
    """An outage is taken for proof."""
    (row,) = migrated(site)
    deny_reading(site)
    ended = run(site, "quarantine")
    assert (ended.code, ended.document["stopped"], ended.causes()) == (4, "s3", {row.id: "s3_denied"})
    assert placed(site, row) == ["here", "here"]


def test_killed_at_any_moment_each_file_is_in_one_place_and_the_next_run_goes_on(site: Site) -> None:
    """A reboot in the middle of the night loses files, or leaves a run that never gets past where it was."""
    rows = migrated(site, 60)
    before = content(site, *rows)
    chance = random.Random(5)  # noqa: S311 - not for secrets
    for _ in range(2):
        process = site.start("quarantine", "--batch-size", "5", environment=SETTLED)
        deadline = time.monotonic() + 20
        seen = sum(1 for row in rows if "aside" in placed(site, row))
        while sum(1 for row in rows if "aside" in placed(site, row)) == seen and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(chance.random() / 20)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert {place for row in rows for place in placed(site, row)} <= {"here", "aside"}
    ended = run(site, "quarantine")
    assert (ended.code, ended.document["left"]) == (0, [])
    assert [placed(site, row) for row in rows] == [["aside", "aside"]] * 60
    assert {key: (quarantine_of(site) / key).read_bytes() for key in before} == before


def test_a_termination_ends_it_between_two_files(site: Site) -> None:
    """`systemctl stop` is answered by a traceback, or by nothing until the whole tree is moved."""
    migrated(site, 30)
    process = site.start("quarantine", "--batch-size", "1", "--json", environment=SETTLED)
    while not (quarantine_of(site) / FILE_NAME).exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert '"stopped": "signal"' in output
    assert "interrupted" in errors
    assert "Traceback" not in errors


def test_a_torn_line_of_the_ledger_is_removed_and_a_broken_one_is_an_error(tmp_path: Path) -> None:
    """After a power cut nothing can be retired any more; or a broken ledger counts as an empty one."""
    ledger = Ledger(tmp_path)
    ledger.append([ENTRY])
    with (tmp_path / FILE_NAME).open("ab") as file:
        file.write(b'{"at": "2026-')
    assert list(ledger.read()) == [ENTRY]
    ledger.append([ENTRY])
    assert list(ledger.read()) == [ENTRY, ENTRY]
    with (tmp_path / FILE_NAME).open("ab") as file:
        file.write(b"{}\n")
    with pytest.raises(LedgerError, match=f"{FILE_NAME}:3"):
        list(ledger.read())
