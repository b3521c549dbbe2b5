"""The fleet as the inventory names it, and what its machines' script says of their processes."""

from __future__ import annotations

import json
import os
import re
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cutover.plan import FlagName, Mode

__all__ = [
    "data_hosts",
    "flags_proven",
    "held",
    "inventory_problem",
    "joined",
    "machine_report",
    "mode_named",
    "not_returned",
    "processes_not_holding",
    "rollback_report",
    "seconds_since_start_of",
    "strays",
    "superseded",
    "switched_since",
    "triple",
    "units_on",
    "unknown_workers",
    "worker_of",
    "workers_on",
    "workers_to_return",
]


_UNIT = re.compile(r"deltacrown-uwsgi@(?P<worker>[^/@]+)\.service")


def worker_of(unit: str) -> str:
    """The worker's name on its machine, from its unit's name.

    Raises:
        ValueError: the unit is no instance of deltacrown-uwsgi@.service.
    """
    found = _UNIT.fullmatch(unit)
    if not found:
        raise ValueError(f"worker_unit {unit!r} is no deltacrown-uwsgi@<worker>.service: correct it in the inventory")
    return found["worker"]


def workers_on(hosts: Mapping[str, Mapping[str, Any]], machine: str, limit: str = "") -> list[str]:
    """The names of a machine's workers, of those only that `limit` lists if it lists any.

    Args:
        hosts: the inventory's hosts with their variables.
        machine: the machine's name.
        limit: names with commas, either the worker's on its machine or the inventory's; empty for all.
    """
    wanted = {name.strip() for name in limit.split(",") if name.strip()}
    found = []
    for host, variables in hosts.items():
        if variables.get("worker_unit") and variables.get("machine") == machine:
            worker = worker_of(variables["worker_unit"])
            if not wanted or {host, worker} & wanted:
                found.append(worker)
    return found


def units_on(hosts: Mapping[str, Mapping[str, Any]], machine: str) -> list[str]:
    """The units of a machine's workers."""
    return [f"deltacrown-uwsgi@{worker}.service" for worker in workers_on(hosts, machine)]


