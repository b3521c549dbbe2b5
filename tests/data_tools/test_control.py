"""Pause, resume, abort and a changed rate: what they reach, and what they must not."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cutover import control
from cutover.cli import main
from cutover.control import Control, Run, StateError
from cutover.exit_codes import ExitCode
from cutover.settings import Settings, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

CUTOVER = str(Path(sys.executable).parent / "cutover")
TOKEN = "eyJzdGFydF9pZCI6IDEwfQ=="
# A run of the named kind: a batch of one row each 20 ms, and what it was told at the end.
RUNNER = """
import sys, time
from pathlib import Path
from cutover.control import Control
from cutover.settings import load
with Control(load(None), sys.argv[1]) as control:
    batch = 0
    while control.before_batch(1, lambda: False):
        batch += 1
        time.sleep(0.02)
        control.report(batch=batch, token=sys.argv[2], rate=50.0)
print("ended")
"""


@pytest.fixture
def values(tmp_path: Path) -> Settings:
    (tmp_path / "media").mkdir()
    return Settings(tmp_path / "media", "a-bucket", "us-east-1", None, state_directory=tmp_path / "state" / "a-bucket")


@pytest.fixture
def environment(values: Settings) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CERT_", "CUTOVER_"))}
    return kept | {
        "MEDIA_ROOT": str(values.media_root),
        "AWS_STORAGE_BUCKET_NAME": values.bucket,
        "CUTOVER_STATE_DIRECTORY": str(values.state_directory.parent),
    }


@contextlib.contextmanager
def runner(environment: dict[str, str], kind: str = "backfill") -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", RUNNER, kind, TOKEN],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def cutover(
    environment: dict[str, str], *arguments: str, largest_file: int | None = None
) -> subprocess.CompletedProcess[str]:
    limit = [] if largest_file is None else ["prlimit", f"--fsize={largest_file}"]
    return subprocess.run([*limit, CUTOVER, *arguments], env=environment, capture_output=True, text=True, check=False)


def when(values: Settings, condition: str, kind: control.Kind = "backfill") -> Run:
    """The run once `condition`, an expression over `run`, holds; the test fails after a minute."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        run = control.running(values, kind)
        if run is not None and eval(condition, {"run": run}):  # noqa: S307 - the tests' own text
            return run
        time.sleep(0.02)
    pytest.fail(f"after a minute not yet {condition}: {control.running(values, kind)}")


def test_a_paused_run_starts_no_batch_and_goes_on_when_resumed(values: Settings, environment: dict[str, str]) -> None:
    """An operator who pauses because S3 throttles, and is not obeyed, has only SIGKILL left."""
    with runner(environment) as process:
        when(values, "run.batch > 2")
        paused = cutover(environment, "pause", "backfill")
        assert paused.returncode == ExitCode.DONE, paused.stderr
        assert "pauses before its next batch" in paused.stdout
        held = when(values, "run.phase == 'paused'")
        time.sleep(1.2)  # longer than a waiting run sleeps
        assert when(values, "True").batch == held.batch
        assert cutover(environment, "resume").returncode == ExitCode.DONE
        when(values, f"run.phase == 'running' and run.batch > {held.batch}")
        process.terminate()
        said = process.communicate()[1].splitlines()
    assert len(said) == 2, said  # else its log falls silent, as that of a run that hangs
    assert re.fullmatch(r"cutover: paused at \d\d:\d\d:\d\dZ: `cutover resume backfill` lets it go on", said[0])
    assert re.fullmatch(r"cutover: the pause ended after \d+ s", said[1])


def test_abort_ends_the_run_within_two_seconds_even_while_it_is_paused(
    values: Settings, environment: dict[str, str]
) -> None:
    """A run that no longer listens while it is paused can be ended by nothing but a signal."""
    with runner(environment, "sweep") as process:
        when(values, "run.batch > 0", "sweep")
        cutover(environment, "pause", "sweep")
        when(values, "run.phase == 'paused'", "sweep")
        assert cutover(environment, "abort", "sweep").returncode == ExitCode.DONE
        assert process.wait(timeout=2) == 0
        assert process.stdout is not None
        assert process.stdout.read() == "ended\n"
    assert control.running(values, "sweep") is None


