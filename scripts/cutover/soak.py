"""A soak: what the machines' journals say of the workers that are watched, and whether it goes on."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from cutover import gates
from cutover.percentile import percentile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cutover.plan import Bound, Plan, Step

    Measures = dict[str, tuple[float | None, int]]

__all__ = ["State", "Watch", "decide", "measure", "with_programs"]


@dataclass(frozen=True)
class Watch:
    """How long a soak has lasted, how long it should, and at most, in seconds."""

    elapsed: float
    seconds: float
    maximum: float


@dataclass(frozen=True)
class State:
    """Whether a soak is over, why it was stopped (empty: it was not), and what it still lacks."""

    over: bool
    stopped: str
    lacking: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """The same as plain values, for a playbook."""
        return asdict(self)


def with_programs(
    journals: Mapping[str, Mapping[str, Any]],
    metrics: Sequence[tuple[str, Mapping[str, int]]],
    hosts: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """The journals, with what programs logged in a worker's environment counted as the worker's.

    Args:
        journals: the documents of `cutover journal` by machine.
        metrics: workers of the inventory, each with METRIC lines by name; `cutover worker-command` counts them.
        hosts: the inventory's hosts with their variables.
    """
    found: dict[str, Any] = copy.deepcopy(dict(journals))
    for worker, counts in metrics:
        unit = found[hosts[worker]["machine"]]["units"][hosts[worker]["worker_unit"]]
        unit["metrics"] = dict(Counter(unit["metrics"]) + Counter(counts))
    return found


def measure(table: Plan, journals: Mapping[str, Mapping[str, Any]], watched: Mapping[str, Sequence[str]]) -> Measures:
    """Every ratio of the table, the probes' percentiles, customers' errors and fallbacks: (value, samples) by name.

    Args:
        table: the plan, whose ratios and service levels say what is divided by what.
        journals: the documents of `cutover journal` by machine.
        watched: the units whose counters count, by machine. Server errors count of every unit: a customer does not
            ask which worker failed.
    """
    counts: Counter[str] = Counter()
    errors = answers = 0
    timings: dict[str, list[float]] = {}
    for machine, journal in journals.items():
        for unit, worker in journal["units"].items():
            errors += worker["server_errors"]
            answers += sum(worker["metrics"].values())
            if unit in watched.get(machine, ()):
                counts.update(worker["metrics"])
        for name, values in journal["measurements"].items():
            timings.setdefault(name, []).extend(values)
    measured: Measures = {
        "customer_errors": (errors, answers),
        "read_fallbacks": (counts[table.metrics["read_fallback"]], counts.total()),
    }
    measured |= {name: gates.ratio(table, name, counts) for name in table.ratios}
    for name, level in table.service_levels.items():
        if level.percentile is not None:
            values = timings.get(table.measurements[level.measure], [])
            measured[name] = (percentile(values, level.percentile), len(values))
    return measured


def decide(table: Plan, step: Step, measured: Measures, watch: Watch) -> State:
    """Whether the soak goes on.

    It is stopped by the step's stop limits, and by server errors where the step counts them. Else it is over after
    its seconds, or later, up to its maximum, once every criterion has as many samples as its service level wants.
    """
    floors = gates.sample_floors(table)
    stopped = [
        f"{name} is {value:g} ({samples} samples), and {bound} stops it"
        for name, bound in step.stop.items()
        for value, samples in [measured.get(name, (None, 0))]
        if value is not None and _violated(bound, value, samples, floors.get(name, 1))
    ]
    errors = measured["customer_errors"][0] or 0
    if "customer_errors" in step.criteria and not step.criteria["customer_errors"].holds(errors):
        stopped.append(f"customers met {errors:g} server errors")
    lacking = tuple(
        f"{name}: {measured[name][1]} of {floors.get(name, 1)} samples"
        for name in step.criteria
        if name in measured and measured[name][1] < floors.get(name, 1)
    )
    over = bool(stopped) or watch.elapsed >= watch.maximum or (watch.elapsed >= watch.seconds and not lacking)
    return State(over, "; ".join(stopped), lacking)


def _violated(bound: Bound, ratio: float, samples: int, floor: int) -> bool:
    """Whether a ratio is beyond a stop limit, even if all that is missing to the sample's floor were good.

    Without that a single failure among the first ten saves would be 10 %, and stop every soak.
    """
    return bound.holds(ratio * samples / max(samples, floor))
