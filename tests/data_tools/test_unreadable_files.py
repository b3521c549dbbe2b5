"""Local files that their disk does not give: nobody knows what is wrong with them, so nobody passes them by."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import pytest

from cutover import cli, local_files
from cutover.backfill import token
from tests.data_tools.backfill_runs import backfill, causes, check_all_migrated, issue

if TYPE_CHECKING:
    from pathlib import Path

    from tests.data_tools.certificate_site import Site


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """The error number that each of these names is answered with; this process may be root, whom no mode stops."""
    numbers: dict[str, int] = {}
    read = local_files.read

    def refuse(media_root: Path, name: str, *, hold: int) -> Any:
        if name in numbers:
            raise OSError(numbers[name], os.strerror(numbers[name]), name)
        return read(media_root, name, hold=hold)

    monkeypatch.setattr(local_files, "read", refuse)
    return numbers


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EACCES])
def test_a_file_that_cannot_be_read_ends_the_run_before_it(
    site: Site, broken: dict[str, int], capsys: pytest.CaptureFixture[str], number: int
) -> None:
    """Counted as missing, it is passed by for ever: it is there again tomorrow, and no token leads back to it."""
    before, lost, after = issue(site, 3)
    broken[lost.keys[1]] = number
    assert cli.main(["backfill"]) == 4
    output, errors = capsys.readouterr()
    code = errno.errorcode[number]
    assert f"cutover: {site.path(lost.keys[1])}: cannot be read ({code}, {os.strerror(number)}): mend " in errors
    assert f"`cutover accept --certificate-id {lost.id}`" in errors
    assert "missing_local" not in output
    assert output.endswith(f"\nRESUME_TOKEN {token.encode(lost.id)}\n")
    assert [row.id for row in site.rows() if row.marked] == [before.id, after.id]  # what was under way is finished
    assert cli.main(["backfill", "--dry-run", "--start-id", str(lost.id)]) == 4
    broken.clear()
    assert cli.main(["backfill", "--resume-token", token.encode(lost.id)]) == 0
    check_all_migrated(site)


def test_no_batch_begins_after_it(site: Site, broken: dict[str, int], capsys: pytest.CaptureFixture[str]) -> None:
    """A dead export costs a time-out for each of a hundred thousand files."""
    rows = issue(site, 8)
    broken[rows[0].keys[0]] = errno.EIO
    assert cli.main(["backfill", "--batch-size", "2"]) == 4
    assert "aborted" not in capsys.readouterr().out
    assert len([row for row in site.rows() if row.marked]) <= 3


def test_an_accepted_certificate_is_a_way_past_it(
    site: Site, broken: dict[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    """One bad sector would else hold up the cutover for ever."""
    lost, other = issue(site, 2)
    broken[lost.keys[0]] = errno.EIO
    assert cli.main(["accept", "--certificate-id", str(lost.id), "--reason", "bad sector"]) == 0
    assert cli.main(["backfill"]) == 0
    assert [row.id for row in site.rows() if row.marked] == [other.id]
    assert "1 accepted, not migrated" in capsys.readouterr().out


@pytest.mark.parametrize("left", ["nothing", "an empty folder"])
def test_an_export_that_is_not_mounted_is_not_a_million_lost_files(site: Site, left: str) -> None:
    """The run would be through in a minute, each certificate reported as lost, the token behind the last one."""
    first, *_ = issue(site, 3)
    certificates, aside = site.media_root / "certificates", site.media_root / "aside"
    certificates.rename(aside)
    if left == "an empty folder":
        certificates.mkdir()
    code, answer = backfill(site)
    assert (code, answer["errors"], answer["found"]) == (4, [], 0)
    assert token.decode([answer["resume_token"]]) in {0, first.id}
    said = site.run("sweep").stderr
    assert f"cutover: {certificates}" in said
    assert "mount the media directory on this machine" in said
    if certificates.exists():
        certificates.rmdir()
    aside.rename(certificates)
    assert backfill(site, "--resume-token", answer["resume_token"])[0] == 0
    check_all_migrated(site)


def test_a_name_in_a_folder_that_is_not_there_is_missing(site: Site) -> None:
    """Where other certificates lie, the disk has answered: this one is lost, and must not hold up the others."""
    lost, good = site.add(None, image=None, file_image="certificates/images/1999/01/lost.png"), site.add()
    code, answer = backfill(site)
    assert (code, causes(answer)) == (1, {"certificates/images/1999/01/lost.png": "missing_local"})
    assert token.decode([answer["resume_token"]]) == good.id + 1 == lost.id + 2


def test_a_name_that_no_disk_takes_is_unsafe(site: Site) -> None:
    """ENAMETOOLONG is the row's fault, and no other run finds such a file."""
    site.execute("ALTER TABLE {table} ALTER COLUMN file_pdf TYPE text")
    site.add()
    name = f"certificates/pdf/{'x' * 300}.pdf"
    site.add(None, None, file_pdf=name)
    code, answer = backfill(site)
    assert (code, causes(answer)) == (1, {name: "unsafe_name"})


def test_a_sweep_says_it_too_and_does_the_others(
    site: Site, broken: dict[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    """One file that the site wrote for root alone would leave a day's certificates unmarked."""
    lost, other = issue(site, 2)
    broken[lost.keys[0]] = errno.EACCES
    assert cli.main(["sweep"]) == 4
    output, errors = capsys.readouterr()
    assert output.startswith("SWEEP 1 certificates: 1 marked")
    assert f"cutover: {site.path(lost.keys[0])}: cannot be read (EACCES, Permission denied)" in errors
    assert [row.id for row in site.rows() if row.marked] == [other.id]
