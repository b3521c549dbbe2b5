"""The types of SNS: topics, their policies, subscriptions."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urlsplit

from rehearsal.provider.properties import Field, Fields, ProviderError, from_api, to_api
from rehearsal.provider.resource import ResourceType, superfluous_tags, unless_gone

if TYPE_CHECKING:
    from rehearsal.provider.wire import Values

GONE = ("NotFound", "NotFoundException")
TAGS = Field("Tags", default={}, kind="tags")
ATTRIBUTES: Fields = {
    "displayName": Field("DisplayName", default=""),
    "kmsMasterKeyId": Field("KmsMasterKeyId", default=""),
    "deliveryPolicy": Field("DeliveryPolicy", kind="json"),
}
TOPIC_READ_ONLY = frozenset(
    {
        "EffectiveDeliveryPolicy",
        "Owner",
        "Policy",  # a resource of its own: TopicPolicy
        "SubscriptionsConfirmed",
        "SubscriptionsDeleted",
        "SubscriptionsPending",
        "TopicArn",
    }
)
SUBSCRIPTION_READ_ONLY = frozenset({"SubscriptionArn", "Owner", "ConfirmationWasAuthenticated", "PendingConfirmation"})
PROTOCOLS = frozenset({"email", "email-json", "http", "https", "lambda", "sms", "sqs", "application", "firehose"})
POLL_SECONDS = 0.1


class Topic(ResourceType):
    """A topic; its id is its ARN."""

    type_name = "aws:sns/topic:Topic"
    kind = "Topic"
    fields: ClassVar[Fields] = {"name": Field("Name", required=True, replaces=True), **ATTRIBUTES, "tags": TAGS}
    computed = ("arn", "owner")

    @classmethod
    def parameters(cls, inputs: Values) -> Values:
        """Returns the parameters of CreateTopic."""
        api = to_api(cls.fields, inputs)
        return {"Name": api.pop("Name"), "Tags": api.pop("Tags"), "Attributes": api}

    def create(self, inputs: Values) -> str:
        """Creates the topic."""
        arn: str = self.monitoring.sns.create_topic(**self.parameters(inputs))["TopicArn"]
        return arn

    def read(self, resource_id: str) -> Values | None:
        """Returns the topic with its tags."""
        sns = self.monitoring.sns
        answer = unless_gone(lambda: sns.get_topic_attributes(TopicArn=resource_id)["Attributes"], *GONE)
        if answer is None:
            return None
        set_ones = {name: value for name, value in answer.items() if value}
        tags = sns.list_tags_for_resource(ResourceArn=resource_id)["Tags"]
        held = set_ones | {"Name": resource_id.rpartition(":")[2], "Tags": tags}
        return from_api(self.fields, held, read_only=TOPIC_READ_ONLY) | {"arn": resource_id, "owner": answer["Owner"]}

    def update(self, resource_id: str, inputs: Values) -> None:
        """Sets attributes and tags."""
        sns = self.monitoring.sns
        for name, field in ATTRIBUTES.items():
            sns.set_topic_attributes(TopicArn=resource_id, AttributeName=field.api, AttributeValue=inputs.get(name, ""))
        held = sns.list_tags_for_resource(ResourceArn=resource_id)["Tags"]
        sns.untag_resource(ResourceArn=resource_id, TagKeys=superfluous_tags(held, inputs))
        sns.tag_resource(ResourceArn=resource_id, Tags=to_api({"tags": TAGS}, inputs)["Tags"])

    def delete(self, resource_id: str, state: Values) -> None:  # noqa: ARG002 (the interface's signature)
        """Deletes the topic with its subscriptions; one that is gone is no error on AWS."""
        self.monitoring.sns.delete_topic(TopicArn=resource_id)


class TopicPolicy(ResourceType):
    """Who may use a topic; its id is the topic's ARN."""

    type_name = "aws:sns/topicPolicy:TopicPolicy"
    fields: ClassVar[Fields] = {
        "arn": Field("TopicArn", required=True, replaces=True),
        "policy": Field("Policy", required=True, kind="json"),
    }
    computed = ("owner",)

    def create(self, inputs: Values) -> str:
        """Sets the policy."""
        arn: str = inputs["arn"]
        self._set(arn, inputs["policy"])
        return arn

    def read(self, resource_id: str) -> Values | None:
        """Returns the policy; None if the topic is gone."""
        get = self.monitoring.sns.get_topic_attributes
        answer = unless_gone(lambda: get(TopicArn=resource_id)["Attributes"], *GONE)
        if answer is None:
            return None
        held = {"TopicArn": resource_id, "Policy": answer["Policy"]}
        return from_api(self.fields, held) | {"owner": answer["Owner"]}

    def update(self, resource_id: str, inputs: Values) -> None:
        """Sets the policy anew."""
        self._set(resource_id, inputs["policy"])

    def delete(self, resource_id: str, state: Values) -> None:
        """Gives the topic a policy by which its owner alone may use it, as every topic needs one."""
        owner_alone = {
            "Version": "2008-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"AWS": f"arn:aws:iam::{state['owner']}:root"},
                    "Action": "SNS:*",
                    "Resource": resource_id,
                }
            ],
        }
        unless_gone(lambda: self._set(resource_id, json.dumps(owner_alone)), *GONE)

    def _set(self, arn: str, policy: str) -> None:
        self.monitoring.sns.set_topic_attributes(TopicArn=arn, AttributeName="Policy", AttributeValue=policy)


