"""The package `cutover` in playbooks' words; each filter is a thin call.

Ansible loads this file before the first task of every playbook. What takes time to import is imported where it is used,
so that an emergency does not wait for it.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import time
from pathlib import Path
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

_PROBLEMS_TOLD = 3  # in a verdict's sentence; the evidence has them all


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
        "previous_deployment": table.steps[max(number - 1, 1)].deployment,
        "from": step.from_mode,
        "to": step.to_mode,
        "from_flags": fleet.triple(table.modes[step.from_mode].flags),
        "to_flags": fleet.triple(table.modes[step.to_mode].flags),
        "batches": step.batches,
        "marks": step.marks_rows,
        "table": step.model_dump(mode="json", by_alias=True, exclude_none=True),
    }


def gate_step(measured: Mapping[str, Sequence[Any]], number: int) -> dict[str, Any]:
    """Verdict and reasons of a step's criteria; `measured` holds [value, samples] by criterion."""
    from cutover import gates, plan

    table = plan.load()
    results = gates.evaluate(
        table.steps[number].criteria,
        {name: (value, samples) for name, (value, samples) in measured.items()},
        gates.sample_floors(table),
    )
    return {
        "verdict": gates.overall(results).name,
        "reasons": [str(result) for result in results],
        "failures": [str(result) for result in results if result.verdict is not gates.Verdict.PASS],
        "criteria": [dataclasses.asdict(result) | {"verdict": result.verdict.name} for result in results],
    }


def machine_problem(result: Mapping[str, Any], machine: str) -> str:
    """What keeps a machine from taking part, from the result of its `cutover machine` just now; empty if nothing."""
    from cutover import plan, preflight

    if result["rc"] != 0:
        said = result["stderr"].strip()
        return f"`cutover machine` ended with {result['rc']} ({said}): run ansible-playbook prepare-hosts.yml"
    look, limits = json.loads(result["stdout"]), plan.load().preflight
    problems = [preflight.clock_skew_problem(time.time(), {machine: look["time"]}, limits.clock_skew_seconds)]
    problems += [preflight.disk_problem(path, numbers, limits) for path, numbers in look["disks"].items()]
    return next(filter(None, problems), "")


def tools_problem(tools: Mapping[str, str]) -> str:
    """Which machines have other tools than the others; empty if all have the same."""
    from cutover import preflight

    return preflight.version_problem(tools)


def approver_problem(name: str, holder: str) -> str:
    """Why a step may not start with this approver; empty if it may."""
    from cutover import preflight

    return preflight.approver_problem(name, holder)


def backup_problem(text: str) -> str:
    """Why the named database backup does not do; empty if it does."""
    from cutover import plan, preflight

    now = datetime.datetime.now(datetime.UTC)
    return preflight.backup_problem(text, now, plan.load().preflight.database_backup_maximum_age_seconds)


def measures(documents: Mapping[str, Any], kind: str) -> dict[str, list[Any]]:
    """What the documents of the data tools say of a step's criteria: [value, samples] by criterion."""
    from cutover import step_measures

    return {name: list(measure) for name, measure in step_measures.MEASURES[kind](**documents).items()}


def step_record(
    step: Mapping[str, Any],
    hosts: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Sequence[str]],
    inventory: Sequence[str],
) -> dict[str, Any]:
    """The evidence of a step so far: who runs it with what, and which workers were switched when."""
    from cutover import step_record

    return step_record.of(step, hosts, groups, inventory)


def without_copies(paths: Sequence[str], directory: str) -> list[str]:
    """Those of these files of which the directory on this machine has no copy yet, in the order of their names."""
    return sorted(path for path in paths if not (Path(directory) / Path(path).name).exists())


def doctor_problems(findings: Sequence[Mapping[str, Any]]) -> list[str]:
    """What `cutover doctor` found broken, a sentence each with the command to run next."""
    return [
        f"{finding['check']}: {finding['reason']}{' (next: ' + finding['next'] + ')' if finding['next'] else ''}"
        for finding in findings
        if finding["outcome"] == "FAIL"
    ]


def problems_named(problems: Sequence[Mapping[str, Any]]) -> str:
    """The first few problems of a data tool's document, to stand behind a verdict; empty if there are none."""
    told = [" ".join(str(value) for value in problem.values() if value is not None) for problem in problems]
    more = f"; and {len(told) - _PROBLEMS_TOLD} more" if len(told) > _PROBLEMS_TOLD else ""
    return "".join(f"; {text}" for text in told[:_PROBLEMS_TOLD]) + more


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
            "approver_problem": approver_problem,
            "backup_problem": backup_problem,
            "cutover_step": cutover_step,
            "data_tool_interval_seconds": data_tool_interval_seconds,
            "doctor_problems": doctor_problems,
            "environment_file_problem": environment_file_problem,
            "extract_or_zero": extract_or_zero,
            "flags_proven": fleet.flags_proven,
            "gate_step": gate_step,
            "inventory_problem": fleet.inventory_problem,
            "journal_counts": journal_counts,
            "machine_problem": machine_problem,
            "machine_report": fleet.machine_report,
            "measures": measures,
            "problems_named": problems_named,
            "not_returned": fleet.not_returned,
            "processes_not_holding": fleet.processes_not_holding,
            "rollback_objective_seconds": rollback_objective_seconds,
            "rollback_report": fleet.rollback_report,
            "seconds_since_start_of": fleet.seconds_since_start_of,
            "step_record": step_record,
            "tools_problem": tools_problem,
            "units_on": fleet.units_on,
            "uwsgi_problem": uwsgi_problem,
            "unknown_workers": fleet.unknown_workers,
            "without_copies": without_copies,
            "worker_of": fleet.worker_of,
            "workers_on": fleet.workers_on,
            "workers_to_return": fleet.workers_to_return,
        }
