"""The type aws:budgets/budget:Budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from rehearsal.provider.properties import Field, Fields, ProviderError, from_api, to_api
from rehearsal.provider.resource import ACCOUNT, ResourceType, superfluous_tags, unless_gone

if TYPE_CHECKING:
    from rehearsal.provider.wire import Values

GONE = "NotFoundException"
TAGS = Field("ResourceTags", default={}, kind="tags")
NOTIFICATION: Fields = {
    "comparisonOperator": Field("ComparisonOperator", required=True),
    "notificationType": Field("NotificationType", required=True),
    "threshold": Field("Threshold", required=True),
    "thresholdType": Field("ThresholdType", required=True),
    "subscriberEmailAddresses": Field("EMAIL", default=[]),
    "subscriberSnsTopicArns": Field("SNS", default=[]),
}
SUBSCRIPTION_TYPES = ("EMAIL", "SNS")
READ_ONLY = frozenset({"CalculatedSpend", "LastUpdatedTime", "TimePeriod"})


class Budget(ResourceType):
    """A budget with its notifications; its id is `account:name`."""

    type_name = "aws:budgets/budget:Budget"
    kind = "Budget"
    computed = ("arn",)
    fields: ClassVar[Fields] = {
        "name": Field("BudgetName", required=True, replaces=True),
        "budgetType": Field("BudgetType", required=True),
        "timeUnit": Field("TimeUnit", required=True),
        "limitAmount": Field("Amount", required=True, kind="number"),
        "limitUnit": Field("Unit", required=True),
        "costFilters": Field(
            "CostFilters",
            default=[],
            fields={"name": Field("Name", required=True), "values": Field("Values", required=True)},
        ),
        "notifications": Field("Notifications", default=[], fields=NOTIFICATION),
        "tags": TAGS,
    }

    @classmethod
    def parameters(cls, inputs: Values) -> Values:
        """Returns the parameters of CreateBudget."""
        api = to_api(cls.fields, inputs)
        notifications = [
            {
                "Subscribers": [
                    {"SubscriptionType": kind, "Address": address}
                    for kind in SUBSCRIPTION_TYPES
                    for address in notification.pop(kind)
                ],
                "Notification": notification,
            }
            for notification in api.pop("Notifications")
        ]
        for notification in notifications:
            if not notification["Subscribers"]:
                raise ProviderError(f"A notification of the budget {inputs['name']} has no subscriber: AWS wants one.")
        return {
            "AccountId": ACCOUNT,
            "ResourceTags": api.pop("ResourceTags"),
            "NotificationsWithSubscribers": notifications,
            "Budget": {
                "BudgetLimit": {"Amount": inputs["limitAmount"], "Unit": api.pop("Unit")},
                "CostFilters": {each["Name"]: each["Values"] for each in api.pop("CostFilters")},
                **{name: value for name, value in api.items() if name != "Amount"},
            },
        }

    def create(self, inputs: Values) -> str:
        """Creates the budget with its notifications."""
        self.monitoring.budgets.create_budget(**self.parameters(inputs))
        return f"{ACCOUNT}:{inputs['name']}"

    def read(self, resource_id: str) -> Values | None:
        """Returns the budget with notifications and tags."""
        budgets, name = self.monitoring.budgets, _name(resource_id)
        held = unless_gone(lambda: budgets.describe_budget(AccountId=ACCOUNT, BudgetName=name)["Budget"], GONE)
        if held is None:
            return None
        answer: Values = {**held}
        answer |= answer.pop("BudgetLimit")
        filters = answer.pop("CostFilters", {})
        answer["CostFilters"] = [{"Name": name, "Values": values} for name, values in filters.items()]
        answer["Notifications"] = self._notifications(name)
        answer["ResourceTags"] = self._tags(name)
        return from_api(self.fields, answer, read_only=READ_ONLY) | {"arn": _arn(name)}

    def update(self, resource_id: str, inputs: Values) -> None:
        """Sets limit and filters, makes the notifications anew, and sets the tags."""
        budgets, name = self.monitoring.budgets, _name(resource_id)
        parameters = self.parameters(inputs)
        budgets.update_budget(AccountId=ACCOUNT, NewBudget=parameters["Budget"])
        for held in self._bare_notifications(name):
            budgets.delete_notification(AccountId=ACCOUNT, BudgetName=name, Notification=held)
        for wanted in parameters["NotificationsWithSubscribers"]:
            budgets.create_notification(AccountId=ACCOUNT, BudgetName=name, **wanted)
        superfluous = superfluous_tags(self._tags(name), inputs)
        budgets.untag_resource(ResourceARN=_arn(name), ResourceTagKeys=superfluous)
        budgets.tag_resource(ResourceARN=_arn(name), ResourceTags=parameters["ResourceTags"])

    def delete(self, resource_id: str, state: Values) -> None:  # noqa: ARG002 (the interface's signature)
        """Deletes the budget with its notifications."""
        delete = self.monitoring.budgets.delete_budget
        unless_gone(lambda: delete(AccountId=ACCOUNT, BudgetName=_name(resource_id)), GONE)

    def _bare_notifications(self, name: str) -> list[Any]:
        describe = self.monitoring.budgets.describe_notifications_for_budget
        answer = describe(AccountId=ACCOUNT, BudgetName=name)["Notifications"]
        return [{key: value for key, value in held.items() if key != "NotificationState"} for held in answer]

    def _notifications(self, name: str) -> list[Values]:
        describe = self.monitoring.budgets.describe_subscribers_for_notification
        result = []
        for held in self._bare_notifications(name):
            subscribers = describe(AccountId=ACCOUNT, BudgetName=name, Notification=held)["Subscribers"]
            addresses = {
                kind: [each["Address"] for each in subscribers if each["SubscriptionType"] == kind]
                for kind in SUBSCRIPTION_TYPES
            }
            result.append({**held, **addresses})
        return result

    def _tags(self, name: str) -> list[Any]:
        return [*self.monitoring.budgets.list_tags_for_resource(ResourceARN=_arn(name))["ResourceTags"]]


def _name(resource_id: str) -> str:
    account, separator, name = resource_id.partition(":")
    if not separator:
        raise ProviderError(f"'{account}' is no id of a budget: write account:name.")
    return name


def _arn(name: str) -> str:
    return f"arn:aws:budgets::{ACCOUNT}:budget/{name}"
