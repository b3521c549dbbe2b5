"""The control process dies in the middle of an emergency, whenever: no machine is half in a mode.

The moments are drawn with a seed that is printed with them. What machines hold is read from this host, past ssh.
"""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from cutover import fleet, plan
from rehearsal import deployed_site, playbook
from rehearsal.lab.topology import MACHINES
from tests.fleet import emergencies
from tests.fleet.emergencies import held_on, roll_back, said
from tests.fleet.production import WEBS

if TYPE_CHECKING:
    from pathlib import Path

    from rehearsal.lab import Lab
    from rehearsal.playbook import StartedPlaybook

pytestmark = pytest.mark.timeout(900)  # the first test may wait for a whole lab
MODES = {name: fleet.triple(mode.flags) for name, mode in plan.load().modes.items()}
LOCAL, DUAL, READS = MODES["local"], MODES["dual-write"], MODES["s3-reads"]
SEED, MOMENTS = 7, 10
SETTLED_SECONDS = 60.0  # the objective; a machine that is left alone ends what it has begun within it
QUIET_SECONDS = 1.0  # a login that has just succeeded may still start something


def flip_all(lab: Lab, flags: str) -> None:
    with ThreadPoolExecutor(len(WEBS)) as pool:
        list(pool.map(lambda machine: deployed_site.flip(lab, machine, flags), WEBS))


def moments(latest: float, count: int = MOMENTS) -> list[float]:
    """Seconds after the first word to a machine, the same for the same seed."""
    generator = random.Random(SEED)  # noqa: S311 - repeatable, not secret
    drawn = sorted(round(generator.uniform(0, latest), 2) for _ in range(count))
    print(f"seed {SEED}: {drawn}")
    return drawn


def start(tmp_path: Path) -> StartedPlaybook:
    """An emergency that has just begun with the machines."""
    started = playbook.start("emergency-rollback.yml", log_directory=tmp_path)
    started.reaches("PLAY [Roll every machine back at once]")
    return started


def settle() -> float:
    """Waits until nobody is at work on any machine any more, and returns the seconds that this took."""
    began = busy = time.monotonic()
    while (now := time.monotonic()) < busy + QUIET_SECONDS:
        if any(emergencies.script_on(machine) for machine in WEBS):
            assert now - began < SETTLED_SECONDS
            busy = now
        time.sleep(emergencies.POLL_SECONDS)
    return busy - began


def test_emergency_that_is_cut_off_leaves_each_machine_wholly_old_or_new(deployed: Lab, tmp_path: Path) -> None:
    """Half a machine on S3 is a state that nobody can name at night; the next run says which machines are left."""
    for moment in moments(3.0):
        flip_all(deployed, DUAL)
        started = start(tmp_path)
        time.sleep(moment)
        started.kill()
        seconds = settle()
        state = {machine: held_on(machine) for machine in WEBS}
        for machine, workers in state.items():
            assert all(held == {LOCAL} for held in workers.values()) or all(
                held == {DUAL} for held in workers.values()
            ), (moment, machine, workers)
        new = [machine for machine in WEBS if emergencies.all_hold(machine, LOCAL)]
        print(f"control process killed {moment} s after the first word: settled {seconds:.1f} s later, new: {new}")
        again = roll_back(tmp_path)
        assert again.returncode == 0, again.output
        for machine in WEBS:
            kept = ", ".join(sorted(MACHINES[machine].workers, key=lambda name: int(name.removeprefix("worker"))))
            assert (f"they held these flags already: {kept}" in said(again).partition(f"{machine}: done")[2]) or (
                machine not in new
            )
            assert emergencies.all_hold(machine, LOCAL)
