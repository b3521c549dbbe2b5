"""The policy documents, word for word: a widened policy must be a visible change of a test."""

from __future__ import annotations

import pytest

from infra.access import certificate_access_policy, key_policy, telemetry_policy, trust_policy
from infra.certificate_store import inventory_policy, kept_records_statement, tls_only_policy
from infra.oncall import topic_policy
from infra.operators import evidence_policy, fence_policy, operator_trust_policy, readonly_policy, retirement_policy

GROUP = "arn:aws:logs:us-east-1:123456789012:log-group:/deltacrown/certificates/staging"
TOPIC = "arn:aws:sns:us-east-1:123456789012:deltacrown-staging-warning"


def test_the_role_has_the_four_actions_and_no_more() -> None:
    """A worker that is taken over can delete backups or old versions."""
    assert certificate_access_policy("b")["Statement"] == [
        {
            "Sid": "Objects",
            "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
            "Resource": ["arn:aws:s3:::b/certificates/*", "arn:aws:s3:::b/cutover-probe/*"],
        },
        {"Sid": "Listing", "Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::b"},
    ]


def test_only_ec2_and_named_principals_are_trusted() -> None:
    """Another account's principal assumes the role."""
    assert trust_policy([])["Statement"][0]["Principal"] == {"Service": "ec2.amazonaws.com"}
    arn = "arn:aws:iam::123456789012:role/operator"
    assert trust_policy([arn])["Statement"][0]["Principal"] == {"Service": "ec2.amazonaws.com", "AWS": [arn]}


def test_plain_http_is_denied_to_everyone_for_bucket_and_objects() -> None:
    """Certificates and signatures travel in clear text."""
    (statement,) = tls_only_policy("b")["Statement"]
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "s3:*")
    assert statement["Resource"] == ["arn:aws:s3:::b", "arn:aws:s3:::b/*"]
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_workers_reach_their_own_log_group_and_nothing_of_cloudwatch() -> None:
    """A worker that is taken over writes another group's lines, or a point that silences every alarm."""
    assert telemetry_policy(GROUP)["Statement"] == [
        {
            "Effect": "Allow",
            "Sid": "OwnLogGroup",
            "Action": ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams", "logs:FilterLogEvents"],
            "Resource": [GROUP, f"{GROUP}:*"],
        }
    ]


@pytest.mark.parametrize(
    ("writes", "actions"), [(True, ["kms:Decrypt", "kms:GenerateDataKey"]), (False, ["kms:Decrypt"])]
)
def test_a_key_is_used_alone_and_for_data_alone(writes: bool, actions: list[str]) -> None:
    """Workers get 403 for encrypted certificates, or may use every key of the account."""
    key = "arn:aws:kms:us-east-1:123456789012:key/1"
    (statement,) = key_policy(key, writes=writes)["Statement"]
    assert (statement["Action"], statement["Resource"]) == (actions, key)


def test_no_machine_assumes_an_operators_role() -> None:
    """An EC2 instance of someone else's project reads every certificate."""
    arns = ["arn:aws:iam::123456789012:role/operators"]
    (statement,) = operator_trust_policy(arns)["Statement"]
    assert (statement["Principal"], statement["Action"]) == ({"AWS": arns}, "sts:AssumeRole")


def actions_of(policy: dict[str, object]) -> dict[str, tuple[list[str], object]]:
    """Actions and resource of each statement by its Sid."""
    statements = policy["Statement"]
    assert isinstance(statements, list)
    listed = {each["Sid"]: each["Action"] for each in statements}
    actions = {sid: [value] if isinstance(value, str) else value for sid, value in listed.items()}
    return {each["Sid"]: (actions[each["Sid"]], each["Resource"]) for each in statements}


def test_the_readonly_role_reads_and_no_more() -> None:
    """A dry run writes, or a check reads old versions that a customer asked to be deleted."""
    held = actions_of(readonly_policy("b", "backups", GROUP))
    assert held["Certificates"] == (["s3:GetObject"], "arn:aws:s3:::b/certificates/*")
    assert held["Inventory"] == (["s3:GetObject"], "arn:aws:s3:::backups/inventory/*")
    alarms = ["cloudwatch:DescribeAlarmHistory", "cloudwatch:DescribeAlarms", "cloudwatch:GetMetricData"]
    assert held["Alarms"] == (alarms, "*")
    assert held["Logs"][1] == [GROUP, f"{GROUP}:*"]
    verbs = {action.split(":")[1] for actions, _ in held.values() for action in actions}
    assert [verb for verb in verbs if not verb.startswith(("Get", "List", "Describe", "Filter"))] == []
    assert "GetObjectVersion" not in verbs
    assert actions_of(readonly_policy("b", None, GROUP)).keys() == {"Certificates", "Bucket", "Logs", "Alarms"}


