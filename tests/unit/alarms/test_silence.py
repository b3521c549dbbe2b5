"""The maintenance silence: it must begin, end by itself, be lifted and come again."""

from __future__ import annotations

import argparse
import datetime
import json
from typing import TYPE_CHECKING, Any, cast

import pytest

from cutover import delivery, names, plan
from cutover.alarms import commands, silence
from cutover.alarms.errors import AlarmError
from cutover.alarms.monitor import Monitor
from cutover.alarms.resources import Resources
from cutover.alarms.silence import Silencer
from rehearsal import aws_stand_in, monitoring_stand_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mypy_boto3_cloudwatch import CloudWatchClient

    from rehearsal.aws_stand_in import AwsStandIn

NOON = datetime.datetime(2026, 11, 24, 12, 0, 30, tzinfo=datetime.UTC)
TABLE = plan.load()


@pytest.fixture(scope="module")
def cloudwatch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudWatchClient]:
    with monitoring_stand_in.running(tmp_path_factory.mktemp("monitoring")) as running:
        yield running.cloudwatch()


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AwsStandIn]:
    """An account with a user who may do nothing."""
    with aws_stand_in.running(tmp_path_factory.mktemp("aws")) as running:
        running.iam().create_user(UserName="powerless")
        yield running


class Clock:
    """A time that tests move."""

    def __init__(self, now: datetime.datetime) -> None:
        self.now = now

    def __call__(self) -> datetime.datetime:
        return self.now

    def forward(self, seconds: int) -> None:
        self.now += datetime.timedelta(seconds=seconds)


@pytest.fixture
def clock(request: pytest.FixtureRequest) -> Clock:
    """A day of its own for each test, because the stand-in keeps all values."""
    tests = sorted(item.name for item in request.session.items)
    return Clock(NOON + datetime.timedelta(days=tests.index(request.node.name)))


@pytest.fixture
def silencer(cloudwatch: CloudWatchClient, clock: Clock) -> Silencer:
    return Silencer(cloudwatch, TABLE, "production", clock)


def test_it_lasts_as_planned_and_ends_by_itself(silencer: Silencer, clock: Clock) -> None:
    """A silence that stays on after a drill swallows the next real page."""
    assert silencer.status().until is None
    silencer.silence(30)
    planned = silencer.planned(30, "drill").until
    assert planned is not None
    assert planned.endswith("12:31 UTC")
    assert silencer.status().until == planned
    clock.forward(31 * 60)
    assert silencer.status().until is None


def test_each_minute_has_a_value_from_the_last_full_one_on(
    cloudwatch: CloudWatchClient, silencer: Silencer, clock: Clock
) -> None:
    """One minute without a value in the middle of a drill pages."""
    silencer.silence(3)
    answer = cloudwatch.get_metric_statistics(
        Namespace=names.namespace(TABLE.telemetry, "production"),
        MetricName=TABLE.silence.metric,
        StartTime=clock.now - datetime.timedelta(minutes=10),
        EndTime=clock.now + datetime.timedelta(hours=3),
        Period=60,
        Statistics=["Minimum"],
    )
    points = sorted((point["Timestamp"] - clock.now).total_seconds() for point in answer["Datapoints"])
    assert points == [-90, -30, 30, 90, 150]
    assert all(point["Minimum"] >= 1 for point in answer["Datapoints"])


def test_lifted_and_silenced_again(silencer: Silencer, clock: Clock) -> None:
    """Values cannot be deleted: a lift that is undone by nothing, or a second drill that pages, would be the price."""
    silencer.silence(60)
    clock.forward(120)
    silencer.lift()
    assert silencer.status().until is None
    clock.forward(120)
    silencer.silence(10)
    assert (silencer.status().until or "").endswith("12:15 UTC")


def test_a_short_one_does_not_end_a_long_one(silencer: Silencer, clock: Clock) -> None:
    """A second operator's five minutes must not unsilence the first one's drill."""
    silencer.silence(60)
    clock.forward(60)
    silencer.silence(5)
    assert (silencer.status().until or "").endswith("13:01 UTC")


def test_other_deployment_is_not_silent(cloudwatch: CloudWatchClient, silencer: Silencer, clock: Clock) -> None:
    """A drill in staging must not silence production."""
    silencer.silence(10)
    assert Silencer(cloudwatch, TABLE, "staging", clock).status().until is None


