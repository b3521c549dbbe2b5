"""The role under which the application's workers reach their certificates and send their log lines."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi_aws import iam

from infra.lifecycle import CERTIFICATE_PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

POLICY_NAME = "S3CertificateAccess"
TELEMETRY_POLICY_NAME = "CutoverTelemetry"
KEY_POLICY_NAME = "CertificateKey"
PROBE_PREFIX = "cutover-probe/"


@dataclasses.dataclass(frozen=True)
class CertificateAccessArgs:
    """Whom the role lets in, and to what."""

    role_name: str
    bucket_name: str
    trusted_principals: Sequence[str]
    log_group_arn: pulumi.Output[str]
    tags: Mapping[str, str]
    kms_key_arn: str | None = None


def policy_document(*statements: Mapping[str, Any]) -> dict[str, Any]:
    """Returns an IAM policy that allows these statements."""
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement} for statement in statements]}


def trust_policy(trusted_principals: Sequence[str]) -> dict[str, Any]:
    """Returns who may assume the role: EC2 instances, and the principals of these ARNs."""
    principals: dict[str, Any] = {"Service": "ec2.amazonaws.com"}
    if trusted_principals:
        principals["AWS"] = list(trusted_principals)
    return policy_document({"Principal": principals, "Action": "sts:AssumeRole"})


def certificate_access_policy(bucket_name: str) -> dict[str, Any]:
    """Returns the runbook's four actions, on the certificates and the probe's objects of one bucket."""
    arn = f"arn:aws:s3:::{bucket_name}"
    return policy_document(
        {
            "Sid": "Objects",
            "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
            "Resource": [f"{arn}/{CERTIFICATE_PREFIX}*", f"{arn}/{PROBE_PREFIX}*"],
        },
        {"Sid": "Listing", "Action": "s3:ListBucket", "Resource": arn},
    )


def telemetry_policy(log_group_arn: str) -> dict[str, Any]:
    """Returns what the CloudWatch agent and the proof of delivery do, in one log group.

    Neither alarms nor metrics are in it: a worker that is taken over could silence the alarms, and a point of the
    silence's metric would do. `log_group_arn` has no `:*` at its end.
    """
    return policy_document(
        {
            "Sid": "OwnLogGroup",
            "Action": [
                "logs:CreateLogStream",
                "logs:PutLogEvents",
                "logs:DescribeLogStreams",
                "logs:FilterLogEvents",
            ],
            "Resource": log_resources(log_group_arn),
        }
    )


def log_resources(log_group_arn: str) -> list[str]:
    """Returns both forms of a log group's ARN: AWS wants `:*` behind it for these actions, the stand-in does not."""
    return [log_group_arn, f"{log_group_arn}:*"]


def key_policy(kms_key_arn: str, *, writes: bool) -> dict[str, Any]:
    """Returns what objects under a KMS key ask of whoever reads and, if `writes`, writes them."""
    actions = ["kms:Decrypt", *(["kms:GenerateDataKey"] if writes else [])]
    return policy_document({"Sid": "BucketKey", "Action": actions, "Resource": kms_key_arn})


class CertificateAccess(pulumi.ComponentResource):
    """A role with the workers' policies, and the instance profile that carries it to EC2."""

    role: iam.Role
    instance_profile: iam.InstanceProfile

    def __init__(self, name: str, args: CertificateAccessArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("deltacrown:access:CertificateAccess", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        self.role = iam.Role(
            name,
            name=args.role_name,
            description="DeltaCrown's workers: read, write and delete certificate files",
            assume_role_policy=json.dumps(trust_policy(args.trusted_principals)),
            tags=args.tags,
            opts=child,
        )
        iam.RolePolicy(
            name,
            name=POLICY_NAME,
            role=self.role.name,
            policy=json.dumps(certificate_access_policy(args.bucket_name)),
            opts=child,
        )
        iam.RolePolicy(
            f"{name}-telemetry",
            name=TELEMETRY_POLICY_NAME,
            role=self.role.name,
            policy=args.log_group_arn.apply(lambda arn: json.dumps(telemetry_policy(arn))),
            opts=child,
        )
        if args.kms_key_arn is not None:
            iam.RolePolicy(
                f"{name}-key",
                name=KEY_POLICY_NAME,
                role=self.role.name,
                policy=json.dumps(key_policy(args.kms_key_arn, writes=True)),
                opts=child,
            )
        self.instance_profile = iam.InstanceProfile(
            name, name=args.role_name, role=self.role.name, tags=args.tags, opts=child
        )
        self.register_outputs({"roleArn": self.role.arn, "instanceProfile": self.instance_profile.name})

    @property
    def account_id(self) -> pulumi.Output[str]:
        """The account that the stack is in, as the role's ARN has it."""
        return self.role.arn.apply(lambda arn: arn.split(":")[4])
