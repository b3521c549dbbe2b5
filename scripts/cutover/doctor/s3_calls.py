"""The doctor's calls to S3: never retried, so that what one call meets is seen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
    ReadTimeoutError,
    SSLError,
)

from cutover.object_store import explain, s3_client
from cutover.probe_store import TIMEOUT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mypy_boto3_s3 import S3Client

    from cutover.settings import Settings

__all__ = ["CONFIG", "Answer", "ask", "client", "plain_client"]

CONFIG = Config(
    connect_timeout=TIMEOUT_SECONDS,
    read_timeout=TIMEOUT_SECONDS,
    retries={"total_max_attempts": 1},
    user_agent_extra="cutover-doctor",
)


@dataclass(frozen=True)
class Answer:
    """What came of one call: a `document` where it was allowed, else the code and the sentence of its failure."""

    document: Mapping[str, Any] | None
    headers: Mapping[str, str]
    code: str = ""
    sentence: str = ""
    timed_out: bool = False
    distrusted: bool = False  # the server's TLS certificate

    @property
    def denied(self) -> bool:
        """Whether a policy refused the call; an expired token or a wrong signature is another matter."""
        return self.code in {"AccessDenied", "Forbidden", str(HTTPStatus.FORBIDDEN.value)}

    @property
    def refused(self) -> bool:
        """Whether there was a clear no: by the server, unless it is busy or broken, or for want of credentials."""
        return bool(self.code) and not self.code.startswith("5") and self.code not in _BUSY


_BUSY = {"SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "Throttling", "RequestLimitExceeded"}


def client(settings: Settings) -> S3Client:
    """A client under the settings' credentials."""
    return s3_client(settings, CONFIG)


def plain_client(settings: Settings, endpoint_url: str) -> S3Client:
    """The same without TLS, for the one call that must be refused."""
    return s3_client(replace(settings, endpoint_url=endpoint_url.replace("https://", "http://", 1)), CONFIG)


def ask(call: Callable[[], Mapping[str, Any]]) -> Answer:
    """Makes one call of any AWS client and returns what came of it; it raises nothing that AWS can cause."""
    try:
        document = call()
    except ClientError as error:
        code, message = str(error.response["Error"].get("Code")), error.response["Error"].get("Message")
        headers = error.response["ResponseMetadata"].get("HTTPHeaders", {})
        return Answer(None, headers, code, explain(code, message)[1])
    except (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError) as error:
        return Answer(None, {}, "NoCredentials", str(error))
    except BotoCoreError as error:
        timed_out = isinstance(error, ConnectTimeoutError | ReadTimeoutError)
        return Answer(None, {}, sentence=str(error), timed_out=timed_out, distrusted=isinstance(error, SSLError))
    return Answer(document, document["ResponseMetadata"].get("HTTPHeaders", {}))