def test_the_retirement_role_writes_into_the_backups_alone_and_deletes_nothing() -> None:
    """The role that archives local copies overwrites certificates, or the lists they are checked against."""
    held = actions_of(retirement_policy("b", "backups"))
    assert held == {
        "Certificates": (["s3:GetObject"], "arn:aws:s3:::b/certificates/*"),
        "Listing": (["s3:ListBucket"], "arn:aws:s3:::b"),
        "Archives": (
            ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"],
            "arn:aws:s3:::backups/archives/b/*",
        ),
        "Backups": (["s3:ListBucket", "s3:ListBucketMultipartUploads"], "arn:aws:s3:::backups"),
    }


def test_the_evidence_role_stores_records_and_takes_none_away() -> None:
    """Whoever takes a data host over removes the copy that would tell of it, or reads the archives."""
    policy = evidence_policy("backups")
    assert actions_of(policy) == {
        "Records": (["s3:GetObject", "s3:PutObject"], "arn:aws:s3:::backups/evidence/*"),
        "RecordList": (["s3:ListBucket"], "arn:aws:s3:::backups"),
    }
    assert policy["Statement"][1]["Condition"] == {"StringLike": {"s3:prefix": "evidence/*"}}


def test_the_fence_reaches_the_policies_of_one_role_alone() -> None:
    """Whoever may fence the workers could give rights to every role of the account."""
    role = "arn:aws:iam::123456789012:role/deltacrown-s3-access"
    assert actions_of(fence_policy(role)) == {
        "WorkersRole": (["iam:GetRolePolicy", "iam:PutRolePolicy", "iam:DeleteRolePolicy"], role)
    }


def test_a_record_is_stored_over_no_other() -> None:
    """The evidence's role replaces the record that tells of it; or it can store none at all, being asked too much."""
    statement = kept_records_statement("backups")
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "s3:PutObject")
    assert statement["Resource"] == "arn:aws:s3:::backups/evidence/*"
    # Parts of an upload make no object, and S3 takes no If-None-Match with them.
    asked = {"Null": {"s3:if-none-match": "true"}, "Bool": {"s3:ObjectCreationOperation": "true"}}
    assert statement["Condition"] == asked


def test_lists_come_from_one_bucket_of_this_account() -> None:
    """Anyone's bucket writes its lists among ours, and a check compares the table with them."""
    deny, allow = inventory_policy("backups", "b", "123456789012")["Statement"]
    assert deny == tls_only_policy("backups")["Statement"][0]
    assert allow["Principal"] == {"Service": "s3.amazonaws.com"}
    assert (allow["Action"], allow["Resource"]) == ("s3:PutObject", "arn:aws:s3:::backups/inventory/*")
    assert allow["Condition"] == {
        "StringEquals": {"aws:SourceAccount": "123456789012"},
        "ArnLike": {"aws:SourceArn": "arn:aws:s3:::b"},
    }


def test_only_this_accounts_alarms_publish() -> None:
    """A stranger's alarm, or anybody who learns the topic's name, pages our on-call."""
    alarms, deny = topic_policy(TOPIC, "deltacrown-staging-*", budgets=False)["Statement"]
    assert (alarms["Effect"], alarms["Principal"]) == ("Allow", {"Service": "cloudwatch.amazonaws.com"})
    assert (alarms["Action"], alarms["Resource"]) == ("sns:Publish", TOPIC)
    assert alarms["Condition"] == {
        "StringEquals": {"aws:SourceAccount": "123456789012"},
        "ArnLike": {"aws:SourceArn": "arn:aws:cloudwatch:us-east-1:123456789012:alarm:deltacrown-staging-*"},
    }
    assert (deny["Effect"], deny["Principal"]) == ("Deny", "*")
    assert deny["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_budgets_publish_warnings_if_they_may() -> None:
    """The budget is exceeded, and its mail is refused by the topic."""
    _, budgets, _ = topic_policy(TOPIC, "deltacrown-staging-*", budgets=True)["Statement"]
    assert (budgets["Principal"], budgets["Action"]) == ({"Service": "budgets.amazonaws.com"}, "sns:Publish")
    assert budgets["Condition"] == {
        "StringEquals": {"aws:SourceAccount": "123456789012"},
        "ArnLike": {"aws:SourceArn": "arn:aws:budgets::123456789012:*"},
    }
