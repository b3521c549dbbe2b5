"""What the watcher has done, by alarm: one small file, so that a restart does not do it again."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from cutover.control import StateError, read_document, write_document
from cutover.settings import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Act", "Memory"]

Outcome = Literal["running", "done", "failed"]


class Act(BaseModel):
    """The last emergency that an alarm set off: when (UTC), the how manieth attempt, and how it ended.

    `alarm_was_ok`: the alarm has been OK since, so that its next ALARM is another incident.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: AwareDatetime
    attempts: int
    outcome: Outcome
    alarm_was_ok: bool = False


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid")

    acts: dict[str, Act] = Field(default_factory=dict)


class Memory:
    """The acts by alarm (its name in ops/cutover.yml); `problem` says why the file does not hold them, if it does not.

    Args:
        keeps: False only reads the file.

    A file that cannot be read or written keeps no emergency from being run: running it once more restarts workers that
    are rolled back already, while not running it leaves customers on an S3 that fails.
    """

    def __init__(self, path: Path, *, keeps: bool = True) -> None:
        self.problem = ""
        self._path = path
        self._keeps = keeps
        self._document = _Document()
        try:
            self._document = read_document(path, _Document) or self._document
        except (SettingsError, OSError) as error:
            self.problem = f"{error}, and restart the watcher: what was done before is forgotten"
            print(f"cutover: {self.problem}", file=sys.stderr, flush=True)

    def act_of(self, alarm: str) -> Act | None:
        """The last act, None if there is none."""
        return self._document.acts.get(alarm)

    def keep(self, alarm: str, act: Act) -> None:
        """Keeps an act instead of the alarm's last one, on disk if that can be."""
        self._document.acts[alarm] = act
        if not self._keeps:
            return
        try:
            write_document(self._path, self._document)
            self.problem = ""
        except StateError as error:
            self.problem = str(error)
            print(f"cutover: {error}", file=sys.stderr, flush=True)
