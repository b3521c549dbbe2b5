"""The deployments as Ansible's inventory names them, and how each machine is reached by a plain ssh.

Ansible's own library reads the inventory, in this process: `ansible-inventory --list` takes 0.15 s longer, and leaves
templates as they are.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cutover import fleet
from cutover.exit_codes import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cutover.plan import Deployment

__all__ = ["Machine", "Site", "SitesError", "Worker", "playbooks_directory", "read"]

# First given, first taken: an inventory's own -o options cannot bring back what would let a machine that hangs block
# the whole look. No cached connection: one that is dead behind its socket answers nobody.
_SSH = ("BatchMode=yes", "ConnectTimeout=5", "ServerAliveInterval=2", "ServerAliveCountMax=2")
_UNCACHED = ("ControlMaster=no", "ControlPath=none", "LogLevel=ERROR")
_OWN = ("machine", "worker_unit", "environment_file", "readonly_role_arn", "data_command_environment", "time_scale")
_CONNECTION = ("host", "user", "port", "ssh_private_key_file", "ssh_common_args", "ssh_extra_args")
_NEEDED = (*_OWN, *(f"ansible_{name}" for name in _CONNECTION))


class SitesError(CommandError, ValueError):
    """The inventory cannot be used; the sentence names it."""


@dataclass(frozen=True)
class Machine:
    """A machine's name in the inventory, and the settings with which it is reached and asked."""

    name: str
    variables: Mapping[str, Any]

    @property
    def address(self) -> str:
        """Where ssh connects to."""
        return str(self.variables.get("ansible_host") or self.name)

    def ssh(self, command: str) -> list[str]:
        """The arguments that run a shell's command there."""
        given, options = self.variables, ["ssh", "-T"]
        for option in (*_SSH, *_UNCACHED):
            options += ["-o", option]
        if given.get("ansible_port"):
            options += ["-p", str(given["ansible_port"])]
        if given.get("ansible_user"):
            options += ["-l", str(given["ansible_user"])]
        if given.get("ansible_ssh_private_key_file"):
            options += ["-i", str(Path(given["ansible_ssh_private_key_file"]).expanduser())]
        for name in ("ansible_ssh_common_args", "ansible_ssh_extra_args"):
            options += shlex.split(str(given.get(name) or ""))
        return [*options, "--", self.address, command]


@dataclass(frozen=True)
class Worker:
    """A worker: its name in the inventory, its machine's, and its own on that machine."""

    name: str
    machine: str
    unit_name: str


@dataclass(frozen=True)
class Site:
    """A deployment's part of the inventory."""

    deployment: Deployment
    machines: tuple[Machine, ...]
    workers: tuple[Worker, ...]
    data_host: Machine

    @property
    def time_scale(self) -> float:
        """How many times shorter a rehearsal's days are; 1 in earnest."""
        return float(self.data_host.variables.get("time_scale") or 1)


def playbooks_directory(start: Path) -> Path:
    """The checkout's playbooks/, from any directory in it.

    Raises:
        SitesError: `start` is in no checkout.
    """
    for directory in (start, *start.parents):
        if (directory / "playbooks" / "ansible.cfg").is_file():
            return directory / "playbooks"
    raise SitesError(f"{start} is in no checkout that has playbooks/ansible.cfg: go there and ask again")