def data_hosts(deployments: Iterable[str], groups: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The data host of each of these deployments; one that has none in the inventory is left out."""
    listed = {deployment: groups.get(f"{deployment}_data_host") for deployment in deployments}
    return {deployment: hosts[0] for deployment, hosts in listed.items() if hosts}


def unknown_workers(hosts: Mapping[str, Mapping[str, Any]], machines: Sequence[str], limit: str) -> list[str]:
    """The names in `limit` that no worker of these machines has."""
    wanted = [name.strip() for name in limit.split(",") if name.strip()]
    return [name for name in wanted if not any(workers_on(hosts, machine, name) for machine in machines)]


def triple(flags: Mapping[FlagName, bool]) -> str:
    """The flags as the machine script takes them: dual write, read primary, backfill."""
    return joined(flags.values())


def joined(values: Iterable[bool]) -> str:
    """The same of the three values in this order."""
    return ",".join(str(value).lower() for value in values)


def mode_named(modes: Mapping[str, Mode], flags: str) -> str | None:
    """The name of the mode with this triple, as the machine script takes it; None if it is no mode's."""
    return next((name for name, mode in modes.items() if triple(mode.flags) == flags), None)


def inventory_problem(
    groups: Mapping[str, Sequence[str]], hosts: Mapping[str, Mapping[str, Any]], deployment: str
) -> str:
    """The first thing that is wrong with a deployment's part of the inventory, as one sentence; empty if nothing is."""
    workers, machines = groups.get(f"{deployment}_workers", []), groups.get(f"{deployment}_machines", [])
    if not machines:
        return f"the inventory's group {deployment}_machines is empty or absent: list the deployment's machines there"
    if not workers:
        return f"the inventory's group {deployment}_workers is empty or absent: list the deployment's workers there"
    for worker in workers:
        problem = _worker_problem(worker, hosts[worker], f"{deployment}_machines", machines)
        if problem:
            return problem
    units = [(hosts[worker]["machine"], hosts[worker]["worker_unit"]) for worker in workers]
    for unit in units:
        if units.count(unit) > 1:
            return f"two workers of the inventory are {unit[1]} on {unit[0]}: remove one"
    idle = set(machines) - {hosts[worker]["machine"] for worker in workers}
    if idle:
        return f"machine {min(idle)} is in {deployment}_machines and has no worker: add its workers or remove it"
    return ""


def _worker_problem(worker: str, variables: Mapping[str, Any], group: str, machines: Sequence[str]) -> str:
    for name in ("ansible_host", "machine", "worker_unit"):
        if not variables.get(name):
            return f"worker {worker} has no {name} in the inventory: add it beside the worker"
    unit, machine = variables["worker_unit"], variables["machine"]
    if not _UNIT.fullmatch(unit):
        return f"worker {worker} has worker_unit {unit}: write deltacrown-uwsgi@<worker>.service"
    if machine not in machines:
        return f"worker {worker} is on machine {machine}, which is not in {group}: add it there or correct the worker"
    return ""


def machine_report(output: str) -> dict[str, Any]:
    """What the machine script printed: `processes`, one entry each, and the keys of its last line.

    A script that was cut off has no last line: `done` is then false and `failed` is absent.
    """
    report: dict[str, Any] = {"processes": [], "done": False}
    for line in output.splitlines():
        try:
            entry = json.loads(line) if line.lstrip().startswith("{") else {}
        except ValueError:
            entry = {}  # cut off in the middle of a line
        if "pid" in entry:
            report["processes"].append(entry)
        else:
            report.update(entry)
    return report


def held(process: Mapping[str, Any]) -> str:
    """The flags of a process as the machine script takes them; null is one that it does not have."""
    return ",".join(json.dumps(process[flag]) for flag in ("dual_write", "read_primary", "backfill"))


def processes_not_holding(processes: Sequence[Mapping[str, Any]], *flags: str) -> list[str]:
    """The processes that hold none of these flags, each with what it holds; null is a flag it does not have."""
    return [
        f"{process['worker']} pid {process['pid']} holds {held(process)}"
        for process in processes
        if held(process) not in flags
    ]


def workers_to_return(report: Mapping[str, Any], flags: str) -> list[str]:
    """The workers of a machine's status report that are not proven to hold `flags`, dead ones included."""
    strangers = {process["worker"] for process in report["processes"] if held(process) != flags}
    return sorted(strangers | set(report.get("failed", [])))


def flags_proven(reports: Sequence[Mapping[str, Any]], workers: int, flags: str) -> tuple[float, int]:
    """The share of a deployment's workers all of whose processes hold `flags`, and the number of processes seen."""
    processes = [process for report in reports for process in report["processes"]]
    found: dict[tuple[str, str], set[str]] = {}
    for process in processes:
        found.setdefault((process["machine"], process["worker"]), set()).add(held(process))
    return sum(flag_sets == {flags} for flag_sets in found.values()) / max(workers, len(found)), len(processes)


def not_returned(results: Sequence[Mapping[str, Any]], hosts: Mapping[str, Mapping[str, Any]], flags: str) -> list[str]:
    """Why machines are not proven to be back at `flags`, a sentence each, from their last status; empty if all are.

    Args:
        results: of the task that asked each machine (`item`) for its status.
        hosts: the inventory's hosts with their variables.
        flags: what every process must hold.
    """
    return [
        failure
        for result in results
        for failure in _unseen(result, hosts)
        or [f"{result['item']}: {text}" for text in processes_not_holding(_processes(result), flags)]
    ]


def superseded(results: Sequence[Mapping[str, Any]], hosts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The machines on which an emergency came after the preflight: each with its epoch, and that of the step.

    Args:
        results: of the task that asked each machine (`item`) for its status; one that told no epoch is not named.
        hosts: the machines' variables, with the epoch that the preflight read.
    """
    epochs = {result["item"]: machine_report(result.get("stdout", "")).get("epoch") for result in results}
    return [
        f"{machine} (epoch {epoch}, this step began at {hosts[machine]['preflight_epoch']})"
        for machine, epoch in epochs.items()
        if epoch is not None and int(epoch) != int(hosts[machine]["preflight_epoch"])
    ]


def strays(
    results: Sequence[Mapping[str, Any]],
    hosts: Mapping[str, Mapping[str, Any]],
    switched: Sequence[str],
    flags: str,
    former: Sequence[str],
) -> list[str]:
    """What a running step did not do to its workers, a sentence each: somebody else restarted, added or broke them.

    Args:
        results: of the task that asked each machine (`item`) for its status.
        hosts: the inventory's hosts with their variables.
        switched: the workers that the step has switched; every process of them must hold `flags`.
        flags: what the step sets.
        former: what every other worker may hold beside, whether the inventory lists it or not: it joined in a proven
            state, or an earlier run of the step switched it.
    """
    ours = {(hosts[name]["machine"], worker_of(hosts[name]["worker_unit"])) for name in switched}
    failures = []
    for result in results:
        machine = result["item"]
        failures += _unseen(result, hosts)
        for process in _processes(result):
            wanted = (flags,) if (machine, process["worker"]) in ours else (flags, *former)
            failures += [f"{machine}: {text}" for text in processes_not_holding([process], *wanted)]
    return failures


def switched_since(workers: Sequence[Mapping[str, Any]], clock_skew_s: float) -> str:
    """From when on every worker had been switched, by any machine's clock (ISO 8601, UTC).

    Args:
        workers: their variables, with the moment at which each was proven, by the control machine's clock.
        clock_skew_s: how far that may be behind the machines' clocks, in seconds.
    """
    last = max(datetime.fromisoformat(worker["rolling_flip_at"]) for worker in workers)
    return (last + timedelta(seconds=clock_skew_s)).isoformat()


def _processes(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    processes: list[Mapping[str, Any]] = machine_report(result.get("stdout", ""))["processes"]
    return processes


def _unseen(result: Mapping[str, Any], hosts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Why a machine's status does not show a process of each of its workers; empty if it does."""
    machine = result["item"]
    if result.get("unreachable") or "stdout" not in result:
        return [f"{machine} cannot be reached"]
    report = machine_report(result["stdout"])
    if result.get("rc") not in {0, 1} or "failed" not in report:
        said = (result.get("stderr") or result["stdout"]).strip().splitlines() or ["nothing"]
        return [f"{machine} says: {said[-1]}"]
    missing = set(workers_on(hosts, machine)) - {process["worker"] for process in report["processes"]}
    return [f"{machine} runs no process of {', '.join(sorted(missing))}"] if missing else []


def seconds_since_start_of(program: str, pid: int | None = None) -> float:
    """Seconds since the nearest ancestor process that runs `program` was started.

    Raises:
        LookupError: no ancestor runs it.
    """
    ancestor = os.getppid() if pid is None else pid
    while ancestor > 1:
        process = Path("/proc") / str(ancestor)
        fields = (process / "stat").read_text().rpartition(")")[2].split()
        if program in (process / "cmdline").read_text():
            started = int(fields[19]) / os.sysconf("SC_CLK_TCK")
            return time.clock_gettime(time.CLOCK_BOOTTIME) - started
        ancestor = int(fields[1])
    raise LookupError(f"no ancestor of this process runs {program}")


def rollback_report(machines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """An emergency's outcome from the machines' variables: a line each, the proven processes, and what failed.

    A machine without a result was not chosen by `limit_workers` and is left out.
    """
    lines, failed, proven = [], [], 0
    for variables in machines:
        name, result = variables["inventory_hostname"], variables.get("emergency_result", {"skipped": True})
        if problem := _why_not_restored(variables):
            failed.append(f"{name}: {problem}")
        if result.get("skipped"):
            continue
        if result.get("unreachable"):
            lines.append(f"{name}: UNREACHABLE, its state is unknown")
            failed.append(f"{name} cannot be reached{_why_unreachable(result)}")
            continue
        report = machine_report(result.get("stdout", ""))
        count = sum(process["proven"] for process in report["processes"])
        proven += count
        done = report["done"] and count > 0
        fenced = ", FENCED" if report.get("fenced") else ""
        lines.append(
            f"{name}: {'done' if done else 'NOT DONE'}, {count} of {len(report['processes'])} processes proven"
            f" in {report.get('seconds', '?')} s, epoch {report.get('epoch', '?')}{fenced}{_kept(report)}"
            f"{'; stopped ' + ', '.join(report['stopped']) if report.get('stopped') else ''}"
        )
        lines += [f"{name} says: {notice}" for notice in _notices(result.get("stdout", ""))]
        if report.get("running"):
            units = ", ".join(report["running"])
            failed.append(
                f"{name}: {units} still runs: kill it there by its pid (systemctl status deltacrown-backfill)"
            )
        if not done:
            failed.append(f"{name}: {_why_not_done(report, result.get('stdout', ''))}")
    return {"lines": lines, "failed": failed, "proven": proven}


def _why_not_restored(machine: Mapping[str, Any]) -> str:
    """Why the quarantined local copies may not all be back on their places; empty if they are, or there are none."""
    result = machine.get("emergency_restored", {"skipped": True})
    if result.get("skipped") or result.get("rc") == 0:
        return ""
    said = "; ".join(f"{result.get('stdout', '')}\n{result.get('stderr', '')}".split("\n")[-4:]).strip("; \r")
    why = "the machine cannot be reached" if result.get("unreachable") else said or "it said nothing"
    command = f"sudo cutover restore --quarantined-only --env-file {machine.get('environment_file', '…')}"
    return f"local copies that were put aside may not be back ({why}): run there {command}"


def _why_unreachable(result: Mapping[str, Any]) -> str:
    """What ssh said last; a machine that was lost on the way goes on by itself with what it has begun."""
    said = str(result.get("msg", "")).strip().splitlines()
    return f" ({said[-1].strip()})" if said else ""


def _notices(output: str) -> list[str]:
    """What the machine script remarked beside its report: whose lock it broke, which odd lines it met."""
    return [
        line.partition(":")[2].strip() for line in output.splitlines() if line.startswith("deltacrown-s3-rollback:")
    ]


def _kept(report: Mapping[str, Any]) -> str:
    kept = report.get("kept", [])
    return f"; not restarted, for they held these flags already: {', '.join(kept)}" if kept else ""


def _why_not_done(report: Mapping[str, Any], output: str) -> str:
    holds: dict[str, set[str]] = {}
    for process in report["processes"]:
        holds.setdefault(process["worker"], set()).add(held(process))
    running: dict[str, list[str]] = {}
    workers = []
    for worker in report.get("failed", []):
        if worker in holds:
            running.setdefault(" and ".join(sorted(holds[worker])), []).append(worker)
        else:
            workers.append(f"{worker} DOES NOT RUN (journalctl -u deltacrown-uwsgi@{worker})")
    workers += [
        f"{', '.join(names)} not proven, holding {flags} (dual write, read primary, backfill)"
        for flags, names in running.items()
    ]
    said = [line.strip() for line in output.splitlines() if line.strip() and not line.lstrip().startswith("{")]
    if not running and any("password is required" in line for line in said):
        return "sudo asks for a password: run `sudo deltacrown-s3-rollback <scenario>` there, then allow NOPASSWD"
    return "; ".join([*workers, *said[-3:]]) or "it printed nothing"
