"""Certificates that are issued, replaced, revoked, deleted or damaged while a backfill has them in hand.

Each change happens at one exact moment: when the upload of a certificate's file arrives at S3.
"""

from __future__ import annotations

import hashlib
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from psycopg import sql

from tests.data_tools import s3_proxy
from tests.data_tools.backfill_runs import backfill, causes, check_all_migrated, check_marks, issue
from tests.data_tools.postgres import TABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rehearsal.aws_stand_in import AwsStandIn
    from tests.data_tools.certificate_site import Site
    from tests.data_tools.s3_proxy import Fault, Request, S3Proxy

REPLACED = b"%PDF-1.4 replaced"


@pytest.fixture
def proxy(aws: AwsStandIn) -> Iterator[S3Proxy]:
    with s3_proxy.running(aws) as proxy:
        yield proxy


def meanwhile(proxy: S3Proxy, changes: Mapping[str | None, Callable[[], object]]) -> None:
    """Makes each change once, when the first upload of its key arrives, and before that is stored."""
    lock, left = threading.Lock(), dict(changes)

    def script(request: Request) -> Fault | None:
        with lock:
            if request.operation == "put" and request.key in left:
                left.pop(request.key)()
        return None

    proxy.script = script


def unmarked(site: Site) -> list[int]:
    return [row.id for row in check_marks(site) if not row.marked]


def test_a_certificate_issued_meanwhile_is_migrated_or_left_for_the_next_run(site: Site, proxy: S3Proxy) -> None:
    """A new row shifts the pages, and an old one falls between two of them."""
    rows = issue(site, 30)
    meanwhile(proxy, {rows[0].file_pdf: lambda: issue(site, 5)})
    code, answer = backfill(site, "--batch-size", "10", proxy=proxy)
    assert (code, answer["errors"]) == (0, [])
    assert set(unmarked(site)) <= {row.id for row in site.rows()[30:]}
    assert backfill(site)[0] == 0
    check_all_migrated(site)


def test_a_certificate_replaced_under_new_names_is_not_marked_for_the_old_ones(site: Site, proxy: S3Proxy) -> None:
    """The mark stands for files that were never uploaded, and step 10 deletes them."""
    row, *_ = issue(site, 3)
    new = f"{row.file_pdf}".replace("cert_", "cert_again_")

    def replace() -> None:
        site.path(new).write_bytes(REPLACED)
        statement = "UPDATE {table} SET file_pdf = %s, certificate_hash = %s, updated_at = now() WHERE id = %s"
        site.execute(statement, new, hashlib.sha256(REPLACED).hexdigest(), row.id)

    meanwhile(proxy, {row.file_pdf: replace})
    code, answer = backfill(site, proxy=proxy)
    assert (code, [error["cause"] for error in answer["errors"]]) == (1, ["changed_while_read"])
    assert answer["errors"][0]["certificate_id"] == row.id
    assert unmarked(site) == [row.id]
    assert backfill(site, "--resume-token", answer["resume_token"])[0] == 0
    assert unmarked(site) == []
    assert site.objects()[new] == REPLACED


def test_files_that_change_under_their_names_are_not_marked(site: Site, proxy: S3Proxy) -> None:
    """The object holds the file as it was, the disk holds the file as it is, and the mark calls them equal."""
    first, second, third = issue(site, 3)
    pdf, image = first.file_pdf or "", second.file_image or ""
    meanwhile(proxy, {pdf: lambda: _damage(site, pdf), image: lambda: _damage(site, image)})
    code, answer = backfill(site, proxy=proxy)
    assert (code, causes(answer)) == (1, {pdf: "changed_while_read", image: "changed_while_read"})
    assert unmarked(site) == [first.id, second.id]
    # Now an object differs from its file: nobody overwrites one of them unasked.
    code, answer = backfill(site, "--resume-token", answer["resume_token"])
    assert (code, causes(answer)) == (1, {pdf: "damaged_local", image: "conflict"})
    assert unmarked(site) == [first.id, second.id]
    assert third.id not in unmarked(site)


def test_a_file_that_changes_while_the_other_one_is_stored_is_not_marked(site: Site, proxy: S3Proxy) -> None:
    """The PDF was stored and looked at, and is written again during the PNG's upload: the mark calls them equal."""
    (row,) = issue(site, 1)
    pdf = row.file_pdf or ""
    meanwhile(proxy, {row.file_image: lambda: _damage(site, pdf)})
    code, answer = backfill(site, proxy=proxy)
    assert (code, causes(answer)) == (1, {pdf: "changed_while_read"})
    assert unmarked(site) == [row.id]


def test_what_vanishes_meanwhile_is_told_and_stops_nobody(site: Site, proxy: S3Proxy) -> None:
    """Somebody clears the disk, and the marks say that nothing was lost; or a row that is gone ends the run."""
    cleared, deleted, *others = issue(site, 4)
    image = cleared.file_image or ""
    deletion = "DELETE FROM {table} WHERE id = %s"
    meanwhile(
        proxy,
        {cleared.file_pdf: site.path(image).unlink, deleted.file_pdf: lambda: site.execute(deletion, deleted.id)},
    )
    code, answer = backfill(site, proxy=proxy)
    assert code == 1
    assert {error["certificate_id"] for error in answer["errors"]} == {cleared.id, deleted.id}
    assert image in causes(answer)
    assert [row.id for row in check_marks(site) if row.marked] == [row.id for row in others]


def test_what_the_application_writes_meanwhile_stays(site: Site, proxy: S3Proxy) -> None:
    """A mark writes back a row that was read before, and undoes a revocation or moves the time of another's mark."""
    revoked, swept, _ = issue(site, 3)
    revocation = "UPDATE {table} SET revoked_at = now(), revoked_reason = 'fraud', download_count = 1 WHERE id = %s"
    sweep = "UPDATE {table} SET migrated_to_s3_at = '2026-11-01 12:00+00' WHERE id = %s"
    meanwhile(
        proxy,
        {
            revoked.file_pdf: lambda: site.execute(revocation, revoked.id),
            swept.file_pdf: lambda: site.execute(sweep, swept.id),
        },
    )
    code, answer = backfill(site, proxy=proxy)
    assert (code, answer["errors"], answer["migrated"]) == (0, [], 3)
    assert site.row(swept.id).migrated_to_s3_at == datetime(2026, 11, 1, 12, tzinfo=UTC)
    assert site.row(revoked.id).revoked_at is not None
    query = sql.SQL("SELECT revoked_reason, download_count FROM {} WHERE id = %s").format(sql.Identifier(TABLE))
    with site.database.connect() as connection:
        assert connection.execute(query, (revoked.id,)).fetchone() == ("fraud", 1)
    check_all_migrated(site)


def _damage(site: Site, key: str) -> None:
    site.path(key).write_bytes(site.path(key).read_bytes()[::-1])
