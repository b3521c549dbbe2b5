"""The emergency on ten booted machines, whole and with three of them broken, beside plain ssh to the same machines.

The lab's machines share this host's processors, which thirty starts of the site at once would fill for seconds; ten
machines have their own. So the workers serve a program that starts at once, and one run with the site tells the price.
"""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from cutover import fleet, plan
from rehearsal import deployed_site, playbook
from rehearsal.lab import Lab, LabError, access, topology
from rehearsal.lab.topology import LOAD_BALANCED
from tests.benchmarks.arithmetic import Findings, Result, Series, Target, rotated
from tests.benchmarks.programs import REPOSITORY, BenchmarkError, measured
from tests.benchmarks.rollback import OURS, THEIRS, environment, seconds_to_proof
from tests.fleet import broken_machines, emergencies

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.benchmarks.conditions import Conditions

COUNT = 10
LOCAL, DUAL = (fleet.triple(plan.load().modes[mode].flags) for mode in ("local", "dual-write"))
# Of the emergency's requirements, in seconds.
WHOLE, OTHERS, BACK = (Target(bound, at_least=False) for bound in (4.0, 6.0, 10.0))
APPLICATION = "opt/deltacrown/app/bench_application.py"
QUICK = """\
def application(environ, start_response):
    start_response("204 No Content", [])
    return []
"""
PREPARE = [
    {
        "hosts": "production_machines",
        "gather_facts": False,
        "roles": [
            {
                "role": "prepare_host",
                "vars": {"prepare_host_workers": "{{ hostvars | workers_on(inventory_hostname) }}"},
            }
        ],
    }
]


def measure(conditions: Conditions) -> Findings:
    """Raises the lab with ten machines, measures, and removes it; BenchmarkError if the lab cannot be raised."""
    topology.enlarge(COUNT)
    lab = Lab(conditions.say)
    try:
        lab.up()
        try:
            return _measure(conditions, lab)
        finally:
            lab.down()
    except LabError as error:
        raise BenchmarkError(str(error)) from error


def _measure(conditions: Conditions, lab: Lab) -> Findings:
    inventory = _inventory(conditions.directory)
    _prepare(lab, inventory, conditions.directory)
    with ThreadPoolExecutor(COUNT) as pool:

        def flip() -> None:
            list(pool.map(lambda machine: deployed_site.flip(lab, machine.name, DUAL), LOAD_BALANCED))

        flip()
        site = _emergency(conditions, inventory)
        with _quick_application():
            flip()
            whole: dict[str, list[float]] = {OURS: [], THEIRS: []}
            for number in range(conditions.rounds):
                for name in rotated(list(whole), number):
                    flip()
                    seconds = _emergency(conditions, inventory) if name == OURS else _plain_ssh(conditions)
                    whole[name].append(seconds)
                    conditions.say(f"round {number + 1}/{conditions.rounds}: {name} {seconds:.2f} s")
            flip()
            others, back = _with_broken_machines(conditions, lab, inventory)
    return _findings(whole, site, others, back)


def _findings(whole: dict[str, list[float]], site: float, others: float, back: float) -> Findings:
    workers = sum(len(machine.workers) for machine in LOAD_BALANCED)
    ours, theirs = (Series(name, COUNT, tuple(seconds)) for name, seconds in whole.items())
    broken = "one without power, one that hangs, one with a full disk"
    return Findings(
        f"rollback of {COUNT} booted machines, {workers} workers",
        (
            Result("keypress to the last proof", ours.median, "s", WHOLE, str(ours)),
            Result("that over plain ssh in parallel", ours.median / theirs.median, "×", None, str(theirs)),
            Result("the others proven, three broken", others, "s", OTHERS, broken),
            Result("the command back, three broken", back, "s", BACK, broken),
            Result(
                "keypress to the last proof, with the site", site, "s", None, f"{workers} starts of it share this host"
            ),
        ),
        (ours, theirs),
    )


