"""`cutover alarms live`: whether the alarms of a deployment are OK now, as CloudWatch has them.

Each alarm of ops/cutover.yml must exist and be OK. An incident (a composite alarm) that CloudWatch has must not be in
ALARM; one that is absent is no finding, because it says nothing that its alarms do not say.
"""

from __future__ import annotations

import datetime
import json
import os
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoRegionError

from cutover import names, object_store, plan, settings
from cutover.alarms.errors import AlarmError
from cutover.exit_codes import ExitCode
from cutover.gates import Verdict

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence, Set

    from mypy_boto3_cloudwatch import CloudWatchClient

    from cutover.plan import Deployment, Plan

__all__ = [
    "LiveAlarm",
    "LiveAlarmsError",
    "States",
    "ask",
    "asking",
    "connect",
    "explained",
    "judge",
    "run",
    "states",
]

ABSENT = "ABSENT"  # beside CloudWatch's own OK, ALARM and INSUFFICIENT_DATA
# Each step waits for this answer; an endpoint that does not give it is named within half a minute.
CLIENT = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 2, "mode": "standard"})

States = dict[str, tuple[str, datetime.datetime | None]]


class LiveAlarmsError(AlarmError):
    """CloudWatch could not be asked, which is not the same as OK."""

    exit_code = ExitCode.ERROR


@dataclass(frozen=True)
class LiveAlarm:
    """An alarm under its name in CloudWatch: its state, since when (UTC, ISO 8601), and what to run if it is not ok."""

    name: str
    state: str
    since: str | None
    ok: bool
    next: str

    def __str__(self) -> str:
        since = f" since {self.since}" if self.since else ""
        return f"{'ok' if self.ok else 'NOT OK':7} {self.name}: {self.state}{since}{self._next()}"

    def _next(self) -> str:
        return f"\n{'':8}next: {self.next}" if self.next else ""


def states(client: CloudWatchClient, deployment: Deployment) -> States:
    """State and time of the last change of everything in CloudWatch that has a name of this deployment's alarms.

    Raises:
        ClientError, BotoCoreError: CloudWatch refuses or does not answer.
    """
    found: States = {}
    pages = client.get_paginator("describe_alarms").paginate(
        AlarmNamePrefix=names.alarm(deployment, ""), AlarmTypes=["MetricAlarm", "CompositeAlarm"]
    )
    for page in pages:
        for alarm in (*page["MetricAlarms"], *page["CompositeAlarms"]):
            # The update is later than the transition where AWS re-evaluated in between; not every stand-in has both.
            since = alarm.get("StateTransitionedTimestamp") or alarm.get("StateUpdatedTimestamp")
            found[alarm["AlarmName"]] = (alarm["StateValue"], since)
    return found


def judge(
    table: Plan,
    deployment: Deployment,
    found: Mapping[str, tuple[str, datetime.datetime | None]],
    step: int | None = None,
) -> list[LiveAlarm]:
    """Every alarm of the table, then every incident that was found, each with what to run where it is not ok.

    Those are left out that the table does not ask for before `step`; None asks for all.
    """
    judged = []
    asked = {name: alarm for name, alarm in table.alarms.items() if step is None or alarm.needed_from_step <= step}
    for name, alarm in asked.items():
        full = names.alarm(deployment, name)
        state, since = found.get(full, (ABSENT, None))
        next_command = {
            "OK": "",
            "ALARM": table.next_command(name, deployment),
            "INSUFFICIENT_DATA": "" if alarm.may_lack_data else table.without_data(name, deployment),
        }.get(state, f"pulumi up --stack {deployment}")
        judged.append(LiveAlarm(full, state, _text(since), not next_command, next_command))
    incidents = (_incident(table, deployment, name, found) for name in table.incidents)
    left_out = {names.alarm(deployment, name) for name in set(table.alarms) - set(asked)}
    return judged + [
        incident
        for name, incident in zip(table.incidents, incidents, strict=True)
        if incident is not None and not _explained(incident, _firing(table, deployment, name, found), left_out)
    ]


def _explained(incident: LiveAlarm, firing: Sequence[str], left_out: Set[str]) -> bool:
    """Whether an incident is in ALARM for nothing but alarms that this step does not ask for."""
    return incident.state == "ALARM" and bool(firing) and set(firing) <= left_out


