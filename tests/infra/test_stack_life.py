"""Stacks that come and go in an account of their own, and what the program and the provider refuse."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from infra.access import trust_policy
from rehearsal import aws_stand_in
from rehearsal.provider import serving
from rehearsal.provider.resource import ACCOUNT
from rehearsal.pulumi_stack import PulumiError, PulumiStack
from tests.infra.conftest import Account, opened

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS = Path(__file__).parent / "programs"
BUCKET = "deltacrown-certificates-staging"


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """An account of this module's own: alarms, topics and log groups are named by the deployment, so each has one."""
    with opened(tmp_path_factory.mktemp("account")) as account:
        yield account


def bucket_names(account: Account) -> set[str]:
    return {bucket["Name"] for bucket in account.aws.s3().list_buckets()["Buckets"]}


def held(account: Account) -> set[str]:
    """Everything that is in the account, by kind and name."""
    aws, cloudwatch, kept = account.aws, account.monitoring.cloudwatch(), account.kept
    kinds = ("CompositeAlarm", "QueryDefinition", "MetricsConfiguration", "InventoryConfiguration")
    names = {
        "bucket": bucket_names(account),
        "role": [role["RoleName"] for role in aws.iam().list_roles()["Roles"]],
        "profile": [each["InstanceProfileName"] for each in aws.iam().list_instance_profiles()["InstanceProfiles"]],
        "topic": [topic["TopicArn"] for topic in aws.sns().list_topics()["Topics"]],
        "group": [group["logGroupName"] for group in aws.logs().describe_log_groups()["logGroups"]],
        "budget": [each["BudgetName"] for each in aws.budgets().describe_budgets(AccountId=ACCOUNT).get("Budgets", [])],
        "alarm": [alarm["AlarmName"] for alarm in cloudwatch.describe_alarms()["MetricAlarms"]],
        "dashboard": [each["DashboardName"] for each in cloudwatch.list_dashboards()["DashboardEntries"]],
        "kept": [f"{kind} {len(kept.list(kind))}" for kind in kinds if kept.list(kind)],
    }
    return {f"{kind} {name}" for kind, each in names.items() for name in each}


def test_an_existing_bucket_is_adopted_and_everything_goes_again(account: Account, directory: Path) -> None:
    """The customer's bucket with all certificates cannot be taken over, is emptied, or staging cannot be removed."""
    s3, before = account.aws.s3(), held(account)
    s3.create_bucket(Bucket=BUCKET)
    stack = PulumiStack("staging", directory, account.provider_port)
    with pytest.raises(PulumiError, match=f"{BUCKET} exists already: import it"):
        stack.up()
    stack.import_resources(
        {
            "resources": [
                {
                    "type": "deltacrown:storage:CertificateStore",
                    "name": "store",
                    "logicalName": "certificates",
                    "component": True,
                },
                {
                    "type": "aws:s3/bucket:Bucket",
                    "name": "certificates",
                    "id": BUCKET,
                    "parent": "store",
                },
            ]
        }
    )
    stack.up()
    assert s3.get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"
    stack.preview(expect_no_changes=True)
    assert len(held(account) - before) > 20
    version = s3.put_object(Bucket=BUCKET, Key="certificates/x", Body=b"bytes")["VersionId"]
    with pytest.raises(PulumiError, match=f"{BUCKET} holds 1 object version"):
        stack.destroy()
    assert s3.get_object(Bucket=BUCKET, Key="certificates/x")["Body"].read() == b"bytes"
    s3.delete_object(Bucket=BUCKET, Key="certificates/x", VersionId=version)
    stack.destroy()
    assert held(account) == before


def test_a_bucket_is_replaced_by_name_and_never_deleted_with_objects(account: Account, directory: Path) -> None:
    """A renamed setting, or a destroy, takes certificates with it."""
    s3 = account.aws.s3()
    stack = PulumiStack("one", directory, account.provider_port, {"name": "one-a"}, PROGRAMS / "one_bucket")
    stack.preview()
    assert "one-a" not in bucket_names(account)
    stack.up()
    renamed = dataclasses.replace(stack, settings={"name": "one-b"})
    renamed.up()
    assert bucket_names(account) & {"one-a", "one-b"} == {"one-b"}
    s3.put_bucket_versioning(Bucket="one-b", VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket="one-b", Key="certificates/x", Body=b"")
    s3.delete_object(Bucket="one-b", Key="certificates/x")
    with pytest.raises(PulumiError, match="one-b holds 2 object versions and delete markers"):
        renamed.destroy()
    forced = dataclasses.replace(stack, settings={"name": "one-b", "forceDestroy": True})
    forced.up()
    state = [path.read_text() for path in (directory / "state").rglob("*.json")]
    assert any("one-b" in text for text in state)
    assert not any("told-to-nobody" in text for text in state)  # a secret input stays one in the outputs
    forced.destroy()
    assert "one-b" not in bucket_names(account)


