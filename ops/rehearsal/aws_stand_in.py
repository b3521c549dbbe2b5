"""Starts and stops the AWS stand-in (ministack) with IAM enforced, for the lab and for tests.

It speaks TLS, as AWS does, because the buckets' policy denies plain HTTP and the stand-in enforces policies.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import os
import secrets
import signal
import socket
import ssl
import string
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import boto3
from botocore.config import Config
from botocore.session import Session as BotocoreSession

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mypy_boto3_iam.client import IAMClient
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_sts.client import STSClient

REGION = "us-east-1"
START_SECONDS = 30.0  # it answers in under one second; a machine busy with builds needs longer
STOP_SECONDS = 10.0
POLL_SECONDS = 0.05
RECORD_NAME = "aws-stand-in.json"
CERTIFICATE_NAME = "aws-stand-in.pem"
CERTIFICATE_DAYS = 30  # a new one is made at each start
KEY_NAME = "aws-stand-in.key"
LOG_NAME = "aws-stand-in.log"
LOG_LINES_SHOWN = 5


class AwsStandInError(RuntimeError):
    """The stand-in could not be started, found or stopped."""


@dataclasses.dataclass(frozen=True)
class AwsStandIn:
    """A running stand-in, and the credentials one speaks to it with (at first those of its root)."""

    endpoint_url: str
    access_key: str
    secret_key: str = dataclasses.field(repr=False)
    pid: int
    ca_file: str | None = None  # its self-signed certificate, for AWS_CA_BUNDLE
    session_token: str | None = dataclasses.field(default=None, repr=False)

    def s3(self) -> S3Client:
        """Returns an S3 client under these credentials."""
        return _session().client("s3", **self._client_arguments())

    def iam(self) -> IAMClient:
        """Returns an IAM client under these credentials."""
        return _session().client("iam", **self._client_arguments())

    def sts(self) -> STSClient:
        """Returns an STS client under these credentials."""
        return _session().client("sts", **self._client_arguments())

    def with_role(self, role_arn: str, session_name: str = "rehearsal") -> AwsStandIn:
        """Returns the same stand-in with an hour's credentials of `role_arn`; ClientError if not trusted."""
        answer = self.sts().assume_role(RoleArn=role_arn, RoleSessionName=session_name)
        given = answer["Credentials"]
        return dataclasses.replace(
            self,
            access_key=given["AccessKeyId"],
            secret_key=given["SecretAccessKey"],
            session_token=given["SessionToken"],
        )

    def _client_arguments(self) -> dict[str, Any]:
        return {
            "endpoint_url": self.endpoint_url,
            "region_name": REGION,
            "verify": self.ca_file,
            "aws_access_key_id": self.access_key,
            "aws_secret_access_key": self.secret_key,
            "aws_session_token": self.session_token,
            # Path style, because bucket names as host names do not resolve; no proxy, because it is local.
            "config": Config(
                s3={"addressing_style": "path"},
                proxies={},
                retries={"total_max_attempts": 2},
                connect_timeout=5,
                read_timeout=30,
            ),
        }


