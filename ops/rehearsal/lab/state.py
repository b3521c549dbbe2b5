"""What a running lab notes about itself, and the lock that admits one lab on a host."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import secrets
from typing import TYPE_CHECKING

from rehearsal.lab.commands import LabError
from rehearsal.lab.topology import DEPLOYMENTS, LOCK_FILE, STATE_DIRECTORY

if TYPE_CHECKING:
    from typing import TextIO

STATE_FILE = STATE_DIRECTORY / "state.json"


@dataclasses.dataclass(frozen=True)
class State:
    """Secrets of one lab by deployment, and whether it was left up on purpose."""

    database_passwords: dict[str, str] = dataclasses.field(repr=False)
    secret_keys: dict[str, str] = dataclasses.field(repr=False)
    machines_user_arn: str = ""
    kept: bool = False

    @classmethod
    def new(cls) -> State:
        """Returns a state with new random secrets."""
        return cls(
            {name: secrets.token_urlsafe(24) for name in DEPLOYMENTS},
            {name: secrets.token_urlsafe(48) for name in DEPLOYMENTS},
        )

    def save(self) -> None:
        """Writes the state, readable by root alone."""
        STATE_FILE.touch(mode=0o600)
        STATE_FILE.write_text(json.dumps(dataclasses.asdict(self)))


def load() -> State | None:
    """Returns the state of the lab that is up; None if none is, or if one died before it wrote its state."""
    try:
        return State(**json.loads(STATE_FILE.read_text()))
    except (FileNotFoundError, json.JSONDecodeError):
        return None


class HostLock:
    """Held by the process that raises, uses or removes the lab; the kernel frees it when that process ends."""

    def __init__(self) -> None:
        self._file: TextIO | None = None

    @property
    def held(self) -> bool:
        """Whether this process holds the lock."""
        return self._file is not None

    def acquire(self) -> None:
        """Takes the lock, once; LabError names the process that holds it."""
        if self.held:
            return
        LOCK_FILE.touch(mode=0o600)  # who can open it can lock it
        lock_file = LOCK_FILE.open("a+")
        try:
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock_file.seek(0)
            holder = lock_file.read().strip() or "unknown"
            lock_file.close()
            raise LabError(
                f"A lab is in use by process {holder}: let it end, or end it with `kill {holder}`; "
                "then `make lab-down`."
            ) from error
        lock_file.truncate(0)
        lock_file.write(str(os.getpid()))
        lock_file.flush()
        self._file = lock_file

    def release(self) -> None:
        """Gives the lock back, if it is held."""
        if self._file is not None:
            self._file.close()
            self._file = None
