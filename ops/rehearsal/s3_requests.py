"""Which S3 operations reached the AWS stand-in, counted at the server by the user agent that asked."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from rehearsal.aws_stand_in import REQUESTS_NAME

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["APPLICATION", "Requests"]

APPLICATION = "deltacrown-app"  # the storage class's; probe, doctor and data tools say names of their own
# The server writes a request's line after its answer, which on a busy machine is later than the next look.
QUIET_SECONDS, PATIENCE_SECONDS = 0.5, 10.0
_OPERATIONS = {"PUT": "PutObject", "GET": "GetObject", "HEAD": "HeadObject", "DELETE": "DeleteObject"}


@dataclass(frozen=True)
class Requests:
    """The requests that a stand-in has answered since a moment."""

    log: Path
    start: int  # bytes of the log that came before

    @classmethod
    def from_now(cls, directory: Path) -> Self:
        """Those from now on, of the stand-in that runs from this directory."""
        log = directory / REQUESTS_NAME
        return cls(log, _size_when_quiet(log))

    def operations(self, bucket: str, agent: str = APPLICATION) -> Counter[str]:
        """How often a user agent asked for each operation on this bucket, refused ones included.

        What is asked of the bucket itself is called by its method alone, as in `GET bucket`.
        """
        found: Counter[str] = Counter()
        _size_when_quiet(self.log)
        with self.log.open(encoding="utf-8", errors="replace") as lines:
            lines.seek(self.start)
            for line in lines:
                method, path, _status, asked_by = line.rstrip("\n").split("\t", 3)
                place, _, key = path.removeprefix("/").partition("/")
                if place == bucket and agent in asked_by:
                    found[_OPERATIONS.get(method, method) if key else f"{method} bucket"] += 1
        return found


def _size_when_quiet(log: Path) -> int:
    """Bytes of the log once no line has come for a moment; somebody may ask all the time, so the wait has an end."""
    deadline, size, since = time.monotonic() + PATIENCE_SECONDS, log.stat().st_size, time.monotonic()
    while (now := time.monotonic()) < deadline and now - since < QUIET_SECONDS:
        time.sleep(QUIET_SECONDS / 10)
        if (found := log.stat().st_size) != size:
            size, since = found, now
    return size
