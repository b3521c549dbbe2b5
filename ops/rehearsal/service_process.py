"""A server process that belongs to one directory: started with a private log, recorded, found again and ended."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import secrets
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

START_SECONDS = 30.0  # the servers answer in about one second; a machine busy with builds needs longer
STOP_SECONDS = 10.0
POLL_SECONDS = 0.05
LOG_LINES_SHOWN = 5
FIRST_PORT, PORTS = 20000, 12768
MARK = "DELTACROWN_SERVICE"  # in the environment of each of them: the path of its record


@dataclasses.dataclass(frozen=True)
class ServiceProcess:
    """The process by its title (as errors call it), the stem of its files' names, and its directory."""

    title: str
    stem: str
    directory: Path
    error: type[RuntimeError]  # what is raised when it cannot be started, found or stopped

    @property
    def record_path(self) -> Path:
        """The file, for its owner alone, that says how to reach it."""
        return self.directory / f"{self.stem}.json"

    @property
    def log_path(self) -> Path:
        """The file that takes what it prints."""
        return self.directory / f"{self.stem}.log"

    def claim(self) -> None:
        """Makes the directory; raises `error` if the process already runs from it."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (record := self.recorded()) is not None and self._is_ours(record["pid"]):
            pid = record["pid"]
            raise self.error(f"The {self.title} (pid {pid}) already runs from {self.directory}: stop it first.")

    def launch(self, command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Starts the command in a session of its own."""
        with _open_private(self.log_path) as log:
            return subprocess.Popen(
                command,
                env={**environment, MARK: str(self.record_path)},
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def record(self, values: Mapping[str, Any]) -> None:
        """Writes down what `load` is to return; `pid` among it."""
        with _open_private(self.record_path) as record:
            json.dump(values, record)

    def wait(self, process: subprocess.Popen[bytes], is_ready: Callable[[], bool], address: str) -> None:
        """Returns when `is_ready`; stops it and raises `error` if it ends, or says nothing for 30 seconds."""
        try:
            self._wait(process, is_ready, address)
        except BaseException:
            self.stop()
            raise

    def load(self) -> dict[str, Any]:
        """Returns the record of the running process; raises `error` if none runs."""
        record = self.recorded()
        if record is None or not self._is_ours(record["pid"]):
            raise self.error(f"No {self.title} runs from {self.directory}: start one.")
        return record

    def stop(self) -> None:
        """Ends the process, if it runs: SIGTERM, after 10 seconds SIGKILL."""
        record = self.recorded()
        if record is None:
            return
        pid: int = record["pid"]
        for stop_signal in (signal.SIGTERM, signal.SIGKILL):
            if self._has_ended(pid, seconds=0):
                break
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, stop_signal)
            self._has_ended(pid, seconds=STOP_SECONDS)
        if self._is_ours(pid):
            raise self.error(f"The {self.title} (pid {pid}) survived SIGKILL: end it by hand.")
        self.record_path.unlink()

    def recorded(self) -> dict[str, Any] | None:
        """Returns the record, whether the process still runs or not; None if there is none."""
        try:
            record = json.loads(self.record_path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise self._no_record(error) from error
        if not isinstance(record, dict) or "pid" not in record:
            raise self._no_record("it names no pid")
        return record

    def _no_record(self, reason: object) -> RuntimeError:
        return self.error(f"{self.record_path} is no record of the {self.title} ({reason}): remove it.")

    def _wait(self, process: subprocess.Popen[bytes], is_ready: Callable[[], bool], address: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                seen = f"exit status {process.returncode}" if process.returncode is not None else "no answer in time"
                last_lines = self.log_path.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
                raise self.error(
                    f"The {self.title} did not come up at {address} ({seen}); "
                    f"the end of {self.log_path}: {' | '.join(last_lines) or 'empty'}"
                )
            time.sleep(POLL_SECONDS)

    def _is_ours(self, pid: int) -> bool:
        """Tells whether `pid` is this directory's process: after a crash the number may be someone else's."""
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return False
        return f"{MARK}={self.record_path}".encode() in environment  # empty for a zombie

    def _has_ended(self, pid: int, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self._is_ours(pid):
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True


def free_port(host: str) -> int:
    """Returns a port on which nothing listens at this moment.

    It is drawn from below Linux's range for outgoing connections: one of that range may be taken by the next connection
    of anybody, and the kernel offers two callers at once the same one.
    """
    while True:
        port = FIRST_PORT + secrets.randbelow(PORTS)
        with contextlib.suppress(OSError), socket.create_server((host, port)):
            return port


def _open_private(path: Path) -> TextIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8")
