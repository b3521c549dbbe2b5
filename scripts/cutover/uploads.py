"""Uploads that S3 verifies: the SHA-256 travels with the bytes, and S3 refuses what does not match."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import mimetypes
import os
import random
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from cutover import local_files, plan
from cutover.local_files import ChangedWhileReadError, UnsafeNameError
from cutover.object_store import ObjectStore, ObjectStoreError, explain, explain_fast, fast_store, s3_client

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from obstore.store import S3Config

    from cutover.local_files import LocalFile
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
# What S3 answers to If-None-Match: there is an object, or another upload of its key is under way.
_EXISTS = {"PreconditionFailed", "ConditionalRequestConflict"}


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
        self._settings, self._purpose, self._encrypt = settings, purpose, encrypt
        self._bucket = settings.bucket
        self._at_once = threading.BoundedSemaphore(plan.load().data_tools.streamed_at_once)
        config: S3Config = {"checksum_algorithm": "SHA256"}
        if encrypt:
            config["server_side_encryption"] = ENCRYPTION
        self._store = fast_store(settings, f"cutover-{purpose}", config)

    def put(self, file: LocalFile, *, replace: bool = False) -> None:
        """Stores a file under its name; returns when S3 has computed the same SHA-256 as was sent with its bytes.

        Raises:
            AlreadyThereError: there is an object of this key, and `replace` is off.
            ChangedWhileReadError: a file that is too large to be held is not any more what was read of it.
            ObjectStoreError: S3 refused, or did not answer through all retries.
            OSError: the disk did not give such a file again.
        """
        if file.body is None:
            self._stream(file, replace=replace)
        else:
            self._put_whole(file.name, file.body, replace=replace)

    def _put_whole(self, key: str, body: bytes, *, replace: bool) -> None:
        mode: Literal["create", "overwrite"] = "overwrite" if replace else "create"
        attributes = {
            "Content-Type": _content_type(key),
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

    @functools.cached_property
    def _streaming(self) -> ObjectStore:
        """boto3's way, which sends a file as it reads it; obstore's holds all of it."""
        return ObjectStore(self._settings, self._purpose, connections=plan.load().data_tools.streamed_at_once)

    def _stream(self, file: LocalFile, *, replace: bool) -> None:
        conditions: dict[str, Any] = {} if replace else {"IfNoneMatch": "*"}
        if self._encrypt:
            conditions["ServerSideEncryption"] = ENCRYPTION
        changed = ChangedWhileReadError(f"{file.name!r} was changed before it was stored: run again")
        try:
            with (
                self._at_once,
                local_files.opened(self._settings.media_root, file.name) as opened,
                os.fdopen(os.dup(opened), "rb") as body,
            ):
                self._streaming.client.put_object(
                    Bucket=self._bucket,
                    Key=file.name,
                    Body=body,
                    ChecksumSHA256=base64.b64encode(bytes.fromhex(file.sha256)).decode(),
                    ContentType=_content_type(file.name),
                    CacheControl=CACHE_CONTROL,
                    ContentDisposition=CONTENT_DISPOSITION,
                    **conditions,
                )
        except UnsafeNameError as error:
            raise changed from error
        except OSError as error:
            if self._is_another(file):
                raise changed from error
            raise
        except ClientError as error:
            if error.response["Error"].get("Code") in _EXISTS:
                raise AlreadyThereError(file.name) from error
            if not local_files.unchanged(self._settings.media_root, file):
                raise changed from error
            raise self._streaming.error(file.name, error) from error
        except BotoCoreError as error:
            raise self._streaming.error(file.name, error) from error

    def _is_another(self, file: LocalFile) -> bool:
        """Whether a file was changed or removed since it was read, as far as its disk says."""
        try:
            return local_files.stamp(self._settings.media_root, file.name) != file.stamp
        except UnsafeNameError:
            return True
        except OSError:
            return False


def _content_type(key: str) -> str:
    return mimetypes.guess_type(key)[0] or "application/octet-stream"


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
