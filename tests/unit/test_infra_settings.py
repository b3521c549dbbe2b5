"""The settings of a stack: each wrong one is refused by key and file, before anything is created."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pulumi
import pytest
import yaml

from cutover import plan
from infra.settings import Settings, SettingsError, read_settings

if TYPE_CHECKING:
    from cutover.plan import Deployment

REPOSITORY = Path(__file__).resolve().parents[2]
STAGING = {"certificateBucket": "some-bucket", "roleName": "some-role", "protect": "false"}
PRODUCTION = STAGING | {"backupsBucket": "some-backups", "protect": "true"}


def settings(stack: str, values: dict[str, str]) -> Settings:
    pulumi.runtime.set_all_config({f"deltacrown-cutover:{key}": value for key, value in values.items()})
    return read_settings(stack, pulumi.Config("deltacrown-cutover"))


def test_good_settings_are_read() -> None:
    """A setting that is read wrongly reaches AWS unnoticed."""
    arns = ["arn:aws:iam::123456789012:role/operator"]
    read = settings("production", PRODUCTION | {"trustedPrincipals": json.dumps(arns)})
    assert read == Settings("production", "some-bucket", "some-backups", "some-role", True, tuple(arns))
    assert read.tags["environment"] == "production"


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
        ("backupsBucket", "some-backups"),  # staging has none
    ],
)
def test_a_wrong_setting_is_named(key: str, value: str) -> None:
    """A typo becomes a bucket, a role or a trust of its own."""
    with pytest.raises(SettingsError, match=f"deltacrown-cutover:{key} in Pulumi.staging.yaml"):
        settings("staging", STAGING | {key: value})


@pytest.mark.parametrize("values", [STAGING, STAGING | {"environment": "live"}])
def test_an_unknown_environment_is_refused(values: dict[str, str]) -> None:
    """A mistyped stack name makes a third set of buckets that nobody looks at."""
    with pytest.raises(SettingsError, match=r"neither staging nor production.*Pulumi\.prod\.yaml"):
        settings("prod", values)
