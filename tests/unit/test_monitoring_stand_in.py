"""The store of metric alarms: its start and stop, and that it keeps what the AWS stand-in loses."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from rehearsal import aws_stand_in, monitoring_stand_in
from rehearsal.monitoring_stand_in import MonitoringStandInError

if TYPE_CHECKING:
    from pathlib import Path

ALARM: dict[str, Any] = {
    "AlarmName": "slow",
    "ComparisonOperator": "GreaterThanThreshold",
    "EvaluationPeriods": 3,
    "DatapointsToAlarm": 2,
    "Threshold": 0.5,
    "TreatMissingData": "ignore",
    "EvaluateLowSampleCountPercentile": "evaluate",
    "Metrics": [
        {"Id": "rate", "Expression": "FILL(m, 0) / 60", "Label": "rate", "ReturnData": True},
        {
            "Id": "m",
            "MetricStat": {
                "Metric": {"Namespace": "n", "MetricName": "m", "Dimensions": [{"Name": "machine", "Value": "web1"}]},
                "Period": 60,
                "Stat": "p95",
                "Unit": "Milliseconds",
            },
            "ReturnData": False,
        },
    ],
}


def test_it_keeps_an_alarm_exactly_until_it_stops(tmp_path: Path) -> None:
    """The lab's alarm engine evaluates another alarm than the one that was deployed."""
    with monitoring_stand_in.running(tmp_path) as stand_in:
        assert monitoring_stand_in.load(tmp_path) == stand_in
        record = tmp_path / f"{monitoring_stand_in.STEM}.json"
        assert stat.S_IMODE(record.stat().st_mode) == 0o600
        stand_in.cloudwatch().put_metric_alarm(**ALARM)
        (held,) = stand_in.cloudwatch().describe_alarms()["MetricAlarms"]
        assert {name: held.get(name) for name in ALARM} == ALARM
        assert held["AlarmArn"] == "arn:aws:cloudwatch:us-east-1:000000000000:alarm:slow"
        with pytest.raises(MonitoringStandInError, match="already runs"):
            monitoring_stand_in.start(tmp_path)
    with pytest.raises(MonitoringStandInError, match="No monitoring stand-in runs"):
        monitoring_stand_in.load(tmp_path)
    with monitoring_stand_in.running(tmp_path) as again:
        assert again.cloudwatch().describe_alarms()["MetricAlarms"] == []


def test_it_answers_the_history_that_was_noted(tmp_path: Path) -> None:
    """A record would say that nobody was paged, because the stand-in forgets, or mixes up alarms and times."""
    with monitoring_stand_in.running(tmp_path) as stand_in:
        for minute, name, kind in ((1, "a", "CompositeAlarm"), (3, "a", "CompositeAlarm"), (2, "b", "MetricAlarm")):
            item = {"AlarmName": name, "AlarmType": kind, "HistoryItemType": "StateUpdate", "HistorySummary": "s"}
            stand_in.note(item | {"Timestamp": f"2026-12-01T00:0{minute}:00+00:00", "HistoryData": "{}"})

        def minutes(**asked: Any) -> list[int]:
            answer = stand_in.cloudwatch().describe_alarm_history(**asked)
            return [item["Timestamp"].minute for item in answer["AlarmHistoryItems"]]

        both: list[Any] = ["CompositeAlarm", "MetricAlarm"]
        assert minutes() == [2]
        assert minutes(AlarmTypes=both) == [3, 2, 1]
        assert minutes(AlarmName="a", AlarmTypes=both, ScanBy="TimestampAscending") == [1, 3]
        end = datetime(2026, 12, 1, 0, 2, tzinfo=UTC)
        assert minutes(AlarmTypes=both, EndDate=end) == [2, 1]
        assert minutes(AlarmTypes=both, StartDate=end) == [3, 2]
        assert minutes(AlarmTypes=both, HistoryItemType="Action") == []


def test_both_stand_ins_share_a_directory_and_not_each_others_process(tmp_path: Path) -> None:
    """Stopping one ends the other, because they were started from one place."""
    with aws_stand_in.running(tmp_path) as aws, monitoring_stand_in.running(tmp_path) as stand_in:
        aws_stand_in.stop(tmp_path)
        assert monitoring_stand_in.load(tmp_path).pid == stand_in.pid != aws.pid


def test_a_start_that_fails_says_why(tmp_path: Path) -> None:
    """The rehearsal waits half a minute and then says nothing."""
    with pytest.raises(MonitoringStandInError, match="exit status 7"):
        monitoring_stand_in.start(tmp_path, command_prefix=("sh", "-c", "exit 7"))


@pytest.mark.parametrize("text", ["{", "[]", '{"endpoint_url": "x"}'])
def test_a_damaged_record_is_named(tmp_path: Path, text: str) -> None:
    """A record cut short by a full disk shows a KeyError, and nobody finds the file."""
    (tmp_path / f"{monitoring_stand_in.STEM}.json").write_text(text)
    with pytest.raises(MonitoringStandInError, match="is no record of the monitoring stand-in"):
        monitoring_stand_in.stop(tmp_path)


def test_the_operators_own_aws_settings_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rehearsal's alarms are put into someone's real account."""
    monkeypatch.setenv("AWS_PROFILE", "nonsense")
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", "http://127.0.0.1:1/nonsense")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    stand_in = monitoring_stand_in.MonitoringStandIn("http://127.0.0.1:4567", os.getpid(), "history")
    assert stand_in.cloudwatch().meta.endpoint_url == "http://127.0.0.1:4567"
