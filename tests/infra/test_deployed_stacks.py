"""Both stacks in one account, raised by the real CLI; what AWS holds, and what the roles may do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from infra.access import POLICY_NAME, TELEMETRY_POLICY_NAME, certificate_access_policy, policy_document
from rehearsal.provider.resource import ACCOUNT
from rehearsal.pulumi_stack import PulumiError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_s3.client import S3Client

    from rehearsal.aws_stand_in import AwsStandIn
    from tests.infra.conftest import Deployed

STAGING = "deltacrown-certificates-staging"
PRODUCTION = "deltacrown-certificates-prod"
BACKUPS = "deltacrown-backups"
ARCHIVES = f"archives/{PRODUCTION}/"
ALL_BUCKETS = pytest.mark.parametrize("bucket", [STAGING, PRODUCTION, BACKUPS])
GROUPS = {deployment: f"/deltacrown/certificates/{deployment}" for deployment in ("staging", "production")}
LIFECYCLE = Path(__file__).resolve().parents[2] / "ops" / "s3" / "lifecycle-policy.json"


@ALL_BUCKETS
def test_the_bucket_is_hardened(deployed: Deployed, bucket: str) -> None:
    """The provider answered "created", and the setting never reached the bucket."""
    s3 = deployed.aws.s3()
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    (rule,) = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    block = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert list(block.values()) == [True] * 4
    controls = s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]
    assert controls["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    tags = {tag["Key"]: tag["Value"] for tag in s3.get_bucket_tagging(Bucket=bucket)["TagSet"]}
    assert tags["project"] == "deltacrown-cutover"


@ALL_BUCKETS
def test_the_lifecycle_is_the_file(deployed: Deployed, bucket: str) -> None:
    """The bucket follows other rules than the file that people read and apply by hand."""
    held = deployed.aws.s3().get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert held == json.loads(LIFECYCLE.read_text())["Rules"]


def test_outputs_name_what_was_made(deployed: Deployed) -> None:
    """Playbooks configure workers with names of something else."""
    outputs = deployed.production.outputs()
    assert outputs["certificateBucket"] == PRODUCTION
    assert outputs["backupsBucketArn"] == f"arn:aws:s3:::{BACKUPS}"
    role = deployed.aws.iam().get_role(RoleName="deltacrown-s3-access")["Role"]
    assert (outputs["roleArn"], outputs["roleName"]) == (role["Arn"], role["RoleName"])
    profile = deployed.aws.iam().get_instance_profile(InstanceProfileName=outputs["instanceProfile"])
    assert [held["RoleName"] for held in profile["InstanceProfile"]["Roles"]] == ["deltacrown-s3-access"]
    assert "backupsBucket" not in deployed.staging.outputs()
    assert outputs["logGroup"] == GROUPS["production"]
    assert outputs["topicArns"]["critical"].endswith(":deltacrown-production-critical")
    assert outputs["dashboard"] == "deltacrown-production-certificates"
    assert "deltacrown-production-incident-s3" in outputs["incidentNames"]
    assert outputs["silenceAlarmName"] not in outputs["alarmNames"]


def role_of(deployed: Deployed) -> AwsStandIn:
    return deployed.aws.with_role(deployed.staging.outputs()["roleArn"])


@pytest.mark.parametrize("prefix", ["certificates/pdf/", "cutover-probe/web1/"])
def test_the_role_does_its_work(deployed: Deployed, prefix: str) -> None:
    """Workers get 403 for the very thing the role is for."""
    s3, key = role_of(deployed).s3(), f"{prefix}x"
    s3.put_object(Bucket=STAGING, Key=key, Body=b"bytes")
    assert s3.get_object(Bucket=STAGING, Key=key)["Body"].read() == b"bytes"
    assert [item["Key"] for item in s3.list_objects_v2(Bucket=STAGING, Prefix=prefix)["Contents"]] == [key]
    s3.delete_object(Bucket=STAGING, Key=key)


REFUSED: dict[str, Callable[[S3Client], Any]] = {
    "another prefix": lambda s3: s3.put_object(Bucket=STAGING, Key="public/x", Body=b""),
    "production's bucket": lambda s3: s3.put_object(Bucket=PRODUCTION, Key="certificates/x", Body=b""),
    "production's list": lambda s3: s3.list_objects_v2(Bucket=PRODUCTION),
    "the backups": lambda s3: s3.get_object(Bucket=BACKUPS, Key="certificates/x"),
    "an old version": lambda s3: s3.delete_object(Bucket=STAGING, Key="certificates/x", VersionId="1"),
    "the policy": lambda s3: s3.put_bucket_policy(Bucket=STAGING, Policy="{}"),
    "versioning": lambda s3: s3.put_bucket_versioning(Bucket=STAGING, VersioningConfiguration={"Status": "Suspended"}),
    "the lifecycle": lambda s3: s3.delete_bucket_lifecycle(Bucket=STAGING),
    "an ACL": lambda s3: s3.put_object_acl(Bucket=STAGING, Key="certificates/x", ACL="public-read"),
    "the bucket itself": lambda s3: s3.delete_bucket(Bucket=STAGING),
    "a new bucket": lambda s3: s3.create_bucket(Bucket="another-bucket"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_the_role_does_nothing_else(deployed: Deployed, what: str) -> None:
    """A worker that is taken over reaches past its own certificates."""
    with pytest.raises(ClientError, match="AccessDenied"):
        REFUSED[what](role_of(deployed).s3())


ROLES = {  # a role, by the stack and its output that holds the ARN
    "staging's workers": ("staging", "roleArn"),
    "staging's readonly": ("staging", "readonlyRoleArn"),
    "production's workers": ("production", "roleArn"),
    "production's readonly": ("production", "readonlyRoleArn"),
    "production's retirement": ("production", "retirementRoleArn"),
    "the evidence's": ("production", "evidenceRoleArn"),
    "staging's fence": ("staging", "fenceRoleArn"),
}
OBJECT = "certificates/pdf/x"
RECORD = "evidence/staging/000001-step-1-PASS.json"


def session(deployed: Deployed, role: str) -> AwsStandIn:
    stack, output = ROLES[role]
    stacks = {"staging": deployed.staging, "production": deployed.production}
    who = deployed.aws if output == "roleArn" else deployed.operator
    return who.with_role(stacks[stack].outputs()[output])


@pytest.fixture(scope="module")
def sessions(deployed: Deployed) -> dict[str, AwsStandIn]:
    """A session of each role, and an object in each bucket."""
    for bucket in (STAGING, PRODUCTION, BACKUPS):
        deployed.aws.s3().put_object(Bucket=bucket, Key=OBJECT, Body=b"bytes")
    for key in ("inventory/list.csv", RECORD):
        deployed.aws.s3().put_object(Bucket=BACKUPS, Key=key, Body=b"bytes")
    return {role: session(deployed, role) for role in ROLES}


@pytest.mark.parametrize("role", ROLES)
@ALL_BUCKETS
def test_no_role_deletes_an_object_version(
    deployed: Deployed, sessions: dict[str, AwsStandIn], role: str, bucket: str
) -> None:
    """The last copy of a certificate is gone for good, by mistake or by a stolen session."""
    version = deployed.aws.s3().head_object(Bucket=bucket, Key=OBJECT)["VersionId"]
    with pytest.raises(ClientError, match="AccessDenied"):
        sessions[role].s3().delete_object(Bucket=bucket, Key=OBJECT, VersionId=version)


ALLOWED: dict[str, tuple[str, Callable[[AwsStandIn], Any]]] = {
    "reads a certificate": (
        "production's readonly",
        lambda aws: aws.s3().get_object(Bucket=PRODUCTION, Key=OBJECT),
    ),
    "lists certificates": (
        "production's readonly",
        lambda aws: aws.s3().list_objects_v2(Bucket=PRODUCTION, Prefix="certificates/"),
    ),
    "reads the lifecycle": (
        "production's readonly",
        lambda aws: aws.s3().get_bucket_lifecycle_configuration(Bucket=PRODUCTION),
    ),
    "reads a list of S3's": (
        "production's readonly",
        lambda aws: aws.s3().get_object(Bucket=BACKUPS, Key="inventory/list.csv"),
    ),
    "reads log lines": (
        "staging's readonly",
        lambda aws: aws.logs().filter_log_events(logGroupName=GROUPS["staging"]),
    ),
    "proves an object": (
        "production's retirement",
        lambda aws: aws.s3().get_object(Bucket=PRODUCTION, Key=OBJECT),
    ),
    "archives": (
        "production's retirement",
        lambda aws: aws.s3().put_object(Bucket=BACKUPS, Key=f"{ARCHIVES}1/a.tar.gz", Body=b"archive"),
    ),
    "archives in parts": (
        "production's retirement",
        lambda aws: aws.s3().create_multipart_upload(Bucket=BACKUPS, Key=f"{ARCHIVES}1/b.tar.gz"),
    ),
    "stores a record": (
        "the evidence's",
        lambda aws: aws.s3().put_object(Bucket=BACKUPS, Key=f"{RECORD}.new", Body=b"record", IfNoneMatch="*"),
    ),
    "compares a record": (
        "the evidence's",
        lambda aws: aws.s3().head_object(Bucket=BACKUPS, Key=RECORD, ChecksumMode="ENABLED"),
    ),
    "lists the records": (
        "the evidence's",
        lambda aws: aws.s3().list_objects_v2(Bucket=BACKUPS, Prefix="evidence/staging/"),
    ),
    "opens its log stream": (
        "staging's workers",
        lambda aws: aws.logs().create_log_stream(logGroupName=GROUPS["staging"], logStreamName="web1"),
    ),
}
DENIED: dict[str, tuple[str, Callable[[AwsStandIn], Any]]] = {
    "staging reads production": (
        "staging's readonly",
        lambda aws: aws.s3().get_object(Bucket=PRODUCTION, Key=OBJECT),
    ),
    "staging's workers read production": (
        "staging's workers",
        lambda aws: aws.s3().get_object(Bucket=PRODUCTION, Key=OBJECT),
    ),
    "staging's workers read production's log": (
        "staging's workers",
        lambda aws: aws.logs().filter_log_events(logGroupName=GROUPS["production"]),
    ),
    "staging's workers write into production's log": (
        "staging's workers",
        lambda aws: aws.logs().create_log_stream(logGroupName=GROUPS["production"], logStreamName="web1"),
    ),
    "a worker takes the filters away": (
        "production's workers",
        lambda aws: aws.logs().delete_metric_filter(logGroupName=GROUPS["production"], filterName="save_fail"),
    ),
    "a worker sends a page": (
        "production's workers",
        lambda aws: aws.sns().publish(
            TopicArn=f"arn:aws:sns:us-east-1:{ACCOUNT}:deltacrown-production-critical", Message="{}"
        ),
    ),
    "a check writes": (
        "production's readonly",
        lambda aws: aws.s3().put_object(Bucket=PRODUCTION, Key=OBJECT, Body=b""),
    ),
    "a check deletes": (
        "production's readonly",
        lambda aws: aws.s3().delete_object(Bucket=PRODUCTION, Key=OBJECT),
    ),
    "a check reads the archives": (
        "production's readonly",
        lambda aws: aws.s3().get_object(Bucket=BACKUPS, Key=OBJECT),
    ),
    "retirement writes certificates": (
        "production's retirement",
        lambda aws: aws.s3().put_object(Bucket=PRODUCTION, Key=OBJECT, Body=b""),
    ),
    "retirement deletes certificates": (
        "production's retirement",
        lambda aws: aws.s3().delete_object(Bucket=PRODUCTION, Key=OBJECT),
    ),
    "retirement deletes archives": (
        "production's retirement",
        lambda aws: aws.s3().delete_object(Bucket=BACKUPS, Key=f"{ARCHIVES}1/a.tar.gz"),
    ),
    "retirement replaces a list of S3's": (
        "production's retirement",
        lambda aws: aws.s3().put_object(Bucket=BACKUPS, Key="inventory/list.csv", Body=b""),
    ),
    "the evidence's role deletes a record": (
        "the evidence's",
        lambda aws: aws.s3().delete_object(Bucket=BACKUPS, Key=RECORD),
    ),
    "the evidence's role lists everything": (
        "the evidence's",
        lambda aws: aws.s3().list_objects_v2(Bucket=BACKUPS),
    ),
    "the evidence's role writes an archive": (
        "the evidence's",
        lambda aws: aws.s3().put_object(Bucket=BACKUPS, Key=f"{ARCHIVES}1/c.tar.gz", Body=b""),
    ),
    "the evidence's role reads certificates": (
        "the evidence's",
        lambda aws: aws.s3().get_object(Bucket=PRODUCTION, Key=OBJECT),
    ),
    "retirement replaces a record": (
        "production's retirement",
        lambda aws: aws.s3().put_object(Bucket=BACKUPS, Key=RECORD, Body=b""),
    ),
    "workers read the evidence": (
        "production's workers",
        lambda aws: aws.s3().get_object(Bucket=BACKUPS, Key=RECORD),
    ),
    "the fence of staging reaches production": (
        "staging's fence",
        lambda aws: aws.iam().put_role_policy(
            RoleName="deltacrown-s3-access", PolicyName="CutoverFence", PolicyDocument="{}"
        ),
    ),
    "the fence frees itself": (
        "staging's fence",
        lambda aws: aws.iam().put_role_policy(
            RoleName="deltacrown-cutover-fence-staging", PolicyName="CutoverFencing", PolicyDocument="{}"
        ),
    ),
    "the fence opens the workers' role": (
        "staging's fence",
        lambda aws: aws.iam().update_assume_role_policy(RoleName="deltacrown-s3-access-staging", PolicyDocument="{}"),
    ),
    "the fence reads certificates": (
        "staging's fence",
        lambda aws: aws.s3().get_object(Bucket=STAGING, Key=OBJECT),
    ),
    "retirement reaches staging": (
        "production's retirement",
        lambda aws: aws.s3().get_object(Bucket=STAGING, Key=OBJECT),
    ),
}


@pytest.mark.parametrize("what", ALLOWED)
def test_a_role_does_its_work(sessions: dict[str, AwsStandIn], what: str) -> None:
    """The check or the archive ends with 403 on the day when it is needed."""
    role, call = ALLOWED[what]
    call(sessions[role])


@pytest.mark.parametrize("what", DENIED)
def test_a_role_goes_no_further(sessions: dict[str, AwsStandIn], what: str) -> None:
    """A session in the wrong hands, or a command with the wrong bucket, reaches what is not its own."""
    role, call = DENIED[what]
    with pytest.raises(ClientError, match=r"AccessDenied|AuthorizationError"):
        call(sessions[role])


def test_workers_do_not_become_operators(deployed: Deployed, sessions: dict[str, AwsStandIn]) -> None:
    """A worker that is taken over assumes the role that may write into the backups."""
    with pytest.raises(ClientError, match="AccessDenied"):
        sessions["production's workers"].with_role(deployed.production.outputs()["retirementRoleArn"])


def test_machines_that_copy_evidence_become_nothing_else(deployed: Deployed, sessions: dict[str, AwsStandIn]) -> None:
    """The data host is a worker's machine, too: whoever takes the application over archives, or reads all alarms."""
    outputs, iam = deployed.production.outputs(), deployed.aws.iam()
    anything = policy_document({"Action": "sts:AssumeRole", "Resource": "*"})  # the trust alone decides, as on AWS
    role, name = "deltacrown-s3-access", "AssumeAnything"
    iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(anything))
    try:
        workers = sessions["production's workers"]
        workers.with_role(outputs["evidenceRoleArn"]).s3().list_objects_v2(Bucket=BACKUPS, Prefix="evidence/")
        for other in ("retirementRoleArn", "readonlyRoleArn", "fenceRoleArn"):
            with pytest.raises(ClientError, match="AccessDenied"):
                workers.with_role(outputs[other])
    finally:
        iam.delete_role_policy(RoleName=role, PolicyName=name)


