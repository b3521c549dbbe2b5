"""Types whose resources the provider keeps itself, because no stand-in stores them faithfully."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, ClassVar

from cutover.alarms.rules import compile_rule
from rehearsal.provider.limits import check_composite_alarm
from rehearsal.provider.properties import Field, Fields, ProviderError, from_api, to_api
from rehearsal.provider.resource import ACCOUNT, ResourceType, unless_gone

if TYPE_CHECKING:
    from rehearsal.provider.wire import Values

ALARM_ACTIONS: Fields = {
    "actionsEnabled": Field("ActionsEnabled", default=True),
    "alarmActions": Field("AlarmActions", default=[]),
    "okActions": Field("OKActions", default=[]),
    "insufficientDataActions": Field("InsufficientDataActions", default=[]),
}
TAGS = Field("Tags", default={}, kind="tags")
SUPPRESSOR = {  # parameters of PutCompositeAlarm: the property of Pulumi's `actionsSuppressor`, by API name
    "ActionsSuppressor": "Alarm",
    "ActionsSuppressorWaitPeriod": "WaitPeriod",
    "ActionsSuppressorExtensionPeriod": "ExtensionPeriod",
}


class KeptType(ResourceType):
    """A type of which `rehearsal.provider.kept` holds the parameters, under the resource's id."""

    kind: ClassVar[str]

    def create(self, inputs: Values) -> str:
        """Keeps the parameters."""
        resource_id = self.identifier(inputs)
        self.monitoring.kept.put(self.kind, resource_id, self.parameters(inputs))
        return resource_id

    def read(self, resource_id: str) -> Values | None:
        """Returns what is kept."""
        parameters = self.monitoring.kept.get(self.kind, resource_id)
        return None if parameters is None else self.values(resource_id, parameters)

    def update(self, resource_id: str, inputs: Values) -> None:
        """Keeps the new parameters."""
        self.monitoring.kept.put(self.kind, resource_id, self.parameters(inputs))

    def delete(self, resource_id: str, state: Values) -> None:  # noqa: ARG002 (the interface's signature)
        """Forgets the resource."""
        self.monitoring.kept.delete(self.kind, resource_id)

    def identifier(self, inputs: Values) -> str:
        """Returns the id of a new resource: the value of the first field, if the type says nothing else."""
        name: str = inputs[next(iter(self.fields))]
        return name

    def values(self, resource_id: str, parameters: Values) -> Values:  # noqa: ARG002 (for types with outputs)
        """Returns properties and outputs; `parameters` are what `self.parameters` made of the properties."""
        return from_api(self.fields, parameters)


class CompositeAlarm(KeptType):
    """An alarm on the states of others; AWS holds its actions back while the suppressor is in ALARM."""

    type_name = "aws:cloudwatch/compositeAlarm:CompositeAlarm"
    kind = "CompositeAlarm"
    computed = ("arn",)
    fields: ClassVar[Fields] = {
        "alarmName": Field("AlarmName", required=True, replaces=True),
        "alarmRule": Field("AlarmRule", required=True),
        "alarmDescription": Field("AlarmDescription"),
        "actionsSuppressor": Field(
            "ActionsSuppressor",
            fields={
                "alarm": Field("Alarm", required=True),
                "waitPeriod": Field("WaitPeriod", required=True),
                "extensionPeriod": Field("ExtensionPeriod", required=True),
            },
        ),
        **ALARM_ACTIONS,
        "tags": TAGS,
    }

    @classmethod
    def parameters(cls, inputs: Values) -> Values:
        """Returns the parameters of PutCompositeAlarm."""
        api = to_api(cls.fields, inputs)
        suppressor = api.pop("ActionsSuppressor", {})
        api |= {name: suppressor[part] for name, part in SUPPRESSOR.items() if part in suppressor}
        check_composite_alarm(api)
        return api

    def create(self, inputs: Values) -> str:
        """Keeps the parameters; ProviderError if an alarm that they name does not exist, as AWS wants it to."""
        self._require_named(inputs)
        return super().create(inputs)

    def update(self, resource_id: str, inputs: Values) -> None:
        """Keeps the new parameters; ProviderError as `create`."""
        self._require_named(inputs)
        super().update(resource_id, inputs)

    def _require_named(self, inputs: Values) -> None:
        parameters = self.parameters(inputs)
        suppressor = [parameters["ActionsSuppressor"]] if "ActionsSuppressor" in parameters else []
        named = {*compile_rule(parameters["AlarmRule"]).alarms, *suppressor}
        answer = self.monitoring.cloudwatch.describe_alarms(AlarmNames=sorted(named), AlarmTypes=["MetricAlarm"])
        held = {alarm["AlarmName"] for alarm in answer["MetricAlarms"]}
        held |= {alarm["AlarmName"] for alarm in self.monitoring.kept.list(self.kind)}
        if missing := sorted(named - held):
            raise ProviderError(
                f"The composite alarm {parameters['AlarmName']} names {', '.join(missing)}, and there is no such alarm."
            )

    def values(self, resource_id: str, parameters: Values) -> Values:
        """Returns properties and ARN."""
        suppressor = {part: parameters[name] for name, part in SUPPRESSOR.items() if name in parameters}
        api = {name: value for name, value in parameters.items() if name not in SUPPRESSOR}
        api |= {"ActionsSuppressor": suppressor} if suppressor else {}
        arn = f"arn:aws:cloudwatch:{self.clients.region}:{ACCOUNT}:alarm:{resource_id}"
        return from_api(self.fields, api) | {"arn": arn}