def read(
    deployments: Sequence[Deployment], inventory: str | None, others: Sequence[Deployment] = ()
) -> tuple[list[Site], list[Site]]:
    """The deployments of an inventory; of the others those that stand in it, too.

    Args:
        deployments: which, in this order.
        others: those that may be absent.
        inventory: as for `ansible-playbook -i`; None for what $ANSIBLE_INVENTORY or playbooks/ansible.cfg says.

    Raises:
        SitesError: there is no such inventory, it cannot be read, or a deployment in it is not whole.
    """
    if inventory is not None and "," not in inventory and not Path(inventory).exists():
        raise SitesError(f"-i {inventory}: there is no such inventory, seen from {Path.cwd()}")
    if inventory is None and not {"ANSIBLE_CONFIG", "ANSIBLE_INVENTORY"} & os.environ.keys():
        # The library reads it when it is imported.
        os.environ["ANSIBLE_CONFIG"] = str(playbooks_directory(Path.cwd()) / "ansible.cfg")
    groups, hosts = _ansible(inventory)
    present = [name for name in others if groups.get(f"{name}_machines")]
    return [_site(name, groups, hosts) for name in deployments], [_site(name, groups, hosts) for name in present]


def _ansible(inventory: str | None) -> tuple[dict[str, list[str]], dict[str, dict[str, Any]]]:
    """Hosts by group, and by host those variables that are needed here."""
    try:
        from ansible import constants  # noqa: PLC0415 - the machines' installations have no Ansible
        from ansible.errors import AnsibleError  # noqa: PLC0415
        from ansible.inventory.manager import InventoryManager  # noqa: PLC0415
        from ansible.parsing.dataloader import DataLoader  # noqa: PLC0415
        from ansible.template import Templar  # noqa: PLC0415
        from ansible.vars.manager import VariableManager  # noqa: PLC0415
    except ImportError as error:
        raise SitesError(
            "Ansible is not installed here: run this on the control machine, after `make setup`"
        ) from error
    sources = [inventory] if inventory is not None else constants.DEFAULT_HOST_LIST
    named = ", ".join(map(str, sources))
    try:
        loader = DataLoader()
        manager = InventoryManager(loader=loader, sources=sources)
        variables = VariableManager(loader=loader, inventory=manager)
        hosts = {}
        for host in manager.get_hosts():
            found = variables.get_vars(host=host, include_hostvars=False)
            template = Templar(loader=loader, variables=found).template
            hosts[host.name] = {name: _plain(template, found[name]) for name in _NEEDED if name in found}
    except AnsibleError as error:
        raise SitesError(f"the inventory {named} cannot be read: {' '.join(str(error).split())}") from error
    if not hosts:
        raise SitesError(f"the inventory {named} has no hosts: give another with -i")
    return {name: [host.name for host in group.get_hosts()] for name, group in manager.groups.items()}, hosts


def _plain(template: Callable[[Any], Any], value: object) -> object:
    """A variable's value as Python's own types, which Ansible's look like but are not."""
    value = template(value)
    if isinstance(value, dict):
        return {str(name): str(each) for name, each in value.items()}
    return value if isinstance(value, (int, float)) else str(value)


def _site(deployment: Deployment, groups: Mapping[str, list[str]], hosts: Mapping[str, dict[str, Any]]) -> Site:
    problem = fleet.inventory_problem(groups, hosts, deployment)
    if problem:
        raise SitesError(problem)
    data_hosts = groups.get(f"{deployment}_data_host", [])
    if len(data_hosts) != 1:
        raise SitesError(f"the inventory's group {deployment}_data_host has {len(data_hosts)} machines: name one")
    machines = [Machine(name, hosts[name]) for name in dict.fromkeys([*groups[f"{deployment}_machines"], *data_hosts])]
    for machine in machines:
        _refuse_unusable(machine)
    return Site(
        deployment,
        tuple(Machine(name, hosts[name]) for name in groups[f"{deployment}_machines"]),
        tuple(
            Worker(name, hosts[name]["machine"], fleet.worker_of(hosts[name]["worker_unit"]))
            for name in groups[f"{deployment}_workers"]
        ),
        Machine(data_hosts[0], hosts[data_hosts[0]]),
    )


def _refuse_unusable(machine: Machine) -> None:
    try:
        machine.ssh("")
        float(machine.variables.get("time_scale") or 1)
    except ValueError as error:
        raise SitesError(
            f"the inventory's settings of {machine.name} cannot be used ({error}): correct them"
        ) from error