def test_the_next_run_is_not_concerned_by_an_abort_of_the_one_before(
    values: Settings, environment: dict[str, str]
) -> None:
    """An abort that lay waiting would end tonight's backfill at its first batch, and nobody would know why."""
    with runner(environment) as process:
        run = when(values, "run.batch > 0")
        cutover(environment, "abort")
        process.wait(timeout=2)
    control.instruct(values, run, abort=True)  # as by a command that was a moment late
    with runner(environment):
        assert when(values, "run.batch > 3").identity != run.identity


def test_an_order_reaches_the_named_kind_only(values: Settings, environment: dict[str, str]) -> None:
    """Pausing the sweep by mistake with the backfill leaves the day's certificates unmarked."""
    with runner(environment, "backfill"), runner(environment, "sweep"):
        when(values, "run.batch > 0", "sweep")
        when(values, "run.batch > 0")
        told = cutover(environment, "pause", "backfill", "--json")
        assert [run["kind"] for run in json.loads(told.stdout)] == ["backfill"]
        when(values, "run.phase == 'paused'")
        batch = when(values, "True", "sweep").batch
        when(values, f"run.batch > {batch + 5}", "sweep")


def test_a_rate_that_is_changed_slows_the_run_and_taken_away_frees_it(
    values: Settings, environment: dict[str, str]
) -> None:
    """A limit that a running backfill does not take costs the customers' own uploads until it is restarted."""
    with runner(environment):
        when(values, "run.batch > 0")
        resumed = cutover(environment, "resume", "--max-rate", "2")
        assert (resumed.returncode, "goes on, at most 2 certificates a second\n" in resumed.stdout) == (0, True)
        slow = when(values, "'held back to 2 certificates a second' in run.phase")
        time.sleep(1.6)
        assert 1 <= when(values, "True").batch - slow.batch <= 4
        assert "goes on, with no limit to its rate\n" in cutover(environment, "resume", "--max-rate", "none").stdout
        free = when(values, "True").batch
        time.sleep(1.5)  # the first half may still be waited out at the old rate
        assert when(values, "True").batch - free > 5


def test_with_nothing_running_nobody_is_told(values: Settings, environment: dict[str, str]) -> None:
    """`paused` as an answer while the backfill goes on under another bucket's state would be believed."""
    result = cutover(environment, "pause")
    assert (result.returncode, result.stdout) == (ExitCode.FAILED, "")
    assert f"no backfill or sweep runs here that uses {values.state_directory}" in result.stderr


def test_a_killed_run_is_known_for_dead_and_its_token_is_named(values: Settings, environment: dict[str, str]) -> None:
    """A dead run that counts as running is waited for; its token is what the operator needs."""
    with runner(environment) as process:
        when(values, "run.batch > 0")
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert when(values, "True").process_state() is None
    result = cutover(environment, "pause")
    assert result.returncode == ExitCode.FAILED
    assert f"was killed, go on with --resume-token {TOKEN}" in result.stderr


def test_another_process_with_the_pid_is_not_taken_for_the_run(values: Settings) -> None:
    """Pids come round again: the web server must not be reported as a hung backfill."""
    with Control(values, "backfill"):
        run = when(values, "True")
        assert run.process_state() == "R"
        assert run.model_copy(update={"process_start": "1"}).process_state() is None
        assert run.model_copy(update={"host": "elsewhere"}).process_state() == "?"


