"""The pager against a real SNS: it is subscribed as PagerDuty is, and pages once for each incident."""

from __future__ import annotations

import http.client
import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from rehearsal import aws_stand_in, pager, service_process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rehearsal.aws_stand_in import AwsStandIn

KEY = "R0UT1NGKEY"
ALARM = "deltacrown-staging-incident-s3"


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AwsStandIn]:
    with aws_stand_in.running(tmp_path_factory.mktemp("aws")) as running:
        yield running


@pytest.fixture
def settings(stand_in: AwsStandIn, tmp_path: Path) -> pager.Settings:
    port = service_process.free_port("127.0.0.1")
    record = str(tmp_path / "incidents.jsonl")
    return pager.Settings("127.0.0.1", port, KEY, record, stand_in.endpoint_url, stand_in.ca_file)


@pytest.fixture
def service(settings: pager.Settings, tmp_path: Path) -> Iterator[pager.Pager]:
    """A pager that read its settings from their file."""
    file = tmp_path / "pager.json"
    settings.write(file)
    assert file.stat().st_mode & 0o077 == 0
    with pager.Pager(pager.Settings.read(file)) as running:
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        yield running
        running.shutdown()


def ask(settings: pager.Settings, method: str, path: str, body: object = None, kind: str = "Notification") -> Any:
    """Status and content of one request."""
    connection = http.client.HTTPConnection(settings.host, settings.port, timeout=10)
    connection.request(method, path, json.dumps(body), {pager.TYPE_HEADER: kind})
    response = connection.getresponse()
    content = json.loads(response.read())
    connection.close()
    return response.status, content


def notify(settings: pager.Settings, state: str, alarm: str = ALARM) -> int:
    """The status of CloudWatch's message on an alarm, delivered as SNS does it."""
    told = json.dumps({"AlarmName": alarm, "NewStateValue": state, "NewStateReason": "for a test"})
    status: int = ask(settings, "POST", settings.integration_path, {"Type": "Notification", "Message": told})[0]
    return status


def wait_for(settings: pager.Settings, count: int) -> list[dict[str, Any]]:
    """The incidents, once there are so many."""
    deadline = time.monotonic() + 10
    while len(found := ask(settings, "GET", "/incidents")[1]) < count:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    incidents: list[dict[str, Any]] = found
    return incidents


@pytest.mark.usefixtures("service")
def test_real_sns_confirms_and_pages(stand_in: AwsStandIn, settings: pager.Settings) -> None:
    """A subscription that nobody confirms stays pending for ever, and no page is ever sent."""
    sns = stand_in.sns()
    topic = sns.create_topic(Name="critical")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=settings.integration_url)
    deadline = time.monotonic() + 10
    while sns.get_topic_attributes(TopicArn=topic)["Attributes"]["SubscriptionsConfirmed"] != "1":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    told = {"AlarmName": ALARM, "NewStateValue": "ALARM", "AlarmDescription": "Next: do this"}
    sns.publish(TopicArn=topic, Message=json.dumps(told))
    (incident,) = wait_for(settings, 1)
    assert incident["description"] == "Next: do this"
    assert incident["alarm"] == ALARM
    assert incident["resolved"] is None


@pytest.mark.usefixtures("service")
def test_incident_opens_once_resolves_and_opens_anew(settings: pager.Settings, tmp_path: Path) -> None:
    """Each repeated page of the same incident wakes somebody; one that never resolves hides the next."""
    for state in ("OK", "INSUFFICIENT_DATA", "ALARM", "ALARM", "INSUFFICIENT_DATA", "OK", "OK", "ALARM"):
        assert notify(settings, state) == 202
    notify(settings, "ALARM", "another")
    first, second, other = wait_for(settings, 3)
    assert first["opened"] <= first["resolved"]
    assert first["repeated"] == 1
    assert (second["alarm"], second["resolved"], second["repeated"]) == (ALARM, None, 0)
    assert other["alarm"] == "another"
    record = tmp_path / "incidents.jsonl"
    changes = [json.loads(line)["change"] for line in record.read_text().splitlines()]
    assert changes == ["opened", "repeated", "resolved", "opened", "opened"]
    assert record.stat().st_mode & 0o077 == 0


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize("path", ["/integration/wrong/enqueue", "/integration//enqueue", "/incidents", "/"])
def test_wrong_key_is_not_found_and_stores_nothing(settings: pager.Settings, path: str) -> None:
    """Whoever reaches the port could page the on-call, or resolve what is burning."""
    told = json.dumps({"AlarmName": ALARM, "NewStateValue": "ALARM"})
    assert ask(settings, "POST", path, {"Type": "Notification", "Message": told})[0] == 404
    assert ask(settings, "GET", "/incidents") == (200, [])
    assert ask(settings, "GET", settings.integration_path)[0] == 404


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize(
    ("kind", "body", "sentence"),
    [
        ("Notification", {"Message": "no JSON"}, "malformed"),
        ("Notification", {}, "malformed"),
        ("Notification", [], "malformed"),
        ("Notification", {"Message": '{"AlarmName": "x"}'}, "no AlarmName and NewStateValue"),
        ("Notification", {"Message": "[]"}, "malformed"),
        ("UnsubscribeConfirmation", {}, "'UnsubscribeConfirmation'"),
        ("SubscriptionConfirmation", {"SubscribeURL": "http://elsewhere.invalid/"}, "leads to elsewhere.invalid"),
        ("SubscriptionConfirmation", {}, "malformed"),
    ],
)
def test_what_is_no_message_is_refused(
    settings: pager.Settings, kind: str, body: object, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A message that is lost in silence is a page that nobody misses until the morning."""
    status, content = ask(settings, "POST", settings.integration_path, body, kind)
    assert status == 400
    assert sentence in content["message"]
    said = capsys.readouterr().err
    assert sentence in said
    assert KEY not in said


@pytest.mark.usefixtures("service")
def test_confirmation_that_sns_refuses_is_an_error(settings: pager.Settings) -> None:
    """A subscription believed to be confirmed delivers nothing."""
    url = f"{settings.aws_endpoint}/?Action=ConfirmSubscription&TopicArn=arn:aws:sns:us-east-1:0:none&Token=x"
    status, content = ask(
        settings, "POST", settings.integration_path, {"SubscribeURL": url}, "SubscriptionConfirmation"
    )
    assert status == 400
    assert "SNS answered the confirmation with 4" in content["message"]


@pytest.mark.usefixtures("service")
def test_key_is_in_no_output(settings: pager.Settings, capfd: pytest.CaptureFixture[str]) -> None:
    """A log is read by more people than may page the on-call."""
    notify(settings, "ALARM")
    ask(settings, "GET", settings.integration_path)
    said = capfd.readouterr()
    assert KEY not in said.out + said.err
    assert KEY not in repr(settings)
