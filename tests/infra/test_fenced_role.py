"""`cutover fence` under its own role, on stacks raised by the real CLI: whom it denies S3, and what Pulumi does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from cutover import cli
from cutover.names import FENCE_POLICY
from infra.access import policy_document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rehearsal.aws_stand_in import AwsStandIn
    from tests.infra.conftest import Deployed

STAGING, ROLE = "deltacrown-certificates-staging", "deltacrown-s3-access-staging"
KEY = "cutover-probe/fenced"
SAFE, LOST = "i-0aaaaaaaaaaaaaaaa", "i-0bbbbbbbbbbbbbbbb"  # as EC2 names the sessions of two machines


@pytest.fixture
def cutover(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., tuple[int, dict[str, Any]]]]:
    """Runs the command as the operator who may assume the fence's role and nothing else of IAM."""
    operator = deployed.operator
    monkeypatch.setenv("AWS_ENDPOINT_URL", operator.endpoint_url)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(operator.ca_file))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", operator.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", operator.secret_key)
    for name in ("AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    arn = deployed.staging.outputs()["fenceRoleArn"]

    def run(command: str, *arguments: str, role_arn: str = arn) -> tuple[int, dict[str, Any]]:
        code = cli.main([command, "--deployment", "staging", "--role-arn", role_arn, "--json", *arguments])
        said = capsys.readouterr()
        return code, json.loads(said.out) if said.out else {"error": said.err}

    yield run
    deployed.aws.iam().put_role_policy(RoleName=ROLE, PolicyName=FENCE_POLICY, PolicyDocument=json.dumps(NOTHING))
    deployed.aws.iam().delete_role_policy(RoleName=ROLE, PolicyName=FENCE_POLICY)


NOTHING = policy_document({"Sid": "Nothing", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::nobody"})


def machine(deployed: Deployed, session: str) -> AwsStandIn:
    return deployed.aws.with_role(deployed.staging.outputs()["roleArn"], session)


def saves(aws: AwsStandIn) -> bool:
    try:
        aws.s3().put_object(Bucket=STAGING, Key=KEY, Body=b"bytes")
    except ClientError as error:
        if "explicit deny" not in str(error):
            raise
        return False
    return True


def test_a_fence_denies_one_machine_and_pulumi_leaves_it_alone(
    deployed: Deployed, cutover: Callable[..., tuple[int, dict[str, Any]]]
) -> None:
    """The machine that comes back writes to S3 all the same; or all machines are denied; or the next `up` frees it."""
    safe, lost = machine(deployed, SAFE), machine(deployed, LOST)
    assert saves(safe)
    assert saves(lost)
    url = lost.s3().generate_presigned_url("get_object", Params={"Bucket": STAGING, "Key": KEY})
    code, found = cutover("fence", "--session", LOST)
    assert (code, found["sessions"], found["whole_role"], found["changed"]) == (0, [LOST], False, True)
    assert saves(safe)
    assert not saves(lost)
    assert not saves(machine(deployed, LOST))  # a new session of the same machine
    assert status_of(url, str(deployed.aws.ca_file)) == 403
    assert cutover("fence", "--session", LOST)[1]["changed"] is False
    deployed.staging.preview(expect_no_changes=True)
    deployed.staging.refresh(expect_no_changes=True)
    deployed.staging.up()
    assert cutover("fence", "--show")[1]["sessions"] == [LOST]
    assert not saves(lost)
    code, found = cutover("unfence", "--session", LOST)
    assert (code, found["sessions"]) == (0, [])
    assert FENCE_POLICY not in deployed.aws.iam().list_role_policies(RoleName=ROLE)["PolicyNames"]
    assert saves(lost)
    assert status_of(url, str(deployed.aws.ca_file)) == 200


def test_machines_and_the_role_share_one_policy(
    deployed: Deployed, cutover: Callable[..., tuple[int, dict[str, Any]]]
) -> None:
    """The second machine's fence frees the first one; or the role's end frees the machine."""
    safe, lost = machine(deployed, SAFE), machine(deployed, LOST)
    cutover("fence", "--session", LOST)
    assert cutover("fence", "--session", SAFE)[1]["sessions"] == [SAFE, LOST]
    cutover("unfence", "--session", SAFE)
    assert cutover("fence", "--role")[1] | {"changed": None} == {
        "deployment": "staging",
        "role": ROLE,
        "sessions": [LOST],
        "whole_role": True,
        "changed": None,
    }
    assert not saves(safe)
    cutover("unfence", "--role")
    assert saves(safe)
    assert not saves(lost)
    assert cutover("unfence", "--all")[0] == 0
    assert saves(lost)


def test_what_aws_refuses_is_no_fence(
    deployed: Deployed, cutover: Callable[..., tuple[int, dict[str, Any]]], capsys: pytest.CaptureFixture[str]
) -> None:
    """An operator without the right is told that the machine is fenced; or a policy that somebody wrote is replaced."""
    code, said = cutover("fence", "--session", LOST, role_arn=deployed.staging.outputs()["readonlyRoleArn"])
    assert (code, "could not be looked at: AccessDenied" in said["error"]) == (4, True), said
    code = cli.main(["unfence", "--deployment", "production", "--all", "--role-arn", deployed_fence_role(deployed)])
    assert code == 4  # staging's role may not look at production's
    assert "deltacrown-s3-access could not be looked at" in capsys.readouterr().err
    document = json.dumps(NOTHING)
    deployed.aws.iam().put_role_policy(RoleName=ROLE, PolicyName=FENCE_POLICY, PolicyDocument=document)
    code, said = cutover("unfence", "--all")
    assert (code, "is left as it is" in said["error"]) == (4, True), said


def deployed_fence_role(deployed: Deployed) -> str:
    return str(deployed.staging.outputs()["fenceRoleArn"])


def status_of(url: str, authorities: str) -> int:
    import ssl
    import urllib.error
    import urllib.request

    https = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=authorities))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), https)
    try:
        with opener.open(url, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_a_machine_tells_the_name_by_which_it_is_fenced(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The inventory names another instance, and the fence is one of nobody."""
    lost, environment = machine(deployed, LOST), tmp_path / "staging.env"
    environment.write_text(
        f"AWS_ENDPOINT_URL={lost.endpoint_url}\nAWS_CA_BUNDLE={lost.ca_file}\nAWS_ACCESS_KEY_ID={lost.access_key}\n"
        f"AWS_SECRET_ACCESS_KEY={lost.secret_key}\nAWS_SESSION_TOKEN={lost.session_token}\nNO_PROXY=*\n"
    )
    for line in environment.read_text().splitlines():  # what the command puts there goes with the test
        monkeypatch.setenv(line.partition("=")[0], "")
    assert cli.main(["session", "--env-file", str(environment)]) == 0
    assert capsys.readouterr().out == f"{LOST}\n"
    user = deployed.operator
    environment.write_text(f"AWS_ACCESS_KEY_ID={user.access_key}\nAWS_SECRET_ACCESS_KEY={user.secret_key}\n")
    monkeypatch.delenv("AWS_SESSION_TOKEN")
    assert cli.main(["session", "--env-file", str(environment)]) == 4
    assert "has no session" in capsys.readouterr().err
