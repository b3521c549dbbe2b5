"""Files that lie only in S3 since the purge: who counts them, which mark tells a machine, and whom they hold back."""

from __future__ import annotations

import contextlib
import io
import os
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from cutover import cli
from cutover.retirement.ledger import FILE_NAME
from cutover.retirement.only_in_s3 import MARK
from tests.data_tools.retired import SETTLED, Ended, migrated, placed, quarantine_of, run
from tests.data_tools.test_purge import age, archive

if TYPE_CHECKING:
    from pathlib import Path

    from tests.data_tools.certificate_site import Row, Site

DEAD = {"AWS_ENDPOINT_URL_S3": "https://127.0.0.1:9", "DATABASE_URL": "postgres://127.0.0.1:9/none"}


def environment_file(site: Site, **variables: str) -> Path:
    """The application's environment file, as a machine has it; the mark lies beside it."""
    path = site.home / "production.env"
    path.write_text("".join(f"{name}={value}\n" for name, value in (site.environment | SETTLED | variables).items()))
    return path


def command(site: Site, *arguments: str, **variables: str) -> Ended:
    """Runs a command with `--json` and the environment file."""
    return run(site, *arguments, "--env-file", str(environment_file(site, **variables)))


def emergency(site: Site, accepted: int, **variables: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of what an emergency asks the data host for."""
    output, errors = io.StringIO(), io.StringIO()
    arguments = ["restore", "--quarantined-only", "--accept-unreadable", str(accepted)]
    with mock.patch.dict(os.environ), contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        code = cli.main([*arguments, "--env-file", str(environment_file(site, **variables))])
    return code, output.getvalue(), errors.getvalue()


def marked(site: Site) -> int | None:
    """The number of this machine's mark; None if it has none."""
    path = site.home / MARK
    return int(path.read_text().split()[0]) if path.exists() else None


def purged(site: Site, count: int = 1) -> list[Row]:
    """Certificates whose local copies were deleted."""
    rows = migrated(site, count)
    assert archive(site).code == 0
    assert run(site, "quarantine").code == 0
    age(site, 31)
    wanted = command(site, "purge", "--dry-run").document["approve"]
    assert command(site, "purge", "--approve", wanted).code == 0
    return rows


def test_a_purge_is_counted_and_marks_its_machine(site: Site) -> None:
    """An emergency by hand on this machine turns the reads to files that are gone."""
    assert emergency(site, 0)[:2] == (
        0,
        "0 files taken back from " + f"{quarantine_of(site)}, 0 downloaded, 0 bytes; 0 were there\n",
    )
    rows = migrated(site, 2)
    assert archive(site).code == 0
    assert run(site, "quarantine").code == 0
    age(site, 31)
    looked = command(site, "purge", "--dry-run").document
    assert (looked["only_in_s3"], marked(site)) == (0, None)
    ended = command(site, "purge", "--approve", looked["approve"])
    assert (ended.code, ended.document["only_in_s3"], marked(site)) == (0, 4, 4)
    assert [placed(site, row) for row in rows] == [["gone", "gone"]] * 2
    assert command(site, "purge", "--dry-run").document["only_in_s3"] == 4


def test_an_emergency_moves_nothing_until_just_so_many_are_accepted(site: Site) -> None:
    """It asks neither S3 nor the database, which are why it was called."""
    rows = purged(site)
    (aside,) = migrated(site)
    assert run(site, "quarantine").code == 0
    for accepted in (0, 1, 3):
        code, said, errors = emergency(site, accepted, **DEAD)
        assert (code, said) == (2, "ONLY_IN_S3 2 1\n")
        assert f"2 files of 1 certificates lie only in S3 since the purge, and {accepted} are accepted" in errors
        assert placed(site, aside) == ["aside", "aside"]
    code, said, _ = emergency(site, 2, **DEAD)
    assert code == 0
    assert said.startswith("ONLY_IN_S3 2 1\n2 files taken back")
    assert [placed(site, row) for row in (aside, *rows)] == [["here", "here"], ["gone", "gone"]]
    assert marked(site) == 2


def test_what_a_restore_brought_back_counts_no_longer(site: Site) -> None:
    """All files are back, and the emergency goes on refusing."""
    first, second = purged(site, 2)
    one = command(site, "restore", "--certificate-id", str(first.id))
    assert (one.code, one.document["from_s3"], one.document["only_in_s3"], marked(site)) == (0, 2, 2, 2)
    assert emergency(site, 0)[:2] == (2, "ONLY_IN_S3 2 1\n")
    all_of_them = command(site, "restore")
    assert (all_of_them.code, all_of_them.document["only_in_s3"], marked(site)) == (0, 0, None)
    code, said, _ = emergency(site, 0)
    assert (code, said.splitlines()[0]) == (0, "ONLY_IN_S3 0 0")
    assert run(site, "quarantine").code == 0
    assert emergency(site, 0)[0] == 0  # in quarantine again, it is a rename away
    assert placed(site, second) == ["here", "here"]
    for key in second.keys:
        site.path(key).unlink()
    assert emergency(site, 0)[:2] == (2, "ONLY_IN_S3 2 1\n")


def test_an_empty_local_file_is_no_copy(site: Site) -> None:
    """A full disk leaves an empty file behind, and customers get that."""
    (row,) = purged(site)
    site.path(row.keys[0]).touch()
    assert emergency(site, 0)[1].startswith("ONLY_IN_S3 2 1\n")


def test_a_dry_run_changes_no_mark(site: Site) -> None:
    purged(site)
    looked = command(site, "restore", "--dry-run")
    assert (looked.document["from_s3"], looked.document["only_in_s3"], marked(site)) == (2, None, 2)


def test_without_its_ledger_nobody_says_that_nothing_was_purged(site: Site) -> None:
    """The media directory is not mounted: "nothing lies only in S3", and every read fails."""
    purged(site)
    ledger = quarantine_of(site) / FILE_NAME
    ledger.rename(site.home / "ledger")
    code, said, errors = emergency(site, 0)
    assert code == 0  # the quarantine is given back all the same; the machines go by their marks
    assert not said.startswith("ONLY_IN_S3")
    assert "nobody can count what was purged" in errors
    assert marked(site) == 2
    assert command(site, "purge", "--dry-run").code == 4
    (site.home / MARK).unlink()
    quarantine_of(site).rename(site.home / "away")
    assert "nobody can count what was purged" in emergency(site, 0)[2]


def test_nothing_is_deleted_on_a_machine_that_takes_no_mark(site: Site) -> None:
    """The first thing that a full disk costs is the knowledge of what was deleted."""
    (row,) = migrated(site)
    assert archive(site).code == 0
    assert run(site, "quarantine").code == 0
    age(site, 31)
    wanted = command(site, "purge", "--dry-run").document["approve"]
    (site.home / f"{MARK}.new").mkdir()
    ended = command(site, "purge", "--approve", wanted)
    assert ended.code == 5
    assert f"{MARK}: cannot be written" in ended.errors
    assert placed(site, row) == ["aside", "aside"]


def test_a_mark_that_cannot_be_corrected_makes_no_restore_fail(site: Site) -> None:
    """Every file is back, and the exit code says otherwise."""
    rows = purged(site)
    (site.home / MARK).unlink()
    (site.home / MARK).mkdir()
    ended = command(site, "restore")
    assert (ended.code, ended.document["only_in_s3"]) == (0, None)
    assert "could not be counted or marked" in ended.errors
    assert placed(site, rows[0]) == ["here", "here"]


@pytest.mark.parametrize("number", ["-1", "all", ""])
def test_what_is_no_number_is_a_wrong_use(site: Site, number: str) -> None:
    with pytest.raises(SystemExit) as ended:
        run(site, "restore", "--quarantined-only", f"--accept-unreadable={number}")
    assert ended.value.code == 2
