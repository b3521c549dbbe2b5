"""Alarms and everything around them by the real CLI: what is held, what drifts, what changes in place, what goes."""

from __future__ import annotations

import dataclasses
import json
import stat
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from rehearsal import declared as declarations
from rehearsal.declared import declared
from rehearsal.provider.cloudwatch import Dashboard
from rehearsal.provider.kept_types import BucketMetric, CompositeAlarm, Inventory
from rehearsal.provider.properties import ProviderError, completed
from rehearsal.provider.resource import ACCOUNT, Clients, Monitoring
from rehearsal.provider.sns import TopicSubscription
from rehearsal.pulumi_stack import PulumiError, PulumiStack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_budgets.type_defs import BudgetTypeDef
    from mypy_boto3_sns.client import SNSClient

    from rehearsal.provider.resource import ResourceType
    from tests.infra.conftest import Account

pytestmark = [  # both are pulumi's own: old names that it still imports, and how its mocks test values
    pytest.mark.filterwarnings("ignore:.*has been deprecated in favor:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:NotImplemented should not be used:DeprecationWarning"),
]
PROGRAM = Path(__file__).parent / "programs" / "one_alarm"
KEY = "told-to-nobody"
GROUP = "/one/alarm-a"
RATIO = "alarm-a-ratio"
STATE_OF_AN_ALARM = {
    "AlarmArn",
    "AlarmConfigurationUpdatedTimestamp",
    "StateReason",
    "StateReasonData",
    "StateUpdatedTimestamp",
    "StateValue",
}


