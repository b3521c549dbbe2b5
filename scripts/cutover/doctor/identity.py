"""Under whose name the tools reach AWS, against the roles of the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cutover.doctor import s3_calls
from cutover.doctor.finding import Finding, fail, ok, unknown, warn
from cutover.object_store import session

if TYPE_CHECKING:
    from cutover.doctor.finding import Subject

__all__ = ["examine"]


def examine(subject: Subject) -> tuple[Finding, str]:
    """The finding, and the name of the role (empty without one)."""
    arn, failure = _caller(subject)
    if failure is not None:
        return failure, ""
    role = arn.split("/")[1] if ":assumed-role/" in arn else ""
    return _judge(subject, arn, role), role


def _judge(subject: Subject, arn: str, role: str) -> Finding:
    check, names = "identity", subject.names
    if names is None:
        buckets = ", ".join(each.bucket for each in subject.table.deployments.values())
        reason = f"{arn}; bucket {subject.settings.bucket} is none of the table's ({buckets}), so no role is expected"
        return warn(check, reason)
    purposes = {names.role: "workers'", names.readonly_role: "read-only", names.retirement_role: "retirement"}
    if role in purposes:
        return ok(check, f"{role}, the {purposes[role]} role of {subject.deployment}")
    reason = f"{arn} is no role of {subject.deployment}; expected {names.role} or {names.readonly_role}"
    if not role:  # the runbook allows a user's keys, too
        return warn(check, reason)
    return fail(check, reason, "aws sts get-caller-identity")


def _caller(subject: Subject) -> tuple[str, Finding | None]:
    sts = session(subject.settings).client("sts", config=s3_calls.CONFIG)
    answer = s3_calls.ask(sts.get_caller_identity)
    if answer.document is not None:
        return answer.document["Arn"], None
    if answer.refused:
        return "", fail("identity", f"STS: {answer.sentence}", "aws sts get-caller-identity")
    return "", unknown("identity", f"STS could not be asked: {answer.sentence}", "aws sts get-caller-identity")
