"""A bucket in which certificates, or their backups, are safe."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi_aws import s3

from cutover.names import EVIDENCE_PREFIX
from infra.lifecycle import CERTIFICATE_PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

INVENTORY_PREFIX = "inventory"
# What a comparison with the table needs, so that a catalogue beyond listing is compared by these lists.
INVENTORY_FIELDS = ("Size", "LastModifiedDate", "ETag", "StorageClass", "EncryptionStatus", "ChecksumAlgorithm")
REQUEST_METRICS = "EntireBucket"  # S3's own name for request metrics without a filter


@dataclasses.dataclass(frozen=True)
class InventorySource:
    """Whose lists a bucket takes."""

    bucket_name: str
    account_id: pulumi.Output[str]


@dataclasses.dataclass(frozen=True)
class InventoryDestination:
    """Where a bucket's lists go."""

    bucket_arn: pulumi.Output[str]
    account_id: pulumi.Output[str]


@dataclasses.dataclass(frozen=True)
class CertificateStoreArgs:
    """What one store differs in from another."""

    bucket_name: str
    tags: Mapping[str, str]
    lifecycle_rules: Sequence[s3.BucketLifecycleConfigurationRuleArgsDict]
    kms_key_arn: str | None = None  # None: S3's own keys
    inventory_from: InventorySource | None = None
    inventory_to: InventoryDestination | None = None
    keeps_evidence: bool = False  # True: nobody stores a record over another one


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


def inventory_policy(bucket_name: str, source_bucket: str, account_id: str) -> dict[str, Any]:
    """Returns `tls_only_policy`, and that S3 may write the lists of one bucket of this account."""
    policy = tls_only_policy(bucket_name)
    policy["Statement"].append(
        {
            "Sid": "TakeInventory",
            "Effect": "Allow",
            "Principal": {"Service": "s3.amazonaws.com"},
            "Action": "s3:PutObject",
            "Resource": f"arn:aws:s3:::{bucket_name}/{INVENTORY_PREFIX}/*",
            "Condition": {
                "StringEquals": {"aws:SourceAccount": account_id},
                "ArnLike": {"aws:SourceArn": f"arn:aws:s3:::{source_bucket}"},
            },
        }
    )
    return policy


def kept_records_statement(bucket_name: str) -> dict[str, Any]:
    """Returns the statement that lets nobody, of any role, store a record of the evidence over another one.

    It asks each request that makes an object for If-None-Match; the parts of an upload cannot have it, and make none.
    """
    return {
        "Sid": "KeepRecords",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:PutObject",
        "Resource": f"arn:aws:s3:::{bucket_name}/{EVIDENCE_PREFIX}*",
        "Condition": {"Null": {"s3:if-none-match": "true"}, "Bool": {"s3:ObjectCreationOperation": "true"}},
    }


class CertificateStore(pulumi.ComponentResource):
    """A versioned, encrypted, private bucket that is reached over TLS only, and counts its requests."""

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
        self._encrypt(args.kms_key_arn)
        self._close_to_the_public(args)
        s3.BucketMetric(name, bucket=self.bucket.bucket, name=REQUEST_METRICS, opts=self._child())
        s3.BucketLifecycleConfiguration(
            name,
            bucket=self.bucket.bucket,
            rules=args.lifecycle_rules,
            opts=self._child(depends_on=versioning),  # rules for old versions need versioning
        )
        if args.inventory_to is not None:
            self._list_daily(args.inventory_to)
        self.register_outputs({"bucket": self.bucket.bucket, "arn": self.bucket.arn})

    def _encrypt(self, kms_key_arn: str | None) -> None:
        rule: s3.BucketServerSideEncryptionConfigurationRuleArgsDict = {
            "apply_server_side_encryption_by_default": {"sse_algorithm": "AES256"}
        }
        if kms_key_arn is not None:
            rule = {
                "apply_server_side_encryption_by_default": {
                    "sse_algorithm": "aws:kms",
                    "kms_master_key_id": kms_key_arn,
                },
                "bucket_key_enabled": True,  # else each request to S3 is one to KMS, which bills and throttles it
            }
        s3.BucketServerSideEncryptionConfiguration(
            self._name, bucket=self.bucket.bucket, rules=[rule], opts=self._child()
        )

    def _close_to_the_public(self, args: CertificateStoreArgs) -> None:
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
            policy=_policy(args),
            # S3 refuses two changes of one bucket's access at the same moment.
            opts=self._child(depends_on=public_access),
        )

    def _list_daily(self, destination: InventoryDestination) -> None:
        s3.Inventory(
            self._name,
            bucket=self.bucket.bucket,
            name="certificates",
            included_object_versions="Current",
            filter={"prefix": CERTIFICATE_PREFIX},
            optional_fields=list(INVENTORY_FIELDS),
            schedule={"frequency": "Daily"},
            destination={
                "bucket": {
                    "bucket_arn": destination.bucket_arn,
                    "account_id": destination.account_id,
                    "prefix": INVENTORY_PREFIX,
                    "format": "CSV",
                    # S3 may use the key of `kmsKeyArn` only if the key's own policy says so, which is not ours.
                    "encryption": {"sse_s3": {}},
                }
            },
            opts=self._child(),
        )

    def _child(self, depends_on: pulumi.Resource | None = None) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=depends_on)


def _policy(args: CertificateStoreArgs) -> pulumi.Input[str]:
    kept = [kept_records_statement(args.bucket_name)] if args.keeps_evidence else []

    def text(policy: Mapping[str, Any]) -> str:
        return json.dumps({**policy, "Statement": [*policy["Statement"], *kept]})

    source = args.inventory_from
    if source is None:
        return text(tls_only_policy(args.bucket_name))
    return source.account_id.apply(
        lambda account_id: text(inventory_policy(args.bucket_name, source.bucket_name, account_id))
    )
