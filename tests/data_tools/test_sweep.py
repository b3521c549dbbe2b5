"""The sweep: what it marks, stores, leaves alone and reports."""

from __future__ import annotations

import datetime
import json
import subprocess
import time
from typing import TYPE_CHECKING, Any, Protocol

import psycopg
import pytest

from cutover import control, plan
from cutover.accepted import Accepted
from cutover.catalogue import Catalogue
from cutover.cli import main
from cutover.exit_codes import ExitCode
from cutover.sweep.session import LOCK
from tests.data_tools import s3_proxy
from tests.data_tools.certificate_site import IMAGE, PDF

if TYPE_CHECKING:
    from rehearsal.aws_stand_in import AwsStandIn
    from tests.data_tools.certificate_site import Site

OTHER = b"\x89PNG other bytes"
TOOLS = plan.load().data_tools


BEING_WRITTEN_SECONDS = plan.load().data_tools.sweep.young_seconds


def ago(seconds: float) -> datetime.datetime:
    return datetime.datetime.now(tz=datetime.UTC) - datetime.timedelta(seconds=seconds)


def document(result: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert result.stdout, result.stderr
    report: dict[str, Any] = json.loads(result.stdout)
    return report


class Sweep(Protocol):
    def __call__(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture
def sweep(site: Site, capsys: pytest.CaptureFixture[str]) -> Sweep:
    """The command with these options and changes of the site's environment, in this process: starting one is slow."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in (site.environment | environment).items():
                patch.setenv(name, value)
            code = main(["sweep", *arguments])
        output = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, code, output.out, output.err)

    return run


def test_what_dual_write_stored_is_marked_and_what_it_could_not_is_stored_first(site: Site, sweep: Sweep) -> None:
    """Nobody else marks a day's certificates or comes back for a failed write; reads would stay local for ever."""
    stored, half, failed, revoked = site.add(), site.add(), site.add(), site.add(revoked=True)
    site.store_files(stored, revoked)
    assert half.file_pdf is not None
    site.store(half.file_pdf, site.path(half.file_pdf).read_bytes())
    result = sweep()
    assert result.returncode == ExitCode.DONE, result.stderr
    assert result.stdout.startswith("SWEEP 4 certificates: 4 marked, 0 verified again, 0 with errors; 3 objects upload")
    assert "0 rows of the table have no mark" in result.stdout
    assert all(site.row(row.id).marked for row in (stored, half, failed, revoked))
    keys = [key for row in (stored, half, failed, revoked) for key in row.keys]
    assert site.objects() == {key: site.path(key).read_bytes() for key in keys}
    assert len(site.versions()) == len(keys)  # nothing was overwritten


def test_it_is_independent_of_the_backfills_flag(site: Site, sweep: Sweep) -> None:
    """In mode settled the backfill is off for good, and certificates are issued every day."""
    row = site.add()
    assert sweep(CERT_S3_BACKFILL_ENABLED="false").returncode == ExitCode.DONE
    assert site.row(row.id).marked


def test_while_dual_write_is_off_nothing_is_done(site: Site, sweep: Sweep) -> None:
    """After an emergency rollback not one byte may go to S3, and a timer must not undo that."""
    row = site.add()
    for value in ("false", "", "1"):
        result = sweep(CERT_S3_DUAL_WRITE=value)
        assert (result.returncode, result.stdout) == (ExitCode.USAGE, "")
        assert "CERT_S3_DUAL_WRITE is not `true`" in result.stderr
    assert not site.row(row.id).marked
    assert site.versions() == []


def test_it_stops_at_the_batch_after_the_flag_was_turned_off(site: Site) -> None:
    """A rollback that a running sweep does not notice is none; the file, not its start, counts."""
    site.add_many([(None, OTHER)] * (3 * TOOLS.batch_size))
    file = site.environment_file()
    with site.start("sweep", "--env-file", str(file), "--max-rate", str(TOOLS.batch_size / 2)) as process:
        deadline = time.monotonic() + 60
        while not site.versions() and time.monotonic() < deadline:
            time.sleep(0.05)
        site.environment_file(CERT_S3_DUAL_WRITE="false")
        _, errors = process.communicate(timeout=30)
    assert process.returncode == ExitCode.USAGE
    assert "the sweep ended early: CERT_S3_DUAL_WRITE was turned off" in errors
    assert 0 < sum(row.marked for row in site.rows()) < 3 * TOOLS.batch_size


def test_a_row_that_is_being_written_is_left_to_the_next_sweep(site: Site, sweep: Sweep) -> None:
    """A file that is half written would be stored so, or met by the application's own upload."""
    young = site.add(updated_at=ago(BEING_WRITTEN_SECONDS - 15))
    old = site.add(updated_at=ago(BEING_WRITTEN_SECONDS + 1))
    report = document(sweep("--json"))
    assert (report["found"], report["marked"], report["unmarked"]) == (1, 1, 1)
    assert (site.row(young.id).marked, site.row(old.id).marked) == (False, True)


def test_rows_from_before_dual_write_are_left_to_the_backfill(site: Site, sweep: Sweep) -> None:
    """A sweep that uploads a million old certificates has no dry run, no gate and no 5 % stop before it."""
    old = ago(TOOLS.sweep.lookback_seconds + 60)
    many = site.add_many([(None, OTHER)] * (TOOLS.batch_size + 1), updated_at=old)
    new = site.add()
    report = document(sweep("--json"))
    assert (report["found"], report["unmarked"]) == (1, len(many))
    assert site.row(new.id).marked
    site.execute("DELETE FROM {table} WHERE id > %s AND id < %s", many[3].id, new.id)
    assert document(sweep("--json"))["found"] == 0  # few, and still most of the table: a sample comes first


def test_what_a_long_outage_left_is_not_forgotten(site: Site, sweep: Sweep) -> None:
    """Rows from before the look-back are met by no other sweep."""
    old = ago(TOOLS.sweep.lookback_seconds + 60)
    site.add_many([(None, OTHER)] * round(3 / TOOLS.sweep.stragglers_ratio), updated_at=old, marked=True)
    left = site.add_many([(None, OTHER)] * 3, updated_at=old)
    report = document(sweep("--json"))
    assert (report["found"], report["marked"]) == (len(left), len(left))


def test_a_mark_whose_object_is_gone_is_made_true_again(site: Site, sweep: Sweep) -> None:
    """A PNG attached after the mark, whose S3 write failed, is a 404 for every reader."""
    row = site.add(marked=True, updated_at=ago(60), migrated_to_s3_at=ago(120))
    assert row.file_pdf is not None
    site.store(row.file_pdf, site.path(row.file_pdf).read_bytes())
    before = site.row(row.id).migrated_to_s3_at
    report = document(sweep("--json"))
    assert (report["verified_again"], report["marked"], report["objects_uploaded"]) == (1, 0, 1)
    assert set(site.objects()) == set(row.keys)
    assert site.row(row.id).migrated_to_s3_at == before


def test_what_is_there_already_is_asked_for_and_not_sent_again(site: Site, sweep: Sweep, aws: AwsStandIn) -> None:
    """A marked row that was changed is met by every sweep of a day: 288 times its files, to S3 and for nothing."""
    changed: dict[str, Any] = {"marked": True, "updated_at": ago(60), "migrated_to_s3_at": ago(120)}
    equal, unmarked, different = site.add(**changed), site.add(), site.add(image=None, **changed)
    site.store_files(equal, unmarked)
    site.store(different.keys[0], OTHER)
    with s3_proxy.running(aws) as proxy:
        report = document(sweep("--json", AWS_ENDPOINT_URL_S3=proxy.endpoint_url))
    assert (report["verified_again"], report["marked"], report["objects_uploaded"]) == (1, 1, 0)
    assert [error["cause"] for error in report["errors"]] == ["conflict"]
    for key in (*equal.keys, *unmarked.keys, *different.keys):
        assert (proxy.count("put", key), proxy.count("head", key), proxy.count("get", key)) == (0, 1, 0)


def test_marked_rows_that_did_not_change_are_not_asked_for(site: Site, sweep: Sweep) -> None:
    """Else every sweep asks S3 for all certificates, at a price that the budget does not know."""
    site.add(marked=True)
    assert document(sweep("--json"))["found"] == 0


def test_a_retired_local_copy_is_no_error_while_its_object_is_there(site: Site, sweep: Sweep) -> None:
    """In mode settled every revoked certificate would be reported each five minutes, until nobody looks any more."""
    row, lost = (site.add(marked=True, updated_at=ago(60), migrated_to_s3_at=ago(120)) for _ in range(2))
    site.store_files(row)
    for key in (*row.keys, *lost.keys):
        site.path(key).unlink()
    result = sweep("--json")
    report = document(result)
    assert result.returncode == ExitCode.FAILED
    assert report["verified_again"] == 1
    assert {(error["certificate_id"], error["cause"]) for error in report["errors"]} == {(lost.id, "missing_local")}


def test_damage_beside_a_retired_copy_is_reported(site: Site, sweep: Sweep) -> None:
    """A damaged PDF was "verified again" all day, because its image had been retired."""
    row = site.add(marked=True, updated_at=ago(60), migrated_to_s3_at=ago(120))
    site.store_files(row)
    site.path(row.keys[0]).write_bytes(OTHER)
    site.path(row.keys[1]).unlink()
    result = sweep("--json")
    report = document(result)
    assert (result.returncode, report["verified_again"]) == (ExitCode.FAILED, 0)
    assert [(error["key"], error["cause"]) for error in report["errors"]] == [(row.keys[0], "damaged_local")]


def test_a_file_that_is_attached_beside_a_retired_copy_is_stored(site: Site, sweep: Sweep) -> None:
    """Its S3 write had failed, and nobody else comes back for it: a 404 for every reader."""
    row = site.add(marked=True, updated_at=ago(60), migrated_to_s3_at=ago(120))
    site.store(row.keys[1], IMAGE)
    site.path(row.keys[1]).unlink()
    report = document(sweep("--json"))
    assert (report["verified_again"], report["objects_uploaded"], report["errors"]) == (1, 1, [])
    assert site.objects() == {row.keys[0]: PDF, row.keys[1]: IMAGE}


def test_an_object_of_other_bytes_than_were_issued_is_no_retired_copy(site: Site, sweep: Sweep) -> None:
    """That there is some object proves nothing of what customers read."""
    row = site.add(marked=True, updated_at=ago(60), migrated_to_s3_at=ago(120))
    site.store_files(row)
    site.store(row.keys[0], OTHER)
    for key in row.keys:
        site.path(key).unlink()
    report = document(sweep("--json"))
    assert report["verified_again"] == 0
    assert [(error["key"], error["cause"]) for error in report["errors"]] == [(row.keys[0], "conflict")]
    assert f"run `cutover repair --key {row.keys[0]}`" in report["errors"][0]["detail"]


def test_an_outage_is_no_verdict_on_retired_copies(site: Site, sweep: Sweep) -> None:
    """ "There is no such file" sends the on-call to the backups while S3 is down."""
    row = site.add(marked=True, updated_at=ago(60), migrated_to_s3_at=ago(120))
    for key in row.keys:
        site.path(key).unlink()
    report = document(sweep("--json", AWS_ENDPOINT_URL_S3="http://127.0.0.1:9"))
    assert (report["verified_again"], {error["cause"] for error in report["errors"]}) == (0, {"s3_unavailable"})


def test_conflicts_and_unusable_files_are_reported_and_block_nobody(site: Site, sweep: Sweep) -> None:
    """An object that differs must be looked at by somebody: overwritten, the issued bytes would be lost."""
    conflict, missing, damaged = site.add(), site.add(), site.add(certificate_hash="0" * 64)
    good = site.add()
    site.store_files(conflict)
    assert conflict.file_image is not None
    assert missing.file_image is not None
    site.store(conflict.file_image, OTHER)
    site.path(missing.file_image).unlink()
    result = sweep()
    assert result.returncode == ExitCode.FAILED
    assert f"[ERROR] certificate {conflict.id}, {conflict.file_image}: conflict: " in result.stdout
    assert f"run `cutover repair --key {conflict.file_image}`" in result.stdout
    assert "--repair" not in result.stdout  # which the sweep has not
    assert f"[ERROR] certificate {missing.id}, {missing.file_image}: missing_local: " in result.stdout
    assert f"[ERROR] certificate {damaged.id}, {damaged.file_pdf}: damaged_local: " in result.stdout
    assert [row.id for row in site.rows() if row.marked] == [good.id]
    assert site.objects()[conflict.file_image] == OTHER


def test_an_accepted_row_is_left_out_until_it_has_other_files(site: Site, sweep: Sweep) -> None:
    """A row that was accepted by name would otherwise fail every sweep for ever."""
    row = site.add()
    assert row.file_image is not None
    site.path(row.file_image).unlink()
    with Catalogue(site.settings, read_only=True) as catalogue:
        Accepted(site.settings).add(catalogue.by_id([row.id])[0], "lost")
    assert document(sweep("--json"))["found"] == 0
    site.execute("UPDATE {table} SET file_image = NULL WHERE id = %s", row.id)
    assert document(sweep("--json"))["marked"] == 1


def test_a_dry_run_writes_nothing_and_needs_no_flag(site: Site, sweep: Sweep) -> None:
    """Whoever only looks, under a role that cannot write, must not change a byte or a row."""
    row = site.add()
    result = sweep("--dry-run", "--role-arn", site.roles.readonly, CERT_S3_DUAL_WRITE="false")
    assert result.returncode == ExitCode.DONE, result.stderr
    assert "1 would be marked" in result.stdout
    assert "2 objects would be uploaded" in result.stdout
    assert not site.row(row.id).marked
    assert site.versions() == []


def test_a_limit_is_kept(site: Site, sweep: Sweep) -> None:
    """An operator who tries the sweep on one certificate gets one."""
    site.add_many([(None, OTHER)] * 3)
    assert document(sweep("--limit", "1", "--json"))["marked"] == 1
    assert sum(row.marked for row in site.rows()) == 1


def test_a_second_sweep_is_refused_and_a_backfill_beside_it_is_not(site: Site, sweep: Sweep) -> None:
    """Two sweeps would upload twice; a sweep that waits for a day's backfill marks nothing that day."""
    row = site.add()
    with Catalogue(site.settings, read_only=False) as catalogue:
        assert catalogue.lock(LOCK)
        refused = sweep()
        assert refused.returncode == ExitCode.CANNOT_WRITE
        assert "another sweep runs" in refused.stderr
        assert not site.row(row.id).marked
    with Catalogue(site.settings, read_only=False) as catalogue:
        assert catalogue.lock("backfill")
        assert sweep().returncode == ExitCode.DONE
    assert site.row(row.id).marked


def test_when_s3_refuses_the_sweep_fails_and_marks_nothing(site: Site, sweep: Sweep) -> None:
    """A mark without an object sends customers to S3's 404."""
    row = site.add()
    report = document(sweep("--json", "--role-arn", site.roles.readonly))
    assert {error["cause"] for error in report["errors"]} == {"s3_denied"}
    assert not site.row(row.id).marked


def test_it_can_be_aborted_and_what_was_verified_stays_marked(site: Site) -> None:
    """A sweep that nobody can end holds S3 down together with the customers' uploads."""
    site.add_many([(None, OTHER)] * (3 * TOOLS.batch_size))
    with site.start("sweep", "--max-rate", str(TOOLS.batch_size / 2)) as process:
        deadline = time.monotonic() + 60
        while control.running(site.settings, "sweep") is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert site.run("abort", "sweep").returncode == ExitCode.DONE
        _, errors = process.communicate(timeout=10)
    assert process.returncode == ExitCode.INTERRUPTED
    assert "aborted by `cutover abort`" in errors
    marked = sum(row.marked for row in site.rows())
    assert marked == len(site.versions())
    assert marked < 3 * TOOLS.batch_size


def test_without_a_database_nothing_is_said_of_the_rows(site: Site, sweep: Sweep) -> None:
    """`0 certificates` as an answer of a sweep that saw no table would be believed."""
    url = f"postgres://nobody:secret@127.0.0.1:{site.database.cluster.port}/{site.database.name}"
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)
    result = sweep(DATABASE_URL=url)
    assert (result.returncode, result.stdout) == (ExitCode.ERROR, "")
    assert "secret" not in result.stderr