def _inventory(directory: Path) -> Path:
    """The machines that the rehearsal's inventory lacks."""
    machines: dict[str, dict[str, str]] = {}
    workers: dict[str, dict[str, str]] = {}
    for machine in LOAD_BALANCED[3:]:
        place = {"ansible_host": machine.address, "machine": machine.name}
        machines[machine.name] = place
        workers |= {
            f"{machine.name}-{name}": {**place, "worker_unit": f"deltacrown-uwsgi@{name}.service"}
            for name in machine.workers
        }
    groups = {"production_machines": {"hosts": machines}, "production_workers": {"hosts": workers}}
    path = directory / "more-machines.json"
    path.write_text(json.dumps({"all": {"children": {"production": {"children": groups}}}}))
    return path


def _prepare(lab: Lab, inventory: Path, directory: Path) -> None:
    deployed_site.new_passwords()
    book = directory / "playbooks/prepare.yml"  # the role takes the script from beside the playbook's folder
    book.parent.mkdir()
    book.write_text(json.dumps(PREPARE))
    (directory / "scripts").symlink_to(REPOSITORY / "scripts")
    prepared = playbook.run(str(book), "-i", str(inventory), log_directory=directory)
    if prepared.returncode != 0:
        raise BenchmarkError(prepared.last_lines())
    with ThreadPoolExecutor(COUNT) as pool:  # every process has its three flags from here on
        list(pool.map(lambda machine: lab.run(machine.name, ["sudo", "deltacrown-s3-rollback"]), LOAD_BALANCED))


def _emergency(conditions: Conditions, inventory: Path) -> float:
    """Seconds from keypress to the last proof of the master and the process of each worker."""
    run = playbook.run("emergency-rollback.yml", "-i", str(inventory), log_directory=conditions.directory)
    return seconds_to_proof(run.output, 2 * sum(len(machine.workers) for machine in LOAD_BALANCED))


def _plain_ssh(conditions: Conditions) -> float:
    """The same by ssh alone, all machines at once."""
    names = " ".join(machine.name for machine in LOAD_BALANCED)
    command = (
        f"printf '%s\\n' {names} | xargs -P {COUNT} -I@ ssh -F {access.CONFIG} @ sudo -n deltacrown-s3-rollback local"
    )
    return measured(["sh", "-c", command], environment(), conditions.directory / "ssh.log").seconds


@contextmanager
def _quick_application() -> Iterator[None]:
    """The workers of all machines serve a program of one line, from their next restart on."""
    inis = [machine.root / broken_machines.INI for machine in LOAD_BALANCED]
    before = inis[0].read_text()
    for machine, ini in zip(LOAD_BALANCED, inis, strict=True):
        (machine.root / APPLICATION).write_text(QUICK)
        ini.write_text(before.replace("deltacrown.wsgi:application", "bench_application:application"))
    try:
        yield
    finally:
        for ini in inis:
            ini.write_text(before)


def _with_broken_machines(conditions: Conditions, lab: Lab, inventory: Path) -> tuple[float, float]:
    """Seconds until all but three machines are proven, read from their processes, and until the command is back."""
    dead, hanging, full = (machine.name for machine in LOAD_BALANCED[-3:])
    others = [machine.name for machine in LOAD_BALANCED[:-3]]
    with ExitStack() as faults:
        faults.enter_context(broken_machines.full_disk(lab, full))
        faults.enter_context(emergencies.stopped(hanging))
        faults.enter_context(broken_machines.powered_off(lab, dead))
        with emergencies.Watch(LOCAL, others) as watch:
            run = playbook.run("emergency-rollback.yml", "-i", str(inventory), log_directory=conditions.directory)
            back = time.time() - watch.began
    if run.returncode == 0 or len(watch.proven_after) < len(others):
        raise BenchmarkError(f"proven: {watch.proven_after}; {run.last_lines()}")
    return max(watch.proven_after.values()), back
