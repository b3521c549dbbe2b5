"""Which step comes next by the evidence, and what is in its way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cutover.evidence.record import PASS
from cutover.evidence.requirements import Answer, Question, Refusal, judge, newest, unaudited, undone_by

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from cutover.evidence.record import Record
    from cutover.plan import Deployment, Plan

__all__ = ["next_step", "standing"]


def standing(table: Plan, records: Sequence[Record], step: int) -> str:
    """How a step stands: the verdict of its newest record, UNDONE after a rollback, NOT RUN without one."""
    record = newest(records, "step", step=step)
    if record is None:
        return "NOT RUN"
    if record.verdict == PASS and undone_by(table, records, record) is not None:
        return "UNDONE"
    return record.verdict


def next_step(
    table: Plan,
    chains: Mapping[str, Sequence[Record]],
    now: datetime,
    time_scale: float = 1.0,
    *,
    of: Deployment | None = None,
) -> Answer | None:
    """The first step that does not stand, judged; None if all ten stand.

    Args:
        table: ops/cutover.yml.
        chains: the records by deployment, oldest first; steps of one that is not given are not looked at.
        now: for ages.
        time_scale: how many times shorter days of grace are.
        of: only steps of this deployment; those of the other may not stand.
    """
    for number, step in table.steps.items():
        if of not in {None, step.deployment}:
            continue
        if step.deployment not in chains or standing(table, chains[step.deployment], number) == PASS:
            continue
        judges = table.steps[max(number - 1, 1)].deployment
        if judges not in chains:
            run = f"cutover evidence require --step {number}  # on the data host of {judges}"
            return Answer(number, (Refusal(f"the evidence of {judges} is not in this report", run),))
        answer = judge(Question(table, number, chains[judges], now, time_scale))
        refusal = unaudited(table, chains[step.deployment], number)
        return Answer(number, (refusal, *answer.refusals)) if refusal else answer
    return None
