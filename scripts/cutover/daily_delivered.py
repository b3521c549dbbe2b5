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
from cutover.daily_counts import Counted, CountError, utc_text
from cutover.evidence.record import Gap
from cutover.fallbacks import Ledger
from cutover.telemetry import STORAGE_LOGGER, Entry, parse_metric

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mypy_boto3_logs import CloudWatchLogsClient

    from cutover.plan import Plan

__all__ = ["CLIENT", "LOOK", "Group", "count"]

LOOK = "Look there, journalctl -u deltacrown-probe -u deltacrown-journal -u amazon-cloudwatch-agent"
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

        Where they count a fallback, the storage's WARNINGs of these minutes are among them, which tell its cause.

        Raises:
            CountError: the group is missing, access is denied, or CloudWatch Logs does not answer.
        """
        begin = since
        try:
            while begin < until:
                end = min(begin + self._part, until)
                found = list(self._matching(f'"{self.table.telemetry.any_line}"', begin, end))
                if any(self.table.metrics["read_fallback"] in entry.message for entry in found):
                    warnings = self._matching(f'WARNING "{STORAGE_LOGGER}"', begin, end)
                    found += [entry for entry in warnings if parse_metric(entry.message) is None]
                    found.sort(key=lambda entry: entry.at)
                yield from found
                begin = end
        except ClientError as error:
            raise CountError(f"{self.name}: {delivery.sentence(error)}") from error
        except BotoCoreError as error:
            raise CountError(f"{self.name}: CloudWatch Logs could not be asked: {error}") from error

    def _matching(self, pattern: str, begin: datetime, end: datetime) -> Iterator[Entry]:
        pages = self._client.get_paginator("filter_log_events").paginate(
            logGroupName=self.name,
            filterPattern=pattern,
            startTime=_milliseconds(begin),
            endTime=_milliseconds(end) - 1,
        )
        for page in pages:
            for event in page["events"]:
                at = datetime.fromtimestamp(event["timestamp"] / 1000, UTC)
                yield Entry(event["logStreamName"], event["message"], at, cursor="", boot="")


def count(group: Group, machines: Sequence[str], since: datetime, now: datetime) -> Counted:
    """The workers' METRIC lines from `since` to the newest moment of which every machine's lines are delivered.

    A machine that delivered no line for longer than the alarm no-telemetry waits has a gap there.

    Raises:
        CountError: as `Group.entries`; or a machine is silent now, so that its lines may still come.
    """
    until = max(since, min(_newest(group, machines, now).values()))
    counters = set(group.table.metrics.values()) - set(group.table.measurements.values())
    counts: Counter[str] = Counter()
    gaps: list[Gap] = []
    heard = dict.fromkeys(machines, since)
    ledger = Ledger(heard, group.table.metrics["read_fallback"])  # knows each machine that is heard of
    for entry in group.entries(since, until):
        if entry.unit in machines:
            gaps += _gap(group, entry.unit, heard[entry.unit], entry.at)
        heard[entry.unit] = entry.at
        ledger.add(entry)
        metric = parse_metric(entry.message)
        if metric is not None and metric[0] in counters:
            counts[metric[0]] += round(metric[1])
    for machine in machines:
        gaps += _gap(group, machine, heard[machine], until)
    told = [{**fallback.document(), "worker": fallback.unit} for fallback in ledger.fallbacks]
    return Counted("delivered lines", since, until, dict(counts), told, gaps)


def _newest(group: Group, machines: Sequence[str], now: datetime) -> Mapping[str, datetime]:
    """When each machine's newest line was delivered."""
    newest = {entry.unit: entry.at for entry in group.entries(now - group.silence, now) if entry.unit in machines}
    for machine in machines:
        if machine not in newest:
            raise CountError(
                f"{group.name}: {_silence(machine, now - group.silence, now)}, and silence is no zero: nothing is "
                f"counted. {LOOK}"
            )
    return newest


def _gap(group: Group, machine: str, since: datetime, until: datetime) -> list[Gap]:
    """The gap between two lines of a machine, if it is one."""
    return [_silence(machine, since, until)] if until - since > group.silence else []


def _silence(machine: str, since: datetime, until: datetime) -> Gap:
    return Gap.model_validate({"machine": machine, "since": utc_text(since), "until": utc_text(until)})


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
