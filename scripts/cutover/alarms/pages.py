"""`cutover alarms pages`: when an incident told somebody, from CloudWatch's own history of the composite alarms.

A page is an action that ran while the incident was in ALARM. The change of state alone is none: during a drill's
silence the incident changes, and nobody is told.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cutover import names, plan
from cutover.alarms.live import asking
from cutover.exit_codes import ExitCode

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_cloudwatch.type_defs import AlarmHistoryItemTypeDef

    from cutover.plan import Deployment, Plan

__all__ = ["KEPT", "Page", "run", "sent"]

# How long CloudWatch keeps the history for sure: its user guide said two weeks for years, and says 30 days today.
KEPT = timedelta(days=14)

Page = dict[str, str]  # as a record of the evidence holds it
_RAN = "execut"  # "Successfully executed action …", "Failed to execute action …"


def sent(client: CloudWatchClient, table: Plan, deployment: Deployment, since: datetime, until: datetime) -> list[Page]:
    """The pages and warnings of a deployment between two moments, oldest first.

    Each has `at` (UTC, ISO 8601), `severity` (the incident's in ops/cutover.yml), `incident`, `reason` (why it went to
    ALARM) and `action` (what CloudWatch says that it did).

    Raises:
        ClientError, BotoCoreError: CloudWatch refuses or does not answer.
    """
    pages: list[Page] = []
    for name, incident in table.incidents.items():
        full = names.incident(deployment, name)
        answers = client.get_paginator("describe_alarm_history").paginate(
            # From the first day that CloudWatch keeps: the state in which an action ran may be older than `since`.
            AlarmName=full,
            AlarmTypes=["CompositeAlarm"],
            EndDate=until,
            ScanBy="TimestampAscending",
        )
        told = _told(item for answer in answers for item in answer["AlarmHistoryItems"])
        pages += [
            {"at": _text(at), "severity": incident.severity, "incident": full, "reason": reason, "action": action}
            for at, reason, action in told
            if since <= at <= until
        ]
    return sorted(pages, key=lambda page: page["at"])


def _told(items: Iterable[AlarmHistoryItemTypeDef]) -> Iterator[tuple[datetime, str, str]]:
    """When, why and how an incident first acted on each of its changes to ALARM."""
    reason: str | None = None
    # A change and what it did may bear one time.
    for item in sorted(items, key=lambda each: (each["Timestamp"], each["HistoryItemType"] != "StateUpdate")):
        if item["HistoryItemType"] == "StateUpdate":
            new = json.loads(item["HistoryData"])["newState"]
            reason = str(new.get("stateReason", "")) if new["stateValue"] == "ALARM" else None
        elif item["HistoryItemType"] == "Action" and reason is not None and _RAN in item["HistorySummary"]:
            yield item["Timestamp"], reason, item["HistorySummary"]
            reason = None


def run(options: argparse.Namespace) -> int:
    """Asks and prints; returns 0; raises what `asking` raises."""
    table, until = plan.load(), datetime.now(UTC)
    with asking(options, "cloudwatch:DescribeAlarmHistory") as client:
        pages = sent(client, table, options.deployment, options.since, until)
    if options.json:
        print(json.dumps({"since": _text(options.since), "until": _text(until), "pages": pages}))
        return ExitCode.DONE
    for page in pages:
        print(f"{page['at']} {page['severity']:8} {page['incident']}: {page['reason']}")
    print(f"{len(pages)} between {_text(options.since)} and {_text(until)}")
    return ExitCode.DONE


def _text(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
