"""A hard limit for calls whose own time-outs do not add up to one."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")


def within(seconds: float, call: Callable[[], Result]) -> Result:
    """Returns what `call` returns or raises, or raises TimeoutError after `seconds`.

    A call that is late goes on in its daemon thread and its outcome is dropped. A thread for each call, because
    a pool that was made before uWSGI forks its workers has no threads in them.
    """
    outcome: Future[Result] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:  # noqa: BLE001 - it is raised again in the waiting thread
            outcome.set_exception(error)

    threading.Thread(target=run, name="deadline", daemon=True).start()
    try:
        return outcome.result(timeout=seconds)
    except TimeoutError:
        if outcome.done():
            raise
        raise TimeoutError(f"no answer within {seconds:g} s") from None
