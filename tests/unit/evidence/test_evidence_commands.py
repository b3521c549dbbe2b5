"""The commands: what they print, and their exit codes."""

from __future__ import annotations

import io
import json
import shutil
import sys
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from cutover import cli
from tests.unit.evidence.documents import daily, step

if TYPE_CHECKING:
    from tests.unit.evidence.documents import Story


class Command:
    """Calls `cutover` in this process."""

    def __init__(self, story: Story, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = story.directory
        self._capsys, self._monkeypatch = capsys, monkeypatch
        self.out, self.err = "", ""

    def __call__(self, *arguments: str, given: bytes = b"") -> int:
        self._monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(given)))
        code = cli.main(["evidence", *arguments, "--directory", str(self.directory)])
        self.out, self.err = self._capsys.readouterr()
        return code


@pytest.fixture
def evidence(story: Story, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    story.now = datetime.now(UTC)
    return Command(story, capsys, monkeypatch)


def test_append_prints_the_sealed_record_as_one_line(evidence: Command) -> None:
    """The playbook keeps the copy by what is printed here."""
    assert evidence("append", given=json.dumps(step(1, who="ana")).encode()) == 0
    assert evidence.out.count("\n") == 1
    printed = json.loads(evidence.out)
    assert printed.pop("file") == str(evidence.directory / "000001-step-1-PASS.json")
    assert len(printed.pop("sha256")) == 64
    assert printed == json.loads((evidence.directory / "000001-step-1-PASS.json").read_bytes())


@pytest.mark.parametrize(
    "given",
    [b"", b"[]", b"{", b'{"kind": "daily", "kind": "step"}', b"\xff", b'"text"', b"[" * 100_000, b'{"kind": "daily"}'],
)
def test_append_refuses_what_is_no_record(evidence: Command, given: bytes) -> None:
    """A playbook that failed to make its record must not seal half of it."""
    assert evidence("append", given=given) == 2
    assert evidence.out == ""
    assert evidence.err.startswith("cutover: ")
    assert evidence.err.count("\n") == 1


def test_append_says_that_it_cannot_write(evidence: Command) -> None:
    evidence.directory.parent.joinpath("evidence").write_text("a file", encoding="utf-8")
    assert evidence("append", given=json.dumps(daily()).encode()) == 5
    assert "cannot be written" in evidence.err


def test_verify_prints_the_head(evidence: Command, story: Story) -> None:
    link = story.tell(daily())
    assert evidence("verify") == 0
    assert evidence.out == f"PASS {story.directory}: 1 records, head {link.file} SHA-256 {link.sha256}\n"
    assert evidence("verify", "--json") == 0
    assert json.loads(evidence.out) == {"verdict": "PASS", "sequence": 1, "sha256": link.sha256, "broken": None}


def test_verify_of_nothing_proves_nothing(evidence: Command) -> None:
    """A mistyped directory holds no broken chain either."""
    assert evidence("verify") == 3
    assert "there is no record yet" in evidence.out
    evidence.directory.mkdir()
    assert evidence("verify", "--json") == 3
    assert json.loads(evidence.out)["verdict"] == "INCONCLUSIVE"


def test_verify_names_the_break_in_chain_or_copy(evidence: Command, story: Story) -> None:
    for _ in range(2):
        story.tell(daily())
    copy = story.directory.with_name("copy")
    shutil.copytree(story.directory, copy)
    assert evidence("verify", "--against", str(copy)) == 0
    (copy / "000002-daily-9-PASS.json").unlink()
    assert evidence("verify", "--against", str(copy)) == 1
    assert evidence.out.startswith("BROKEN 000002-daily-9-PASS.json: expected it in the copy")
    (story.directory / "000001-daily-9-PASS.json").unlink()
    assert evidence("verify", "--json") == 1
    assert json.loads(evidence.out)["broken"]["file"] == "000001-….json"


def test_verify_against_no_copy_is_an_error(evidence: Command, story: Story) -> None:
    """A copy that is not there agrees with everything."""
    story.tell(daily())
    assert evidence("verify", "--against", str(story.directory / "absent")) == 4
    assert "there is no such directory" in evidence.err


def test_list_shows_every_record_and_stops_at_a_break(evidence: Command, story: Story) -> None:
    story.tell(daily(who="ana", message="all keys agree"))
    story.tell(daily("FAIL"))
    assert evidence("list") == 0
    assert [line.split()[0] for line in evidence.out.splitlines()] == ["1", "2"]
    assert "PASS          ana  all keys agree" in evidence.out
    assert evidence("list", "--json") == 0
    assert [record["verdict"] for record in json.loads(evidence.out)] == ["PASS", "FAIL"]
    (story.directory / "000002-daily-9-FAIL.json").write_text("{}", encoding="utf-8")
    assert evidence("list") == 4
    assert evidence.out.count("\n") == 1
    assert "000002-daily-9-FAIL.json" in evidence.err


def test_show_prints_a_record_byte_for_byte(evidence: Command, story: Story) -> None:
    link = story.tell(daily(note="größer → 1"))
    assert evidence("show", "1") == 0
    assert evidence.out.encode() == (story.directory / link.file).read_bytes()
    assert evidence("show", "2") == 2
    assert "there is no record 2" in evidence.err


def test_require_answers_the_playbook(evidence: Command, story: Story) -> None:
    assert evidence("require", "--step", "1", "--json") == 0
    assert json.loads(evidence.out)["allowed"] is True
    assert evidence("require", "--step", "2", "--json") == 1
    run = "ansible-playbook go-live-step1.yml"
    assert json.loads(evidence.out) == {
        "allowed": False,
        "reasons": [f"step 1 has no evidence: run {run}"],
        "next": run,
    }
    assert evidence("require", "--step", "2") == 1
    assert evidence.out == f"step 2 may not start: step 1 has no evidence: run {run}\n"
    story.tell(step(1))
    assert evidence("require", "--step", "2") == 0
    assert evidence.out == "step 2 may start: ansible-playbook go-live-step2.yml\n"


def test_require_judges_nothing_by_a_broken_chain(evidence: Command, story: Story) -> None:
    """Whoever could rename a FAIL could open every gate."""
    path = story.directory / story.tell(step(1, "FAIL")).file
    path.rename(path.with_name("000001-step-1-PASS.json"))
    assert evidence("require", "--step", "2", "--json") == 4
    answer = json.loads(evidence.out)
    assert answer["allowed"] is False
    assert answer["next"].startswith("cutover evidence verify")
    assert "broken at 000001-step-1-PASS.json" in evidence.err


@pytest.mark.parametrize("scale", ["0.5", "0", "-1", "nan", "inf", "fast"])
def test_time_is_never_stretched_or_stopped(evidence: Command, scale: str) -> None:
    with pytest.raises(SystemExit) as ended:
        evidence("require", "--step", "2", "--time-scale", scale)
    assert ended.value.code == 2
