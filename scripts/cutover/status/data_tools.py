"""What the data host says of its tools: last check and sweep, the last drill, and what runs in the background."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cutover.evidence.requirements import newest
from cutover.gates import Verdict
from cutover.status.here import BACKFILL, TIMERS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cutover.evidence.record import Record
    from cutover.plan import Plan

__all__ = ["Background", "Event", "Last", "Tools", "background", "last", "look", "problems"]

RUNNING = "running"
_CHECK, _SWEEP, _DAILY = TIMERS
_RUNS = {"active", "activating", "deactivating", "reloading"}
_SLACK = timedelta(seconds=60)  # of a timer's own inaccuracy and a tool's duration, where a rehearsal's hours are short


@dataclass(frozen=True)
class Event:
    """Something that was done: when (UTC, None for never) and with which outcome."""

    at: datetime | None = None
    outcome: str = "never"


@dataclass(frozen=True)
class Last:
    """The newest rollback drill, consistency check and sweep."""

    drill: Event = Event()
    check: Event = Event()
    sweep: Event = Event()


@dataclass(frozen=True)
class Tools:
    """All of it; `units` as systemd has them, empty if they could not be asked for."""

    last: Last
    runs: tuple[Background, ...]
    units: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Background:
    """A backfill or sweep that runs or was killed; `process` is its process' letter in /proc, None if it is dead.

    `updated` is its last sign of life (UTC), None if it has not said anything.
    """

    name: str
    state: str
    process: str | None
    updated: datetime | None = None
    paused: bool = False

    def problem(self, hung_seconds: float, now: datetime) -> str:
        """Why somebody has to see to it; empty if nobody has."""
        if self.process is None:
            return f"{self.name} was killed ({self.state}): run its step again, it goes on"
        if self.process == "T":
            return f"{self.name} was stopped by a signal ({self.state}): kill -CONT its pid lets it go on"
        silent = self.updated is not None and now - self.updated > timedelta(seconds=hung_seconds)
        if silent and not self.paused:
            return f"{self.name} hangs ({self.state}): cutover doctor on the data host says why"
        return ""


def last(records: Sequence[Record], units: Mapping[str, Mapping[str, str]]) -> Last:
    """What was done last, by the evidence and by systemd."""
    drill = newest(records, "drill")
    return Last(
        Event(drill.recorded_at, _drilled(drill)) if drill else Event(),
        _unit_event(units.get(f"{_CHECK}.service", {})),
        _unit_event(units.get(f"{_SWEEP}.service", {})),
    )


def _drilled(drill: Record) -> str:
    seconds = f" in {drill.seconds:g} s" if drill.seconds is not None else ""
    return f"{drill.verdict} from {drill.mode or 'a mode that is not told'}{seconds}"


def _unit_event(unit: Mapping[str, str]) -> Event:
    if unit.get("ActiveState") in _RUNS:
        return Event(_moment(unit.get("ExecMainStartTimestamp")), RUNNING)
    if unit.get("Result") == "exec-condition":
        return Event(_moment(unit.get("InactiveEnterTimestamp")), "skipped: dual-write is off")
    ended = _moment(unit.get("ExecMainExitTimestamp"))
    if ended is None:
        return Event()
    status = unit.get("ExecMainStatus", "")
    known = {str(int(verdict)): verdict.name for verdict in Verdict}
    return Event(ended, known.get(status, f"ended with {status}"))


def _moment(text: str | None) -> datetime | None:
    """A time as systemd gives it, @seconds; None for a time that never was."""
    if not text or not text.startswith("@") or not text[1:].isdigit():
        return None
    return datetime.fromtimestamp(int(text[1:]), UTC)


def background(runs: Sequence[Mapping[str, Any]], units: Mapping[str, Mapping[str, str]]) -> tuple[Background, ...]:
    """What runs, by its own word; a backfill's unit without a word of it, too."""
    found = [
        Background(
            str(run["kind"]),
            _told(run),
            run["process"],
            datetime.fromisoformat(run["updated"]),
            paused=run["phase"] == "paused",
        )
        for run in runs
    ]
    unit = units.get(BACKFILL, {})
    if unit.get("ActiveState") in _RUNS and not any(each.name == "backfill" and each.process for each in found):
        found.append(Background("backfill", f"{BACKFILL} is {unit['ActiveState']}", "?"))
    return tuple(found)


def _told(run: Mapping[str, Any]) -> str:
    told = [f"pid {run['pid']} on {run['host']}", f"batch {run['batch']}", str(run["phase"])]
    told += [f"{run['rate']:.1f} certificates a second"] if run.get("rate") else []
    told += [str(run["progress"])] if run.get("progress") else []
    told += [f"last sign of life {str(run['updated'])[:19]}Z"]
    return ", ".join(told)


def look(records: Sequence[Record], data: Mapping[str, Any]) -> Tools:
    """What the evidence, systemd and the runs say of themselves; parts that could not be asked for are empty."""
    units = data.get("units") or {}
    return Tools(last(records, units), background(data.get("runs") or (), units), units)


def problems(table: Plan, tools: Tools, now: datetime, time_scale: float) -> list[str]:
    """What somebody has to see to, a sentence each: a run that was killed, a timer that stands, a bad outcome."""
    said = [run.problem(table.data_tools.hung_seconds, now) for run in tools.runs]
    known = table.data_tools
    for tool, event, interval in (
        (_CHECK, tools.last.check, timedelta(hours=known.check.interval_hours)),
        (_SWEEP, tools.last.sweep, timedelta(seconds=known.sweep.interval_seconds)),
        (_DAILY, _unit_event(tools.units.get(f"{_DAILY}.service", {})), timedelta(hours=known.daily.interval_hours)),
    ):
        timer = tools.units.get(f"{tool}.timer", {})
        if tools.units and timer.get("ActiveState") != "active":
            said.append(f"{tool}.timer is {timer.get('ActiveState') or 'absent'}: ansible-playbook prepare-hosts.yml")
        elif _is_late(event, now - 2 * interval / time_scale - _SLACK):
            said.append(f"{tool} ran last at {event.at:%Y-%m-%dT%H:%M:%SZ}: systemctl status {tool}.timer")
        if event.outcome in {"FAIL", "ERROR"} or event.outcome.startswith("ended"):
            said.append(f"the last {tool} says {event.outcome}: journalctl -u {tool} on the data host")
    return [sentence for sentence in said if sentence]


def _is_late(event: Event, limit: datetime) -> bool:
    return event.at is not None and event.outcome != RUNNING and event.at < limit