def _firing(
    table: Plan, deployment: Deployment, incident: str, found: Mapping[str, tuple[str, datetime.datetime | None]]
) -> list[str]:
    """Which alarms of an incident are in ALARM, under their names in CloudWatch."""
    alarms = (names.alarm(deployment, alarm) for alarm in table.incidents[incident].alarms)
    return [alarm for alarm in alarms if found.get(alarm, ("", None))[0] == "ALARM"]


def _incident(
    table: Plan, deployment: Deployment, name: str, found: Mapping[str, tuple[str, datetime.datetime | None]]
) -> LiveAlarm | None:
    full = names.incident(deployment, name)
    if full not in found:
        return None
    state, since = found[full]
    if state != "ALARM":
        return LiveAlarm(full, state, _text(since), ok=True, next="")
    firing = _firing(table, deployment, name, found)
    alarms = table.incidents[name].alarms
    first = next((alarm for alarm in alarms if names.alarm(deployment, alarm) in firing), alarms[0])
    next_command = table.next_command(first, deployment)
    return LiveAlarm(full, state, _text(since), ok=False, next=next_command)


def run(options: argparse.Namespace) -> int:
    """Asks, judges and prints; returns 0 if every alarm is ok, else 1; raises what `ask` raises."""
    judged = ask(options, options.step)
    verdict = Verdict.PASS if all(alarm.ok for alarm in judged) else Verdict.FAIL
    _show(judged, verdict, as_json=options.json)
    return int(verdict)


def ask(options: argparse.Namespace, step: int | None) -> list[LiveAlarm]:
    """The alarms of a deployment as `judge` judges them.

    Args:
        options: deployment, env_file, role_arn and, if it has one, region, as the command line gives them.
        step: which step asks; None for all alarms.

    Raises:
        SettingsError, AlarmError, ObjectStoreError: as `asking`.
    """
    table, deployment = plan.load(), options.deployment
    with asking(options, "cloudwatch:DescribeAlarms") as client:
        return judge(table, deployment, states(client, deployment), step)


@contextmanager
def asking(options: argparse.Namespace, action: str) -> Iterator[CloudWatchClient]:
    """CloudWatch, for whoever asks it for a deployment's alarms within the block.

    Args:
        options: as those of `ask`.
        action: IAM's name of what is asked, for the sentence of a refusal.

    Raises:
        SettingsError: the environment file cannot be read.
        AlarmError: no region is set.
        LiveAlarmsError, ObjectStoreError: CloudWatch, or the role's credentials, could not be asked for.
    """
    with explained(options.deployment, action):
        yield connect(options)


def connect(options: argparse.Namespace) -> CloudWatchClient:
    """CloudWatch, for whoever asks it again and again, each time within `explained`.

    Args:
        options: as those of `ask`.

    Raises:
        SettingsError: the environment file cannot be read.
        ClientError, BotoCoreError: no region is set, or the role's credentials could not be asked for.
    """
    settings.adopt(options.env_file)
    region = getattr(options, "region", None) or next(
        filter(None, map(os.environ.get, ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_S3_REGION_NAME"))), None
    )
    return object_store.role_session(region, options.role_arn).client("cloudwatch", config=CLIENT)


@contextmanager
def explained(deployment: Deployment, action: str) -> Iterator[None]:
    """What AWS's library raises within the block, as one sentence that says what to do.

    Raises:
        AlarmError: no region is set.
        LiveAlarmsError: CloudWatch could not be asked for.
    """
    try:
        yield
    except NoRegionError as error:
        raise AlarmError("no region is set: give --region, or set AWS_REGION") from error
    except (ClientError, BotoCoreError) as error:
        raise LiveAlarmsError(_sentence(deployment, action, error)) from error


def _show(judged: Sequence[LiveAlarm], verdict: Verdict, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"verdict": verdict.name, "alarms": [asdict(alarm) for alarm in judged]}))
        return
    for alarm in judged:
        print(alarm)
    print(verdict.name)


def _sentence(deployment: str, action: str, error: Exception) -> str:
    where = f"{deployment}: the alarms could not be asked for"
    if isinstance(error, ClientError) and error.response["Error"].get("Code", "").startswith("AccessDenied"):
        return (
            f"{where}: these credentials lack {action} (or may not assume the role); "
            f"give --role-arn with the read-only role ({error.response['Error'].get('Message')})"
        )
    return f"{where}: {error}; is AWS reachable from here, and are the credentials right?"


def _text(moment: datetime.datetime | None) -> str | None:
    """The moment in UTC, None for none."""
    return f"{moment.astimezone(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}" if moment else None
