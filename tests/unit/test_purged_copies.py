"""The machine script after a purge of local copies: reads turn to files that are gone only if somebody says so."""

from __future__ import annotations

import pytest

from tests.unit.test_machine_script import PLAIN_LOCAL, Machine, held, lines, machine

__all__ = ["machine"]  # the fixture

PURGED = "40 2026-12-24T10:00:00Z\n"
ON = PLAIN_LOCAL.replace("false", "true")


@pytest.fixture
def purged(machine: Machine) -> Machine:
    """Every worker reads from S3, and the purge has marked forty files."""
    machine.main.write_text(ON)
    machine.systemctl("restart", "deltacrown-uwsgi@worker1.service", "deltacrown-uwsgi@worker2.service")
    mark(machine, PURGED)
    return machine


def mark(machine: Machine, text: str) -> None:
    (machine.root / "etc/deltacrown/purged-copies").write_text(text)


def marked(machine: Machine) -> str | None:
    """The number of the machine's mark; None if it has none."""
    path = machine.root / "etc/deltacrown/purged-copies"
    return path.read_text().split()[0] if path.exists() else None


def refused(machine: Machine, *arguments: str) -> str:
    """What the script says while it changes nothing at all."""
    lock = machine.root / "run/deltacrown/cutover.lock"
    lock.write_text('{"holder": "amina"}')
    calls, overrides = machine.calls(), sorted((machine.root / "etc/deltacrown/workers").iterdir())
    result = machine.script(*arguments)
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    assert (machine.main.read_text(), machine.epoch.read_text(), lock.exists()) == (ON, "4\n", True)
    assert sorted((machine.root / "etc/deltacrown/workers").iterdir()) == overrides
    assert "restart" not in machine.calls()[len(calls) :]
    return result.stderr


@pytest.mark.parametrize("arguments", [(), ("local",), ("reads",), ("inconsistency",), ("--workers", "worker1")])
def test_reads_do_not_turn_to_files_that_are_gone(purged: Machine, arguments: tuple[str, ...]) -> None:
    """An emergency makes an outage of every certificate that was ever retired."""
    said = refused(purged, *arguments)
    assert "REFUSED, and nothing was changed: 40 files lie only in S3" in said
    chosen = " --workers worker1" if "--workers" in arguments else ""
    assert f"sudo deltacrown-s3-rollback uploads{chosen}; " in said
    assert f"sudo cutover restore --env-file {purged.main}" in said
    scenario = arguments[0] if arguments and not arguments[0].startswith("--") else "local"
    assert f"sudo deltacrown-s3-rollback {scenario}{chosen} --accept-unreadable 40" in said


@pytest.mark.parametrize("number", ["41", "39", "0", "04", "99999999999999999999999"])
def test_another_number_accepts_nothing(purged: Machine, number: str) -> None:
    """A command from the shell's history accepts what nobody has looked at; or one too large for the shell passes."""
    assert "40 files lie only in S3" in refused(purged, "reads", "--accept-unreadable", number)


def test_the_exact_number_goes_and_so_does_what_leaves_the_reads_alone(purged: Machine) -> None:
    """A refusal that nothing satisfies keeps the on-call from acting."""
    processes, _ = lines(purged.script("uploads"))
    assert held(processes, "worker1") == {(False, True, False)}
    result = purged.script("local", "--accept-unreadable", "40")
    processes, last = lines(result)
    assert (result.returncode, last["done"]) == (0, True)
    assert held(processes, "worker1") == held(processes, "worker2") == {(False, False, False)}
    assert marked(purged) == "40"


def test_a_step_is_not_asked(purged: Machine) -> None:
    """Steps have proofs of their own, and their way back must not end in a question."""
    assert purged.script("--flags", "true,false,true", "--epoch", "4", "--workers", "worker1").returncode == 0


def test_the_data_hosts_count_goes_before_the_mark_and_corrects_it(purged: Machine) -> None:
    """All files are restored, and the machine goes on refusing; or more were purged, and an old number passes."""
    assert "50 files lie only in S3" in refused(purged, "--unreadable", "50", "--accept-unreadable", "40")
    assert marked(purged) == "40"
    assert purged.script("--unreadable", "7", "--accept-unreadable", "7").returncode == 0
    assert marked(purged) == "7"
    assert purged.script("--unreadable", "0").returncode == 0
    assert marked(purged) is None
    assert purged.script().returncode == 0


def test_a_machine_without_a_mark_learns_the_number(machine: Machine) -> None:
    """A machine that was bought after the purge; by hand it would refuse nothing."""
    assert machine.script("--unreadable", "40", "--accept-unreadable", "40").returncode == 0
    assert marked(machine) == "40"


def test_a_mark_that_cannot_be_corrected_keeps_nobody_from_the_flags(purged: Machine) -> None:
    """The rollback is proven, and ends as if it were not."""
    (purged.root / "etc/deltacrown/purged-copies").unlink()
    (purged.root / "etc/deltacrown/purged-copies").mkdir()
    result = purged.script("--unreadable", "0")
    assert result.returncode == 0
    assert "purged-copies cannot be corrected: 0 files lie only in S3 now" in result.stderr


@pytest.mark.parametrize("text", ["", "many files\n", "-3\n"])
def test_a_mark_that_says_no_number_is_not_none(purged: Machine, text: str) -> None:
    """A file that was edited by hand is taken for "nothing was purged"."""
    mark(purged, text)
    assert "purged-copies does not say how many files were purged" in refused(purged, "reads")
    assert purged.script("uploads").returncode == 0


@pytest.mark.parametrize("option", ["--accept-unreadable", "--unreadable"])
def test_what_is_no_number_is_a_wrong_use(purged: Machine, option: str) -> None:
    assert "not a whole number of files" in refused(purged, option, "all")
