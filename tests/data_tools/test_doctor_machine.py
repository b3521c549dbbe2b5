"""The doctor on the machine: disk, table, flags and runs; that each of these checks can say no."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cutover import control, plan
from cutover.control import Control
from cutover.doctor import database, flags, machine, permissions, runs, s3_calls
from cutover.doctor.finding import Finding, Subject
from cutover.exit_codes import ExitCode
from tests.data_tools.stub_s3 import stub_s3

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import LiteralString

    from cutover.settings import Settings
    from tests.data_tools.certificate_site import Site

TABLE = plan.load()
TOKEN = "eyJzdGFydF9pZCI6IDEwfQ=="


@pytest.fixture
def subject(site: Site) -> Subject:
    """The site, whose bucket the table does not know."""
    return Subject.of(site.settings, TABLE)


def changed(subject: Subject, **settings: Any) -> Subject:
    return dataclasses.replace(subject, settings=dataclasses.replace(subject.settings, **settings))


def by_name(findings: Iterable[Finding]) -> dict[str, Finding]:
    return {finding.check: finding for finding in findings}


def test_a_media_root_that_is_empty_or_cannot_be_written_fails(subject: Subject, tmp_path: Path) -> None:
    """An export that is not mounted is an empty directory: saves go to the machine's own disk and are lost."""
    (tmp_path / "empty" / "certificates").mkdir(parents=True)
    finding = by_name(machine.examine(changed(subject, media_root=tmp_path / "empty")))["MEDIA_ROOT"]
    assert (finding.outcome, "is empty: is the export mounted?" in finding.reason) == ("FAIL", True)
    findings = by_name(machine.examine(changed(subject, media_root=Path("/proc"))))
    assert findings["MEDIA_ROOT"].outcome == "FAIL"
    assert findings["MEDIA_ROOT writable"].outcome == "FAIL"
    assert "cannot write into /proc" in findings["MEDIA_ROOT writable"].reason


def test_a_disk_without_room_for_the_uploads_to_come_is_warned_of(subject: Subject) -> None:
    """A full disk fails the customer's save, S3 or not."""
    planned = TABLE.cost.planned.model_copy(update={"puts_per_day": 100_000_000})
    table = TABLE.model_copy(update={"cost": TABLE.cost.model_copy(update={"planned": planned})})
    finding = by_name(machine.examine(dataclasses.replace(subject, table=table)))["MEDIA_ROOT space"]
    assert (finding.outcome, "until the local copies may go need" in finding.reason) == ("WARN", True)


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("ALTER TABLE {table} DROP COLUMN migrated_to_s3_at", "migrated_to_s3_at is absent"),
        ("ALTER TABLE {table} ALTER COLUMN updated_at TYPE timestamp", "updated_at is timestamp without time zone"),
        ("DROP TABLE {table}", "there is no table"),
    ],
)
def test_a_table_that_is_not_the_applications_fails(site: Site, statement: LiteralString, reason: str) -> None:
    """A migration that was not run shows at the first mark, when the uploads of a night are done."""
    site.execute(statement)
    finding = database.examine(site.settings)
    assert (finding.outcome, reason in finding.reason) == ("FAIL", True)


def test_a_database_that_cannot_be_reached_fails_and_its_password_is_not_told(site: Site) -> None:
    """The doctor's output is what people paste into a chat."""
    for url in ("postgres://a:hidden@127.0.0.1:9/none", "hidden no address", ""):
        finding = database.examine(dataclasses.replace(site.settings, database_url=url))
        assert finding.outcome == "FAIL"
        assert "hidden" not in str(finding)


def test_flags_that_are_no_mode_are_warned_of(site: Site, subject: Subject) -> None:
    """A triple that nobody chose is a step that was interrupted."""
    file = site.environment_file(CERT_S3_DUAL_WRITE="false", CERT_S3_READ_PRIMARY="true")
    finding = by_name(flags.examine(changed(subject, environment_file=file)))["flags"]
    assert (finding.outcome, "CERT_S3_DUAL_WRITE=false, CERT_S3_READ_PRIMARY=true" in finding.reason) == ("WARN", True)


def test_lines_that_systemd_takes_otherwise_are_named(site: Site, subject: Subject) -> None:
    """The runbook's `export` lines start workers with the flag off, and everything looks as if it were on."""
    file = site.environment_file()
    text = file.read_text()
    last = text.count("\n") + 1
    for lines, outcome, reason in (
        ("export CERT_S3_DUAL_WRITE=true\n", "FAIL", f"ignores the lines of CERT_S3_DUAL_WRITE (line {last})"),
        ("CERT_S3_DUAL_WRITE=true\n", "FAIL", "CERT_S3_DUAL_WRITE (2 lines) more than once, and the last line counts"),
        ("export EDITOR=vi\n", "WARN", f"ignores the lines of EDITOR (line {last})"),
        ("EDITOR=vi\n# EDITOR=nano\n", "OK", f"{last} assignments"),
        ("EDITOR = vi\n", "WARN", f"a shell reads the lines of EDITOR (line {last}) otherwise than systemd"),
        ("EDITOR=vi -n\n", "WARN", f"a shell reads the lines of EDITOR (line {last})"),
        ("EDITOR=vi # the old one\n", "WARN", f"a shell reads the lines of EDITOR (line {last})"),
        ("EDITOR=$HOME/vi\n", "WARN", f"a shell reads the lines of EDITOR (line {last})"),
        ('EDITOR="$HOME/vi"\n', "WARN", f"a shell reads the lines of EDITOR (line {last})"),
        ("EDITOR='$HOME/vi -n # one'\nPAGER=\"a b\"\nTERM=a#b \n", "OK", f"{last + 2} assignments"),
    ):
        file.write_text(text + lines)
        finding = by_name(flags.examine(changed(subject, environment_file=file)))["environment file"]
        assert (finding.outcome, reason in finding.reason) == (outcome, True), finding


