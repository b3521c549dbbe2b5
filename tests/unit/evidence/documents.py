"""Documents and chains for the tests of the evidence."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cutover import plan
from cutover.evidence import chain as chains
from cutover.evidence.requirements import Answer, Question, judge

if TYPE_CHECKING:
    from pathlib import Path

    from cutover.evidence.chain import Link

BEGIN = datetime(2026, 12, 1, 9, 30, tzinfo=UTC)
DAY = timedelta(days=1)


def step(number: int, verdict: str = "PASS", **more: object) -> dict[str, object]:
    """A step's record, with each criterion of the table; all of them say `verdict`."""
    table = plan.load()
    criteria = [
        {"criterion": name, "wanted": str(bound), "measured": bound.limit[1], "samples": 20, "verdict": verdict}
        for name, bound in table.steps[number].criteria.items()
    ]
    deployment = table.steps[number].deployment
    return {"kind": "step", "deployment": deployment, "step": number, "verdict": verdict, "criteria": criteria} | more


def daily(verdict: str = "PASS", **more: object) -> dict[str, object]:
    return {"kind": "daily", "deployment": "production", "verdict": verdict, "step": 9} | more


def drill(deployment: str, mode: str | None, seconds: float | None = 20, **more: object) -> dict[str, object]:
    return {"kind": "drill", "deployment": deployment, "verdict": "PASS", "mode": mode, "seconds": seconds} | more


def rollback(deployment: str, **more: object) -> dict[str, object]:
    return {"kind": "rollback", "deployment": deployment, "verdict": "PASS"} | more


@dataclass
class Story:
    """A chain that grows while time goes on."""

    directory: Path
    now: datetime = BEGIN

    def tell(self, document: dict[str, object], after: timedelta = timedelta(minutes=1)) -> Link:
        self.now += after
        return chains.append(self.directory, document, now=self.now)

    def ask(self, number: int, after: timedelta = timedelta(minutes=1), time_scale: float = 1.0) -> Answer:
        """Whether the step may start so long after what was told last."""
        records = chains.read(self.directory).proven().records
        return judge(Question(plan.load(), number, records, self.now + after, time_scale))
