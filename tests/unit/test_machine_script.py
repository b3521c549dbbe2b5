"""scripts/deltacrown-s3-rollback on a made-up root: files, epoch, proof and refusals. Real systemd: tests/fleet."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
LOCAL, DUAL = "false,false,false", "true,false,true"
PLAIN_LOCAL = "CERT_S3_DUAL_WRITE=false\nCERT_S3_READ_PRIMARY=false\nCERT_S3_BACKFILL_ENABLED=false\n"


@dataclass
class Machine:
    root: Path

    @property
    def main(self) -> Path:
        return self.root / "etc/deltacrown/staging.env"

    def override(self, worker: str) -> Path:
        return self.root / f"etc/deltacrown/workers/{worker}.env"

    @property
    def epoch(self) -> Path:
        return self.root / "etc/deltacrown/rollback-epoch"

    def starts_with_all_flags_on(self) -> None:
        """Both workers hold true, true, true, and the machine's file says so."""
        self.main.write_text("DATABASE_URL=postgres://x\n" + PLAIN_LOCAL.replace("false", "true"))
        self.systemctl("restart", "deltacrown-uwsgi@worker1.service", "deltacrown-uwsgi@worker2.service")

    def restarts(self, since: str) -> list[str]:
        """The units that were restarted since the calls `since`."""
        return [line.split()[1] for line in self.calls()[len(since) :].splitlines() if line.startswith("restart ")]

    def systemctl(self, *arguments: str) -> None:
        subprocess.run([self.root / "bin/systemctl", *arguments], check=True)

    def script(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [REPOSITORY / "scripts/deltacrown-s3-rollback", *arguments],
            env={"DELTACROWN_ROOT": str(self.root), "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def calls(self) -> str:
        return (self.root / "state/calls").read_text()


def lines(result: subprocess.CompletedProcess[str]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    entries = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    return entries[:-1], entries[-1]


def held(processes: list[dict[str, Any]], worker: str) -> set[tuple[bool | None, ...]]:
    return {(p["dual_write"], p["read_primary"], p["backfill"]) for p in processes if p["worker"] == worker}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Two workers in mode local, running."""
    for directory in ("bin", "etc/deltacrown/workers", "run/deltacrown", "proc", "state/worker1", "state/worker2"):
        (tmp_path / directory).mkdir(parents=True)
    shutil.copy(REPOSITORY / "tests/unit/fake_systemctl.py", tmp_path / "bin/systemctl")
    (tmp_path / "bin/systemctl").chmod(0o755)
    made = Machine(tmp_path)
    made.main.write_text("DATABASE_URL=postgres://x\n" + PLAIN_LOCAL)
    made.epoch.write_text("4\n")
    for worker in ("worker1", "worker2"):
        made.systemctl("start", f"deltacrown-uwsgi@{worker}.service")
    return made


def test_emergency_reaches_every_process_and_raises_the_epoch(machine: Machine) -> None:
    """A rollback that leaves one process on S3 keeps losing customers' files after "done"."""
    machine.main.write_text("DATABASE_URL=postgres://x\n" + PLAIN_LOCAL.replace("DUAL_WRITE=false", "DUAL_WRITE=true"))
    machine.override("worker2").write_text(PLAIN_LOCAL.replace("false", "true"))
    machine.systemctl("restart", "deltacrown-uwsgi@worker1.service", "deltacrown-uwsgi@worker2.service")

    result = machine.script()

    processes, last = lines(result)
    assert result.returncode == 0, result.stderr
    assert len(processes) == 4
    assert all(process["proven"] for process in processes)
    assert held(processes, "worker1") == held(processes, "worker2") == {(False, False, False)}
    assert last["done"] is True
    assert last["failed"] == []
    assert machine.epoch.read_text() == "5\n"
    assert machine.main.read_text() == "DATABASE_URL=postgres://x\n" + PLAIN_LOCAL
    assert not machine.override("worker2").exists()


@pytest.mark.parametrize(
    ("scenario", "expected"),
    [
        ("uploads", (False, True, False)),
        ("reads", (True, False, True)),
        ("inconsistency", (True, False, False)),
        ("local", (False, False, False)),
    ],
)
def test_scenario_turns_off_its_flags_only(machine: Machine, scenario: str, expected: tuple[bool, bool, bool]) -> None:
    """Turning off more than the scenario says loses S3 writes that were healthy; less leaves the fault in place."""
    machine.main.write_text(PLAIN_LOCAL.replace("false", "true"))
    machine.systemctl("restart", "deltacrown-uwsgi@worker1.service", "deltacrown-uwsgi@worker2.service")
    processes, _ = lines(machine.script(scenario))
    assert held(processes, "worker1") == held(processes, "worker2") == {expected}


def test_emergency_breaks_the_lock_and_names_its_holder(machine: Machine) -> None:
    """A step that died must not lock the on-call out."""
    lock = machine.root / "run/deltacrown/cutover.lock"
    lock.write_text('{"holder": "amina", "step": 6}')
    result = machine.script()
    assert not lock.exists()
    assert "amina" in result.stdout + result.stderr


def test_second_run_restarts_only_what_the_first_left(machine: Machine) -> None:
    """Customers must not pay with another restart of nine sound machines for the tenth, which is mended now."""
    machine.starts_with_all_flags_on()
    (machine.root / "state/worker1/broken").write_text("*")
    assert machine.script().returncode == 1
    (machine.root / "state/worker1/broken").unlink()
    kept, calls = (machine.root / "state/worker2/pids").read_text(), machine.calls()

    result = machine.script()

    processes, last = lines(result)
    assert result.returncode == 0, result.stderr
    assert len(processes) == 4
    assert all(process["proven"] for process in processes)
    assert (last["done"], last["kept"], last["epoch"]) == (True, ["worker2"], 6)
    assert machine.restarts(calls) == ["deltacrown-uwsgi@worker1.service"]
    assert (machine.root / "state/worker2/pids").read_text() == kept


@pytest.mark.parametrize("lacking", ["a flag of one process", "the unit"])
def test_worker_that_only_seems_to_hold_the_flags_is_restarted(machine: Machine, lacking: str) -> None:
    """A stray old process of a worker, or the last one of a unit that failed, would stay on S3 unseen."""
    pid = (machine.root / "state/worker1/pids").read_text().split()[0]
    if lacking == "the unit":
        (machine.root / "state/worker1/pids").unlink()
    else:
        (machine.root / f"proc/{pid}/environ").write_bytes(PLAIN_LOCAL.replace("false", "true").encode())
    calls = machine.calls()
    _, last = lines(machine.script())
    assert last["kept"] == ["worker2"]
    assert machine.restarts(calls) == ["deltacrown-uwsgi@worker1.service"]


def test_step_restarts_a_worker_that_holds_its_flags_already(machine: Machine) -> None:
    """A step counts from its own restarts: an older process has written METRIC lines that are not the step's."""
    calls = machine.calls()
    _, last = lines(machine.script("--flags", LOCAL, "--epoch", "4", "--workers", "worker1"))
    assert (last["done"], last["kept"]) == (True, [])
    assert machine.restarts(calls) == ["deltacrown-uwsgi@worker1.service"]


def test_machine_that_cannot_be_written_says_what_its_processes_hold(machine: Machine) -> None:
    """Whoever is on call must know whether the machine with the full disk still writes to S3."""
    machine.starts_with_all_flags_on()
    shutil.rmtree(machine.epoch.parent / "workers")
    machine.epoch.unlink()
    (machine.root / "etc/deltacrown/rollback-epoch").mkdir()  # nothing can take its place
    calls = machine.calls()
    result = machine.script()
    processes, last = lines(result)
    assert result.returncode == 5
    assert "rollback-epoch cannot be written; nothing was changed. Make room (df -h " in result.stderr
    assert held(processes, "worker1") == held(processes, "worker2") == {(True, True, True)}
    assert not any(process["proven"] for process in processes)
    assert (last["done"], last["failed"]) == (False, ["worker1", "worker2"])
    assert machine.restarts(calls) == []


def test_a_worker_whose_own_file_cannot_be_written_is_not_proven_by_its_old_flags(machine: Machine) -> None:
    """It holds what its file says, and that is what the emergency is to take from it."""
    machine.starts_with_all_flags_on()
    machine.override("worker1").mkdir()
    processes, last = lines(machine.script("local", "--workers", "worker1"))
    assert (last["done"], last["kept"], last["failed"]) == (False, [], ["worker1"])
    assert not any(process["proven"] for process in processes)


def test_process_that_kept_the_old_flags_is_not_proven(machine: Machine) -> None:
    """An application that ignores its environment file would otherwise be reported as rolled back."""
    machine.starts_with_all_flags_on()
    (machine.root / "state/worker1/old").write_text(PLAIN_LOCAL.replace("false", "true"))
    result = machine.script()
    processes, last = lines(result)
    assert result.returncode == 1
    assert last["failed"] == ["worker1"]
    assert last["done"] is False
    assert {process["proven"] for process in processes if process["worker"] == "worker1"} == {False}


def test_missing_flag_is_null_and_unproven(machine: Machine) -> None:
    """A key that is absent from /proc says nothing; taking it for "off" would prove what nobody saw."""
    machine.starts_with_all_flags_on()
    (machine.root / "state/worker1/old").write_text("CERT_S3_DUAL_WRITE=false\nCERT_S3_READ_PRIMARY=false\n")
    result = machine.script()
    processes, _ = lines(result)
    assert result.returncode == 1
    assert held(processes, "worker1") == {(False, False, None)}


def test_worker_that_does_not_start_does_not_keep_the_others(machine: Machine) -> None:
    """One broken worker must not leave the rest of the machine on S3."""
    machine.starts_with_all_flags_on()
    (machine.root / "state/worker1/broken").write_text("*")
    result = machine.script()
    processes, last = lines(result)
    assert result.returncode == 1
    assert last["failed"] == ["worker1"]
    assert [process["proven"] for process in processes if process["worker"] == "worker2"] == [True, True]


def test_step_changes_one_worker_by_its_override(machine: Machine) -> None:
    """Writing the machine's file for a canary would let a crash flip workers that nobody chose."""
    before = machine.main.read_bytes()
    result = machine.script("--flags", DUAL, "--epoch", "4", "--workers", "worker1")
    processes, _ = lines(result)
    assert result.returncode == 0, result.stderr
    assert {process["worker"] for process in processes} == {"worker1"}
    assert held(processes, "worker1") == {(True, False, True)}
    assert machine.main.read_bytes() == before
    assert "CERT_S3_DUAL_WRITE=true" in machine.override("worker1").read_text()
    assert not machine.override("worker2").exists()
    assert machine.epoch.read_text() == "4\n"


def test_last_worker_settles_the_machine(machine: Machine) -> None:
    """Overrides that stay behind would beat the machine's file at the next change by hand."""
    machine.script("--flags", DUAL, "--epoch", "4", "--workers", "worker1")
    machine.script("--flags", DUAL, "--epoch", "4", "--workers", "worker2")
    assert (
        "CERT_S3_DUAL_WRITE=true\nCERT_S3_READ_PRIMARY=false\nCERT_S3_BACKFILL_ENABLED=true\n"
        in machine.main.read_text()
    )
    assert not list((machine.root / "etc/deltacrown/workers").iterdir())


def test_canary_taken_back_leaves_the_machine_as_it_was(machine: Machine) -> None:
    """A way back that is no exact way back would make the next preflight refuse."""
    before = machine.main.read_bytes()
    machine.script("--flags", DUAL, "--epoch", "4", "--workers", "worker1")
    result = machine.script("--flags", LOCAL, "--epoch", "4", "--workers", "worker1")
    assert result.returncode == 0
    assert machine.main.read_bytes() == before
    assert not machine.override("worker1").exists()


def test_worker_that_fails_a_step_gets_its_old_flags_back_at_once(machine: Machine) -> None:
    """A crash-looping worker behind an activated socket swallows requests until somebody comes."""
    (machine.root / "state/worker1/broken").write_text(DUAL)
    result = machine.script("--flags", DUAL, "--epoch", "4", "--workers", "worker1")
    assert result.returncode == 1
    assert "putting back false,false,false" in result.stdout + result.stderr
    status, last = lines(machine.script("--status"))
    assert held(status, "worker1") == {(False, False, False)}
    assert last["failed"] == []


def test_worker_that_never_starts_again_is_taken_off_its_socket(machine: Machine) -> None:
    """nginx goes on sending requests to a socket that systemd holds open for a dead worker."""
    (machine.root / "state/worker1/broken").write_text("*")
    machine.script("--flags", DUAL, "--epoch", "4", "--workers", "worker1")
    assert "stop --no-block deltacrown-uwsgi@worker1.socket" in machine.calls()


@pytest.mark.parametrize("form", [("--flags", DUAL), ("reads",)])
def test_other_epoch_is_refused_and_changes_nothing(machine: Machine, form: tuple[str, ...]) -> None:
    """A step that started before an emergency would undo it."""
    before = machine.main.read_bytes()
    result = machine.script(*form, "--epoch", "3", "--workers", "worker1")
    assert result.returncode == 6
    assert "epoch 3" in result.stdout + result.stderr
    assert machine.main.read_bytes() == before
    assert not machine.override("worker1").exists()
    assert machine.epoch.read_text() == "4\n"


def test_odd_lines_are_kept_or_repaired_and_reported(machine: Machine) -> None:
    """An `export` line is ignored by systemd: the runbook's own example would leave the flag off without a word."""
    machine.main.write_bytes(
        b"# staging\r\nexport CERT_S3_DUAL_WRITE=true\r\nNAME='two words'\nCERT_S3_READ_PRIMARY=\"true\"\n"
        b"CERT_S3_READ_PRIMARY=true\nA=b c # note\nexport OTHER=1\nno newline at the end \xc3\xa9"
    )
    result = machine.script()
    said = result.stdout + result.stderr
    assert machine.main.read_bytes() == (
        b"# staging\r\nCERT_S3_DUAL_WRITE=false\nNAME='two words'\nCERT_S3_READ_PRIMARY=false\nA=b c # note\n"
        b"export OTHER=1\nno newline at the end \xc3\xa9\nCERT_S3_BACKFILL_ENABLED=false\n"
    )
    for notice in (
        'removed "export" before CERT_S3_DUAL_WRITE',
        "carriage return",
        "second line of CERT_S3_READ_PRIMARY",
    ):
        assert notice in said
    assert "staging.env:6: sh and systemd read this line differently" in said
    assert "staging.env:7: systemd ignores a line" in said


def test_file_that_is_right_already_stays_byte_for_byte(machine: Machine) -> None:
    """A file without a last newline must not change under a rollback that has nothing to change."""
    machine.main.write_text(PLAIN_LOCAL + "LAST=1")
    machine.script()
    assert machine.main.read_text() == PLAIN_LOCAL + "LAST=1"


def test_step_refuses_a_comment_that_is_not_utf8_and_the_emergency_goes_on(machine: Machine) -> None:
    """A Latin-1 comment must stop a planned change, and must never stop a rollback."""
    machine.main.write_bytes(b"# Z\xfcrich\n" + PLAIN_LOCAL.replace("false", "true").encode())
    refused = machine.script("--flags", DUAL, "--epoch", "4", "--workers", "worker1")
    assert refused.returncode == 2
    assert "not UTF-8" in refused.stderr
    assert machine.script().returncode == 0
    assert machine.main.read_bytes() == b"# Z\xfcrich\n" + PLAIN_LOCAL.encode()


def test_assignment_that_is_not_utf8_is_refused_before_anything_is_restarted(machine: Machine) -> None:
    """systemd refuses the whole file: a rollback that restarts all the same takes the site down."""
    before = b"NAME=Z\xfcrich\n" + PLAIN_LOCAL.replace("false", "true").encode()
    machine.main.write_bytes(before)
    calls = machine.calls()
    result = machine.script()
    assert result.returncode == 2
    assert "staging.env:1 is not UTF-8" in result.stderr
    assert machine.main.read_bytes() == before
    assert machine.epoch.read_text() == "4\n"
    assert "restart" not in machine.calls()[len(calls) :]


def test_end_of_a_continued_line_is_not_ours(machine: Machine) -> None:
    """A line that swallows the next one would swallow a flag, and its own value be changed with it."""
    machine.main.write_text("A=b\\\nCERT_S3_DUAL_WRITE=true\nCERT_S3_READ_PRIMARY=true\n")
    machine.script()
    assert machine.main.read_text() == (
        "A=b\\\nCERT_S3_DUAL_WRITE=true\nCERT_S3_READ_PRIMARY=false\nCERT_S3_DUAL_WRITE=false\nCERT_S3_BACKFILL_ENABLED=false\n"
    )


def test_emergency_for_some_workers_leaves_the_others(machine: Machine) -> None:
    """`--workers` exists to take one bad worker off S3 without giving up the rest."""
    machine.main.write_text(PLAIN_LOCAL.replace("false", "true"))
    machine.systemctl("restart", "deltacrown-uwsgi@worker1.service", "deltacrown-uwsgi@worker2.service")
    processes, _ = lines(machine.script("local", "--workers", "worker1"))
    assert {process["worker"] for process in processes} == {"worker1"}
    status, _ = lines(machine.script("--status"))
    assert held(status, "worker1") == {(False, False, False)}
    assert held(status, "worker2") == {(True, True, True)}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("everything",), "unknown scenario everything"),
        (("--workers", "worker9"), "no unit deltacrown-uwsgi@worker9.service"),
        (("--flags", DUAL), "--flags needs --epoch"),
        (("--flags", "yes,no,yes", "--epoch", "4"), "not three times true or false"),
        (("--epoch", "x"), "not a whole number"),
        (("--epoch",), "needs a value"),
        (("--force",), "unknown option --force"),
        (("local", "reads"), "two scenarios"),
        (("--workers", ","), "not a list of workers"),
        (("--workers", ""), "needs a value"),
        (("--workers", "worker."), "no unit deltacrown-uwsgi@worker..service"),
        (("--workers", "worker*"), "not a list of workers"),
    ],
)
def test_wrong_use_is_one_sentence_and_changes_nothing(
    machine: Machine, arguments: tuple[str, ...], sentence: str
) -> None:
    """A typing error at 3 a.m. must not become a different rollback."""
    before = machine.main.read_bytes()
    result = machine.script(*arguments)
    assert result.returncode == 2
    assert sentence in result.stderr
    assert machine.main.read_bytes() == before
    assert machine.epoch.read_text() == "4\n"


