"""The roles under which operators, never workers, look, retire local copies, copy evidence, and fence the workers."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any, Literal

import pulumi
from pulumi_aws import iam

from cutover.names import EVIDENCE_PREFIX
from cutover.retirement.backups import ARCHIVE_PREFIX
from infra.access import KEY_POLICY_NAME, key_policy, log_resources, policy_document
from infra.certificate_store import INVENTORY_PREFIX
from infra.lifecycle import CERTIFICATE_PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cutover.plan import DeploymentNames

Purpose = Literal["readonly", "retirement", "evidence", "fence"]
POLICY_NAMES: Mapping[Purpose, str] = {
    "readonly": "CutoverReadonly",
    "retirement": "CutoverRetirement",
    "evidence": "CutoverEvidence",
    "fence": "CutoverFencing",
}
# The bucket's settings that preflight and the doctor hold against what this program declares.
BUCKET_SETTINGS = (
    "s3:GetBucketLocation",
    "s3:GetBucketOwnershipControls",
    "s3:GetBucketPolicy",
    "s3:GetBucketPublicAccessBlock",
    "s3:GetBucketVersioning",
    "s3:GetEncryptionConfiguration",
    "s3:GetInventoryConfiguration",
    "s3:GetLifecycleConfiguration",
)


@dataclasses.dataclass(frozen=True)
class OperatorAccessArgs:
    """Whom each role lets in, and to what; `principals` are the settings' ARNs, and a role without any is not made.

    No setting lets anybody into two roles: the machines that copy evidence are often the workers' own.
    """

    names: DeploymentNames
    bucket_name: str
    backups_bucket: str | None
    principals: Mapping[Purpose, Sequence[str]]
    log_group_arn: pulumi.Output[str]
    workers_role_arn: pulumi.Output[str]
    tags: Mapping[str, str]
    kms_key_arn: str | None = None


def operator_trust_policy(principals: Sequence[str]) -> dict[str, Any]:
    """Returns who may assume an operator's role: these principals, and no machine."""
    return policy_document({"Principal": {"AWS": list(principals)}, "Action": "sts:AssumeRole"})


def readonly_policy(bucket_name: str, backups_bucket: str | None, log_group_arn: str) -> dict[str, Any]:
    """Returns what dry runs, checks and the doctor read: certificates, settings, log lines, alarms.

    Old versions of objects are not among it: checks compare what customers get, and that is the current one.
    """
    arn = f"arn:aws:s3:::{bucket_name}"
    statements: list[dict[str, Any]] = [
        {"Sid": "Certificates", "Action": "s3:GetObject", "Resource": f"{arn}/{CERTIFICATE_PREFIX}*"},
        {"Sid": "Bucket", "Action": ["s3:ListBucket", *BUCKET_SETTINGS], "Resource": arn},
        {
            "Sid": "Logs",
            "Action": [
                "logs:DescribeLogStreams",
                "logs:DescribeMetricFilters",
                "logs:FilterLogEvents",
                "logs:GetLogEvents",
            ],
            "Resource": log_resources(log_group_arn),
        },
        # AWS takes no narrower resource: not for metrics, and not for composite alarms and their history.
        {
            "Sid": "Alarms",
            "Action": ["cloudwatch:DescribeAlarmHistory", "cloudwatch:DescribeAlarms", "cloudwatch:GetMetricData"],
            "Resource": "*",
        },
    ]
    if backups_bucket is not None:
        backups = f"arn:aws:s3:::{backups_bucket}"
        statements += [
            {"Sid": "Inventory", "Action": "s3:GetObject", "Resource": f"{backups}/{INVENTORY_PREFIX}/*"},
            {
                "Sid": "InventoryList",
                "Action": "s3:ListBucket",
                "Resource": backups,
                "Condition": {"StringLike": {"s3:prefix": f"{INVENTORY_PREFIX}/*"}},
            },
        ]
    return policy_document(*statements)


