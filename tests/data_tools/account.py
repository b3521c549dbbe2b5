"""The cloud of one test: buckets hardened as the stacks harden them, and the roles with their own policies."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.access import certificate_access_policy, policy_document
from infra.certificate_store import tls_only_policy
from infra.operators import evidence_policy, readonly_policy, retirement_policy
from rehearsal.aws_stand_in import REGION

if TYPE_CHECKING:
    from mypy_boto3_iam.client import IAMClient
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_sts.client import STSClient

    from rehearsal.aws_stand_in import AwsStandIn

LIFECYCLE = Path(__file__).parents[2] / "ops" / "s3" / "lifecycle-policy.json"
LOG_GROUP_ARN = f"arn:aws:logs:{REGION}:000000000000:log-group:/deltacrown/certificates/test"


@dataclasses.dataclass(frozen=True)
class Roles:
    """ARNs of the roles; the application may assume the others, as an operator or a data host does."""

    application: str
    readonly: str
    retirement: str
    evidence: str


@dataclasses.dataclass(frozen=True)
class Account:
    """The stand-in with the clients of its root, which are dear to make and so are made once a session."""

    aws: AwsStandIn
    s3: S3Client
    iam: IAMClient
    sts: STSClient

    @classmethod
    def of(cls, aws: AwsStandIn) -> Account:
        """An account as its root."""
        return cls(aws, aws.s3(), aws.iam(), aws.sts())

    def make_bucket(self, name: str) -> None:
        """Makes a bucket as the stacks declare theirs."""
        self.s3.create_bucket(Bucket=name)
        self.s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        self.s3.put_bucket_encryption(
            Bucket=name,
            ServerSideEncryptionConfiguration={
                "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
            },
        )
        self.s3.put_bucket_ownership_controls(
            Bucket=name, OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
        )
        self.s3.put_public_access_block(
            Bucket=name,
            PublicAccessBlockConfiguration={
                "BlockPublicAcls": True,
                "BlockPublicPolicy": True,
                "IgnorePublicAcls": True,
                "RestrictPublicBuckets": True,
            },
        )
        self.s3.put_bucket_lifecycle_configuration(
            Bucket=name, LifecycleConfiguration=json.loads(LIFECYCLE.read_text())
        )
        self.s3.put_bucket_policy(Bucket=name, Policy=json.dumps(tls_only_policy(name)))

    def make_roles(self, bucket: str, backups: str) -> Roles:
        """Makes the roles of a bucket, each with the policy that its stack gives it."""
        root = self.sts.get_caller_identity()["Arn"]
        application = self._make_role(f"application-{bucket}", [root], certificate_access_policy(bucket))
        operators = [root, application]
        roles = Roles(
            application,
            self._make_role(f"readonly-{bucket}", operators, readonly_policy(bucket, backups, LOG_GROUP_ARN)),
            self._make_role(f"retirement-{bucket}", operators, retirement_policy(bucket, backups)),
            self._make_role(f"evidence-{bucket}", operators, evidence_policy(backups)),
        )
        # On AWS the trust alone suffices within an account; the stand-in asks for this, too.
        others = [roles.readonly, roles.retirement, roles.evidence]
        operator = policy_document({"Action": "sts:AssumeRole", "Resource": others})
        self._allow(f"application-{bucket}", "operator", operator)
        return roles

    def credentials(self, role_arn: str) -> dict[str, str]:
        """The variables that hold an hour's credentials of a role."""
        given = self.sts.assume_role(RoleArn=role_arn, RoleSessionName="test")["Credentials"]
        return {
            "AWS_ACCESS_KEY_ID": given["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": given["SecretAccessKey"],
            "AWS_SESSION_TOKEN": given["SessionToken"],
        }

    def _make_role(self, name: str, trusted: list[str], policy: dict[str, Any]) -> str:
        trust = policy_document({"Principal": {"AWS": trusted}, "Action": "sts:AssumeRole"})
        role = self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]
        self._allow(name, "own", policy)
        return role["Arn"]

    def _allow(self, role_name: str, policy_name: str, policy: dict[str, Any]) -> None:
        self.iam.put_role_policy(RoleName=role_name, PolicyName=policy_name, PolicyDocument=json.dumps(policy))
