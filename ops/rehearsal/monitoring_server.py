"""moto's server with one operation more: DescribeAlarmHistory, from a file that whoever evaluates the alarms writes.

`python -m rehearsal.monitoring_server FILE --host H --port P`; `MonitoringStandIn.note` adds a line to the file.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from moto.cloudwatch.responses import CloudWatchResponse
from moto.core.responses import ActionResult
from moto.server import main

DEFAULT_TYPES = ["MetricAlarm"]  # CloudWatch's: who does not ask for composite alarms gets none


def answer(items: list[dict[str, Any]], asked: dict[str, Any]) -> list[dict[str, Any]]:
    """The items of a history that DescribeAlarmHistory's parameters ask for, in their order; all in one page.

    moto gives and takes times in UTC without a zone.
    """
    types = asked.get("AlarmTypes") or DEFAULT_TYPES
    found = [
        item | {"Timestamp": at}
        for item in items
        if (at := datetime.fromisoformat(item["Timestamp"]).astimezone(UTC).replace(tzinfo=None))
        and item["AlarmType"] in types
        and asked.get("AlarmName") in {None, item["AlarmName"]}
        and asked.get("HistoryItemType") in {None, item["HistoryItemType"]}
        and (asked.get("StartDate") is None or at >= asked["StartDate"])
        and (asked.get("EndDate") is None or at <= asked["EndDate"])
    ]
    return sorted(found, key=lambda item: item["Timestamp"], reverse=asked.get("ScanBy") != "TimestampAscending")


def serve(history: Path, arguments: list[str]) -> None:
    """Serves until it is ended."""

    def describe_alarm_history(response: CloudWatchResponse) -> ActionResult:
        items = [json.loads(line) for line in history.read_text(encoding="utf-8").splitlines()]
        names = ("AlarmName", "AlarmTypes", "HistoryItemType", "StartDate", "EndDate", "ScanBy")
        asked = {name: response._get_param(name) for name in names}
        return ActionResult({"AlarmHistoryItems": answer(items, asked)})

    CloudWatchResponse.describe_alarm_history = describe_alarm_history  # type: ignore[attr-defined]  # moto lacks it
    main(arguments)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.argv[2:])
