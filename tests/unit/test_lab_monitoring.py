"""What the rehearsal believes of its pager and its alarm engine, and what it refuses to believe."""

from __future__ import annotations

import dataclasses
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from cutover import plan
from rehearsal import paging
from rehearsal.alarm_engine import Heartbeat
from rehearsal.claims import ClaimError
from rehearsal.lab import LabError, monitoring
from rehearsal.pager import Incident

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Shows = Callable[..., None]

INCIDENT, SILENCE = "deltacrown-staging-incident-s3", "deltacrown-staging-silence"
BEFORE = Incident("deltacrown-staging-incident-telemetry", 1.0, "", resolved=2.0)
BEFORE_IN_PRODUCTION = Incident("deltacrown-production-incident-telemetry", 1.0, "", resolved=2.0)
OPEN = Incident(INCIDENT, 10.0, "")
PAGE = dataclasses.replace(OPEN, resolved=20.0)
OTHER = Incident("deltacrown-production-incident-s3", 11.0, "", resolved=12.0)
ANY: Any = None  # the lab and the client of a call whose uploads are not really denied


@pytest.fixture
def heartbeat(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(monitoring, "HEARTBEAT", tmp_path / "heartbeat.json")
    return tmp_path / "heartbeat.json"


@pytest.fixture
def shows(monkeypatch: pytest.MonkeyPatch) -> Shows:
    """Sets what the pager shows at each look (the last one then for ever), and the engine's states."""
    for name in ("PAGE_SECONDS", "RESOLVED_SECONDS", "STILL_SECONDS", "POLL_SECONDS"):
        monkeypatch.setattr(paging, name, 0.02)
    monkeypatch.setattr(paging, "uploads_denied", lambda *_: nullcontext())
    monkeypatch.setattr(paging, "_silence", lambda _: None)
    monkeypatch.setattr("rehearsal.traffic.issue_many", lambda *_: None)

    def show(*looks: list[Incident], states: dict[str, list[str]] | None = None) -> None:
        pages = list(looks)
        left = {alarm: list(each) for alarm, each in (states or {}).items()}

        def beat() -> Heartbeat:
            return Heartbeat(
                0.0, {name: each.pop(0) if len(each) > 1 else each[0] for name, each in left.items()}, None
            )

        monkeypatch.setattr(monitoring, "incidents", lambda: pages.pop(0) if len(pages) > 1 else pages[0])
        monkeypatch.setattr(monitoring, "require_live_engine", beat)

    return show


def test_live_engine_is_believed(heartbeat: Path) -> None:
    """The opposite of the refusals below."""
    Heartbeat(time.time(), {"alarm": "OK"}, None).write(heartbeat)
    assert monitoring.require_live_engine().states == {"alarm": "OK"}


def test_engine_without_a_heartbeat_is_dead(heartbeat: Path) -> None:
    """ "No page came" from an engine that died proves nothing."""
    with pytest.raises(LabError, match="The alarm engine has died"):
        monitoring.require_live_engine()
    Heartbeat(time.time() - monitoring.OLDEST_HEARTBEAT - 1, {}, None).write(heartbeat)
    with pytest.raises(LabError, match="The alarm engine has died"):
        monitoring.require_live_engine()


def test_engine_that_cannot_judge_is_no_proof(heartbeat: Path) -> None:
    """It would go on with what was deployed before."""
    Heartbeat(time.time(), {}, "composite alarm 'x' names 'y'").write(heartbeat)
    with pytest.raises(LabError, match="cannot judge what is deployed: composite alarm 'x' names 'y'"):
        monitoring.require_live_engine()


def test_pager_that_does_not_answer_is_no_quiet_pager(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty list from nowhere would look like a night without a page."""
    monkeypatch.setattr(monitoring, "SERVICES_ADDRESS", "127.0.0.1")
    monkeypatch.setattr(monitoring, "PAGER_PORT", 1)
    with pytest.raises(LabError, match="The pager does not answer"):
        monitoring.incidents()


def test_probe_writes_more_often_than_the_compressed_no_telemetry_alarm_looks() -> None:
    """Healthy machines would page all through the rehearsal."""
    table = plan.load()
    alarm = table.alarms["no-telemetry"]
    window = alarm.period_seconds * alarm.datapoints / monitoring.time_scale()
    assert table.telemetry.probe.interval_seconds < window


def test_one_page_that_resolves_is_the_proof(shows: Shows) -> None:
    """And its latency is told in both times."""
    shows([BEFORE], [BEFORE], [BEFORE, OPEN], [BEFORE, OPEN], [BEFORE, PAGE])
    assert "CloudWatch minutes after it was given back" in paging.page_and_resolution(ANY, "staging", ANY)


@pytest.mark.parametrize(
    ("looks", "sentence"),
    [
        ([[]], f"not so that {INCIDENT} pages; the pager has nothing"),
        ([[], [OPEN]], f"not so that {INCIDENT} resolves; the pager has {INCIDENT} .open."),
        ([[], [PAGE, OTHER]], "expected one page of"),
        ([[], [PAGE, PAGE]], "expected one page of"),
        ([[], [OTHER]], "expected one page of"),
    ],
)
def test_no_page_two_pages_or_another_one_are_no_proof(shows: Shows, looks: Any, sentence: str) -> None:
    """One incident is one page, of the deployment whose uploads fail."""
    shows(*looks)
    with pytest.raises(ClaimError, match=sentence):
        paging.page_and_resolution(ANY, "staging", ANY)


def test_silence_without_a_page_is_the_proof(shows: Shows) -> None:
    """The incident must be there all the same."""
    shows([PAGE], states={INCIDENT: ["OK", "ALARM"], SILENCE: ["OK", "ALARM"]})
    assert paging.silenced(ANY, "staging", ANY) == f"{INCIDENT} in ALARM, 0 pages"


@pytest.mark.parametrize(
    ("looks", "incident", "silence", "sentence"),
    [
        ([[PAGE]], ["OK"], ["ALARM"], f"not so that {INCIDENT} is in ALARM"),
        ([[PAGE]], ["OK", "ALARM"], ["OK"], f"not so that {SILENCE} is in ALARM"),
        ([[PAGE]], ["OK", "OK", "ALARM"], ["ALARM", "ALARM", "ALARM", "OK"], f"{SILENCE} ended while"),
        ([[], [PAGE]], ["OK", "ALARM"], ["ALARM"], "paged in spite of the silence"),
        ([[PAGE]], ["ALARM"], ["ALARM"], f"not so that {INCIDENT} is in OK"),
    ],
)
def test_silence_that_was_none_is_no_proof(
    shows: Shows, looks: Any, incident: list[str], silence: list[str], sentence: str
) -> None:
    """No page because nothing failed, or because the silence was over, says nothing about silences."""
    shows(*looks, states={INCIDENT: incident, SILENCE: silence})
    with pytest.raises(ClaimError, match=sentence):
        paging.silenced(ANY, "staging", ANY)


def test_first_pages_must_resolve(shows: Shows) -> None:
    """A page that is open from the start hides the one that is provoked."""
    shows([BEFORE, OPEN], [BEFORE, BEFORE_IN_PRODUCTION])
    assert paging.all_resolved() == f"resolved: {BEFORE.alarm} (1 s), {BEFORE_IN_PRODUCTION.alarm} (1 s)"
    for never in ([], [BEFORE], [BEFORE, BEFORE_IN_PRODUCTION, OPEN]):
        shows(never)
        with pytest.raises(ClaimError, match="no page is open"):
            paging.all_resolved()


@pytest.mark.parametrize("pages", [[BEFORE, PAGE, OTHER], [BEFORE, OPEN], [BEFORE, PAGE, PAGE]])
def test_repeated_or_open_page_at_the_end_is_refused(shows: Shows, pages: list[Incident]) -> None:
    """Nobody would notice that the emergency itself paged."""
    shows([BEFORE, PAGE])
    assert paging.nobody_paged_after(2) == "2 pages in all, all resolved"
    shows(pages)
    with pytest.raises(ClaimError, match="paged besides what was provoked"):
        paging.nobody_paged_after(2)
