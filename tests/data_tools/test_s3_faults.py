"""Backfills against an S3 that answers with errors, late, by halves, or without looking at checksums."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.data_tools import s3_proxy
from tests.data_tools.backfill_runs import backfill, causes, check_all_migrated, check_marks, issue, through
from tests.data_tools.s3_proxy import Exchange, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal.aws_stand_in import AwsStandIn
    from tests.data_tools.certificate_site import Site
    from tests.data_tools.s3_proxy import Fault, Request, S3Proxy, Script

ROWS = 6
PREFIX = "certificates/"


@pytest.fixture
def proxy(aws: AwsStandIn) -> Iterator[S3Proxy]:
    with s3_proxy.running(aws) as proxy:
        yield proxy


def every_put_of(**faults: Fault) -> Script:
    """All uploads of a key that ends as the parameter's name says meet its fault."""
    return lambda request: faults.get(request.key) if request.operation == "put" else None


def _is_upload(request: Request) -> bool:
    return request.operation == "put" and request.key.startswith(PREFIX)


def test_passing_faults_are_waited_out(site: Site, proxy: S3Proxy) -> None:
    """An hour of SlowDown in a night's run leaves a thousand certificates for somebody to find."""
    faults = [
        refusal(500, "InternalError"),
        refusal(503, "SlowDown"),
        refusal(409, "ConditionalRequestConflict"),
        refusal(400, "RequestTimeout"),
        Exchange.hang_up,
        Exchange.lose_answer,
    ]
    rows = issue(site, len(faults))
    by_key = {key: fault for row, fault in zip(rows, faults, strict=True) for key in row.keys}
    proxy.script = lambda request: (
        by_key.get(request.key) if request.operation == "put" and request.number == 1 else None
    )
    code, answer = backfill(site, proxy=proxy)
    assert (causes(answer), code, answer["migrated"]) == ({}, 0, len(rows))
    assert proxy.count("get") == 0  # a server that enforces checksums need not be read back
    check_all_migrated(site)


def test_each_lasting_fault_is_named_and_holds_up_nobody(site: Site, proxy: S3Proxy) -> None:
    """One certificate that S3 refuses blocks all behind it, or is marked because the others were stored."""
    denied, expired, damaged, broken, *others = issue(site, ROWS)
    assert denied.file_pdf
    assert expired.file_pdf
    assert damaged.file_image
    assert broken.file_image
    proxy.script = every_put_of(
        **{
            denied.file_pdf: refusal(403, "AccessDenied"),
            expired.file_pdf: refusal(400, "ExpiredToken"),
            damaged.file_image: Exchange.forward_cut,
            broken.file_image: refusal(500, "InternalError"),
        }
    )
    code, answer = backfill(site, proxy=proxy)
    assert code == 1
    assert causes(answer) == {
        denied.file_pdf: "s3_denied",
        expired.file_pdf: "s3_denied",
        damaged.file_image: "checksum_refused",
        broken.file_image: "s3_unavailable",
    }
    assert [row.id for row in check_marks(site) if row.marked] == [row.id for row in others]
    code, answer = backfill(site, "--resume-token", answer["resume_token"])
    assert (code, answer["errors"]) == (0, [])
    check_all_migrated(site)


def test_s3_that_refuses_everything_ends_the_run(site: Site, proxy: S3Proxy) -> None:
    """A role without rights is tried a hundred thousand times, and each refusal alarms somebody."""
    issue(site, 200)
    proxy.script = lambda request: refusal(403, "AccessDenied") if _is_upload(request) else None
    code, answer = backfill(site, "--batch-size", "20", proxy=proxy)
    assert (code, answer["stopped"], answer["migrated"]) == (1, "failures", 0)
    assert set(causes(answer).values()) == {"s3_denied"}
    assert sum(map(_is_upload, proxy.requests)) <= 40  # 20 in a row are the first batch, and one more is under way
    assert [row.id for row in check_marks(site) if row.marked] == []
    assert backfill(site, "--resume-token", answer["resume_token"])[0] == 0
    check_all_migrated(site)


