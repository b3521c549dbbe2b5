"""The settings of a stack: each wrong one is refused by key and file, before anything is created."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pulumi
import pytest
import yaml

from cutover import plan
from infra.settings import Endpoint, Settings, SettingsError, read_settings

if TYPE_CHECKING:
    from cutover.plan import Deployment

REPOSITORY = Path(__file__).resolve().parents[2]
STAGING = {"certificateBucket": "some-bucket", "roleName": "some-role", "protect": "false"}
PAGER = "https://events.example.com/integration/told-to-nobody/enqueue"
PRODUCTION = STAGING | {"backupsBucket": "some-backups", "protect": "true", "pagerEndpoint": PAGER}
SECRETS = ("pagerEndpoint", "chatEndpoint")


def settings(stack: str, values: dict[str, str], secrets: tuple[str, ...] = SECRETS) -> Settings:
    config = {f"deltacrown-cutover:{key}": value for key, value in values.items()}
    pulumi.runtime.set_all_config(config, [f"deltacrown-cutover:{key}" for key in secrets])
    return read_settings(stack, pulumi.Config("deltacrown-cutover"))


def test_good_settings_are_read() -> None:
    """A setting that is read wrongly reaches AWS unnoticed."""
    workers, operators = "arn:aws:iam::123456789012:role/workers", "arn:aws:iam::123456789012:role/operators"
    archiver, data_host = "arn:aws:iam::123456789012:role/archiver", "arn:aws:iam::123456789012:role/staging"
    key, chat = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab", "http://10.0.0.1/hook"
    values = {
        "trustedPrincipals": json.dumps([workers]),
        "operatorPrincipals": json.dumps([operators]),
        "retirementPrincipals": json.dumps([archiver]),
        "evidencePrincipals": json.dumps([data_host]),
        "fencePrincipals": json.dumps([operators]),
        "kmsKeyArn": key,
        "inventory": "true",
        "chatEndpoint": chat,
    }
    read = settings("production", PRODUCTION | values)
    assert read == Settings(
        environment="production",
        certificate_bucket="some-bucket",
        backups_bucket="some-backups",
        role_name="some-role",
        protect=True,
        trusted_principals=(workers,),
        operator_principals=(operators,),
        retirement_principals=(archiver,),
        evidence_principals=(data_host,),
        fence_principals=(operators,),
        kms_key_arn=key,
        inventory=True,
        pager=Endpoint(PAGER),
        chat=Endpoint(chat),
    )
    assert (Endpoint(PAGER).protocol, Endpoint(chat).protocol) == ("https", "http")
    assert read.tags["environment"] == "production"


def test_what_is_not_set_is_off() -> None:
    """A key, a list or a page that nobody asked for is made, and billed or sent."""
    assert settings("staging", STAGING) == Settings("staging", "some-bucket", None, "some-role", protect=False)


@pytest.mark.parametrize("deployment", ["staging", "production"])
def test_the_stack_files_and_the_plan_give_the_same_names(deployment: Deployment) -> None:
    """Pulumi makes one bucket, and the workers are told to write to another."""
    stack = yaml.safe_load((REPOSITORY / f"Pulumi.{deployment}.yaml").read_text(encoding="utf-8"))["config"]
    names = plan.load().deployments[deployment]
    assert stack["deltacrown-cutover:certificateBucket"] == names.bucket
    assert stack["deltacrown-cutover:roleName"] == names.role


def test_a_stack_of_another_name_says_its_environment() -> None:
    """A second account's stack could not be used at all."""
    assert settings("eu-staging", STAGING | {"environment": "staging"}).environment == "staging"