def test_longest_silence_stays_within_what_cloudwatch_takes(silencer: Silencer) -> None:
    """CloudWatch refuses values more than two hours ahead."""
    silencer.silence(TABLE.silence.maximum_seconds // 60)
    assert (silencer.status().until or "").endswith("14:01 UTC")


@pytest.mark.parametrize(
    ("minutes", "reason", "sentence"),
    [
        (0, "drill", "--minutes 0: a silence lasts from 1 to 120 minutes"),
        (121, "drill", "--minutes 121"),
        (30, None, "--reason is missing"),
        (30, "  ", "--reason is missing"),
    ],
)
def test_refused(minutes: int, reason: str | None, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A silence without an end or a reason is found by the next incident; it is refused before AWS is looked for."""
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    with pytest.raises(AlarmError, match=sentence):
        silence.run(options(minutes=minutes, reason=reason))


def test_a_missing_region_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ten minutes before a drill, "You must specify a region" does not say where."""
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(AlarmError, match="no region is set: give --region, or set AWS_REGION"):
        silence.run(options(status=True))


@pytest.mark.parametrize(
    "command", ["alarms silence --deployment staging --status", "delivered --log-group a --mark b"]
)
def test_the_region_is_what_the_other_tools_take(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS's own command line reads AWS_REGION: with another region the silence would reach no alarm."""
    parser = argparse.ArgumentParser()
    monkeypatch.setenv("AWS_REGION", "ap-south-1")
    subcommands = parser.add_subparsers()
    for module in (commands, delivery):
        module.register(subcommands)
    assert parser.parse_args(command.split()).region == "ap-south-1"
    assert parser.parse_args([*command.split(), "--region", "eu-west-1"]).region == "eu-west-1"


def options(**given: object) -> argparse.Namespace:
    defaults = {"deployment": "staging", "minutes": None, "reason": None, "lift": False, "status": False, "json": True}
    return argparse.Namespace(**({"region": None} | defaults | given))


def test_command_says_what_will_be_silent_until_when_and_why(
    cloudwatch: CloudWatchClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever silences must see which pages they hold back."""
    for name, value in {"DEFAULT_REGION": "us-east-1", "ACCESS_KEY_ID": "any", "SECRET_ACCESS_KEY": "any"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", cloudwatch.meta.endpoint_url)
    assert silence.run(options(minutes=30, reason="rollback drill")) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["incidents"] == [names.incident("staging", name) for name in TABLE.incidents]
    assert document["reason"] == "rollback drill"
    assert silence.run(options(status=True)) == 0
    assert json.loads(capsys.readouterr().out)["until"] == document["until"]
    assert silence.run(options(lift=True)) == 0
    capsys.readouterr()
    assert silence.run(options(status=True, json=False)) == 0
    assert capsys.readouterr().out == "staging: nothing is silent\n"


@pytest.mark.parametrize(
    ("given", "action"),
    [
        ({"minutes": 5, "reason": "drill"}, "cloudwatch:PutMetricData"),
        ({"lift": True}, "cloudwatch:PutMetricData"),
        ({"status": True}, "cloudwatch:GetMetricStatistics"),
    ],
)
def test_denied(
    aws: AwsStandIn,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    given: dict[str, object],
    action: str,
) -> None:
    """An operator without the right believes that the drill is silent."""
    key = aws.iam().create_access_key(UserName="powerless")["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(aws.ca_file))
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", aws.endpoint_url)
    assert silence.run(options(**given)) == 4
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert action in said


class ToMonitor:
    """The part of a CloudWatch client that writes, straight into the evaluator."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor

    def put_metric_data(self, *, Namespace: str, MetricData: list[dict[str, Any]]) -> None:  # noqa: N803 (boto3's names)
        for datum in MetricData:
            self._monitor.put(Namespace, datum["MetricName"], datum["Value"], datum["Timestamp"].timestamp())


def test_the_alarm_follows_a_silence_its_lift_and_the_next_one() -> None:
    """An alarm on the maximum alone never sees a lift; one on the minimum alone never sees the silence after it."""

    def statistic(identifier: str, name: str) -> dict[str, Any]:
        metric = {"Namespace": names.namespace(TABLE.telemetry, "staging"), "MetricName": TABLE.silence.metric}
        stat = {"Metric": metric, "Period": 60, "Stat": name}
        return {"Id": identifier, "MetricStat": stat, "ReturnData": False}

    alarm = {
        "AlarmName": names.silence("staging"),
        "Metrics": [
            statistic("silenced", "Maximum"),
            statistic("lifted", "Minimum"),
            {"Id": "latest", "Expression": "silenced + lifted", "ReturnData": True},
        ],
        "ComparisonOperator": "GreaterThanThreshold",
        "Threshold": 0,
        "EvaluationPeriods": 1,
        "TreatMissingData": "notBreaching",
    }
    clock = Clock(NOON)
    monitor = Monitor(Resources([alarm]), NOON.timestamp() - 120)
    silencer = Silencer(cast("CloudWatchClient", ToMonitor(monitor)), TABLE, "staging", clock)

    def state() -> str:
        monitor.advance(clock.now.timestamp())
        return monitor.states[names.silence("staging")]

    assert state() == "OK"
    silencer.silence(60)
    clock.forward(60)
    assert state() == "ALARM"
    silencer.lift()
    clock.forward(60)
    assert state() == "OK"
    silencer.silence(5)
    clock.forward(60)
    assert state() == "ALARM"
    clock.forward(6 * 60)
    assert state() == "OK"
