"""What both stacks brought into the account to watch S3, read back with boto3 attribute by attribute."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest

from cutover import names, plan
from cutover.plan import Deployment
from rehearsal.provider.resource import ACCOUNT
from rehearsal.pulumi_stack import PulumiError
from tests.unit.alarms import table_resources

if TYPE_CHECKING:
    from rehearsal.pulumi_stack import PulumiStack
    from tests.infra.conftest import Deployed

TABLE = plan.load()
BOTH = pytest.mark.parametrize("deployment", get_args(Deployment))
QUERIES = Path(__file__).resolve().parents[2] / "ops" / "queries"


def stack_of(deployed: Deployed, deployment: Deployment) -> PulumiStack:
    return deployed.staging if deployment == "staging" else deployed.production


def as_asked(held: Any, asked: Any) -> Any:
    """What is held of the keys that were asked for, at every depth."""
    if isinstance(asked, dict):
        return {key: as_asked(held[key], value) for key, value in asked.items()} if isinstance(held, dict) else held
    if isinstance(asked, list) and isinstance(held, list) and len(asked) == len(held):
        return [as_asked(one, value) for one, value in zip(held, asked, strict=True)]
    return held


def in_account(resources: Any) -> Any:
    """The tests' reading of the table, with the stand-in's account in its ARNs."""
    return json.loads(json.dumps(resources).replace("123456789012", ACCOUNT))


@BOTH
def test_each_alarm_is_the_tables(deployed: Deployed, deployment: Deployment) -> None:
    """An alarm of the table is missing, or watches with another threshold, period or treatment than was replayed."""
    expected = {
        each["AlarmName"]: each for each in in_account(table_resources.declared(TABLE, deployment).metric_alarms)
    }
    answer = deployed.monitoring.cloudwatch().describe_alarms(AlarmNamePrefix=f"deltacrown-{deployment}-")
    held = {alarm["AlarmName"]: alarm for alarm in answer["MetricAlarms"]}
    assert held.keys() == expected.keys()
    assert as_asked(held, expected) == expected
    # What the table does not ask for must not have come from elsewhere.
    percentiles = {alarm for alarm in held if "ExtendedStatistic" in held[alarm]}
    assert percentiles == {names.alarm(deployment, alarm) for alarm in ("upload-p95", "presigned-url-p95")}
    assert all(alarm["ActionsEnabled"] and not alarm.get("Dimensions") for alarm in held.values())


@BOTH
def test_each_incident_is_the_tables(deployed: Deployed, deployment: Deployment) -> None:
    """The page hangs on another rule, topic or silence than the one that was replayed."""
    expected = in_account(table_resources.declared(TABLE, deployment).composite_alarms)
    kept = {each["AlarmName"]: each for each in deployed.kept.list("CompositeAlarm")}
    held = [kept[each["AlarmName"]] for each in expected]
    assert as_asked(held, expected) == expected


def waits_for(stack: PulumiStack) -> dict[str, set[str]]:
    """Kind and name of each resource in the state, and of those that `up` makes before it."""
    (state,) = (stack.directory / "state" / ".pulumi" / "stacks").rglob(f"{stack.name}.json")
    held = json.loads(state.read_text(encoding="utf-8"))["checkpoint"]["latest"]["resources"]
    return {_short(each["urn"]): {_short(urn) for urn in each.get("dependencies", [])} for each in held}


def _short(urn: str) -> str:
    kind, name = urn.split("::")[-2:]
    return f"{kind.rpartition(':')[2]} {name}"


@BOTH
def test_what_aws_wants_first_is_made_first(deployed: Deployed, deployment: Deployment) -> None:
    """AWS refuses an incident before its alarms, a budget before its topic lets it in, rules for versions too early.

    The stand-ins take any order, and a parallel `up` gets the right one most of the time.
    """
    before = waits_for(stack_of(deployed, deployment))
    for name, incident in TABLE.incidents.items():
        named = {f"MetricAlarm {alarm}" for alarm in [*incident.alarms, "silence"]}
        named |= {f"CompositeAlarm {incident.unless}"} if incident.unless is not None else set()
        assert before[f"CompositeAlarm {name}"] >= named
        assert f"TopicPolicy {incident.severity}" in before[f"CompositeAlarm {name}"]
    assert "TopicPolicy warning" in before["Budget budget"]
    assert "BucketVersioning certificates" in before["BucketLifecycleConfiguration certificates"]
    assert "BucketPublicAccessBlock certificates" in before["BucketPolicy certificates"]


@BOTH
def test_each_filter_is_the_tables(deployed: Deployed, deployment: Deployment) -> None:
    """A metric is counted by another pattern, or without the zero that makes silence and health two things."""
    group = names.log_group(TABLE.telemetry, deployment)
    expected = {each["filterName"]: dict(each) for each in table_resources.declared(TABLE, deployment).metric_filters}
    answer = deployed.aws.logs().describe_metric_filters(logGroupName=group)["metricFilters"]
    held = {each["filterName"]: each for each in answer}
    assert held.keys() == expected.keys()
    assert as_asked(held, expected) == expected
    for name in TABLE.measurements:
        assert "defaultValue" not in held[name]["metricTransformations"][0]
    (described,) = deployed.aws.logs().describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    assert described["retentionInDays"] == 90


@BOTH
def test_topics_tell_whom_the_table_names(deployed: Deployed, deployment: Deployment) -> None:
    """The pager is on the topic of warnings, or on none; or a stranger may publish."""
    stack, sns = stack_of(deployed, deployment), deployed.aws.sns()
    topics = stack.outputs()["topicArns"]
    pager = stack.secrets["pagerEndpoint"]
    expected = {
        "critical": {("email", "ops@example.com"), ("http", pager)},
        "warning": {("email", "ops@example.com"), ("email", "backend-lead@example.com")},
    }
    for severity, subscribers in expected.items():
        answer = sns.list_subscriptions_by_topic(TopicArn=topics[severity])["Subscriptions"]
        assert {(each["Protocol"], each["Endpoint"]) for each in answer} == subscribers
        policy = json.loads(sns.get_topic_attributes(TopicArn=topics[severity])["Attributes"]["Policy"])
        conditions = [each["Condition"] for each in policy["Statement"] if each["Effect"] == "Allow"]
        assert len(conditions) == (2 if severity == "warning" else 1)
        assert {each["StringEquals"]["aws:SourceAccount"] for each in conditions} == {ACCOUNT}


def test_the_pager_has_confirmed(deployed: Deployed) -> None:
    """Every incident is published, and its only listener was never subscribed."""
    sns = deployed.aws.sns()
    answer = sns.list_subscriptions_by_topic(TopicArn=deployed.production.outputs()["topicArns"]["critical"])
    (arn,) = (each["SubscriptionArn"] for each in answer["Subscriptions"] if each["Protocol"] == "http")
    assert sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]["PendingConfirmation"] == "false"


def test_the_pagers_key_is_encrypted_wherever_pulumi_keeps_it(deployed: Deployed) -> None:
    """The state lies on a shared disk, and everyone who reads it can page the on-call."""
    key = deployed.production.secrets["pagerEndpoint"].encode()
    files = [path for path in deployed.production.directory.rglob("*") if path.is_file()]
    assert any(b"deltacrown-production-critical" in path.read_bytes() for path in files)
    assert [path for path in files if key in path.read_bytes()] == []


@BOTH
def test_the_budget_is_the_estimates(deployed: Deployed, deployment: Deployment) -> None:
    """Costs run away, and the mail about it goes nowhere."""
    budgets, name = deployed.aws.budgets(), names.budget(deployment)
    budget = budgets.describe_budget(AccountId=ACCOUNT, BudgetName=name)["Budget"]
    assert (float(budget["BudgetLimit"]["Amount"]), budget["BudgetLimit"]["Unit"]) == (32, "USD")
    assert (budget["BudgetType"], budget["TimeUnit"]) == ("COST", "MONTHLY")
    assert budget["CostFilters"] == {"Service": ["Amazon Simple Storage Service"]}
    notices = budgets.describe_notifications_for_budget(AccountId=ACCOUNT, BudgetName=name)["Notifications"]
    assert sorted((each["NotificationType"], each["Threshold"]) for each in notices) == [
        ("ACTUAL", 80),
        ("ACTUAL", 100),
        ("FORECASTED", 100),
    ]
    for notice in notices:
        asked = {key: value for key, value in notice.items() if key != "NotificationState"}
        answer = budgets.describe_subscribers_for_notification(
            AccountId=ACCOUNT,
            BudgetName=name,
            Notification=asked,  # type: ignore[arg-type]  # a notification, without what only the answer has
        )
        addresses = [each["Address"] for each in answer["Subscribers"]]
        assert addresses == [stack_of(deployed, deployment).outputs()["topicArns"]["warning"]]


@BOTH
def test_the_dashboard_shows_the_alarms_that_exist(deployed: Deployed, deployment: Deployment) -> None:
    """The one glance is at alarms of another deployment, or at none."""
    cloudwatch = deployed.monitoring.cloudwatch()
    text = cloudwatch.get_dashboard(DashboardName=stack_of(deployed, deployment).outputs()["dashboard"])[
        "DashboardBody"
    ]
    (shown,) = (each["properties"]["alarms"] for each in json.loads(text)["widgets"] if each["type"] == "alarm")
    held = cloudwatch.describe_alarms(AlarmNamePrefix=f"deltacrown-{deployment}-")["MetricAlarms"]
    incidents = [names.incident(deployment, incident) for incident in TABLE.incidents]
    expected = {alarm["AlarmArn"] for alarm in held}
    expected |= {f"arn:aws:cloudwatch:us-east-1:{ACCOUNT}:alarm:{incident}" for incident in incidents}
    assert {*shown} == expected


@BOTH
def test_every_query_of_the_folder_is_saved(deployed: Deployed, deployment: Deployment) -> None:
    """The page says which query to run, and the console does not have it."""
    held = {each["name"]: each for each in deployed.kept.list("QueryDefinition")}
    for path in QUERIES.glob("*.logsinsights"):
        query = held[f"deltacrown/{deployment}/{path.stem}"]
        assert query["queryString"] == path.read_text(encoding="utf-8")
        assert query["logGroupNames"] == [f"/deltacrown/certificates/{deployment}"]


def test_request_metrics_and_lists_are_configured(deployed: Deployed) -> None:
    """The dashboard's graph of S3's errors stays empty, and the catalogue beyond listing has no list."""
    for bucket in ("deltacrown-certificates-staging", "deltacrown-certificates-prod", "deltacrown-backups"):
        metrics = deployed.kept.get("MetricsConfiguration", f"{bucket}:EntireBucket")
        assert metrics == {"Id": "EntireBucket", "Bucket": bucket}
    inventory = deployed.kept.get("InventoryConfiguration", "deltacrown-certificates-prod:certificates")
    assert inventory is not None
    destination = inventory["Destination"]["S3BucketDestination"]
    assert (destination["Bucket"], destination["Prefix"]) == ("arn:aws:s3:::deltacrown-backups", "inventory")
    assert deployed.kept.get("InventoryConfiguration", "deltacrown-certificates-staging:certificates") is None


def test_a_renamed_tag_is_an_update_in_place(deployed: Deployed) -> None:
    """Someone renames a tag, and Pulumi wants to replace the bucket with every certificate in it."""
    aws, cloudwatch = deployed.aws, deployed.monitoring.cloudwatch()
    alarm = f"arn:aws:cloudwatch:us-east-1:{ACCOUNT}:alarm:deltacrown-production-upload-failures"
    topic = deployed.production.outputs()["topicArns"]["critical"]
    renamed: Any = [{"Key": "owner", "Value": "pulumi"}]  # each client has a type of its own for it
    aws.s3().put_bucket_tagging(Bucket="deltacrown-certificates-prod", Tagging={"TagSet": renamed})
    aws.iam().untag_role(RoleName="deltacrown-s3-access", TagKeys=["managed-by"])
    aws.iam().tag_role(RoleName="deltacrown-s3-access", Tags=renamed)
    cloudwatch.untag_resource(ResourceARN=alarm, TagKeys=["managed-by"])
    cloudwatch.tag_resource(ResourceARN=alarm, Tags=renamed)
    aws.sns().untag_resource(ResourceArn=topic, TagKeys=["managed-by"])
    aws.sns().tag_resource(ResourceArn=topic, Tags=renamed)
    deployed.production.refresh()
    pending = deployed.production.preview()
    assert "4 to update" in pending
    assert "replace" not in pending
    deployed.production.up()
    assert {each["Key"] for each in cloudwatch.list_tags_for_resource(ResourceARN=alarm)["Tags"]} == {
        "project",
        "environment",
        "managed-by",
    }


def test_an_alarm_that_was_quieted_by_hand_is_seen_and_repaired(deployed: Deployed) -> None:
    """A threshold is raised at night to quiet the pager, and stays so."""
    cloudwatch = deployed.monitoring.cloudwatch()
    name = names.alarm("staging", "no-telemetry")
    (held,) = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    asked = ("AlarmName", "ComparisonOperator", "EvaluationPeriods", "MetricName", "Namespace", "Period", "Statistic")
    weakened: dict[str, Any] = {key: held[key] for key in asked}  # type: ignore[literal-required]
    cloudwatch.put_metric_alarm(**weakened, Threshold=1, TreatMissingData="notBreaching")
    with pytest.raises(PulumiError, match="no changes were expected"):
        deployed.staging.refresh(expect_no_changes=True)
    deployed.staging.up()
    (repaired,) = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    assert repaired["TreatMissingData"] == "breaching"
    assert repaired["DatapointsToAlarm"] == held["DatapointsToAlarm"]
