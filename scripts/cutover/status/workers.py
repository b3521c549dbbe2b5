"""The workers' state from their processes: mode, flags, and what is amiss with each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cutover import fleet, rollback_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cutover.plan import Plan
    from cutover.status.asking import Answer
    from cutover.status.sites import Site

__all__ = ["UNKNOWN", "WorkerState", "common_mode", "mode_of", "states"]

UNKNOWN, UNPROVEN, MIXED = "?", "unproven", "mixed"
_LETTERS = {"dual_write": "D", "read_primary": "R", "backfill": "B"}


@dataclass(frozen=True)
class WorkerState:
    """A worker: mode and flags (a letter for on, - for off, ? for not set) of all its processes.

    `pid` is its oldest process, `processes` how many it has, `since` when the youngest was started (UTC): all hold
    these flags since then. `mode` is UNKNOWN if its machine could not be asked, which is no `problem`.
    """

    worker: str
    machine: str
    mode: str
    flags: str = ""
    pid: int | None = None
    processes: int = 0
    since: datetime | None = None
    problem: str = ""


def mode_of(table: Plan, flags: str) -> str:
    """The table's name of a triple as the machine script writes it; null is UNPROVEN."""
    if "null" in flags:
        return UNPROVEN
    dual_write, read_primary, backfill = (value == "true" for value in flags.split(","))
    return rollback_table.state_of(table, (dual_write, read_primary, backfill)).name


def states(table: Plan, site: Site, answers: Mapping[str, Answer]) -> list[WorkerState]:
    """Each worker of the inventory, in its order, then those that run without standing there."""
    found, seen = [], set()
    for worker in site.workers:
        seen.add((worker.machine, worker.unit_name))
        found.append(_state(table, worker.name, worker.unit_name, answers[worker.machine]))
    for machine in site.machines:
        answer = answers[machine.name]
        for unit_name in dict.fromkeys(process["worker"] for process in answer.processes):
            if (machine.name, unit_name) not in seen:
                stranger = _state(table, unit_name, unit_name, answer)
                told = f"not in the inventory{'; ' + stranger.problem if stranger.problem else ''}"
                found.append(WorkerState(**vars(stranger) | {"problem": told}))
    return found


def common_mode(workers: Sequence[WorkerState]) -> str | None:
    """The mode of all workers whose machines could be asked, MIXED if they have several, None if none has one."""
    modes = {worker.mode for worker in workers if worker.mode != UNKNOWN and worker.processes}
    return None if not modes else modes.pop() if len(modes) == 1 else MIXED


def most_frequent_mode(workers: Sequence[WorkerState]) -> str:
    """The mode from which the others differ; of two equally frequent ones the first worker's."""
    return Counter(worker.mode for worker in workers if worker.processes).most_common(1)[0][0]


def _state(table: Plan, name: str, unit_name: str, answer: Answer) -> WorkerState:
    if answer.problem:
        return WorkerState(name, answer.machine, UNKNOWN)
    processes = [process for process in answer.processes if process["worker"] == unit_name]
    if not processes:
        return WorkerState(name, answer.machine, "none", problem="runs no process")
    held = sorted({fleet.held(process) for process in processes})
    return WorkerState(
        worker=name,
        machine=answer.machine,
        mode=mode_of(table, held[0]) if len(held) == 1 else MIXED,
        flags="/".join(map(_letters, held)),
        pid=min(processes, key=lambda process: (process["started"], process["pid"]))["pid"],
        processes=len(processes),
        since=max(filter(None, (_moment(process["started"]) for process in processes)), default=None),
        problem=_problem(table, held, processes, unit_failed=unit_name in answer.failed),
    )


def _problem(table: Plan, held: Sequence[str], processes: Sequence[Mapping[str, Any]], *, unit_failed: bool) -> str:
    missing = [variable for name, variable in table.variables.items() if any(each[name] is None for each in processes)]
    if missing:
        return f"unproven: {', '.join(missing)} not in its environment"
    if len(held) > 1:
        return f"its processes hold different flags: {' and '.join(held)}"
    if unit_failed or not all(process["proven"] for process in processes):
        return "unproven: its files say otherwise, so a restart would change it"
    return ""


def _letters(held: str) -> str:
    signs = {"true": None, "false": "-", "null": "?"}
    return "".join(signs[value] or letter for value, letter in zip(held.split(","), _LETTERS.values(), strict=True))


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return None