class TopicSubscription(ResourceType):
    """Where a topic's messages go; its id is its ARN. An endpoint may hold a key, so no error shows one."""

    type_name = "aws:sns/topicSubscription:TopicSubscription"
    kind = "Subscription"
    fields: ClassVar[Fields] = {
        "endpoint": Field("Endpoint", required=True, replaces=True),
        "protocol": Field("Protocol", required=True, replaces=True),
        "topic": Field("TopicArn", required=True, replaces=True),
        "rawMessageDelivery": Field("RawMessageDelivery", default=False),
        "filterPolicy": Field("FilterPolicy", kind="json"),
        "endpointAutoConfirms": Field("", default=False, local=True),
        "confirmationTimeoutInMinutes": Field("", default=1, local=True),
    }
    computed = ("arn", "confirmationWasAuthenticated", "ownerId", "pendingConfirmation")

    @classmethod
    def parameters(cls, inputs: Values) -> Values:
        """Returns the parameters of Subscribe; ProviderError for a protocol that AWS or the endpoint does not have."""
        api = to_api(cls.fields, inputs)
        protocol = api["Protocol"]
        if protocol not in PROTOCOLS:
            raise ProviderError(f"SNS has no protocol {protocol}: write one of {', '.join(sorted(PROTOCOLS))}.")
        if protocol in {"http", "https"} and urlsplit(api["Endpoint"]).scheme != protocol:
            raise ProviderError(f"The endpoint of a subscription of {api['TopicArn']} is no {protocol} address.")
        attributes = {"RawMessageDelivery": str(api.pop("RawMessageDelivery")).lower()}
        attributes |= {"FilterPolicy": api.pop("FilterPolicy")} if "FilterPolicy" in api else {}
        return api | {"Attributes": attributes}

    def create(self, inputs: Values) -> str:
        """Subscribes; with endpointAutoConfirms waits for the confirmation, and without one takes it back."""
        arn = self._subscribe(self.parameters(inputs))
        if inputs["endpointAutoConfirms"] and not self._is_confirmed(arn, inputs["confirmationTimeoutInMinutes"]):
            self.monitoring.sns.unsubscribe(SubscriptionArn=arn)
            raise ProviderError(
                f"The endpoint at {urlsplit(inputs['endpoint']).hostname} did not confirm its subscription of "
                f"{inputs['topic']} within {inputs['confirmationTimeoutInMinutes']} min: see what it answers to SNS."
            )
        return arn

    def read(self, resource_id: str) -> Values | None:
        """Returns the subscription."""
        get = self.monitoring.sns.get_subscription_attributes
        answer = unless_gone(lambda: get(SubscriptionArn=resource_id)["Attributes"], *GONE)
        if answer is None:
            return None
        held: Values = {name: value for name, value in answer.items() if value}
        held["RawMessageDelivery"] = answer["RawMessageDelivery"] == "true"
        return from_api(self.fields, held, read_only=SUBSCRIPTION_READ_ONLY) | {
            "arn": resource_id,
            "ownerId": answer["Owner"],
            "confirmationWasAuthenticated": answer["ConfirmationWasAuthenticated"] == "true",
            "pendingConfirmation": answer["PendingConfirmation"] == "true",
        }

    def update(self, resource_id: str, inputs: Values) -> None:
        """Sets the attributes that can change."""
        attributes = {"FilterPolicy": "", **self.parameters(inputs)["Attributes"]}
        for name, value in attributes.items():
            self.monitoring.sns.set_subscription_attributes(
                SubscriptionArn=resource_id, AttributeName=name, AttributeValue=value
            )

    def delete(self, resource_id: str, state: Values) -> None:  # noqa: ARG002 (the interface's signature)
        """Ends the subscription; one that is gone is no error on AWS."""
        self.monitoring.sns.unsubscribe(SubscriptionArn=resource_id)

    def _subscribe(self, parameters: Values) -> str:
        """Returns the ARN; the stand-in does not tell an unconfirmed one's, but lists it."""
        sns = self.monitoring.sns
        arn: str = sns.subscribe(**parameters, ReturnSubscriptionArn=True)["SubscriptionArn"]
        if arn.startswith("arn:"):
            return arn
        pages = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=parameters["TopicArn"])
        wanted = (parameters["Protocol"], parameters["Endpoint"])
        held = (each for page in pages for each in page["Subscriptions"])
        return next(each["SubscriptionArn"] for each in held if (each["Protocol"], each["Endpoint"]) == wanted)

    def _is_confirmed(self, arn: str, minutes: float) -> bool:
        deadline = time.monotonic() + minutes * 60
        get = self.monitoring.sns.get_subscription_attributes
        while get(SubscriptionArn=arn)["Attributes"]["PendingConfirmation"] == "true":
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True
