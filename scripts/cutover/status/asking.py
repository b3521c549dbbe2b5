"""One plain ssh to each machine, all at once: what its processes hold, and what `cutover status-here` knows there."""

from __future__ import annotations

import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cutover.fleet import machine_report

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cutover.plan import Deployment
    from cutover.status.sites import Machine, Site

__all__ = ["SSH_FAILED", "Answer", "Said", "Task", "ask", "said", "tasks"]

# A connection that dies is noticed by ssh within ten seconds; this ends one whose machine still answers while what was
# asked there does not (a disk that hangs).
ANSWER_SECONDS = 15.0
SSH_FAILED = 255  # ssh's own exit code, where it is not that of the command
_SCRIPT = "sudo -n deltacrown-s3-rollback --status"
_CUTOVER = "/usr/local/bin/cutover"
_FLAGS = ("dual_write", "read_primary", "backfill")


@dataclass(frozen=True)
class Task:
    """A machine to ask: for its workers' processes, and for a deployment's data if it is the data host."""

    machine: Machine
    workers: bool
    data_of: Deployment | None

    @property
    def command(self) -> str:
        """What the machine's shell runs. The script needs no `cutover`, so the workers show without it."""
        here = ["sudo", "-n"]
        given = self.machine.variables
        if self.data_of is not None and given.get("data_command_environment"):
            here += ["env", *(f"{name}={value}" for name, value in given["data_command_environment"].items())]
        here += [_CUTOVER, "status-here"]
        if self.data_of is not None:
            here += ["--deployment", self.data_of, "--env-file", str(given.get("environment_file", ""))]
            if given.get("readonly_role_arn"):
                here += ["--role-arn", str(given["readonly_role_arn"])]
        return "; ".join(([_SCRIPT] if self.workers else []) + [shlex.join(here)])


@dataclass(frozen=True)
class Said:
    """What a machine's shell printed on each way, and what ssh returned."""

    output: str
    errors: str
    code: int


@dataclass(frozen=True)
class Answer:
    """What a machine said. `problem` is one sentence if it could not be asked; the rest is empty or cut off then.

    `here` is None if `cutover status-here` could not be asked, which `here_problem` explains.
    """

    machine: str
    problem: str = ""
    processes: tuple[dict[str, Any], ...] = ()
    failed: tuple[str, ...] = ()
    epoch: int | None = None
    here: dict[str, Any] | None = None
    here_problem: str = ""
    data_of: str | None = None


def tasks(sites: Sequence[Site], data_of: Sequence[Site] = ()) -> list[Task]:
    """Each machine of `sites` once; of those in `data_of` the data host alone."""
    wanted: dict[str, Task] = {}
    for site in sites:
        for machine in site.machines:
            data = site.deployment if machine.name == site.data_host.name else None
            wanted[machine.name] = Task(machine, True, data)
    for site in (*sites, *data_of):
        wanted.setdefault(site.data_host.name, Task(site.data_host, False, site.deployment))
    return list(wanted.values())


def ask(wanted: Sequence[Task], seconds: float = ANSWER_SECONDS) -> Callable[[], dict[str, Answer]]:
    """Begins to ask; what is returned waits for the answers, by machine.

    A machine that does not answer within so many seconds is among them, with its problem.
    """
    pool = ThreadPoolExecutor(max_workers=max(len(wanted), 1))
    answers = [pool.submit(_ask, task, seconds) for task in wanted]
    pool.shutdown(wait=False)
    return lambda: {answer.machine: answer for answer in (each.result() for each in answers)}


def said(machine: Machine, command: str, seconds: float) -> Said | str:
    """What a machine's shell says to a command; one sentence if it gives no answer in so many seconds."""
    try:
        done = subprocess.run(
            machine.ssh(command), stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return f"{machine.name} ({machine.address}) did not answer within {seconds:g} s"
    except OSError as error:
        return f"{machine.name}: ssh cannot be started here ({error.strerror})"
    return Said(done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"), done.returncode)


def _ask(task: Task, seconds: float) -> Answer:
    heard = said(task.machine, task.command, seconds)
    if isinstance(heard, str):
        return Answer(task.machine.name, heard, data_of=task.data_of)
    return judged(task, heard.output, heard.errors, heard.code)


def judged(task: Task, output: str, errors: str, code: int) -> Answer:
    """An answer from what ssh printed and returned."""
    name, address = task.machine.name, task.machine.address
    report = machine_report(output)
    here = report.get("here")
    here = here if _told_here(here) else None
    lines = (errors.strip() or output.strip()).splitlines() or ["nothing"]
    here_problem = "" if here else f"{name}: cutover status-here says: {lines[-1]}; ansible-playbook prepare-hosts.yml"
    if code == SSH_FAILED and here is None and "failed" not in report:
        return Answer(name, f"{name} ({address}) cannot be reached: {lines[-1]}", data_of=task.data_of)
    if not task.workers:
        return Answer(name, here_problem, here=here, data_of=task.data_of)
    processes, problem = report["processes"], ""
    if not isinstance(report.get("failed"), list):
        problem = f"{name} ({address}): deltacrown-s3-rollback --status says: {lines[0]}"
    elif not all(map(_whole, processes)):
        problem = f"{name} ({address}): deltacrown-s3-rollback --status says what is no process; prepare-hosts.yml"
    if problem:
        return Answer(name, problem, here=here, here_problem=here_problem, data_of=task.data_of)
    epoch = report.get("epoch")
    return Answer(
        name,
        "",
        tuple(processes),
        tuple(map(str, report["failed"])),
        epoch if isinstance(epoch, int) else None,
        here,
        here_problem,
        task.data_of,
    )


def _told_here(here: object) -> bool:
    """Whether this is what `cutover status-here` tells."""
    return (
        isinstance(here, dict)
        and (here.get("lock", 0) is None or isinstance(here.get("lock", 0), dict))
        and all(isinstance(here.get(name), list | dict) for name in ("overrides", "fallbacks"))
    )


def _whole(process: dict[str, Any]) -> bool:
    """Whether this is a process as the script tells one."""
    return (
        isinstance(process.get("worker"), str)
        and isinstance(process.get("pid"), int)
        and isinstance(process.get("started"), str)
        and isinstance(process.get("proven"), bool)
        and all(flag in process and (process[flag] is None or isinstance(process[flag], bool)) for flag in _FLAGS)
    )