def test_a_run_that_was_told_to_stop_does_not_wait_out_its_pause(values: Settings) -> None:
    """`systemctl stop` of a paused backfill must not need SIGKILL."""
    with Control(values, "backfill") as run:
        control.instruct(values, when(values, "True"), paused=True)
        stopped = threading.Event()
        threading.Timer(0.3, stopped.set).start()
        started = time.monotonic()
        assert run.before_batch(1, stopped.is_set) is False
        assert 0.2 < time.monotonic() - started < 2


def test_the_end_of_a_run_leaves_the_files_of_the_one_that_followed(values: Settings) -> None:
    """Else the second of two overlapping runs could be paused by nobody."""
    first, second = Control(values, "backfill"), Control(values, "backfill")
    with first, contextlib.ExitStack() as stack:
        stack.enter_context(second)
        identity = when(values, "True").identity
        first.__exit__()
        assert when(values, "True").identity == identity
    assert control.running(values, "backfill") is None


def test_files_are_private_and_one_that_cannot_be_read_is_named(values: Settings, environment: dict[str, str]) -> None:
    """Evidence that cannot be parsed is an error, never `nothing runs`."""
    with Control(values, "backfill"):
        modes = {path.stat().st_mode & 0o777 for path in values.state_directory.iterdir()}
        assert (modes, values.state_directory.stat().st_mode & 0o777) == ({0o600}, 0o700)
        path = values.state_directory / "run-backfill.json"
        whole = path.read_text()
        path.write_text(whole[:20])
        with pytest.raises(SettingsError, match=r"run-backfill\.json: is not what a run wrote"):
            control.running(values, "backfill")
        assert cutover(environment, "pause").returncode == ExitCode.USAGE
        path.write_text(whole)


def test_a_state_directory_that_cannot_be_written_is_named(values: Settings, environment: dict[str, str]) -> None:
    """A run that nobody can pause must say so before it starts, and a pause that is not written is no pause."""
    values.state_directory.parent.mkdir()
    values.state_directory.write_text("in the way")
    with pytest.raises(StateError, match=r"control-backfill\.json: cannot be written \(File exists\)"):
        Control(values, "backfill").__enter__()
    values.state_directory.unlink()
    with Control(values, "backfill") as run:
        result = cutover(environment, "pause", largest_file=0)
        assert (result.returncode, result.stdout) == (ExitCode.CANNOT_WRITE, "")
        assert "control-backfill.json: cannot be written (File too large)" in result.stderr
        assert not run.state().paused


def test_a_planted_link_is_not_followed(values: Settings) -> None:
    """The folder is www-data's, and an operator may begin a run as root."""
    victim = values.state_directory.parent / "victim"
    values.state_directory.mkdir(parents=True)
    (values.state_directory / f"control-backfill.json.{os.getpid()}").symlink_to(victim)
    with pytest.raises(StateError, match="Too many levels of symbolic links"):
        Control(values, "backfill").__enter__()
    assert not victim.exists()


def test_a_run_ends_well_without_the_file_of_its_orders(values: Settings) -> None:
    """Whoever tidies the state directory must not take the summary and the token from a run."""
    with Control(values, "backfill"):
        (values.state_directory / "control-backfill.json").unlink()
    assert control.running(values, "backfill") is None


@pytest.mark.parametrize(
    ("wanted", "rate", "rows"), [(200, None, 200), (200, 1000.0, 200), (200, 9.7, 9), (50, 0.2, 1)]
)
def test_a_batch_has_a_seconds_rows_at_most(wanted: int, rate: float | None, rows: int) -> None:
    """With a batch of 200 at once, `--max-rate 10` is twenty seconds of full speed for a throttled S3."""
    assert control.batch_rows(wanted, rate) == rows


@pytest.mark.parametrize("rate", ["0", "-1", "fast", "nan"])
def test_a_rate_that_is_none_is_refused(rate: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A rate of 0 would divide by zero in the run, not in the command."""
    with pytest.raises(SystemExit) as ended:
        main(["resume", "--max-rate", rate])
    assert ended.value.code == ExitCode.USAGE
    assert "--max-rate" in capsys.readouterr().err
