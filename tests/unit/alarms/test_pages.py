"""`cutover alarms pages`: who was told, from CloudWatch's history; silences and the past are no pages."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cutover import cli, names
from rehearsal import monitoring_stand_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rehearsal.monitoring_stand_in import MonitoringStandIn

S3, DEGRADED = names.incident("production", "s3"), names.incident("production", "degraded")
PAGED, FAILED = "Successfully executed action arn:topic", "Failed to execute action arn:topic"


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MonitoringStandIn]:
    """CloudWatch with an empty history, where this process finds it."""
    for name in ("AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with monitoring_stand_in.running(tmp_path) as running:
        for name, value in {"DEFAULT_REGION": "us-east-1", "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "a"}.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", running.endpoint_url)
        yield running


@pytest.fixture
def note(stand_in: MonitoringStandIn) -> Callable[..., None]:
    """Adds to the history: a change to this state, or else what the alarm did."""

    def add(time: str, alarm: str, what: str) -> None:
        changes = what in {"OK", "ALARM"}
        data = {"newState": {"stateValue": what, "stateReason": f"because of {what}"}} if changes else {}
        stand_in.note(
            {
                "AlarmName": alarm,
                "AlarmType": "CompositeAlarm",
                "Timestamp": f"2026-11-01T{time}+00:00",
                "HistoryItemType": "StateUpdate" if changes else "Action",
                "HistorySummary": f"Alarm updated from X to {what}" if changes else what,
                "HistoryData": json.dumps(data),
            }
        )

    return add


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Callable[..., list[dict[str, Any]]]:
    """The pages since ten o'clock."""

    def ask(since: str = "2026-11-01T10:00:00Z") -> list[dict[str, Any]]:
        assert cli.main(["alarms", "pages", "--deployment", "production", "--since", since, "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
        assert set(document) == {"since", "until", "pages"}
        found: list[dict[str, Any]] = document["pages"]
        return found

    return ask


def test_what_acted_is_told_in_its_order(note: Callable[..., None], told: Callable[..., list[dict[str, Any]]]) -> None:
    """Two actions of one change, a resolution, another incident: each page once, with its severity and its reason."""
    for time, alarm, what in (
        ("10:05:00", S3, "ALARM"),
        ("10:05:00", S3, PAGED),
        ("10:05:01", S3, PAGED),
        ("10:09:00", S3, "OK"),
        ("10:09:00", S3, PAGED),
        ("10:01:00", DEGRADED, "ALARM"),
        ("10:01:01", DEGRADED, FAILED),
        ("10:20:00", names.incident("staging", "s3"), "ALARM"),
        ("10:20:00", names.incident("staging", "s3"), PAGED),
    ):
        note(time, alarm, what)
    assert told() == [
        {
            "at": "2026-11-01T10:01:01Z",
            "severity": "warning",
            "incident": DEGRADED,
            "reason": "because of ALARM",
            "action": FAILED,
        },
        {
            "at": "2026-11-01T10:05:00Z",
            "severity": "critical",
            "incident": S3,
            "reason": "because of ALARM",
            "action": PAGED,
        },
    ]


def test_a_silenced_incident_told_nobody(note: Callable[..., None], told: Callable[..., list[dict[str, Any]]]) -> None:
    """A drill counts as an incident, and the days of grace begin again."""
    for time, what in (("10:05:00", "ALARM"), ("10:06:00", "Actions suppressed by the silence"), ("10:30:00", "OK")):
        note(time, S3, what)
    note("10:30:00", S3, PAGED)
    assert told() == []


def test_an_action_after_a_silence_belongs_to_the_change_before(
    note: Callable[..., None], told: Callable[..., list[dict[str, Any]]]
) -> None:
    """The incident outlasts the silence and pages; its change of state is older than the step that asks."""
    note("09:50:00", S3, "ALARM")
    note("10:10:00", S3, PAGED)
    assert [page["at"] for page in told()] == ["2026-11-01T10:10:00Z"]
    assert told("2026-11-01T10:10:01Z") == []


def test_no_answer_is_an_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """No answer would be no page."""
    for name, value in {"DEFAULT_REGION": "us-east-1", "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "a"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", "http://127.0.0.1:1")
    since = ["--since", "2026-11-01T10:00:00Z"]
    assert cli.main(["alarms", "pages", "--deployment", "production", "--json", *since]) == 4
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert "production: the alarms could not be asked for" in said.err
