"""The fence's policy document, word for word, and what IAM's answers make of it; AWS's side: tests/infra."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from cutover import cli, fence
from cutover.fence import Fence, FenceError, RoleFence, parsed, policy

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient

ROLE = "deltacrown-s3-access"
MACHINE = Fence(frozenset({"i-0aa"}))
NO_POLICY = ("NoSuchEntity", "The role policy with name CutoverFence cannot be found.")
NO_ROLE = ("NoSuchEntity", "The role with name deltacrown-s3-access cannot be found.")


def test_only_sessions_of_these_machines_are_denied_s3_and_nothing_else() -> None:
    """A fence of web1 that is one of web10, too, or that takes the log lines away."""
    assert policy(Fence(frozenset({"i-0bb", "i-0aa"}))) == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "FencedMachines",
                "Effect": "Deny",
                "Action": "s3:*",
                "Resource": "*",
                "Condition": {"StringLike": {"aws:userid": ["*:i-0aa", "*:i-0bb"]}},
            }
        ],
    }


@pytest.mark.parametrize("given", [MACHINE, Fence(whole_role=True), Fence(frozenset({"a1", "b2"}), whole_role=True)])
def test_a_document_is_read_as_it_was_written(given: Fence) -> None:
    assert parsed(json.loads(json.dumps(policy(given)))) == given


@pytest.mark.parametrize(
    "change",
    [
        {"Effect": "Allow"},
        {"Action": "s3:GetObject"},
        {"Sid": "Other"},
        {"Condition": {"StringEquals": {"aws:userid": ["*:i-0aa"]}}},
        {"Condition": {"StringLike": {"aws:userid": ["AROA1:i-0aa"]}}},
    ],
)
def test_a_policy_that_somebody_wrote_is_no_fence(change: dict[str, Any]) -> None:
    """It would be reported as a fence that denies, or be overwritten."""
    document = policy(MACHINE)
    document["Statement"][0] |= change
    with pytest.raises(ValueError, match="it "):
        parsed(document)


class Iam:
    """Answers as IAM does.

    `loses` drops what is put, `stale` shows the state before for so many looks, `rival` is what somebody else, who has
    looked before, puts in the place of the first change.
    """

    def __init__(
        self,
        *,
        absent: tuple[str, str] = NO_POLICY,
        loses: bool = False,
        stale: int = 0,
        rival: Fence | None = None,
    ) -> None:
        self.document: dict[str, Any] | None = None
        self.absent, self.loses, self.stale, self.rival = absent, loses, stale, rival
        self.looks = 0
        self._before: dict[str, Any] | None = None

    def get_role_policy(self, **_: str) -> dict[str, Any]:
        self.stale -= 1
        self.looks += 1
        if self.rival and self.document and self.looks > 2:  # the first change has been seen
            self.document, self.rival = policy(self.rival), None
        shown = self._before if self.stale >= 0 else self.document
        if shown is None:
            code, message = self.absent
            raise ClientError({"Error": {"Code": code, "Message": message}}, "GetRolePolicy")
        return {"PolicyDocument": shown}

    def put_role_policy(self, **given: str) -> None:
        if not self.loses:
            self._before, self.document = self.document, json.loads(given["PolicyDocument"])

    def delete_role_policy(self, **_: str) -> None:
        if self.document is None:
            raise ClientError({"Error": {"Code": NO_POLICY[0], "Message": NO_POLICY[1]}}, "DeleteRolePolicy")
        self._before, self.document = self.document, None


def guarded(iam: object) -> RoleFence:
    client: IAMClient = iam  # type: ignore[assignment]
    return RoleFence(client, ROLE)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fence, "READ_BACK_SECONDS", 0.05)
    monkeypatch.setattr(fence, "POLL_SECONDS", 0.005)
    monkeypatch.setattr(fence, "SETTLE_SECONDS", 0.02)


def deny(found: Fence) -> Fence:
    return found.extended(["i-0aa"], whole_role=False)


def free(found: Fence) -> Fence:
    return found.reduced(["i-0aa"], whole_role=False)


def test_a_fence_is_set_and_taken_away_and_read_back() -> None:
    subject = guarded(Iam())
    assert subject.change(deny) == (MACHINE, True)
    assert subject.change(deny) == (MACHINE, False)
    assert subject.look() == MACHINE
    assert subject.change(free) == (Fence(), True)
    assert subject.change(free) == (Fence(), False)


def test_a_change_that_shows_late_is_waited_for() -> None:
    iam = Iam(stale=3)
    assert guarded(iam).change(deny) == (MACHINE, True)
    iam.stale = 3
    assert guarded(iam).change(free) == (Fence(), True)


def test_a_fence_that_somebody_overwrites_at_the_same_moment_is_made_again() -> None:
    """Two people fence a machine each, the second write replaces the first, and both are told that it is done."""
    other = Fence(frozenset({"i-0bb"}))
    both = Fence(frozenset({"i-0aa", "i-0bb"}))
    iam = Iam(rival=other)
    assert guarded(iam).change(deny) == (both, True)
    assert parsed(iam.document or {}) == both


def test_a_change_that_never_shows_is_no_fence() -> None:
    """AWS said yes, somebody else's fence replaced ours, and the report says that the machine is fenced."""
    with pytest.raises(FenceError, match=r"shows another one after 0\.05 s \(no fence\)"):
        guarded(Iam(loses=True)).change(deny)


def test_a_role_that_is_not_there_is_not_unfenced() -> None:
    """With the keys of another account "no fence" would be true, and of no use."""
    with pytest.raises(FenceError, match="The role with name deltacrown-s3-access cannot be found"):
        guarded(Iam(absent=NO_ROLE)).change(free)


def test_an_aws_that_cannot_be_reached_is_told() -> None:
    class Dead(Iam):
        def get_role_policy(self, **_: str) -> dict[str, Any]:
            raise EndpointConnectionError(endpoint_url="https://iam.amazonaws.com")

    with pytest.raises(FenceError, match=r"could not be looked at: Could not connect"):
        guarded(Dead()).look()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["fence", "--deployment", "staging"], "say what to fence"),
        (["fence", "--deployment", "staging", "--show", "--role"], "or only --show"),
        (["unfence", "--deployment", "staging"], "say what to unfence"),
        (["unfence", "--deployment", "staging", "--all", "--role"], "or --all"),
    ],
)
def test_nothing_is_fenced_by_an_order_that_is_not_clear(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("name", ["*", "i-0?", "", "web 1"])
def test_a_session_s_name_is_no_pattern(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A star would deny S3 to every machine."""
    with pytest.raises(SystemExit):
        cli.main(["fence", "--deployment", "staging", "--session", name])
    assert "is no session's name" in capsys.readouterr().err
