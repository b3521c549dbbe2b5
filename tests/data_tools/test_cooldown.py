"""`cutover backfill --run-size --cooldown`: the runbook's pauses within one process, and everything that ends them."""

from __future__ import annotations

import json
import re
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from cutover import control
from cutover.backfill.pace import Pace
from cutover.exit_codes import ExitCode
from tests.data_tools.backfill_runs import check_all_migrated, document, issue, marked_keys

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from cutover.control import Run
    from tests.data_tools.certificate_site import Site

LONG = ("--json", "--batch-size", "2", "--run-size", "4", "--cooldown", "600")


def paced(site: Site, *arguments: str) -> tuple[dict[str, Any], list[str], float]:
    """Runs it to its end, which must be a good one: its document, its lines, and its seconds."""
    began = time.monotonic()
    done = site.run("backfill", "--json", *arguments)
    assert done.returncode == ExitCode.DONE, done.stderr
    return document(done), done.stderr.splitlines(), time.monotonic() - began


def when_cooling(site: Site, process: subprocess.Popen[str]) -> Run:
    """The run once it cools down."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        run = control.running(site.settings, "backfill")
        if run is not None and run.phase.startswith("cooling down until "):
            return run
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    pytest.fail("it never cooled down")


def test_it_waits_after_each_run_and_not_after_the_last_row(site: Site) -> None:
    """Without its pauses the backfill takes the disk from customers for hours; with one too many it ends late."""
    issue(site, 6)
    plain, _, _ = paced(site, "--dry-run")
    found, lines, seconds = paced(site, "--batch-size", "2", "--run-size", "3", "--cooldown", "2")
    assert found.keys() == plain.keys()
    assert (found["migrated"], found["errors"], found["stopped"]) == (6, [], None)
    assert 2 <= found["duration_s"] < seconds
    said = [line for line in lines if "Cooling down" in line]
    assert len(said) == 1
    assert re.fullmatch(r"\[INFO\] Cooling down after 3 certificates until \d\d:\d\d:\d\dZ", said[0])
    # Batches end where a cool-down begins: 2 and 1, twice.
    assert [line.split(":")[0] for line in lines if ": Processing" in line] == [
        f"[INFO] Batch {number}/4" for number in (1, 2, 3, 4)
    ]
    progress = [line for line in lines if line.startswith("[INFO] Progress: ")]
    assert progress[1].startswith("[INFO] Progress: 3/6 (50.0%) - ETA: ")
    assert progress[1].endswith(", 1 cool-downs of 2 seconds included")
    assert "cool-downs" not in progress[2]
    assert "Cool-down: 2 seconds after each 3" in lines
    check_all_migrated(site)


def test_a_dry_run_does_not_wait(site: Site) -> None:
    """A rehearsal of the command that takes as long as the command is not made."""
    issue(site, 3)
    found, lines, seconds = paced(site, "--dry-run", "--run-size", "1", "--cooldown", "60")
    assert found["migrated"] == 3
    assert seconds < 30
    assert not [line for line in lines if "ool" in line]


@pytest.mark.parametrize("way", ["abort", "flag", "signal"])
def test_a_cool_down_is_ended_at_once_and_resumed(site: Site, way: str) -> None:
    """Whoever stops a backfill in an emergency must not wait five minutes for it."""
    rows = issue(site, 6)
    environment = ("--env-file", str(site.environment_file()))
    process = site.start("backfill", *LONG, *environment)
    try:
        when_cooling(site, process)
        assert sum(row.marked for row in site.rows()) == 4  # nothing is under way in a cool-down
        ways: dict[str, Callable[[], object]] = {
            "abort": lambda: site.run("abort"),
            "flag": lambda: site.environment_file(CERT_S3_BACKFILL_ENABLED="false"),
            "signal": lambda: process.send_signal(signal.SIGTERM),
        }
        ways[way]()
        began = time.monotonic()
        output, _ = process.communicate(timeout=10)
        assert time.monotonic() - began < 3
    finally:
        process.kill()
    found = json.loads(output)
    expected = (ExitCode.USAGE, "flag") if way == "flag" else (ExitCode.INTERRUPTED, "signal")
    assert (process.returncode, found["stopped"], found["migrated"]) == (*expected, 4)
    site.environment_file()
    resumed, _, seconds = paced(site, *LONG[1:], *environment, "--resume-token", found["resume_token"])
    assert (resumed["migrated"], resumed["errors"]) == (len(rows) - 4, [])
    assert seconds < 30
    check_all_migrated(site)


def test_a_paused_cool_down_stays_paused_and_is_alive(site: Site) -> None:
    """A pause that the end of a cool-down lifts is none; a cool-down that shows no life is killed as hung."""
    issue(site, 2)
    process = site.start(
        "backfill", "--json", "--run-size", "1", "--cooldown", "10"
    )  # the doctor takes seconds on a busy machine
    try:
        first = when_cooling(site, process)
        time.sleep(1.2)
        assert when_cooling(site, process).updated > first.updated
        assert "cooling down until " in site.run("doctor", "--json").stdout
        assert site.run("pause").returncode == ExitCode.DONE
        time.sleep(10.5)
        run = control.running(site.settings, "backfill")
        assert run is not None
        assert run.phase == "paused"
        assert sum(row.marked for row in site.rows()) == 1
        site.run("resume")
        process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == ExitCode.DONE
    check_all_migrated(site)


def test_rows_that_change_in_a_cool_down_are_taken_as_they_are_then(site: Site) -> None:
    """A row of five minutes ago that the sweep has marked, or staff removed, is no error of the backfill."""
    rows = issue(site, 4)
    process = site.start("backfill", "--json", "--run-size", "2", "--cooldown", "8")
    try:
        when_cooling(site, process)
        site.store_files(rows[2])
        site.execute("UPDATE {table} SET migrated_to_s3_at = now() WHERE id = %s", rows[2].id)
        site.execute("DELETE FROM {table} WHERE id = %s", rows[3].id)
        output, errors = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == ExitCode.DONE, errors
    assert (json.loads(output)["migrated"], json.loads(output)["errors"]) == (2, [])
    assert set(site.keys()) == set(marked_keys(site.rows()))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--run-size", "5"], "belong together"),
        (["--cooldown", "5"], "belong together"),
        (["--run-size", "5", "--cooldown", "5", "--scheduler", "tcp://127.0.0.1:8786"], "paces one process"),
        (["--run-size", "0", "--cooldown", "5"], "must be 1 or more"),
        (["--run-size", "5", "--cooldown", "soon"], "is no number of seconds"),
        (["--run-size", "5", "--cooldown", "nan"], "is no number of seconds"),
    ],
)
def test_half_a_pace_is_refused(site: Site, arguments: list[str], sentence: str) -> None:
    """A run size that silently never cools down is found when the customers complain."""
    issue(site, 1)
    refused = site.run("backfill", *arguments)
    assert (refused.returncode, site.objects()) == (ExitCode.USAGE, {})
    assert sentence in refused.stderr


@pytest.mark.parametrize(
    ("total", "wanted", "batches", "cool_downs"),
    [(1000, 50, 20, 0), (1001, 50, 21, 1), (0, 50, 0, 0), (2000, 300, 8, 1), (5, 9, 1, 0)],
)
def test_batches_and_cool_downs_are_known_beforehand(total: int, wanted: int, batches: int, cool_downs: int) -> None:
    """An operator plans the night by this."""
    pace = Pace(1000, 300.0)
    assert (pace.batches(total, wanted), pace.to_come(total)) == (batches, cool_downs)
    counted = 0
    while pace.begun < total:
        pace.cooled += pace.is_due
        pace.begun += min(pace.batch_size(wanted), total - pace.begun)
        counted += 1
    assert (counted, pace.cooled) == (batches, cool_downs)
