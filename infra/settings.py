"""The settings of a stack, read from Pulumi.<stack>.yaml and checked before anything is created."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from typing import TYPE_CHECKING, get_args
from urllib.parse import urlsplit

import pulumi

from cutover import plan
from cutover.plan import Deployment

if TYPE_CHECKING:
    from collections.abc import Mapping

ENVIRONMENTS: tuple[Deployment, ...] = get_args(Deployment)
BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
ROLE_NAME = re.compile(r"[\w+=,.@-]{1,64}")
PRINCIPAL_ARN = re.compile(r"arn:aws[a-z-]*:(iam|sts)::\d{12}:[^*?]+")  # IAM takes no pattern here
# A key, never an alias: a role's policy on an alias grants nothing.
KEY_ARN = re.compile(r"arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[\w-]+")


class SettingsError(pulumi.RunError):
    """A setting is missing or wrong; Pulumi prints the sentence without a traceback."""


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """An address that SNS posts to; it holds a key, so neither a repr nor an error shows it."""

    url: str = dataclasses.field(repr=False)

    @property
    def protocol(self) -> str:
        """SNS's name of the protocol: https, in the rehearsal http."""
        return urlsplit(self.url).scheme


@dataclasses.dataclass(frozen=True)
class Settings:
    """What differs between stacks."""

    environment: Deployment
    certificate_bucket: str
    backups_bucket: str | None  # production's alone
    role_name: str
    protect: bool  # True: Pulumi refuses to delete or replace buckets, the workers' role and the log group
    trusted_principals: tuple[str, ...] = ()  # ARNs that may assume the workers' role besides EC2 instances
    # ARNs that may assume the role that looks, that archives, that copies evidence, that fences; none: no such role
    operator_principals: tuple[str, ...] = ()
    retirement_principals: tuple[str, ...] = ()
    evidence_principals: tuple[str, ...] = ()
    fence_principals: tuple[str, ...] = ()
    kms_key_arn: str | None = None  # None: the buckets are encrypted with S3's own keys
    inventory: bool = False  # True: S3 writes a daily list of the certificates into the backups bucket
    pager: Endpoint | None = None  # critical incidents
    chat: Endpoint | None = None  # warnings

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
        operator_principals=reader.principals("operatorPrincipals"),
        retirement_principals=reader.backups_principals("retirementPrincipals", environment),
        evidence_principals=reader.backups_principals("evidencePrincipals", environment),
        fence_principals=reader.fence_principals(),
        kms_key_arn=reader.optional_text("kmsKeyArn", KEY_ARN, "the ARN of a KMS key"),
        inventory=reader.inventory(environment),
        pager=reader.endpoint("pagerEndpoint"),
        chat=reader.endpoint("chatEndpoint"),
    )


@dataclasses.dataclass(frozen=True)
class _Reader:
    stack: str
    config: pulumi.Config

    def environment(self) -> Deployment:
        key = "environment"
        named = self.config.get(key) or self.stack
        for environment in ENVIRONMENTS:
            if named == environment:
                return environment
        raise SettingsError(
            f"'{named}' is neither staging nor production: name the stack so, "
            f"or set {self.config.full_key(key)} in Pulumi.{self.stack}.yaml."
        )

    def backups_bucket(self, environment: Deployment) -> str | None:
        key = "backupsBucket"
        if environment == "production":
            return self.text(key, BUCKET_NAME, "a bucket name")
        if self.config.get(key) is not None:
            raise self._error(key, "belongs to production alone: remove it")
        return None

    def inventory(self, environment: Deployment) -> bool:
        key = "inventory"
        wanted = self.config.get(key) is not None and self.truth(key)
        if wanted and environment != "production":
            raise self._error(key, "is true, and the lists go to the backups bucket of production: remove it")
        return wanted

    def backups_principals(self, key: str, environment: Deployment) -> tuple[str, ...]:
        named = self.principals(key)
        if named and environment != "production":
            raise self._error(key, "is set, and the bucket that its role writes into is production's: remove it")
        return named

    def fence_principals(self) -> tuple[str, ...]:
        """Nobody whose machines could give themselves rights: who may put a policy into a role may put any there."""
        key = "fencePrincipals"
        named = self.principals(key)
        workers = {self.config.get("roleName"), *(names.role for names in plan.load().deployments.values())}
        for arn in named:
            # Of a session, which STS writes as assumed-role/<role>/<session>, the role counts.
            if workers & set(arn.partition("role/")[2].split("/")):
                raise self._error(key, f"names '{arn}', a role of workers, which could then give itself any right")
        return named

    def endpoint(self, key: str) -> Endpoint | None:
        url = self.config.get(key)
        if url is None:
            return None
        if not pulumi.runtime.is_config_secret(self.config.full_key(key)):
            raise self._error(key, f"holds a key and stands there in plain text: {self._secret_command(key)}")
        if not _may_be_posted_to(url):
            raise self._error(key, "is not an https address (plain http is for private IP addresses alone): correct it")
        return Endpoint(url)

    def text(self, key: str, pattern: re.Pattern[str], expected: str) -> str:
        value = self._required(key)
        if not pattern.fullmatch(value):
            raise self._error(key, f"is '{value}', which is not {expected}: correct it")
        return value

    def optional_text(self, key: str, pattern: re.Pattern[str], expected: str) -> str | None:
        return None if self.config.get(key) is None else self.text(key, pattern, expected)

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

    def _secret_command(self, key: str) -> str:
        return f"run `pulumi config set --secret {self.config.full_key(key)} --stack {self.stack}`, which asks for it"

    def _error(self, key: str, fault: str) -> SettingsError:
        return SettingsError(f"{self.config.full_key(key)} in Pulumi.{self.stack}.yaml {fault}.")


def _may_be_posted_to(url: str) -> bool:
    """Whether a key may travel to this address: over TLS, or within a private network as in the rehearsal."""
    try:
        parts = urlsplit(url)
        if parts.scheme == "https":
            return bool(parts.hostname)
        return parts.scheme == "http" and ipaddress.ip_address(parts.hostname or "").is_private
    except ValueError:  # no URL, or a host name over http
        return False