def test_file_of_the_other_deployment_is_left_alone(machine: Machine) -> None:
    """A stray file of the other deployment must neither stop an emergency nor receive its flags."""
    other = machine.root / "etc/deltacrown/production.env"
    other.write_text(PLAIN_LOCAL.replace("false", "true"))
    machine.main.write_text(PLAIN_LOCAL.replace("false", "true"))
    assert machine.script().returncode == 0
    assert machine.main.read_text() == PLAIN_LOCAL
    assert other.read_text() == PLAIN_LOCAL.replace("false", "true")


def test_override_with_one_flag_keeps_the_others_of_the_main_file(machine: Machine) -> None:
    """systemd merges both files key by key; taking the override alone turns off flags that nobody named."""
    machine.main.write_text(PLAIN_LOCAL.replace("DUAL_WRITE=false", "DUAL_WRITE=true"))
    machine.override("worker1").write_text("CERT_S3_READ_PRIMARY=true\n")
    processes, _ = lines(machine.script("reads"))
    assert held(processes, "worker1") == {(True, False, False)}


def test_override_of_a_unit_that_systemd_has_forgotten_is_written_too(machine: Machine) -> None:
    """A later start of that worker would put it back on S3."""
    machine.override("worker7").write_text(PLAIN_LOCAL.replace("false", "true"))
    assert machine.script().returncode == 0
    assert not machine.override("worker7").exists()


