"""The rehearsal's inventory says what the lab raises."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rehearsal.lab import access, reach
from rehearsal.lab.topology import DEPLOYMENTS, MACHINES, MEDIA_ROOT, OPERATOR, REPOSITORY

INVENTORY = REPOSITORY / "playbooks/inventories/rehearsal"


@pytest.fixture(scope="module")
def inventory() -> dict[str, Any]:
    """The inventory as Ansible reads it."""
    program = Path(sys.executable).with_name("ansible-inventory")
    answer = subprocess.run([program, "-i", INVENTORY, "--list"], capture_output=True, check=True, text=True)
    read: dict[str, Any] = json.loads(answer.stdout)
    return read


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_every_worker_of_the_lab_is_a_host_of_its_own(inventory: dict[str, Any], deployment: str) -> None:
    """A worker that the inventory lacks keeps its old flags for ever."""
    variables = inventory["_meta"]["hostvars"]
    expected = {
        f"{deployment}-{worker}": (machine.address, machine.name, f"deltacrown-uwsgi@{worker}.service")
        for machine in MACHINES.values()
        if machine.deployment == DEPLOYMENTS[deployment]
        for worker in machine.workers
    }
    names = ("ansible_host", "machine", "worker_unit")
    assert {
        host: tuple(variables[host][name] for name in names) for host in inventory[f"{deployment}_workers"]["hosts"]
    } == expected


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_every_machine_is_reached_at_its_address(inventory: dict[str, Any], deployment: str) -> None:
    """An emergency that misses a machine leaves it writing to S3."""
    machines = [machine for machine in MACHINES.values() if machine.deployment == DEPLOYMENTS[deployment]]
    variables = inventory["_meta"]["hostvars"]
    hosts = inventory[f"{deployment}_machines"]["hosts"]
    assert {host: variables[host]["ansible_host"] for host in hosts} == {
        machine.name: machine.address for machine in machines
    }
    # The credentials endpoint names a machine's session after its address; another name would fence nobody.
    assert {variables[host]["aws_session_name"] for host in hosts} == {"{{ ansible_host }}"}
    assert len(inventory[f"{deployment}_data_host"]["hosts"]) == 1
    assert set(inventory[f"{deployment}_data_host"]["hosts"]) <= set(hosts)


def test_neighbouring_workers_are_on_different_machines(inventory: dict[str, Any]) -> None:
    """A batch that holds all workers of one machine takes the machine out of service."""
    variables = inventory["_meta"]["hostvars"]
    machines = [variables[host]["machine"] for host in inventory["production_workers"]["hosts"]]
    assert all(left != right for left, right in itertools.pairwise(machines))


def test_ansible_and_the_lab_agree_on_keys_and_paths(inventory: dict[str, Any]) -> None:
    """Ansible would wait for a password, or roll flags into a file that no worker reads."""
    variables = inventory["_meta"]["hostvars"]
    for name, deployment in DEPLOYMENTS.items():
        (data_host,) = inventory[f"{name}_data_host"]["hosts"]
        found = variables[data_host]
        assert found["ansible_user"] == OPERATOR
        assert found["ansible_ssh_private_key_file"] == str(access.KEY)
        assert str(access.KNOWN_HOSTS) in found["ansible_ssh_common_args"]
        assert found["media_root"] == str(MEDIA_ROOT)
        assert found["environment_file"] == str(deployment.environment_file)
        assert found["site_url"] == reach.site_urls()[name]
