"""The probe's three operations on the bucket: put an object, sign a URL for it, fetch it by that URL."""

from __future__ import annotations

import http.client
import os
import re
import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from cutover.object_store import s3_client
from cutover.settings import SettingsError

if TYPE_CHECKING:
    from cutover.settings import Settings

__all__ = ["USER_AGENT", "ProbeError", "ProbeStore"]

USER_AGENT = "deltacrown-cutover-probe"
TIMEOUT_SECONDS = 5  # to connect and for each read; a slower answer is a failure to every customer, too
URL_SECONDS = 60  # how long a signed URL is valid; it is used at once
_CAUSE_LENGTH = 200
_S3_CODE = re.compile(rb"<Code>(\w+)</Code>")


class ProbeError(RuntimeError):
    """One operation (put, sign or get) failed; the message is the cause, and holds no signature."""

    def __init__(self, operation: str, cause: object) -> None:
        super().__init__(str(cause)[:_CAUSE_LENGTH])
        self.operation = operation


class ProbeStore:
    """One bucket under the credentials of the usual AWS chain. Nothing is retried, so that each failure shows."""

    def __init__(self, settings: Settings) -> None:
        self._bucket = settings.bucket
        self._client = s3_client(
            settings,
            Config(
                connect_timeout=TIMEOUT_SECONDS,
                read_timeout=TIMEOUT_SECONDS,
                retries={"total_max_attempts": 1},
                signature_version="s3v4",
                user_agent_extra=USER_AGENT,
            ),
        )
        authorities = os.environ.get("AWS_CA_BUNDLE")
        try:
            self._tls = ssl.create_default_context(cafile=authorities)
        except OSError as error:
            raise SettingsError(
                f"AWS_CA_BUNDLE {authorities}: cannot be read as certificates ({error}); correct the environment file"
            ) from error

    def put(self, key: str, content: bytes) -> None:
        """Stores an object, over the one that has this key; ProbeError if S3 refuses it or does not answer."""
        try:
            self._client.put_object(Bucket=self._bucket, Key=key, Body=content)
        except (BotoCoreError, ClientError) as error:
            raise ProbeError("put", error) from error

    def sign(self, key: str) -> str:
        """A URL that reads the object, valid for a minute; ProbeError without credentials."""
        try:
            return self._client.generate_presigned_url(
                "get_object", Params={"Bucket": self._bucket, "Key": key}, ExpiresIn=URL_SECONDS
            )
        except (BotoCoreError, ClientError) as error:
            raise ProbeError("sign", error) from error

    def get(self, url: str, content: bytes) -> None:
        """Fetches a signed URL as a customer would, and compares; ProbeError if it is refused or holds other bytes.

        A ranged GET: the signature covers the method, so that HEAD would be refused.
        """
        status, body = self._fetch(url, len(content))
        if status != http.client.PARTIAL_CONTENT:
            code = _S3_CODE.search(body)
            raise ProbeError("get", f"HTTP {status} {code[1].decode() if code else ''}".rstrip())
        if body != content:
            raise ProbeError("get", f"{len(body)} bytes came that are not the {len(content)} just stored")

    def _fetch(self, url: str, size: int) -> tuple[int, bytes]:
        parts = urlsplit(url)
        connection = (
            http.client.HTTPSConnection(parts.netloc, timeout=TIMEOUT_SECONDS, context=self._tls)
            if parts.scheme == "https"
            else http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT_SECONDS)
        )
        headers = {"Range": f"bytes=0-{size - 1}", "User-Agent": USER_AGENT}
        try:
            connection.request("GET", f"{parts.path}?{parts.query}", headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise ProbeError("get", error or type(error).__name__) from error
        finally:
            connection.close()
