"""The lab's alarm engine on real stand-ins: what is deployed there is judged, shown and published."""

from __future__ import annotations

import gc
import json
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from cutover.alarms.monitor import Transition
from rehearsal import alarm_message, aws_stand_in, monitoring_stand_in
from rehearsal.alarm_engine import SETTLE_SECONDS, Clock, Engine, Heartbeat, Settings
from rehearsal.deployed_alarms import DeployedAlarms
from rehearsal.provider.kept import KeptResources

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_sns import SNSClient

    from rehearsal.aws_stand_in import AwsStandIn
    from rehearsal.monitoring_stand_in import MonitoringStandIn

START = 1_800_000_000.0  # a full minute
SCALE = 20.0
MINUTE = 60 / SCALE  # one of the alarms' minutes, in real seconds
GROUP, NAMESPACE = "/test/group", "Test"
FAILURES, SILENCE, INCIDENT = "failures", "silence", "incident"
FAIL = "INFO METRIC: cert.s3.save.fail=1"
QUIET: dict[str, Any] = {
    "EvaluationPeriods": 1,
    "ComparisonOperator": "GreaterThanThreshold",
    "TreatMissingData": "notBreaching",
    "Namespace": NAMESPACE,
}
ALARMS: list[dict[str, Any]] = [
    QUIET | {"AlarmName": FAILURES, "MetricName": "fail", "Statistic": "Sum", "Period": 300, "Threshold": 1.0},
    QUIET | {"AlarmName": SILENCE, "MetricName": "silence", "Statistic": "Maximum", "Period": 60, "Threshold": 0.0},
]


class StandIns(NamedTuple):
    """The stand-ins, and clients of theirs, each of which takes a tenth of a second to make."""

    aws: AwsStandIn
    monitoring: MonitoringStandIn
    logs: CloudWatchLogsClient
    sns: SNSClient
    cloudwatch: CloudWatchClient


class Cloud(NamedTuple):
    """Stand-ins with two alarms, a filter, a composite alarm and its topic."""

    stand_ins: StandIns
    kept: KeptResources
    topic: str


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIns]:
    directory = tmp_path_factory.mktemp("cloud")
    with aws_stand_in.running(directory) as aws, monitoring_stand_in.running(directory) as monitoring:
        clients = aws.logs(), aws.sns(), monitoring.cloudwatch()
        yield StandIns(aws, monitoring, *clients)
        # An open connection keeps the stand-in from ending for ten seconds; the tests' own clients have one, too.
        for client in clients:
            client.close()
        gc.collect()


@pytest.fixture
def cloud(stand_ins: StandIns, tmp_path: Path) -> Iterator[Cloud]:
    logs, sns, cloudwatch = stand_ins.logs, stand_ins.sns, stand_ins.cloudwatch
    logs.create_log_group(logGroupName=GROUP)
    logs.put_metric_filter(
        logGroupName=GROUP,
        filterName="fail",
        filterPattern='"METRIC: cert.s3.save.fail="',
        metricTransformations=[
            {"metricName": "fail", "metricNamespace": NAMESPACE, "metricValue": "1", "defaultValue": 0}
        ],
    )
    for alarm in ALARMS:
        cloudwatch.put_metric_alarm(**alarm)
        cloudwatch.set_alarm_state(AlarmName=alarm["AlarmName"], StateValue="INSUFFICIENT_DATA", StateReason="new")
    topic = sns.create_topic(Name="critical")["TopicArn"]
    kept = KeptResources(tmp_path)
    composite = {
        "AlarmName": INCIDENT,
        "AlarmRule": f"ALARM({FAILURES})",
        "AlarmActions": [topic],
        "OKActions": [topic],
        "ActionsSuppressor": SILENCE,
        "ActionsSuppressorWaitPeriod": 60,
        "ActionsSuppressorExtensionPeriod": 60,
    }
    kept.put("CompositeAlarm", INCIDENT, composite)
    yield Cloud(stand_ins, kept, topic)
    reset = urllib.request.Request(f"{stand_ins.monitoring.endpoint_url}/moto-api/reset", method="POST")  # noqa: S310 (http)
    urllib.request.urlopen(reset).close()  # noqa: S310 (as above)
    Path(stand_ins.monitoring.history).write_text("", encoding="utf-8")
    logs.delete_log_group(logGroupName=GROUP)
    sns.delete_topic(TopicArn=topic)


