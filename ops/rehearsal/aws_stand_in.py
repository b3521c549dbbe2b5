"""Starts and stops the AWS stand-in (ministack) with IAM enforced, for the lab and for tests.

It speaks TLS, as AWS does, because the buckets' policy denies plain HTTP and the stand-in enforces policies.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import os
import secrets
import ssl
import string
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.session import Session as BotocoreSession

from rehearsal.service_process import ServiceProcess, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mypy_boto3_budgets.client import BudgetsClient
    from mypy_boto3_iam.client import IAMClient
    from mypy_boto3_logs.client import CloudWatchLogsClient
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_sns.client import SNSClient
    from mypy_boto3_sts.client import STSClient

REGION = "us-east-1"
STEM = "aws-stand-in"
RECORD_NAME = f"{STEM}.json"
CERTIFICATE_NAME = "aws-stand-in.pem"
CERTIFICATE_DAYS = 30  # a new one is made at each start
KEY_NAME = "aws-stand-in.key"
REQUESTS_NAME = f"{STEM}-requests.tsv"
# The program has no setting for its server's access log. A line each: method, path without the query (which may hold a
# signature), status and user agent.
_COUNTED = r"""
import logging, os, sys
from hypercorn.config import Config
from ministack.app import main
log = logging.getLogger("requests")
log.setLevel(logging.INFO)
log.propagate = False
os.umask(0o077)
log.addHandler(logging.FileHandler(sys.argv.pop()))
Config.accesslog = log
Config.access_log_format = "%(m)s\t%(U)s\t%(s)s\t%(a)s"
main()
"""


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
        return clean_session().client("s3", **self._client_arguments())

    def iam(self) -> IAMClient:
        """Returns an IAM client under these credentials."""
        return clean_session().client("iam", **self._client_arguments())

    def sts(self) -> STSClient:
        """Returns an STS client under these credentials."""
        return clean_session().client("sts", **self._client_arguments())

    def sns(self) -> SNSClient:
        """Returns an SNS client under these credentials."""
        return clean_session().client("sns", **self._client_arguments())

    def logs(self) -> CloudWatchLogsClient:
        """Returns a CloudWatch Logs client under these credentials."""
        return clean_session().client("logs", **self._client_arguments())

    def budgets(self) -> BudgetsClient:
        """Returns a Budgets client under these credentials."""
        return clean_session().client("budgets", **self._client_arguments())

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
    service = _service(directory)
    service.claim()
    port = port if port is not None else free_port(host)
    certificate = _make_certificate(directory, host)
    access_key = "AKIA" + "".join(secrets.choice(string.ascii_uppercase) for _ in range(16))
    secret_key = secrets.token_urlsafe(30)
    environment = _environment(directory, host, port, access_key, secret_key)
    process = service.launch([*command_prefix, *_program(directory)], environment)
    stand_in = AwsStandIn(f"https://{host}:{port}", access_key, secret_key, process.pid, ca_file=str(certificate))
    service.record(dataclasses.asdict(stand_in))
    service.wait(process, lambda: _is_ready(stand_in), stand_in.endpoint_url)
    return stand_in


def load(directory: Path) -> AwsStandIn:
    """Returns the stand-in that runs from `directory`; AwsStandInError if none does."""
    return AwsStandIn(**_service(directory).load())


def stop(directory: Path) -> None:
    """Ends the stand-in that runs from `directory`, if any: SIGTERM, after 10 seconds SIGKILL."""
    _service(directory).stop()


@contextlib.contextmanager
def running(directory: Path) -> Iterator[AwsStandIn]:
    """Runs a stand-in on a free port of 127.0.0.1 for the duration of a `with` block."""
    stand_in = start(directory)
    try:
        yield stand_in
    finally:
        stop(directory)


def _service(directory: Path) -> ServiceProcess:
    return ServiceProcess("AWS stand-in", STEM, directory, AwsStandInError)


def clean_session() -> boto3.Session:
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


def _program(directory: Path) -> list[str]:
    """The stand-in's command: its own program, in its own Python, with one line a request in REQUESTS_NAME."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    python = cache / "deltacrown-cutover" / "aws-stand-in" / "bin" / "python"
    if not python.exists():
        raise AwsStandInError(f"The AWS stand-in is not installed at {python}: run `make setup`.")
    return [str(python), "-c", _COUNTED, str(directory / REQUESTS_NAME)]


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
        "LOG_LEVEL": "ERROR",  # a warning shows the address of a pager that does not answer, with its key
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
