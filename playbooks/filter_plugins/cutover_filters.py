"""The package `cutover` in playbooks' words; each filter is a thin call.

Ansible loads this file before the first task of every playbook. What takes time to import is imported where it is used,
so that an emergency does not wait for it.
"""

from __future__ import annotations

import datetime
import hashlib
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

    from cutover.plan import Deployment

_MUST_BE_KNOWN = "permission s3:"  # of the doctor's checks; others may be readable to the read-only role alone
_PROBLEMS_TOLD = 3  # in a verdict's sentence; the evidence has them all


def cutover_step(number: int) -> dict[str, Any]:
    """A step of ops/cutover.yml, with `from_flags` and `to_flags` as the machine script takes them."""
    from cutover import plan, rollback_table

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
        "starts_from": [fleet.joined(flags) for flags in rollback_table.starts_from(table, number)],
        "to_reads_s3": table.modes[step.to_mode].read_primary,
        "turns_on": rollback_table.turns_on(table, number),
        "batches": step.batches,
        "marks": step.marks_rows,
        "soak": table.soak.model_dump(mode="json"),
        "retirement": table.data_tools.retirement.model_dump(mode="json"),
        "metrics": table.metrics,
        "table": step.model_dump(mode="json", by_alias=True, exclude_none=True),
    }


def gate_step(measured: Mapping[str, Sequence[Any]], number: int, *, partly: bool = False) -> dict[str, Any]:
    """Verdict and reasons of a step's criteria; `measured` holds [value, samples] by criterion.

    `partly`: those criteria alone that were measured, before all of them can be.
    """
    from cutover import gates, plan

    return gates.judge(plan.load(), number, measured, partly=partly)


def approval_problem(given: str, deployment: str, certificates: int) -> str:
    """Why no local copy may be put aside by this phrase; empty if it may."""
    from cutover.retirement import approval

    return approval.problem(given, deployment, certificates)


def approved(given: str, deployment: str) -> int:
    """How many certificates the phrase approves."""
    from cutover.retirement import approval

    return approval.approved(given, deployment)


def last_verdict(records: str, number: int) -> str:
    """The verdict of a step's newest record, from `cutover evidence list --json`; empty if there is none."""
    verdicts = [record["verdict"] for record in json.loads(records or "[]") if record.get("step") == number]
    return verdicts[-1] if verdicts else ""


def machine_problem(result: Mapping[str, Any], machine: str) -> str:
    """What keeps a machine from taking part, from the result of its `cutover machine` just now; empty if nothing."""
    from cutover import plan, preflight, tool_result

    silent = tool_result.problem(result, "cutover machine", machine, [0])
    if silent:
        return f"{silent}: run ansible-playbook prepare-hosts.yml"
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


def pages_told(result: Mapping[str, Any], host: str) -> dict[str, Any]:
    """The pages that `cutover alarms pages` found, for a record; or why they are not known; nothing if not asked."""
    from cutover import step_record

    return step_record.pages(result, host)


def held_mode(report: Mapping[str, Any]) -> str:
    """The name of the mode that every process of a machine's report holds; empty if there is none."""
    from cutover import plan

    held = {fleet.held(process) for process in report["processes"]}
    return (fleet.mode_named(plan.load().modes, held.pop()) or "") if len(held) == 1 else ""


def chain_problem(directory: str) -> str:
    """The first broken link of a chain of evidence; empty if it is whole."""
    from cutover.evidence import chain

    return str(chain.read(Path(directory)).broken or "")


def without_copies(paths: Sequence[str], directory: str) -> list[str]:
    """Those of these files of which the directory on this machine has no copy yet, in the order of their names."""
    return sorted(path for path in paths if not (Path(directory) / Path(path).name).exists())


def doctor_problems(findings: Sequence[Mapping[str, Any]]) -> list[str]:
    """What `cutover doctor` found broken, a sentence each with the command to run next.

    What it could not look at counts, too, where a step does the same: an S3 that does not answer permits nothing.
    """
    return [
        f"{finding['check']}: {finding['reason']}{' (next: ' + finding['next'] + ')' if finding['next'] else ''}"
        for finding in findings
        if finding["outcome"] == "FAIL"
        or (finding["outcome"] == "UNKNOWN" and finding["check"].startswith(_MUST_BE_KNOWN))
    ]


def tool_problem(result: Mapping[str, Any], command: str, host: str, accepts: Sequence[int] = (0, 1, 3)) -> str:
    """Why a data tool gave no document to judge, as one sentence; empty if it did."""
    from cutover import tool_result

    return tool_result.problem(result, command, host, accepts)


