"""The settings of a stack, read from Pulumi.<stack>.yaml and checked before anything is created."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

import pulumi

if TYPE_CHECKING:
    from collections.abc import Mapping

ENVIRONMENTS = ("staging", "production")
BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
ROLE_NAME = re.compile(r"[\w+=,.@-]{1,64}")
PRINCIPAL_ARN = re.compile(r"arn:aws[a-z-]*:(iam|sts)::\d{12}:.+")


class SettingsError(pulumi.RunError):
    """A setting is missing or wrong; Pulumi prints the sentence without a traceback."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """What differs between stacks."""

    environment: str
    certificate_bucket: str
    backups_bucket: str | None  # production's alone
    role_name: str
    protect: bool  # True: Pulumi refuses to delete or replace the buckets
    trusted_principals: tuple[str, ...]  # ARNs that may assume the role besides EC2 instances

    @property
    def tags(self) -> Mapping[str, str]:
        """The tags of every resource that takes tags."""
        return {"project": "deltacrown-cutover", "environment": self.environment, "managed-by": "pulumi"}


def read_settings(stack: str, config: pulumi.Config) -> Settings:
    """Returns the settings of `stack`; SettingsError names the key and the file of the first bad one."""
    reader = _Reader(stack, config)
    environment = reader.environment()
    return Settings(
        environment=environment,
        certificate_bucket=reader.text("certificateBucket", BUCKET_NAME, "a bucket name"),
        backups_bucket=reader.backups_bucket(environment),
        role_name=reader.text("roleName", ROLE_NAME, "an IAM role name"),
        protect=reader.truth("protect"),
        trusted_principals=reader.principals("trustedPrincipals"),
    )


@dataclasses.dataclass(frozen=True)
class _Reader:
    stack: str
    config: pulumi.Config

    def environment(self) -> str:
        key = "environment"
        environment = self.config.get(key) or self.stack
        if environment not in ENVIRONMENTS:
            raise SettingsError(
                f"'{environment}' is neither staging nor production: name the stack so, "
                f"or set {self.config.full_key(key)} in Pulumi.{self.stack}.yaml."
            )
        return environment

    def backups_bucket(self, environment: str) -> str | None:
        key = "backupsBucket"
        if environment == "production":
            return self.text(key, BUCKET_NAME, "a bucket name")
        if self.config.get(key) is not None:
            raise self._error(key, "belongs to production alone: remove it")
        return None

    def text(self, key: str, pattern: re.Pattern[str], expected: str) -> str:
        value = self._required(key)
        if not pattern.fullmatch(value):
            raise self._error(key, f"is '{value}', which is not {expected}: correct it")
        return value

    def truth(self, key: str) -> bool:
        value = self._required(key)
        if value not in {"true", "false"}:
            raise self._error(key, f"is '{value}': write true or false")
        return value == "true"

    def principals(self, key: str) -> tuple[str, ...]:
        try:
            values = self.config.get_object(key) or []
        except pulumi.ConfigTypeError as error:
            raise self._error(key, "is not a list: write one ARN a line") from error
        if not isinstance(values, list):
            raise self._error(key, "is not a list: write one ARN a line")
        for value in values:
            if not isinstance(value, str) or not PRINCIPAL_ARN.fullmatch(value):
                raise self._error(key, f"holds '{value}', which is not the ARN of a role, user or account")
        return tuple(values)

    def _required(self, key: str) -> str:
        value = self.config.get(key)
        if value is None:
            raise self._error(key, "is missing: set it, with the others of the README's settings table")
        return value

    def _error(self, key: str, fault: str) -> SettingsError:
        return SettingsError(f"{self.config.full_key(key)} in Pulumi.{self.stack}.yaml {fault}.")
