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
PARSE_SECONDS = 30.0  # a busy control machine reads the playbook in a few
SAID_CHARACTERS = 300  # of Ansible's complaint


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
        return subprocess.Popen(
            self._arguments(command),
            cwd=self.playbooks,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            start_new_session=True,  # a signal to this process, or Ctrl-C, does not reach it
        )

    def is_needless(self, flags: Mapping[FlagName, bool]) -> bool:
        """Whether every worker holds these flags already; an inventory or a machine that cannot tell says no."""
        try:
            site, answers = self._asked()
        except Exception as error:  # noqa: BLE001 - whatever it is: an emergency does not fail with what is asked before it
            print(f"cutover: {error}; the emergency does not wait for it", file=sys.stderr, flush=True)
            return False
        return is_rolled_back(site, answers, flags)

    def obstacles(self, command: str) -> list[str]:
        """Why an alarm's `next` would not reach every machine from here, a sentence each; it is not run."""
        try:
            _, answers = self._asked()
            found = [answer.problem for answer in answers.values() if answer.problem]
            subprocess.run(
                [*self._arguments(command), "--syntax-check"],
                cwd=self.playbooks,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=PARSE_SECONDS,
                check=True,
            )
        except subprocess.CalledProcessError as error:
            said = error.stderr.decode(errors="replace").split()
            return [
                *found,
                f"{command} --syntax-check ended with {error.returncode}: {' '.join(said)[:SAID_CHARACTERS]}",
            ]
        except Exception as error:  # noqa: BLE001 - whatever it is, it would be in the emergency's way, too
            return [f"an emergency could not be run from here: {error}"]
        return found

    def _asked(self) -> tuple[Site, dict[str, Answer]]:
        ((site,), _) = sites.read((self.deployment,), self.inventory)
        tasks = [asking.Task(machine, workers=True, data_of=None) for machine in site.machines]
        return site, asking.ask(tasks, ANSWER_SECONDS)()

    def _arguments(self, command: str) -> list[str]:
        return [*shlex.split(command), *([] if self.inventory is None else ["-i", self.inventory])]

    def _environment(self) -> dict[str, str]:
        return os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "LOGNAME": WHO,
            "ANSIBLE_NOCOLOR": "1",
        }


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
