"""Criteria and measurements turned into a verdict."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from cutover.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cutover.plan import Bound, Plan

__all__ = ["Result", "Verdict", "evaluate", "judge", "overall", "ratio", "sample_floors"]


class Verdict(IntEnum):
    """What a gate says. The value is the exit code of the commands; only PASS lets a step go on."""

    PASS = ExitCode.DONE
    FAIL = ExitCode.FAILED
    INCONCLUSIVE = ExitCode.INCONCLUSIVE
    ERROR = ExitCode.ERROR


@dataclass(frozen=True)
class Result:
    """One criterion: what was measured, what was wanted, and the verdict on it."""

    criterion: str
    wanted: str
    measured: float | None
    samples: int
    verdict: Verdict

    def __str__(self) -> str:
        value = "nothing" if self.measured is None else f"{self.measured:g}"
        return f"{self.verdict.name} {self.criterion}: measured {value} ({self.samples} samples), wanted {self.wanted}"


def evaluate(
    criteria: Mapping[str, Bound],
    measured: Mapping[str, tuple[float | None, int]],
    minimum_samples: Mapping[str, int] | None = None,
) -> list[Result]:
    """Judges every criterion.

    Args:
        criteria: the limits, by name.
        measured: value and number of samples, by name; a name that is absent could not be measured.
        minimum_samples: fewer samples of a criterion than this are INCONCLUSIVE, whatever they say; 1 if not named.
    """
    results = []
    for name, bound in criteria.items():
        value, samples = measured.get(name, (None, 0))
        if name not in measured:
            verdict = Verdict.ERROR
        elif value is None or samples < (minimum_samples or {}).get(name, 1):
            verdict = Verdict.INCONCLUSIVE
        else:
            verdict = Verdict.PASS if bound.holds(value) else Verdict.FAIL
        results.append(Result(name, str(bound), value, samples, verdict))
    return results


def ratio(table: Plan, name: str, counts: Mapping[str, int]) -> tuple[float | None, int]:
    """A ratio of the table over counts of METRIC lines by name, and how many lines it is of; None of none."""
    formula = table.ratios[name]
    part, whole = (
        sum(counts.get(table.metrics[metric], 0) for metric in metrics)
        for metrics in (formula.numerator, formula.denominator)
    )
    return (part / whole if whole else None), whole


def sample_floors(table: Plan) -> dict[str, int]:
    """How many samples a criterion needs that is a service level, by the level's name and by its measure."""
    levels = {level.measure: level.minimum_samples for level in table.service_levels.values()}
    return levels | {name: level.minimum_samples for name, level in table.service_levels.items()}


def overall(results: Iterable[Result]) -> Verdict:
    """The verdict on all: a violated criterion outweighs what could not be measured; no results at all are an ERROR."""
    verdicts = {result.verdict for result in results} or {Verdict.ERROR}
    return next(
        verdict for verdict in (Verdict.FAIL, Verdict.ERROR, Verdict.INCONCLUSIVE, Verdict.PASS) if verdict in verdicts
    )


def judge(table: Plan, number: int, measured: Mapping[str, Sequence[Any]], *, partly: bool = False) -> dict[str, Any]:
    """Verdict and reasons of a step's criteria, as plain values.

    Args:
        table: whose step's criteria, and service levels' floors, count.
        number: the step's.
        measured: [value, samples] by criterion.
        partly: those criteria alone that were measured, before all of them can be.
    """
    results = evaluate(
        {name: bound for name, bound in table.steps[number].criteria.items() if name in measured or not partly},
        {name: (value, samples) for name, (value, samples) in measured.items()},
        sample_floors(table),
    )
    return {
        "verdict": overall(results).name,
        "reasons": [str(result) for result in results],
        "failures": [str(result) for result in results if result.verdict is not Verdict.PASS],
        "criteria": [asdict(result) | {"verdict": result.verdict.name} for result in results],
    }
