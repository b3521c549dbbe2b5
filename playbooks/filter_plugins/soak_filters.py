"""The words of soaks and test certificates; see cutover_filters.py for what a filter is here."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

from cutover import fleet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def remembered_certificates(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The test certificates that machines remember, from the results of reading their files."""
    from cutover import test_certificates

    return test_certificates.remembered(results)


def unread_memories(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """The machines whose test certificates could not be read, from the same results."""
    from cutover import test_certificates

    return test_certificates.unread(results)


def switched_since(workers: Sequence[Mapping[str, Any]]) -> str:
    """From when on all of these workers had been switched, by any machine's clock."""
    from cutover import plan

    return fleet.switched_since(workers, plan.load().preflight.clock_skew_seconds)


def soak_look(
    journals: Mapping[str, Any],
    number: int,
    hosts: Mapping[str, Mapping[str, Any]],
    workers: Sequence[str],
    watch: Mapping[str, float],
) -> dict[str, Any]:
    """What a soak has measured so far, [value, samples] by name, and whether it goes on."""
    from cutover import plan, soak

    table = plan.load()
    watched: dict[str, list[str]] = {}
    for worker in workers:
        watched.setdefault(hosts[worker]["machine"], []).append(hosts[worker]["worker_unit"])
    measured = soak.measure(table, journals, watched)
    state = soak.decide(table, table.steps[number], measured, soak.Watch(**watch))
    return {"measured": {name: list(value) for name, value in measured.items()}, "state": state.document()}


def soak_series(before: Mapping[str, Sequence[Any]], measured: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """The measurements of a soak over time, [time, value] by name, with those of now."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {name: [*before.get(name, ()), [now, value]] for name, (value, _) in measured.items()}


def soak_line(measured: Mapping[str, Sequence[Any]], number: int) -> str:
    """What was measured of a step's criteria and stop limits, in one line."""
    from cutover import plan

    step = plan.load().steps[number]
    return ", ".join(
        f"{name} {'nothing' if value is None else format(value, 'g')} ({samples})"
        for name, (value, samples) in measured.items()
        if name in {*step.criteria, *step.stop}
    )


def with_programs(
    journals: Mapping[str, Any], metrics: Sequence[Any], hosts: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """The journals, with what programs logged in a worker's environment counted as the worker's."""
    from cutover import soak

    return soak.with_programs(journals, metrics, hosts)


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {
            "remembered_certificates": remembered_certificates,
            "soak_line": soak_line,
            "soak_look": soak_look,
            "soak_series": soak_series,
            "switched_since": switched_since,
            "unread_memories": unread_memories,
            "with_programs": with_programs,
        }
