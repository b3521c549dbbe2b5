"""The monthly budget of S3, from the estimate that `cutover cost` prints."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pulumi
from pulumi_aws import budgets

from cutover import cost, names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cutover.plan import Deployment, Plan

S3 = "Amazon Simple Storage Service"  # as the bill calls it


@dataclasses.dataclass(frozen=True)
class StorageBudgetArgs:
    """The table, whose budget it is, and the topic that hears of it."""

    table: Plan
    deployment: Deployment
    topic_arn: pulumi.Output[str]
    tags: Mapping[str, str]


def notifications(table: Plan, topic_arn: pulumi.Input[str]) -> list[budgets.BudgetNotificationArgsDict]:
    """Returns a notification for each of the table's shares of the limit, in per cent."""
    shares = {"ACTUAL": table.budget.notify_at.actual, "FORECASTED": table.budget.notify_at.forecasted}
    return [
        {
            "notification_type": kind,
            "comparison_operator": "GREATER_THAN",
            "threshold": share * 100,
            "threshold_type": "PERCENTAGE",
            "subscriber_sns_topic_arns": [topic_arn],
        }
        for kind in shares
        for share in shares[kind]
    ]


class StorageBudget(pulumi.ComponentResource):
    """A cost budget of all S3 use of the account.

    It is not cut to the stack's tags: AWS knows the cost of a tag only after someone activated it by hand, and until
    then a budget of it stays silent at zero. What else the account keeps in S3 makes this one speak too early instead.
    """

    def __init__(self, name: str, args: StorageBudgetArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("deltacrown:monitoring:StorageBudget", name, None, opts)
        budget = budgets.Budget(
            name,
            name=names.budget(args.deployment),
            budget_type="COST",
            time_unit="MONTHLY",
            limit_amount=str(cost.planned_budget(args.table)),
            limit_unit="USD",
            cost_filters=[{"name": "Service", "values": [S3]}],
            notifications=notifications(args.table, args.topic_arn),
            tags=args.tags,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({"budget": budget.name})
