"""The METRIC lines that reached CloudWatch, counted where no journal can be asked: by the data host, without ssh.

A machine's lines arrive in their order (decision 12), so that its newest one proves all before it. What was logged
after the newest line of the machine that is furthest behind is left to the next count.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from cutover import delivery
from cutover.daily_counts import Counted, CountError
from cutover.fallbacks import Ledger
from cutover.telemetry import Entry, parse_metric

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mypy_boto3_logs import CloudWatchLogsClient

    from cutover.plan import Plan

__all__ = ["CLIENT", "Group", "count"]

# AWS answers some five such requests a second to an account, which others ask, too.
CLIENT = Config(connect_timeout=5, read_timeout=30, retries={"total_max_attempts": 8, "mode": "standard"})


class Group:
    """A log group: one stream a machine, asked in parts whose lines fit into one answer of 10,000."""

    def __init__(self, client: CloudWatchLogsClient, name: str, table: Plan) -> None:
        self._client = client
        self.name = name
        self.table = table
        alarm = table.alarms["no-telemetry"]
        self._part = timedelta(seconds=alarm.period_seconds)
        self.silence = alarm.datapoints * self._part  # as long as all machines together may be silent without a page

    def entries(self, since: datetime, until: datetime) -> Iterator[Entry]:
        """The METRIC lines of all machines, oldest first; the unit of each is its machine.

        Raises:
            CountError: the group is missing, access is denied, or CloudWatch Logs does not answer.
        """
        pages = self._client.get_paginator("filter_log_events")
        pattern = f'"{self.table.telemetry.any_line}"'
        begin = since
        try:
            while begin < until:
                end = min(begin + self._part, until)
                for page in pages.paginate(
                    logGroupName=self.name,
                    filterPattern=pattern,
                    startTime=_milliseconds(begin),
                    endTime=_milliseconds(end) - 1,
                ):
                    for event in page["events"]:
                        at = datetime.fromtimestamp(event["timestamp"] / 1000, UTC)
                        yield Entry(event["logStreamName"], event["message"], at, cursor="", boot="")
                begin = end
        except ClientError as error:
            raise CountError(f"{self.name}: {delivery.sentence(error)}") from error
        except BotoCoreError as error:
            raise CountError(f"{self.name}: CloudWatch Logs could not be asked: {error}") from error


def count(group: Group, machines: Sequence[str], since: datetime, now: datetime) -> Counted:
    """The workers' METRIC lines from `since` to the newest moment of which every machine's lines are delivered.

    Raises:
        CountError: as `Group.entries`; or a machine delivered no line for longer than the alarm no-telemetry waits.
    """
    until = max(since, min(_newest(group, machines, now).values()))
    counters = set(group.table.metrics.values()) - set(group.table.measurements.values())
    counts: Counter[str] = Counter()
    heard = dict.fromkeys(machines, since)
    ledger = Ledger(heard, group.table.metrics["read_fallback"])  # knows each machine that is heard of
    for entry in group.entries(since, until):
        if entry.unit in machines:
            _refuse_silence(group, entry.unit, heard[entry.unit], entry.at)
        heard[entry.unit] = entry.at
        ledger.add(entry)
        metric = parse_metric(entry.message)
        if metric is not None and metric[0] in counters:
            counts[metric[0]] += round(metric[1])
    for machine in machines:
        _refuse_silence(group, machine, heard[machine], until)
    told = [{**fallback.document(), "worker": fallback.unit} for fallback in ledger.fallbacks]
    return Counted("delivered lines", since, until, dict(counts), told)


def _newest(group: Group, machines: Sequence[str], now: datetime) -> Mapping[str, datetime]:
    """When each machine's newest line was delivered."""
    newest = {entry.unit: entry.at for entry in group.entries(now - group.silence, now) if entry.unit in machines}
    for machine in machines:
        if machine not in newest:
            raise _silent(group, machine, now - group.silence, now)
    return newest


def _refuse_silence(group: Group, machine: str, since: datetime, until: datetime) -> None:
    if until - since > group.silence:
        raise _silent(group, machine, since, until)


def _silent(group: Group, machine: str, since: datetime, until: datetime) -> CountError:
    begin, end = (f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in (since, until))
    return CountError(
        f"{group.name}: {machine} delivered no METRIC line from {begin} to {end}, and silence is no zero: nothing is "
        "counted. Look there, journalctl -u deltacrown-probe -u deltacrown-journal -u amazon-cloudwatch-agent"
    )


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
