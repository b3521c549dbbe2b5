"""Stand-ins and a provider for the whole session, and both stacks deployed to it by the real CLI."""

from __future__ import annotations

import dataclasses
import json
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from cutover import plan
from infra.access import policy_document
from rehearsal import aws_stand_in, monitoring_stand_in
from rehearsal.pager import Pager, Settings
from rehearsal.provider import MonitoringPlace, serving
from rehearsal.provider.kept import KeptResources
from rehearsal.provider.resource import ACCOUNT
from rehearsal.pulumi_stack import PulumiStack
from rehearsal.service_process import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rehearsal.aws_stand_in import AwsStandIn
    from rehearsal.monitoring_stand_in import MonitoringStandIn


@dataclasses.dataclass(frozen=True)
class Account:
    """Stand-ins for an AWS account, and the provider that speaks to them."""

    aws: AwsStandIn
    provider_port: int
    monitoring: MonitoringStandIn
    kept: KeptResources


@dataclasses.dataclass(frozen=True)
class Deployed(Account):
    """An account with both stacks in it."""

    staging: PulumiStack
    production: PulumiStack
    operator: AwsStandIn  # with the keys of the user who may assume the operators' roles


@contextmanager
def opened(directory: Path) -> Iterator[Account]:
    """An empty account, for the duration of a `with` block."""
    kept = directory / "kept"
    with aws_stand_in.running(directory) as aws, monitoring_stand_in.running(directory) as monitoring:
        keys = (aws.access_key, aws.secret_key)
        place = MonitoringPlace(monitoring.endpoint_url, kept)
        with serving(aws.endpoint_url, *keys, aws_stand_in.REGION, aws.ca_file, monitoring=place) as provider_port:
            yield Account(aws, provider_port, monitoring, KeptResources(kept))


@pytest.fixture(scope="session")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    with opened(tmp_path_factory.mktemp("account")) as account:
        yield account


@pytest.fixture(scope="session")
def pager_url(account: Account, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a pager that confirms its subscriptions; it holds a key."""
    record = tmp_path_factory.mktemp("pager") / "record"
    place = ("127.0.0.1", free_port("127.0.0.1"))
    settings = Settings(*place, secrets.token_hex(16), str(record), account.aws.endpoint_url, account.aws.ca_file)
    with Pager(settings) as pager:
        threading.Thread(target=pager.serve_forever).start()
        try:
            yield settings.integration_url
        finally:
            pager.shutdown()


def operator_of(aws: AwsStandIn) -> tuple[str, AwsStandIn]:
    """A new user who may assume what trusts them: their ARN, and the account with their keys."""
    iam = aws.iam()
    arn = iam.create_user(UserName="operator")["User"]["Arn"]
    policy = policy_document({"Action": "sts:AssumeRole", "Resource": "*"})
    iam.put_user_policy(UserName="operator", PolicyName="AssumeRoles", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName="operator")["AccessKey"]
    return arn, dataclasses.replace(aws, access_key=key["AccessKeyId"], secret_key=key["SecretAccessKey"])


@pytest.fixture(scope="session")
def deployed(account: Account, pager_url: str, tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    """Both stacks, raised at the same time in one account as the rehearsal does it."""
    directory = tmp_path_factory.mktemp("pulumi")
    root = [account.aws.sts().get_caller_identity()["Arn"]]
    operator, keys = operator_of(account.aws)  # root as a principal would be the whole account
    everyone = {"trustedPrincipals": root, "operatorPrincipals": [operator], "fencePrincipals": [operator]}
    endpoints = {"pagerEndpoint": pager_url}
    staging = PulumiStack("staging", directory, account.provider_port, everyone, secrets=endpoints)
    workers = f"arn:aws:iam::{ACCOUNT}:role/{plan.load().deployments['production'].role}"
    own = {"inventory": True, "retirementPrincipals": [operator], "evidencePrincipals": [operator, workers]}
    production = PulumiStack("production", directory, account.provider_port, everyone | own, secrets=endpoints)
    with ThreadPoolExecutor(2) as both:
        for _ in both.map(PulumiStack.up, (staging, production)):
            pass
    return Deployed(account.aws, account.provider_port, account.monitoring, account.kept, staging, production, keys)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A place for a stack that belongs to one test."""
    return tmp_path / "pulumi"
