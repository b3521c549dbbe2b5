"""CloudWatch's evaluation in the lab: no stand-in evaluates alarms as AWS does, so the project's own evaluator does.

It judges what is deployed, not what is declared: alarms and filters as the stand-ins describe them, lines as the
machines delivered them. An alarm's actions are published to its deployed SNS topics. Its clock runs faster than the
rehearsal's by `time_scale`; the alarms are deployed with their true periods.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from cutover.alarms.errors import AlarmError
from cutover.alarms.monitor import Monitor
from cutover.alarms.resources import Resources
from rehearsal.alarm_message import message
from rehearsal.aws_stand_in import AwsStandIn
from rehearsal.deployed_alarms import DeployedAlarms
from rehearsal.monitoring_stand_in import MonitoringStandIn
from rehearsal.provider.kept import KeptResources
from rehearsal.provider.sns import GONE

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_sns.client import SNSClient

    from cutover.alarms.monitor import Transition
    from rehearsal.alarm_message import Message
    from rehearsal.deployed_alarms import Document, MetricValue

POLL_SECONDS = 1.0
DESCRIBE_SECONDS = 3.0
# A line's way: two seconds at most to the file, one to CloudWatch, one to here. A minute is judged with all its lines.
SETTLE_SECONDS = 4.0
LONGEST_REASON = 1023  # SetAlarmState takes no longer one
INITIAL = "INSUFFICIENT_DATA"


@dataclasses.dataclass(frozen=True)
class Settings:
    """The stand-ins that it reads and writes, and the folder of its heartbeat; `scale`: seconds of alarms a second."""

    aws: AwsStandIn
    monitoring: MonitoringStandIn
    kept_directory: str
    heartbeat: str
    scale: float

    def write(self, path: Path) -> None:
        """Writes the settings, which hold a secret, readable by their owner alone."""
        path.touch(mode=0o600)
        path.write_text(json.dumps(dataclasses.asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Settings:
        """Reads what `write` wrote."""
        fields = json.loads(path.read_text(encoding="utf-8"))
        stand_ins = {"aws": AwsStandIn(**fields["aws"]), "monitoring": MonitoringStandIn(**fields["monitoring"])}
        return cls(**fields | stand_ins)


@dataclasses.dataclass(frozen=True)
class Clock:
    """The alarms' time, which was the real time at `start` and runs `scale` times as fast; seconds since 1970."""

    start: float
    scale: float

    def alarm_time(self, real: float) -> float:
        """What the alarms' clock shows at this moment."""
        return self.start + (real - self.start) * self.scale

    def real_time(self, alarm_time: float) -> float:
        """When the alarms' clock shows this."""
        return self.start + (alarm_time - self.start) / self.scale


@dataclasses.dataclass(frozen=True)
class Heartbeat:
    """What the engine last did: when (seconds since 1970), each alarm's state, and what it cannot evaluate."""

    at: float
    states: dict[str, str]
    problem: str | None

    def write(self, path: Path) -> None:
        """Writes it whole or not at all."""
        part = path.with_suffix(".part")
        part.write_text(json.dumps(dataclasses.asdict(self)), encoding="utf-8")
        part.replace(path)

    @classmethod
    def read(cls, path: Path) -> Heartbeat | None:
        """The last one; None before the first."""
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None


@dataclasses.dataclass
class _Known:
    """What is known of an alarm, whichever Monitor found it: its state and the one before, and what was published.

    A composite alarm with a suppressor acts later than it changes; `is_found_again` tells that its present Monitor
    did not see the change.
    """

    state: str = INITIAL
    before: str = INITIAL
    announced: str | None = None
    is_found_again: bool = False


class _Unsent(NamedTuple):
    """What is still to be published: by which alarm, on which topic, since when (seconds since 1970)."""

    alarm: str
    topic: str
    told: Message
    at: float


