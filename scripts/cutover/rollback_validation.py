"""What customers get after a rollback, held against the table: the runbook's validations, and the way back.

Each look is a `check`, a `verdict` (YES, NO or NOT MEASURED) and what was `said`; NO alone ends the rollback badly.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

from cutover import fleet, rollback_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cutover.plan import Deployment, Plan
    from cutover.rollback_table import Flags

    Look = dict[str, str]
    Host = Mapping[str, Any]

__all__ = ["downloads", "journals", "proven", "resolution", "upload", "way_back", "workers_proven"]

NO, YES, NOT_MEASURED = "NO", "YES", "NOT MEASURED"
_KEYS_SHOWN = 5
_STORAGE_LINE = re.compile(r"cert\.s3\.(?P<operation>[a-z]+)\.[a-z]+")


def proven(hosts: Mapping[str, Host]) -> dict[tuple[str, str], Flags]:
    """What the processes of each worker, by machine and worker, were proven to hold by the emergency.

    A worker that was not among those rolled back, or whose processes differ, is not there.
    """
    held: dict[tuple[str, str], set[Flags]] = {}
    for host in hosts.values():
        for process in _processes(host):
            where = (str(host["inventory_hostname"]), str(process["worker"]))
            held.setdefault(where, set()).add(_flags(process))
    return {where: flags.pop() for where, flags in held.items() if len(flags) == 1}


def workers_proven(hosts: Mapping[str, Host], workers: Sequence[str]) -> list[str]:
    """Those of the inventory's workers whose processes were proven by the emergency."""
    held = proven(hosts)
    return [
        worker
        for worker in workers
        if (hosts[worker]["machine"], fleet.worker_of(hosts[worker]["worker_unit"])) in held
    ]


def downloads(document: Mapping[str, Any]) -> Look:
    """Whether the site serves certificates, from the document of `cutover downloads`."""
    kinds = [document[kind] for kind in ("migrated", "unmigrated")]
    asked, equal = (sum(kind[name] for kind in kinds) for name in ("asked", "equal"))
    failures = [f"certificate {each['certificate_id']}: {each['detail']}" for each in document["failures"]]
    if failures:
        verdict, said = NO, f"{len(failures)} of {asked} downloads failed: {'; '.join(failures[:3])}"
    elif not asked:
        verdict, said = NOT_MEASURED, "the table has no certificate that could be downloaded"
    else:
        verdict, said = YES, f"{equal} of {asked} downloads through the site have the bytes that were issued"
    return {"check": "downloads", "verdict": verdict, "said": said}


def upload(plan: Plan, worker: Sequence[Mapping[str, Any]], copies: Sequence[Mapping[str, Any]]) -> Look:
    """Whether a new certificate's files are where the worker's flags say, from the document of `cutover compare`.

    Args:
        plan: ops/cutover.yml.
        worker: the processes of the worker that saved it.
        copies: both copies of each file.
    """
    state = rollback_table.state_of(plan, _flags(worker[0]))
    to_s3 = bool(worker[0]["dual_write"])
    wrong = [
        each["key"]
        for each in copies
        if each["local"] is None or (each["downloaded"] is not None) != to_s3 or (to_s3 and not each["equal"])
    ]
    if not copies:
        return {"check": "upload", "verdict": NOT_MEASURED, "said": "no file was saved"}
    said = (
        f"{state.name}: new uploads go to {state.writes}; {len(copies) - len(wrong)} of {len(copies)} files are there"
    )
    if wrong:
        said += f", not so: {', '.join(wrong)}"
    return {"check": "upload", "verdict": NO if wrong else YES, "said": said}


