"""Stacks that come and go, and what the program and the provider refuse; each in names of its own."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from rehearsal.pulumi_stack import PulumiError, PulumiStack

if TYPE_CHECKING:
    from tests.infra.conftest import Account

PROGRAMS = Path(__file__).parent / "programs"
NAMES = {"certificateBucket": "life-certificates", "roleName": "life-access", "environment": "staging"}


def bucket_names(account: Account) -> set[str]:
    return {bucket["Name"] for bucket in account.aws.s3().list_buckets()["Buckets"]}


def is_gone(account: Account, role: str) -> bool:
    try:
        account.aws.iam().get_role(RoleName=role)
    except ClientError as error:
        return error.response["Error"]["Code"] == "NoSuchEntity"
    return False


def test_an_existing_bucket_is_adopted_and_everything_goes_again(account: Account, directory: Path) -> None:
    """The customer's bucket with all certificates cannot be taken over, or is left half deleted."""
    s3 = account.aws.s3()
    s3.create_bucket(Bucket="life-certificates")
    stack = PulumiStack("life", directory, account.provider_port, NAMES | {"protect": False})
    with pytest.raises(PulumiError, match="life-certificates exists already: import it"):
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
                    "id": "life-certificates",
                    "parent": "store",
                },
            ]
        }
    )
    stack.up()
    assert s3.get_bucket_versioning(Bucket="life-certificates")["Status"] == "Enabled"
    stack.preview(expect_no_changes=True)
    stack.destroy()
    assert "life-certificates" not in bucket_names(account)
    assert is_gone(account, "life-access")


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
