"""The bucket's settings, against what the stack declares; a setting that may not be read is unknown, never right."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cutover.doctor.finding import Finding, fail, ok, unknown
from cutover.doctor.s3_calls import ask

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mypy_boto3_s3 import S3Client

    from cutover.doctor.finding import Subject

__all__ = ["examine"]

LIFECYCLE = Path(__file__).with_name("lifecycle-policy.json")  # ops/s3/lifecycle-policy.json
_NO_BLOCK = "NoSuchPublicAccessBlockConfiguration"
_BLOCKS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")


def examine(subject: Subject, client: S3Client) -> Iterator[Finding]:
    """Findings for the policy, the public access block, versioning and lifecycle rules."""
    bucket = subject.settings.bucket
    up = f"pulumi up --stack {subject.deployment or '<stack>'}"
    role = subject.names.readonly_role if subject.names else "the read-only role"
    again = subject.command(f"doctor --role-arn <ARN of {role}>")
    for check, call, judge, absent in (
        ("bucket policy", client.get_bucket_policy, _policy, "NoSuchBucketPolicy"),
        ("public access block", client.get_public_access_block, _public_access, _NO_BLOCK),
        ("versioning", client.get_bucket_versioning, _versioning, None),
        ("lifecycle", client.get_bucket_lifecycle_configuration, _lifecycle, "NoSuchLifecycleConfiguration"),
    ):
        answer = ask(functools.partial(call, Bucket=bucket))
        if answer.document is not None:
            wrong = judge(answer.document, bucket)
            yield fail(check, wrong, up) if wrong else ok(check, "as the stack declares it")
        elif answer.code == absent:
            yield fail(check, "there is none", up)
        else:
            yield unknown(check, f"could not be read: {answer.sentence}", again)


def _policy(document: Mapping[str, Any], bucket: str) -> str:
    """What is wrong with a setting, as a sentence; empty if nothing is. So do the functions below."""
    arn = f"arn:aws:s3:::{bucket}"
    statements = _listed(json.loads(document["Policy"]).get("Statement", []))
    if any(_denies_plain_http(statement, arn) for statement in statements):
        return ""
    return "it does not deny plain HTTP (aws:SecureTransport) for the bucket and its objects"


def _denies_plain_http(statement: Mapping[str, Any], arn: str) -> bool:
    secure = statement.get("Condition", {}).get("Bool", {}).get("aws:SecureTransport")
    return (
        statement.get("Effect") == "Deny"
        and statement.get("Principal") in ("*", {"AWS": "*"})
        and str(secure).lower() == "false"
        and {arn, f"{arn}/*"} <= set(_listed(statement.get("Resource")))
        and bool({"s3:*", "*"} & set(_listed(statement.get("Action"))))
    )


def _public_access(document: Mapping[str, Any], _bucket: str) -> str:
    blocks = document["PublicAccessBlockConfiguration"]
    off = ", ".join(name for name in _BLOCKS if blocks.get(name) is not True)
    return f"{off} off: certificates could be made public" if off else ""


def _versioning(document: Mapping[str, Any], _bucket: str) -> str:
    status = document.get("Status", "never enabled")
    wrong = f"{status}: an overwritten or deleted certificate could not be brought back"
    return "" if status == "Enabled" else wrong


def _lifecycle(document: Mapping[str, Any], _bucket: str) -> str:
    declared = _by_id(json.loads(LIFECYCLE.read_text(encoding="utf-8"))["Rules"])
    found = _by_id(document.get("Rules", []))
    differing = sorted(name for name in {*declared, *found} if declared.get(name) != found.get(name))
    return f"rules {', '.join(differing)} are not those of ops/s3/lifecycle-policy.json" if differing else ""


def _by_id(rules: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    # S3 may answer a filter for all objects without its empty prefix.
    return {str(rule.get("ID")): {**rule, "Filter": {"Prefix": "", **rule.get("Filter", {})}} for rule in rules}


def _listed(value: Any) -> list[Any]:  # noqa: ANN401 - JSON: IAM takes one value or a list of them
    return value if isinstance(value, list) else [value]