def test_override_with_somebodys_own_lines_is_kept(machine: Machine) -> None:
    """A setting that an operator gave one worker must survive a rollback."""
    machine.override("worker1").write_text("UWSGI_EXTRA=1\n" + PLAIN_LOCAL.replace("false", "true"))
    assert machine.script().returncode == 0
    assert machine.override("worker1").read_text() == "UWSGI_EXTRA=1\n" + PLAIN_LOCAL


def test_linked_main_file_is_changed_where_it_lies(machine: Machine) -> None:
    """Replacing the link would leave the deploy's file with the flags on, for the next deploy to link again."""
    target = machine.root / "release.env"
    target.write_text(PLAIN_LOCAL.replace("false", "true"))
    machine.main.unlink()
    machine.main.symlink_to(target)
    assert machine.script().returncode == 0
    assert machine.main.is_symlink()
    assert target.read_text() == PLAIN_LOCAL


def test_emergency_does_not_wait_for_a_lock_that_nobody_gives_back(machine: Machine) -> None:
    """A hung step on the machine must not outlive the time that a rollback has; a step does wait, and refuses."""
    lock = machine.root / "run/deltacrown/flags.lock"
    with lock.open("w") as held_lock:
        fcntl.flock(held_lock, fcntl.LOCK_EX)
        refused = machine.script("--flags", DUAL, "--epoch", "4", "--workers", "worker1")
        emergency = machine.script()
    assert refused.returncode == 5
    assert "held" in refused.stderr
    assert emergency.returncode == 0
    assert "the emergency goes on" in emergency.stderr


