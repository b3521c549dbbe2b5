"""What scripts/deltacrown-s3-rollback stops in the background, in which order, and what it never touches."""

from __future__ import annotations

import contextlib
import getpass
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.unit import test_machine_script as machine_script
from tests.unit.test_machine_script import Machine, lines

if TYPE_CHECKING:
    from collections.abc import Iterator

machine = machine_script.machine  # the fixture
SWEEP, BACKFILL = "deltacrown-sweep.service", "deltacrown-backfill.service"
WAITS = """import signal, sys, time
if "stubborn" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
time.sleep(60)
"""


@pytest.fixture
def at_work(machine: Machine) -> Machine:
    """The machine with all flags on, and a backfill and a sweep at work."""
    machine.starts_with_all_flags_on()
    (machine.root / "units").mkdir()
    for unit in (SWEEP, BACKFILL):
        (machine.root / "units" / unit).write_text("active")
    return machine


@contextlib.contextmanager
def process(machine: Machine, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of this host that the machine's made-up /proc shows."""
    started = subprocess.Popen(command)
    (machine.root / f"proc/{started.pid}").symlink_to(f"/proc/{started.pid}")
    time.sleep(0.3)  # until it is what it was started as
    try:
        yield started
    finally:
        started.kill()
        started.wait()


def program(directory: Path, name: str) -> str:
    """A program that waits."""
    (directory / name).write_text(WAITS)
    return str(directory / name)


@pytest.mark.parametrize(
    ("scenario", "stopped"),
    [("local", {SWEEP, BACKFILL}), ("uploads", {SWEEP, BACKFILL}), ("reads", set()), ("inconsistency", {BACKFILL})],
)
def test_a_scenario_stops_its_units_and_names_them(at_work: Machine, scenario: str, stopped: set[str]) -> None:
    """A backfill that goes on after `uploads` is the S3 traffic that the runbook wants gone."""
    result = at_work.script(scenario)
    _, last = lines(result)
    assert result.returncode == 0, result.stderr
    assert set(last["stopped"]) == stopped
    assert last["running"] == []
    assert {path.name for path in (at_work.root / "units").iterdir()} == {SWEEP, BACKFILL} - stopped


def test_an_inconsistency_stops_the_backfill_before_the_flags(at_work: Machine) -> None:
    """Each row that it marks meanwhile is one more to look at."""
    before = len(at_work.calls().splitlines())
    at_work.script("inconsistency")
    calls = at_work.calls().splitlines()[before:]
    stop = calls.index(f"stop {BACKFILL}")
    assert stop < next(number for number, call in enumerate(calls) if call.startswith("restart"))


@pytest.mark.parametrize("scenario", ["local", "uploads"])
def test_elsewhere_the_flags_and_restarts_come_first(at_work: Machine, scenario: str) -> None:
    """Nothing may keep customers from their local files, least of all a unit that does not stop."""
    (at_work.root / "units" / BACKFILL).write_text("stuck")
    before = len(at_work.calls().splitlines())
    began = time.monotonic()
    result = at_work.script(scenario)
    calls = at_work.calls().splitlines()[before:]
    restarts_begin = calls.index("reset-failed deltacrown-uwsgi@*.service")  # the flags are written by then
    assert restarts_begin < calls.index(f"stop {SWEEP}") < calls.index(f"stop {BACKFILL}")
    assert len([call for call in calls if call.startswith("restart ")]) == 2
    _, last = lines(result)
    assert (last["done"], last["running"]) == (True, [BACKFILL])
    assert result.returncode == 1  # by hand, nobody else reads the list
    assert 'what stands under "running" still runs: systemctl status' in result.stderr
    assert time.monotonic() - began < 12


def test_a_unit_of_which_systemd_tells_nothing_is_named(at_work: Machine) -> None:
    """systemd reloads its units for seconds, and a backfill that nobody could ask after counts as stopped."""
    systemctl = at_work.root / "bin/systemctl"
    systemctl.rename(at_work.root / "bin/answering")
    silent = 'case "$*" in *ActiveState*backfill*) exec sleep 5 ;; esac'
    systemctl.write_text(f'#!/bin/sh\n{silent}\nexec {systemctl.parent}/answering "$@"\n')
    systemctl.chmod(0o755)
    result = at_work.script("uploads")
    _, last = lines(result)
    assert (result.returncode, last["done"], last["failed"]) == (1, True, [])
    assert last["running"] != []


def test_single_workers_leave_the_background_alone(at_work: Machine) -> None:
    """`--workers` takes one bad worker off S3; the fleet goes on migrating."""
    _, last = lines(at_work.script("local", "--workers", "worker1"))
    assert "stopped" not in last
    assert len(list((at_work.root / "units").iterdir())) == 2


@pytest.mark.parametrize("stubborn", [(), ("stubborn",)])
@pytest.mark.parametrize(("name", "command"), [("manage.py", "backfill_certificates_to_s3"), ("cutover", "backfill")])
def test_a_backfill_started_by_hand_is_ended(
    machine: Machine, tmp_path: Path, name: str, command: str, stubborn: tuple[str, ...]
) -> None:
    """The runbook's own command in somebody's terminal holds its flag as it was when it was started."""
    (machine.root / "application-user").write_text(getpass.getuser())
    with process(machine, "/usr/bin/python3", "-u", program(tmp_path, name), command, *stubborn) as stray:
        result = machine.script("inconsistency")
        assert stray.wait(timeout=5) != 0
    _, last = lines(result)
    assert (last["stopped"], last["running"]) == ([f"backfill:{stray.pid}"], [])


@pytest.mark.parametrize(
    "arguments",
    [
        ("manage.py", "backfill_certificates_to_s3_later"),
        ("manage.py", "shell", "backfill_certificates_to_s3"),
        ("cutover", "evidence", "backfill"),
        ("note.py", "cutover", "backfill"),
    ],
)
def test_who_only_names_a_backfill_is_left_alone(machine: Machine, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """`pkill -f` ends the editor in which the runbook is open."""
    with process(machine, "/usr/bin/python3", program(tmp_path, arguments[0]), *arguments[1:]) as bystander:
        _, last = lines(machine.script())
        assert bystander.poll() is None
    assert last["stopped"] == []


@pytest.mark.skipif(getpass.getuser() != "root", reason="starts a process of another user")
def test_a_backfill_of_somebody_else_is_left_alone(machine: Machine) -> None:
    """Another application's user may have a command of the same name."""
    (machine.root / "application-user").write_text("www-data")
    as_nobody = ("setpriv", "--reuid=nobody", "--clear-groups", "--")
    shared = Path(tempfile.mkdtemp(dir="/tmp"))  # pytest's own folders are closed to others
    shared.chmod(0o755)
    try:
        as_nobody = ("setpriv", "--reuid=nobody", "--clear-groups", "--")
        with process(machine, *as_nobody, "/usr/bin/python3", program(shared, "cutover"), "backfill") as stranger:
            _, last = lines(machine.script())
            assert stranger.poll() is None
    finally:
        shutil.rmtree(shared)
    assert last["stopped"] == []


def test_looking_that_hangs_keeps_no_flag_from_being_set(machine: Machine) -> None:
    """The command line of a process that waits for a dead disk may not be readable, ever."""
    machine.main.write_text("CERT_S3_DUAL_WRITE=true\nCERT_S3_READ_PRIMARY=true\nCERT_S3_BACKFILL_ENABLED=true\n")
    hanging = machine.root / "bin/grep"
    hanging.write_text('#!/bin/sh\n[ "$1" != -lzxFs ] || exec sleep 20\nexec /usr/bin/grep "$@"\n')
    hanging.chmod(0o755)
    began = time.monotonic()
    _, last = lines(machine.script("inconsistency"))
    assert time.monotonic() - began < 15
    assert (last["done"], last["failed"]) == (True, [])
    assert last["running"] == ["an unknown process, for looking hangs,"]
    assert "CERT_S3_READ_PRIMARY=false" in machine.main.read_text()
