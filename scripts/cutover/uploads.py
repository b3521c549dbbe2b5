"""Uploads that S3 verifies: the SHA-256 travels with the bytes, and S3 refuses what does not match."""

from __future__ import annotations

import base64
import hashlib
import mimetypes
import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal

from botocore.exceptions import BotoCoreError, ClientError

from cutover import plan
from cutover.object_store import ObjectStoreError, explain_fast, fast_store

if TYPE_CHECKING:
    from obstore.store import S3Config

    from cutover.object_store import ObjectStore
    from cutover.settings import Settings

__all__ = ["AlreadyThereError", "Uploader", "enforces_checksums"]

# As the application stores them (its object metadata and SSE-S3).
CACHE_CONTROL = "private, max-age=600"
CONTENT_DISPOSITION = "inline"
ENCRYPTION = "AES256"


class AlreadyThereError(Exception):
    """An object of this key exists; it must be compared, never overwritten blindly."""


class Uploader:
    """Puts certificates into the bucket under the settings' credentials. Threads may share it."""

    def __init__(self, settings: Settings, purpose: str) -> None:
        import obstore  # noqa: PLC0415 - 30 ms, which commands without uploads need not pay
        from obstore.exceptions import AlreadyExistsError, BaseError  # noqa: PLC0415

        self._put = obstore.put
        self._exists, self._failed = AlreadyExistsError, BaseError
        self._bucket = settings.bucket
        config: S3Config = {"checksum_algorithm": "SHA256", "server_side_encryption": ENCRYPTION}
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
        try:
            self._put(self._store, key, body, attributes=attributes, mode=mode, use_multipart=False)
        except self._exists as error:
            raise AlreadyThereError(key) from error
        except self._failed as error:
            cause, sentence = explain_fast(error)
            raise ObjectStoreError(f"s3://{self._bucket}/{key}: {sentence}", cause) from error


def enforces_checksums(settings: Settings, store: ObjectStore) -> bool:
    """Whether S3 refuses a deliberately wrong SHA-256; False also where that could not be tried.

    Without it "stored" proves nothing, and every object must be read back. What was stored in error is removed.
    """
    key = f"{plan.load().telemetry.probe.prefix}checksum-{uuid.uuid4()}"
    wrong = base64.b64encode(hashlib.sha256(b"other bytes").digest()).decode()
    try:
        store.client.put_object(
            Bucket=settings.bucket, Key=key, Body=b"bytes", ChecksumAlgorithm="SHA256", ChecksumSHA256=wrong
        )
        store.client.delete_object(Bucket=settings.bucket, Key=key)
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"] == HTTPStatus.BAD_REQUEST
    except BotoCoreError:
        return False
    return False
