"""Backfills whose database goes away, and backfills that would run side by side."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, LiteralString

import psycopg
import pytest
from psycopg import sql

from tests.data_tools import s3_proxy
from tests.data_tools.backfill_runs import backfill, check_all_migrated, check_marks, document, issue, through
from tests.data_tools.crashes import remaining_output, started
from tests.data_tools.postgres import TABLE
from tests.data_tools.s3_proxy import Gate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg.rows import TupleRow

    from rehearsal.aws_stand_in import AwsStandIn
    from tests.data_tools.certificate_site import Site
    from tests.data_tools.postgres import Cluster, Database
    from tests.data_tools.s3_proxy import S3Proxy

ROWS = 60
SMALL_BATCHES = ("--batch-size", "10")


@pytest.fixture
def gate() -> Gate:
    """Where uploads wait, from the middle of a run on, until the test lets them go on."""
    return Gate()


@pytest.fixture
def held(aws: AwsStandIn, gate: Gate) -> Iterator[S3Proxy]:
    with s3_proxy.running(aws) as proxy:
        proxy.script = lambda request: gate if request.operation == "put" and request.total > ROWS else None
        yield proxy


def test_a_database_that_restarts_in_the_middle_is_waited_for(
    site: Site, cluster: Cluster, held: S3Proxy, gate: Gate
) -> None:
    """A failover ends a night's run after its first minute, or its unmarked batch is forgotten."""
    issue(site, ROWS)
    process = started(site, *SMALL_BATCHES, environment=through(held))
    gate.wait()
    cluster.control("restart", "--mode=immediate")
    gate.open()
    output = remaining_output(process)
    assert process.returncode == 0, output
    check_all_migrated(site)


def test_a_deadlock_over_the_marks_is_tried_again(site: Site, cluster: Cluster, database: Database) -> None:
    """The sweep marks the same rows in another order, and the night's backfill ends with an error of the database."""
    first, second = issue(site, 2)
    change = sql.SQL("UPDATE {} SET revoked_reason = 'x' WHERE id = %s").format(sql.Identifier(TABLE))
    address = f"host={cluster.directory} port={cluster.port} user=postgres dbname={database.name}"
    with psycopg.connect(address) as rival, database.connect() as administrator:
        rival.execute("SET deadlock_timeout = '1min'")  # so that not the rival is refused
        rival.execute(change, (second.id,))
        process = started(site)
        _wait_for(administrator, "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
        rival.execute(change, (first.id,))
    output = remaining_output(process)
    assert process.returncode == 0, output
    check_all_migrated(site)


def test_who_lost_the_lock_stops(site: Site, database: Database, held: S3Proxy, gate: Gate) -> None:
    """After a failover two backfills believe that they are alone."""
    issue(site, ROWS)
    process = started(site, *SMALL_BATCHES, environment=through(held))
    gate.wait()
    with database.connect() as rival, database.connect() as administrator:
        pid, *lock = _held_lock(administrator)
        # Who waits for a lock has it the moment its holder is gone, before the backfill can connect again.
        waiting = threading.Thread(target=rival.execute, args=("SELECT pg_advisory_lock(%s, %s)", lock))
        waiting.start()
        _wait_for(administrator, "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)")
        administrator.execute("SELECT pg_terminate_backend(%s)", (pid,))
        waiting.join(timeout=20)
        gate.open()
        output = remaining_output(process)
    assert process.returncode == 5, output
    assert "holds the lock" in output
    assert output.splitlines()[-1].startswith("RESUME_TOKEN ")
    assert any(not row.marked for row in check_marks(site))


def test_the_second_of_two_backfills_ends_at_once(site: Site, held: S3Proxy, gate: Gate) -> None:
    """Two runs upload the same certificates, and `cutover pause` reaches one of them."""
    issue(site, ROWS)
    first = started(site, *SMALL_BATCHES, environment=through(held))
    gate.wait()
    second = site.run("backfill", "--json")
    answer = document(second)
    assert (second.returncode, answer["stopped"], answer["objects_uploaded"]) == (5, "lock", 0)
    assert backfill(site, "--dry-run")[0] == 0  # which disturbs nobody
    assert first.poll() is None
    gate.open()
    remaining_output(first)
    assert first.returncode == 0
    check_all_migrated(site)


def test_a_database_that_is_not_there_is_no_empty_table(site: Site, database: Database) -> None:
    """Nothing could be asked, and the run reports that nothing was left to do. The password is nobody's business."""
    result = site.run("backfill", "--json", environment={"DATABASE_URL": database.url + "_no"})
    assert result.returncode == 4
    assert result.stdout == ""
    assert "does not exist" in result.stderr
    assert "Traceback" not in result.stderr
    assert database.cluster.password not in result.stderr


def _held_lock(connection: psycopg.Connection[TupleRow]) -> tuple[int, int, int]:
    """The database process that holds the run's lock, and the lock's two numbers."""
    ((pid, first, second),) = connection.execute(
        "SELECT pid, classid::bigint::bit(32)::int, objid::bigint::bit(32)::int FROM pg_locks"
        " WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    ).fetchall()
    return pid, first, second


def _wait_for(connection: psycopg.Connection[TupleRow], question: LiteralString) -> None:
    deadline = time.monotonic() + 10
    while connection.execute(question).fetchone() != (True,):
        assert time.monotonic() < deadline, question
        time.sleep(0.02)
