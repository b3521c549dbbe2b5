"""Local files that their disk does not give: one is listed, and no token passes it by; a disk that is away is told."""

from __future__ import annotations

import errno
import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from cutover import cli, local_files, plan
from cutover.backfill import token
from tests.data_tools.backfill_runs import backfill, causes, check_all_migrated, issue

if TYPE_CHECKING:
    from pathlib import Path

    from tests.data_tools.certificate_site import Site

IN_A_ROW = plan.load().data_tools.failure_stop.in_a_row


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


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
def test_a_file_that_cannot_be_read_is_listed_and_blocks_nobody(
    site: Site, broken: dict[str, int], capsys: pytest.CaptureFixture[str], number: int
) -> None:
    """One bad sector held up a hundred thousand certificates, and the dry run that should have listed it."""
    rows = issue(site, 6)
    lost = rows[1]
    broken[lost.keys[1]] = number
    code = errno.errorcode[number]
    for options in (["--dry-run"], []):
        assert cli.main(["backfill", "--batch-size", "2", *options]) == 1
        output, errors = capsys.readouterr()
        said = f"[ERROR] certificate {lost.id}, {lost.keys[1]}: damaged_local: cannot be read ({code}, "
        assert f"{said}{os.strerror(number)}): mend " in output
        assert f"`cutover accept --certificate-id {lost.id}`" in output
        assert output.endswith(f"\nRESUME_TOKEN {token.encode(lost.id)}\n")  # it may be there again tomorrow
        assert errors == ""
    assert [row.id for row in site.rows() if not row.marked] == [lost.id]
    broken.clear()
    assert cli.main(["backfill", "--resume-token", token.encode(lost.id)]) == 0
    check_all_migrated(site)


def test_the_document_lists_it_with_a_pinned_cause(
    site: Site, broken: dict[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever reads the document knows nine causes."""
    (lost,) = issue(site, 1)
    broken[lost.keys[0]] = errno.EIO
    assert cli.main(["backfill", "--json"]) == 1
    (error,) = json.loads(capsys.readouterr().out)["errors"]
    assert sorted(error) == ["cause", "certificate_id", "detail", "key"]
    assert (error["certificate_id"], error["key"], error["cause"]) == (lost.id, lost.keys[0], "damaged_local")


@pytest.mark.parametrize("how", ["ESTALE", "the tree", "many in a row"])
def test_a_disk_that_is_away_ends_the_run(
    site: Site, broken: dict[str, int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    """A dead export costs a time-out for each of a hundred thousand files."""
    number = IN_A_ROW if how == "many in a row" else 1
    rows = issue(site, number + 5)
    broken |= {row.keys[0]: errno.ESTALE if how == "ESTALE" else errno.EIO for row in rows[1 : number + 1]}
    require_tree = local_files.require_tree
    if how == "the tree":
        monkeypatch.setattr(local_files, "require_tree", lambda root: require_tree(root / "elsewhere"))
    assert cli.main(["backfill", "--batch-size", "2"]) == 4
    output, errors = capsys.readouterr()
    said = {
        "ESTALE": "(ESTALE, ",
        "the tree": "has no certificate (ENOENT",
        "many in a row": f"of {IN_A_ROW} certificates in a",
    }
    assert said[how] in errors
    assert "aborted" not in output
    assert output.endswith(f"\nRESUME_TOKEN {token.encode(rows[1].id)}\n")
    assert not site.row(rows[-1].id).marked  # no batch begins any more


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


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_an_export_that_left_its_folders_behind_is_not_a_million_lost_files(site: Site, options: list[str]) -> None:
    """A mount point that was once written to has the folders, and even a file, and none of the certificates."""
    rows = issue(site, IN_A_ROW + 10)
    aside = site.media_root / "aside"
    (site.media_root / "certificates").rename(aside)
    site.path("certificates/pdf/2026").mkdir(parents=True)
    site.path("certificates/pdf/2026/stray.pdf").write_bytes(b"stray")
    code, answer = backfill(site, "--batch-size", "5", *options)
    assert (code, token.decode([answer["resume_token"]])) == (4, 0)
    assert answer["found"] < len(rows)
    shutil.rmtree(site.media_root / "certificates")
    aside.rename(site.media_root / "certificates")
    assert backfill(site, "--resume-token", answer["resume_token"])[0] == 0
    check_all_migrated(site)


def test_a_run_of_nothing_but_lost_files_goes_on_while_others_are_there(site: Site) -> None:
    """The second run meets what the first one left: forty lost certificates must not hide the one behind them."""
    lost = issue(site, IN_A_ROW * 2)
    good = site.add(marked=True)
    new = site.add()
    for key in (key for row in lost for key in row.keys):
        site.path(key).unlink()
    code, answer = backfill(site)
    assert (code, len(answer["errors"])) == (1, 2 * len(lost))
    assert site.row(new.id).marked
    assert token.decode([answer["resume_token"]]) == new.id + 1
    assert good.id < new.id


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
    assert cli.main(["sweep"]) == 1
    output, _ = capsys.readouterr()
    assert f"[ERROR] certificate {lost.id}, {lost.keys[0]}: damaged_local: cannot be read (EACCES, " in output
    assert "SWEEP 2 certificates: 1 marked" in output
    assert [row.id for row in site.rows() if row.marked] == [other.id]
