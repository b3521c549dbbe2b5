"""A watcher among what a test sets: CloudWatch's states, the fleet, a clock, and an emergency that is no process."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cutover import names, plan
from cutover.alarms.live import LiveAlarmsError
from cutover.watcher.memory import Memory
from cutover.watcher.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from cutover.alarms.live import States
    from cutover.plan import Plan
    from cutover.watcher.decision import Judgement

DEPLOYMENT: plan.Deployment = "production"
TABLE = plan.load()
RULE = TABLE.auto_rollback
TRIGGERS = {"rollback-uploads": "uploads", "rollback-reads": "reads", "rollback-inconsistency": "inconsistency"}
ALARM = "rollback-uploads"
COMMAND = "ansible-playbook emergency-rollback.yml -e deployment=production -e scenario="
LONG = RULE.hold_off_seconds + RULE.looks * RULE.poll_seconds
BEGAN = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)


def table(directory: Path) -> Plan:
    """The table with a kill file of the test's own."""
    rule = RULE.model_copy(update={"kill_file": directory / "auto-rollback.off"})
    return TABLE.model_copy(update={"auto_rollback": rule})


@dataclass
class Process:
    """An emergency that ends when the test says so."""

    code: int | None = None

    def poll(self) -> int | None:
        return self.code

    def wait(self) -> int:
        assert self.code is not None, "nobody ends it, so waiting for it would never end"
        return self.code


@dataclass
class Emergencies:
    """What was run, by its command; `needless` is what the fleet says of itself."""

    commands: list[str] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)
    needless: bool = False
    asked: int = 0
    cannot_start: bool = False
    while_asked: Callable[[], None] = lambda: None
    in_the_way: list[str] = field(default_factory=list)
    reach_checked: int = 0

    def start(self, command: str) -> Process:
        if self.cannot_start:
            raise FileNotFoundError(2, "No such file or directory", "ansible-playbook")
        self.commands.append(command)
        self.processes.append(Process())
        return self.processes[-1]

    def obstacles(self, command: str) -> list[str]:
        assert command == TABLE.next_command("rollback-uploads", DEPLOYMENT)
        self.reach_checked += 1
        return self.in_the_way

    def is_needless(self, flags: Mapping[str, bool]) -> bool:
        assert flags in [dict(TABLE.scenarios[name].sets) for name in TRIGGERS.values()]
        self.asked += 1
        self.while_asked()
        return self.needless


class Scene:
    """A watcher of production, all of whose alarms are OK since an hour."""

    def __init__(self, directory: Path, *, acts: bool = True) -> None:
        self.seconds = 0.0
        self.jump = timedelta()
        self.emergencies = Emergencies()
        self.away = False
        self.table = table(directory)
        hour_ago = BEGAN - timedelta(hours=1)
        self.states: States = {names.alarm(DEPLOYMENT, name): ("OK", hour_ago) for name in TABLE.alarms}
        self.state_file = directory / "state/watcher-production.json"
        self.acts = acts
        self.asked_to_stop = threading.Event()
        self.watcher = self.started()

    def started(self) -> Watcher:
        """A watcher that begins now, with what the one before kept."""
        self.watcher = Watcher(
            self.table,
            DEPLOYMENT,
            self._ask,
            self.emergencies,  # type: ignore[arg-type]
            Memory(self.state_file),
            acts=self.acts,
            clock=lambda: self.seconds,
            now=self.now,
        )
        return self.watcher

    def now(self) -> datetime:
        """By this machine's clock, which a test may set."""
        return BEGAN + timedelta(seconds=self.seconds) + self.jump

    def set(self, alarm: str, state: str) -> None:
        """An alarm's state from now on."""
        self.states[names.alarm(DEPLOYMENT, alarm)] = (state, self.now())

    def look(self) -> dict[str, Judgement]:
        """One look, with what follows from it, and the pause after it."""
        self.watcher._check_reach()
        self.watcher.look()
        if self.watcher._running is None:
            self.watcher._act(self.asked_to_stop)
        found = {each.alarm: each for each in self.watcher.judgements}
        self.seconds += RULE.poll_seconds
        return found

    def looks(self, seconds: float) -> dict[str, Judgement]:
        """All looks of so long; the last one's judgements."""
        found: dict[str, Any] = {}
        until = self.seconds + seconds
        while self.seconds <= until:
            found = self.look()
        return found

    @property
    def commands(self) -> list[str]:
        return self.emergencies.commands

    def end(self, code: int) -> None:
        """The emergency that runs ends."""
        self.emergencies.processes[-1].code = code

    def _ask(self) -> States:
        if self.away:
            raise LiveAlarmsError("production: the alarms could not be asked for: no answer")
        return dict(self.states)
