"""`cutover alarms live`: a step starts only while every alarm is there and OK."""

from __future__ import annotations

import datetime
import json
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from cutover import cli, names, object_store, plan
from cutover.alarms import live
from cutover.exit_codes import CommandError
from rehearsal import monitoring_stand_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mypy_boto3_cloudwatch import CloudWatchClient

TABLE = plan.load()
MAY_LACK_DATA = {
    "save-success-rate",
    "upload-failure-rate",
    "read-fallback-rate",
    "rollback-uploads",
    "rollback-reads",
}


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudWatchClient]:
    with monitoring_stand_in.running(tmp_path_factory.mktemp("monitoring")) as running:
        yield running.cloudwatch()


@pytest.fixture
def cloudwatch(stand_in: CloudWatchClient, monkeypatch: pytest.MonkeyPatch) -> CloudWatchClient:
    """CloudWatch, where this process finds it, with every alarm of production in state OK."""
    for name in ("AWS_REGION", "AWS_PROFILE", "AWS_S3_REGION_NAME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"DEFAULT_REGION": "us-east-1", "ACCESS_KEY_ID": "any", "SECRET_ACCESS_KEY": "any"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", stand_in.meta.endpoint_url)
    held = stand_in.describe_alarms()
    stand_in.delete_alarms(
        AlarmNames=[alarm["AlarmName"] for alarm in (*held["MetricAlarms"], *held["CompositeAlarms"])]
    )
    for name in TABLE.alarms:
        put(stand_in, names.alarm("production", name))
    return stand_in


def put(cloudwatch: CloudWatchClient, name: str, state: Any = "OK") -> None:
    cloudwatch.put_metric_alarm(
        AlarmName=name,
        ComparisonOperator="GreaterThanThreshold",
        EvaluationPeriods=1,
        Threshold=1,
        MetricName="m",
        Namespace="n",
        Period=60,
        Statistic="Sum",
    )
    set_state(cloudwatch, name, state)


def set_state(cloudwatch: CloudWatchClient, name: str, state: Any) -> None:
    cloudwatch.set_alarm_state(AlarmName=name, StateValue=state, StateReason="a test's")