def journals(plan: Plan, documents: Mapping[str, Any], held: Mapping[tuple[str, str], Flags]) -> Look:
    """Whether a worker's METRIC lines name an operation on S3 that its flags forbid.

    Args:
        plan: ops/cutover.yml.
        documents: of `cutover journal`, by machine.
        held: the flags of each worker, by machine and worker.
    """
    wrong, lines, workers = [], 0, 0
    for machine, document in documents.items():
        for unit, counted in document["units"].items():
            flags = held.get((machine, fleet.worker_of(unit)))
            if flags is None:
                continue
            workers += 1
            allowed = rollback_table.expected(plan, flags).operations
            for name, count in sorted(counted["metrics"].items()):
                found = _STORAGE_LINE.fullmatch(name) if count else None
                lines += bool(found)
                if found and found["operation"] not in allowed:
                    wrong.append(f"{machine} {fleet.worker_of(unit)}: {count} x {name}")
    if wrong:
        return {"check": "journals", "verdict": NO, "said": f"lines of S3 that must not be: {'; '.join(wrong)}"}
    if not workers:
        return {"check": "journals", "verdict": NOT_MEASURED, "said": "no worker's journal was counted"}
    said = f"{workers} workers logged no operation on S3 that their flags forbid ({lines} kinds of allowed lines)"
    return {"check": "journals", "verdict": YES, "said": said}


def way_back(plan: Plan, hosts: Sequence[Host], scenario: str, deployment: Deployment) -> list[str]:
    """What to run next, a sentence each: first what the scenario asks for, then the step that goes on from here.

    Args:
        plan: ops/cutover.yml.
        hosts: the deployment's machines, with the emergency's answers.
        scenario: the emergency's.
        deployment: where it was.
    """
    held = {_flags(process) for host in hosts for process in _processes(host)}
    rolled_back = plan.scenarios[scenario]
    if len(held) != 1:
        return [f"the workers of {deployment} are in {len(held)} states: ansible-playbook fleet-status.yml"]
    (flags,) = held
    state, step = rollback_table.state_of(plan, flags), rollback_table.resuming_step(plan, deployment, flags)
    sentences = [
        f"{deployment} is in state {state.name}: new uploads go to {state.writes}, reads come from {state.reads}"
    ]
    if rolled_back.needs_audit:
        sentences.append(
            f"before any step: ansible-playbook integrity-audit.yml -e deployment={deployment}, until PASS"
        )
    if step is not None and flags not in rollback_table.starts_from(plan, step):
        first = f"ansible-playbook emergency-rollback.yml -e deployment={deployment}"
        sentences.append(f"no step starts from these flags, which somebody set by hand: {first}")
    elif step is not None:
        sentences.append(f"once the cause is gone: ansible-playbook go-live-step{step}.yml")
    return sentences


def resolution(audit: Mapping[str, Any] | None, deployment: str, data_host: str, environment_file: str) -> list[str]:
    """The runbook's resolution of an inconsistency (scenario 3), step by step, as commands.

    Args:
        audit: the document of `cutover audit`, if there is one: its keys are named, and they alone are repaired.
        deployment: where it was.
        data_host: on which the data tools run.
        environment_file: of the application there.
    """
    found = audit or {}
    keys = [*found.get("missing", []), *found.get("unmarked_present", [])]
    keys += [each["key"] for each in found.get("different", [])]
    shown = list(dict.fromkeys(keys))[:_KEYS_SHOWN] or ["KEY"]
    look = f"sudo -u www-data cutover repair --env-file {environment_file}"
    # The flag stays off in the file, so that no backfill starts; this one command alone may upload.
    enabled = f"'set -a; . {environment_file}; CERT_S3_BACKFILL_ENABLED=true exec cutover repair --key \"$1\"' sh"
    orphans = len(found.get("orphaned", []))
    orphaned = f"; {orphans} orphaned objects belong to no row: look before one is removed" if orphans else ""
    return [
        f"1. find the cause, on {data_host}: journalctl -u deltacrown-backfill -u deltacrown-sweep; and the witnesses:",
        *(f"   {look} --dry-run --key {shlex.quote(key)}" for key in shown),
        f"2. repair the affected files only ({len(set(keys)) or 'those that the audit names'}{orphaned}):",
        *(f"   sudo -u www-data sh -c {enabled} {shlex.quote(key)}" for key in shown),
        f"3. audit every file: ansible-playbook integrity-audit.yml -e deployment={deployment}",
        "4. only after its PASS a step turns flags on again; until then each one refuses",
    ]


def _processes(host: Host) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = fleet.machine_report(host.get("emergency_result", {}).get("stdout", ""))[
        "processes"
    ]
    return [process for process in found if process["proven"]]


def _flags(process: Mapping[str, Any]) -> Flags:
    return (bool(process["dual_write"]), bool(process["read_primary"]), bool(process["backfill"]))
