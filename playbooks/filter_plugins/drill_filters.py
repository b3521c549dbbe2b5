"""The words of a drill; see cutover_filters.py for what a filter is here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cutover import fleet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cutover.plan import Plan


def drill_table(deployment: str, mode: str = "") -> dict[str, Any]:
    """What ops/cutover.yml says of a drill of this deployment: its numbers; from `mode`, the steps it returns by.

    `writers` is the step that first let every save go to S3, `readers` the one that let reads, None if none did.
    """
    from cutover import drill, plan

    table = plan.load()
    writers, readers = [*drill.steps_to(table, deployment, mode), None, None][:2]
    return {
        "silence_minutes": table.rollback.drill_silence_seconds // 60,
        "sweep_seconds": table.rollback.drill_sweep_seconds,
        "settle_seconds": table.data_tools.sweep.young_seconds + table.preflight.clock_skew_seconds,
        "downloads": table.rollback.drill_downloads,
        "writers": _step(table, writers),
        "readers": _step(table, readers),
    }


def _step(table: Plan, number: int | None) -> dict[str, Any] | None:
    if number is None:
        return None
    step = table.steps[number]
    flags = fleet.triple(table.modes[step.to_mode].flags)
    return {"number": number, "flags": flags, "sample": step.sample.minimum if step.sample else None}


def drill_next(modes: Sequence[str], deployment: str, mode: str) -> str:
    """What to run after a drill from `mode` that left the machines in these modes."""
    from cutover import drill, plan

    return drill.next_command(plan.load(), deployment, mode, modes)


def drill_changes(mode: str, scenario: str) -> bool:
    """Whether a drill of this scenario changes a flag of this mode."""
    from cutover import drill, plan

    return drill.changes(plan.load(), scenario, mode)


def readers_problem(before: Mapping[str, Any], after: Mapping[str, Any], asked: int) -> str:
    """What a machine's journals say against its readers; each worker was asked for so many certificates in between."""
    from cutover import drill, plan

    return drill.readers_problem(plan.load(), before, after, asked)


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {
            "drill_changes": drill_changes,
            "drill_next": drill_next,
            "drill_table": drill_table,
            "readers_problem": readers_problem,
        }
