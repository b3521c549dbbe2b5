"""Whom an emergency fences, what it says of it, and the mark that it leaves; from a playbook's variables.

The fence itself is made by the load balancer's drain command and by `cutover fence`; here is who is meant by it.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from cutover import fleet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["choice", "mark", "offer", "outcome", "problem_of_order", "rollback_command", "unfence_choice"]

Standing = Literal["proven", "unproven", "unreachable"]


def problem_of_order(order: Mapping[str, Any], machines: Sequence[str]) -> str:
    """Why nobody may be fenced by this order, before anything was done; empty if nothing speaks against it.

    Args:
        order: fence, fence_machines, deployment, drill and limit_workers as the command line gives them.
        machines: those of the deployment.
    """
    fence, named = order["fence"], _names(order["fence_machines"])
    strangers = [name for name in named if name not in machines]
    refusals = {
        f"fence is {json.dumps(fence)}: give machine or role": fence not in {"", "machine", "role"},
        "fence_machines names machines and no fence: give -e fence=machine with it": bool(named) and fence != "machine",
        f"fence_machines names {', '.join(strangers)}, no machine of {order['deployment']}: correct it": strangers,
        "a fence is of one deployment: give -e deployment=staging or production": fence
        and order["deployment"] == "all",
        "a fence is for whole machines after a whole rollback: leave limit_workers out": fence
        and order["limit_workers"],
        "a drill fences nobody: leave out drill or fence": fence and order["drill"],
    }
    return next((sentence for sentence, holds in refusals.items() if holds), "")


def choice(hosts: Mapping[str, Mapping[str, Any]], machines: Sequence[str], order: Mapping[str, Any]) -> dict[str, Any]:
    """Whom this order fences after the rollback: `problem` (empty: it may be done), `machines`, `marked`.

    `machines` are taken out of the load balancer and denied S3; `marked` are those that can be told of it.

    Args:
        hosts: the inventory's hosts with their variables, and the machines' answers to the rollback.
        machines: those of the deployment.
        order: fence and fence_machines.
    """
    standing = {machine: _standing(hosts[machine]) for machine in machines}
    unreachable = [machine for machine in machines if standing[machine] == "unreachable"]
    fenced = (_names(order["fence_machines"]) or unreachable) if order["fence"] == "machine" else []
    loose = [name for name in machines if standing[name] == "unproven" and name not in fenced]
    problem = ""
    if loose:
        name_them = ",".join(dict.fromkeys([*fenced, *unreachable, *loose]))
        problem = (
            f"{', '.join(loose)} can be reached and is not proven, and the rollback comes before a fence: correct that "
            f"and run the same command again; or fence it, too: -e fence=machine -e fence_machines={name_them}"
        )
    elif order["fence"] == "machine" and not fenced:
        problem = "every machine is proven, so there is none to fence; name one with -e fence_machines=…"
    elif order["fence"] == "machine" and set(fenced) == set(machines):
        problem = (
            f"{', '.join(fenced)} is every machine of the deployment, and without them nobody serves customers: "
            "-e fence=role denies S3 and leaves the load balancer alone"
        )
    marked = [machine for machine in machines if standing[machine] != "unreachable"]
    return {"problem": problem, "machines": [] if problem else fenced, "marked": marked}


def rollback_command(deployment: str, scenario: str, accepted: int) -> str:
    """What runs this rollback again; without the number of files accepted as unreadable it would be refused."""
    command = f"ansible-playbook emergency-rollback.yml -e deployment={deployment} -e scenario={scenario}"
    return f"{command} -e accept_unreadable={accepted}" if accepted else command


def offer(hosts: Mapping[str, Mapping[str, Any]], machines: Sequence[str], command: str) -> str:
    """The fence that may follow a rollback which did not reach everybody, as a sentence; empty if none may.

    Args:
        hosts: as in `choice`.
        machines: those of one deployment.
        command: what runs this rollback.
    """
    standing = {machine: _standing(hosts[machine]) for machine in machines}
    lost = [machine for machine in machines if standing[machine] == "unreachable"]
    if not lost or "unproven" in standing.values():
        return ""
    if len(lost) == len(machines):
        return f". Nobody can be reached; to deny S3 to all workers of it: {command} -e fence=role"
    return (
        f". {', '.join(lost)} may come back with the old flags; to keep it from customers and from S3 until it is "
        f"proven: {command} -e fence=machine"
    )


def mark(texts: Sequence[str], new: Mapping[str, Any], deployment: str) -> str:
    """The mark of a fence, one line of JSON: what is fenced since when by whom, and how it ends.

    Args:
        texts: the marks that lie on the machines; what they fence stays fenced.
        new: machines (the AWS session of each by its name), role, s3_denied, by.
        deployment: whose machines they are.
    """
    old = [_read(text) for text in texts]
    machines: dict[str, str] = {}
    for each in [*old, new]:
        machines |= each.get("machines", {})
    found = {
        "machines": machines,
        "role": any(each.get("role", False) for each in [*old, new]),
        "s3_denied": new["s3_denied"] and all(each.get("s3_denied", True) or _covers(new, each) for each in old),
        "since": min([each["since"] for each in old if "since" in each] + [_now()]),
        "by": new["by"],
        "unfence": f"ansible-playbook unfence.yml -e deployment={deployment}",
    }
    return json.dumps(found)


def _covers(new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """Whether a fence denies S3 to all whom an older one meant: it was set again once AWS answered."""
    return bool(new["role"]) or (not old.get("role") and set(old.get("machines", {})) <= set(new["machines"]))


def outcome(
    hosts: Mapping[str, Mapping[str, Any]], chosen: Mapping[str, Any], results: Mapping[str, Any], deployment: str
) -> dict[str, list[str]]:
    """How the fence ended: `lines` for whoever watches, and of these the `problems`, which ask for an act.

    Args:
        hosts: the inventory's hosts with their variables.
        chosen: what `choice` found, and the role: whether the whole role was meant.
        results: of the tasks: drained, marked (loops over machines), denied; drain_broke_off says why none was drained.
        deployment: whose machines they are.
    """
    lines: list[str] = []
    problems: list[str] = []
    for machine in chosen["machines"]:
        why = results.get("drain_broke_off") or _why_not_drained(machine, results["drained"])
        (problems if why else lines).append(
            f"{machine} is NOT out of the load balancer ({why}): take it out by hand"
            if why
            else f"{machine} is out of the load balancer"
        )
    lacking = [machine for machine in chosen["machines"] if not hosts[machine].get("aws_session_name")]
    if lacking:
        problems.append(
            f"S3 is NOT denied to {', '.join(lacking)}: the inventory has no aws_session_name there (on EC2 the "
            "instance's id)"
        )
    denied = results["denied"]
    if denied.get("rc") == 0:
        told = json.loads(denied["stdout"])
        to = [f"every session of {told['role']}"] * told["whole_role"] + told["sessions"]
        lines.append(f"S3 is denied to {', '.join(to)}; AWS may take some seconds until it is so everywhere")
    elif not denied.get("skipped"):
        said = (denied.get("stderr") or denied.get("msg") or "nothing").strip().splitlines() or ["nothing"]
        problems.append(f"S3 is NOT denied: {said[-1]}. Once AWS answers: {' '.join(chosen['command'])}")
    unmarked = [each["item"] for each in results["marked"] if "state" not in each]  # what a file that was written has
    if unmarked or not results["marked"]:
        where = ", ".join(unmarked) or "any machine"
        problems.append(f"no mark could be left on {where}: nothing there refuses a step")
    lines.append(f"the way back, once all machines answer: ansible-playbook unfence.yml -e deployment={deployment}")
    return {"lines": problems + lines, "problems": problems}


def unfence_choice(
    hosts: Mapping[str, Mapping[str, Any]],
    statuses: Sequence[Mapping[str, Any]],
    texts: Mapping[str, str],
    denied: Mapping[str, Any],
    named: str,
) -> dict[str, Any]:
    """What may be unfenced: `problem` (empty: it may be done), `machines`, `sessions`, `role`, and what `remains`.

    A machine comes back only if its processes hold what those of all other machines hold, and the role only if all do.

    Args:
        hosts: the inventory's hosts with their variables.
        statuses: results of the machine script's --status, of every machine (`item`) of the deployment.
        texts: the mark of each machine that has one.
        denied: sessions and whole_role, as AWS says; empty if it was not asked. A mark may be lost, and somebody may
            have fenced by hand.
        named: machines with commas, whose fence ends; empty for all of the fence.
    """
    marks = [_read(text) for text in texts.values()]
    reports = {each["item"]: each for each in statuses}
    fenced = _fenced(hosts, list(reports), marks, denied.get("sessions", ()))
    role = denied.get("whole_role", False) or any(each.get("role", False) for each in marks)
    wanted = _names(named) or list(fenced)
    strangers = [name for name in wanted if name not in fenced]
    back = [name for name in wanted if name in reports]
    unreadable = [machine for machine, text in texts.items() if not _read(text)]
    if unreadable:
        where = ", ".join(unreadable)
        problem = f"the mark on {where} cannot be read: copy /etc/deltacrown/fenced there from another machine"
    elif strangers:
        problem = f"{', '.join(strangers)} is not fenced; fenced: {', '.join(fenced) or 'no machine'}"
    else:
        others = [report for name, report in reports.items() if name not in fenced]
        problem = _unlike([*reports] if role and not named else back, reports, others, hosts)
    remaining = {name: session for name, session in fenced.items() if name not in wanted}
    last = marks[-1] if marks else {}
    return {
        "problem": problem,
        "machines": back,
        "sessions": sorted({fenced[name] for name in wanted if name in fenced} - {""}),
        "role": role and not named,
        "remains": json.dumps({**last, "machines": remaining, "role": role}) if named and (remaining or role) else "",
    }


def _fenced(
    hosts: Mapping[str, Mapping[str, Any]],
    machines: Sequence[str],
    marks: Sequence[Mapping[str, Any]],
    sessions: Sequence[str],
) -> dict[str, str]:
    """The sessions of fenced machines by their names; a session that no machine has stands for itself."""
    found: dict[str, str] = {}
    for each in marks:
        found |= each.get("machines", {})
    names = {hosts[machine].get("aws_session_name"): machine for machine in machines}
    return found | {names.get(each, each): each for each in sessions if each not in found.values()}


def _unlike(
    back: Sequence[str],
    reports: Mapping[str, Mapping[str, Any]],
    others: Sequence[Mapping[str, Any]],
    hosts: Mapping[str, Mapping[str, Any]],
) -> str:
    """Why these machines are not proven to hold what all others hold; empty if they are."""
    if not back:
        return ""
    flags = {fleet.held(process) for each in others for process in _report(each)["processes"]}
    if len(flags) != 1:
        held = " and ".join(sorted(flags)) or "nothing that could be read"
        return f"the machines that are not fenced hold {held}, not one and the same"
    wanted = next(iter(flags))
    problem = "; ".join(fleet.not_returned([reports[name] for name in back], hosts, wanted))
    return f"{problem}; the other machines hold {wanted} (dual write, read primary, backfill)" if problem else ""


def _report(result: Mapping[str, Any]) -> dict[str, Any]:
    return fleet.machine_report(result.get("stdout", ""))


def _standing(variables: Mapping[str, Any]) -> Standing:
    """How a machine stands after the rollback, by its own answer."""
    result = variables.get("emergency_result", {"unreachable": True})
    if result.get("unreachable"):
        return "unreachable"
    report = _report(result)
    proven = report["done"] and report["processes"] and all(process["proven"] for process in report["processes"])
    return "proven" if proven else "unproven"


def _why_not_drained(machine: str, results: Sequence[Mapping[str, Any]]) -> str:
    own = [each for each in results if each["item"][0] == machine]
    for each in own:
        if each.get("skipped"):
            return "the inventory has no drain_command, or one that names an undefined variable"
        if each.get("unreachable") or each.get("rc") != 0:
            said = f"{each.get('stdout', '')}\n{each.get('stderr', '')}".strip().splitlines()
            return f"{each['item'][1]}: {said[-1].strip() if said else 'it cannot be reached'}"
    return "" if own else "the inventory's group load_balancer is empty"


def _read(text: str) -> dict[str, Any]:
    """A mark as its author wrote it; empty if it cannot be read, for what it fenced is then not known."""
    try:
        return dict(json.loads(text))
    except (ValueError, TypeError):
        return {}


def _names(text: str) -> list[str]:
    return list(dict.fromkeys(name.strip() for name in str(text).split(",") if name.strip()))


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
