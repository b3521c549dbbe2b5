"""The cloud part of the rehearsal: both stacks by the real CLI against the AWS stand-in."""

from __future__ import annotations

import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from cutover import plan
from rehearsal.claims import ClaimError
from rehearsal.lab import credentials, monitoring
from rehearsal.lab.topology import DEPLOYMENTS, REGION, STATE_DIRECTORY
from rehearsal.provider.launch import serving
from rehearsal.pulumi_stack import PulumiStack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal.lab import Lab

__all__ = ["buckets_exist", "powerless_user_is_denied", "stacks", "up"]


@contextmanager
def stacks(lab: Lab) -> Iterator[list[PulumiStack]]:
    """The two stacks, with a provider that serves them until the end of the block."""
    aws = lab.aws
    settings = {name: _settings(lab, name) for name in DEPLOYMENTS}
    secrets = {"pagerEndpoint": monitoring.integration_url()}
    root_keys = (aws.access_key, aws.secret_key)
    with serving(aws.endpoint_url, *root_keys, REGION, ca_file=aws.ca_file, monitoring=monitoring.place()) as port:
        yield [
            PulumiStack(name, STATE_DIRECTORY / "pulumi", port, own, secrets=secrets) for name, own in settings.items()
        ]


def up(lab: Lab, deployed: list[PulumiStack]) -> None:
    """Brings the stacks up side by side; PulumiError of the first that fails."""
    with ThreadPoolExecutor(len(deployed)) as pool:
        for done in [pool.submit(stack.up) for stack in deployed]:
            done.result()
    for name in DEPLOYMENTS:
        _allow_operator_roles(lab, name)


def _settings(lab: Lab, deployment: str) -> dict[str, Any]:
    """Returns a stack's settings here: data hosts assume the operators' roles, to check and to copy evidence."""
    roles = {name: credentials.role_arn(lab.machines_user_arn, each.role) for name, each in DEPLOYMENTS.items()}
    settings = {"trustedPrincipals": [lab.machines_user_arn], "operatorPrincipals": [roles[deployment]]}
    if plan.load().deployments[deployment].evidence_role:  # type: ignore[index]  # a name of the table
        settings |= {"retirementPrincipals": [roles[deployment]], "evidencePrincipals": list(roles.values())}
    # The operator of the rehearsal has the stand-in's own keys; under this role they may do no more than it says.
    return settings | {"protect": False, "fencePrincipals": [credentials.account_arn(lab.machines_user_arn)]}


def _allow_operator_roles(lab: Lab, deployment: str) -> None:
    """Lets the machines' role assume the operators' roles: AWS takes their trust for it, the stand-in wants both."""
    table = plan.load().deployments
    names = table[deployment]  # type: ignore[index]  # a name of the table
    evidence = (each.evidence_role for each in table.values())  # one deployment's role, which all data hosts assume
    roles = [name for name in (names.readonly_role, names.retirement_role, *evidence) if name]
    statement = {
        "Effect": "Allow",
        "Action": "sts:AssumeRole",
        "Resource": [credentials.role_arn(lab.machines_user_arn, name) for name in roles],
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    lab.aws.iam().put_role_policy(RoleName=names.role, PolicyName="AssumeOperatorRoles", PolicyDocument=policy)


def powerless_user_is_denied(lab: Lab) -> str:
    """Proves that the stand-in enforces IAM: a user without any policy may not list buckets; ClaimError if it may."""
    iam = lab.aws.iam()
    iam.create_user(UserName="powerless")
    key = iam.create_access_key(UserName="powerless")["AccessKey"]
    powerless = dataclasses.replace(lab.aws, access_key=key["AccessKeyId"], secret_key=key["SecretAccessKey"])
    try:
        powerless.s3().list_buckets()
    except ClientError as error:
        if error.response["Error"].get("Code") == "AccessDenied":
            return "a user without policies is denied"
        raise
    raise ClaimError("a user without any policy may list buckets: IAM is not enforced")


def buckets_exist(lab: Lab, deployed: list[PulumiStack]) -> str:
    """The buckets that the stacks say they made, each asked for at the stand-in; ClientError if one is not there."""
    outputs = [output for stack in deployed for output in stack.outputs().items()]
    buckets = sorted(value for name, value in outputs if name in {"certificateBucket", "backupsBucket"})
    s3 = lab.aws.s3()
    for bucket in buckets:
        s3.head_bucket(Bucket=bucket)
    return ", ".join(buckets)
