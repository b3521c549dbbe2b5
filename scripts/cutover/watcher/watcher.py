"""The watcher: looks at the trigger alarms, and runs the emergency of one that is due."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cutover import names
from cutover.exit_codes import CommandError
from cutover.watcher.decision import Judgement, Known, Look, Sight, Verdict, blind, is_of_this_incident, judge, triggers
from cutover.watcher.memory import Act

if TYPE_CHECKING:
    import subprocess
    import threading
    from collections.abc import Callable
    from pathlib import Path

    from cutover.alarms.live import States
    from cutover.plan import Deployment, Plan
    from cutover.watcher.emergency import Emergency
    from cutover.watcher.memory import Memory

__all__ = ["Watcher"]

_NAP_SECONDS = 0.2  # how late a signal, or the end of an emergency, is noticed


@dataclass(frozen=True)
class _Running:
    alarm: str
    process: subprocess.Popen[bytes]
    act: Act
    begun: float


@dataclass(frozen=True)
class _Settled:
    """Why an alarm that is due is left alone for as long as it stays in this ALARM."""

    since: datetime | None
    verdict: Verdict
    why: str


@dataclass
class Watcher:
    """Watches one deployment.

    Args:
        table: whose trigger alarms name the emergencies.
        deployment: whose alarms and workers these are.
        ask: the alarms' states; CommandError if they could not be asked for.
        emergency: what is run.
        memory: what was done before.
        acts: False only says what would be done.
        as_json: an entry is a JSON object a line.
        clock: seconds, monotonic; now: the time, UTC.
    """

    table: Plan
    deployment: Deployment
    ask: Callable[[], States]
    emergency: Emergency
    memory: Memory
    acts: bool
    as_json: bool = False
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    judgements: list[Judgement] = field(default_factory=list)
    _sights: dict[str, Sight] = field(default_factory=dict)
    _seen_at: datetime | None = None
    _seen_clock: float | None = None
    _problem: str = "it has not looked yet"
    _running: _Running | None = None
    _settled: dict[str, _Settled] = field(default_factory=dict)
    _blind: list[str] = field(default_factory=list)
    _obstacles: list[str] = field(default_factory=list)
    _reach_checked: float | None = None

    def __post_init__(self) -> None:
        """Takes an emergency that an earlier watcher did not see end for one that failed, and so to be run again."""
        for alarm in triggers(self.table):
            act = self.memory.act_of(alarm)
            if act is not None and act.outcome == "running":
                self.memory.keep(alarm, act.model_copy(update={"outcome": "failed"}))

    def watch(self, asked_to_stop: threading.Event) -> None:
        """Looks every `poll_seconds` until it is asked to stop; then an emergency that runs is waited for."""
        while not asked_to_stop.is_set():
            self._check_reach()
            self.look()
            if self._running is None:
                self._act(asked_to_stop)
            next_look = self.clock() + self.table.auto_rollback.poll_seconds
            while self.clock() < next_look and not asked_to_stop.is_set():
                time.sleep(_NAP_SECONDS)
                self._note_end()
        if self._running is not None:
            self._say(self._running.alarm, "asked to stop: waits for the emergency that runs")
            self._running.process.wait()
            self._note_end()

    def look(self) -> None:
        """Asks CloudWatch once, and judges each trigger alarm; what changed is said."""
        self._note_end()
        try:
            states = self.ask()
        except CommandError as error:
            # Nobody knows whether the alarms stay where they are: their looks are no longer successive.
            self._sights = {alarm: replace(sight, looks=0) for alarm, sight in self._sights.items()}
            self.judgements, self._blind = [], []
            self._change_problem(f"{error}. Nothing is rolled back on what is not known")
            return
        self._change_problem("")
        self._seen_at, self._seen_clock = self.now(), self.clock()
        look = Look(self._seen_at, self._seen_clock, states, _is_there(self.table.auto_rollback.kill_file))
        self._blind = blind(self.table, self.deployment, states)
        before = {each.alarm: each for each in self.judgements}
        self.judgements = [self._judged(alarm, look) for alarm in triggers(self.table)]
        for judgement in self.judgements:
            if judgement != before.get(judgement.alarm):
                self._say(judgement.alarm, str(judgement))

    def health(self) -> dict[str, Any]:
        """What GET /health answers."""
        problems, running, rule = self._problems(), self._running, self.table.auto_rollback
        return {
            "healthy": not problems,
            "problems": problems,
            "deployment": self.deployment,
            "acts": self.acts,
            "last_look": self._seen_at.isoformat() if self._seen_at else None,
            "alarms": {
                each.alarm: {"state": each.state, "verdict": each.verdict.value, "why": each.why}
                for each in self.judgements
            },
            "kill_file": {"path": str(rule.kill_file), "is_there": _is_there(rule.kill_file)},
            "running": running.alarm if running else None,
            "last_act": self._last_act(),
        }

    def _problems(self) -> list[str]:
        """Why it is not well, a sentence each; health is asked for by another thread, so each value is read once."""
        rule, seen, running = self.table.auto_rollback, self._seen_clock, self._running
        problems = [*([self.memory.problem] if self.memory.problem else []), *self._blind, *self._obstacles]
        if seen is None:
            problems.append(self._problem)
        elif (age := self.clock() - seen) > rule.unhealthy_after_seconds:
            problems.append(f"no good look for {age:.0f} s: {self._problem or 'the last one does not end'}")
        if self.acts and _is_there(rule.kill_file):
            problems.append(f"{rule.kill_file} is there: nothing is rolled back until somebody removes it")
        if running is not None and (took := self.clock() - running.begun) > self.table.rollback.objective_seconds:
            problems.append(f"the emergency of {running.alarm} runs for {took:.0f} s: read its output")
        return problems + [
            f"{alarm}: its emergency ended badly, or unseen, at {act.at:%H:%M:%S} UTC (attempt {act.attempts} of "
            f"{rule.attempts}): read its output, then run {self.table.next_command(alarm, self.deployment)}"
            for alarm in triggers(self.table)
            if (act := self.memory.act_of(alarm)) is not None
            and act.outcome == "failed"
            and is_of_this_incident(self.table, act, self.now())
        ]

    def _judged(self, alarm: str, look: Look) -> Judgement:
        state, since = look.states.get(names.alarm(self.deployment, alarm), ("", None))
        act = self.memory.act_of(alarm)
        if state == "OK" and act is not None and not act.alarm_was_ok:
            act = act.model_copy(update={"alarm_was_ok": True})
            self.memory.keep(alarm, act)
        if state == "ALARM":
            self._sights[alarm] = Sight.again(self._sights.get(alarm), since, look.clock)
        else:
            self._sights.pop(alarm, None)
        judgement = judge(self.table, self.deployment, alarm, look, Known(self._sights.get(alarm), act))
        if judgement.verdict is Verdict.HELD_BACK:
            # The hold-off begins when nothing is against it any more: a drill's alarm outlasts the drill's silence.
            self._sights[alarm] = Sight(since, look.clock)
        settled = self._settled.get(alarm)
        if judgement.verdict is Verdict.DUE and settled is not None and settled.since == since:
            return replace(judgement, verdict=settled.verdict, why=settled.why)
        return judgement

    def _check_reach(self) -> None:
        """Asks now and then whether an emergency would reach every machine; never while one may be due."""
        last, every = self._reach_checked, self.table.auto_rollback.reach_seconds
        if self._sights or self._running is not None or (last is not None and self.clock() - last < every):
            return
        obstacles = self.emergency.obstacles(self.table.next_command(next(iter(triggers(self.table))), self.deployment))
        for obstacle in obstacles:
            if obstacle not in self._obstacles:
                self._say(None, obstacle)
        self._obstacles, self._reach_checked = obstacles, self.clock()

    def _act(self, asked_to_stop: threading.Event) -> None:
        """Runs the emergency of the first alarm that is due, unless its workers are back already or it may not."""
        due = next((each for each in self.judgements if each.verdict is Verdict.DUE), None)
        if due is None:
            return
        command = self.table.next_command(due.alarm, self.deployment)
        scenario = triggers(self.table)[due.alarm]
        if self.emergency.is_needless(self.table.scenarios[scenario].sets):
            self._settle(due, Verdict.HANDLED, f"every worker holds the flags of {scenario} already")
        elif not self.acts:
            self._settle(due, Verdict.HELD_BACK, f"WOULD ROLL BACK, and may not: {command}")
        elif not (asked_to_stop.is_set() or _is_there(self.table.auto_rollback.kill_file)):  # they took their time
            self._start(due, command)

    def _settle(self, due: Judgement, verdict: Verdict, why: str) -> None:
        self._settled[due.alarm] = _Settled(self._sights[due.alarm].since, verdict, why)
        settled = replace(due, verdict=verdict, why=why)
        self.judgements = [settled if each is due else each for each in self.judgements]
        self._say(due.alarm, str(settled))

    def _start(self, due: Judgement, command: str) -> None:
        act = self._next_act(due.alarm)
        self.memory.keep(due.alarm, act)  # before it: whoever comes after a crash must know of it
        self._say(due.alarm, f"{due}; ROLLS BACK, attempt {act.attempts}: {command}", act="started")
        try:
            process = self.emergency.start(command)
        except OSError as error:
            self._end(due.alarm, act, f"cannot be started ({error.strerror}): run it by hand: {command}", ok=False)
        else:
            self._running = _Running(due.alarm, process, act, self.clock())

    def _note_end(self) -> None:
        running = self._running
        if running is None:
            return
        code, took = running.process.poll(), self.clock() - running.begun
        if code is None and took <= self.table.auto_rollback.hung_seconds:
            return
        self._running = None  # one that hangs must not keep the others' emergencies back
        command = self.table.next_command(running.alarm, self.deployment)
        told = f"ROLLED BACK in {took:.0f} s" if code == 0 else f"THE EMERGENCY ENDED BADLY ({code}) after {took:.0f} s"
        if code is None:
            told = f"THE EMERGENCY HANGS after {took:.0f} s and goes on by itself"
        left = self.table.auto_rollback.attempts - running.act.attempts
        then = "" if code == 0 else f"; {left} attempts are left" if left else f"; GIVEN UP, run it by hand: {command}"
        self._end(running.alarm, running.act, told + then, ok=code == 0)

    def _end(self, alarm: str, act: Act, told: str, *, ok: bool) -> None:
        # The pauses before a retry, and the cooldown, begin when it ends. The alarm may have been OK meanwhile.
        act = self.memory.act_of(alarm) or act
        self.memory.keep(alarm, act.model_copy(update={"at": self.now(), "outcome": "done" if ok else "failed"}))
        self._say(alarm, f"{alarm}: {told}", act="done" if ok else "failed")

    def _next_act(self, alarm: str) -> Act:
        before, now = self.memory.act_of(alarm), self.now()
        earlier = before.attempts if before is not None and is_of_this_incident(self.table, before, now) else 0
        return Act(at=now, attempts=earlier + 1, outcome="running")

    def _last_act(self) -> dict[str, Any] | None:
        acts = [(act, alarm) for alarm in triggers(self.table) if (act := self.memory.act_of(alarm)) is not None]
        newest = max(acts, key=lambda each: each[0].at, default=None)
        return None if newest is None else {"alarm": newest[1], **newest[0].model_dump(mode="json")}

    def _change_problem(self, problem: str) -> None:
        if problem and problem != self._problem:
            self._say(None, problem)
        elif self._problem and not problem and self._seen_clock is not None:
            self._say(None, "CloudWatch answers again")
        self._problem = problem

    def _say(self, alarm: str | None, sentence: str, **more: str) -> None:
        entry = {"at": f"{self.now():%Y-%m-%dT%H:%M:%SZ}", "deployment": self.deployment, "alarm": alarm}
        line = json.dumps(entry | {"says": sentence} | more) if self.as_json else f"{self.deployment}: {sentence}"
        print(line, file=sys.stdout, flush=True)


def _is_there(kill_file: Path) -> bool:
    """Whether it is; one that cannot be looked for may be."""
    try:
        kill_file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True