class QueryDefinition(KeptType):
    """A saved Logs Insights query; its id is one that AWS gives."""

    type_name = "aws:cloudwatch/queryDefinition:QueryDefinition"
    kind = "QueryDefinition"
    computed = ("queryDefinitionId",)
    fields: ClassVar[Fields] = {
        "name": Field("name", required=True),
        "queryString": Field("queryString", required=True),
        "logGroupNames": Field("logGroupNames", default=[]),
    }

    def identifier(self, inputs: Values) -> str:  # noqa: ARG002 (the interface's signature)
        """Returns a new id."""
        return str(uuid.uuid4())

    def values(self, resource_id: str, parameters: Values) -> Values:
        """Returns properties and id."""
        return from_api(self.fields, parameters) | {"queryDefinitionId": resource_id}


class BucketConfiguration(KeptType):
    """A named configuration of a bucket, of which there may be several; its id is `bucket:name`.

    The AWS stand-in loses it, and makes the bucket if it is missing: so it is never asked.
    """

    def identifier(self, inputs: Values) -> str:
        """Returns bucket and name; ProviderError if there is no such bucket."""
        if not self._bucket_exists(inputs["bucket"]):
            raise ProviderError(f"There is no bucket {inputs['bucket']} for the {self.kind} {inputs['name']}.")
        return f"{inputs['bucket']}:{inputs['name']}"

    def read(self, resource_id: str) -> Values | None:
        """Returns what is kept, as long as there is the bucket."""
        return super().read(resource_id) if self._bucket_exists(resource_id.partition(":")[0]) else None

    def _bucket_exists(self, bucket: str) -> bool:
        head = self.clients.s3.head_bucket
        return unless_gone(lambda: head(Bucket=bucket), "404", "NoSuchBucket") is not None


class BucketMetric(BucketConfiguration):
    """Request metrics of a bucket, or of the objects that a filter selects."""

    type_name = "aws:s3/bucketMetric:BucketMetric"
    kind = "MetricsConfiguration"
    fields: ClassVar[Fields] = {
        "name": Field("Id", required=True, replaces=True),
        "bucket": Field("Bucket", required=True, replaces=True),
        "filter": Field(
            "Filter",
            fields={
                "prefix": Field("Prefix"),
                "tags": Field("Tags", kind="tags"),
                "accessPoint": Field("AccessPointArn"),
            },
        ),
    }


class Inventory(BucketConfiguration):
    """A list of a bucket's objects that S3 writes into another bucket, daily or weekly."""

    type_name = "aws:s3/inventory:Inventory"
    kind = "InventoryConfiguration"
    fields: ClassVar[Fields] = {
        "name": Field("Id", required=True, replaces=True),
        "bucket": Field("Bucket", required=True, replaces=True),
        "enabled": Field("IsEnabled", default=True),
        "includedObjectVersions": Field("IncludedObjectVersions", required=True),
        "optionalFields": Field("OptionalFields", default=[]),
        "filter": Field("Filter", fields={"prefix": Field("Prefix")}),
        "schedule": Field("Schedule", required=True, fields={"frequency": Field("Frequency", required=True)}),
        "destination": Field(
            "Destination",
            required=True,
            fields={
                "bucket": Field(
                    "S3BucketDestination",
                    required=True,
                    fields={
                        "bucketArn": Field("Bucket", required=True),
                        "format": Field("Format", required=True),
                        "accountId": Field("AccountId"),
                        "prefix": Field("Prefix"),
                        "encryption": Field(
                            "Encryption",
                            fields={
                                "sseKms": Field("SSEKMS", fields={"keyId": Field("KeyId", required=True)}),
                                "sseS3": Field("SSES3", fields={}),
                            },
                        ),
                    },
                )
            },
        ),
    }
