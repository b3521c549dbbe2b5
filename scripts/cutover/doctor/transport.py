"""The way to S3: TLS and the clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from cutover.doctor.finding import Finding, fail, ok, unknown
from cutover.doctor.s3_calls import Answer, ask, plain_client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cutover.doctor.finding import Subject

__all__ = ["examine"]


def examine(subject: Subject, endpoint_url: str, listing: Answer) -> Iterator[Finding]:
    """Findings for the certificate, for plain HTTP, and for the clock.

    Args:
        subject: what is examined.
        endpoint_url: where S3 was asked.
        listing: the answer to a listing, which went over TLS if the endpoint is an https one.
    """
    yield _certificate(endpoint_url, listing)
    yield _plain_http(subject, endpoint_url, listing)
    yield _clock(listing, subject.table.data_tools.clock_skew_seconds)


def _certificate(endpoint_url: str, listing: Answer) -> Finding:
    check = "TLS"
    if not endpoint_url.startswith("https://"):
        return fail(check, f"AWS_ENDPOINT_URL_S3 is {endpoint_url}: certificates travel unencrypted; use https://")
    if listing.distrusted:
        return fail(check, f"the certificate is not trusted: {listing.sentence}", f"curl -v {endpoint_url}")
    if not listing.headers:
        return unknown(check, f"{endpoint_url} did not answer: {listing.sentence}")
    return ok(check, f"the certificate of {endpoint_url} is trusted")


def _plain_http(subject: Subject, endpoint_url: str, listing: Answer) -> Finding:
    """The same listing without TLS must be refused; its signature is good for this one listing."""
    check = "plain HTTP"
    if listing.document is None:
        return unknown(check, "what is refused over TLS, too, proves nothing: see s3:ListBucket")
    bucket, prefix = subject.settings.bucket, subject.table.telemetry.probe.prefix
    plain = plain_client(subject.settings, endpoint_url)
    answer = ask(lambda: plain.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1))
    if answer.document is not None:
        command = f"aws s3api get-bucket-policy --bucket {bucket}"
        return fail(check, "S3 answers requests without TLS: the policy must deny aws:SecureTransport=false", command)
    if answer.denied:
        return ok(check, "denied by the bucket's policy")
    if answer.code or answer.timed_out:
        return unknown(check, f"neither allowed nor denied: {answer.sentence}")
    return ok(check, "nothing answers without TLS")


def _clock(listing: Answer, most: int) -> Finding:
    check = "clock"
    date = listing.headers.get("date")
    if date is None:
        return unknown(check, "S3 did not say what time it is")
    skew = time.time() - parsedate_to_datetime(date).timestamp()
    if abs(skew) > most:
        here = datetime.now(UTC).strftime("%H:%M:%S UTC")
        reason = f"here it is {here}, {abs(skew):.0f} s {'later' if skew > 0 else 'earlier'} than at S3"
        return fail(check, f"{reason}, which refuses requests from 900 s on", "timedatectl status")
    return ok(check, f"{skew:+.0f} s from S3's")
