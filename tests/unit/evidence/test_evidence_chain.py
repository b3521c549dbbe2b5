"""The chain: a record is there whole or not at all, and nobody changes, removes, reorders or adds one unseen."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cutover.evidence import chain as chains
from cutover.evidence.errors import ChainError, DocumentError, WriteError
from cutover.evidence.record import canonical
from tests.unit.evidence.documents import BEGIN, daily, drill, rollback, step

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.evidence.documents import Story

APPEND = [sys.executable, "-m", "cutover.cli", "evidence", "append", "--directory"]
KILLED_BEFORE = """
import os, signal, sys
from pathlib import Path
from cutover.evidence import chain
name = sys.argv[2]
def killed(*arguments, **keys):
    os.kill(os.getpid(), signal.SIGKILL)
setattr(os, name, killed)
chain.append(Path(sys.argv[1]), {"kind": "daily", "deployment": "production", "verdict": "PASS"})
"""
FOUR = [daily(), daily("FAIL"), drill("production", "local"), daily()]


def fill(story: Story, documents: list[dict[str, object]] | None = None) -> list[Path]:
    return [story.directory / story.tell(document).file for document in documents or FOUR]


def first_break(story: Story) -> chains.Break:
    broken = chains.read(story.directory).broken
    assert broken is not None
    return broken


def changed(path: Path, **values: object) -> int:
    """Writes a record anew as somebody would who knows its form."""
    return path.write_bytes(canonical(json.loads(path.read_bytes()) | values))


def linked(path: Path, elsewhere: Path) -> Path:
    """Moves a file and leaves a symbolic link to it."""
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    return path


def test_a_record_holds_what_an_auditor_asks_for(story: Story) -> None:
    """Who reads a file without this program finds number, chain, time and everything that was said."""
    first, second = story.tell(step(1)), story.tell(step(1, "FAIL", who="ana", approver="ben", cursors={"w1": "s=1"}))
    assert [path.name for path in sorted(story.directory.iterdir())] == [
        "000001-step-1-PASS.json",
        "000002-step-1-FAIL.json",
    ]
    body = (story.directory / second.file).read_bytes()
    values = json.loads(body)
    assert body == (json.dumps(values, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
    assert values["recorded_at"] == "2026-12-01T09:32:00.000000Z"
    assert (values["sequence"], values["previous"], values["attempt"]) == (2, first.sha256, 2)
    assert (values["who"], values["approver"], values["cursors"]) == ("ana", "ben", {"w1": "s=1"})
    assert json.loads((story.directory / first.file).read_bytes())["previous"] is None


def test_everybody_may_read_and_only_the_owner_may_write(story: Story) -> None:
    """A copy is fetched by an unprivileged user; a umask of 077 must not stop that."""
    before = os.umask(0o077)
    try:
        (path,) = fill(story, [daily()])
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert stat.S_IMODE(story.directory.stat().st_mode) == 0o755


def test_attempts_are_counted_by_kind_and_step(story: Story) -> None:
    """Who could give the number himself could hide the attempts that failed."""
    documents = [step(1, "FAIL"), step(1), step(2), drill("staging", "local"), step(1)]
    assert [story.tell(document).record.attempt for document in documents] == [1, 2, 1, 1, 3]


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"kind": "party"}, "kind"),
        ({"deployment": "prod"}, "deployment"),
        ({"verdict": "OK"}, "verdict"),
        ({"step": 11}, "step"),
        ({"step": "3"}, "step"),
        ({"kind": "step", "step": None}, "names its step"),
        ({"sequence": 7}, "sequence"),
        ({"previous": None}, "previous"),
        ({"attempt": 1}, "attempt"),
        ({"recorded_at": "2026-12-01T00:00:00Z"}, "recorded_at"),
        ({"sha256": "0"}, "sha256"),
        ({"seconds": True}, "seconds"),
        ({"seconds": float("nan")}, "seconds"),
        ({"noise": float("inf")}, "JSON"),
        ({"noise": "\ud800"}, "JSON"),
        ({"started_at": "2026-12-01T00:00:00"}, "time zone"),
        ({"started_at": 1790000000}, "ISO 8601"),
        ({"timeline": [{"at": "2026-12-01T00:00:00Z", "worker": "w1"}]}, "timeline.0.mode"),
        ({"series": {"a": [["2026-12-01T00:00:00Z", "fast"]]}}, "series.a"),
        (
            {"criteria": [{"criterion": "a", "wanted": "", "measured": "0.5", "samples": 1, "verdict": "PASS"}]},
            "measured",
        ),
        ({"criteria": [{"criterion": "a", "wanted": "", "measured": 1, "samples": -1, "verdict": "PASS"}]}, "samples"),
        (
            {"criteria": [{"criterion": "a", "wanted": "", "measured": None, "samples": 9, "verdict": "PASS"}]},
            "measured nothing",
        ),
        (
            {"criteria": [{"criterion": "a", "wanted": "", "measured": 1, "samples": 0, "verdict": "PASS"}]},
            "measured nothing",
        ),
        (
            {"criteria": [{"criterion": "a", "wanted": "", "measured": 1, "samples": 1, "verdict": "FAIL"}]},
            "a says FAIL",
        ),
    ],
)
def test_a_document_that_is_no_record_is_refused_by_name(story: Story, values: dict[str, object], named: str) -> None:
    """What gates read later must not turn out unreadable, or a PASS that nobody measured."""
    with pytest.raises(DocumentError, match=named):
        story.tell(daily() | values)
    assert chains.read(story.directory).links == ()


def test_a_chain_is_one_deployments(story: Story) -> None:
    """Staging's PASS in production's chain would open production's gates."""
    story.tell(step(1))
    with pytest.raises(DocumentError, match="is the evidence of staging"):
        story.tell(daily())


