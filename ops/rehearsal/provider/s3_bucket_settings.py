"""The settings of a bucket that pulumi-aws has as resource types of their own."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, ClassVar

from botocore.exceptions import ClientError

from rehearsal.provider.properties import Field, Fields, from_api, to_api
from rehearsal.provider.resource import ResourceType, error_code

if TYPE_CHECKING:
    from rehearsal.provider.wire import Values

BUCKET: Fields = {"bucket": Field("Bucket", required=True, replaces=True)}


class BucketSetting(ResourceType):
    """A setting is put as a whole, and its id is the bucket's name."""

    absent_code: ClassVar[str]  # AWS's error for a bucket without this setting

    def create(self, inputs: Values) -> str:
        """Puts the setting."""
        bucket: str = inputs["bucket"]
        self.put(to_api(self.fields, inputs))
        return bucket

    def read(self, resource_id: str) -> Values | None:
        """Returns the setting; None if the bucket has none, or is gone."""
        try:
            answer = self.get(resource_id)
        except ClientError as error:
            if error_code(error) in {"NoSuchBucket", self.absent_code}:
                return None
            raise
        return from_api(self.fields, answer | {"Bucket": resource_id}) if answer else None

    def update(self, resource_id: str, inputs: Values) -> None:
        """Puts the setting anew."""
        self.put(to_api(self.fields, inputs) | {"Bucket": resource_id})

    def delete(self, resource_id: str, state: Values) -> None:  # noqa: ARG002 (the interface's signature)
        """Takes the setting from the bucket."""
        try:
            self.remove(resource_id)
        except ClientError as error:
            if error_code(error) not in {"NoSuchBucket", self.absent_code}:
                raise

    @abc.abstractmethod
    def put(self, api: Values) -> None:
        """Calls the put operation with the fields' API names."""

    @abc.abstractmethod
    def get(self, bucket: str) -> Values:
        """Returns the setting under the fields' API names; empty if the bucket never had it."""

    @abc.abstractmethod
    def remove(self, bucket: str) -> None:
        """Calls the operation that takes the setting away."""


class BucketVersioning(BucketSetting):
    """Whether old versions are kept; taken away it is suspended, because S3 cannot forget versioning."""

    type_name = "aws:s3/bucketVersioning:BucketVersioning"
    absent_code = "NoSuchBucket"
    fields = BUCKET | {
        "versioningConfiguration": Field(
            "VersioningConfiguration", required=True, fields={"status": Field("Status", required=True)}
        )
    }

    def put(self, api: Values) -> None:
        """Sets the status."""
        self.clients.s3.put_bucket_versioning(**api)

    def get(self, bucket: str) -> Values:
        """Returns the configuration."""
        answer = self.clients.s3.get_bucket_versioning(Bucket=bucket)
        return {"VersioningConfiguration": answer} if answer.keys() - {"ResponseMetadata"} else {}

    def remove(self, bucket: str) -> None:
        """Suspends versioning."""
        self.clients.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})


class BucketServerSideEncryptionConfiguration(BucketSetting):
    """How objects are encrypted that say nothing about it."""

    type_name = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
    absent_code = "ServerSideEncryptionConfigurationNotFoundError"
    fields = BUCKET | {
        "rules": Field(
            "Rules",
            required=True,
            fields={
                "applyServerSideEncryptionByDefault": Field(
                    "ApplyServerSideEncryptionByDefault",
                    fields={
                        "sseAlgorithm": Field("SSEAlgorithm", required=True),
                        "kmsMasterKeyId": Field("KMSMasterKeyID"),
                    },
                ),
                "bucketKeyEnabled": Field("BucketKeyEnabled", default=False),
            },
        )
    }

    def put(self, api: Values) -> None:
        """Sets the rules."""
        self.clients.s3.put_bucket_encryption(
            Bucket=api["Bucket"], ServerSideEncryptionConfiguration={"Rules": api["Rules"]}
        )

    def get(self, bucket: str) -> Values:
        """Returns the rules."""
        return {**self.clients.s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]}

    def remove(self, bucket: str) -> None:
        """Removes the rules."""
        self.clients.s3.delete_bucket_encryption(Bucket=bucket)


