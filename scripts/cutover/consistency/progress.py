"""How far a check is, on standard error: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Self

from cutover.backfill.report import duration

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import Progress as Bar
    from rich.progress import TaskID

__all__ = ["Progress"]

_SECONDS = 10  # between two lines


class Progress:
    """Told what is done, how many, and of how many; the total may be an estimate and change."""

    def __init__(self) -> None:
        self._bar: Bar | None = None
        self._tasks: dict[str, TaskID] = {}
        self._started: dict[str, float] = {}
        self._last = time.monotonic()

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console  # noqa: PLC0415 - only on a terminal
            from rich.progress import Progress as Bar  # noqa: PLC0415

            self._bar = Bar(*Bar.get_default_columns(), console=Console(stderr=True, soft_wrap=True), transient=True)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        """`done` of about `total` `what` (such as keys) are through."""
        started = self._started.setdefault(what, time.monotonic())
        if self._bar is not None:
            if what not in self._tasks:
                self._tasks[what] = self._bar.add_task(what, total=total)
            self._bar.update(self._tasks[what], completed=done, total=max(done, total))
        elif time.monotonic() - self._last > _SECONDS:
            self._last = time.monotonic()
            total = max(done, total)
            left = duration((self._last - started) / max(done, 1) * (total - done))
            print(f"{what}: {done}/{total} ({done / total:.1%}) - ETA: {left}", file=sys.stderr, flush=True)
