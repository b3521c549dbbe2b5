"""What a resource type of the rehearsal's provider consists of."""

from __future__ import annotations

import abc
import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from botocore.exceptions import ClientError

from rehearsal.provider.properties import ProviderError, to_api

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mypy_boto3_budgets.client import BudgetsClient
    from mypy_boto3_cloudwatch.client import CloudWatchClient
    from mypy_boto3_iam.client import IAMClient
    from mypy_boto3_logs.client import CloudWatchLogsClient
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_sns.client import SNSClient

    from rehearsal.provider.kept import KeptResources
    from rehearsal.provider.properties import Field
    from rehearsal.provider.wire import Values

Answer = TypeVar("Answer")
ACCOUNT = "000000000000"  # of both stand-ins


@dataclasses.dataclass(frozen=True)
class Monitoring:
    """What keeps alarms, logs, topics and budgets."""

    cloudwatch: CloudWatchClient  # of another stand-in than the others, see rehearsal.monitoring_stand_in
    logs: CloudWatchLogsClient
    sns: SNSClient
    budgets: BudgetsClient
    kept: KeptResources


@dataclasses.dataclass(frozen=True)
class Clients:
    """The API clients that resource types call."""

    s3: S3Client
    iam: IAMClient
    region: str
    monitoring: Monitoring | None = None


class ResourceType(abc.ABC):
    """One Pulumi resource type. The servicer checks, completes and compares values by `fields`.

    The first field is the one that AWS knows the resource by.

    Methods raise botocore's ClientError, or ProviderError with a sentence of their own.
    """

    type_name: ClassVar[str]
    fields: ClassVar[Mapping[str, Field]]
    computed: ClassVar[tuple[str, ...]] = ()  # outputs that are no inputs; unknown in a preview

    kind: ClassVar[str | None] = None  # the AWS API's name of what is put; None: nobody asks for its parameters

    def __init__(self, clients: Clients) -> None:
        self.clients = clients

    @property
    def monitoring(self) -> Monitoring:
        """The clients of monitoring; ProviderError if the provider was started without them."""
        if self.clients.monitoring is None:
            raise ProviderError(
                f"The rehearsal's provider has no place for {self.type_name}: start it with a monitoring endpoint "
                "and a directory for what it keeps itself."
            )
        return self.clients.monitoring

    @classmethod
    def parameters(cls, inputs: Values) -> Values:
        """Returns what AWS's API is given for these completed inputs; ProviderError for what AWS would refuse."""
        return to_api(cls.fields, inputs)

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


def unless_gone(call: Callable[[], Answer], *absent: str) -> Answer | None:
    """Returns the call's answer; None if AWS says, by one of the error codes `absent`, that there is no such thing."""
    try:
        return call()
    except ClientError as error:
        if error_code(error) in absent:
            return None
        raise


def superfluous_tags(held: Iterable[Mapping[str, Any]], inputs: Values) -> list[str]:
    """Returns the keys of the tags that are there and not wanted."""
    return [tag["Key"] for tag in held if tag["Key"] not in inputs["tags"]]