def test_the_role_has_no_way_into_iam(deployed: Deployed) -> None:
    """A worker gives itself more rights."""
    with pytest.raises(ClientError, match="AccessDenied"):
        role_of(deployed).iam().put_role_policy(
            RoleName="deltacrown-s3-access-staging", PolicyName="more", PolicyDocument="{}"
        )


def test_plain_http_is_denied_to_the_role(deployed: Deployed) -> None:
    """A client with a wrong URL sends certificates in clear text, and it works."""
    s3 = role_of(deployed).s3()

    def say_plain_http(request: Any, **_: Any) -> None:
        request.headers["X-Forwarded-Proto"] = "http"  # how the stand-in is told of a plain connection

    s3.meta.events.register("before-sign.s3", say_plain_http)
    with pytest.raises(ClientError, match="explicit deny"):
        s3.list_objects_v2(Bucket=STAGING)


def test_nothing_is_pending_after_up(deployed: Deployed) -> None:
    """Previews that always show changes hide the one that matters."""
    deployed.staging.preview(expect_no_changes=True)
    deployed.production.refresh(expect_no_changes=True)


def test_drift_is_seen_and_repaired(deployed: Deployed) -> None:
    """Someone switches a protection off by hand, and Pulumi reports that all is well."""
    s3 = deployed.aws.s3()
    s3.delete_public_access_block(Bucket=STAGING)
    s3.put_bucket_versioning(Bucket=STAGING, VersioningConfiguration={"Status": "Suspended"})
    s3.put_bucket_lifecycle_configuration(
        Bucket=STAGING,
        LifecycleConfiguration={"Rules": s3.get_bucket_lifecycle_configuration(Bucket=STAGING)["Rules"]},
        TransitionDefaultMinimumObjectSize="varies_by_storage_class",
    )
    iam, role = deployed.aws.iam(), "deltacrown-s3-access-staging"
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    iam.put_role_policy(RoleName=role, PolicyName=POLICY_NAME, PolicyDocument=json.dumps(everything))
    iam.update_role(RoleName=role, Description="by hand")
    iam.tag_role(RoleName=role, Tags=[{"Key": "by-hand", "Value": "yes"}])
    iam.remove_role_from_instance_profile(InstanceProfileName=role, RoleName=role)
    with pytest.raises(PulumiError, match="no changes were expected"):
        deployed.staging.refresh(expect_no_changes=True)
    deployed.staging.up()
    assert s3.get_bucket_versioning(Bucket=STAGING)["Status"] == "Enabled"
    assert s3.get_public_access_block(Bucket=STAGING)["PublicAccessBlockConfiguration"]["BlockPublicPolicy"]
    lifecycle = s3.get_bucket_lifecycle_configuration(Bucket=STAGING)
    assert lifecycle["TransitionDefaultMinimumObjectSize"] == "all_storage_classes_128K"
    policy = iam.get_role_policy(RoleName=role, PolicyName=POLICY_NAME)["PolicyDocument"]
    assert policy == certificate_access_policy(STAGING)
    repaired = iam.get_role(RoleName=role)["Role"]
    assert repaired["Description"] != "by hand"
    assert "by-hand" not in {tag["Key"] for tag in repaired["Tags"]}
    assert iam.get_instance_profile(InstanceProfileName=role)["InstanceProfile"]["Roles"]
    deployed.staging.refresh(expect_no_changes=True)


