"""Who hears of an incident: a topic for each severity, and its subscribers."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any, get_args

import pulumi
from pulumi_aws import sns

from cutover import names
from cutover.alarm_table import Severity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cutover.plan import Contact, Deployment
    from infra.settings import Endpoint

SEVERITIES: tuple[Severity, ...] = get_args(Severity)


@dataclasses.dataclass(frozen=True)
class OnCallArgs:
    """The table's contacts, and the endpoints that are secrets of the stack."""

    deployment: Deployment
    contacts: Sequence[Contact]
    endpoints: Mapping[Severity, Endpoint | None]
    tags: Mapping[str, str]


def topic_policy(topic_arn: str, alarms: str, *, budgets: bool) -> dict[str, Any]:
    """Returns who may publish, over TLS alone: alarms of this account and region and, if `budgets`, its budgets.

    The account is the one of `topic_arn`; `alarms` is what the names of the alarms look like. The conditions keep
    others' alarms and budgets out, whose service is the same principal.
    """
    region, account_id = topic_arn.split(":")[3:5]
    sources = {"cloudwatch": f"arn:aws:cloudwatch:{region}:{account_id}:alarm:{alarms}"}
    if budgets:
        sources["budgets"] = f"arn:aws:budgets::{account_id}:*"
    publishers = [
        {
            "Sid": f"Publish{service.title()}",
            "Effect": "Allow",
            "Principal": {"Service": f"{service}.amazonaws.com"},
            "Action": "sns:Publish",
            "Resource": topic_arn,
            "Condition": {
                "StringEquals": {"aws:SourceAccount": account_id},
                "ArnLike": {"aws:SourceArn": source},
            },
        }
        for service, source in sources.items()
    ]
    deny = {
        "Sid": "DenyPlainHttp",
        "Effect": "Deny",
        "Principal": "*",
        "Action": ["sns:Publish", "sns:Subscribe"],
        "Resource": topic_arn,
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    return {"Version": "2012-10-17", "Statement": [*publishers, deny]}


class OnCall(pulumi.ComponentResource):
    """The topics with their policies and subscriptions; `topic_arns` are known once a topic may be published to.

    The topics are not encrypted: CloudWatch cannot publish to one under alias/aws/sns, and a key of our own would have
    to outlive every alarm. Messages name alarms and thresholds, no customer.
    """

    topic_arns: Mapping[Severity, pulumi.Output[str]]

    def __init__(self, name: str, args: OnCallArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("deltacrown:monitoring:OnCall", name, None, opts)
        self._args = args
        self.topic_arns = {severity: self._topic(severity) for severity in SEVERITIES}
        for severity, arn in self.topic_arns.items():
            self._mail(severity, arn)
            endpoint = args.endpoints.get(severity)
            if endpoint is not None:
                self._post(severity, arn, endpoint)
        self.register_outputs({"topicArns": dict(self.topic_arns)})

    def _topic(self, severity: Severity) -> pulumi.Output[str]:
        deployment = self._args.deployment
        topic = sns.Topic(
            severity,
            name=names.topic(deployment, severity),
            tags=self._args.tags,
            opts=pulumi.ResourceOptions(parent=self),
        )
        alarms, budgets = names.alarm(deployment, "*"), severity == "warning"
        policy = sns.TopicPolicy(
            severity,
            arn=topic.arn,
            policy=topic.arn.apply(lambda arn: json.dumps(topic_policy(arn, alarms, budgets=budgets))),
            opts=pulumi.ResourceOptions(parent=self),
        )
        return policy.arn

    def _mail(self, severity: Severity, topic_arn: pulumi.Output[str]) -> None:
        for contact in self._args.contacts:
            if severity in contact.receives:
                sns.TopicSubscription(
                    f"{severity}-{contact.contact}",
                    topic=topic_arn,
                    protocol="email",
                    endpoint=contact.contact,
                    opts=pulumi.ResourceOptions(parent=self),
                )

    def _post(self, severity: Severity, topic_arn: pulumi.Output[str], endpoint: Endpoint) -> None:
        sns.TopicSubscription(
            f"{severity}-endpoint",
            topic=topic_arn,
            protocol=endpoint.protocol,
            endpoint=pulumi.Output.secret(endpoint.url),
            endpoint_auto_confirms=True,  # so `pulumi up` fails where nobody would be paged
            opts=pulumi.ResourceOptions(parent=self),
        )
