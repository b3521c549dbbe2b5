"""Reads a stack's settings and composes its resources."""

from __future__ import annotations

import sys
from pathlib import Path

import pulumi

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # Pulumi starts this file with its folder, not the repository's, on the path

from infra.access import CertificateAccess, CertificateAccessArgs  # noqa: E402 (needs the path above)
from infra.certificate_store import CertificateStore, CertificateStoreArgs  # noqa: E402 (likewise)
from infra.lifecycle import LifecycleError, load_bucket_rules  # noqa: E402 (likewise)
from infra.settings import read_settings  # noqa: E402 (likewise)

settings = read_settings(pulumi.get_stack(), pulumi.Config())
try:
    lifecycle_rules = load_bucket_rules(ROOT / "ops" / "s3" / "lifecycle-policy.json")
except LifecycleError as error:
    raise pulumi.RunError(str(error)) from error

keep = pulumi.ResourceOptions(protect=settings.protect)
certificates = CertificateStore(
    "certificates",
    CertificateStoreArgs(settings.certificate_bucket, settings.tags, lifecycle_rules),
    keep,
)
access = CertificateAccess(
    "certificate-access",
    CertificateAccessArgs(
        role_name=settings.role_name,
        bucket_name=settings.certificate_bucket,
        trusted_principals=settings.trusted_principals,
        tags=settings.tags,
    ),
)
pulumi.export("certificateBucket", certificates.bucket.bucket)
pulumi.export("certificateBucketArn", certificates.bucket.arn)
pulumi.export("roleName", access.role.name)
pulumi.export("roleArn", access.role.arn)
pulumi.export("instanceProfile", access.instance_profile.name)

if settings.backups_bucket is not None:
    backups = CertificateStore("backups", CertificateStoreArgs(settings.backups_bucket, settings.tags), keep)
    pulumi.export("backupsBucket", backups.bucket.bucket)
    pulumi.export("backupsBucketArn", backups.bucket.arn)
