"""The runbook's four permissions, each by a real call that harms nothing, and a presigned URL fetched for real."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from cutover.doctor.finding import Finding, fail, ok, unknown
from cutover.doctor.s3_calls import Answer, ask
from cutover.local_files import PREFIX
from cutover.probe_store import ProbeError, ProbeStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3 import S3Client

    from cutover.doctor.finding import Subject

__all__ = ["examine"]

_BODY = b"doctor"


def examine(subject: Subject, client: S3Client, role: str, listing: Answer) -> Iterator[Finding]:
    """Findings for listing, reading, writing and deleting, and for a presigned URL.

    Args:
        subject: what is examined.
        client: under whose credentials.
        role: its name; one that is for looking only must be denied what changes something.
        listing: the answer to a listing of one certificate.
    """
    names = subject.names
    looks_only = names is not None and role in {names.readonly_role, names.retirement_role}
    policy = f"aws iam get-role-policy --role-name {role or '<role>'} --policy-name S3CertificateAccess"
    yield _allowed("permission s3:ListBucket", listing, policy)
    bucket, own_key = subject.settings.bucket, f"{subject.table.telemetry.probe.prefix}doctor-{uuid.uuid4()}"
    stored = ask(lambda: client.put_object(Bucket=bucket, Key=own_key, Body=_BODY))
    judge = _denied if looks_only else _allowed
    yield judge("permission s3:PutObject", stored, policy)
    key = own_key if stored.document is not None else _a_certificate(listing)
    read = ask(lambda: client.get_object(Bucket=bucket, Key=key, Range=f"bytes=0-{len(_BODY) - 1}"))
    body = b"" if read.document is None else read.document["Body"].read()
    # S3 answers 404 only to those who may read.
    readable = Answer({}, {}) if read.code == "NoSuchKey" else read
    yield _allowed("permission s3:GetObject", readable, policy)
    yield _presigned(subject, key, body, policy)
    deleted = ask(lambda: client.delete_object(Bucket=bucket, Key=own_key))
    yield judge("permission s3:DeleteObject", deleted, policy)


def _a_certificate(listing: Answer) -> str:
    """The key of an object that the listing named, or of one that does not exist."""
    contents = (listing.document or {}).get("Contents") or [{"Key": f"{PREFIX}doctor-{uuid.uuid4()}"}]
    return str(contents[0]["Key"])


def _allowed(check: str, answer: Answer, policy: str) -> Finding:
    if answer.document is not None:
        return ok(check, "allowed")
    if answer.refused:
        return fail(check, answer.sentence, policy)
    return unknown(check, f"S3 did not say: {answer.sentence}")


def _denied(check: str, answer: Answer, policy: str) -> Finding:
    if answer.denied:
        return ok(check, "denied, as it must be under a role that only looks")
    if answer.document is not None:
        return fail(check, "allowed to a role that must only look: correct its policy", policy)
    return unknown(check, f"neither allowed nor denied: {answer.sentence}")


def _presigned(subject: Subject, key: str, body: bytes, policy: str) -> Finding:
    """By a ranged GET: HEAD, which `curl -I` sends, is not covered by the signature."""
    check = "presigned URL"
    store = ProbeStore(subject.settings)
    try:
        store.get(store.sign(key), body or _BODY)
    except ProbeError as error:
        if str(error) == "HTTP 404 NoSuchKey":
            return ok(check, "S3 takes the signature; there is no certificate yet that could be fetched")
        if isinstance(error.__cause__, OSError):
            return unknown(check, f"S3 did not answer: {error}")
        return fail(check, f"a GET of {key} was answered with {error}", policy)
    return ok(check, f"fetched {key} and compared its bytes")
