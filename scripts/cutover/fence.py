"""The fence in AWS: an inline policy of the workers' role that denies S3, to single machines' sessions or to the role.

A machine that nobody can reach may come back with its old flags. Its sessions are told apart by their name, the end of
`aws:userid`; on EC2 it is the instance's id. The policy is none of Pulumi's, which leaves it alone.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from cutover.exit_codes import CommandError, ExitCode
from cutover.names import FENCE_POLICY
from cutover.object_store import explain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mypy_boto3_iam import IAMClient

__all__ = ["Fence", "FenceError", "RoleFence", "parsed", "policy"]

READ_BACK_SECONDS = 10.0  # IAM may show a change to the one who made it after some seconds
SETTLE_SECONDS = 2.0  # so long a change must stay: IAM has no "only if nobody else has changed it"
POLL_SECONDS = 0.5
SESSION_NAME = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)  # STS's own rule: no * and no ?, which would deny others, too
_MACHINES, _ROLE = "FencedMachines", "FencedRole"


class FenceError(CommandError):
    """The fence could not be looked at, set or taken away; the sentence names the role and the cause."""

    exit_code = ExitCode.ERROR


@dataclass(frozen=True)
class Fence:
    """To whom S3 is denied: sessions of these names, and the whole role."""

    sessions: frozenset[str] = frozenset()
    whole_role: bool = False

    def __bool__(self) -> bool:
        return bool(self.sessions) or self.whole_role

    def extended(self, sessions: Iterable[str], *, whole_role: bool) -> Fence:
        """The same with these denied, too."""
        return Fence(self.sessions | set(sessions), self.whole_role or whole_role)

    def reduced(self, sessions: Iterable[str], *, whole_role: bool) -> Fence:
        """The same without these."""
        return Fence(self.sessions - set(sessions), self.whole_role and not whole_role)


def policy(fence: Fence) -> dict[str, Any]:
    """Returns the policy document of a fence that denies something; all fenced machines stand in one statement."""
    deny = {"Effect": "Deny", "Action": "s3:*", "Resource": "*"}
    statements: list[dict[str, Any]] = []
    if fence.sessions:
        names = [f"*:{name}" for name in sorted(fence.sessions)]
        statements.append({"Sid": _MACHINES, **deny, "Condition": {"StringLike": {"aws:userid": names}}})
    if fence.whole_role:
        statements.append({"Sid": _ROLE, **deny})
    return {"Version": "2012-10-17", "Statement": statements}


def parsed(document: Mapping[str, Any]) -> Fence:
    """The fence that this policy document is.

    Raises:
        ValueError: it is not as `policy` writes it: somebody changed it by hand.
    """
    try:
        statements = {statement["Sid"]: statement for statement in document["Statement"]}
        names = statements[_MACHINES]["Condition"]["StringLike"]["aws:userid"] if _MACHINES in statements else []
        found = Fence(frozenset(name.removeprefix("*:") for name in names), _ROLE in statements)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("it is no fence of this command's") from error
    if not found or policy(found) != document:
        raise ValueError("it says something else than this command writes")
    return found


@dataclass(frozen=True)
class RoleFence:
    """The fence of one role, through an IAM client; every method raises FenceError if AWS does not say yes."""

    iam: IAMClient
    role: str

    def look(self) -> Fence:
        """What is denied now."""
        try:
            answer = self.iam.get_role_policy(RoleName=self.role, PolicyName=FENCE_POLICY)
        except ClientError as error:
            if _has_no_policy(error):
                return Fence()
            raise self._error("looked at", error) from error
        except BotoCoreError as error:
            raise self._error("looked at", error) from error
        try:
            return parsed(answer["PolicyDocument"])  # type: ignore[arg-type]  # boto3 has decoded it
        except ValueError as error:
            show = f"aws iam get-role-policy --role-name {self.role} --policy-name {FENCE_POLICY}"
            raise FenceError(
                f"the policy {FENCE_POLICY} of {self.role} is left as it is, for {error}: look with {show}"
            ) from error

    def change(self, change: Callable[[Fence], Fence]) -> tuple[Fence, bool]:
        """Makes the fence what `change` makes of it, and sees that it stays; returns it, and whether it was changed.

        Two people on call may fence at once, and each write replaces the whole policy: who finds the own change gone
        makes it again, of what the other one has written.
        """
        deadline = time.monotonic() + READ_BACK_SECONDS
        written: float | None = None
        while True:
            found = self.look()
            wanted = change(found)
            if wanted == found and (written is None or time.monotonic() > written + SETTLE_SECONDS):
                return found, written is not None
            if wanted != found:
                if time.monotonic() > deadline:
                    raise FenceError(
                        f"AWS took the fence of {self.role} and shows another one after {READ_BACK_SECONDS:g} s "
                        f"({_told(found)}): somebody else may be changing it; run this again"
                    )
                self._write(wanted)
                written = time.monotonic()
            time.sleep(POLL_SECONDS)

    def _write(self, wanted: Fence) -> None:
        try:
            if wanted:
                document = json.dumps(policy(wanted), separators=(",", ":"))
                self.iam.put_role_policy(RoleName=self.role, PolicyName=FENCE_POLICY, PolicyDocument=document)
            else:
                self.iam.delete_role_policy(RoleName=self.role, PolicyName=FENCE_POLICY)
        except ClientError as error:
            if wanted or not _has_no_policy(error):  # that is gone already, and was shown late
                raise self._error("changed", error) from error
        except BotoCoreError as error:
            raise self._error("changed", error) from error

    def _error(self, act: str, error: Exception) -> FenceError:
        why = str(error)
        if isinstance(error, ClientError):
            why = explain(str(error.response["Error"].get("Code")), error.response["Error"].get("Message"))[1]
        return FenceError(f"the fence of {self.role} could not be {act}: {why}")


def _has_no_policy(error: ClientError) -> bool:
    """Whether the role has no such policy. A role that is not there is another account, and not "no fence"."""
    return error.response["Error"].get("Code") == "NoSuchEntity" and "role policy" in str(error).lower()


def _told(fence: Fence) -> str:
    sessions = ", ".join(sorted(fence.sessions))
    return "; ".join(["the whole role"] * fence.whole_role + [f"sessions {sessions}"] * bool(sessions)) or "no fence"
