"""The evidence of a step as the playbook's variables have it, before anything is measured."""

from __future__ import annotations

import getpass
import json
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cutover import fleet, plan, tool_result
from cutover.evidence import soak_days

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["of", "of_day", "of_rollback", "pages"]


def of(
    step: Mapping[str, Any],
    hosts: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Sequence[str]],
    inventory: Sequence[str],
) -> dict[str, Any]:
    """Who runs the step, approved by whom, from which commit and inventory, with which settings, since when.

    Args:
        step: as the filter `cutover_step` gives it.
        hosts: the inventory's hosts with their variables and facts; `localhost` holds the step's identity.
        groups: the inventory's groups.
        inventory: its files.
    """
    control, deployment = hosts["localhost"], step["deployment"]
    data_host = hosts[groups[f"{deployment}_data_host"][0]]
    return {
        "kind": "step",
        "step": step["number"],
        "deployment": deployment,
        "who": f"{control['step_identity']['holder']}@{control['step_identity']['host']}",
        "approver": data_host.get("approver", ""),
        "commit": control["step_commit"],
        "inventory": [str(source) for source in inventory],
        "started_at": control["step_identity"]["start"],
        "ended_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "settings": {"time_scale": data_host.get("time_scale", 1), "step": step["table"]},
        "cursors": {
            name: hosts[name]["telemetry_cursor"]
            for name in groups[f"{deployment}_machines"]
            if "telemetry_cursor" in hosts[name]
        },
        "timeline": [
            {"at": hosts[name]["rolling_flip_at"], "worker": name, "mode": step["to"]}
            for name in groups[f"{deployment}_workers"]
            if "rolling_flip_at" in hosts[name]
        ],
    }


def pages(result: Mapping[str, Any], host: str) -> dict[str, Any]:
    """What a record says of the pages that were sent meanwhile: `pages`, or `pages_unknown` and why.

    Args:
        result: of Ansible's task that ran `cutover alarms pages`; where it was skipped, the record says nothing.
        host: where it ran.
    """
    if result.get("skipped"):
        return {}
    problem = tool_result.problem(result, "cutover alarms pages", host, [0])
    if problem:
        return {"pages_unknown": problem}
    return {"pages": json.loads(result["stdout"])["pages"]}


def of_day(
    table: plan.Plan, gate: Mapping[str, Any], documents: Mapping[str, Any], started: datetime
) -> dict[str, Any]:
    """The evidence of a daily check of step 9; a playbook that runs it adds who approved it, and from which commit.

    Args:
        table: whose step 9 names the deployment.
        gate: the verdict, as `gates.judge` gives it.
        documents: what was found and counted, kept whole.
        started: when the check began.
    """
    return {
        "kind": "daily",
        "step": soak_days.STEP,
        "deployment": table.steps[soak_days.STEP].deployment,
        "who": f"{getpass.getuser()}@{socket.gethostname()}",
        "started_at": f"{started:%Y-%m-%dT%H:%M:%SZ}",
        "ended_at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "verdict": gate["verdict"],
        "message": "; ".join(gate["reasons"]),
        "criteria": gate["criteria"],
        **documents,
    }


def of_rollback(machines: Sequence[Mapping[str, Any]], what: Mapping[str, Any]) -> dict[str, Any]:
    """What an emergency or a drill did: its clock, the machines' answers, and the verdict.

    Args:
        machines: their variables, with the answer of the machine script.
        what: kind, deployment, scenario, and the seconds from keypress to proof; of a drill also what it measured, the
            further `criteria`, and why it failed after that proof (`failure`, empty if it did not).
    """
    report = fleet.rollback_report(machines)
    seconds, objective = float(what["seconds"]), plan.load().rollback.objective_seconds
    proven = bool(report["proven"]) and not report["failed"]
    failure, further = str(what.get("failure", "")), what.get("criteria", [])
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        **{key: value for key, value in what.items() if key != "failure"},
        "seconds": seconds,
        "mode": next((str(machine["drill_from"]) for machine in machines if "drill_from" in machine), ""),
        "who": f"{getpass.getuser()}@{socket.gethostname()}",
        "ended_at": now,
        "verdict": "PASS" if proven and seconds <= objective and not failure else "FAIL",
        "message": "; ".join([*filter(None, [failure]), *report["lines"], *report["failed"]]),
        "criteria": [
            {
                "criterion": "seconds_to_proof",
                "wanted": f"at most {objective}",
                "measured": seconds,
                "samples": report["proven"],
                "verdict": "PASS" if proven and seconds <= objective else "FAIL",
            },
            *further,
        ],
    }
