"""Uploads that S3 verifies: the SHA-256 travels with the bytes, and S3 refuses what does not match."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import mimetypes
import random
import time
import uuid
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from cutover import plan
from cutover.object_store import ObjectStoreError, explain, explain_fast, fast_store, s3_client

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from obstore.store import S3Config

    from cutover.object_store import Cause
    from cutover.settings import Settings

__all__ = ["AlreadyThereError", "Server", "Uploader", "examine"]

# As the application stores them (its object metadata and SSE-S3).
CACHE_CONTROL = "private, max-age=600"
CONTENT_DISPOSITION = "inline"
ENCRYPTION = "AES256"
# obstore tries again after 5xx, but not after a broken connection, a time-out or 400 RequestTimeout: the upload may
# have happened. Here that harms nobody, for what is there already is compared.
ATTEMPTS = 3


class AlreadyThereError(Exception):
    """An object of this key exists; it must be compared, never overwritten blindly."""


class Server(NamedTuple):
    """What was found out about an S3 server before the first upload."""

    enforces_checksums: bool  # a wrong SHA-256 is refused; without that "stored" proves nothing
    encrypts: bool  # it takes the header for SSE-S3; AWS does, and encrypts without it, too
    untried: str | None = None  # why nobody could find out whether it refuses a wrong SHA-256


class Uploader:
    """Puts certificates into the bucket under the settings' credentials. Threads may share it."""

    def __init__(self, settings: Settings, purpose: str, *, encrypt: bool = True) -> None:
        import obstore  # noqa: PLC0415 - 30 ms, which commands without uploads need not pay
        from obstore.exceptions import AlreadyExistsError, BaseError  # noqa: PLC0415

        self._put = obstore.put
        self._exists, self._failed = AlreadyExistsError, BaseError
        self._bucket = settings.bucket
        config: S3Config = {"checksum_algorithm": "SHA256"}
        if encrypt:
            config["server_side_encryption"] = ENCRYPTION
        self._store = fast_store(settings, f"cutover-{purpose}", config)

    def put(self, key: str, body: bytes, *, replace: bool = False) -> None:
        """Stores the bytes; returns when S3 has computed the same SHA-256 as was sent with them.

        Raises:
            AlreadyThereError: there is an object of this key, and `replace` is off.
            ObjectStoreError: S3 refused, or did not answer through all retries.
        """
        mode: Literal["create", "overwrite"] = "overwrite" if replace else "create"
        attributes = {
            "Content-Type": mimetypes.guess_type(key)[0] or "application/octet-stream",
            "Cache-Control": CACHE_CONTROL,
            "Content-Disposition": CONTENT_DISPOSITION,
        }
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._put(self._store, key, body, attributes=attributes, mode=mode, use_multipart=False)
            except self._exists as error:
                raise AlreadyThereError(key) from error
            except self._failed as error:
                cause, sentence = explain_fast(error)
                if cause != "s3_unavailable" or attempt == ATTEMPTS:
                    raise ObjectStoreError(f"s3://{self._bucket}/{key}: {sentence}", cause) from error
            else:
                return
            time.sleep(attempt * random.random())  # noqa: S311 - so that not all threads come back at once


def examine(settings: Settings) -> Server:
    """Puts an object with a deliberately wrong SHA-256; what is stored in error is removed.

    Only an answer that names the checksum proves anything: 400 is also that of expired credentials. Where it cannot be
    tried, because S3 denies or does not answer, checksums count as not enforced.
    """
    client = s3_client(settings, Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 2}))
    (cause, sentence), encrypts = _put_wrong(client, settings.bucket, {"ServerSideEncryption": ENCRYPTION}), True
    if cause == "s3_unavailable":  # a server without keys for SSE-S3 answers so; or it is down, as the second shows
        cause, sentence = _put_wrong(client, settings.bucket, {})
        encrypts = cause == "s3_unavailable"
    return Server(cause == "checksum_refused", encrypts, sentence if cause in {"s3_denied", "s3_unavailable"} else None)


def _put_wrong(client: S3Client, bucket: str, encryption: dict[str, Any]) -> tuple[Cause | None, str]:
    """Why the object was not stored, and in a sentence; None if it was."""
    key = f"{plan.load().telemetry.probe.prefix}checksum-{uuid.uuid4()}"
    wrong = base64.b64encode(hashlib.sha256(b"other bytes").digest()).decode()
    try:
        client.put_object(Bucket=bucket, Key=key, Body=b"bytes", ChecksumSHA256=wrong, **encryption)
    except ClientError as error:
        return explain(str(error.response["Error"].get("Code")), error.response["Error"].get("Message"))
    except BotoCoreError as error:
        return "s3_unavailable", str(error)
    with contextlib.suppress(ClientError, BotoCoreError):  # that it was stored is proven, removed or not
        client.delete_object(Bucket=bucket, Key=key)
    return None, "stored"
