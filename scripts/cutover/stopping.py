"""SIGINT and SIGTERM end a run between two steps of its work, never within one."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["asked_to_stop", "interrupted_at_once", "leave_at_once"]


@contextmanager
def asked_to_stop() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set, for a run that looks at it often; a second signal interrupts at once."""
    asked = threading.Event()

    def ask(_signal: int, _frame: object) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def interrupted_at_once() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt as SIGINT does, for a run that undoes what it began and waits for nothing."""

    def interrupt(_signal: int, _frame: object) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def leave_at_once(code: int) -> None:
    """Ends the process if a thread still runs: an upload that hangs would hold the interpreter until it times out."""
    if threading.active_count() > 1:
        sys.stdout.flush()
        os._exit(code)
