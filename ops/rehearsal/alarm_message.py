"""What CloudWatch publishes to an alarm's SNS topics when the alarm acts."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from rehearsal.aws_stand_in import REGION
from rehearsal.monitoring_stand_in import ACCOUNT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cutover.alarms.monitor import Transition

__all__ = ["Message", "message"]

REGION_TITLE = "US East (N. Virginia)"
LONGEST_SUBJECT = 100  # SNS takes no longer one
ACTIONS = ("AlarmActions", "OKActions", "InsufficientDataActions")
TRIGGER = (
    "MetricName",
    "Namespace",
    "Dimensions",
    "Statistic",
    "ExtendedStatistic",
    "Metrics",
    "Period",
    "EvaluationPeriods",
    "DatapointsToAlarm",
    "ComparisonOperator",
    "Threshold",
    "TreatMissingData",
    "EvaluateLowSampleCountPercentile",
)


class Message(NamedTuple):
    """A subject and a JSON text, as SNS takes them."""

    subject: str
    body: str


def message(transition: Transition, alarm: Mapping[str, Any], at: float) -> Message:
    """Returns the message on a transition of this metric or composite alarm; `at` in seconds since 1970.

    The keys are those of the message that CloudWatch sends (docs.aws.amazon.com, CloudWatch user guide, "Notifying
    users on alarm changes").
    """
    body: dict[str, Any] = {
        "AlarmName": transition.alarm,
        "AlarmDescription": alarm.get("AlarmDescription"),
        "AWSAccountId": ACCOUNT,
        "NewStateValue": transition.new,
        "NewStateReason": transition.reason,
        "StateChangeTime": f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%S.000+0000}",
        "Region": REGION_TITLE,
        "AlarmArn": f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{transition.alarm}",
        "OldStateValue": transition.old,
        **{name: alarm.get(name, []) for name in ACTIONS},
    }
    if "AlarmRule" in alarm:
        body["AlarmRule"] = alarm["AlarmRule"]
    else:
        body["Trigger"] = {name: alarm[name] for name in TRIGGER if alarm.get(name) not in (None, [])}
    return Message(f'{transition.new}: "{transition.alarm}" in {REGION_TITLE}'[:LONGEST_SUBJECT], json.dumps(body))
