"""The credentials endpoint against a real AWS stand-in: each address gets its own deployment's role, or nothing."""

from __future__ import annotations

import dataclasses
import datetime
import http.client
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from rehearsal import aws_stand_in
from rehearsal.lab import LabError, credentials
from rehearsal.lab.topology import DEPLOYMENTS, MACHINES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rehearsal.aws_stand_in import AwsStandIn

ROLE = "deltacrown-s3-access-staging"


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AwsStandIn]:
    directory = tmp_path_factory.mktemp("aws")
    yield aws_stand_in.start(directory)
    aws_stand_in.stop(directory)


@pytest.fixture(scope="module")
def registered(stand_in: AwsStandIn) -> tuple[str, credentials.Settings]:
    return credentials.register(stand_in, 900)


@pytest.fixture
def port(registered: tuple[str, credentials.Settings], tmp_path: Path) -> Iterator[int]:
    """An endpoint that takes 127.0.0.1 for a machine of staging."""
    _, settings = registered
    role_arns = {"127.0.0.1": settings.role_arns[MACHINES["staging1"].address]}
    file = tmp_path / "settings.json"
    credentials.Settings(settings.stand_in, role_arns, 900).write(file)
    assert file.stat().st_mode & 0o077 == 0
    with credentials.Endpoint(("127.0.0.1", 0), credentials.Settings.read(file)) as endpoint:
        threading.Thread(target=endpoint.serve_forever, daemon=True).start()
        yield endpoint.server_address[1]
        endpoint.shutdown()


def get(port: int, path: str = "/role", source: str = "127.0.0.1") -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10, source_address=(source, 0))
    connection.request("GET", path)
    response = connection.getresponse()
    body: dict[str, Any] = json.loads(response.read())
    connection.close()
    return response.status, body


def test_before_the_role_exists_and_after(
    stand_in: AwsStandIn, registered: tuple[str, credentials.Settings], port: int
) -> None:
    """Machines that boot before `pulumi up` must get their credentials later without a restart."""
    status, body = get(port)
    assert (status, body["code"]) == (503, "RoleNotReady")
    assert ROLE in body["message"]
    trust = {"Effect": "Allow", "Principal": {"AWS": registered[0]}, "Action": "sts:AssumeRole"}
    stand_in.iam().create_role(
        RoleName=ROLE,
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
    )
    status, body = get(port)
    assert status == 200
    machine = dataclasses.replace(
        stand_in,
        access_key=body["AccessKeyId"],
        secret_key=body["SecretAccessKey"],
        session_token=body["Token"],
    )
    # By its address a fence tells the machine's session from another's.
    assert machine.sts().get_caller_identity()["Arn"].endswith(f":assumed-role/{ROLE}/127.0.0.1")
    assert get(port)[1]["AccessKeyId"] == body["AccessKeyId"]


def test_an_endpoint_that_does_not_come_up_is_quoted(
    registered: tuple[str, credentials.Settings], tmp_path: Path
) -> None:
    """Every upload of the rehearsal would fail for want of credentials, with no word about the reason."""
    refusal = ["sh", "-c", "echo first >&2; echo 'no such network' >&2; exit 1"]
    with pytest.raises(LabError, match=r"its log says: no such network \(all of it: .*credentials\.log"):
        credentials.start(registered[1], tmp_path, command_prefix=refusal)


def test_a_stranger_gets_no_credentials(port: int) -> None:
    """The load balancer has no business in the buckets."""
    status, body = get(port, source="127.0.0.2")
    assert (status, body["code"]) == (403, "NoRole")
    assert "AccessKeyId" not in body


def test_only_the_role_is_served(port: int) -> None:
    """A typing error in the environment file must not look like a missing permission."""
    assert get(port, "/roles")[0] == 404


def test_each_machine_has_the_role_of_its_deployment(registered: tuple[str, credentials.Settings]) -> None:
    """With production's role, staging would write among customers' certificates."""
    _, settings = registered
    assert {address: arn.rpartition("/")[2] for address, arn in settings.role_arns.items()} == {
        machine.address: machine.deployment.role for machine in MACHINES.values() if machine.deployment
    }
    assert {deployment.role for deployment in DEPLOYMENTS.values()} == {ROLE, "deltacrown-s3-access"}


def test_a_session_is_renewed_at_half_of_its_life(registered: tuple[str, credentials.Settings]) -> None:
    """A session handed out until its last second expires in the middle of an upload."""
    _, settings = registered
    arn = settings.role_arns[MACHINES["staging1"].address]
    passed = datetime.timedelta()
    sessions = credentials.Sessions(settings.stand_in.sts(), 900, lambda: datetime.datetime.now(datetime.UTC) + passed)
    first = sessions.credentials(arn, "web1")
    passed = datetime.timedelta(seconds=440)
    assert sessions.credentials(arn, "web1") == first
    assert sessions.credentials(arn, "web2")["Token"] != first["Token"]
    passed = datetime.timedelta(seconds=460)
    assert sessions.credentials(arn, "web1")["Token"] != first["Token"]
