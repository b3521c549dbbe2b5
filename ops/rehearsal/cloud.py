"""The cloud part of the rehearsal: both stacks by the real CLI against the AWS stand-in."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rehearsal.lab.topology import DEPLOYMENTS, REGION, STATE_DIRECTORY
from rehearsal.provider.launch import serving
from rehearsal.pulumi_stack import PulumiStack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal.lab import Lab

__all__ = ["stacks", "up"]


@contextmanager
def stacks(lab: Lab) -> Iterator[list[PulumiStack]]:
    """The two stacks, with a provider that serves them until the end of the block."""
    aws = lab.aws
    settings = {"trustedPrincipals": [lab.machines_user_arn], "protect": False}
    with serving(aws.endpoint_url, aws.access_key, aws.secret_key, REGION, ca_file=aws.ca_file) as port:
        yield [PulumiStack(name, STATE_DIRECTORY / "pulumi", port, settings) for name in DEPLOYMENTS]


def up(deployed: list[PulumiStack]) -> None:
    """Brings the stacks up side by side; PulumiError of the first that fails."""
    with ThreadPoolExecutor(len(deployed)) as pool:
        for done in [pool.submit(stack.up) for stack in deployed]:
            done.result()