class Play:
    """An engine on a cloud, whose time goes on when a test says so."""

    def __init__(self, cloud: Cloud) -> None:
        aws, monitoring, self.logs, _, self.cloudwatch = cloud.stand_ins
        self.cloud = cloud
        self.now = START
        self.published: list[tuple[str, dict[str, Any]]] = []
        sns = aws.sns()
        sns.meta.events.register("before-parameter-build.sns.Publish", self._note)
        self.engine = Engine(DeployedAlarms(aws, monitoring, cloud.kept), sns, Clock(START, SCALE))
        self.logs.create_log_stream(logGroupName=GROUP, logStreamName="web1")
        self.engine.describe(self.now)

    def _note(self, params: dict[str, Any], **_: object) -> None:
        self.published.append((params["TopicArn"], json.loads(params["Message"])))

    def log(self, *messages: str) -> None:
        """Lines that a machine delivers now."""
        events: Any = [{"timestamp": int(self.now * 1000), "message": message} for message in messages]
        self.logs.put_log_events(logGroupName=GROUP, logStreamName="web1", logEvents=events)

    def minutes(self, count: int) -> None:
        """Lets so many of the alarms' minutes pass, each with a line that no filter counts."""
        for _ in range(count):
            self.log("INFO GET /")
            self.now += MINUTE
            self.engine.describe(self.now)
            self.engine.step(self.now)

    def states(self) -> dict[str, str]:
        """The metric alarms' states as describe_alarms shows them."""
        answer = self.cloudwatch.describe_alarms(AlarmTypes=["MetricAlarm"])
        return {alarm["AlarmName"]: alarm["StateValue"] for alarm in answer["MetricAlarms"]}

    def history(self) -> list[tuple[str, str]]:
        """What DescribeAlarmHistory tells of the incident, without the first judgement of a new alarm."""
        answer = self.cloudwatch.describe_alarm_history(
            AlarmName=INCIDENT,
            AlarmTypes=["CompositeAlarm"],
            StartDate=datetime.fromtimestamp(START, UTC),
            EndDate=datetime.fromtimestamp(self.now, UTC),
            ScanBy="TimestampAscending",
        )
        told: list[tuple[str, str]] = [
            (each["HistoryItemType"], each["HistorySummary"]) for each in answer["AlarmHistoryItems"]
        ]
        first = ("StateUpdate", "Alarm updated from OK to ALARM")
        return told[told.index(first) :] if first in told else []

    def pages(self) -> list[tuple[str, str]]:
        """Old and new state of what was published, the first judgement of a new alarm left out."""
        told = [(each["OldStateValue"], each["NewStateValue"]) for _, each in self.published]
        return [each for each in told if each[0] != "INSUFFICIENT_DATA"]


@pytest.fixture
def play(cloud: Cloud) -> Play:
    return Play(cloud)


def test_failures_page_once_and_resolve(play: Play) -> None:
    """Nobody learns of an outage, or everybody of it again each minute."""
    play.minutes(2)
    assert play.states() == {FAILURES: "OK", SILENCE: "OK"}
    play.log(FAIL, FAIL, "INFO METRIC: cert.s3.save.success=1")
    play.minutes(6)
    assert play.states()[FAILURES] == "ALARM"
    assert play.pages() == [("OK", "ALARM")]
    topic, told = play.published[-1]
    assert topic == play.cloud.topic
    assert told["AlarmName"] == INCIDENT
    assert told["AlarmRule"] == f"ALARM({FAILURES})"
    assert told["AlarmArn"].endswith(f":alarm:{INCIDENT}")
    assert FAILURES in told["NewStateReason"]
    play.minutes(6)
    assert play.states()[FAILURES] == "OK"
    assert play.pages() == [("OK", "ALARM"), ("ALARM", "OK")]
    acted = ("Action", f"Successfully executed action {play.cloud.topic}")
    changes = [("StateUpdate", f"Alarm updated from {change}") for change in ("OK to ALARM", "ALARM to OK")]
    assert play.history() == [changes[0], acted, changes[1], acted]


def test_one_failure_is_below_the_threshold(play: Play) -> None:
    """The opposite of the page above."""
    play.minutes(2)
    play.log(FAIL)
    play.minutes(7)
    assert play.pages() == []


def test_changed_alarm_takes_effect_and_the_others_keep_their_states(play: Play) -> None:
    """An engine that judges what was deployed when it started proves nothing of what is deployed now."""
    play.minutes(2)
    play.log(FAIL)
    play.minutes(1)
    play.cloudwatch.put_metric_alarm(**ALARMS[0] | {"Threshold": 0.0})
    play.minutes(6)
    assert play.states() == {FAILURES: "ALARM", SILENCE: "OK"}
    assert play.pages() == [("OK", "ALARM")]
    play.cloud.kept.put("CompositeAlarm", "another", {"AlarmName": "another", "AlarmRule": f"OK({FAILURES})"})
    play.minutes(1)
    assert play.pages() == [("OK", "ALARM")], "the open incident was announced again"


