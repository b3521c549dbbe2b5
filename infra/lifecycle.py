"""Reads ops/s3/lifecycle-policy.json and refuses rules by which a certificate could become unreadable."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import pydantic
from pydantic.alias_generators import to_pascal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pulumi_aws.s3 import BucketLifecycleConfigurationRuleArgsDict as RuleArguments

CERTIFICATE_PREFIX = "certificates/"
# S3 takes no transition to STANDARD_IA before day 30, and bills objects there as 128 KB at least; it leaves
# smaller ones in STANDARD unless told otherwise, so the transition saves on large certificates only.
STANDARD_IA_DAYS = 30
# A certificate that was overwritten or deleted by mistake can be brought back for this long.
NONCURRENT_DAYS = 90


class LifecycleError(ValueError):
    """The lifecycle policy is malformed, or could cost a certificate."""


class _Part(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, alias_generator=to_pascal)


Days = Annotated[int, pydantic.Field(ge=1, strict=True)]
# Everything customers download stays instantly readable: GLACIER and DEEP_ARCHIVE need a restore first.
ReadableClass = Literal["STANDARD_IA", "GLACIER_IR"]


class _Filter(_Part):
    prefix: str


class _Transition(_Part):
    days: Days
    storage_class: ReadableClass


class _NoncurrentTransition(_Part):
    noncurrent_days: Days
    storage_class: ReadableClass


class _Expiration(_Part):
    days: Days


class _NoncurrentExpiration(_Part):
    noncurrent_days: Days


class _AbortUpload(_Part):
    days_after_initiation: Days


class _Rule(_Part):
    id: str = pydantic.Field(alias="ID", min_length=1)
    status: Literal["Enabled", "Disabled"]
    filter: _Filter
    transitions: tuple[_Transition, ...] | None = None
    expiration: _Expiration | None = None
    noncurrent_version_transitions: tuple[_NoncurrentTransition, ...] | None = None
    noncurrent_version_expiration: _NoncurrentExpiration | None = None
    abort_incomplete_multipart_upload: _AbortUpload | None = None

    @pydantic.model_validator(mode="after")
    def _cost_no_certificate(self) -> _Rule:
        moves = [(move.storage_class, move.days) for move in self.transitions or ()]
        moves += [(move.storage_class, move.noncurrent_days) for move in self.noncurrent_version_transitions or ()]
        if any(storage_class == "STANDARD_IA" and days < STANDARD_IA_DAYS for storage_class, days in moves):
            raise ValueError(f"{self.id}: S3 takes no transition to STANDARD_IA before day {STANDARD_IA_DAYS}")
        if not self._reaches_certificates():
            return self
        if self.expiration is not None:
            raise ValueError(f"{self.id}: it would delete certificates that customers still download")
        expiry = self.noncurrent_version_expiration
        if expiry is not None and expiry.noncurrent_days < NONCURRENT_DAYS:
            raise ValueError(f"{self.id}: replaced certificates must be kept for {NONCURRENT_DAYS} days at least")
        return self

    def _reaches_certificates(self) -> bool:
        prefix = self.filter.prefix
        return prefix.startswith(CERTIFICATE_PREFIX) or CERTIFICATE_PREFIX.startswith(prefix)


class _Policy(_Part):
    rules: tuple[_Rule, ...] = pydantic.Field(min_length=1)

    @pydantic.field_validator("rules")
    @classmethod
    def _names_differ(cls, rules: tuple[_Rule, ...]) -> tuple[_Rule, ...]:
        if len({rule.id for rule in rules}) < len(rules):
            raise ValueError("two rules have the same ID")
        return rules


def bucket_rules(policy: Mapping[str, Any]) -> list[RuleArguments]:
    """Turns what `aws s3api put-bucket-lifecycle-configuration` takes into Pulumi's rule arguments.

    Raises LifecycleError, naming each bad key or rule, for what S3 would refuse, for a storage class that
    needs a restore before a download, and for rules that delete certificates or their recent old versions.
    """
    try:
        rules = _Policy.model_validate(policy).rules
    except pydantic.ValidationError as error:
        faults = (f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise LifecycleError("; ".join(faults)) from error
    return [cast("RuleArguments", rule.model_dump(mode="json", exclude_none=True)) for rule in rules]


def load_bucket_rules(path: Path) -> list[RuleArguments]:
    """Returns the rules of the policy file at `path` as Pulumi's arguments; LifecycleError names the file."""
    try:
        return bucket_rules(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise LifecycleError(f"The lifecycle policy {path} cannot be used: {error}") from error