class BucketPublicAccessBlock(BucketSetting):
    """The four switches against public access."""

    type_name = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
    absent_code = "NoSuchPublicAccessBlockConfiguration"
    fields = BUCKET | {
        "blockPublicAcls": Field("BlockPublicAcls", default=False),
        "blockPublicPolicy": Field("BlockPublicPolicy", default=False),
        "ignorePublicAcls": Field("IgnorePublicAcls", default=False),
        "restrictPublicBuckets": Field("RestrictPublicBuckets", default=False),
    }

    def put(self, api: Values) -> None:
        """Sets the switches."""
        switches = {name: value for name, value in api.items() if name != "Bucket"}
        self.clients.s3.put_public_access_block(
            Bucket=api["Bucket"],
            PublicAccessBlockConfiguration=switches,  # type: ignore[arg-type]  # a plain dictionary
        )

    def get(self, bucket: str) -> Values:
        """Returns the switches."""
        return {**self.clients.s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]}

    def remove(self, bucket: str) -> None:
        """Removes the switches."""
        self.clients.s3.delete_public_access_block(Bucket=bucket)


class BucketOwnershipControls(BucketSetting):
    """Who owns the objects that others write."""

    type_name = "aws:s3/bucketOwnershipControls:BucketOwnershipControls"
    absent_code = "OwnershipControlsNotFoundError"
    fields = BUCKET | {
        "rule": Field("Rule", required=True, fields={"objectOwnership": Field("ObjectOwnership", required=True)})
    }

    def put(self, api: Values) -> None:
        """Sets the one rule that S3 allows."""
        self.clients.s3.put_bucket_ownership_controls(Bucket=api["Bucket"], OwnershipControls={"Rules": [api["Rule"]]})

    def get(self, bucket: str) -> Values:
        """Returns the rule."""
        controls = self.clients.s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]
        return {"Rule": controls["Rules"][0]}

    def remove(self, bucket: str) -> None:
        """Removes the rule."""
        self.clients.s3.delete_bucket_ownership_controls(Bucket=bucket)


class BucketPolicy(BucketSetting):
    """The bucket's own policy."""

    type_name = "aws:s3/bucketPolicy:BucketPolicy"
    absent_code = "NoSuchBucketPolicy"
    fields = BUCKET | {"policy": Field("Policy", required=True, kind="json")}

    def put(self, api: Values) -> None:
        """Sets the policy."""
        self.clients.s3.put_bucket_policy(**api)

    def get(self, bucket: str) -> Values:
        """Returns the policy's text."""
        return {**self.clients.s3.get_bucket_policy(Bucket=bucket)}

    def remove(self, bucket: str) -> None:
        """Removes the policy."""
        self.clients.s3.delete_bucket_policy(Bucket=bucket)


class BucketLifecycleConfiguration(BucketSetting):
    """What happens to objects as they grow old."""

    type_name = "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"
    absent_code = "NoSuchLifecycleConfiguration"
    fields = BUCKET | {
        "transitionDefaultMinimumObjectSize": Field(
            "TransitionDefaultMinimumObjectSize", default="all_storage_classes_128K"
        ),
        "rules": Field(
            "Rules",
            required=True,
            fields={
                "id": Field("ID", required=True),
                "status": Field("Status", required=True),
                "filter": Field("Filter", required=True, fields={"prefix": Field("Prefix", default="")}),
                "expiration": Field("Expiration", fields={"days": Field("Days")}),
                "noncurrentVersionExpiration": Field(
                    "NoncurrentVersionExpiration", fields={"noncurrentDays": Field("NoncurrentDays")}
                ),
                "transitions": Field(
                    "Transitions",
                    fields={"days": Field("Days"), "storageClass": Field("StorageClass", required=True)},
                ),
                "noncurrentVersionTransitions": Field(
                    "NoncurrentVersionTransitions",
                    fields={
                        "noncurrentDays": Field("NoncurrentDays"),
                        "storageClass": Field("StorageClass", required=True),
                    },
                ),
                "abortIncompleteMultipartUpload": Field(
                    "AbortIncompleteMultipartUpload",
                    fields={"daysAfterInitiation": Field("DaysAfterInitiation")},
                ),
            },
        ),
    }

    def put(self, api: Values) -> None:
        """Sets the rules."""
        self.clients.s3.put_bucket_lifecycle_configuration(
            Bucket=api["Bucket"],
            LifecycleConfiguration={"Rules": api["Rules"]},
            TransitionDefaultMinimumObjectSize=api["TransitionDefaultMinimumObjectSize"],
        )

    def get(self, bucket: str) -> Values:
        """Returns the rules."""
        return {**self.clients.s3.get_bucket_lifecycle_configuration(Bucket=bucket)}

    def remove(self, bucket: str) -> None:
        """Removes the rules."""
        self.clients.s3.delete_bucket_lifecycle(Bucket=bucket)