@contextmanager
def pager(sns: SNSClient) -> Iterator[str]:
    """An endpoint that confirms its subscription; yields its address, which holds a key."""

    class Confirm(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if message["Type"] == "SubscriptionConfirmation":
                sns.confirm_subscription(TopicArn=message["TopicArn"], Token=message["Token"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the server's own name)
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Confirm) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/integration/{KEY}/enqueue"
        finally:
            server.shutdown()


@pytest.fixture(scope="module")
def stack(account: Account, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PulumiStack]:
    """The program's resources, raised once; each test leaves them as they were."""
    with pager(account.aws.sns()) as endpoint:
        directory = tmp_path_factory.mktemp("monitoring")
        secrets = {"pagerEndpoint": endpoint}
        stack = PulumiStack("one", directory, account.provider_port, {"name": "alarm-a"}, PROGRAM, secrets)
        stack.up()
        yield stack


def clients(account: Account) -> Clients:
    aws = account.aws
    monitoring = Monitoring(account.monitoring.cloudwatch(), aws.logs(), aws.sns(), aws.budgets(), account.kept)
    return Clients(aws.s3(), aws.iam(), "us-east-1", monitoring)


def alarms(account: Account) -> dict[str, dict[str, Any]]:
    return {held["AlarmName"]: {**held} for held in account.monitoring.cloudwatch().describe_alarms()["MetricAlarms"]}


def deployed(account: Account) -> dict[str, list[dict[str, Any]]]:
    """Returns what the describe calls and the kept resources give, by kind."""
    logs, cloudwatch = account.aws.logs(), account.monitoring.cloudwatch()
    held_alarms = [
        {name: value for name, value in held.items() if name not in STATE_OF_AN_ALARM}
        | {"Tags": cloudwatch.list_tags_for_resource(ResourceARN=held["AlarmArn"])["Tags"]}
        for name, held in sorted(alarms(account).items())
        if name.startswith("alarm-a-")
    ]
    filters = [{**one} for one in logs.describe_metric_filters(logGroupName=GROUP)["metricFilters"]]
    for one in filters:
        one.pop("creationTime")
    dashboard = cloudwatch.get_dashboard(DashboardName="alarm-a")
    return {
        "MetricAlarm": held_alarms,
        "CompositeAlarm": [
            one for one in account.kept.list("CompositeAlarm") if one["AlarmName"] == "alarm-a-incident"
        ],
        "MetricFilter": filters,
        "QueryDefinition": [one for one in account.kept.list("QueryDefinition") if one["name"] == "one/alarm-a"],
        "Dashboard": [{"DashboardName": "alarm-a", "DashboardBody": dashboard["DashboardBody"]}],
    }


def without_empty_lists(value: Any) -> Any:
    """Takes out what describe calls add to an alarm without dimensions, or without metric math."""
    if isinstance(value, dict):
        kept = {key: part for key, part in value.items() if part or key not in {"Dimensions", "Metrics"}}
        return {key: without_empty_lists(part) for key, part in kept.items()}
    return [without_empty_lists(part) for part in value] if isinstance(value, list) else value


def test_what_is_declared_is_what_is_deployed(account: Account, stack: PulumiStack) -> None:
    """The replay of the alarms is green, and what `pulumi up` sends is something else."""
    replayed = declared("one", stack.settings, PROGRAM)
    expected = json.loads(json.dumps(replayed).replace(declarations.ACCOUNT, ACCOUNT))
    held = without_empty_lists(deployed(account))
    assert {kind: expected[kind] for kind in held} == held
    assert {kind: len(resources) for kind, resources in held.items()} == {
        "MetricAlarm": 2,
        "CompositeAlarm": 1,
        "MetricFilter": 3,
        "QueryDefinition": 1,
        "Dashboard": 1,
    }


def test_each_attribute_of_an_alarm_arrives(account: Account, stack: PulumiStack) -> None:  # noqa: ARG001 (is deployed)
    """Both sides of the comparison lose the same property, and it is called equal."""
    topic = f"arn:aws:sns:us-east-1:{ACCOUNT}:alarm-a"

    def summed(name: str) -> dict[str, Any]:
        metric = {"Namespace": "alarm-a", "MetricName": name, "Dimensions": []}
        return {"Id": name, "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Sum"}, "ReturnData": False}

    rate = {"Id": "rate", "Expression": "100 * fail / (success + fail)", "Label": "failures", "ReturnData": True}
    ratio, slow = (alarms(account)[name] for name in (RATIO, "alarm-a-slow"))
    assert ratio["Metrics"] == [rate, summed("success"), summed("fail")]
    assert (ratio["EvaluationPeriods"], ratio["DatapointsToAlarm"], ratio["Threshold"]) == (5, 4, 5.5)
    assert (ratio["ComparisonOperator"], ratio["TreatMissingData"]) == ("GreaterThanThreshold", "notBreaching")
    assert ratio["StateValue"] == "INSUFFICIENT_DATA"  # as a new alarm on AWS
    assert (slow["ExtendedStatistic"], slow["EvaluateLowSampleCountPercentile"]) == ("p95", "evaluate")
    assert (slow["Period"], slow["Unit"], slow["ActionsEnabled"]) == (300, "Milliseconds", False)
    assert slow["Dimensions"] == [{"Name": "machine", "Value": "web1"}]
    assert slow["AlarmActions"] == slow["OKActions"] == slow["InsufficientDataActions"] == [topic]
    (incident,) = (one for one in account.kept.list("CompositeAlarm") if one["AlarmName"] == "alarm-a-incident")
    assert incident["AlarmRule"] == 'ALARM("alarm-a-ratio") OR ALARM("alarm-a-slow")'
    assert (incident["ActionsSuppressor"], incident["AlarmActions"]) == ("alarm-a-slow", [topic])
    assert (incident["ActionsSuppressorWaitPeriod"], incident["ActionsSuppressorExtensionPeriod"]) == (60, 120)


def test_logs_topic_budget_and_bucket_hold_what_was_asked_for(account: Account, stack: PulumiStack) -> None:
    """The provider answered "created", and the setting never reached the log group, topic, budget or bucket."""
    topic, sns, budgets = stack.outputs()["topic"], account.aws.sns(), account.aws.budgets()
    (group,) = account.aws.logs().describe_log_groups(logGroupNamePrefix=GROUP)["logGroups"]
    assert group["retentionInDays"] == 30
    attributes = sns.get_topic_attributes(TopicArn=topic)["Attributes"]
    assert attributes["DisplayName"] == "One"
    (statement,) = json.loads(attributes["Policy"])["Statement"]
    assert (statement["Principal"], statement["Resource"]) == ({"Service": "cloudwatch.amazonaws.com"}, topic)
    held = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    endpoints = {one["Protocol"]: one["Endpoint"] for one in held}
    assert endpoints == {"email": "on-call@example.org", "http": stack.secrets["pagerEndpoint"]}
    assert attributes["SubscriptionsPending"] == "0"
    budget = budgets.describe_budget(AccountId=ACCOUNT, BudgetName="alarm-a")["Budget"]
    assert budget["BudgetLimit"] == {"Amount": "25", "Unit": "USD"}
    assert budget["CostFilters"] == {"TagKeyValue": ["user:project$one"]}
    (notice,) = budgets.describe_notifications_for_budget(AccountId=ACCOUNT, BudgetName="alarm-a")["Notifications"]
    assert (notice["NotificationType"], notice["Threshold"], notice["ThresholdType"]) == (
        "FORECASTED",
        80.0,
        "PERCENTAGE",
    )
    (rule,) = account.aws.s3().get_bucket_encryption(Bucket="alarm-a")["ServerSideEncryptionConfiguration"]["Rules"]
    key = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "arn:aws:kms:us-east-1:000000000000:key/one"}
    assert (rule["ApplyServerSideEncryptionByDefault"], rule["BucketKeyEnabled"]) == (key, True)
    assert account.kept.get("MetricsConfiguration", "alarm-a:everything") == {
        "Id": "everything",
        "Bucket": "alarm-a",
        "Filter": {"Prefix": "certificates/"},
    }
    inventory = account.kept.get("InventoryConfiguration", "alarm-a:weekly")
    assert inventory is not None
    assert (inventory["Schedule"], inventory["OptionalFields"]) == ({"Frequency": "Weekly"}, ["Size", "ETag"])


