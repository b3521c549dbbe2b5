"""The documented emergency as a process of its own, and whether it is needed at all."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cutover.status import asking, sites

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cutover.plan import Deployment, FlagName
    from cutover.status.asking import Answer
    from cutover.status.sites import Site

__all__ = ["Emergency", "is_rolled_back"]

WHO = "auto-rollback"  # the user's name in the evidence that the emergency records
ANSWER_SECONDS = 8.0  # a machine that has not told by then what it holds is rolled back anyway


@dataclass(frozen=True)
class Emergency:
    """A deployment's emergency from this checkout; `inventory` as for `ansible-playbook -i`, None for the default."""

    deployment: Deployment
    playbooks: Path
    inventory: str | None

    def start(self, command: str) -> subprocess.Popen[bytes]:
        """Starts an alarm's `next`; it outlives this process, and says its word to the same output.

        Raises:
            OSError: it cannot be started.
        """
        own = [] if self.inventory is None else ["-i", self.inventory]
        environment = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "LOGNAME": WHO,
            "ANSIBLE_NOCOLOR": "1",
        }
        return subprocess.Popen(
            [*shlex.split(command), *own],
            cwd=self.playbooks,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            start_new_session=True,  # a signal to this process, or Ctrl-C, does not reach it
        )

    def is_needless(self, flags: Mapping[FlagName, bool]) -> bool:
        """Whether every worker holds these flags already; an inventory or a machine that cannot tell says no."""
        try:
            ((site,), _) = sites.read((self.deployment,), self.inventory)
        except sites.SitesError as error:
            print(f"cutover: {error}; the emergency does not wait for it", file=sys.stderr, flush=True)
            return False
        tasks = [asking.Task(machine, workers=True, data_of=None) for machine in site.machines]
        return is_rolled_back(site, asking.ask(tasks, ANSWER_SECONDS)(), flags)


def is_rolled_back(site: Site, answers: Mapping[str, Answer], flags: Mapping[FlagName, bool]) -> bool:
    """Whether each worker of the inventory runs, and all processes of all machines hold these flags, proven."""
    found: dict[str, Sequence[Mapping[str, object]]] = {
        name: [] if answer.problem or answer.failed else answer.processes for name, answer in answers.items()
    }
    running = {(name, process["worker"]) for name, processes in found.items() for process in processes}
    return {(worker.machine, worker.unit_name) for worker in site.workers} <= running and all(
        process["proven"] is True and all(process[flag] is value for flag, value in flags.items())
        for processes in found.values()
        for process in processes
    )
