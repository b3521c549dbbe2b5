"""The picture as one screen of text, or as one JSON document."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from cutover.status import workers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cutover.status.data_tools import Event
    from cutover.status.picture import DeploymentState, Picture
    from cutover.status.workers import WorkerState

__all__ = ["clean", "document", "event", "json_text", "lines", "worker_table"]

_HEADS = ("worker", "machine", "mode", "flags", "pid", "since (UTC)")
_RED, _YELLOW, _BOLD, _DIM, _PLAIN = "\033[31m", "\033[33m", "\033[1m", "\033[2m", "\033[0m"
_CAUSES_SHOWN, _CAUSE_SIGNS = 3, 100  # the most frequent; all of them, and all of each, are in --json


def document(picture: Picture, seconds: float) -> str:
    """One JSON document; times are UTC, ISO 8601."""
    values = {
        "at": picture.at,
        "exit_code": int(picture.exit_code),
        "seconds": round(seconds, 2),
        "deployments": [asdict(state) for state in picture.deployments],
    }
    return json.dumps(values, default=json_text)


def json_text(value: object) -> str:
    """A time as JSON has it, in ISO 8601."""
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds").replace("+00:00", "Z")
    raise TypeError(f"{value!r} is no JSON")


def lines(picture: Picture, seconds: float, *, colours: bool) -> Iterator[str]:
    """The screen's lines; `seconds` is how long the look took."""
    paint = _painted if colours else _unpainted
    for state in picture.deployments:
        yield from _deployment(state, picture.at, paint)
        yield ""
    machines = {worker.machine for state in picture.deployments for worker in state.workers}
    count = sum(len(state.workers) for state in picture.deployments)
    amiss, unasked = (sum(len(getattr(s, name)) for s in picture.deployments) for name in ("amiss", "unasked"))
    verdict = ", ".join(
        [f"{amiss} amiss"] * bool(amiss) + [f"{unasked} could not be asked"] * bool(unasked) or ["all well"]
    )
    asked = f"{count} workers on {len(machines)} machines in {seconds:.1f} s: "
    yield f"{asked}{paint(_RED if amiss or unasked else _BOLD, verdict)}"


def _painted(colour: str, text: str) -> str:
    return f"{colour}{text}{_PLAIN}"


def _unpainted(_colour: str, text: str) -> str:
    return text


def _deployment(state: DeploymentState, now: datetime, paint: Any) -> Iterator[str]:  # noqa: ANN401
    yield paint(_BOLD, f"{state.deployment}: mode {state.mode or 'unknown'}")
    yield from worker_table(state.workers, now, paint)
    for name, value, colour in _facts(state, now):
        head = f"  {name:<12}"
        text = clean(value)
        yield head + (paint(colour, text) if colour else text)


def worker_table(found: Sequence[WorkerState], now: datetime, paint: Any = _unpainted) -> Iterator[str]:  # noqa: ANN401
    """A line for each worker below one of headings; `paint` colours a text."""
    rows = [_row(worker, now) for worker in found]
    widths = [max(len(row[column]) for row in [_HEADS, *rows]) for column in range(len(_HEADS))]
    yield paint(_DIM, _joined(_HEADS, widths))
    seen = [worker for worker in found if worker.processes]
    common = workers.most_frequent_mode(seen) if seen else ""
    for worker, row in zip(found, rows, strict=True):
        differs = worker.mode != common
        colour = _RED if worker.problem or not worker.processes else _YELLOW if differs else ""
        sign = "!" if worker.problem or not worker.processes else "≠" if differs else " "
        text = sign + _joined(row, widths)[1:]
        yield paint(colour, text) if colour else text


def _row(worker: WorkerState, now: datetime) -> tuple[str, ...]:
    pid = "" if worker.pid is None else f"{worker.pid}{f' +{worker.processes - 1}' if worker.processes > 1 else ''}"
    since = "" if worker.since is None else f"{worker.since:%m-%d %H:%M:%S} ({_age(worker.since, now)})"
    mode = "not asked" if worker.mode == workers.UNKNOWN else worker.mode
    return tuple(map(clean, (worker.worker, worker.machine, mode, worker.flags, pid, since)))


def _joined(cells: tuple[str, ...], widths: list[int]) -> str:
    return ("  " + "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))).rstrip()


def _facts(state: DeploymentState, now: datetime) -> Iterator[tuple[str, str, str]]:
    """Name, text and colour of the lines below the table."""
    yield from _next(state)
    yield from _alarms(state)
    events = (f"{name} {event(getattr(state.last, name), now)}" for name in ("drill", "check", "sweep"))
    yield "last", "; ".join(events), ""
    for run in state.background:
        yield "background", f"{run.name}: {run.state}", "" if run.process else _RED
    yield from _fallbacks(state)
    for sentence in state.amiss:
        yield "AMISS", sentence, _RED
    for sentence in state.unasked:
        yield "NOT ASKED", sentence, _RED


def _fallbacks(state: DeploymentState) -> Iterator[tuple[str, str, str]]:
    for where, causes in state.fallbacks.items():
        for each in causes[:_CAUSES_SHOWN]:
            told = f"{each['reads']} in {where} on {each['workers']} workers, last {each['last']}"
            yield "fallbacks", f"{told}: {(each['cause'] or 'no line tells the cause')[:_CAUSE_SIGNS]}", ""
        rest = sum(each["reads"] for each in causes[_CAUSES_SHOWN:])
        if rest:
            yield "fallbacks", f"{rest} in {where} of {len(causes) - _CAUSES_SHOWN} other causes", ""


def _next(state: DeploymentState) -> Iterator[tuple[str, str, str]]:
    if state.running:
        yield "running", state.running, _YELLOW
    elif state.next is not None:
        yield "next", f"step {state.next.step}: {state.next.title}", ""
        yield "run", state.next.command, _BOLD
        for reason in state.next.blocked_by:
            yield "blocked", reason, _YELLOW
    elif state.evidence:
        yield "next", "nothing, every step has passed", ""


def _alarms(state: DeploymentState) -> Iterator[tuple[str, str, str]]:
    if state.alarms_ok is None:
        yield "alarms", "could not be asked for", _RED
        return
    loud = f", {len(state.alarms)} NOT OK (below)" if state.alarms else ""
    yield "alarms", f"{state.alarms_ok} OK{loud}", _RED if loud else ""


def event(done: Event, now: datetime) -> str:
    """How long ago something was done last, and how it ended."""
    return done.outcome if done.at is None else f"{_age(done.at, now)} ago ({done.outcome})"


def _age(moment: datetime, now: datetime) -> str:
    """How long ago, in one unit; a clock that is ahead counts as now."""
    seconds = max((now - moment).total_seconds(), 0)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"


def clean(text: str) -> str:
    """Text from elsewhere on one line, without what would steer a terminal."""
    return "".join(sign if sign.isprintable() else " " for sign in text)
