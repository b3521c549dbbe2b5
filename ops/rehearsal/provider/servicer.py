"""The gRPC service that Pulumi's engine calls in place of the AWS plugin."""

# ruff: noqa: ARG002, N802 (the service's own method names and signatures)
from __future__ import annotations

import functools
from importlib.metadata import version
from typing import TYPE_CHECKING, TypeVar

import grpc
from botocore.exceptions import BotoCoreError, ClientError
from google.protobuf.any_pb2 import Any
from google.protobuf.empty_pb2 import Empty
from pulumi.runtime import proto
from pulumi.runtime.proto.provider_pb2_grpc import ResourceProviderServicer
from pulumi.runtime.proto.status_pb2 import Status

from rehearsal.provider import budgets, cloudwatch, iam, kept_types, logs, s3_bucket, s3_bucket_settings, sns
from rehearsal.provider.properties import ProviderError, changed, completed, faults
from rehearsal.provider.wire import UNKNOWN, Values, from_struct, to_struct

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message
    from google.protobuf.struct_pb2 import Struct

    from rehearsal.provider.properties import Fields
    from rehearsal.provider.resource import Clients, ResourceType

RESOURCE_TYPES: tuple[type[ResourceType], ...] = (
    s3_bucket.Bucket,
    s3_bucket_settings.BucketVersioning,
    s3_bucket_settings.BucketServerSideEncryptionConfiguration,
    s3_bucket_settings.BucketPublicAccessBlock,
    s3_bucket_settings.BucketOwnershipControls,
    s3_bucket_settings.BucketPolicy,
    s3_bucket_settings.BucketLifecycleConfiguration,
    iam.Role,
    iam.RolePolicy,
    iam.InstanceProfile,
    kept_types.BucketMetric,
    kept_types.Inventory,
    kept_types.CompositeAlarm,
    kept_types.QueryDefinition,
    cloudwatch.MetricAlarm,
    cloudwatch.Dashboard,
    logs.LogGroup,
    logs.LogMetricFilter,
    sns.Topic,
    sns.TopicPolicy,
    sns.TopicSubscription,
    budgets.Budget,
)
# What pulumi_aws sends for a provider that has only a region; neither changes what is created.
HARMLESS_SETTINGS = frozenset({"skipCredentialsValidation", "skipRegionValidation", "version"})

REFUSALS = (ProviderError, ClientError, BotoCoreError)

Request = TypeVar("Request")
Response = TypeVar("Response")


class _HalfMadeError(Exception):
    """The resource exists, but is not as wanted; Pulumi keeps it in the state and updates it the next time."""

    def __init__(self, resource_id: str, properties: Struct, reason: str) -> None:
        sentence = f"{resource_id} was created, but not completed: {reason}"
        super().__init__(sentence)
        self.resource = proto.ErrorResourceInitFailed(id=resource_id, properties=properties, reasons=[sentence])


def _answered(
    method: Callable[[AwsServicer, Request], Response],
) -> Callable[[AwsServicer, Request, grpc.ServicerContext], Response]:
    """Turns a refusal, by us or by the API, into an error that Pulumi prints beside the resource."""

    @functools.wraps(method)
    def answer(servicer: AwsServicer, request: Request, context: grpc.ServicerContext) -> Response:
        try:
            return method(servicer, request)
        except _HalfMadeError as error:
            details = Any()
            details.Pack(error.resource)
            status = Status(code=grpc.StatusCode.UNKNOWN.value[0], message=str(error), details=[details])
            context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
            context.abort(grpc.StatusCode.UNKNOWN, str(error))
            raise
        except REFUSALS as error:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
            raise

    return answer


