"""`cutover purge`: what it deletes is gone, so it must be old, proven, archived and approved by count."""

from __future__ import annotations

import datetime
import errno
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from cutover import plan
from cutover.retirement import tree
from cutover.retirement.ledger import FILE_NAME, Ledger
from tests.data_tools import s3_proxy
from tests.data_tools.retired import (
    SETTLED,
    Ended,
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
    from collections.abc import Callable
    from pathlib import Path

    from tests.data_tools.account import Account
    from tests.data_tools.certificate_site import Row, Site
    from tests.data_tools.s3_proxy import Exchange

DAYS = plan.load().data_tools.retirement.quarantine_days


def archive(site: Site) -> Ended:
    return run(site, "archive", "--bucket", site.backups_bucket, "--role-arn", site.roles.retirement)


def retired(site: Site, count: int = 1, *, days: int = DAYS) -> list[Row]:
    """Certificates that were archived, and put aside so many days ago."""
    rows = migrated(site, count)
    assert archive(site).code == 0
    assert run(site, "quarantine").code == 0
    age(site, days)
    return rows


def age(site: Site, days: int) -> None:
    """Lets all that lies in quarantine have been put aside so many days ago."""
    ledger = Ledger(quarantine_of(site))
    then = datetime.datetime.now(tz=datetime.UTC) - datetime.timedelta(days=days, seconds=1)
    entries = list(ledger.read())
    (quarantine_of(site) / FILE_NAME).unlink()
    ledger.append(entry.model_copy(update={"at": then}) for entry in entries)


def approved(site: Site, *arguments: str) -> Ended:
    """Purges with the phrase that the command asks for."""
    wanted = run(site, "purge", *arguments, "--dry-run").document["approve"]
    return run(site, "purge", *arguments, "--approve", wanted)


def test_old_proven_archived_and_approved_copies_are_deleted(site: Site) -> None:
    """The disk stays full; or something else than the retired copies is deleted."""
    rows = retired(site, 2)
    (kept,) = migrated(site)
    looked = run(site, "purge", "--dry-run")
    assert (looked.code, looked.document["eligible"], looked.document["files"]) == (0, 4, 0)
    phrase = f"delete-4-local-copies-of-{site.bucket}-for-ever"
    assert looked.document["approve"] == phrase
    ended = run(site, "purge", "--approve", phrase)
    assert (ended.code, ended.document["files"], ended.document["left"]) == (0, 4, [])
    assert ended.document["bytes"] == looked.document["eligible_bytes"]
    assert "IRREVERSIBLE" in ended.errors
    assert [placed(site, row) for row in (*rows, kept)] == [["gone"] * 2, ["gone"] * 2, ["here"] * 2]
    assert [entry.act for entry in Ledger(quarantine_of(site)).read()] == ["quarantine"] * 4 + ["purge"] * 4
    assert run(site, "purge").document["eligible"] == 0
    assert run(site, "restore").document["from_s3"] == 4


def test_without_the_phrase_nothing_is_deleted(site: Site) -> None:
    """A command from the shell's history deletes another number of files than somebody approved."""
    (row,) = retired(site)
    for approval in ([], ["--approve", ""], ["--approve", f"delete-3-local-copies-of-{site.bucket}-for-ever"]):
        ended = run(site, "purge", *approval)
        assert ended.code == 2
        assert f"--approve delete-2-local-copies-of-{site.bucket}-for-ever" in ended.errors
        assert placed(site, row) == ["aside", "aside"]


def test_young_copies_stay_and_the_time_can_only_be_lengthened(site: Site) -> None:
    """What was put aside yesterday is gone when somebody finds out that it is needed."""
    (row,) = retired(site, days=DAYS - 1)
    ended = run(site, "purge", "--approve", f"delete-2-local-copies-of-{site.bucket}-for-ever")
    assert (ended.document["eligible"], ended.document["too_young"]) == (0, 2)
    with pytest.raises(SystemExit):
        run(site, "purge", "--older-than-days", str(DAYS - 1))
    age(site, DAYS + 4)
    assert run(site, "purge", "--older-than-days", str(DAYS + 5), "--dry-run").document["eligible"] == 0
    assert placed(site, row) == ["aside", "aside"]


def test_only_what_a_lately_proven_archive_has_is_deleted(site: Site) -> None:
    """The archive that everybody relies on was never made, is of another year, or lacks a file."""
    archived, later = migrated(site, 2)
    assert run(site, "quarantine", "--limit", "1").code == 0
    age(site, DAYS)
    refused = run(site, "purge", "--dry-run")
    assert refused.code == 2
    assert "run `cutover archive`" in refused.errors
    for key in later.keys:
        site.path(key).rename(site.home / key.rpartition("/")[2])
    made = archive(site).document
    for key in later.keys:
        (site.home / key.rpartition("/")[2]).rename(site.path(key))
    assert run(site, "quarantine").code == 0
    age(site, DAYS)
    ended = approved(site)
    assert (ended.code, ended.document["files"], ended.causes()) == (1, 2, {later.id: "not_archived"})
    assert [placed(site, row) for row in (archived, later)] == [["gone", "gone"], ["aside", "aside"]]
    (proof,) = (site.home / "state").rglob("*Z.json")
    long_ago = datetime.datetime.now(tz=datetime.UTC) - datetime.timedelta(days=2)
    proof.write_text(proof.read_text().replace(made["proven_at"], long_ago.isoformat()))
    stale = run(site, "purge", "--dry-run")
    assert stale.code == 2
    assert f"cutover archive --verify {made['key']}" in stale.errors
    assert approved(site, "--without-archive").document["files"] == 2


def test_a_changed_manifest_is_no_proof(site: Site) -> None:
    """A line that somebody wrote into the manifest deletes a file that no archive has."""
    (row,) = retired(site)
    (listing,) = (site.home / "state").rglob("*Z.sha256")
    listing.write_bytes(listing.read_bytes() + b"0" * 64 + b"  certificates/pdf/more.pdf\n")
    ended = run(site, "purge", "--dry-run")
    assert ended.code == 2
    assert "was changed since it was proven" in ended.errors
    assert placed(site, row) == ["aside", "aside"]


def _write_aside(site: Site, key: str, body: bytes) -> None:
    (quarantine_of(site) / key).write_bytes(body)


SPOILED: dict[str, Callable[[Site, Row], object]] = {
    "unmarked": lambda site, row: site.execute("UPDATE {table} SET migrated_to_s3_at = NULL WHERE id = %s", row.id),
    "accepted": lambda site, row: run(
        site, "accept", "--certificate-id", str(row.id), "--reason", "lost long ago", "--force"
    ),
    "damaged_local": lambda site, row: _write_aside(site, pdf(row), b"%PDF broken"),
    "conflict": lambda site, row: site.store(image(row), b"\x89PNG other"),
    "missing_object": lambda site, row: site.root.delete_object(Bucket=site.bucket, Key=image(row)),
    "no_certificate": lambda site, row: site.execute("DELETE FROM {table} WHERE id = %s", row.id),
}


def test_what_is_not_proven_now_stays(site: Site) -> None:
    """The object was lost within the thirty days, and now the last copy is deleted, too."""
    *bad, other, good = retired(site, len(SPOILED) + 2)
    for spoil, row in zip(SPOILED.values(), bad, strict=True):
        spoil(site, row)
    # Both copies were replaced by equal bytes, which no archive has.
    _write_aside(site, image(other), b"\x89PNG replaced")
    site.store(image(other), b"\x89PNG replaced")
    _write_aside(site, "certificates/pdf/stray.pdf", b"stray")
    ended = approved(site)
    expected = {row.id: cause for cause, row in zip(SPOILED, bad, strict=True)}
    assert ended.causes() == expected | {other.id: "conflict", None: "not_in_ledger"}
    assert ended.code == 1
    assert [placed(site, row) for row in bad] == [["aside", "aside"]] * len(bad)
    assert placed(site, other) == ["aside", "aside"]
    assert placed(site, good) == ["gone", "gone"]
    assert (quarantine_of(site) / "certificates/pdf/stray.pdf").exists()


def test_s3s_word_is_not_enough(site: Site, account: Account) -> None:
    """A server records the SHA-256 that it is told, and has other bytes: the right ones are deleted for ever."""
    bad, good = retired(site, 2)

    def other_bytes(exchange: Exchange) -> None:
        exchange.reply(200, [("ETag", '"other"')], b"\x89PNG other")

    with s3_proxy.running(account.aws) as proxy:
        proxy.script = lambda request: other_bytes if (request.operation, request.key) == ("get", image(bad)) else None
        looked = run(site, "purge", "--dry-run").document
        ended = run(site, "purge", "--approve", looked["approve"], AWS_ENDPOINT_URL_S3=proxy.endpoint_url)
        assert proxy.count("get", image(good)) == 1
    assert (ended.code, ended.causes()) == (1, {bad.id: "conflict"})
    assert [placed(site, row) for row in (bad, good)] == [["aside", "aside"], ["gone", "gone"]]


def test_what_was_deleted_is_told_even_if_the_run_breaks_off(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk fails at the second file, and the report of what is gone for ever is lost with the run."""
    rows = retired(site, 2)
    wanted = run(site, "purge", "--dry-run").document["approve"]
    remove = tree.remove

    def remove_one(root: Path, name: str) -> None:
        if name in rows[1].keys:
            raise PermissionError(errno.EACCES, "Permission denied", name)
        remove(root, name)

    monkeypatch.setattr(tree, "remove", remove_one)
    ended = run(site, "purge", "--approve", wanted)
    assert (ended.code, ended.document["files"]) == (5, 2)
    assert [placed(site, row) for row in rows] == [["gone", "gone"], ["aside", "aside"]]


def test_while_local_copies_are_needed_nothing_is_deleted(site: Site) -> None:
    """A rollback is under way, and the files that it is about to take back are deleted."""
    (row,) = retired(site)
    phrase = f"delete-2-local-copies-of-{site.bucket}-for-ever"
    assert run(site, "purge", "--approve", phrase, CERT_S3_READ_PRIMARY="false").code == 2
    (quarantine_of(site) / "restoring").touch()
    ended = run(site, "purge", "--approve", phrase)
    assert (ended.code, ended.document["stopped"]) == (1, "restore")
    (quarantine_of(site) / "restoring").unlink()
    deny_reading(site)
    ended = run(site, "purge", "--approve", phrase)
    assert (ended.code, ended.document["stopped"]) == (4, "s3")
    assert placed(site, row) == ["aside", "aside"]


def test_a_killed_purge_goes_on_with_what_is_left(site: Site) -> None:
    """After a reboot half a certificate is neither deleted nor restorable."""
    rows = migrated(site, 40)
    before = content(site, *rows)
    assert run(site, "quarantine").code == 0
    age(site, DAYS)
    phrase = run(site, "purge", "--without-archive", "--dry-run").document["approve"]
    process = site.start("purge", "--without-archive", "--approve", phrase, environment=SETTLED)
    deadline = time.monotonic() + 20
    while all("gone" not in placed(site, row) for row in rows) and time.monotonic() < deadline:
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    ended = approved(site, "--without-archive")
    assert (ended.code, ended.document["left"]) == (0, [])
    assert [placed(site, row) for row in rows] == [["gone", "gone"]] * 40
    assert run(site, "restore").code == 0
    assert content(site, *rows) == before
