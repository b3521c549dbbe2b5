"""`cutover alarms test`: scenarios and exported logs, replayed against declared alarms, and held to expectations."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from cutover import names, plan
from cutover.alarms import exported_log, plot, resources, scenario, site_lines, timeline
from cutover.alarms.errors import AlarmError
from cutover.alarms.expectations import broken_expectations
from cutover.alarms.monitor import Monitor, Transition
from cutover.exit_codes import ExitCode

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from cutover.alarm_table import Severity
    from cutover.alarms.resources import Resources
    from cutover.alarms.scenario import Event, Scenario
    from cutover.alarms.site_lines import Line

__all__ = ["Replay", "Verdict", "replay_log", "replay_scenario", "run_test"]

Verdict = Literal["PASS", "FAIL", "INCONCLUSIVE"] | None  # None: a log, of which nothing is expected
CODES = {
    "PASS": ExitCode.DONE,
    "FAIL": ExitCode.FAILED,
    "INCONCLUSIVE": ExitCode.INCONCLUSIVE,
    None: ExitCode.DONE,
}
DAY = 1440  # minutes: many at once are quicker by far than one at a time


@dataclass
class Replay:
    """What a replay showed. `start`: minute 0, seconds since 1970; `values`: each alarm's newest value, by minute."""

    source: str
    deployment: plan.Deployment
    start: int
    minutes: int
    line_count: int = 0
    transitions: list[Transition] = field(default_factory=list)
    values: dict[str, list[float | None]] = field(default_factory=dict)

    def minute(self, at: float) -> int:
        """Full minutes since the start."""
        return int(at - self.start) // 60

    def sent(self, severity: Severity) -> list[tuple[int, str, str]]:
        """Minute, incident (or alarm that tells by itself) and state of what was sent to this severity's topic."""
        topic = names.topic(self.deployment, severity)
        table = plan.load()
        known = {names.incident(self.deployment, incident): incident for incident in table.incidents}
        known |= {names.alarm(self.deployment, alarm): alarm for alarm in table.alarms}
        return [
            (self.minute(transition.at), known.get(transition.alarm, transition.alarm), transition.new)
            for transition in self.transitions
            if any(action.rsplit(":", 1)[-1] == topic for action in transition.actions)
        ]


def replay_scenario(source: str, given: Scenario, declared: Resources, step: int = DAY) -> Replay:
    """Replays a scenario line by line, so that the metric filters are tried, too.

    `step`: minutes that are evaluated at once; the timeline is the same, and `values` has one value a step.
    """
    shown = Replay(source, given.deployment, site_lines.START, given.minutes)
    monitor = Monitor(declared, shown.start)
    for event in given.events:
        _silence(monitor, shown, event)
    _run(monitor, shown, site_lines.lines(given), declared.log_group, step)
    return shown


def replay_log(
    source: str, lines: Sequence[Line], declared: Resources, deployment: plan.Deployment, step: int = DAY
) -> Replay:
    """Replays log lines, oldest first and at least one, to the end of the last one's minute."""
    start = int(lines[0].at) // 60 * 60
    shown = Replay(source, deployment, start, int(lines[-1].at - start) // 60 + 1)
    _run(Monitor(declared, start), shown, lines, declared.log_group, step)
    return shown


def _silence(monitor: Monitor, shown: Replay, event: Event) -> None:
    """Writes what `cutover alarms silence` writes: its own time, for each minute."""
    table, written = plan.load(), shown.start + event.minute * 60
    namespace = names.namespace(table.telemetry, shown.deployment)
    for ahead in range(event.silence_minutes or 0):
        monitor.put(namespace, table.silence.metric, written, written + ahead * 60)


def _run(monitor: Monitor, shown: Replay, lines: Iterable[Line], group: str, step: int) -> None:
    shown.values = {alarm: [] for alarm in monitor.values}
    waiting = iter(lines)
    line = next(waiting, None)
    for minute in range(0, shown.minutes, step):
        end = shown.start + min(minute + step, shown.minutes) * 60
        while line is not None and line.at < end:
            monitor.log(group, line.message, line.at)
            shown.line_count += 1
            line = next(waiting, None)
        shown.transitions += monitor.advance(end)
        for alarm, value in monitor.values.items():
            shown.values[alarm].append(value)


def run_test(options: argparse.Namespace) -> int:
    """`cutover alarms test`: replays each of `options.sources` and prints its timeline.

    Returns:
        0: all expectations hold, or a log was replayed; 1: one does not; 2: bad input; 3: a log has no lines, or a
        scenario no expectations.
    """
    try:
        if options.plot is not None and len(options.sources) != 1:
            raise AlarmError(f"--plot draws one source, and {len(options.sources)} are given: name one")
        codes = {_test(source, options) for source in options.sources}
    except (AlarmError, plan.PlanError) as error:
        print(f"cutover: {error}", file=sys.stderr)
        return ExitCode.USAGE
    return ExitCode.FAILED if ExitCode.FAILED in codes else max(codes)


def _test(source: Path, options: argparse.Namespace) -> int:
    step = DAY if options.plot is None else 1
    broken: list[str] = []
    verdict: Verdict = None
    if source.suffix in {".yml", ".yaml"}:
        given = scenario.load(source)
        given = given.model_copy(update={"deployment": options.stack or given.deployment})
        shown = replay_scenario(str(source), given, _declared(options, given.deployment), step)
        broken = broken_expectations(given.expect, shown) if given.expect else []
        verdict = "INCONCLUSIVE" if given.expect is None else "FAIL" if broken else "PASS"
    else:
        deployment: plan.Deployment = options.stack or "production"
        lines = exported_log.lines(source)
        if not lines:
            print(f"{source}: no log line, so nothing was measured: export the lines of the time in question")
            return ExitCode.INCONCLUSIVE
        shown = replay_log(str(source), lines, _declared(options, deployment), deployment, step)
    timeline.show(shown, verdict, broken, as_json=options.json)
    if options.plot is not None:
        plot.draw(shown, options.plot)
    return CODES[verdict]


def _declared(options: argparse.Namespace, deployment: plan.Deployment) -> Resources:
    return resources.load(str(options.resources or f"stack:{deployment}"))
