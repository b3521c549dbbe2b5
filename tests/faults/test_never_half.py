"""Whatever dies in the middle of an emergency or of a step's flips, and whenever: no worker is half in a mode.

The moments are drawn with a seed that is printed with them. What machines hold is read from this host, past ssh.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from cutover import fleet, plan
from rehearsal import deployed_site, playbook
from rehearsal.lab import access
from rehearsal.lab.commands import run
from rehearsal.lab.topology import DEPLOYMENTS, HOST_INTERFACE, MACHINES
from tests.fleet import emergencies
from tests.fleet.emergencies import held_on, roll_back, said
from tests.fleet.production import WEBS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rehearsal.lab import Lab
    from rehearsal.playbook import StartedPlaybook

pytestmark = pytest.mark.timeout(900)  # the first test may wait for a whole lab
MODES = {name: fleet.triple(mode.flags) for name, mode in plan.load().modes.items()}
LOCAL, DUAL, READS = MODES["local"], MODES["dual-write"], MODES["s3-reads"]
SEED, MOMENTS = 7, 4
SETTLED_SECONDS = 60.0  # the objective; a machine that is left alone ends what it has begun within it
ON_ITS_WAY = {"emergency": "Raise the epoch, set the flags", "step": "Set the flags (dual write"}
STEP: list[dict[str, Any]] = [
    {"hosts": "localhost", "tasks": [{"ansible.builtin.set_fact": {"step_ready": True}}]},
    {
        "hosts": "production_machines",
        "tasks": [
            {"ansible.builtin.command": "deltacrown-s3-rollback --status", "become": True, "register": "status"},
            {"ansible.builtin.set_fact": {"preflight_epoch": "{{ (status.stdout | machine_report).epoch }}"}},
        ],
    },
    {
        "hosts": "production_workers",
        "serial": 3,
        "any_errors_fatal": True,
        "vars": {"flip_flags": DUAL, "step": {"number": 6}},
        "tasks": [{"ansible.builtin.include_role": {"name": "rolling_flip"}}],
    },
]


def flip_all(lab: Lab, flags: str) -> None:
    with ThreadPoolExecutor(len(WEBS)) as pool:
        list(pool.map(lambda machine: deployed_site.flip(lab, machine, flags), WEBS))


def moments(latest: float, count: int = MOMENTS) -> list[float]:
    """Seconds after the first word to a machine, the same for the same seed."""
    generator = random.Random(SEED)  # noqa: S311 - repeatable, not secret
    drawn = sorted(round(generator.uniform(0, latest), 2) for _ in range(count))
    print(f"seed {SEED}: {drawn}")
    return drawn


@contextmanager
def cable_pulled() -> Iterator[None]:
    """Nothing gets from this host to a machine or back; the machines reach each other."""
    run(["ip", "link", "set", HOST_INTERFACE, "down"])
    try:
        yield
    finally:
        run(["ip", "link", "set", HOST_INTERFACE, "up"])


def start(what: str, tmp_path: Path) -> StartedPlaybook:
    """An emergency, or the flips of a step, that has just begun with the machines."""
    book = "emergency-rollback.yml"
    if what == "step":
        book = str(tmp_path / "flips.yml")
        plays = [{"gather_facts": False, **play} for play in STEP]
        (tmp_path / "flips.yml").write_text(json.dumps(plays))
    started = playbook.start(book, log_directory=tmp_path)
    started.reaches(ON_ITS_WAY[what])
    return started


def settle() -> float:
    """Waits until nobody is at work on any machine any more, and returns the seconds that this took."""
    began = time.monotonic()
    while any(emergencies.script_on(machine) for machine in WEBS):
        assert time.monotonic() - began < SETTLED_SECONDS
        time.sleep(emergencies.POLL_SECONDS)
    return time.monotonic() - began


@pytest.mark.parametrize("loss", ["control process", "ssh"])
def test_emergency_that_is_cut_off_leaves_each_machine_wholly_old_or_new(
    deployed: Lab, tmp_path: Path, loss: str
) -> None:
    """Half a machine on S3 is a state that nobody can name at night; the next run says which machines are left."""
    for moment in moments(3.0):
        flip_all(deployed, DUAL)
        started = start("emergency", tmp_path)
        time.sleep(moment)
        if loss == "ssh":
            with cable_pulled():
                cut = started.wait()
                seconds = settle()
            assert cut.returncode != 0 or all(emergencies.all_hold(machine, LOCAL) for machine in WEBS)
        else:
            started.kill()
            seconds = settle()
        state = {machine: held_on(machine) for machine in WEBS}
        for machine, workers in state.items():
            assert all(held == {LOCAL} for held in workers.values()) or all(
                held == {DUAL} for held in workers.values()
            ), (moment, machine, workers)
        new = [machine for machine in WEBS if emergencies.all_hold(machine, LOCAL)]
        print(f"{loss} lost {moment} s after the first word: settled {seconds:.1f} s later, new: {new}")
        again = roll_back(tmp_path)
        assert again.returncode == 0, again.output
        for machine in WEBS:
            kept = ", ".join(sorted(MACHINES[machine].workers, key=lambda name: int(name.removeprefix("worker"))))
            assert (f"they held these flags already: {kept}" in said(again).partition(f"{machine}: done")[2]) or (
                machine not in new
            )
            assert emergencies.all_hold(machine, LOCAL)


def test_script_that_is_killed_leaves_each_worker_wholly_old_or_new(deployed: Lab, tmp_path: Path) -> None:
    """The out-of-memory killer takes the script itself: its files and each worker are whole, and a rerun finishes."""
    for moment in moments(1.5):
        flip_all(deployed, DUAL)
        started = start("emergency", tmp_path)
        time.sleep(moment)
        for pid in [pid for machine in WEBS for pid in emergencies.script_on(machine)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        cut = started.wait()
        settle()
        for machine in WEBS:
            emergencies.wait_until_it_serves(machine)
        new = [machine for machine in WEBS if emergencies.all_hold(machine, LOCAL)]
        workers = {f"{machine} {name}": held for machine in WEBS for name, held in held_on(machine).items()}
        print(f"script killed {moment} s after the first word: exit code {cut.returncode}, new: {new}")
        assert all(held in ({LOCAL}, {DUAL}) for held in workers.values()), (moment, workers)
        assert cut.returncode != 0 or len(new) == len(WEBS)
        assert roll_back(tmp_path).returncode == 0
        assert all(emergencies.all_hold(machine, LOCAL) for machine in WEBS)


@pytest.mark.parametrize("loss", ["control process", "ssh"])
def test_step_that_is_cut_off_leaves_each_worker_wholly_old_or_new(deployed: Lab, tmp_path: Path, loss: str) -> None:
    """A batch that was cut off: a crash afterwards must not change a worker, and the next run goes on from there."""
    for moment in moments(12.0):
        assert roll_back(tmp_path).returncode == 0
        started = start("step", tmp_path)
        time.sleep(moment)
        if loss == "ssh":
            with cable_pulled():
                started.wait()
                seconds = settle()
        else:
            started.kill()
            seconds = settle()
        workers = {f"{machine} {name}": held for machine in WEBS for name, held in held_on(machine).items()}
        assert all(held in ({LOCAL}, {DUAL}) for held in workers.values()), (moment, workers)
        new = sum(held == {DUAL} for held in workers.values())
        print(
            f"{loss} lost {moment} s after the first flip: settled {seconds:.1f} s later, {new} of {len(workers)} new"
        )
        for machine in WEBS:
            assert deployed_site.status_of(deployed, machine)["failed"] == []  # their files say what they hold
    finished = start("step", tmp_path).wait()
    assert finished.returncode == 0, finished.output
    assert all(emergencies.all_hold(machine, DUAL) for machine in WEBS)


def test_power_cut_in_the_middle_of_the_writes_leaves_whole_files(deployed: Lab) -> None:
    """After the boot each worker starts with its old flags or its new ones, and no line of its settings is lost."""
    machine = WEBS[-1]
    canary, *others = MACHINES[machine].workers
    etc = MACHINES[machine].root / "etc/deltacrown"
    for moment in moments(1.2):
        deployed_site.flip(deployed, machine, DUAL)
        epoch = str(deployed_site.status_of(deployed, machine)["epoch"])
        flip = ["sudo", "deltacrown-s3-rollback", "--flags", READS, "--epoch", epoch, "--workers", canary]
        deployed.run(machine, flip)
        before = _settings(etc / f"{DEPLOYMENTS['production'].name}.env")
        emergency = subprocess.Popen(
            access.command(MACHINES[machine], ["sudo", "deltacrown-s3-rollback"]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(moment)
        deployed.power_off(machine)
        emergency.wait(timeout=60)
        deployed.power_on(machine)
        emergencies.wait_until_it_serves(machine)
        held = held_on(machine)
        print(f"power lost after {moment} s: epoch {(etc / 'rollback-epoch').read_text().strip()}, {held}")
        assert held[canary] in ({READS}, {LOCAL}), (moment, held)
        assert all(held[worker] in ({DUAL}, {LOCAL}) for worker in others), (moment, held)
        assert _settings(etc / f"{DEPLOYMENTS['production'].name}.env") == before
        assert int((etc / "rollback-epoch").read_text()) in {int(epoch), int(epoch) + 1}
        report = fleet.machine_report(deployed.run(machine, ["sudo", "deltacrown-s3-rollback"]))
        assert report["done"] is True
        assert emergencies.all_hold(machine, LOCAL)


def _settings(file: Path) -> list[str]:
    """The lines of an environment file but for the three flags."""
    names = tuple(f"{name}=" for name in plan.load().variables.values())
    return [line for line in file.read_text().splitlines() if not line.startswith(names)]
