"""The role under which the application's workers reach their certificates."""

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
PROBE_PREFIX = "cutover-probe/"


@dataclasses.dataclass(frozen=True)
class CertificateAccessArgs:
    """Whom the role lets in, and to which bucket."""

    role_name: str
    bucket_name: str
    trusted_principals: Sequence[str]
    tags: Mapping[str, str]


def trust_policy(trusted_principals: Sequence[str]) -> dict[str, Any]:
    """Returns who may assume the role: EC2 instances, and the principals of these ARNs."""
    principals: dict[str, Any] = {"Service": "ec2.amazonaws.com"}
    if trusted_principals:
        principals["AWS"] = list(trusted_principals)
    return {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": principals, "Action": "sts:AssumeRole"}],
    }


def certificate_access_policy(bucket_name: str) -> dict[str, Any]:
    """Returns the runbook's four actions, on the certificates and the probe's objects of one bucket."""
    arn = f"arn:aws:s3:::{bucket_name}"
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "Objects",
                "Effect": "Allow",
                "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
                "Resource": [f"{arn}/{CERTIFICATE_PREFIX}*", f"{arn}/{PROBE_PREFIX}*"],
            },
            {"Sid": "Listing", "Effect": "Allow", "Action": "s3:ListBucket", "Resource": arn},
        ],
    }


class CertificateAccess(pulumi.ComponentResource):
    """A role with the policy S3CertificateAccess, and the instance profile that carries it to EC2."""

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
        self.instance_profile = iam.InstanceProfile(
            name, name=args.role_name, role=self.role.name, tags=args.tags, opts=child
        )
        self.register_outputs({"roleArn": self.role.arn, "instanceProfile": self.instance_profile.name})
