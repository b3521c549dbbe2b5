"""Runs the operators' playbooks exactly as they would, with the rehearsal's inventory."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from rehearsal.lab.topology import REPOSITORY

__all__ = ["PlaybookRun", "StartedPlaybook", "run", "start"]

PLAYBOOK_SECONDS = 600.0  # step 1 takes half a minute; more than this is a hang
LAST_LINES = 12
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class PlaybookRun:
    """The outcome of one ansible-playbook call; `log` holds its whole output, also of one that was interrupted."""

    returncode: int
    output: str
    log: Path

    def last_lines(self) -> str:
        """What Ansible said last of a failure, for people."""
        lines = self.output.splitlines()
        failures = [line for line in lines if line.startswith(("fatal:", "[ERROR]")) or '"msg"' in line]
        return "\n".join([*(failures or lines)[-LAST_LINES:], f"(all of it: {self.log})"])


@dataclass(frozen=True)
class StartedPlaybook:
    """An ansible-playbook that runs in a session of its own, so that it can be ended as a person or a crash would."""

    process: subprocess.Popen[bytes]
    log: Path

    def reaches(self, task: str, *, seconds: float = 60.0) -> None:
        """Returns when its output has the name of this task; TimeoutError if it ends, or does not in time."""
        deadline = time.monotonic() + seconds
        while task not in self.log.read_text(encoding="utf-8"):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise TimeoutError(f"it did not come to {task!r}: {self._ended().last_lines()}")
            time.sleep(POLL_SECONDS)

    def interrupt(self) -> PlaybookRun:
        """Ctrl-C: SIGINT to everything that it started here."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.wait()

    def kill(self) -> PlaybookRun:
        """A control machine that dies: nothing of it gets a chance to say goodbye."""
        os.kill(self.process.pid, signal.SIGSTOP)  # it starts nothing more
        for pid in _descendants(self.process.pid):  # Ansible's workers have sessions of their own
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        os.killpg(self.process.pid, signal.SIGKILL)
        return self.wait()

    def wait(self) -> PlaybookRun:
        """Waits for its end; subprocess.TimeoutExpired if it does not end in time, and then it is ended."""
        try:
            self.process.wait(timeout=PLAYBOOK_SECONDS)
        except BaseException:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            raise
        return self._ended()

    def _ended(self) -> PlaybookRun:
        return PlaybookRun(self.process.poll() or 0, self.log.read_text(encoding="utf-8"), self.log)


def start(playbook: str, *arguments: str, log_directory: Path) -> StartedPlaybook:
    """Calls ansible-playbook as `run` does, and does not wait for its end: call `wait`, `interrupt` or `kill`."""
    log = _log(playbook, log_directory)
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            _argv(playbook, arguments),
            cwd=REPOSITORY / "playbooks",
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return StartedPlaybook(process, log)


def run(playbook: str, *arguments: str, log_directory: Path) -> PlaybookRun:
    """Calls `ansible-playbook -i inventories/rehearsal <playbook>` from playbooks/; a failed play is no exception.

    Raises:
        subprocess.TimeoutExpired: the playbook did not end in time; it was ended.
    """
    return start(playbook, *arguments, log_directory=log_directory).wait()


def _descendants(pid: int) -> list[int]:
    """The processes that a process has started, and theirs."""
    try:
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:  # it has just ended
        return []
    return [each for child in children for each in (child, *_descendants(child))]


def _log(playbook: str, directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory / f"{int(time.time() * 1000)}-{Path(playbook).stem}.log"


def _argv(playbook: str, arguments: tuple[str, ...]) -> list[str]:
    return ["ansible-playbook", "-i", "inventories/rehearsal", playbook, *arguments]


def _environment() -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    return own | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_CONFIG": str(REPOSITORY / "playbooks/ansible.cfg"),
        "DELTACROWN_REHEARSAL": "1",
    }
