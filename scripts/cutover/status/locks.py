"""Who holds a deployment's lock, and whether that step is still there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cutover.status.asking import Answer

__all__ = ["Locks", "described", "held", "look"]


@dataclass(frozen=True)
class Locks:
    """`holder` is the step that runs, None if none does; `problems` name locks that nobody needs, with their holder."""

    holder: Mapping[str, Any] | None = None
    problems: tuple[str, ...] = ()

    @property
    def step(self) -> str:
        """The step that runs, as a phrase."""
        return described(self.holder) if self.holder else ""


def look(answers: Sequence[Answer]) -> Locks:
    """The locks of a deployment's machines, of those that could be asked."""
    problems, live = [], {}
    for machine, (lock, why) in held(answers).items():
        if why:
            problems.append(f"stale lock on {machine}, {described(lock)}: {why}; cutover unlock removes it")
        else:
            live[machine] = lock
    if not live:
        return Locks(None, tuple(problems))
    holders = {described(lock) for lock in live.values()}
    without = sorted(answer.machine for answer in answers if answer.here is not None and _lock(answer) == {})
    if len(holders) > 1:
        problems.append(f"two steps hold a lock: {'; '.join(sorted(holders))}")
    if without:
        problems.append(
            f"the lock of {min(holders)} is not on {', '.join(without)}: a restarted machine, or being taken just now"
        )
    return Locks(next(iter(live.values())), tuple(problems))


def held(answers: Sequence[Answer]) -> dict[str, tuple[Mapping[str, Any], str]]:
    """The lock that each machine holds, and why its holder cannot be at work any more (empty: it may be)."""
    found = ((answer, _lock(answer)) for answer in answers)
    return {answer.machine: (lock, _stale(lock, answer.epoch)) for answer, lock in found if lock}


def described(lock: Mapping[str, Any]) -> str:
    """A lock's holder in words."""
    step = f"step {lock['step']} " if lock.get("step") is not None else ""
    host = f" on {lock['host']}" if lock.get("host") else ""
    start = f" since {lock['start']}" if lock.get("start") else ""
    return f"{step}by {lock.get('holder', 'nobody that is named')}{host}{start}"


def _lock(answer: Answer) -> Mapping[str, Any] | None:
    """A machine's lock, empty if nobody holds it, None if it could not be asked for."""
    lock = answer.here.get("lock", {"error": ""}) if answer.here is not None else {"error": ""}
    if lock is None:
        return {}
    return lock if isinstance(lock, dict) and "error" not in lock else None


def _stale(lock: Mapping[str, Any], epoch: int | None) -> str:
    """Why the holder cannot be at work any more; empty if it may be."""
    if not {"holder", "step", "host"} <= lock.keys():
        return "it does not say which step on which host"
    if epoch is not None and lock.get("epoch", epoch) != epoch:
        return f"an emergency has raised the epoch to {epoch} since"
    if lock["host"] == os.uname().nodename and not _runs_here(f"go-live-step{lock['step']}.yml"):
        return f"no go-live-step{lock['step']}.yml runs on this host any more"
    return ""


def _runs_here(playbook: str) -> bool:
    """Whether a process of this host is Ansible with this playbook."""
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = process.read_bytes()
        except OSError:
            continue  # it has ended
        if b"ansible" in command and playbook.encode() in command:
            return True
    return False