def test_nothing_is_pending_after_up(stack: PulumiStack) -> None:
    """Previews that always show changes hide the one that matters."""
    stack.preview(expect_no_changes=True)
    stack.refresh(expect_no_changes=True)


def test_a_secret_stays_one(stack: PulumiStack) -> None:
    """The pager's key lies open on the machine, and somebody can page the on-call at will."""
    stack.refresh()
    stack.preview()
    files = [path for path in stack.directory.rglob("*") if path.is_file()]
    assert any(b"alarm-a-ratio" in path.read_bytes() for path in files)
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []
    assert KEY not in repr(stack)
    assert "secure: v1:" in (stack.directory / "one" / "Pulumi.one.yaml").read_text()


def by_hand(account: Account) -> None:
    """Weakens what is deployed, as somebody in a hurry would."""
    logs, cloudwatch, sns = account.aws.logs(), account.monitoring.cloudwatch(), account.aws.sns()
    weak = {key: value for key, value in alarms(account)[RATIO].items() if key not in STATE_OF_AN_ALARM}
    cloudwatch.put_metric_alarm(**weak | {"Threshold": 50})
    cloudwatch.put_dashboard(DashboardName="alarm-a", DashboardBody='{"widgets": [1]}')
    logs.delete_metric_filter(logGroupName=GROUP, filterName="alarm-a-fail")
    logs.put_retention_policy(logGroupName=GROUP, retentionInDays=1)
    topic = sns.create_topic(Name="alarm-a")["TopicArn"]
    sns.set_topic_attributes(TopicArn=topic, AttributeName="DisplayName", AttributeValue="by hand")
    budget: BudgetTypeDef = {
        "BudgetName": "alarm-a",
        "BudgetType": "COST",
        "TimeUnit": "MONTHLY",
        "BudgetLimit": {"Amount": "2500", "Unit": "USD"},
    }
    account.aws.budgets().update_budget(AccountId=ACCOUNT, NewBudget=budget)


