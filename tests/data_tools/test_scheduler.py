"""`cutover backfill --scheduler` over a real Dask scheduler and real worker processes."""

# mypy: untyped-calls-exclude=distributed
# (its annotations are not complete)

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import os
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from cutover import cli
from cutover.backfill import token
from cutover.backfill.shard import Order, Shard, _done_before, unfit
from cutover.catalogue import Catalogue
from cutover.settings import SettingsError
from rehearsal.service_process import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.data_tools.certificate_site import Site

SHARD = 20  # rows; a thousand, as ops/cutover.yml has it, would take a test minutes
COMMAND = f"""
import sys
from cutover import cli, plan
table = plan.load()
tools = table.data_tools
few = tools.scheduler.model_copy(update={{"shard_size": {SHARD}}})
small = table.model_copy(update={{"data_tools": tools.model_copy(update={{"scheduler": few}})}})
plan.load = lambda *_: small
sys.exit(cli.main())
"""
SECONDS = 60.0  # how long something may take on a busy machine


def wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@dataclasses.dataclass
class Dask:
    """A scheduler, and workers of one thread each whose environment names no deployment."""

    address: str
    directory: Path
    workers: list[subprocess.Popen[bytes]] = dataclasses.field(default_factory=list)

    def add_worker(self, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        arguments = [self.address, "--nthreads=1", "--nworkers=1", "--no-nanny", "--no-dashboard", "--host=127.0.0.1"]
        worker = self.program("worker", *arguments, f"--local-directory={self.directory}", environment=environment)
        self.workers.append(worker)
        return worker

    def program(
        self, name: str, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        with (self.directory / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.dask_{name}", *arguments],
                env={"PATH": os.environ["PATH"], "HOME": str(self.directory), **(environment or {})},
                stdout=log,
                stderr=log,
                cwd=self.directory,
            )

    def wait_for_workers(self) -> None:
        from distributed import Client

        with Client(self.address, timeout=SECONDS, set_as_default=False) as client:
            client.wait_for_workers(len(self.workers), timeout=SECONDS)

    def running(self) -> int:
        """How many tasks the workers have."""
        from distributed import Client

        with Client(self.address, timeout=SECONDS, set_as_default=False) as client:
            return sum(len(tasks) for tasks in client.processing().values())

    def end(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait()
        if process in self.workers:
            self.workers.remove(process)


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dask]:
    port = free_port("127.0.0.1")
    dask = Dask(f"tcp://127.0.0.1:{port}", tmp_path_factory.mktemp("dask"))
    scheduler = dask.program("scheduler", "--host=127.0.0.1", f"--port={port}", "--no-dashboard", "--no-show")
    try:
        dask.add_worker()
        dask.add_worker()
        dask.wait_for_workers()
        yield dask
    finally:
        for process in [*dask.workers, scheduler]:
            dask.end(process)


@contextlib.contextmanager
def spread(site: Site, dask: Dask, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A run over the cluster, in shards of a few rows; the workers have their settings from the file alone."""
    file = str(site.environment_file())
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            COMMAND,
            "backfill",
            "--json",
            "--scheduler",
            dask.address,
            "--env-file",
            file,
            *arguments,
        ],
        env={"PATH": os.environ["PATH"], "HOME": str(site.home)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def finished(process: subprocess.Popen[str]) -> tuple[int, dict[str, Any], str]:
    """Exit code, JSON document and lines of a run, once it ends."""
    output, lines = process.communicate(timeout=SECONDS)
    assert output, lines
    return process.returncode, json.loads(output), lines


def marked(site: Site) -> int:
    return sum(row.marked for row in site.rows())


def start_id(found: Mapping[str, Any]) -> int:
    return int(json.loads(base64.b64decode(found["resume_token"]))["start_id"])


def test_killed_workers_shard_is_done_by_another(site: Site, dask: Dask) -> None:
    """A machine that dies at night must not leave a hole in the table, nor store its files twice."""
    rows = site.add_many([(b"%PDF-1.4 certificate", b"png")] * (6 * SHARD + 7))
    with spread(site, dask, "--batch-size", "5", "--concurrency", "2") as process:
        wait(lambda: marked(site) > SHARD // 2)
        dask.end(dask.workers[0])
        code, found, lines = finished(process)
    assert code == 0, lines
    assert (found["found"], found["migrated"], found["already_migrated"]) == (len(rows), len(rows), 0)
    assert found["objects_uploaded"] + found["objects_already_equal"] == 2 * len(rows)
    assert (found["errors"], found["stopped"], start_id(found)) == ([], None, rows[-1].id + 1)
    assert lines.count("=== Summary ===") == 1
    assert all(row.marked for row in site.rows())
    assert len(site.versions()) == 2 * len(rows)
    assert site.objects() == {key: site.path(key).read_bytes() for row in rows for key in row.keys}
    dask.add_worker()
    dask.wait_for_workers()


@pytest.mark.parametrize("way", ["signal", "abort", "flag"])
def test_stopped_run_leaves_nothing_running_and_is_resumed(site: Site, dask: Dask, way: str) -> None:
    """Whoever stops a run because S3 is in trouble must be obeyed on every machine, and lose no row by it."""
    rows = site.add_many([(b"%PDF-1.4 certificate", b"png")] * (16 * SHARD))
    with spread(site, dask, "--batch-size", "2", "--concurrency", "1", "--verify-hash") as process:
        wait(lambda: marked(site) > 0)
        if way == "signal":
            process.terminate()
        elif way == "abort":
            assert site.run("abort", "backfill").returncode == 0
        else:
            site.environment_file(CERT_S3_BACKFILL_ENABLED="false")
        code, found, lines = finished(process)
    assert (code, found["stopped"]) == ((2, "flag") if way == "flag" else (130, "signal")), lines
    before = site.versions()
    assert found["migrated"] == marked(site) < len(rows)
    assert start_id(found) <= next(row.id for row in site.rows() if not row.marked)
    assert dask.running() == 0
    assert len(site.versions()) == len(before)
    if way != "signal":
        return  # once is enough: the token is made in one place
    resumed = site.run("backfill", "--json", "--resume-token", found["resume_token"])
    assert json.loads(resumed.stdout)["migrated"] == len(rows) - found["migrated"]
    assert len(site.versions()) == 2 * len(rows)


def test_shard_that_fails_is_named_and_others_go_on(site: Site, dask: Dask) -> None:
    """One row that the database refuses must not end a night's run, nor be passed over in silence."""
    rows = site.add_many([(b"%PDF-1.4 certificate", None)] * (4 * SHARD))
    bad = rows[SHARD + 3].id
    site.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''not this one''; END'"
    )
    site.execute(
        "CREATE TRIGGER refuse BEFORE UPDATE ON {table} FOR EACH ROW WHEN (NEW.participant_id = "
        + str(bad)
        + ") EXECUTE FUNCTION refuse()"
    )
    with spread(site, dask) as process:
        code, found, lines = finished(process)
    assert code == 4
    first, last = rows[SHARD].id, rows[2 * SHARD - 1].id
    assert f"certificates {first}-{last} failed in all attempts: worker tcp://127.0.0.1:" in lines
    assert "not this one" in lines
    assert (found["migrated"], marked(site), start_id(found)) == (3 * SHARD, 3 * SHARD, first)


def test_shard_waits_for_its_lost_predecessor(site: Site, dask: Dask) -> None:
    """The database may keep a dead worker's lock for a while; two attempts at once would upload everything twice."""
    rows = site.add_many([(b"%PDF-1.4 certificate", None)] * (2 * SHARD))
    with Catalogue(site.settings, read_only=False) as predecessor:
        assert predecessor.lock(f"backfill-shard-{rows[0].id}")
        with spread(site, dask) as process:
            wait(lambda: marked(site) == SHARD)
            assert not site.row(rows[0].id).marked
            predecessor.__exit__(None, None, None)
            code, found, lines = finished(process)
    assert (code, found["migrated"]) == (0, 2 * SHARD), lines


def test_dry_run_tells_the_same_as_here(site: Site, dask: Dask) -> None:
    """A report that depends on where it was made proves nothing."""
    rows = site.add_many([(b"%PDF-1.4 certificate", b"png")] * (SHARD + 5))
    site.path(rows[2].keys[0]).write_bytes(b"%PDF-1.4 cut o")
    site.path(rows[SHARD + 1].keys[1]).unlink()
    site.store(rows[4].keys[0], b"other bytes")
    here = json.loads(site.run("backfill", "--json", "--dry-run").stdout)
    with spread(site, dask, "--dry-run") as process:
        code, there, lines = finished(process)
    assert code == 1
    assert len(there["errors"]) == 3
    assert there | {"duration_s": 0} == here | {"duration_s": 0}
    assert lines.count("[DRY-RUN] Would upload: ") == there["objects_uploaded"] == 2 * (SHARD + 2)
    assert (marked(site), len(site.versions())) == (0, 1)


def test_upload_failures_of_a_shard_stop_the_run(site: Site, dask: Dask) -> None:
    """The runbook's rollback trigger: a denied bucket would be asked for every certificate by every machine."""
    rows = site.add_many([(b"%PDF-1.4 certificate", None)] * (8 * SHARD))
    with spread(site, dask, "--role-arn", site.roles.readonly) as process:
        code, found, lines = finished(process)
    assert (code, found["stopped"]) == (1, "failures"), lines
    assert {error["cause"] for error in found["errors"]} == {"s3_denied"}
    assert len(found["errors"]) < len(rows)
    assert [error["certificate_id"] for error in found["errors"]] == sorted(
        e["certificate_id"] for e in found["errors"]
    )
    assert start_id(found) == rows[0].id


def test_worker_without_its_media_root_is_named(site: Site, dask: Dask) -> None:
    """Without the export every file is missing, and a thousand errors would hide the one reason."""
    site.add()
    worker = dask.add_worker({**site.environment, "MEDIA_ROOT": "/nowhere"})
    dask.wait_for_workers()
    refused = site.run("backfill", "--scheduler", dask.address)
    dask.end(worker)
    assert refused.returncode == 2
    assert re.search(r"worker tcp://127\.0\.0\.1:\d+: MEDIA_ROOT /nowhere of the environment is no dir", refused.stderr)
    assert site.versions() == []


@pytest.mark.parametrize(
    ("changed", "says"),
    [({"bucket": "production"}, "to s3://production at"), ({"endpoint_url": None}, "at AWS: start")],
)
def test_worker_of_another_deployment_is_unfit(site: Site, changed: dict[str, Any], says: str) -> None:
    """Staging's workers must not fill production's bucket."""
    order = Order("run", None, None, site.bucket, site.settings.endpoint_url, False, False, False, True, 10, 2, ())
    assert unfit(order) is None
    reason = unfit(dataclasses.replace(order, **changed))
    assert reason is not None
    assert says in reason


def test_worker_of_another_table_says_so(site: Site) -> None:
    """None of the shard's certificates is in the worker's table, and the shard counts as done."""
    row = site.add()
    order = Order("run", None, None, site.bucket, site.settings.endpoint_url, False, False, False, True, 10, 2, ())
    with Catalogue(site.settings, read_only=True) as catalogue:
        assert _done_before(order, Shard((row.id,), row.created_at), catalogue) == []
        with pytest.raises(SettingsError, match="another table"):
            _done_before(order, Shard((row.id + 1,), row.created_at), catalogue)


def test_scheduler_that_does_not_answer(site: Site) -> None:
    """One sentence within seconds, instead of a terminal that hangs."""
    site.add()
    started = time.monotonic()
    given = token.encode(1)
    scheduler = ("--scheduler", f"tcp://127.0.0.1:{free_port('127.0.0.1')}")
    away = site.run("backfill", "--resume-token", given, *scheduler)
    assert "Total found" not in away.stdout  # nobody has counted
    assert away.stdout.count("RESUME_TOKEN") == 1
    assert away.stdout.endswith(f"\nRESUME_TOKEN {given}\n")
    assert "RESUME_TOKEN" not in site.run("backfill", *scheduler).stdout
    away = site.run("backfill", "--json", *scheduler)
    assert away.returncode == 4
    assert "the scheduler does not answer" in away.stderr
    assert "Traceback" not in away.stderr
    assert time.monotonic() - started < SECONDS
    assert site.versions() == []


def test_address_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    """Dask would take a bare name for another protocol, and its own message for programmers."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["backfill", "--scheduler", "localhost"])
    assert ended.value.code == 2
    assert "write tcp://HOST:PORT" in capsys.readouterr().err
