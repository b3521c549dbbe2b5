"""What was put aside when, and what was deleted: one JSON line a file, on disk before the file is touched.

A run that is killed leaves at most a line whose file was not touched, so the ledger alone never says where a file lies:
the disk does.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from cutover.exit_codes import CommandError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["FILE_NAME", "Entry", "Ledger", "LedgerError"]

FILE_NAME = "ledger.jsonl"
_BLOCK = 1 << 16  # bytes read at once


class LedgerError(CommandError):
    """A line of the ledger is not what this package wrote; the sentence names the line."""

    exit_code = ExitCode.ERROR


class Entry(BaseModel):
    """One file at one moment (UTC): put aside, or deleted, with the SHA-256 (hexadecimal) that was proven."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: AwareDatetime
    act: Literal["quarantine", "purge"]
    certificate_id: int
    key: str
    sha256: str


class Ledger:
    """The ledger of one quarantine directory. One run at a time writes it."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE_NAME

    def append(self, entries: Iterable[Entry]) -> None:
        """Writes the lines and returns when they are on the disk.

        Raises:
            OSError: they are not; no file may be touched.
        """
        lines = b"".join(entry.model_dump_json().encode() + b"\n" for entry in entries)
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        try:
            os.ftruncate(file, _length_of_whole_lines(file))
            while lines:
                lines = lines[os.write(file, lines) :]
            os.fsync(file)
        finally:
            os.close(file)

    def read(self) -> Iterator[Entry]:
        """All entries, oldest first; a last line that a killed run left unfinished touched nothing and is left out.

        Raises:
            LedgerError: a line cannot be read.
        """
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return
        with file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    return
                try:
                    yield Entry.model_validate_json(line)
                except ValidationError as error:
                    what = error.errors()[0]["msg"]
                    raise LedgerError(f"{self._path}:{number}: {what}: correct the line by hand") from error

    def put_aside(self) -> dict[str, Entry]:
        """The last time each key was put aside; whether its file still lies there, the disk knows. Raises as `read`."""
        return {entry.key: entry for entry in self.read() if entry.act == "quarantine"}

    def purged(self) -> Iterator[Entry]:
        """What was ever to be deleted; whether a copy lies there again, the disk knows. Raises as `read`."""
        return (entry for entry in self.read() if entry.act == "purge")


def _length_of_whole_lines(file: int) -> int:
    """Bytes up to the last newline: what follows it, a killed run or a full disk left unfinished."""
    end = os.fstat(file).st_size
    while end:
        start = max(0, end - _BLOCK)
        newline = os.pread(file, end - start, start).rfind(b"\n")
        if newline != -1:
            return start + newline + 1
        end = start
    return 0