def test_a_clock_that_was_set_back_ends_the_recording(story: Story) -> None:
    """Ages would be told by times that run backwards; a step of less than the allowed skew is no reason to stop."""
    first = story.tell(daily())
    assert story.tell(daily(), timedelta(seconds=-200)).record.recorded_at == first.record.recorded_at
    with pytest.raises(ChainError, match="set the clock"):
        story.tell(daily(), timedelta(seconds=-400))


def test_a_broken_chain_is_not_continued(story: Story) -> None:
    """The break would be buried under good records."""
    changed(fill(story)[1], verdict="PASS")
    with pytest.raises(ChainError, match=r"000002-daily-9-FAIL\.json"):
        story.tell(daily())


def test_a_full_disk_leaves_no_half_record(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a record would break the chain for good."""
    fill(story)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteError, match="No space left"):
        story.tell(daily())
    assert sorted(path.name for path in story.directory.iterdir()) == [
        link.file for link in chains.read(story.directory).links
    ]
    assert len(chains.read(story.directory).proven().links) == 4


@pytest.mark.parametrize(("killed_at", "records"), [("fchmod", 0), ("fsync", 0), ("link", 0), ("unlink", 1)])
def test_a_killed_writer_leaves_a_whole_chain_that_goes_on(tmp_path: Path, killed_at: str, records: int) -> None:
    """The machine dies between the temporary file and the link: nothing was recorded, and nothing is in the way."""
    ended = subprocess.run([sys.executable, "-c", KILLED_BEFORE, str(tmp_path), killed_at], check=False, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    assert len(list(tmp_path.glob(".append-*"))) == 1
    assert len(chains.read(tmp_path).proven().links) == records
    assert chains.append(tmp_path, daily()).record.sequence == records + 1
    assert not list(tmp_path.glob(".append-*"))


def test_writers_at_once_get_numbers_of_their_own(tmp_path: Path) -> None:
    """Two control machines end a step in the same second; a lost record or a shared number would break the chain."""
    directory = tmp_path / "evidence"
    writers = [
        subprocess.Popen([*APPEND, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for number, writer in enumerate(writers):
        assert writer.stdin is not None
        writer.stdin.write(json.dumps(daily(who=f"writer {number}")))
        writer.stdin.close()
    answers = [json.loads(cast("str", writer.stdout and writer.stdout.read())) for writer in writers]
    assert [writer.wait(60) for writer in writers] == [0] * 4
    assert sorted(answer["sequence"] for answer in answers) == [1, 2, 3, 4]
    assert {record.who for record in chains.read(directory).proven().records} == {f"writer {n}" for n in range(4)}


def test_a_directory_that_stays_locked_is_named(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopped writer must not hang every later step without a word."""
    fill(story)
    monkeypatch.setattr(chains, "_LOCK_SECONDS", 0.1)
    with chains._locked(story.directory, 2), pytest.raises(ChainError, match="has locked it"):
        story.tell(daily())


BREAKS: dict[str, tuple[Callable[[list[Path]], object], str, str]] = {
    "changed": (lambda files: changed(files[1], seconds=1), "000003-drill-PASS.json", "previous = SHA-256 of 000002"),
    "changed by a byte": (
        lambda files: files[0].write_bytes(files[0].read_bytes() + b" "),
        "000001-daily-9-PASS.json",
        "canonical",
    ),
    "verdict changed": (
        lambda files: changed(files[1], verdict="PASS"),
        "000002-daily-9-FAIL.json",
        "the name 000002-daily-9-PASS",
    ),
    "verdict and name changed": (
        lambda files: (
            changed(files[1], verdict="PASS"),
            files[1].rename(files[1].with_name("000002-daily-9-PASS.json")),
        ),
        "000003-drill-PASS.json",
        "previous = SHA-256 of 000002-daily-9-PASS.json",
    ),
    "renamed": (
        lambda files: files[3].rename(files[3].with_name("000004-daily-9-FAIL.json")),
        "000004-daily-9-FAIL.json",
        "the name",
    ),
    "removed": (lambda files: files[1].unlink(), "000002-….json", "number 2 before 000003-drill-PASS.json"),
    "first removed": (lambda files: files[0].unlink(), "000001-….json", "number 1 before 000002-daily-9-FAIL.json"),
    "number twice": (
        lambda files: shutil.copy(files[1], files[1].with_name("000002-daily-9-PASS.json")),
        "000002-daily-9-PASS.json",
        "each once",
    ),
    "truncated": (lambda files: files[2].write_bytes(files[2].read_bytes()[:40]), "000003-drill-PASS.json", "a record"),
    "emptied": (lambda files: files[2].write_bytes(b""), "000003-drill-PASS.json", "a record"),
    "no UTF-8": (lambda files: files[3].write_bytes(b"\xff"), "000004-daily-9-PASS.json", "a record"),
    "foreign file": (
        lambda files: files[0].with_name("notes.txt").write_text("x"),
        "notes.txt",
        "records and nothing else",
    ),
    "directory": (
        lambda files: files[0].with_name("000005-daily-PASS.json").mkdir(),
        "000005-daily-PASS.json",
        "records and",
    ),
    "symbolic link": (
        lambda files: linked(files[3], files[3].parent.parent / "elsewhere"),
        "000004-daily-9-PASS.json",
        "records and",
    ),
    "attempt": (lambda files: changed(files[3], attempt=9), "000004-daily-9-PASS.json", "attempt 3"),
    "deployment": (
        lambda files: changed(files[3], deployment="staging"),
        "000004-daily-9-PASS.json",
        "deployment production",
    ),
    "time": (
        lambda files: changed(files[3], recorded_at="2026-01-01T00:00:00.000000Z"),
        "000004-daily-9-PASS.json",
        "recorded_at",
    ),
    "key twice": (
        lambda files: files[3].write_bytes(files[3].read_bytes().replace(b'"step"', b'"kind": "daily",\n "step"')),
        "000004-daily-9-PASS.json",
        "a record",
    ),
}


@pytest.mark.parametrize("what", BREAKS)
def test_a_tampered_chain_names_its_first_broken_link(story: Story, what: str) -> None:
    """Each is a way to make a failed check look as if it had passed, or never been."""
    tamper, file, expected = BREAKS[what]
    files = fill(story)
    assert chains.read(story.directory).broken is None
    tamper(files)
    broken = first_break(story)
    assert broken.file == file
    assert expected in broken.expected


def test_reordered_records_are_named(story: Story) -> None:
    """A PASS before the FAIL instead of after it."""
    fill(story, [daily(), daily(who="ana"), daily(who="ben"), daily()])
    second, third = (story.directory / f"00000{number}-daily-9-PASS.json" for number in (2, 3))
    kept = second.read_bytes()
    second.write_bytes(third.read_bytes())
    third.write_bytes(kept)
    assert first_break(story).file == "000002-daily-9-PASS.json"


@pytest.mark.parametrize("rehash", [False, True])
def test_a_copy_shows_what_the_chain_alone_cannot(story: Story, tmp_path: Path, rehash: bool) -> None:
    """Who rewrites the newest record, or all from one on, leaves a chain that holds: only another place remembers."""
    files = fill(story)
    copy = tmp_path / "copy"
    shutil.copytree(story.directory, copy)
    if rehash:
        shutil.rmtree(story.directory)
        story.now = BEGIN
        fill(story, [FOUR[0], daily(), *FOUR[2:]])
    else:
        changed(files[3], who="somebody else")
    chain = chains.read(story.directory)
    assert chain.broken is None
    broken = chains.compare(chain, chains.read(copy))
    assert broken is not None
    assert broken.file == ("000002-daily-9-PASS.json" if rehash else "000004-daily-9-PASS.json")


@pytest.mark.parametrize("shorter", ["chain", "copy"])
def test_a_missing_end_is_named(story: Story, tmp_path: Path, shorter: str) -> None:
    """The failed newest record is removed, or the copy was never brought up to date."""
    files = fill(story)
    copy = tmp_path / "copy"
    shutil.copytree(story.directory, copy)
    (files[3] if shorter == "chain" else copy / files[3].name).unlink()
    broken = chains.compare(chains.read(story.directory), chains.read(copy))
    assert broken is not None
    assert broken.file == files[3].name


DOCUMENTS = st.sampled_from(
    [daily(), daily("FAIL"), drill("production", "dual-write"), rollback("production"), step(7), step(7, "ERROR")]
)
NOTES = st.dictionaries(
    st.text(max_size=8).map("note-{}".format), st.text() | st.integers() | st.none() | st.booleans(), max_size=3
)


@settings(max_examples=25, deadline=None)
@given(told=st.lists(st.tuples(DOCUMENTS, NOTES), min_size=2, max_size=5), data=st.data())
def test_any_changed_byte_before_the_newest_record_is_seen(
    told: list[tuple[dict[str, object], dict[str, object]]], data: st.DataObject
) -> None:
    """Whatever was recorded, the chain holds; and no byte of it can be another one."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        links = [chains.append(directory, document | notes) for document, notes in told]
        assert [link.values for link in chains.read(directory).proven().links] == [link.values for link in links]
        path = directory / data.draw(st.sampled_from(links[:-1])).file
        body = bytearray(path.read_bytes())
        position = data.draw(st.integers(0, len(body) - 1))
        body[position] ^= data.draw(st.integers(1, 255))
        path.write_bytes(body)
        assert chains.read(directory).broken is not None
