"""A bucket in which certificates, or their backups, are safe."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi_aws import s3

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclasses.dataclass(frozen=True)
class CertificateStoreArgs:
    """What one store differs in from another."""

    bucket_name: str
    tags: Mapping[str, str]
    lifecycle_rules: Sequence[s3.BucketLifecycleConfigurationRuleArgsDict] = ()


def tls_only_policy(bucket_name: str) -> dict[str, Any]:
    """Returns the bucket policy that denies every request over plain HTTP."""
    arn = f"arn:aws:s3:::{bucket_name}"
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "DenyPlainHttp",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [arn, f"{arn}/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ],
    }


class CertificateStore(pulumi.ComponentResource):
    """A versioned, encrypted, private bucket that is reached over TLS only."""

    bucket: s3.Bucket

    def __init__(self, name: str, args: CertificateStoreArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("deltacrown:storage:CertificateStore", name, None, opts)
        self._name = name
        self.bucket = s3.Bucket(name, bucket=args.bucket_name, tags=args.tags, opts=self._child())
        versioning = s3.BucketVersioning(
            name,
            bucket=self.bucket.bucket,
            versioning_configuration={"status": "Enabled"},
            opts=self._child(),
        )
        self._encrypt()
        self._close_to_the_public(args.bucket_name)
        if args.lifecycle_rules:
            s3.BucketLifecycleConfiguration(
                name,
                bucket=self.bucket.bucket,
                rules=args.lifecycle_rules,
                opts=self._child(depends_on=versioning),  # rules for old versions need versioning
            )
        self.register_outputs({"bucket": self.bucket.bucket, "arn": self.bucket.arn})

    def _encrypt(self) -> None:
        s3.BucketServerSideEncryptionConfiguration(
            self._name,
            bucket=self.bucket.bucket,
            rules=[{"apply_server_side_encryption_by_default": {"sse_algorithm": "AES256"}}],
            opts=self._child(),
        )

    def _close_to_the_public(self, bucket_name: str) -> None:
        ownership = s3.BucketOwnershipControls(
            self._name,
            bucket=self.bucket.bucket,
            rule={"object_ownership": "BucketOwnerEnforced"},
            opts=self._child(),
        )
        public_access = s3.BucketPublicAccessBlock(
            self._name,
            bucket=self.bucket.bucket,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=self._child(depends_on=ownership),
        )
        s3.BucketPolicy(
            self._name,
            bucket=self.bucket.bucket,
            policy=json.dumps(tls_only_policy(bucket_name)),
            # S3 refuses two changes of one bucket's access at the same moment.
            opts=self._child(depends_on=public_access),
        )

    def _child(self, depends_on: pulumi.Resource | None = None) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=depends_on)
