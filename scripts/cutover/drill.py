"""A drill's way back: by which steps it returns, what its readers' journals must say, and what to run if it fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cutover import rollback_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cutover.plan import Plan

__all__ = ["changes", "next_command", "readers_problem", "steps_to"]


def steps_to(table: Plan, deployment: str, mode: str) -> list[int]:
    """The steps that led this deployment from local files to this mode, in their order; none if no step does."""
    found, at = [], "local"
    for number, step in table.steps.items():
        if at == mode:
            break
        if step.deployment == deployment and step.from_mode == at != step.to_mode:
            found.append(number)
            at = step.to_mode
    return found if at == mode else []


def changes(table: Plan, scenario: str, mode: str) -> bool:
    """Whether this scenario changes a flag of this mode; no worker restarts else, and a drill would measure nothing."""
    flags = rollback_table.flags_of(table.modes[mode])
    return rollback_table.outcome(table, scenario, flags).flags != flags


def next_command(table: Plan, deployment: str, mode: str, held: Sequence[str]) -> str:
    """What to run after a drill that broke off on its way back to `mode`.

    Args:
        table: whose steps lead there.
        deployment: which was drilled.
        mode: from which the drill started.
        held: the mode that each machine holds now; empty for several at once, or unknown.
    """
    steps = steps_to(table, deployment, mode)
    for number in steps:
        if set(held) == {table.steps[number].from_mode}:
            return f"ansible-playbook go-live-step{number}.yml"
    return f"ansible-playbook emergency-rollback.yml -e deployment={deployment}, then go-live-step{steps[0]}.yml"


def readers_problem(table: Plan, before: Mapping[str, Any], after: Mapping[str, Any], asked: int) -> str:
    """Why a machine's workers do not read from S3 as they should, as one sentence; empty if they do.

    Args:
        table: whose METRIC lines are counted.
        before: the machine's journals as `cutover journal` counted them, before its workers were asked.
        after: the same afterwards, from the same mark.
        asked: how many migrated certificates each worker was asked for in between.
    """
    success, fallback = table.metrics["read_success"], table.metrics["read_fallback"]
    for unit, worker in after["units"].items():
        counted = {
            name: worker["metrics"].get(name, 0) - before["units"][unit]["metrics"].get(name, 0)
            for name in (success, fallback)
        }
        if counted[fallback]:
            cause = f" ({worker['first_complaint']})" if worker["first_complaint"] else ""
            return f"{unit} read {counted[fallback]} certificates from local files, since S3 did not give them{cause}"
        if counted[success] < asked:
            return (
                f"{unit} was asked for {asked} migrated certificates and says that it read {counted[success]} from S3"
            )
    return "" if after["units"] else "no worker of it was counted"