def test_drift_is_seen_and_repaired(account: Account, stack: PulumiStack) -> None:
    """A threshold is raised by hand to quiet the pager, and Pulumi reports that all is well."""
    before = deployed(account)
    by_hand(account)
    with pytest.raises(PulumiError, match="no changes were expected"):
        stack.refresh(expect_no_changes=True)
    pending = stack.preview()
    for resource in ("ratio", "dashboard", "fail", "group", "topic", "budget"):
        assert any(f" {resource} " in line and ("update" in line or "create" in line) for line in pending.splitlines())
    stack.up()
    assert deployed(account) == before
    (group,) = account.aws.logs().describe_log_groups(logGroupNamePrefix=GROUP)["logGroups"]
    assert group["retentionInDays"] == 30


def tags(account: Account, topic: str) -> list[dict[str, str]]:
    """The tags of alarm, topic, log group and budget, in one shape."""
    arn = f"arn:aws:cloudwatch:us-east-1:{ACCOUNT}:alarm:{RATIO}"
    budget = account.aws.budgets().list_tags_for_resource(ResourceARN=f"arn:aws:budgets::{ACCOUNT}:budget/alarm-a")
    lists: list[Any] = [
        account.monitoring.cloudwatch().list_tags_for_resource(ResourceARN=arn)["Tags"],
        account.aws.sns().list_tags_for_resource(ResourceArn=topic)["Tags"],
        budget["ResourceTags"],
    ]
    group = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:{GROUP}"
    held = account.aws.logs().list_tags_for_resource(resourceArn=group)["tags"]
    return [held, *({tag["Key"]: tag["Value"] for tag in each} for each in lists)]


def test_a_renamed_tag_is_an_update_in_place(account: Account, stack: PulumiStack) -> None:
    """A tag is renamed, and the log group is made anew without its lines, the alarm without its state."""
    topic = f"arn:aws:sns:us-east-1:{ACCOUNT}:alarm-a"
    assert tags(account, topic) == [{"project": "one"}] * 4
    account.monitoring.cloudwatch().set_alarm_state(AlarmName=RATIO, StateValue="ALARM", StateReason="a test's")
    renamed = dataclasses.replace(stack, settings={"name": "alarm-a", "tag": "team"})
    assert "replace" not in renamed.preview()
    renamed.up()
    assert tags(account, topic) == [{"team": "one"}] * 4
    assert alarms(account)[RATIO]["StateValue"] == "ALARM"
    renamed.preview(expect_no_changes=True)
    stack.up()


def test_everything_goes_again(account: Account, directory: Path) -> None:
    """Alarms of a stack that is gone go on paging."""
    stack = PulumiStack("one", directory, account.provider_port, {"name": "alarm-b"}, PROGRAM)
    stack.up()
    assert "alarm-b-ratio" in alarms(account)
    stack.destroy()
    assert not [name for name in alarms(account) if name.startswith("alarm-b")]
    for kind in ("CompositeAlarm", "QueryDefinition", "MetricsConfiguration", "InventoryConfiguration"):
        assert "alarm-b" not in json.dumps(account.kept.list(kind))
    assert account.aws.logs().describe_log_groups(logGroupNamePrefix="/one/alarm-b")["logGroups"] == []
    assert not [one for one in account.aws.sns().list_topics()["Topics"] if one["TopicArn"].endswith(":alarm-b")]
    with pytest.raises(ClientError, match="NotFoundException"):
        account.aws.budgets().describe_budget(AccountId=ACCOUNT, BudgetName="alarm-b")


