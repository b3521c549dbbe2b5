"""The package `cutover` in playbooks' words; each filter is a thin call.

Ansible loads this file before the first task of every playbook. What takes time to import is imported where it is used,
so that an emergency does not wait for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleFilterError

try:
    from cutover import fleet
except ImportError as error:
    raise AnsibleFilterError(
        "the package `cutover` is not importable by this Ansible: run `make setup`, then `. .venv/bin/activate`"
    ) from error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def cutover_step(number: int) -> dict[str, Any]:
    """A step of ops/cutover.yml, with `from_flags` and `to_flags` as the machine script takes them."""
    from cutover import plan

    try:
        table = plan.load()
    except plan.PlanError as error:
        raise AnsibleFilterError(str(error)) from error
    step = table.steps[number]
    return {
        "number": number,
        "title": step.title,
        "deployment": step.deployment,
        "from": step.from_mode,
        "to": step.to_mode,
        "from_flags": fleet.triple(table.modes[step.from_mode].flags),
        "to_flags": fleet.triple(table.modes[step.to_mode].flags),
        "batches": step.batches,
    }


def gate_step(measured: Mapping[str, Sequence[Any]], number: int) -> dict[str, Any]:
    """Verdict and reasons of a step's criteria; `measured` holds [value, samples] by criterion."""
    from cutover import gates, plan

    results = gates.evaluate(
        plan.load().steps[number].criteria, {name: (value, samples) for name, (value, samples) in measured.items()}
    )
    return {
        "verdict": gates.overall(results).name,
        "reasons": [str(result) for result in results],
        "failures": [str(result) for result in results if result.verdict is not gates.Verdict.PASS],
    }


def rollback_objective_seconds(_scenario: str) -> int:
    """The time that an emergency rollback may take; the runbook has one for all scenarios."""
    from cutover import plan

    return plan.load().rollback.objective_seconds


def data_tool_interval_seconds(tool: str) -> int:
    """How long after its last start the timer of `sweep` or `check` starts it again, in seconds, by ops/cutover.yml."""
    from cutover import plan

    tools = plan.load().data_tools
    return {"sweep": tools.sweep.interval_seconds, "check": tools.check.interval_hours * 3600}[tool]


def journal_counts(result: Mapping[str, Any], units: Sequence[str], mark: str) -> dict[str, dict[str, Any]]:
    """Metric counts and server errors by unit since the mark, from the result of a `journalctl -o json` task."""
    from cutover import telemetry

    try:
        if result.get("unreachable"):
            raise telemetry.TelemetryError(f"{result.get('item')} cannot be reached")
        counts = telemetry.count_journal(telemetry.since_mark(result["stdout"].splitlines(), mark), units)
    except telemetry.TelemetryError as error:
        raise AnsibleFilterError(f"ERROR, could not measure: {error}") from error
    return {
        unit: {
            "metrics": dict(worker.metrics),
            "server_errors": worker.server_errors,
            "first_complaint": worker.first_complaint,
        }
        for unit, worker in counts.items()
    }


def environment_file_problem(text: str) -> str:
    """What makes an environment file unusable; empty if nothing does."""
    from cutover import hosts

    return hosts.environment_file_problem(text)


def uwsgi_problem(ini: str) -> str:
    """What in uWSGI's settings hides flags or fails requests; empty if nothing does."""
    from cutover import hosts

    return hosts.uwsgi_problem(ini)


def extract_or_zero(counts: Mapping[str, int], name: str) -> int:
    """A counter's value; a metric that nobody logged counts zero."""
    return counts.get(name, 0)


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {
            "cutover_step": cutover_step,
            "data_tool_interval_seconds": data_tool_interval_seconds,
            "environment_file_problem": environment_file_problem,
            "extract_or_zero": extract_or_zero,
            "flags_proven": fleet.flags_proven,
            "gate_step": gate_step,
            "inventory_problem": fleet.inventory_problem,
            "journal_counts": journal_counts,
            "machine_report": fleet.machine_report,
            "not_returned": fleet.not_returned,
            "processes_not_holding": fleet.processes_not_holding,
            "rollback_objective_seconds": rollback_objective_seconds,
            "rollback_report": fleet.rollback_report,
            "seconds_since_start_of": fleet.seconds_since_start_of,
            "units_on": fleet.units_on,
            "uwsgi_problem": uwsgi_problem,
            "unknown_workers": fleet.unknown_workers,
            "worker_of": fleet.worker_of,
            "workers_on": fleet.workers_on,
            "workers_to_return": fleet.workers_to_return,
        }
