"""The endpoint from which the machines' AWS SDKs fetch temporary credentials, as on ECS.

Each machine gets credentials of its own deployment's role, told by its address, in a session that is named by it, as
EC2 names sessions by the instance. They are the machines' only ones, so that an error in a policy shows as a 403 in the
rehearsal.
"""

from __future__ import annotations

import dataclasses
import datetime
import http.server
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from rehearsal.aws_stand_in import AwsStandIn
from rehearsal.json_answer import send_json
from rehearsal.lab.commands import LabError
from rehearsal.lab.topology import CREDENTIALS_ADDRESS, CREDENTIALS_PATH, DEPLOYMENTS, MACHINES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mypy_boto3_sts.client import STSClient
    from mypy_boto3_sts.type_defs import CredentialsTypeDef

PORT = 80
START_SECONDS = 30.0  # it answers after about one second; a machine busy with builds needs longer
POLL_SECONDS = 0.1
USER = "rehearsal-machines"
# An hour is what AWS allows a role assumed by a role. An SDK asks again at every call once less than 15 minutes
# are left, so that sessions of 15 minutes (STS's shortest) would make the endpoint a part of each request.
DEFAULT_SESSION_SECONDS = 3600


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the endpoint needs: a user who may assume the roles, and the role of each machine's address."""

    stand_in: AwsStandIn
    role_arns: dict[str, str]
    session_seconds: int = DEFAULT_SESSION_SECONDS

    def write(self, path: Path) -> None:
        """Writes the settings, which hold a secret, readable by root alone."""
        path.touch(mode=0o600)
        path.write_text(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def read(cls, path: Path) -> Settings:
        """Reads what `write` wrote."""
        fields = json.loads(path.read_text())
        return cls(AwsStandIn(**fields["stand_in"]), fields["role_arns"], fields["session_seconds"])


def register(stand_in: AwsStandIn, session_seconds: int) -> tuple[str, Settings]:
    """Creates the IAM user that assumes the machines' roles; its ARN, and the endpoint's settings with its key."""
    iam = stand_in.iam()
    user_arn = iam.create_user(UserName=USER)["User"]["Arn"]
    arns = {name: role_arn(user_arn, each.role) for name, each in DEPLOYMENTS.items()}
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": list(arns.values())}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    iam.put_user_policy(UserName=USER, PolicyName="AssumeRoles", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName=USER)["AccessKey"]
    user = dataclasses.replace(stand_in, access_key=key["AccessKeyId"], secret_key=key["SecretAccessKey"])
    by_address = {machine.address: arns[machine.deployment.name] for machine in MACHINES.values() if machine.deployment}
    return user_arn, Settings(user, by_address, session_seconds)


def role_arn(principal_arn: str, role_name: str) -> str:
    """Returns the ARN of a role in the account of `principal_arn`."""
    return f"arn:aws:iam::{principal_arn.split(':')[4]}:role/{role_name}"


def account_arn(principal_arn: str) -> str:
    """Returns what stands for everybody in the account of `principal_arn` who is let assume roles."""
    return f"arn:aws:iam::{principal_arn.split(':')[4]}:root"


def start(settings: Settings, directory: Path, command_prefix: Sequence[str]) -> None:
    """Starts the endpoint behind `command_prefix`, which leads into the lab's network; its files lie in `directory`.

    Returns when it answers; LabError with its log's last line if it ends, or does not answer in 30 seconds.
    """
    file, log_file = directory / "credentials.json", directory / "credentials.log"
    settings.write(file)
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [*command_prefix, sys.executable, "-m", "rehearsal.lab.credentials", str(file)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if _answers(command_prefix):
            return
        time.sleep(POLL_SECONDS)
    said = (log_file.read_text(errors="replace").strip() or "nothing").splitlines()[-1]
    raise LabError(f"The credentials endpoint did not come up, its log says: {said} (all of it: {log_file}).")


def _answers(command_prefix: Sequence[str]) -> bool:
    """Asks for a path that is not served, so that no role is needed, from within the lab's network."""
    ask = f"c = http.client.HTTPConnection('{CREDENTIALS_ADDRESS}', {PORT}, 2); c.request('GET', '/'); c.getresponse()"
    argv = [*command_prefix, sys.executable, "-c", f"import http.client; {ask}"]
    return subprocess.run(argv, capture_output=True, check=False, stdin=subprocess.DEVNULL).returncode == 0


class RoleNotReadyError(RuntimeError):
    """The role cannot be assumed (yet); the message is STS's."""


class Sessions:
    """Assumes roles, and keeps each session until half of its life is over."""

    def __init__(
        self,
        client: STSClient,
        session_seconds: int,
        now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self._client = client
        self._session_seconds = session_seconds
        self._now = now
        self._sessions: dict[tuple[str, str], CredentialsTypeDef] = {}
        self._lock = threading.Lock()

    def credentials(self, role_arn: str, name: str) -> dict[str, str]:
        """Returns a role's credentials in a session of this name, as SDKs expect them; RoleNotReadyError if none."""
        with self._lock:
            session = self._sessions.get((role_arn, name))
            half_life = datetime.timedelta(seconds=self._session_seconds / 2)
            if session is None or session["Expiration"] - self._now() < half_life:
                session = self._sessions[role_arn, name] = self._assume(role_arn, name)
        return {
            "AccessKeyId": session["AccessKeyId"],
            "SecretAccessKey": session["SecretAccessKey"],
            "Token": session["SessionToken"],
            "Expiration": session["Expiration"].strftime("%Y-%m-%dT%H:%M:%SZ"),
            "RoleArn": role_arn,
        }

    def _assume(self, role_arn: str, name: str) -> CredentialsTypeDef:
        try:
            answer = self._client.assume_role(
                RoleArn=role_arn, RoleSessionName=name, DurationSeconds=self._session_seconds
            )
        except (ClientError, BotoCoreError) as error:
            raise RoleNotReadyError(f"{role_arn} cannot be assumed: {error}") from error
        return answer["Credentials"]


def answer(sessions: Sessions, role_arns: dict[str, str], address: str, path: str) -> tuple[int, dict[str, Any]]:
    """Returns the HTTP status and the body for a request of `path` that came from `address`."""
    if path != CREDENTIALS_PATH:
        return 404, {"code": "NotFound", "message": f"Only {CREDENTIALS_PATH} is served here."}
    if address not in role_arns:
        return 403, {"code": "NoRole", "message": f"The machine {address} has no role in any deployment."}
    try:
        return 200, sessions.credentials(role_arns[address], address)
    except RoleNotReadyError as error:
        return 503, {"code": "RoleNotReady", "message": str(error)}


class Endpoint(http.server.ThreadingHTTPServer):
    """Listens on `address`, and answers by the settings."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], settings: Settings) -> None:
        super().__init__(address, _Handler)
        self.role_arns = settings.role_arns
        self.sessions = Sessions(settings.stand_in.sts(), settings.session_seconds)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Endpoint

    def do_GET(self) -> None:
        status, content = answer(self.server.sessions, self.server.role_arns, self.client_address[0], self.path)
        send_json(self, status, content)


def main() -> None:
    """Serves until it is ended; the argument is the path of the settings."""
    settings = Settings.read(Path(sys.argv[1]))
    Endpoint((CREDENTIALS_ADDRESS, PORT), settings).serve_forever()


if __name__ == "__main__":
    main()