def tool_document(text: str) -> dict[str, Any] | list[Any]:
    """The JSON document that a data tool printed."""
    from cutover import tool_result

    try:
        return tool_result.document(text)
    except ValueError as error:
        raise AnsibleFilterError(f"ERROR, could not measure: {error}") from error


def disagreements(check: Mapping[str, Any]) -> list[dict[str, str]]:
    """The keys on which `cutover check` saw table and bucket disagree, for `problems_named`."""
    from cutover import step_measures

    return step_measures.disagreements(check)


def problems_named(problems: Sequence[Mapping[str, Any]]) -> str:
    """The first few problems of a data tool's document, to stand behind a verdict; empty if there are none."""
    told = [" ".join(str(value) for value in problem.values() if value is not None) for problem in problems]
    more = f"; and {len(told) - _PROBLEMS_TOLD} more" if len(told) > _PROBLEMS_TOLD else ""
    return "".join(f"; {text}" for text in told[:_PROBLEMS_TOLD]) + more


def data_tool_interval_seconds(tool: str) -> int:
    """How long after its last start the timer of `sweep`, `check` or `daily` starts it again, in seconds."""
    from cutover import plan

    tools = plan.load().data_tools
    hours = {"check": tools.check.interval_hours, "daily": tools.daily.interval_hours}
    return {"sweep": tools.sweep.interval_seconds, **{name: each * 3600 for name, each in hours.items()}}[tool]


def watcher_health_url(deployment: Deployment) -> str:
    """Where the watcher of a deployment's automatic rollback says how it is, on the machine on which it runs."""
    from cutover import plan
    from cutover.watcher import health

    return f"http://{health.HOST}:{plan.load().auto_rollback.health_ports[deployment]}{health.PATH}"


def watcher_fingerprint(_deployment: Deployment) -> str:
    """A digest of what a watcher takes over when it starts, the table and the code: another one asks for a restart."""
    from cutover import plan

    digest = hashlib.sha256(plan.load().model_dump_json().encode())
    for source in sorted(Path(plan.__file__).parent.rglob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:12]


def up_to(items: Sequence[str], last: str) -> list[str]:
    """The items up to and with `last`."""
    return list(items[: items.index(last) + 1])


def uncounted_journals(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Which machines' journals could not be counted, and why, from the results of their `cutover journal`."""
    from cutover import tool_result

    problems = (tool_result.problem(result, "cutover journal", result["item"], [0]) for result in results)
    return [problem for problem in problems if problem]


def fallbacks_of(journals: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every fallback read that the machines' journals tell of, with its machine, in the order of time."""
    from cutover import daily_counts

    return daily_counts.fallbacks(journals)


def first_complaint(journals: Mapping[str, Any]) -> str:
    """The first warning of the storage class in any worker's journal; empty if there is none."""
    workers = (worker for journal in journals.values() for worker in journal["units"].values())
    return next(filter(None, (worker["first_complaint"] for worker in workers)), "")


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
            "approval_problem": approval_problem,
            "approved": approved,
            "approver_problem": approver_problem,
            "backup_problem": backup_problem,
            "chain_problem": chain_problem,
            "cutover_step": cutover_step,
            "data_tool_interval_seconds": data_tool_interval_seconds,
            "disagreements": disagreements,
            "doctor_problems": doctor_problems,
            "environment_file_problem": environment_file_problem,
            "extract_or_zero": extract_or_zero,
            "flags_proven": fleet.flags_proven,
            "fallbacks_of": fallbacks_of,
            "first_complaint": first_complaint,
            "gate_step": gate_step,
            "data_hosts": fleet.data_hosts,
            "held_mode": held_mode,
            "inventory_problem": fleet.inventory_problem,
            "last_verdict": last_verdict,
            "machine_problem": machine_problem,
            "machine_report": fleet.machine_report,
            "measures": measures,
            "pages_told": pages_told,
            "problems_named": problems_named,
            "not_returned": fleet.not_returned,
            "processes_not_holding": fleet.processes_not_holding,
            "seconds_since_start_of": fleet.seconds_since_start_of,
            "step_record": step_record,
            "strays": fleet.strays,
            "superseded": fleet.superseded,
            "tool_document": tool_document,
            "tool_problem": tool_problem,
            "tools_problem": tools_problem,
            "uncounted_journals": uncounted_journals,
            "units_on": fleet.units_on,
            "up_to": up_to,
            "uwsgi_problem": uwsgi_problem,
            "unknown_workers": fleet.unknown_workers,
            "watcher_fingerprint": watcher_fingerprint,
            "watcher_health_url": watcher_health_url,
            "without_copies": without_copies,
            "worker_of": fleet.worker_of,
            "workers_on": fleet.workers_on,
            "workers_to_return": fleet.workers_to_return,
        }