def test_stdout_is_json_lines_only(machine: Machine) -> None:
    """Whoever pipes the output into a parser must not meet a sentence."""
    machine.main.write_text("export CERT_S3_DUAL_WRITE=true\n")
    result = machine.script()
    assert 'removed "export"' in result.stderr
    assert all(json.loads(line) for line in result.stdout.splitlines())


def test_superseded_change_still_has_its_last_line(machine: Machine) -> None:
    """A reader that waits for the machine's line must learn that nothing was done."""
    result = machine.script("--flags", DUAL, "--epoch", "3")
    _, last = lines(result)
    assert (result.returncode, last["done"], last["failed"]) == (6, False, ["worker1", "worker2"])


def test_status_changes_nothing_and_names_a_worker_that_was_not_restarted(machine: Machine) -> None:
    """A file edited by hand is no flag until the worker restarts; "status" that read the file would say otherwise."""
    machine.main.write_text(PLAIN_LOCAL.replace("DUAL_WRITE=false", "DUAL_WRITE=true"))
    calls = machine.calls()
    result = machine.script("--status")
    processes, last = lines(result)
    assert result.returncode == 1
    assert last["failed"] == ["worker1", "worker2"]
    assert held(processes, "worker1") == {(False, False, False)}
    assert last["epoch"] == 4
    assert "restart" not in machine.calls()[len(calls) :]


def test_a_fence_is_told_whatever_its_mark_says(machine: Machine) -> None:
    """A mark that is cut off by a full disk must not read as no fence, nor take the machine's line with it."""
    assert lines(machine.script("--status"))[1]["fenced"] is False
    (machine.root / "etc/deltacrown/fenced").write_text('{"machines": {"we')
    assert lines(machine.script("--status"))[1]["fenced"] is True
    assert lines(machine.script())[1]["fenced"] is True