def bucket_owner_without(account: Account, action: str) -> tuple[str, str]:
    """Returns the keys of a user who may do everything in S3 but `action`."""
    iam, name = account.aws.iam(), f"without-{action.removeprefix('s3:')}"
    iam.create_user(UserName=name)
    statements = [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]
    statements += [{"Effect": "Deny", "Action": action, "Resource": "*"}]
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.put_user_policy(UserName=name, PolicyName="s3", PolicyDocument=policy)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]


@pytest.mark.parametrize("action", ["s3:PutBucketTagging", "s3:GetBucketTagging"])
def test_a_bucket_that_was_half_made_is_completed_by_the_next_up(
    account: Account, directory: Path, action: str
) -> None:
    """The bucket exists outside the state, and each further `up` ends with "exists already"."""
    name = f"half-{action.removeprefix('s3:').lower()}"
    keys = bucket_owner_without(account, action)
    with serving(account.aws.endpoint_url, *keys, aws_stand_in.REGION, account.aws.ca_file) as limited_port:
        stack = PulumiStack("half", directory, limited_port, {"name": name}, PROGRAMS / "one_bucket")
        with pytest.raises(PulumiError, match=rf"{name} was created, but not completed: .*{action}"):
            stack.up()
    assert name in bucket_names(account)
    allowed = dataclasses.replace(stack, provider_port=account.provider_port)
    allowed.up()
    tags = account.aws.s3().get_bucket_tagging(Bucket=name)["TagSet"]
    assert tags == [{"Key": "note", "Value": "told-to-nobody"}]
    assert not any("told-to-nobody" in path.read_text() for path in (directory / "state").rglob("*.json"))
    allowed.destroy()
    assert name not in bucket_names(account)


def test_an_instance_profile_without_its_role_is_completed_by_the_next_up(account: Account, directory: Path) -> None:
    """The profile exists outside the state, and each further `up` ends with EntityAlreadyExists."""
    iam = account.aws.iam()
    stack = PulumiStack("half", directory, account.provider_port, {}, PROGRAMS / "one_profile")
    with pytest.raises(PulumiError, match=r"half-profile was created, but not completed: .*NoSuchEntity"):
        stack.up()
    iam.create_role(RoleName="half-role", AssumeRolePolicyDocument=json.dumps(trust_policy([])))
    stack.up()
    profile = iam.get_instance_profile(InstanceProfileName="half-profile")["InstanceProfile"]
    assert [role["RoleName"] for role in profile["Roles"]] == ["half-role"]
    stack.destroy()
    iam.delete_role(RoleName="half-role")


def test_the_operators_own_settings_do_not_reach_the_cli(
    account: Account, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rehearsal fails, or speaks to AWS, on the one machine where someone works with Pulumi and AWS."""
    stack = PulumiStack("own", directory, account.provider_port, {"name": "own-bucket"}, PROGRAMS / "one_bucket")
    stack.up()
    for name in ("PULUMI_CONFIG_PASSPHRASE", "PULUMI_PARALLEL", "AWS_PROFILE", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.setenv(name, "nonsense")
    stack.preview(expect_no_changes=True)
    stack.destroy()


@pytest.mark.parametrize(
    ("program", "named"),
    [
        ("unknown_type", "does not know the resource type aws:s3/bucketAcl:BucketAcl"),
        ("unknown_property", "accelerationStatus"),
    ],
)
def test_what_the_provider_lacks_is_named(account: Account, directory: Path, program: str, named: str) -> None:
    """The rehearsal is green because it left out what production will do."""
    before = bucket_names(account)
    with pytest.raises(PulumiError, match=named):
        PulumiStack("lacks", directory, account.provider_port, {}, PROGRAMS / program).up()
    assert bucket_names(account) == before


@pytest.mark.parametrize(
    ("name", "settings", "sentence"),
    [
        ("qa", {}, "'qa' is neither staging nor production"),
        ("qa", {"environment": "staging"}, "certificateBucket in Pulumi.qa.yaml is missing"),
        ("staging", {"protect": "perhaps"}, "protect in Pulumi.staging.yaml is 'perhaps': write true or false"),
        ("staging", {"pagerEndpoint": "https://pager.example.com/"}, "pagerEndpoint .* stands there in plain text"),
    ],
)
def test_bad_settings_create_nothing(
    account: Account, directory: Path, name: str, settings: dict[str, Any], sentence: str
) -> None:
    """A mistyped stack leaves half a set of buckets behind, and a traceback instead of a sentence."""
    before = bucket_names(account)
    with pytest.raises(PulumiError, match=sentence) as failure:
        PulumiStack(name, directory, account.provider_port, settings).up()
    assert "Traceback" not in str(failure.value)
    assert bucket_names(account) == before


def test_production_without_a_pager_is_warned_of(account: Account, directory: Path) -> None:
    """Everything is green, and at 3 a.m. no phone rings."""
    assert "Nobody's phone will ring" in PulumiStack("production", directory, account.provider_port).preview()