@contextlib.contextmanager
def run_last_seen(values: Settings, seconds_ago: float, **changes: object) -> Iterator[None]:
    """A backfill of this process, or of another, whose seventh and last batch was so long ago."""
    with Control(values, "backfill") as started:
        started.report(batch=7, token=TOKEN, rate=12.0)
        run = control.running(values, "backfill")
        assert run is not None
        updated = datetime.datetime.now(tz=datetime.UTC) - datetime.timedelta(seconds=seconds_ago)
        path = values.state_directory / "run-backfill.json"
        path.write_text(run.model_copy(update={"updated": updated, **changes}).model_dump_json())
        yield


def backfill_of(subject: Subject, *earlier: Finding) -> Finding:
    return by_name(runs.examine(subject, earlier))["running backfill"]


def test_a_run_is_fine_until_five_minutes_without_a_batch(subject: Subject) -> None:
    """The runbook's own limit: earlier is a false alarm, later is a lost night."""
    with run_last_seen(subject.settings, 290):
        assert backfill_of(subject).outcome == "OK"
    with run_last_seen(subject.settings, 310):
        finding = backfill_of(subject)
    assert finding.outcome == "FAIL"
    assert finding.reason.startswith("hangs: waits for an answer of S3 or PostgreSQL, though both answer now")
    assert f"batch 7, token {TOKEN}, 31" in finding.reason
    assert finding.next == f"kill {os.getpid()} && cutover backfill --resume-token {TOKEN}"


def test_what_an_operator_did_is_given_as_the_reason(subject: Subject) -> None:
    """A run that somebody paused must not be killed for hanging."""
    with run_last_seen(subject.settings, 400, phase="paused"):
        finding = backfill_of(subject)
    assert (finding.outcome, finding.next) == ("FAIL", "cutover resume backfill")
    assert finding.reason.startswith("paused by an operator")
    with run_last_seen(subject.settings, 400, phase="held back to 2 certificates a second"):
        assert backfill_of(subject).reason.startswith("hangs: held back to 2 certificates a second")


def test_a_throttling_s3_is_given_as_the_reason(subject: Subject) -> None:
    """The runbook's first cause of a hang: whoever does not know it restarts at the same rate."""
    with run_last_seen(subject.settings, 400), stub_s3(busy=True) as url:
        client = s3_calls.client(dataclasses.replace(subject.settings, endpoint_url=url))
        listing = s3_calls.ask(lambda: client.list_objects_v2(Bucket=subject.settings.bucket))
        looked = permissions.examine(subject, client, "", listing)
        finding = backfill_of(subject, *looked)
    assert "waits for what is not well here either, permission s3:ListBucket" in finding.reason
    assert "SlowDown" in finding.reason


def test_a_run_that_was_stopped_by_a_signal_is_known(subject: Subject) -> None:
    """A stopped process holds the lock for ever, and no log line says so."""
    with subprocess.Popen(["sleep", "60"]) as process:
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        start = Path(f"/proc/{process.pid}/stat").read_text().split()[21]
        with run_last_seen(subject.settings, 400, pid=process.pid, process_start=start):
            finding = backfill_of(subject)
        process.kill()
    assert f"its process was stopped by a signal (kill -CONT {process.pid} lets it go on)" in finding.reason


def test_a_killed_backfill_is_named_with_the_token_that_goes_on(site: Site, subject: Subject) -> None:
    """After a crash the token of the last batch is what saves the night's work."""
    rows = site.add_many([(None, b"image")] * 40)
    with site.start("backfill", "--batch-size", "10", "--max-rate", "10") as process:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            run = control.running(site.settings, "backfill")
            if run is not None and run.token:
                break
            time.sleep(0.02)
        process.kill()
    finding = backfill_of(changed(subject, environment_file=site.environment_file()))
    assert (finding.outcome, f"its process {process.pid} is dead" in finding.reason) == ("FAIL", True)
    token = finding.next.partition("--resume-token ")[2].split()[0]
    assert f"token {token}" in finding.reason
    program, *arguments = finding.next.split()
    assert program == "cutover"
    assert site.run(*arguments, environment={"DATABASE_URL": ""}).returncode == ExitCode.DONE
    assert all(site.row(row.id).marked for row in rows)
    assert backfill_of(subject).reason == "none"
