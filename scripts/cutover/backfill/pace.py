"""The runbook's step 7: so many certificates, then a pause in which disk and S3 belong to the customers alone."""

from __future__ import annotations

from collections.abc import Callable  # noqa: TC003 - dataclasses reads the annotation
from dataclasses import dataclass

__all__ = ["Pace"]


def _nobody(_said: str) -> None:
    """Nobody is told."""


@dataclass
class Pace:
    """How far a run is: after each `run_size` certificates it waits for `cooldown_seconds`, not after the last one.

    `begun` counts certificates, `cooled` cool-downs that were begun, `waited` their seconds; `tell` is told of each.
    """

    run_size: int
    cooldown_seconds: float
    tell: Callable[[str], None] = _nobody
    begun: int = 0
    cooled: int = 0
    waited: float = 0.0

    def batch_size(self, wanted: int) -> int:
        """How many certificates the next batch may have: it ends where a cool-down begins."""
        return min(wanted, self.run_size - self.begun % self.run_size)

    @property
    def is_due(self) -> bool:
        """Whether a cool-down comes before the next certificate."""
        return self.begun >= (self.cooled + 1) * self.run_size

    def batches(self, total: int, wanted: int) -> int:
        """How many batches `total` certificates make, of `wanted` each where no cool-down comes first."""
        whole, rest = divmod(total, self.run_size)
        return whole * -(-self.run_size // wanted) + -(-rest // wanted)

    def to_come(self, total: int) -> int:
        """How many cool-downs are still to come if `total` certificates are there in all."""
        return max(0, (total - 1) // self.run_size - self.cooled)
