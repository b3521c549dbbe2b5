"""What an operator tells a running backfill or sweep, and what the run says of itself: one small file each.

Both lie in the settings' state directory. A run writes `run-<kind>.json` at every batch and removes it when it ends, so
that one which is left behind names a run that was killed. `control-<kind>.json` is addressed to one run by its
identity: nobody's `abort` or `pause` waits there for the next run.
"""

from __future__ import annotations

import os
import socket
import sys
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from cutover.exit_codes import CommandError, ExitCode
from cutover.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cutover.settings import Settings

__all__ = [
    "KINDS",
    "Control",
    "ControlState",
    "Kind",
    "Run",
    "StateError",
    "batch_rows",
    "instruct",
    "read_document",
    "running",
    "write_document",
]

Kind = Literal["backfill", "sweep"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_READ_SECONDS = 1.0  # how long a waiting run sleeps before it looks at its orders again


class StateError(CommandError):
    """A file of the state directory cannot be written; the sentence names it."""

    exit_code = ExitCode.CANNOT_WRITE


class ControlState(BaseModel):
    """What a run has been told. `max_rate` is in certificates a second, None for no limit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: str
    paused: bool = False
    abort: bool = False
    max_rate: float | None = None


class Run(BaseModel):
    """What a run said of itself: times are UTC, `rate` is in certificates a second.

    `updated` is the time of its last batch, or of its last sign of life while it cools down.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    identity: str
    kind: Kind
    host: str
    pid: int
    process_start: str
    started: datetime
    batch: int = 0
    token: str | None = None
    rate: float = 0.0
    updated: datetime
    phase: str = "starting"

    def process_state(self) -> str | None:
        """The letter that /proc has for the run's process (D waits for a disk, T is stopped), None if it is dead.

        Of a run on another host nothing can be known here: the letter is then `?`.
        """
        if self.host != socket.gethostname():
            return "?"
        state, start = _process(self.pid)
        return state if start == self.process_start and state not in {"Z", "X"} else None

    def __str__(self) -> str:
        return f"{self.kind} (pid {self.pid} on {self.host}, batch {self.batch}, {self.phase})"


Document = TypeVar("Document", bound=BaseModel)


class Control:
    """A run's side: enter it once the run holds its lock, report each batch, ask before the next.

    Args:
        settings: whose state directory is used.
        kind: of the run.
        max_rate: certificates a second at the start, None for no limit.

    Entering and reporting raise StateError if the state directory cannot be written.
    """

    def __init__(self, settings: Settings, kind: Kind, *, max_rate: float | None = None) -> None:
        self._directory = settings.state_directory
        now = datetime.now(UTC)
        self._run = Run(
            identity=uuid.uuid4().hex,
            kind=kind,
            host=socket.gethostname(),
            pid=os.getpid(),
            process_start=_process(os.getpid())[1],
            started=now,
            updated=now,
        )
        self._told = ControlState(run=self._run.identity, max_rate=max_rate)
        self._batch_started, self._batch_rows = 0.0, 0
        self._cool_until, self._cooling = 0.0, ""
        self._paused_at: float | None = None

    def __enter__(self) -> Self:
        write_document(_control_path(self._directory, self._run.kind), self._told)
        write_document(_run_path(self._directory, self._run.kind), self._run)
        return self

    def __exit__(self, *_: object) -> None:
        path = _run_path(self._directory, self._run.kind)
        last = read_document(path, Run)
        if last is not None and last.identity == self._run.identity:  # else a later run has taken the files over
            path.unlink(missing_ok=True)
            _control_path(self._directory, self._run.kind).unlink(missing_ok=True)

    def state(self) -> ControlState:
        """What the run has been told up to now; SettingsError if the file was changed by hand and cannot be read."""
        told = read_document(_control_path(self._directory, self._run.kind), ControlState)
        if told is not None and told.run == self._run.identity:
            self._told = told
        return self._told

    def report(self, *, batch: int, token: str, rate: float) -> None:
        """Says that a batch is done: its number, the token to resume after it, certificates a second so far."""
        self._say(batch=batch, token=token, rate=rate, updated=datetime.now(UTC), phase="running")

    def cool_down(self, seconds: float) -> str:
        """Lets the next batch wait for so long, from now on; returns until when, as a time of day in UTC."""
        self._cool_until = time.monotonic() + seconds
        until = (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%H:%M:%SZ")
        self._cooling = f"cooling down until {until}"
        return until

    def before_batch(self, rows: int, stopped: Callable[[], bool]) -> bool:
        """Waits while the run is paused, cools down or is faster than its `max_rate`.

        Orders that change are obeyed within a second.

        Args:
            rows: certificates of the batch that wants to start.
            stopped: whether the run has to end for a reason of its own; asked every second while it waits.

        Returns:
            Whether the batch may start: False once the run is aborted or `stopped`.
        """
        try:
            return self._may_begin(rows, stopped)
        finally:
            self._tell_pause(paused=False)

    def _may_begin(self, rows: int, stopped: Callable[[], bool]) -> bool:
        while not stopped():
            told = self.state()
            if told.abort:
                return False
            self._tell_pause(paused=told.paused)
            cooling = self._cool_until - time.monotonic()
            pause = _READ_SECONDS if told.paused else max(cooling, self._seconds_too_early(told.max_rate))
            if pause <= 0:
                self._batch_started, self._batch_rows = time.monotonic(), rows
                self._say(phase="running")
                return True
            if told.paused:
                self._say(phase="paused")
            elif cooling > 0:
                self._say(phase=self._cooling, updated=datetime.now(UTC))  # else it would be taken for one that hangs
            else:
                self._say(phase=f"held back to {told.max_rate:g} certificates a second")
            time.sleep(min(pause, _READ_SECONDS))
        return False

    def _tell_pause(self, *, paused: bool) -> None:
        """A line in the run's log when a pause begins and when it ends: a log that falls silent looks like a hang."""
        if paused and self._paused_at is None:
            self._paused_at = time.monotonic()
            resume = f"`cutover resume {self._run.kind}` lets it go on"
            print(f"cutover: paused at {datetime.now(UTC):%H:%M:%SZ}: {resume}", file=sys.stderr, flush=True)
        elif not paused and self._paused_at is not None:
            seconds, self._paused_at = time.monotonic() - self._paused_at, None
            print(f"cutover: the pause ended after {seconds:.0f} s", file=sys.stderr, flush=True)

    def _seconds_too_early(self, max_rate: float | None) -> float:
        if max_rate is None:
            return 0.0
        return self._batch_started + self._batch_rows / max_rate - time.monotonic()

    def _say(self, **changed: object) -> None:
        run = self._run.model_copy(update=changed)
        if run != self._run:
            self._run = run
            write_document(_run_path(self._directory, run.kind), run)


def batch_rows(wanted: int, max_rate: float | None) -> int:
    """How many certificates a batch has: not more than a second's, for within a batch nothing is held back."""
    return wanted if max_rate is None else max(1, min(wanted, int(max_rate)))


def running(settings: Settings, kind: Kind) -> Run | None:
    """The run that was the last to say something, if it did not end by itself; it may have been killed since.

    Raises:
        SettingsError: its file was changed by hand and cannot be read.
    """
    return read_document(_run_path(settings.state_directory, kind), Run)


def instruct(settings: Settings, run: Run, **changed: bool | float | None) -> ControlState:
    """Changes what `run` has been told; the names are those of ControlState. StateError if it cannot be written."""
    path = _control_path(settings.state_directory, run.kind)
    told = read_document(path, ControlState)
    if told is None or told.run != run.identity:
        told = ControlState(run=run.identity)
    told = told.model_copy(update=changed)
    write_document(path, told)
    return told


def _process(pid: int) -> tuple[str, str]:
    """State letter and start time (ticks since boot) of a process, which together tell it from a later one."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return "X", ""
    return fields[0], fields[19]


def _run_path(directory: Path, kind: Kind) -> Path:
    return directory / f"run-{kind}.json"


def _control_path(directory: Path, kind: Kind) -> Path:
    return directory / f"control-{kind}.json"


def read_document(path: Path, model: type[Document]) -> Document | None:
    """What `write_document` wrote, None if there is no such file.

    Raises:
        SettingsError: it is something else.
    """
    try:
        return model.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise SettingsError(f"{path}: is not what a run wrote ({error.errors()[0]['msg']}): remove it") from error


def write_document(path: Path, document: BaseModel) -> None:
    """Replaces the file in one step; whoever reads it sees the old one or the new one. StateError if it cannot."""
    new = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(new, "w", encoding="utf-8", opener=_open_private) as file:
            file.write(document.model_dump_json())
        new.replace(path)
    except OSError as error:
        raise StateError(
            f"{path}: cannot be written ({error.strerror}): free it, or name another CUTOVER_STATE_DIRECTORY"
        ) from error


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, mode=0o600)