class AwsServicer(ResourceProviderServicer):
    """Holds no state of its own, so several stacks may use one at the same time.

    It does not accept secrets, so the engine sends plain values and itself keeps the secret mark on
    every output that has the name of a secret input.
    """

    def __init__(self, clients: Clients) -> None:
        self._region = clients.region
        self._types = {resource_type.type_name: resource_type(clients) for resource_type in RESOURCE_TYPES}

    @_answered
    def GetPluginInfo(self, request: Message) -> Message:
        """Answers the version of the plugin whose place this takes."""
        return proto.PluginInfo(version=version("pulumi_aws"))

    @_answered
    def Attach(self, request: Message) -> Empty:
        """Takes the engine's address, and needs it for nothing."""
        return Empty()

    @_answered
    def Cancel(self, request: Message) -> Empty:
        """Lets calls under way end: each is short."""
        return Empty()

    @_answered
    def CheckConfig(self, request: proto.CheckRequest) -> proto.CheckResponse:
        """Refuses provider settings that would be ignored, and another region than the stand-in's."""
        settings = from_struct(request.news)
        failures = [
            proto.CheckFailure(property=name, reason="the rehearsal's provider does not know this setting")
            for name in sorted(settings.keys() - HARMLESS_SETTINGS - {"region"})
        ]
        if settings.get("region", self._region) != self._region:
            failures.append(proto.CheckFailure(property="region", reason=f"the rehearsal has {self._region} alone"))
        return proto.CheckResponse(inputs=request.news, failures=failures)

    @_answered
    def DiffConfig(self, request: Message) -> proto.DiffResponse:
        """Finds no difference: settings change nothing here."""
        return proto.DiffResponse(changes=proto.DiffResponse.DIFF_NONE)

    @_answered
    def Configure(self, request: Message) -> proto.ConfigureResponse:
        """Says that previews are answered, with unknowns in them."""
        return proto.ConfigureResponse(supportsPreview=True)

    @_answered
    def Check(self, request: proto.CheckRequest) -> proto.CheckResponse:
        """Completes the inputs; names each unknown, missing or malformed property."""
        fields = self._type(request.urn).fields
        inputs = from_struct(request.news)
        failures = [proto.CheckFailure(property=path, reason=reason) for path, reason in faults(fields, inputs)]
        if failures:
            return proto.CheckResponse(inputs=request.news, failures=failures)
        return proto.CheckResponse(inputs=to_struct(completed(fields, inputs)))

    @_answered
    def Diff(self, request: proto.DiffRequest) -> proto.DiffResponse:
        """Compares the state, as read from AWS, with the inputs."""
        fields = self._type(request.urn).fields
        diffs = changed(fields, from_struct(request.olds), from_struct(request.news))
        kinds = proto.DiffResponse
        return proto.DiffResponse(
            changes=kinds.DIFF_SOME if diffs else kinds.DIFF_NONE,
            diffs=diffs,
            replaces=[name for name in diffs if fields[name].replaces],
            # A name that stays the same cannot belong to two resources at once.
            deleteBeforeReplace=next(iter(fields)) not in diffs,
        )

    @_answered
    def Create(self, request: proto.CreateRequest) -> proto.CreateResponse:
        """Creates the resource, completes it and reads it back; a preview answers the inputs and unknowns."""
        resource_type = self._type(request.urn)
        inputs = from_struct(request.properties)
        if request.preview:
            unknown = dict.fromkeys(resource_type.computed, UNKNOWN)
            return proto.CreateResponse(properties=to_struct(inputs | unknown))
        resource_id = resource_type.create(inputs)
        try:
            resource_type.complete(resource_id, inputs)
            state = self._state(resource_type, resource_id, inputs)
        except REFUSALS as error:
            raise _HalfMadeError(resource_id, request.properties, str(error)) from error
        return proto.CreateResponse(id=resource_id, properties=state)

    @_answered
    def Read(self, request: proto.ReadRequest) -> proto.ReadResponse:
        """Reads the resource for a refresh or an import; an empty answer says that it is gone."""
        resource_type = self._type(request.urn)
        held = resource_type.read(request.id)
        if held is None:
            return proto.ReadResponse()
        known = completed(_local_fields(resource_type), from_struct(request.properties))
        inputs = {name: value for name, value in held.items() if name in resource_type.fields} | known
        return proto.ReadResponse(id=request.id, properties=to_struct(held | known), inputs=to_struct(inputs))

    @_answered
    def Update(self, request: proto.UpdateRequest) -> proto.UpdateResponse:
        """Updates the resource and reads it back; a preview answers the inputs and the old outputs."""
        resource_type = self._type(request.urn)
        inputs = from_struct(request.news)
        if request.preview:
            old = from_struct(request.olds)
            outputs = {name: old[name] for name in resource_type.computed if name in old}
            return proto.UpdateResponse(properties=to_struct(inputs | outputs))
        resource_type.update(request.id, inputs)
        return proto.UpdateResponse(properties=self._state(resource_type, request.id, inputs))

    @_answered
    def Delete(self, request: proto.DeleteRequest) -> Empty:
        """Deletes the resource."""
        self._type(request.urn).delete(request.id, from_struct(request.properties))
        return Empty()

    @_answered
    def Invoke(self, request: proto.InvokeRequest) -> proto.InvokeResponse:
        """Refuses: the program calls no function of the AWS provider."""
        raise ProviderError(f"The rehearsal's provider does not know the function {request.tok}.")

    def _type(self, urn: str) -> ResourceType:
        type_name = urn.split("::")[2].rsplit("$", 1)[-1]
        if type_name not in self._types:
            raise ProviderError(
                f"The rehearsal's provider does not know the resource type {type_name}: add a class for it."
            )
        return self._types[type_name]

    @staticmethod
    def _state(resource_type: ResourceType, resource_id: str, inputs: Values) -> Struct:
        held = resource_type.read(resource_id)
        if held is None:
            raise ProviderError(f"{resource_type.type_name} {resource_id} was written, but cannot be read back.")
        return to_struct(held | completed(_local_fields(resource_type), inputs))


def _local_fields(resource_type: ResourceType) -> Fields:
    return {name: field for name, field in resource_type.fields.items() if field.local}
