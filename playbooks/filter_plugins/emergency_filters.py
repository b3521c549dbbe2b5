"""The words of an emergency, its fence and its validation; see cutover_filters.py for what a filter is here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cutover import fleet, unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cutover.plan import Deployment


def rollback_record(
    hosts: Mapping[str, Mapping[str, Any]], machines: Sequence[str], what: Mapping[str, Any]
) -> dict[str, Any]:
    """The evidence of an emergency or a drill on these machines; `what` holds kind, deployment, scenario, seconds."""
    from cutover import step_record

    return step_record.of_rollback([hosts[machine] for machine in machines], what)


def fence_problem(order: Mapping[str, Any], machines: Sequence[str]) -> str:
    """Why this order of a fence makes no sense, before anything was done; empty if it does."""
    from cutover import fence_plan

    return fence_plan.problem_of_order(order, machines)


def fence_choice(
    hosts: Mapping[str, Mapping[str, Any]], machines: Sequence[str], order: Mapping[str, Any]
) -> dict[str, Any]:
    """Whom an order fences after the rollback, or why nobody."""
    from cutover import fence_plan

    return fence_plan.choice(hosts, machines, order)


def fence_offer(
    deployment: str,
    hosts: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Sequence[str]],
    scenario: str,
    accepted: int | str,
) -> str:
    """The fence that may follow a rollback which did not reach everybody; empty if none may."""
    from cutover import fence_plan

    command = fence_plan.rollback_command(deployment, scenario, int(accepted))
    return fence_plan.offer(hosts, groups[f"{deployment}_machines"], command)


def fence_mark(results: Sequence[Mapping[str, Any]], new: Mapping[str, Any], deployment: str) -> str:
    """The mark of a fence, with what the marks on the machines (results of `cat`) say already."""
    from cutover import fence_plan

    return fence_plan.mark(list(_marks(results).values()), new, deployment)


def fence_outcome(
    hosts: Mapping[str, Mapping[str, Any]], chosen: Mapping[str, Any], results: Mapping[str, Any], deployment: str
) -> dict[str, list[str]]:
    """How a fence ended: lines, and those of them that are problems."""
    from cutover import fence_plan

    return fence_plan.outcome(hosts, chosen, results, deployment)


def unfence_choice(
    hosts: Mapping[str, Mapping[str, Any]],
    statuses: Sequence[Mapping[str, Any]],
    marks: Sequence[Mapping[str, Any]],
    shown: Mapping[str, Any],
    named: str,
) -> dict[str, Any]:
    """What may be unfenced, or why nothing; `shown` is the result of `cutover fence --show`."""
    from cutover import fence_plan

    denied = json.loads(shown["stdout"]) if shown.get("rc") == 0 else {}
    return fence_plan.unfence_choice(hosts, statuses, _marks(marks), denied, named)


def _marks(results: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {each["item"]: each["stdout"] for each in results if each.get("rc") == 0}


def rollback_objective_seconds(_scenario: str) -> int:
    """The time that an emergency rollback may take; the runbook has one for all scenarios."""
    from cutover import plan

    return plan.load().rollback.objective_seconds


def rollback_limits(_scenario: str) -> dict[str, Any]:
    """What the table says of a rollback: `validation_seconds`, `audit_seconds` and the rest of its part `rollback`."""
    from cutover import plan

    return plan.load().rollback.model_dump()


def needs_audit(scenario: str) -> bool:
    """Whether no step turns a flag on again after this scenario before an audit of every file has passed."""
    from cutover import plan

    return plan.load().scenarios[scenario].needs_audit


def unaudited_rollback(records: str, number: int) -> str:
    """Why a step may not turn flags on before an audit, from `cutover evidence list --json`; empty if it may."""
    from cutover import plan
    from cutover.evidence import requirements

    return requirements.unaudited_of(plan.load(), records, number)


def audit_record(check: Mapping[str, Any], deployment: str) -> dict[str, Any]:
    """The evidence of an audit, from the document of `cutover audit`."""
    from cutover import step_record

    return step_record.of_audit(check, deployment)


def downloads_validated(document: Mapping[str, Any]) -> dict[str, str]:
    """What `cutover downloads` says after a rollback, for its report."""
    from cutover import rollback_validation

    return rollback_validation.downloads(document)


def upload_validated(worker: Sequence[Mapping[str, Any]], copies: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Where a new certificate is, against what its worker's processes hold, for the report of a rollback."""
    from cutover import plan, rollback_validation

    return rollback_validation.upload(plan.load(), worker, copies)


def journals_validated(journals: Mapping[str, Any], hosts: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Whether workers logged what the flags that they were proven to hold forbid, for the report of a rollback."""
    from cutover import plan, rollback_validation

    return rollback_validation.journals(plan.load(), journals, rollback_validation.proven(hosts))


def workers_proven(workers: Sequence[str], hosts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Those of the inventory's workers whose processes were proven by the emergency."""
    from cutover import rollback_validation

    return rollback_validation.workers_proven(hosts, workers)


def resolution(audit: Mapping[str, Any], deployment: str, data_host: str, environment_file: str) -> list[str]:
    """The runbook's resolution of an inconsistency, as commands, for what an audit's record found."""
    from cutover import rollback_validation

    return rollback_validation.resolution(audit.get("audit"), deployment, data_host, environment_file)


def way_back(hosts: Sequence[Mapping[str, Any]], scenario: str, deployment: Deployment) -> list[str]:
    """What to run after a rollback of these machines, a sentence each."""
    from cutover import plan, rollback_validation

    return rollback_validation.way_back(plan.load(), hosts, scenario, deployment)


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {
            "audit_record": audit_record,
            "downloads_validated": downloads_validated,
            "fence_choice": fence_choice,
            "fence_mark": fence_mark,
            "fence_offer": fence_offer,
            "fence_outcome": fence_outcome,
            "fence_problem": fence_problem,
            "journals_validated": journals_validated,
            "needs_audit": needs_audit,
            "resolution": resolution,
            "rollback_limits": rollback_limits,
            "rollback_objective_seconds": rollback_objective_seconds,
            "rollback_record": rollback_record,
            "rollback_report": fleet.rollback_report,
            "unaudited_rollback": unaudited_rollback,
            "unfence_choice": unfence_choice,
            "unreadable_options": unreadable.options,
            "unreadable_problem": unreadable.problem,
            "upload_validated": upload_validated,
            "way_back": way_back,
            "workers_proven": workers_proven,
        }
