"""`cutover status-here`: what a machine tells of its lock, overrides and journal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cutover import cli
from cutover.status import here, ledger
from tests.unit.evidence.documents import Story, step

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

FALLBACK = "INFO 2026-11-28 05:00:00,000 apps.tournaments.storage METRIC: cert.s3.read.fallback=1"
WARNING = (
    "WARNING 2026-11-28 05:00:00,000 apps.tournaments.storage S3 read failed, falling back to local: "
    'no answer of "https://bucket.s3.amazonaws.com/certificates/pdf/{}.pdf"'
)


def told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, *arguments: str
) -> dict[str, Any]:
    """The document of a machine whose journal, systemctl, lock and overrides lie under tmp_path."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    for name in ("journalctl", "systemctl"):
        program = tmp_path / name
        if not program.exists():
            program.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
        program.chmod(0o755)
    monkeypatch.setattr(here, "LOCK", tmp_path / "cutover.lock")
    monkeypatch.setattr(here, "FENCED", tmp_path / "fenced")
    monkeypatch.setattr(here, "OVERRIDES", tmp_path / "workers")
    assert cli.main(["status-here", *arguments]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)["here"]
    return found


def test_a_quiet_machine_tells_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """journalctl ends with 1 where nothing matches."""
    document = told(monkeypatch, capsys, tmp_path)
    assert {key: document[key] for key in ("lock", "fence", "overrides", "fallbacks")} == {
        "lock": None, "fence": None, "overrides": [], "fallbacks": [],
    }  # fmt: skip
    assert "data" not in document


def test_lock_and_overrides_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """An override without one of the flags is somebody's own and none of our business."""
    (tmp_path / "cutover.lock").write_text('{"holder": "ana", "step": 6}\n', encoding="utf-8")
    (tmp_path / "workers").mkdir()
    (tmp_path / "workers/worker1.env").write_text("CERT_S3_DUAL_WRITE=true\nDEBUG=1\n", encoding="utf-8")
    (tmp_path / "workers/worker2.env").write_text("DEBUG=1\n", encoding="utf-8")
    document = told(monkeypatch, capsys, tmp_path)
    assert document["lock"] == {"holder": "ana", "step": 6}
    assert document["overrides"] == [{"worker": "worker1", "flags": {"CERT_S3_DUAL_WRITE": "true"}}]


def test_a_lock_that_is_no_json_has_an_unknown_holder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """It still keeps every step from starting."""
    (tmp_path / "cutover.lock").write_text("torn", encoding="utf-8")
    (tmp_path / "fenced").write_text("torn", encoding="utf-8")
    document = told(monkeypatch, capsys, tmp_path)
    assert "not readable" in document["lock"]["holder"]
    assert "not readable" in document["fence"]["by"]  # nor is it "no fence"


def test_fallbacks_of_the_last_hour_come_by_cause(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A METRIC line counts, the WARNING beside it has the cause, which is one for all files."""
    entries = [
        {
            "MESSAGE": text,
            "_SYSTEMD_UNIT": f"deltacrown-uwsgi@worker{worker}.service",
            "__REALTIME_TIMESTAMP": "1795842000000000",
        }
        for worker in (1, 2)
        for text in (WARNING.format(worker), FALLBACK)
    ]
    (tmp_path / "printed").write_text("\n".join(map(json.dumps, entries)), encoding="utf-8")
    (tmp_path / "journalctl").write_text(f"#!/bin/sh\ncat {tmp_path}/printed\n", encoding="utf-8")
    (found,) = told(monkeypatch, capsys, tmp_path)["fallbacks"]
    assert (found["cause"], found["reads"], found["workers"]) == (
        'no answer of "https://bucket.s3.amazonaws.com/FILE"', 2, 2,
    )  # fmt: skip


def test_a_journal_that_cannot_be_read_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """No permission is not the same as no fallback."""
    (tmp_path / "journalctl").write_text("#!/bin/sh\necho no permission >&2\nexit 1\n", encoding="utf-8")
    document = told(monkeypatch, capsys, tmp_path)
    assert document["fallbacks"] == {"error": "journalctl ended with 1 (no permission)"}


def test_the_data_host_tells_each_part_by_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """An environment file that cannot be read takes alarms and runs away, not the evidence."""
    story = Story(tmp_path / "chain")
    story.tell(step(1, manifest={"certificates/pdf/a.pdf": "0" * 64}))
    systemctl = (
        "#!/bin/sh\nprintf 'Id=cutover-check.timer\\nActiveState=active\\n\\nId=x.service\\nActiveState=inactive\\n'\n"
    )
    (tmp_path / "systemctl").write_text(systemctl, encoding="utf-8")
    arguments = [
        "--deployment",
        "staging",
        "--directory",
        str(tmp_path / "chain"),
        "--env-file",
        str(tmp_path / "none"),
    ]
    data = told(monkeypatch, capsys, tmp_path, *arguments)["data"]
    (record,) = data["evidence"]["records"]
    assert record["step"] == 1
    assert "manifest" not in record
    assert data["units"]["cutover-check.timer"]["ActiveState"] == "active"
    assert "none: cannot be read" in data["alarms"]["error"]
    assert "none: cannot be read" in data["runs"]["error"]


def test_merging_adds_what_machines_tell_of_one_cause() -> None:
    """The newest time counts, the most frequent cause comes first."""
    one = {"cause": None, "reads": 1, "workers": 1, "last": "2026-11-28T05:00:00Z"}
    two = one | {"cause": "SlowDown", "reads": 2, "last": "2026-11-28T06:00:00Z"}
    found = ledger.merged([[one, two], [two | {"last": "2026-11-28T05:30:00Z"}], []])
    assert [(each["cause"], each["reads"], each["workers"]) for each in found] == [("SlowDown", 4, 2), (None, 1, 1)]
    assert found[0]["last"] == "2026-11-28T06:00:00Z"