def test_an_object_that_appears_during_the_upload_is_compared(site: Site, proxy: S3Proxy) -> None:
    """412 is taken for success, and a certificate is marked whose object holds something else."""
    equal, different = issue(site, 2)
    assert equal.file_pdf
    assert different.file_pdf
    bodies = {equal.file_pdf: site.path(equal.file_pdf).read_bytes(), different.file_pdf: b"something else"}

    def dual_write(request: Request) -> Fault | None:
        if request.operation == "put" and request.key in bodies:
            site.store(request.key, bodies[request.key])
        return None

    proxy.script = dual_write
    code, answer = backfill(site, proxy=proxy)
    assert (code, causes(answer)) == (1, {different.file_pdf: "conflict"})
    assert [row.id for row in check_marks(site) if row.marked] == [equal.id]
    assert site.objects()[different.file_pdf] == b"something else"


def test_412_without_an_object_marks_nothing(site: Site, proxy: S3Proxy) -> None:
    """The object that was in the way is deleted before it is compared, and its absence passes for equality."""
    (row,) = issue(site, 1)
    proxy.script = lambda request: refusal(412, "PreconditionFailed") if _is_upload(request) else None
    code, answer = backfill(site, proxy=proxy)
    assert (code, answer["migrated"]) == (1, 0)
    assert set(causes(answer)) <= set(row.keys)
    assert [row.marked for row in check_marks(site)] == [False]


def test_a_comparison_that_breaks_off_marks_nothing(site: Site, proxy: S3Proxy) -> None:
    """Half of a download equals nothing, but no answer at all passes for agreement."""
    (row,) = issue(site, 1)
    for key in row.keys:
        site.store(key, site.path(key).read_bytes(), checksum=False)  # so that it must be downloaded
    proxy.script = lambda request: Exchange.reply_cut if request.operation == "get" else None
    code, answer = backfill(site, proxy=proxy)
    assert (code, set(causes(answer).values())) == (1, {"s3_unavailable"})
    assert [row.marked for row in check_marks(site)] == [False]
    assert backfill(site)[0] == 0
    check_all_migrated(site)


def test_a_comparison_with_damaged_bytes_is_no_conflict(site: Site, proxy: S3Proxy) -> None:
    """`s3_unavailable` sends an operator to the network, and `conflict` to two files that are equal."""
    (row,) = issue(site, 1)
    for key in row.keys:
        site.store(key, site.path(key).read_bytes(), checksum=False)
    proxy.script = lambda request: Exchange.reply_damaged if request.operation == "get" else None
    code, answer = backfill(site, proxy=proxy)
    assert (code, set(causes(answer).values())) == (1, {"checksum_refused"})
    assert [row.marked for row in check_marks(site)] == [False]


def test_a_refusal_for_another_reason_proves_no_checksums(site: Site, proxy: S3Proxy) -> None:
    """400 is what expired credentials are answered with, too: taken for proof, damaged uploads are marked later."""
    (row,) = issue(site, 1)
    proxy.script = lambda request: (
        refusal(400, "ExpiredToken") if request.operation == "put" and not _is_upload(request) else None
    )
    result = site.run("backfill", environment=through(proxy))
    assert result.returncode == 0
    assert "does not refuse a wrong SHA-256" not in result.stderr
    assert "whether this S3 refuses a wrong SHA-256 could not be tried (the session token" in result.stderr
    assert all(proxy.count("get", key) == 1 for key in row.keys)
    check_all_migrated(site)


def test_a_server_without_checksums_is_found_out_and_read_back(site: Site, proxy: S3Proxy) -> None:
    """A store that ignores the SHA-256 keeps a damaged upload, and the mark says that it was verified."""
    damaged, *others = issue(site, ROWS)

    def store(exchange: Exchange) -> None:
        exchange.store_unchecked(b"damaged" if exchange.path.endswith(f"{damaged.file_image}") else exchange.body)

    proxy.script = lambda request: store if request.operation == "put" else None
    result = site.run("backfill", "--json", environment=through(proxy))
    assert result.returncode == 1
    assert "does not refuse a wrong SHA-256" in result.stderr
    assert all(proxy.count("get", key) == 1 for row in others for key in row.keys)
    rows = check_marks(site)
    assert [row.id for row in rows if row.marked] == [row.id for row in others]
    assert set(site.keys()) == {key for row in rows for key in row.keys}  # the probe of the checksum is gone
