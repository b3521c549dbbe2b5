"""The emergency against plain ssh in parallel: what Ansible and the proof cost beside the machines' own time."""

from __future__ import annotations

import os
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks import ssh_machines
from tests.benchmarks.arithmetic import Findings, Result, Series, Target, rotated
from tests.benchmarks.programs import REPOSITORY, BenchmarkError, measured

if TYPE_CHECKING:
    from tests.benchmarks.conditions import Conditions

MACHINES = 100
TARGET = Target(10.0, at_least=False)  # seconds from keypress to the last proof (the emergency's requirements)
PROVEN = re.compile(r"ROLLED BACK: (\d+) processes proven in ([\d.]+) s")
OURS, THEIRS = "emergency-rollback.yml", "ssh in parallel"


def environment() -> dict[str, str]:
    """The variables of a control machine."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    return own | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_CONFIG": str(REPOSITORY / "playbooks/ansible.cfg"),
    }


def measure_many(conditions: Conditions) -> Findings:
    """Rolls back machines that ssh alone makes slow, in turn with ssh itself; each connection is a new one."""
    count = conditions.size(MACHINES)
    whole: dict[str, list[float]] = defaultdict(list)
    proven: list[float] = []
    with ssh_machines.running(conditions.directory / "machines", count, conditions.say) as machines:
        commands = {
            OURS: machines.command(
                Path(sys.executable).with_name("ansible-playbook"),
                "-i",
                machines.inventory,
                REPOSITORY / "playbooks/emergency-rollback.yml",
            ),
            THEIRS: machines.command(
                "sh",
                "-c",
                f"printf '%s\\n' {' '.join(machines.addresses)} | "
                f"xargs -P {count} -I@ ssh -F {machines.ssh_config} @ sudo -n deltacrown-s3-rollback local",
            ),
        }
        for number in range(conditions.rounds):
            for name in rotated(list(commands), number):
                log = conditions.directory / f"{name.partition(' ')[0]}.log"
                whole[name].append(measured(commands[name], environment(), log).seconds)
                if name == OURS:
                    proven.append(seconds_to_proof(log.read_text(), count * ssh_machines.WORKERS * 2))
                conditions.say(f"round {number + 1}/{conditions.rounds}: {name} {whole[name][-1]:.2f} s")
    clock = Series("keypress to the last proof", count, tuple(proven))
    series = {name: Series(name, count, tuple(seconds)) for name, seconds in whole.items()}
    detail = f"{clock}; each machine itself takes {ssh_machines.MACHINE_SECONDS} s; {os.cpu_count()} processors"
    ratio = clock.median / series[THEIRS].median
    return Findings(
        f"rollback of {count} machines",
        (
            Result("keypress to the last proof", clock.median, "s", TARGET, detail),
            Result("that over plain ssh in parallel", ratio, "×", None, str(series[THEIRS])),
            Result("the whole command", series[OURS].median, "s", None, "with the report and an attempt to record it"),
        ),
        (clock, series[THEIRS]),
    )


def seconds_to_proof(output: str, processes: int) -> float:
    """Seconds from keypress to the last proof, by the emergency's own clock.

    Raises:
        BenchmarkError: it did not prove so many processes.
    """
    found = PROVEN.search(" ".join(output.split()))
    if found is None or int(found[1]) != processes:
        raise BenchmarkError(f"the emergency did not prove {processes} processes: {output[-400:]}")
    return float(found[2])