def test_a_setting_that_the_provider_does_not_know_is_named(deployed: Deployed) -> None:
    """A permissions boundary set by hand takes every right from the role, and Pulumi reports that all is well."""
    iam, role = deployed.aws.iam(), "deltacrown-s3-access-staging"
    boundary = iam.create_policy(
        PolicyName="boundary", PolicyDocument=json.dumps(certificate_access_policy(PRODUCTION))
    )["Policy"]["Arn"]
    iam.put_role_permissions_boundary(RoleName=role, PermissionsBoundary=boundary)
    try:
        with pytest.raises(PulumiError, match="AWS holds PermissionsBoundary"):
            deployed.staging.refresh(expect_no_changes=True)
    finally:
        iam.delete_role_permissions_boundary(RoleName=role)
    deployed.staging.refresh(expect_no_changes=True)


def test_production_is_protected_from_destroy(deployed: Deployed) -> None:
    """`pulumi destroy` in the wrong window deletes every certificate, cuts the workers off, or takes the log lines."""
    with pytest.raises(PulumiError, match="protected"):
        deployed.production.destroy()
    try:
        for bucket in (PRODUCTION, BACKUPS):
            deployed.aws.s3().head_bucket(Bucket=bucket)
        policies = deployed.aws.iam().list_role_policies(RoleName="deltacrown-s3-access")["PolicyNames"]
        assert sorted(policies) == [TELEMETRY_POLICY_NAME, POLICY_NAME]
        assert deployed.aws.logs().describe_log_groups(logGroupNamePrefix=GROUPS["production"])["logGroups"]
    finally:
        deployed.production.up()  # what is not protected went: Pulumi deletes that before it refuses the rest
