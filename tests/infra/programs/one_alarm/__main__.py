"""One alarm with everything around it: what feeds it, whom it tells, and what looks at it; names by a setting."""

import json

import pulumi
from pulumi_aws import budgets, cloudwatch, s3, sns

config = pulumi.Config("deltacrown-cutover")
name = config.require("name")
tags = {config.get("tag") or "project": "one"}
endpoint = config.get_secret("pagerEndpoint")

topic = sns.Topic("topic", name=name, display_name="One", tags=tags)
sns.TopicPolicy(
    "policy",
    arn=topic.arn,
    policy=topic.arn.apply(
        lambda arn: json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Principal": {"Service": "cloudwatch.amazonaws.com"},
                        "Action": "sns:Publish",
                        "Resource": arn,
                    }
                ],
            }
        )
    ),
)
sns.TopicSubscription("mail", topic=topic.arn, protocol="email", endpoint="on-call@example.org")
if endpoint is not None:
    sns.TopicSubscription(
        "pager",
        topic=topic.arn,
        protocol="http",
        endpoint=endpoint,
        endpoint_auto_confirms=True,
        confirmation_timeout_in_minutes=1,
    )

group = cloudwatch.LogGroup("group", name=f"/one/{name}", retention_in_days=30, tags=tags)
for counter in ("success", "fail"):
    cloudwatch.LogMetricFilter(
        counter,
        name=f"{name}-{counter}",
        log_group_name=group.name,
        pattern=f'"METRIC: cert.s3.save.{counter}="',
        metric_transformation={"name": counter, "namespace": name, "value": "1", "default_value": "0"},
    )
cloudwatch.LogMetricFilter(
    "duration",
    name=f"{name}-duration",
    log_group_name=group.name,
    pattern='{ $.metric_name = "cert.s3.probe.put_ms" }',
    metric_transformation={
        "name": "duration",
        "namespace": name,
        "value": "$.value",
        "dimensions": {"machine": "$.machine"},
        "unit": "Milliseconds",
    },
)


def failures(counter: str) -> cloudwatch.MetricAlarmMetricQueryArgsDict:
    """The sum of a counter over a minute."""
    return {"id": counter, "metric": {"metric_name": counter, "namespace": name, "period": 60, "stat": "Sum"}}


ratio = cloudwatch.MetricAlarm(
    "ratio",
    name=f"{name}-ratio",
    alarm_description="More than 5 % of the uploads fail.",
    comparison_operator="GreaterThanThreshold",
    evaluation_periods=5,
    datapoints_to_alarm=4,
    threshold=config.get_float("threshold") or 5.5,
    treat_missing_data="notBreaching",
    metric_queries=[
        {"id": "rate", "expression": "100 * fail / (success + fail)", "label": "failures", "return_data": True},
        failures("success"),
        failures("fail"),
    ],
    tags=tags,
)
slow = cloudwatch.MetricAlarm(
    "slow",
    name=f"{name}-slow",
    comparison_operator="GreaterThanOrEqualToThreshold",
    evaluation_periods=3,
    threshold=500,
    metric_name="duration",
    namespace=name,
    dimensions={"machine": "web1"},
    period=300,
    extended_statistic="p95",
    evaluate_low_sample_count_percentiles="evaluate",
    unit="Milliseconds",
    alarm_actions=[topic.arn],
    ok_actions=[topic.arn],
    insufficient_data_actions=[topic.arn],
    actions_enabled=False,
    tags=tags,
)
cloudwatch.CompositeAlarm(
    "incident",
    alarm_name=f"{name}-incident",
    alarm_description="Uploads fail or are slow.",
    alarm_rule=pulumi.Output.format('ALARM("{0}") OR ALARM("{1}")', ratio.name, slow.name),
    alarm_actions=[topic.arn],
    ok_actions=[topic.arn],
    actions_suppressor={"alarm": slow.name, "wait_period": 60, "extension_period": 120},
    tags=tags,
)
cloudwatch.QueryDefinition(
    "query", name=f"one/{name}", query_string="fields @message\n| limit 5", log_group_names=[group.name]
)
cloudwatch.Dashboard("dashboard", dashboard_name=name, dashboard_body=json.dumps({"widgets": []}))

bucket = s3.Bucket("bucket", bucket=name, tags=tags)
s3.BucketServerSideEncryptionConfiguration(
    "encryption",
    bucket=bucket.bucket,
    rules=[
        {
            "apply_server_side_encryption_by_default": {
                "sse_algorithm": "aws:kms",
                "kms_master_key_id": "arn:aws:kms:us-east-1:000000000000:key/one",
            },
            "bucket_key_enabled": True,
        }
    ],
)
s3.BucketMetric("requests", bucket=bucket.bucket, name="everything", filter={"prefix": "certificates/"})
s3.Inventory(
    "inventory",
    bucket=bucket.bucket,
    name="weekly",
    included_object_versions="Current",
    optional_fields=["Size", "ETag"],
    schedule={"frequency": "Weekly"},
    destination={"bucket": {"bucket_arn": bucket.arn, "format": "CSV", "prefix": "inventory"}},
)
budgets.Budget(
    "budget",
    name=name,
    budget_type="COST",
    time_unit="MONTHLY",
    limit_amount="25.0",
    limit_unit="USD",
    cost_filters=[{"name": "TagKeyValue", "values": ["user:project$one"]}],
    notifications=[
        {
            "comparison_operator": "GREATER_THAN",
            "notification_type": "FORECASTED",
            "threshold": 80,
            "threshold_type": "PERCENTAGE",
            "subscriber_email_addresses": ["on-call@example.org"],
            "subscriber_sns_topic_arns": [topic.arn],
        }
    ],
    tags=tags,
)
pulumi.export("topic", topic.arn)