def retirement_policy(bucket_name: str, backups_bucket: str) -> dict[str, Any]:
    """Returns what archive and retirement do: prove the objects, and put archives of them into the backups bucket.

    They delete nothing in S3, for what they retire lies on the machines' disk; evidence and S3's own lists, which lie
    in the backups bucket, too, they can neither read nor replace.
    """
    arn, backups = f"arn:aws:s3:::{bucket_name}", f"arn:aws:s3:::{backups_bucket}"
    return policy_document(
        {"Sid": "Certificates", "Action": "s3:GetObject", "Resource": f"{arn}/{CERTIFICATE_PREFIX}*"},
        {"Sid": "Listing", "Action": "s3:ListBucket", "Resource": arn},
        {
            "Sid": "Archives",
            "Action": ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"],
            "Resource": f"{backups}/{ARCHIVE_PREFIX}{bucket_name}/*",
        },
        {"Sid": "Backups", "Action": ["s3:ListBucket", "s3:ListBucketMultipartUploads"], "Resource": backups},
    )


def evidence_policy(backups_bucket: str) -> dict[str, Any]:
    """Returns what the data hosts' copy of the evidence does: store records, and compare them; it takes none away."""
    backups = f"arn:aws:s3:::{backups_bucket}"
    return policy_document(
        {"Sid": "Records", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": f"{backups}/{EVIDENCE_PREFIX}*"},
        {
            "Sid": "RecordList",
            "Action": "s3:ListBucket",
            "Resource": backups,
            "Condition": {"StringLike": {"s3:prefix": f"{EVIDENCE_PREFIX}*"}},
        },
    )


def fence_policy(workers_role_arn: str) -> dict[str, Any]:
    """Returns what denies S3 to the workers' role, and gives it back: the inline policies of this one role.

    IAM has no condition for an inline policy's name or text, so whoever may put the fence there could also put rights
    there, and use them on a machine. That is why no machine belongs among the fence's principals.
    """
    actions = ["iam:GetRolePolicy", "iam:PutRolePolicy", "iam:DeleteRolePolicy"]
    return policy_document({"Sid": "WorkersRole", "Action": actions, "Resource": workers_role_arn})


class OperatorAccess(pulumi.ComponentResource):
    """The roles that look and that fence and, with a backups bucket, those that write there; None: not made."""

    readonly_role: iam.Role | None = None
    retirement_role: iam.Role | None = None
    evidence_role: iam.Role | None = None
    fence_role: iam.Role | None = None

    def __init__(self, name: str, args: OperatorAccessArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("deltacrown:access:OperatorAccess", name, None, opts)
        self._args = args
        if args.principals["readonly"]:
            self.readonly_role = self._role(
                "readonly",
                args.names.readonly_role,
                "DeltaCrown's operators: dry runs, checks and the doctor, without a single write",
                args.log_group_arn.apply(
                    lambda arn: json.dumps(readonly_policy(args.bucket_name, args.backups_bucket, arn))
                ),
            )
        if args.principals["retirement"] and args.names.retirement_role is not None and args.backups_bucket is not None:
            self.retirement_role = self._role(
                "retirement",
                args.names.retirement_role,
                "DeltaCrown's operators: archive local copies into the backups bucket, after proof that S3 has them",
                json.dumps(retirement_policy(args.bucket_name, args.backups_bucket)),
            )
        if args.principals["evidence"] and args.names.evidence_role is not None and args.backups_bucket is not None:
            self.evidence_role = self._role(
                "evidence",
                args.names.evidence_role,
                "DeltaCrown's data hosts: a copy of the evidence into the backups bucket",
                json.dumps(evidence_policy(args.backups_bucket)),
            )
        if args.principals["fence"]:
            self.fence_role = self._role(
                "fence",
                args.names.fence_role,
                "DeltaCrown's operators: deny S3 to machines that an emergency rollback cannot reach",
                args.workers_role_arn.apply(lambda arn: json.dumps(fence_policy(arn))),
            )
        self.register_outputs({})

    def _role(self, purpose: Purpose, role_name: str, description: str, policy: pulumi.Input[str]) -> iam.Role:
        role = iam.Role(
            purpose,
            name=role_name,
            description=description,
            assume_role_policy=json.dumps(operator_trust_policy(self._args.principals[purpose])),
            tags=self._args.tags,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self._policy(purpose, role, POLICY_NAMES[purpose], policy)
        if self._args.kms_key_arn is not None and purpose != "fence":  # which reads no object
            key = key_policy(self._args.kms_key_arn, writes=purpose != "readonly")
            self._policy(f"{purpose}-key", role, KEY_POLICY_NAME, json.dumps(key))
        return role

    def _policy(self, name: str, role: iam.Role, policy_name: str, policy: pulumi.Input[str]) -> None:
        iam.RolePolicy(name, name=policy_name, role=role.name, policy=policy, opts=pulumi.ResourceOptions(parent=self))
