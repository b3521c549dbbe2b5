"""`cutover accept`: who accepted what, and for how long it holds."""

from __future__ import annotations

import json
import resource
from typing import TYPE_CHECKING

import pytest

from cutover import cli
from cutover.accepted import Accepted
from cutover.catalogue import Catalogue
from cutover.settings import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

    from cutover.catalogue import Certificate
    from tests.data_tools.certificate_site import Site


def accept(*arguments: str) -> int:
    return cli.main(["accept", *arguments])


def certificate(site: Site, identity: int) -> Certificate:
    with Catalogue(site.settings, read_only=True) as catalogue:
        return catalogue.by_id([identity])[0]


def record(site: Site) -> Path:
    return site.settings.state_directory / "accepted.jsonl"


def test_it_is_recorded_listed_and_withdrawn(
    site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An auditor asks a year later who let a lost certificate pass, and why; and why it was taken back."""
    monkeypatch.setenv("SUDO_USER", "ayesha")
    row = site.add()
    assert accept("--certificate-id", str(row.id), "--reason", "  PNG lost in 2024 ") == 0
    assert accept("--list", "--json") == 0
    *_, listed = capsys.readouterr().out.splitlines()
    (found,) = json.loads(listed)
    assert (found["certificate_id"], found["by"], found["reason"]) == (row.id, "ayesha", "PNG lost in 2024")
    assert found["files"] == list(row.keys)
    assert Accepted(site.settings).ids() == {row.id}
    assert accept("--certificate-id", str(row.id), "--withdraw", "--reason", "found again") == 0
    assert Accepted(site.settings).records() == []
    assert accept("--list") == 0
    assert capsys.readouterr().out.endswith("no certificate is accepted\n")
    lines = [json.loads(line) for line in record(site).read_text().splitlines()]
    assert [(line["reason"], line["withdrawn"]) for line in lines] == [
        ("PNG lost in 2024", False),
        ("found again", True),
    ]
    assert record(site).stat().st_mode & 0o777 == 0o600


def test_it_covers_the_files_that_were_accepted(site: Site) -> None:
    """A certificate that is issued anew, with other files, was accepted by nobody."""
    row = site.add()
    Accepted(site.settings).add(certificate(site, row.id), "lost")
    assert Accepted(site.settings).covers(certificate(site, row.id))
    site.execute("UPDATE {table} SET file_pdf = %s WHERE id = %s", "certificates/pdf/new.pdf", row.id)
    assert not Accepted(site.settings).covers(certificate(site, row.id))


@pytest.mark.parametrize(
    "arguments", [("--certificate-id", "4711", "--reason", "lost"), ("--certificate-id", "{row}"), ()]
)
def test_it_needs_a_row_and_a_reason(site: Site, arguments: tuple[str, ...]) -> None:
    """A mistyped number would accept a certificate that is issued next year."""
    row = site.add()
    try:
        code = accept(*(argument.format(row=row.id) for argument in arguments))
    except SystemExit as ended:
        code = int(str(ended.code))
    assert code == 2
    assert not record(site).exists()


def test_there_may_be_nothing_to_withdraw(site: Site) -> None:
    """Whoever mistypes the number believes that the row counts again."""
    row = site.add()
    assert accept("--certificate-id", str(row.id), "--withdraw", "--reason", "found") == 1


def test_a_migrated_row_is_accepted_by_force_only(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a mistyped number, no check would ever look at that healthy certificate again."""
    row = site.add(marked=True)
    arguments = ("--certificate-id", str(row.id), "--reason", "lost")
    assert accept(*arguments) == 1
    assert f"certificate {row.id} is marked as migrated" in capsys.readouterr().err
    assert not record(site).exists()
    assert accept(*arguments, "--force") == 0
    assert f"certificate {row.id} is marked as migrated" in capsys.readouterr().err
    assert Accepted(site.settings).ids() == {row.id}


def test_a_state_directory_that_cannot_be_read_is_an_error(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`no certificate is accepted` of a directory that nobody could look into, or that was mistyped, is no answer."""
    (site.home / "file").touch()
    monkeypatch.setenv("CUTOVER_STATE_DIRECTORY", str(site.home / "file"))
    assert accept("--list") == 4
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "accepted.jsonl: the accepted rows cannot be read" in shown.err
    monkeypatch.setenv("CUTOVER_STATE_DIRECTORY", str(site.home / "mistyped"))
    assert accept("--list") == 0
    assert f"there is no {site.home / 'mistyped'}" in capsys.readouterr().err


def test_a_damaged_record_is_an_error(site: Site) -> None:
    """Read as empty, the rows that somebody must keep locally would be retired."""
    Accepted(site.settings).add(certificate(site, site.add().id), "lost")
    record(site).write_text('{"certificate_id": 1')
    with pytest.raises(SettingsError, match=r"accepted.jsonl: a line is no accepted row"):
        Accepted(site.settings)
    assert accept("--list") == 2


def test_a_reason_may_hold_any_character(site: Site) -> None:
    """A reason pasted from a document ends all commands: its line separator ends the record's line."""
    row = site.add()
    assert accept("--certificate-id", str(row.id), "--reason", "lost\u2028in\x852024 \N{PARAGRAPH SEPARATOR}") == 0
    assert [found.reason for found in Accepted(site.settings).records()] == ["lost\u2028in\x852024"]


@pytest.mark.usefixtures("capsys")  # in memory: the limit holds for a captured standard error, too
def test_a_full_disk_leaves_no_half_line(site: Site) -> None:
    """Half a line makes the record unreadable, and with it every report."""
    first, second = site.add(), site.add()
    Accepted(site.settings).add(certificate(site, first.id), "lost")
    whole = record(site).read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 10, hard))
    try:
        code = accept("--certificate-id", str(second.id), "--reason", "lost")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert code == 5
    assert record(site).read_bytes() == whole


def test_a_planted_link_is_not_followed(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """The folder is www-data's, and an operator may accept a certificate as root."""
    row, victim = site.add(), site.home / "victim"
    site.settings.state_directory.mkdir(parents=True)
    (site.settings.state_directory / "accepted.jsonl").symlink_to(victim)
    assert accept("--certificate-id", str(row.id), "--reason", "lost") == 5
    assert "accepted.jsonl: cannot be written (Too many levels of symbolic links)" in capsys.readouterr().err
    assert not victim.exists()


def test_a_state_directory_that_cannot_be_written_has_its_own_code(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody may believe that a row is accepted of which nothing was kept."""
    row = site.add()
    monkeypatch.setenv("CUTOVER_STATE_DIRECTORY", "/proc/none")
    assert accept("--certificate-id", str(row.id), "--reason", "lost") == 5
    assert "/proc/none" in capsys.readouterr().err
