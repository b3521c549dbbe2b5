"""What is made of measured numbers: ratios of medians, and verdicts."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Target:
    """The bound of a measure, as the project's requirements give it."""

    bound: float
    at_least: bool

    def met(self, value: float) -> bool:
        """Tells whether a value keeps to it; the bound itself does."""
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}"


@dataclass(frozen=True)
class Result:
    """One line of the table: a value in its unit, held against a target, or (None) told without one."""

    measure: str
    value: float
    unit: str
    target: Target | None
    detail: str

    @property
    def verdict(self) -> str:
        """PASS, FAIL, or nothing where there is no target."""
        if self.target is None:
            return ""
        return "PASS" if self.target.met(self.value) else "FAIL"


@dataclass(frozen=True)
class Series:
    """The repetitions of one contestant: seconds of each run, for so many items a run."""

    contestant: str
    items: int
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Seconds of a run."""
        return statistics.median(self.seconds)

    @property
    def rate(self) -> float:
        """Items a second, by the median."""
        return self.items / self.median

    def __str__(self) -> str:
        spread = f"{min(self.seconds):.2f}–{max(self.seconds):.2f} s"
        return f"{self.contestant} {self.rate:,.0f}/s (median {self.median:.2f} s of {len(self.seconds)}, {spread})"


@dataclass(frozen=True)
class Findings:
    """What one benchmark has found."""

    benchmark: str
    results: tuple[Result, ...]
    series: tuple[Series, ...] = ()


def rotated(contestants: Sequence[str], number: int) -> list[str]:
    """Returns the order of a round: each begins with another, so that none always runs behind the same one."""
    first = number % len(contestants)
    return [*contestants[first:], *contestants[:first]]


def faster(ours: Series, theirs: Series) -> float:
    """Returns how many times as fast as theirs ours is, by the medians; above 1 ours is faster."""
    return ours.rate / theirs.rate
