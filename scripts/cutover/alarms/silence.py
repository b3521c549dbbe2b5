"""A maintenance silence: pages and mails are held back for some minutes, and come again by themselves.

CloudWatch keeps no switch that turns itself off, but takes metric values up to two hours ahead ("PutMetricData",
docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html). So a silence is one value for each of
its minutes, written in advance; the silence alarm looks at them, and where none is, nothing is silent.

Values cannot be deleted. Each is therefore the time of its writing (seconds since 1970): positive to silence that
minute, negative to lift it. The later one counts, which is the larger in size: a minute is silent if the maximum and
the minimum of its values have a sum above zero.
"""

from __future__ import annotations

import datetime
import getpass
import json
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import BotoCoreError, ClientError, NoRegionError

from cutover import names, plan
from cutover.alarms.errors import AlarmError
from cutover.alarms.live import CLIENT
from cutover.exit_codes import ExitCode

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from mypy_boto3_cloudwatch import CloudWatchClient

    from cutover.plan import Deployment, Plan

__all__ = ["Report", "Silencer", "check", "run"]

MINUTE = datetime.timedelta(minutes=1)


@dataclass(frozen=True)
class Report:
    """What is, or becomes, silent in a deployment; `until` is in UTC, None if nothing is silent.

    CloudWatch keeps neither who silenced nor why, so only whoever silences now knows.
    """

    deployment: str
    incidents: list[str]
    until: str | None
    until_local: str | None
    who: str | None = None
    reason: str | None = None

    def __str__(self) -> str:
        if self.until is None:
            return f"{self.deployment}: nothing is silent"
        because = f", because: {self.reason}" if self.reason else ""
        by = f" [{self.who}]" if self.who else ""
        return (
            f"{self.deployment}: {', '.join(self.incidents)} send no page and no mail until {self.until} "
            f"({self.until_local}){because}{by}; a rollback trigger still sends its own mail"
        )


def check(table: Plan, minutes: int, reason: str | None) -> None:
    """Refuses a silence that nobody could understand or that lasts too long.

    Raises:
        AlarmError: the reason is missing, or the time is none or longer than the table allows.
    """
    longest = table.silence.maximum_seconds // 60
    if not 1 <= minutes <= longest:
        raise AlarmError(f"--minutes {minutes}: a silence lasts from 1 to {longest} minutes; write it anew for more")
    if not (reason or "").strip():
        raise AlarmError("--reason is missing: say why nobody should be paged, for those who read along")


class Silencer:
    """The silence of one deployment, at the current minute of `now`."""

    def __init__(
        self,
        client: CloudWatchClient,
        table: Plan,
        deployment: Deployment,
        now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self._client = client
        self._table = table
        self._deployment: Deployment = deployment
        self._now = now

    def planned(self, minutes: int, reason: str | None) -> Report:
        """What `silence` will do."""
        return self._report(_full_minute(self._now() + minutes * MINUTE), reason)

    def silence(self, minutes: int) -> None:
        """Writes the silence, from the last full minute on, so that the alarm sees it at its next look.

        It never shortens one that lasts longer: lift that first.

        Raises:
            ClientError, BotoCoreError: CloudWatch refuses the values or does not answer.
        """
        self._write(self._now() + minutes * MINUTE, sign=1)

    def lift(self) -> None:
        """Ends any silence now; raises as `silence` does."""
        self._write(self._now() + datetime.timedelta(seconds=self._table.silence.maximum_seconds), sign=-1)

    def status(self) -> Report:
        """What is silent, as CloudWatch has it; a value may take a minute to be seen. Raises as `silence` does."""
        begin = _minute(self._now())
        answer = self._client.get_metric_statistics(
            Namespace=self._namespace,
            MetricName=self._table.silence.metric,
            StartTime=begin,
            EndTime=begin + datetime.timedelta(seconds=self._table.silence.maximum_seconds) + MINUTE,
            Period=60,
            Statistics=["Maximum", "Minimum"],
        )
        silent = {point["Timestamp"] for point in answer["Datapoints"] if point["Maximum"] + point["Minimum"] > 0}
        end = begin
        while end in silent:
            end += MINUTE
        return self._report(end if end > begin else None, None)

    @property
    def _namespace(self) -> str:
        return names.namespace(self._table.telemetry, self._deployment)

    def _write(self, end: datetime.datetime, sign: int) -> None:
        """Puts a value into each minute up to `end`: 122 at most, and one request takes a thousand."""
        now = self._now()
        minutes, minute = [], _minute(now) - MINUTE
        while minute < end:
            minutes.append(minute)
            minute += MINUTE
        value = sign * now.timestamp()
        self._client.put_metric_data(
            Namespace=self._namespace,
            MetricData=[
                {"MetricName": self._table.silence.metric, "Timestamp": minute, "Value": value} for minute in minutes
            ],
        )

    def _report(self, until: datetime.datetime | None, reason: str | None) -> Report:
        return Report(
            deployment=self._deployment,
            incidents=[names.incident(self._deployment, name) for name in self._table.incidents],
            until=f"{until:%Y-%m-%d %H:%M} UTC" if until else None,
            until_local=f"{until.astimezone():%H:%M %Z}" if until else None,
            who=getpass.getuser() if reason else None,
            reason=reason,
        )


def run(options: argparse.Namespace) -> int:
    """Silences, lifts or shows (`minutes`, `lift`, `status`); returns 0, or 4 if CloudWatch could not be asked.

    Raises:
        AlarmError: the settings of the silence are refused, or no region is set.
    """
    table = plan.load()
    if options.minutes is not None:
        check(table, options.minutes, options.reason)
    try:
        client = boto3.Session().client("cloudwatch", region_name=options.region, config=CLIENT)
        silencer = Silencer(client, table, options.deployment)
        if options.minutes is not None:
            planned = silencer.planned(options.minutes, options.reason)
            silencer.silence(options.minutes)
            _show(planned, as_json=options.json)
        elif options.lift:
            silencer.lift()
            print(f"cutover: {options.deployment}: the silence is lifted; incidents page again", file=sys.stderr)
        else:
            _show(silencer.status(), as_json=options.json)
    except ClientError as error:
        action = "GetMetricStatistics" if options.status else "PutMetricData"
        print(f"cutover: {options.deployment}: {_sentence(error, action)}", file=sys.stderr)
        return ExitCode.ERROR
    except NoRegionError as error:
        raise AlarmError("no region is set: give --region, or set AWS_REGION") from error
    except BotoCoreError as error:
        print(f"cutover: {options.deployment}: CloudWatch could not be asked: {error}", file=sys.stderr)
        return ExitCode.ERROR
    return ExitCode.DONE


def _show(report: Report, *, as_json: bool) -> None:
    print(json.dumps(asdict(report)) if as_json else report, flush=True)


def _sentence(error: ClientError, action: str) -> str:
    code, message = error.response["Error"].get("Code", ""), error.response["Error"].get("Message")
    if code.startswith("AccessDenied"):
        return f"these credentials may not do it and nothing was changed: cloudwatch:{action} is needed ({message})"
    return f"nothing was changed: {code}: {message}"


def _minute(moment: datetime.datetime) -> datetime.datetime:
    return moment.replace(second=0, microsecond=0)


def _full_minute(moment: datetime.datetime) -> datetime.datetime:
    """The end of the minute that `moment` lies in; `moment` itself at a full one."""
    begin = _minute(moment)
    return begin if begin == moment else begin + MINUTE