class Engine:
    """Evaluates the deployed alarms; `now` is the real time in seconds since 1970 everywhere.

    Every method raises ClientError or BotoCoreError if a stand-in does not answer; called again, it goes on.
    """

    def __init__(self, deployed: DeployedAlarms, sns: SNSClient, clock: Clock) -> None:
        self._deployed = deployed
        self._sns = sns
        self._clock = clock
        self._document: Document = {}
        self._monitor: Monitor | None = None
        self._alarms: dict[str, dict[str, Any]] = {}
        self._values: list[MetricValue] = []  # with the alarms' time at which each counts
        self._known: dict[str, _Known] = {}
        self._unsent: deque[_Unsent] = deque()
        self._problem: str | None = None

    def describe(self, now: float) -> None:
        """Looks at what is deployed; if it changed, the alarms are evaluated anew, and keep their states.

        What cannot be evaluated (half a deployment) changes nothing, and is told by the heartbeat until it can.
        """
        document = self._deployed.describe()
        if document != self._document:
            try:
                resources = Resources.from_document(document)
            except AlarmError as error:
                self._problem = str(error)
                return
            self._evaluate_anew(document, resources, now)
        self._problem = None
        for put in self._deployed.values(now):
            # A silence of thirty minutes is to last thirty of the alarms' minutes.
            counted = put._replace(at=self._clock.alarm_time(now) + put.at - now)
            self._values.append(counted)
            self._put(counted)

    def step(self, now: float) -> None:
        """Takes what arrived, evaluates each full minute of the alarms' clock, and publishes what follows."""
        if self._monitor is not None:
            for line in self._deployed.lines():
                self._monitor.log(line.group, line.message, self._clock.alarm_time(line.at))
            for transition in self._monitor.advance(self._clock.alarm_time(now - SETTLE_SECONDS)):
                self._take(transition)
        self._publish()

    def heartbeat(self, now: float) -> Heartbeat:
        """What to tell of this moment."""
        return Heartbeat(now, {name: known.state for name, known in self._known.items()}, self._problem)

    def _evaluate_anew(self, document: Document, resources: Resources, now: float) -> None:
        self._document = document
        self._monitor = Monitor(resources, self._clock.alarm_time(now - SETTLE_SECONDS))
        self._alarms = {
            alarm["AlarmName"]: alarm for kind in ("MetricAlarm", "CompositeAlarm") for alarm in document[kind]
        }
        self._known = {name: self._known.get(name, _Known()) for name in self._alarms}
        self._deployed.rewind()
        for value in self._values:
            self._put(value)

    def _put(self, value: MetricValue) -> None:
        if self._monitor is not None:
            namespace, name, dimensions = value.key
            self._monitor.put(namespace, name, value.value, value.at, dict(dimensions))

    def _take(self, transition: Transition) -> None:
        """Shows and announces a change; what a new Monitor finds as it was before is none."""
        known = self._known[transition.alarm]
        if transition.kind == "action":
            transition = dataclasses.replace(transition, old=known.before)
        elif known.state == transition.new:
            known.is_found_again = True
            return
        else:
            transition = dataclasses.replace(transition, old=known.state)
            known.before, known.state, known.is_found_again = known.state, transition.new, False
        if transition.kind == "metric":
            self._deployed.set_state(transition.alarm, transition.new, transition.reason[:LONGEST_REASON])
        elif transition.kind == "composite":
            self._deployed.note_change(transition, self._clock.real_time(transition.at))
        if transition.actions and not (known.is_found_again and known.announced == transition.new):
            self._announce(transition)

    def _announce(self, transition: Transition) -> None:
        at = self._clock.real_time(transition.at)
        told = message(transition, self._alarms[transition.alarm], at)
        self._unsent.extend(_Unsent(transition.alarm, topic, told, at) for topic in transition.actions)
        self._known[transition.alarm].announced = transition.new

    def _publish(self) -> None:
        while self._unsent:
            alarm, topic, told, at = self._unsent[0]
            outcome = "Successfully executed"
            try:
                self._sns.publish(TopicArn=topic, Subject=told.subject, Message=told.body)
            except ClientError as error:  # a topic that is gone, as on AWS: the action fails, the alarm goes on
                if error.response["Error"].get("Code") not in GONE:
                    raise
                outcome = "Failed to execute"
                print(f"alarm engine: {told.subject}: {error}", file=sys.stderr, flush=True)
            self._unsent.popleft()
            self._deployed.note_action(alarm, f"{outcome} action {topic}", at)


def run(engine: Engine, heartbeat: Path, now: Callable[[], float] = time.time) -> None:
    """Evaluates for ever; a stand-in that does not answer is said on stderr, and no heartbeat is written meanwhile."""
    described = 0.0
    while True:
        try:
            if now() - described >= DESCRIBE_SECONDS:
                engine.describe(now())
                described = now()
            engine.step(now())
            engine.heartbeat(now()).write(heartbeat)
        except (ClientError, BotoCoreError) as error:
            print(f"alarm engine: {error}", file=sys.stderr, flush=True)
        time.sleep(POLL_SECONDS)


def main() -> None:
    """Evaluates until it is ended; the argument is the path of the settings."""
    settings = Settings.read(Path(sys.argv[1]))
    deployed = DeployedAlarms(settings.aws, settings.monitoring, KeptResources(Path(settings.kept_directory)))
    run(Engine(deployed, settings.aws.sns(), Clock(time.time(), settings.scale)), Path(settings.heartbeat))


if __name__ == "__main__":
    main()
