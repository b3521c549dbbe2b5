"""The types of CloudWatch Logs: log groups and metric filters."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rehearsal.provider.limits import check_log_group, check_metric_filter
from rehearsal.provider.properties import Field, Fields, ProviderError, from_api, to_api
from rehearsal.provider.resource import ResourceType, unless_gone

if TYPE_CHECKING:
    from mypy_boto3_logs.type_defs import LogGroupTypeDef

    from rehearsal.provider.wire import Values

GONE = "ResourceNotFoundException"
LOG_GROUP_READ_ONLY = frozenset({"arn", "creationTime", "logGroupArn", "metricFilterCount", "storedBytes"})


class LogGroup(ResourceType):
    """A log group; its id is its name."""

    type_name = "aws:cloudwatch/logGroup:LogGroup"
    kind = "LogGroup"
    computed = ("arn",)
    fields: ClassVar[Fields] = {
        "name": Field("logGroupName", required=True, replaces=True),
        "retentionInDays": Field("retentionInDays", default=0),  # 0: for ever
        "kmsKeyId": Field("kmsKeyId"),
        "logGroupClass": Field("logGroupClass", default="STANDARD", replaces=True),
        "tags": Field("tags", default={}),  # a mapping in the API, too
    }

    @classmethod
    def parameters(cls, inputs: Values) -> Values:
        """Returns the parameters of CreateLogGroup and PutRetentionPolicy."""
        api = to_api(cls.fields, inputs)
        check_log_group(api)
        return api

    def create(self, inputs: Values) -> str:
        """Creates the log group with key and tags."""
        api = self.parameters(inputs)
        api.pop("retentionInDays")
        self.monitoring.logs.create_log_group(**api)
        name: str = inputs["name"]
        return name

    def complete(self, resource_id: str, inputs: Values) -> None:
        """Sets the retention."""
        if days := self.parameters(inputs)["retentionInDays"]:
            self.monitoring.logs.put_retention_policy(logGroupName=resource_id, retentionInDays=days)
        else:
            self.monitoring.logs.delete_retention_policy(logGroupName=resource_id)

    def read(self, resource_id: str) -> Values | None:
        """Returns the log group with its tags."""
        held = self._held(resource_id)
        if held is None:
            return None
        arn = held["logGroupArn"]
        answer = {**held, "tags": self.monitoring.logs.list_tags_for_resource(resourceArn=arn)["tags"]}
        return from_api(self.fields, answer, read_only=LOG_GROUP_READ_ONLY) | {"arn": arn}

    def update(self, resource_id: str, inputs: Values) -> None:
        """Sets retention and tags; ProviderError for another key, which the stand-in cannot set."""
        held = self._held(resource_id)
        if held is None or held.get("kmsKeyId") != inputs.get("kmsKeyId"):
            raise ProviderError(f"The stand-in cannot change the key of {resource_id}: delete the log group first.")
        self.complete(resource_id, inputs)
        logs, arn = self.monitoring.logs, held["logGroupArn"]
        tags = logs.list_tags_for_resource(resourceArn=arn)["tags"]
        logs.untag_resource(resourceArn=arn, tagKeys=sorted(tags.keys() - inputs["tags"].keys()))
        logs.tag_resource(resourceArn=arn, tags=inputs["tags"])

    def delete(self, resource_id: str, state: Values) -> None:  # noqa: ARG002 (the interface's signature)
        """Deletes the log group with all lines in it."""
        unless_gone(lambda: self.monitoring.logs.delete_log_group(logGroupName=resource_id), GONE)

    def _held(self, name: str) -> LogGroupTypeDef | None:
        pages = self.monitoring.logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=name)
        groups = (group for page in pages for group in page["logGroups"])
        return next((group for group in groups if group["logGroupName"] == name), None)


class LogMetricFilter(ResourceType):
    """What turns lines of a log group into a metric; its id is `group:name`."""

    type_name = "aws:cloudwatch/logMetricFilter:LogMetricFilter"
    kind = "MetricFilter"
    fields: ClassVar[Fields] = {
        "name": Field("filterName", required=True, replaces=True),
        "logGroupName": Field("logGroupName", required=True, replaces=True),
        "pattern": Field("filterPattern", required=True),
        "metricTransformation": Field(
            "metricTransformations",  # a list of one in the API
            required=True,
            fields={
                "name": Field("metricName", required=True),
                "namespace": Field("metricNamespace", required=True),
                "value": Field("metricValue", required=True),
                "defaultValue": Field("defaultValue", kind="number"),
                "dimensions": Field("dimensions"),  # a mapping in the API, too
                "unit": Field("unit", default="None"),
            },
        ),
    }

    @classmethod
    def parameters(cls, inputs: Values) -> Values:
        """Returns the parameters of PutMetricFilter."""
        api = to_api(cls.fields, inputs)
        api["metricTransformations"] = [api["metricTransformations"]]
        check_metric_filter(api)
        return api

    def create(self, inputs: Values) -> str:
        """Puts the filter."""
        self.monitoring.logs.put_metric_filter(**self.parameters(inputs))
        return f"{inputs['logGroupName']}:{inputs['name']}"

    def read(self, resource_id: str) -> Values | None:
        """Returns the filter."""
        group, name = self._names(resource_id)
        describe = self.monitoring.logs.describe_metric_filters
        answer = unless_gone(lambda: describe(logGroupName=group, filterNamePrefix=name), GONE)
        for held in answer["metricFilters"] if answer else ():
            if held["filterName"] == name:
                (transformation,) = held["metricTransformations"]
                flat = {**held, "metricTransformations": transformation}
                return from_api(self.fields, flat, read_only={"creationTime"})
        return None

    def update(self, resource_id: str, inputs: Values) -> None:  # noqa: ARG002 (the interface's signature)
        """Puts the filter anew."""
        self.monitoring.logs.put_metric_filter(**self.parameters(inputs))

    def delete(self, resource_id: str, state: Values) -> None:  # noqa: ARG002 (the interface's signature)
        """Deletes the filter."""
        group, name = self._names(resource_id)
        unless_gone(lambda: self.monitoring.logs.delete_metric_filter(logGroupName=group, filterName=name), GONE)

    @staticmethod
    def _names(resource_id: str) -> tuple[str, str]:
        group, separator, name = resource_id.rpartition(":")  # a filter's name has no colon
        if not separator:
            raise ProviderError(f"'{resource_id}' is no id of a metric filter: write group:name.")
        return group, name