@pytest.fixture
def ask(cloudwatch: CloudWatchClient, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Runs the command; gives its exit code and its document, the alarms by name."""
    del cloudwatch

    def run(*arguments: str) -> tuple[int, dict[str, Any]]:
        code = cli.main(["alarms", "live", "--deployment", "production", "--json", *arguments])
        document = json.loads(capsys.readouterr().out)
        assert set(document) == {"verdict", "alarms"}
        return code, document | {"alarms": {alarm["name"]: alarm for alarm in document["alarms"]}}

    return run


def refused(document: dict[str, Any]) -> list[str]:
    return [name for name, alarm in document["alarms"].items() if not alarm["ok"]]


def test_all_ok_passes(ask: Callable[..., tuple[int, dict[str, Any]]]) -> None:
    code, document = ask()
    assert (code, document["verdict"]) == (0, "PASS")
    assert list(document["alarms"]) == [names.alarm("production", name) for name in TABLE.alarms]
    for alarm in document["alarms"].values():
        assert set(alarm) == {"name", "state", "since", "ok", "next"}
        assert (alarm["state"], alarm["ok"], alarm["next"]) == ("OK", True, "")
        age = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(alarm["since"])
        assert abs(age) < datetime.timedelta(minutes=2)


@pytest.mark.parametrize("name", TABLE.alarms)
def test_each_firing_alarm_refuses_and_says_what_to_run(
    name: str, cloudwatch: CloudWatchClient, ask: Callable[..., tuple[int, dict[str, Any]]]
) -> None:
    """A step flips workers while an alarm tells that S3 fails."""
    full = names.alarm("production", name)
    set_state(cloudwatch, full, "ALARM")
    code, document = ask()
    assert (code, document["verdict"], refused(document)) == (1, "FAIL", [full])
    assert document["alarms"][full]["state"] == "ALARM"
    assert document["alarms"][full]["since"]
    assert document["alarms"][full]["next"] == TABLE.next_command(name, "production")


@pytest.mark.parametrize("name", TABLE.alarms)
def test_missing_data_are_not_ok_unless_the_table_says_so(
    name: str, cloudwatch: CloudWatchClient, ask: Callable[..., tuple[int, dict[str, Any]]]
) -> None:
    """An alarm that sees nothing is silent, and silence is taken for health."""
    full = names.alarm("production", name)
    set_state(cloudwatch, full, "INSUFFICIENT_DATA")
    code, document = ask()
    if name in MAY_LACK_DATA:
        assert (code, document["verdict"], refused(document)) == (0, "PASS", [])
        return
    assert (code, document["verdict"], refused(document)) == (1, "FAIL", [full])
    next_command = document["alarms"][full]["next"]
    assert next_command in {"ansible-playbook prepare-hosts.yml", "systemctl start cutover-check.service"}
    assert ("check" in next_command) == ("consistency" in name)


def test_an_absent_alarm_refuses(cloudwatch: CloudWatchClient, ask: Callable[..., tuple[int, dict[str, Any]]]) -> None:
    """Somebody deleted it, or the stack was never brought up: nothing will ever fire."""
    full = names.alarm("production", "rollback-reads")  # which may lack data, but not be absent
    cloudwatch.delete_alarms(AlarmNames=[full])
    code, document = ask()
    assert (code, document["verdict"], refused(document)) == (1, "FAIL", [full])
    assert document["alarms"][full] == {
        "name": full,
        "state": "ABSENT",
        "since": None,
        "ok": False,
        "next": "pulumi up --stack production",
    }


def test_another_deployments_alarms_do_not_count(
    cloudwatch: CloudWatchClient, ask: Callable[..., tuple[int, dict[str, Any]]]
) -> None:
    """Staging's trouble stops production, or its health hides production's."""
    put(cloudwatch, names.alarm("staging", "upload-failures"), "ALARM")
    assert ask()[0] == 0
    assert cli.main(["alarms", "live", "--deployment", "staging", "--json"]) == 1


def test_a_firing_incident_refuses_with_the_command_of_its_alarm() -> None:
    """The page is out, and the step starts. Judged without the stand-in, which takes no composite alarms."""
    full = names.incident("production", "s3")

    def judged(**states: str) -> live.LiveAlarm:
        found = {names.alarm("production", name.replace("_", "-")): (state, None) for name, state in states.items()}
        return live.judge(TABLE, "production", {full: found.pop("deltacrown-production-s3"), **found})[-1]

    alone = judged(s3="ALARM")
    assert (alone.name, alone.state, alone.ok) == (full, "ALARM", False)
    assert alone.next == TABLE.next_command("upload-failure-rate", "production")
    assert judged(s3="ALARM", rollback_reads="ALARM").next == TABLE.next_command("rollback-reads", "production")
    assert judged(s3="OK").ok


def test_more_alarms_than_a_page_are_all_read() -> None:
    """DescribeAlarms answers fifty at once: the fifty-first would be absent."""
    full = [names.alarm("production", name) for name in TABLE.alarms]

    class Paginator:
        def paginate(self, **_: object) -> Iterator[dict[str, Any]]:
            for name in full:
                yield {"MetricAlarms": [{"AlarmName": name, "StateValue": "OK"}], "CompositeAlarms": []}

    class Client:
        def get_paginator(self, _: str) -> Paginator:
            return Paginator()

    assert list(live.states(Client(), "production")) == full  # type: ignore[arg-type]


def test_the_environment_file_is_where_cloudwatch_is_looked_for(
    cloudwatch: CloudWatchClient,
    ask: Callable[..., tuple[int, dict[str, Any]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A control machine has no AWS settings, and neither bucket nor MEDIA_ROOT of its own."""
    for name in ("AWS_ENDPOINT_URL_CLOUDWATCH", "AWS_S3_REGION_NAME"):
        monkeypatch.setenv(name, "")  # so that it is taken back, whatever the file sets
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    file = tmp_path / "production.env"
    file.write_text(f"AWS_ENDPOINT_URL_CLOUDWATCH={cloudwatch.meta.endpoint_url}\nAWS_S3_REGION_NAME=us-east-1\n")
    assert ask("--env-file", str(file))[0] == 0


def test_lines_say_state_time_and_command(cloudwatch: CloudWatchClient, capsys: pytest.CaptureFixture[str]) -> None:
    set_state(cloudwatch, names.alarm("production", "upload-failures"), "ALARM")
    assert cli.main(["alarms", "live", "--deployment", "production"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "FAIL"
    index = next(index for index, line in enumerate(lines) if line.startswith("NOT OK"))
    assert lines[index].startswith("NOT OK  deltacrown-production-upload-failures: ALARM since 20")
    assert lines[index + 1].strip() == f"next: {TABLE.next_command('upload-failures', 'production')}"


@pytest.mark.usefixtures("cloudwatch")
def test_an_unreachable_cloudwatch_is_an_error_and_no_pass(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No answer would be no alarm."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", "http://127.0.0.1:1")
    assert cli.main(["alarms", "live", "--deployment", "production", "--json"]) == 4
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "production: the alarms could not be asked for" in said.err


@pytest.mark.usefixtures("cloudwatch")
def test_denied_says_which_right_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A worker's credentials may not read alarms, and must not."""

    def denied(*_: object) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "DescribeAlarms")

    monkeypatch.setattr(live, "states", denied)
    assert cli.main(["alarms", "live", "--deployment", "production"]) == 4
    assert "cloudwatch:DescribeAlarms" in capsys.readouterr().err


@pytest.mark.usefixtures("cloudwatch")
def test_without_credentials_a_role_cannot_be_assumed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    arn = "arn:aws:iam::000000000000:role/reader"
    assert cli.main(["alarms", "live", "--deployment", "production", "--role-arn", arn]) == 4
    assert f"{arn} cannot be assumed" in capsys.readouterr().err


@pytest.mark.usefixtures("cloudwatch")
def test_no_region_is_a_usage_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    assert cli.main(["alarms", "live", "--deployment", "production"]) == 2
    assert "no region is set" in capsys.readouterr().err


def test_the_table_lets_only_ratios_with_a_companion_lack_data() -> None:
    """Whoever lets an alarm lack data must have one that counts meanwhile."""
    assert {name for name, alarm in TABLE.alarms.items() if alarm.may_lack_data} == MAY_LACK_DATA


def test_an_error_of_this_command_ends_with_its_code() -> None:
    assert issubclass(live.LiveAlarmsError, CommandError)
    assert live.LiveAlarmsError.exit_code == 4


def test_a_step_before_the_first_migration_does_not_wait_for_consistency(
    cloudwatch: CloudWatchClient, ask: Callable[..., tuple[int, dict[str, Any]]]
) -> None:
    """An alarm of one-hour periods leaves ALARM an hour after the first check: step 1 migrates nothing."""
    late = names.alarm("production", "no-consistency-check")
    set_state(cloudwatch, late, "ALARM")
    assert late not in ask("--step", "2")[1]["alarms"]
    code, document = ask("--step", "3")
    assert (code, refused(document)) == (1, [late])


def test_an_incident_that_only_left_out_alarms_explain_is_left_out() -> None:
    """The composite of the warnings would otherwise refuse what its one firing alarm may not."""
    found: live.States = {names.alarm("production", name): ("OK", None) for name in TABLE.alarms}
    degraded = names.incident("production", "degraded")
    found |= {degraded: ("ALARM", None), names.alarm("production", "no-consistency-check"): ("ALARM", None)}
    assert all(alarm.ok for alarm in live.judge(TABLE, "production", found, 2))
    assert not all(alarm.ok for alarm in live.judge(TABLE, "production", found, 3))
    found[names.alarm("production", "upload-p95")] = ("ALARM", None)
    assert degraded in {alarm.name for alarm in live.judge(TABLE, "production", found, 2) if not alarm.ok}


@pytest.mark.usefixtures("cloudwatch")
def test_an_sts_that_does_not_answer_keeps_nobody_for_minutes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By botocore's defaults it is three minutes, in which the watcher of the automatic rollback sees nothing."""
    monkeypatch.setattr(object_store, "STS", object_store.STS.merge(Config(read_timeout=0.2)))
    with socket.create_server(("127.0.0.1", 0)) as mute:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{mute.getsockname()[1]}")
        began = time.monotonic()
        arn = "arn:aws:iam::000000000000:role/reader"
        assert cli.main(["alarms", "live", "--deployment", "production", "--role-arn", arn]) == 4
    assert time.monotonic() - began < 20
    assert "cannot be assumed (sts:AssumeRole): Read timeout" in capsys.readouterr().err