def test_silence_lasts_its_minutes_and_holds_the_page_back(play: Play) -> None:
    """A drill that pages is a drill that nobody does; a silence that never ends is an outage that nobody hears."""
    play.minutes(2)
    moment = play.now - play.now % 60
    data: Any = [{"MetricName": "silence", "Timestamp": moment + 60 * ahead, "Value": 1} for ahead in range(-1, 8)]
    play.cloudwatch.put_metric_data(Namespace=NAMESPACE, MetricData=data)
    play.minutes(2)
    play.log(FAIL, FAIL)
    play.minutes(4)
    assert play.states() == {FAILURES: "ALARM", SILENCE: "ALARM"}
    assert play.pages() == []
    assert play.history() == [("StateUpdate", "Alarm updated from OK to ALARM")]
    for _ in range(8):
        play.log(FAIL, FAIL)
        play.minutes(1)
    assert play.states() == {FAILURES: "ALARM", SILENCE: "OK"}
    assert [each["NewStateValue"] for _, each in play.published[-1:]] == ["ALARM"], "the outage outlived the silence"


def test_half_a_deployment_is_told_and_changes_nothing(play: Play) -> None:
    """During `pulumi up` an incident may name an alarm that is not there yet; a dead engine would page nobody."""
    play.minutes(2)
    play.cloud.kept.put("CompositeAlarm", "half", {"AlarmName": "half", "AlarmRule": "ALARM(missing)"})
    play.minutes(1)
    assert "missing" in (play.engine.heartbeat(play.now).problem or "")
    play.log(FAIL, FAIL)
    play.minutes(6)
    assert play.pages() == [("OK", "ALARM")]
    play.cloud.kept.delete("CompositeAlarm", "half")
    play.minutes(1)
    assert play.engine.heartbeat(play.now).problem is None


def test_topic_that_is_gone_does_not_stop_the_engine(play: Play, capsys: pytest.CaptureFixture[str]) -> None:
    """One topic deleted by hand, and no alarm of either deployment is judged any more."""
    play.cloud.stand_ins.sns.delete_topic(TopicArn=play.cloud.topic)
    play.log(FAIL, FAIL)
    play.minutes(6)
    assert "alarm engine: ALARM" in capsys.readouterr().err
    assert play.states()[FAILURES] == "ALARM"
    assert ("Action", f"Failed to execute action {play.cloud.topic}") in play.history()


def test_late_lines_count(play: Play) -> None:
    """A machine that delivers two seconds late must not hide its failures."""
    play.minutes(2)
    play.now += SETTLE_SECONDS - 1
    play.log(FAIL, FAIL)
    play.minutes(3)
    assert play.states()[FAILURES] == "ALARM"


def test_clock_scales_both_ways() -> None:
    """A page's time is a real one."""
    clock = Clock(START, SCALE)
    assert clock.alarm_time(START + 3) == START + 60
    assert clock.real_time(START + 60) == START + 3


def test_settings_and_heartbeat_survive_their_files(tmp_path: Path) -> None:
    """They hold a secret, and the rehearsal trusts them."""
    aws = aws_stand_in.AwsStandIn("https://127.0.0.1:1", "key", "secret", 1)
    settings = Settings(
        aws, monitoring_stand_in.MonitoringStandIn("http://127.0.0.1:2", 2, "history"), "kept", "beat", 20.0
    )
    settings.write(tmp_path / "settings.json")
    assert (tmp_path / "settings.json").stat().st_mode & 0o077 == 0
    assert Settings.read(tmp_path / "settings.json") == settings
    assert Heartbeat.read(tmp_path / "none") is None
    Heartbeat(1.0, {"a": "OK"}, None).write(tmp_path / "beat")
    assert Heartbeat.read(tmp_path / "beat") == Heartbeat(1.0, {"a": "OK"}, None)


def test_message_of_a_metric_alarm_has_its_trigger() -> None:
    """Whoever is paged by a metric alarm reads what was measured."""
    transition = Transition(START, "x" * 200, "metric", "OK", "ALARM", "why")
    told = alarm_message.message(transition, ALARMS[0] | {"Dimensions": [], "AlarmActions": ["arn"]}, START)
    assert len(told.subject) == 100
    body = json.loads(told.body)
    assert body["Trigger"]["Threshold"] == 1.0
    assert "Dimensions" not in body["Trigger"]
    assert body["StateChangeTime"] == "2027-01-15T08:00:00.000+0000"
    assert (body["AlarmActions"], body["OKActions"]) == (["arn"], [])
