"""The type aws:s3/bucket:Bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from rehearsal.provider.properties import Field, Fields, ProviderError, from_api, to_api
from rehearsal.provider.resource import ResourceType, error_code

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3.type_defs import DeleteMarkerEntryTypeDef, ObjectVersionTypeDef, TagTypeDef

    from rehearsal.provider.wire import Values

FIELDS: Fields = {
    "bucket": Field("Bucket", required=True, replaces=True),
    "tags": Field("TagSet", default={}, kind="tags"),
    "forceDestroy": Field("", default=False, local=True),
}


class Bucket(ResourceType):
    """A bucket by itself; its settings are resources of their own."""

    type_name = "aws:s3/bucket:Bucket"
    fields = FIELDS
    computed = ("arn", "bucketDomainName", "region")

    def create(self, inputs: Values) -> str:
        """Creates the bucket; AWS would silently hand over an own one in us-east-1, this refuses it."""
        bucket: str = inputs["bucket"]
        if self._exists(bucket):
            raise ProviderError(f"The bucket {bucket} exists already: import it, or choose another name.")
        location: Values = {}
        if self.clients.region != "us-east-1":  # the one region that takes no location constraint
            location["CreateBucketConfiguration"] = {"LocationConstraint": self.clients.region}
        self.clients.s3.create_bucket(Bucket=bucket, **location)
        return bucket

    def complete(self, resource_id: str, inputs: Values) -> None:
        """Sets the tags."""
        self.update(resource_id, inputs)

    def read(self, resource_id: str) -> Values | None:
        """Returns name, tags and what follows from them."""
        if not self._exists(resource_id):
            return None
        return from_api(FIELDS, {"Bucket": resource_id, "TagSet": self._tags(resource_id)}) | {
            "arn": f"arn:aws:s3:::{resource_id}",
            "bucketDomainName": f"{resource_id}.s3.amazonaws.com",
            "region": self.clients.region,
        }

    def update(self, resource_id: str, inputs: Values) -> None:
        """Sets the tags, the one property of a bucket that can change."""
        tags = to_api(FIELDS, inputs)["TagSet"]
        if tags:
            self.clients.s3.put_bucket_tagging(Bucket=resource_id, Tagging={"TagSet": tags})
        else:
            self.clients.s3.delete_bucket_tagging(Bucket=resource_id)

    def delete(self, resource_id: str, state: Values) -> None:
        """Deletes the bucket; with objects, old versions or delete markers only if forceDestroy is set."""
        if not self._exists(resource_id):
            return
        held = list(self._versions(resource_id))
        if held and not state.get("forceDestroy"):
            raise ProviderError(
                f"The bucket {resource_id} holds {len(held)} object versions and delete markers and is not "
                "deleted: empty it first, or set forceDestroy."
            )
        for version in held:
            self.clients.s3.delete_object(Bucket=resource_id, Key=version["Key"], VersionId=version["VersionId"])
        self.clients.s3.delete_bucket(Bucket=resource_id)

    def _exists(self, bucket: str) -> bool:
        try:
            self.clients.s3.head_bucket(Bucket=bucket)
        except ClientError as error:
            if error_code(error) in {"404", "NoSuchBucket"}:
                return False
            raise
        return True

    def _tags(self, bucket: str) -> list[TagTypeDef]:
        try:
            return self.clients.s3.get_bucket_tagging(Bucket=bucket)["TagSet"]
        except ClientError as error:
            if error_code(error) == "NoSuchTagSet":
                return []
            raise

    def _versions(self, bucket: str) -> Iterator[ObjectVersionTypeDef | DeleteMarkerEntryTypeDef]:
        for page in self.clients.s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            yield from page.get("Versions", [])
            yield from page.get("DeleteMarkers", [])
