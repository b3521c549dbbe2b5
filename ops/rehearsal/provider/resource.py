"""What a resource type of the rehearsal's provider consists of."""

from __future__ import annotations

import abc
import dataclasses
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botocore.exceptions import ClientError
    from mypy_boto3_iam.client import IAMClient
    from mypy_boto3_s3.client import S3Client

    from rehearsal.provider.properties import Field
    from rehearsal.provider.wire import Values


@dataclasses.dataclass(frozen=True)
class Clients:
    """The API clients that resource types call."""

    s3: S3Client
    iam: IAMClient
    region: str


class ResourceType(abc.ABC):
    """One Pulumi resource type. The servicer checks, completes and compares values by `fields`.

    The first field is the one that AWS knows the resource by.

    Methods raise botocore's ClientError, or ProviderError with a sentence of their own.
    """

    type_name: ClassVar[str]
    fields: ClassVar[Mapping[str, Field]]
    computed: ClassVar[tuple[str, ...]] = ()  # outputs that are no inputs; unknown in a preview

    def __init__(self, clients: Clients) -> None:
        self.clients = clients

    @abc.abstractmethod
    def create(self, inputs: Values) -> str:
        """Brings the resource into being with one call; returns its id, as `pulumi import` takes it."""

    def complete(self, resource_id: str, inputs: Values) -> None:  # noqa: B027 (most types need no second call)
        """Sets what `create` could not; if it fails, Pulumi keeps the resource and calls `update` next time."""

    @abc.abstractmethod
    def read(self, resource_id: str) -> Values | None:
        """Returns what AWS holds (fields that are not local, and computed ones); None if it is gone."""

    @abc.abstractmethod
    def update(self, resource_id: str, inputs: Values) -> None:
        """Brings an existing resource to `inputs`; called only if no replacing property differs."""

    @abc.abstractmethod
    def delete(self, resource_id: str, state: Values) -> None:
        """Deletes the resource; one that is gone already is no error."""


def error_code(error: ClientError) -> str:
    """Returns AWS's short name of an error, such as NoSuchBucket."""
    return error.response["Error"]["Code"]