@pytest.mark.parametrize("key", ["certificateBucket", "roleName", "protect", "backupsBucket"])
def test_a_missing_setting_is_named(key: str) -> None:
    """Half of a stack is created before the missing setting is met."""
    values = {name: value for name, value in PRODUCTION.items() if name != key}
    with pytest.raises(SettingsError, match=f"deltacrown-cutover:{key} in Pulumi.production.yaml is missing"):
        settings("production", values)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("certificateBucket", "No_Bucket"),
        ("roleName", "a role"),
        ("protect", "yes"),
        ("trustedPrincipals", "arn:aws:iam::123456789012:root"),  # not a list
        ("trustedPrincipals", '{"arn": 1}'),
        ("trustedPrincipals", '["*"]'),  # would let the whole world in
        ("operatorPrincipals", '["*"]'),
        ("operatorPrincipals", '["arn:aws:iam::123456789012:role/*"]'),  # IAM refuses it, after the buckets are made
        ("evidencePrincipals", '["arn:aws:iam::123456789012:role/a"]'),  # its bucket is production's
        ("retirementPrincipals", '["arn:aws:iam::123456789012:role/a"]'),
        ("fencePrincipals", '["arn:aws:iam::123456789012:role/some-role"]'),  # the workers': it could widen itself
        ("fencePrincipals", '["arn:aws:iam::123456789012:role/path/deltacrown-s3-access"]'),  # production's workers
        ("fencePrincipals", '["arn:aws:sts::123456789012:assumed-role/some-role/i-0aa"]'),  # a machine's session
        ("kmsKeyArn", "arn:aws:kms:us-east-1:123456789012:alias/certificates"),  # a policy on an alias grants nothing
        ("inventory", "daily"),
        ("inventory", "true"),  # the lists go to a bucket that staging does not have
        ("backupsBucket", "some-backups"),  # staging has none
    ],
)
def test_a_wrong_setting_is_named(key: str, value: str) -> None:
    """A typo becomes a bucket, a role or a trust of its own."""
    with pytest.raises(SettingsError, match=f"deltacrown-cutover:{key} in Pulumi.staging.yaml"):
        settings("staging", STAGING | {key: value})


@pytest.mark.parametrize("key", SECRETS)
def test_an_endpoint_in_plain_text_is_refused(key: str) -> None:
    """The key to the pager is committed, and anyone can page the on-call or resolve their page."""
    command = f"pulumi config set --secret deltacrown-cutover:{key} --stack production"
    with pytest.raises(
        SettingsError, match=f"{key} in Pulumi.production.yaml .*plain text: run `{command}`"
    ) as refusal:
        settings("production", PRODUCTION | {key: PAGER}, secrets=tuple({*SECRETS} - {key}))
    assert "told-to-nobody" not in str(refusal.value)


@pytest.mark.parametrize("key", SECRETS)
@pytest.mark.parametrize(
    "url",
    [
        "http://events.example.com/told-to-nobody",
        "http://8.8.8.8/told-to-nobody",
        "https:///told-to-nobody",
        "https://[told-to-nobody",
        "ftp://10.0.0.1/told-to-nobody",
        "told-to-nobody",
    ],
)
def test_an_endpoint_that_would_show_its_key_is_refused(key: str, url: str) -> None:
    """The key travels through the Internet in clear text, or stands in the terminal's scrollback."""
    with pytest.raises(SettingsError, match=f"{key} in Pulumi.production.yaml is not an https address") as refusal:
        settings("production", PRODUCTION | {key: url})
    assert "told-to-nobody" not in str(refusal.value)


def test_an_endpoint_is_not_shown() -> None:
    """A traceback in a CI log shows the settings, and with them the pager's key."""
    assert "told-to-nobody" not in repr(settings("production", PRODUCTION))


@pytest.mark.parametrize("values", [STAGING, STAGING | {"environment": "live"}])
def test_an_unknown_environment_is_refused(values: dict[str, str]) -> None:
    """A mistyped stack name makes a third set of buckets that nobody looks at."""
    with pytest.raises(SettingsError, match=r"neither staging nor production.*Pulumi\.prod\.yaml"):
        settings("prod", values)
