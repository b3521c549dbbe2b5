"""Step 9's daily check as the playbook makes it, on two machines whose programs are the test's own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.playbooks.local_play import PLAYBOOKS
from tests.playbooks.stub_deployment import MACHINES, Deployment

if TYPE_CHECKING:
    from pathlib import Path

GAPS = ["web2 delivered no METRIC line"]
CURSORS = {"m1": "s=1", "m2": "s=2"}
JOURNAL = {"units": {}, "measurements": {}, "since": "2026-12-01T00:00:00Z", "until": "2026-12-02T00:00:00Z"}


def soak(cursors: dict[str, str], days: int = 3) -> dict[str, Any]:
    return {"days": days, "wanted": 7, "since": "2026-12-01T00:00:00Z", "reason": "", "cursors": cursors, "gaps": GAPS}


def record(verdict: str = "PASS") -> dict[str, Any]:
    """What `cutover daily` prints."""
    keys = f"{verdict} keys_agree: measured 1 (10 samples), wanted at least 1"
    criterion = {"criterion": "keys_agree", "wanted": "at least 1", "measured": 1.0, "samples": 10, "verdict": verdict}
    return {
        "kind": "daily",
        "step": 9,
        "deployment": "production",
        "who": "www-data@m1",
        "verdict": verdict,
        "message": f"{keys}; PASS cost_within_budget: measured 1 (1 samples), wanted at least 1",
        "criteria": [criterion],
        "counts": {"a": 1},
        "sample": {"different": [{"key": "certificates/pdf/a.pdf"}] if verdict == "FAIL" else [], "without_local": []},
    }


@dataclass
class Day:
    """What became of a day's check."""

    said: str
    asked: list[str]  # the commands of `cutover`, in their order
    sealed: dict[str, Any] | None
    journals: dict[str, Any] | None  # as `cutover daily` was handed them


def played(tmp_path: Path, cursors: dict[str, str], daily: Any, code: int = 0, stderr: str = "") -> Day:
    """The playbook's own tasks of the day; the lock, which lies in /run, is left alone."""
    deployment = Deployment.ready_for(tmp_path, 1)
    hosts = yaml.safe_load(deployment.inventory.read_text())
    groups = hosts["all"]["children"]
    groups |= {name.replace("staging", "production"): group for name, group in groups.items()}
    deployment.inventory.write_text(yaml.safe_dump(hosts))
    deployment.says("evidence-soak", soak(cursors))
    deployment.says("evidence-append", {"file": "000002-daily-9-PASS.json", "sha256": "aa"})
    deployment.says("alarms-pages", {"pages": []})
    deployment.says("journal", JOURNAL)
    deployment.says("daily", daily, code, stderr)
    cutover = tmp_path / "bin/cutover"
    keep = f"""echo "$*" >>{tmp_path}/asked
case "$1 $2" in evidence\\ append) cat >{tmp_path}/sealed ;; daily*) cat >{tmp_path}/journals ;; esac
"""
    cutover.write_text(cutover.read_text().replace("#!/bin/sh\n", f"#!/bin/sh\n{keep}"))
    _, act, *_ = yaml.safe_load((PLAYBOOKS / "go-live-step9.yml").read_text())
    del act["tasks"][0]["always"]
    identity = {"ansible.builtin.import_role": {"name": "preflight", "tasks_from": "identity"}}
    (deployment.playbooks / "alone.yml").write_text(yaml.safe_dump([act | {"tasks": [identity, *act["tasks"]]}]))
    paths = {"evidence_copies": f"{tmp_path}/copies", "evidence_directory": f"{tmp_path}/chain"}
    _, said = deployment.play("alone.yml", "-e", json.dumps(paths | {"telemetry_cursor": "s=now", "approver": "bilal"}))
    files = [tmp_path / name for name in ("sealed", "journals")]
    texts = [file.read_text() if file.exists() else "" for file in files]
    sealed, journals = (json.loads(text) if text else None for text in texts)
    return Day(said, (tmp_path / "asked").read_text().splitlines(), sealed, journals)


def test_a_day_is_counted_by_the_journals_since_yesterdays_marks(tmp_path: Path) -> None:
    day = played(tmp_path, CURSORS, record())
    assert "unreachable=0 failed=0" in day.said, day.said
    after = f"The week has no ratio of saves before its days lie after this: {GAPS[0]}"
    assert f"day 3 of 7, counted from 2026-12-01T00:00:00Z. {after}" in day.said
    assert day.journals == dict.fromkeys(MACHINES, JOURNAL)
    counted = "".join(asked for asked in day.asked if asked.startswith("journal"))
    # To the mark of this run, from which the next day counts on: later lines would be counted twice.
    assert all(f"--cursor {cursor} --until-cursor s=now " in counted for cursor in CURSORS.values())
    (daily,) = [asked for asked in day.asked if asked.startswith("daily")]
    assert f"--directory {tmp_path}/chain --time-scale 1 --machine m1 m2 --journals - --env-file" in daily
    assert day.sealed is not None
    assert (day.sealed["kind"], day.sealed["verdict"], day.sealed["counts"]) == ("daily", "PASS", {"a": 1})
    assert day.sealed["approver"] == "bilal"
    assert day.sealed["who"] != "www-data@m1"  # whoever runs the playbook
    assert day.sealed["cursors"] == dict.fromkeys(MACHINES, "s=now")
    assert [each["criterion"] for each in day.sealed["criteria"]] == ["keys_agree"]


def test_after_a_check_of_the_timer_no_journal_is_counted(tmp_path: Path) -> None:
    """The marks of the last playbook are older than what the timer counted: two hundred saves would be made of one."""
    day = played(tmp_path, {}, record())
    assert "unreachable=0 failed=0" in day.said, day.said
    assert not [asked for asked in day.asked if asked.startswith("journal")]
    (daily,) = [asked for asked in day.asked if asked.startswith("daily")]
    assert "--journals" not in daily
    assert (day.journals, (day.sealed or {})["cursors"]) == (None, {})


def test_a_day_that_fails_is_sealed_and_ends_the_play(tmp_path: Path) -> None:
    """A verdict that names no file, or only what was well, sends somebody through all of it."""
    day = played(tmp_path, CURSORS, record("FAIL"), code=1)
    failure = "FAIL keys_agree: measured 1 (10 samples), wanted at least 1; certificates/pdf/a.pdf. Look"
    assert f"step 9, today FAIL: {failure}" in day.said
    assert (day.sealed or {})["verdict"] == "FAIL"
    assert "Days with a sealed PASS" not in day.said


@pytest.mark.parametrize("cursors", [CURSORS, {}], ids=["journals", "delivered lines"])
def test_what_could_not_be_measured_is_not_sealed(tmp_path: Path, cursors: dict[str, str]) -> None:
    """An hour without AWS would start the seven days again."""
    day = played(tmp_path, cursors, "", code=4, stderr="cutover: web2 delivered no METRIC line")
    assert "ERROR, could not measure: `cutover daily --json` on m1 ended with 4: cutover: web2 delivered" in day.said
    assert "Correct the cause, and run this again the same day" in day.said
    assert day.sealed is None
