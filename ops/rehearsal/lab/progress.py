"""Says what the lab does, and how long it took."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

Progress = Callable[[str], None]


@contextlib.contextmanager
def timed(progress: Progress, what: str, *, announce: str = "") -> Iterator[None]:
    """Reports `what` with its duration in seconds once it is done; `announce` is said before a long step."""
    if announce:
        progress(f"{what} ({announce}) ...")
    began = time.monotonic()
    yield
    progress(f"{what}: {time.monotonic() - began:.1f} s")
