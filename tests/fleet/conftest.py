"""Tests on booted machines: on the lab that is up, or on one raised for them and removed afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import testinfra

from rehearsal import cloud, deployed_site, playbook
from rehearsal.lab import Lab, state
from rehearsal.lab.topology import DEPLOYMENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from testinfra.host import Host

LIFECYCLE = "test_lab_lifecycle.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the tests that raise and remove labs of their own first: later ones share one that stays up."""
    items.sort(key=lambda item: item.path.name != LIFECYCLE)


@pytest.fixture
def own_lab() -> Iterator[Lab]:
    """A lab that the test raises and removes itself; one that somebody left up on purpose is not touched."""
    found = state.load()
    if found is not None and found.kept:
        pytest.fail("A lab was left up on this host: remove it with `make lab-down`, then run the tests again.")
    lab = Lab()
    yield lab
    lab.down()


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The lab that is up, or one for this session."""
    lab = Lab()
    found = state.load()
    if found is not None and found.kept:
        yield lab
        return
    lab.up()
    yield lab
    lab.down()


@pytest.fixture(scope="session")
def host(lab: Lab) -> Callable[[str], Host]:
    """Gives a machine by its name."""
    return lambda name: testinfra.get_host(f"ssh://{name}", ssh_config=str(lab.ssh_config))


@pytest.fixture(scope="session")
def deployed(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """The lab with both stacks up, the site's tables and accounts made and every machine prepared."""
    with cloud.stacks(lab) as deployed_stacks:
        cloud.up(lab, deployed_stacks)
    passwords = deployed_site.new_passwords()
    for deployment in DEPLOYMENTS:
        deployed_site.deploy(deployment, passwords)
    run = playbook.run("prepare-hosts.yml", log_directory=tmp_path_factory.mktemp("prepare"))
    assert run.returncode == 0, run.output
    return lab
