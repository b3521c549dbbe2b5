"""The emergency with a machine broken in each way that we know: the others never wait, and it is named with its state.

Each test leaves the machine mended, and the rerun must finish that machine alone.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from cutover import fleet, plan
from rehearsal import deployed_site
from tests.fleet import broken_machines, emergencies
from tests.fleet.emergencies import Watch, roll_back, said
from tests.fleet.production import DATA_HOST, WEBS

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from rehearsal.lab import Lab

pytestmark = pytest.mark.timeout(600)  # the first test may wait for a whole lab
LOCAL, DUAL = (fleet.triple(plan.load().modes[mode].flags) for mode in ("local", "dual-write"))
BROKEN = WEBS[-1]
OBJECTIVE_SECONDS = 60.0


@pytest.fixture
def dual_write(deployed: Lab) -> Lab:
    """Production with every worker in dual-write."""
    with ThreadPoolExecutor(len(WEBS)) as pool:
        list(pool.map(lambda machine: deployed_site.flip(deployed, machine, DUAL), WEBS))
    return deployed


@dataclass(frozen=True)
class Fault:
    """A way to break a machine, and what the report must say of it."""

    breaks: Callable[[Lab, str], AbstractContextManager[None]]
    named: str
    state: str


FAULTS = [
    Fault(broken_machines.powered_off, "{0} cannot be reached (", "{0}: UNREACHABLE, its state is unknown"),
    Fault(broken_machines.hanging_ssh, "{0} cannot be reached (", "{0}: UNREACHABLE, its state is unknown"),
    Fault(
        broken_machines.hanging_behind_a_cached_connection,
        "{0} cannot be reached (",
        "{0}: UNREACHABLE, its state is unknown",
    ),
    Fault(broken_machines.read_only, "nothing was changed", f" not proven, holding {DUAL}"),
    Fault(broken_machines.full_disk, "nothing was changed", f" not proven, holding {DUAL}"),
    Fault(
        broken_machines.workers_that_do_not_start,
        "DOES NOT RUN (journalctl -u deltacrown-uwsgi@",
        "{0}: NOT DONE, 0 of",
    ),
    Fault(broken_machines.sudo_that_asks_for_a_password, "{0}: sudo asks for a password", "{0}: NOT DONE, 0 of 0"),
]


@pytest.mark.parametrize("broken", [BROKEN, DATA_HOST])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.breaks.__name__)
def test_broken_machine_keeps_nobody_waiting(dual_write: Lab, tmp_path: Path, fault: Fault, broken: str) -> None:
    """The tenth machine of ten must not keep nine on a failing S3, nor be forgotten; nor must the data host."""
    others = [machine for machine in WEBS if machine != broken]
    with fault.breaks(dual_write, broken):
        with Watch(LOCAL, others) as watch:
            emergency = roll_back(tmp_path)
        took = time.time() - watch.began
    print(f"{fault.breaks.__name__} on {broken}: others proven after {watch.proven_after} s, the command {took:.1f} s")
    text = said(emergency)
    assert emergency.returncode != 0
    assert fault.named.format(broken) in text
    assert fault.state.format(broken) in text
    assert "NOT PROVEN after" in text
    for machine in others:
        assert f"{machine}: done" in text
        assert watch.proven_after[machine] < OBJECTIVE_SECONDS
    before = {machine: emergencies.processes_of(machine) for machine in others}
    again = roll_back(tmp_path)
    assert again.returncode == 0, again.output
    emergencies.wait_until_all_hold([broken], LOCAL, seconds=5)
    assert before == {machine: emergencies.processes_of(machine) for machine in others}