def start(
    directory: Path, *, host: str = "127.0.0.1", port: int | None = None, command_prefix: Sequence[str] = ()
) -> AwsStandIn:
    """Starts a stand-in whose state, log, pid and new random root credentials live in `directory`.

    `port` None takes a free one. `command_prefix` stands before the command, for example nsenter with the
    lab's network namespace. Returns when it answers; raises AwsStandInError after 30 seconds without an
    answer, if it ends at once, or if one already runs from this directory.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if (running := _recorded(directory)) is not None and _is_ours(running.pid, directory):
        raise AwsStandInError(f"An AWS stand-in (pid {running.pid}) already runs from {directory}: stop it first.")
    port = port if port is not None else _free_port(host)
    certificate = _make_certificate(directory, host)
    access_key = "AKIA" + "".join(secrets.choice(string.ascii_uppercase) for _ in range(16))
    secret_key = secrets.token_urlsafe(30)
    environment = _environment(directory, host, port, access_key, secret_key)
    log_path = directory / LOG_NAME
    with _open_private(log_path) as log:
        process = subprocess.Popen(
            [*command_prefix, str(_program())],
            env=environment,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    stand_in = AwsStandIn(f"https://{host}:{port}", access_key, secret_key, process.pid, ca_file=str(certificate))
    _record(directory, stand_in)
    try:
        _wait_until_it_answers(process, stand_in, log_path)
    except BaseException:
        stop(directory)
        raise
    return stand_in


def load(directory: Path) -> AwsStandIn:
    """Returns the stand-in that runs from `directory`; AwsStandInError if none does."""
    stand_in = _recorded(directory)
    if stand_in is None or not _is_ours(stand_in.pid, directory):
        raise AwsStandInError(f"No AWS stand-in runs from {directory}: start one.")
    return stand_in


def stop(directory: Path) -> None:
    """Ends the stand-in that runs from `directory`, if any: SIGTERM, after 10 seconds SIGKILL."""
    stand_in = _recorded(directory)
    if stand_in is None:
        return
    for stop_signal in (signal.SIGTERM, signal.SIGKILL):
        if _has_ended(stand_in.pid, directory, seconds=0):
            break
        with contextlib.suppress(ProcessLookupError):
            os.kill(stand_in.pid, stop_signal)
        _has_ended(stand_in.pid, directory, seconds=STOP_SECONDS)
    if _is_ours(stand_in.pid, directory):
        raise AwsStandInError(f"The AWS stand-in (pid {stand_in.pid}) survived SIGKILL: end it by hand.")
    (directory / RECORD_NAME).unlink()


@contextlib.contextmanager
def running(directory: Path) -> Iterator[AwsStandIn]:
    """Runs a stand-in on a free port of 127.0.0.1 for the duration of a `with` block."""
    stand_in = start(directory)
    try:
        yield stand_in
    finally:
        stop(directory)


def _session() -> boto3.Session:
    """Returns a session without the operator's AWS_* settings, ~/.aws/config and ~/.aws/credentials.

    Botocore reads them even beside explicit credentials, and fails for an AWS_PROFILE that it does not find.
    """
    defaults = {
        name: (None, None, default, conversion)
        for name, (_, _, default, conversion) in BotocoreSession.SESSION_VARIABLES.items()
    }
    nowhere = (None, None, os.devnull, None)
    own = BotocoreSession(session_vars=defaults | {"config_file": nowhere, "credentials_file": nowhere})
    return boto3.Session(botocore_session=own)


def _program() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    program = cache / "deltacrown-cutover" / "aws-stand-in" / "bin" / "ministack"
    if not program.exists():
        raise AwsStandInError(f"The AWS stand-in is not installed at {program}: run `make setup`.")
    return program


def _free_port(host: str) -> int:
    with socket.create_server((host, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _environment(directory: Path, host: str, port: int, access_key: str, secret_key: str) -> dict[str, str]:
    state, objects = directory / "state", directory / "objects"
    for folder in (state, objects):
        folder.mkdir(mode=0o700, exist_ok=True)
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(directory),
        "TMPDIR": str(directory),
        "AUTH": "true",
        "BIND_HOST": host,
        "GATEWAY_PORT": str(port),
        "MINISTACK_HOST": host,
        "MINISTACK_REGION": REGION,
        "USE_SSL": "1",
        "MINISTACK_SSL_CERT": str(directory / CERTIFICATE_NAME),
        "MINISTACK_SSL_KEY": str(directory / KEY_NAME),
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": secret_key,
        "PERSIST_STATE": "1",
        "S3_PERSIST": "1",
        "STATE_DIR": str(state),
        "S3_DATA_DIR": str(objects),
        "LOG_LEVEL": "WARNING",
    }


def _make_certificate(directory: Path, host: str) -> Path:
    """Makes a self-signed certificate for an IP address; CA:FALSE, for rustls takes no CA as a server."""
    certificate = directory / CERTIFICATE_NAME
    result = subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            str(CERTIFICATE_DAYS),
            "-subj",
            "/CN=AWS stand-in",
            "-addext",
            f"subjectAltName=IP:{host}",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-keyout",
            str(directory / KEY_NAME),
            "-out",
            str(certificate),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise AwsStandInError(f"openssl could not make a certificate for {host}: {result.stderr.strip()}")
    return certificate


def _wait_until_it_answers(process: subprocess.Popen[bytes], stand_in: AwsStandIn, log_path: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _is_ready(stand_in):
        if process.poll() is not None or time.monotonic() > deadline:
            seen = f"exit status {process.returncode}" if process.returncode is not None else "no answer in time"
            last_lines = log_path.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
            raise AwsStandInError(
                f"The AWS stand-in did not come up at {stand_in.endpoint_url} ({seen}); "
                f"the end of {log_path}: {' | '.join(last_lines) or 'empty'}"
            )
        time.sleep(POLL_SECONDS)


def _is_ready(stand_in: AwsStandIn) -> bool:
    address = stand_in.endpoint_url.removeprefix("https://")
    context = ssl.create_default_context(cafile=stand_in.ca_file)
    connection = http.client.HTTPSConnection(address, timeout=2, context=context)
    try:
        connection.request("GET", "/_ministack/ready")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _open_private(path: Path) -> TextIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8")


def _record(directory: Path, stand_in: AwsStandIn) -> None:
    with _open_private(directory / RECORD_NAME) as record:
        json.dump(dataclasses.asdict(stand_in), record)


def _recorded(directory: Path) -> AwsStandIn | None:
    path = directory / RECORD_NAME
    try:
        return AwsStandIn(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise AwsStandInError(f"{path} is not a stand-in's record ({error}): remove it.") from error


def _is_ours(pid: int, directory: Path) -> bool:
    """Tells whether `pid` is this directory's stand-in: after a crash the number may be someone else's."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False
    return f"STATE_DIR={directory / 'state'}".encode() in environment  # empty for a zombie


def _has_ended(pid: int, directory: Path, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while _is_ours(pid, directory):
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True