def test_an_alarm_that_aws_would_refuse_ends_the_up(account: Account, directory: Path) -> None:
    """The rehearsal deploys an alarm that AWS does not take."""
    settings = {"name": "x" * 252}  # with "-slow" behind it too long for an alarm, and for nothing before it
    with pytest.raises(PulumiError, match="its name has more than 255 characters"):
        PulumiStack("one", directory, account.provider_port, settings, PROGRAM).up()
    with pytest.raises(ProviderError, match="its name has more than 255 characters"):
        declared("one", settings, PROGRAM)


def subscription(topic: str, protocol: str, endpoint: str) -> dict[str, Any]:
    inputs = {"topic": topic, "protocol": protocol, "endpoint": endpoint, "endpointAutoConfirms": True}
    return completed(TopicSubscription.fields, inputs | {"confirmationTimeoutInMinutes": 0.005})


@pytest.mark.parametrize(
    ("protocol", "endpoint", "sentence"),
    [
        ("http", f"http://127.0.0.1:1/{KEY}", "The endpoint at 127.0.0.1 did not confirm its subscription"),
        ("https", f"http://127.0.0.1:1/{KEY}", "is no https address"),
        ("pager", f"http://127.0.0.1:1/{KEY}", "SNS has no protocol pager"),
    ],
)
def test_a_pager_that_does_not_confirm_is_named_without_its_key(
    account: Account, protocol: str, endpoint: str, sentence: str
) -> None:
    """Pages go nowhere from the first day on; or the key stands in the build's output."""
    sns = account.aws.sns()
    topic = sns.create_topic(Name="unheard")["TopicArn"]
    with pytest.raises(ProviderError, match=sentence) as refusal:
        TopicSubscription(clients(account)).create(subscription(topic, protocol, endpoint))
    assert KEY not in str(refusal.value)
    assert sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"] == []


@pytest.mark.parametrize("resource_type", [BucketMetric, Inventory])
def test_a_missing_bucket_is_refused_and_not_made(account: Account, resource_type: type[ResourceType]) -> None:
    """The stand-in makes the bucket by the way, and the rehearsal hides a wrong order."""
    with pytest.raises(ProviderError, match="There is no bucket nowhere"):
        resource_type(clients(account)).create({"bucket": "nowhere", "name": "all"})
    assert "nowhere" not in {bucket["Name"] for bucket in account.aws.s3().list_buckets()["Buckets"]}


def test_an_incident_of_alarms_that_do_not_exist_is_refused(account: Account) -> None:
    """The rehearsal makes an incident before its alarms or its silence, and AWS refuses it: nobody is paged."""
    suppressor = {"alarm": "unheard-of", "waitPeriod": 60, "extensionPeriod": 60}
    early = {"alarmName": "early", "alarmRule": 'ALARM("nowhere")', "actionsSuppressor": suppressor}
    with pytest.raises(ProviderError, match="early names nowhere, unheard-of, and there is no such alarm"):
        CompositeAlarm(clients(account)).create(completed(CompositeAlarm.fields, early))
    assert account.kept.get("CompositeAlarm", "early") is None


def test_without_a_place_for_alarms_the_provider_says_so(account: Account) -> None:
    """An alarm is reported as created, and nothing holds it."""
    bare = dataclasses.replace(clients(account), monitoring=None)
    with pytest.raises(ProviderError, match="has no place for aws:cloudwatch/dashboard:Dashboard"):
        Dashboard(bare).read("alarm-a")


def test_kept_resources_are_private_and_go_by_any_name(account: Account) -> None:
    """A name with a slash is written outside the directory, or everyone reads whom the on-call is."""
    account.kept.put("Trial", "../a/b", {"name": "../a/b"})
    assert account.kept.list("Trial") == [{"name": "../a/b"}]
    (path,) = (account.kept.directory / "Trial").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    account.kept.delete("Trial", "../a/b")
    account.kept.delete("Trial", "../a/b")  # gone already is no error
    assert account.kept.get("Trial", "../a/b") is None
