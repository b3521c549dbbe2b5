"""The bucket: what S3 itself says of an object, and its bytes."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from cutover.settings import Settings

__all__ = ["ObjectHashes", "ObjectStore", "ObjectStoreError", "s3_client"]

_BLOCK = 1 << 20  # bytes read at once


class ObjectStoreError(RuntimeError):
    """S3 refused or could not be reached; the sentence names the bucket, the key and the cause."""


@dataclass(frozen=True)
class ObjectHashes:
    """Hexadecimal SHA-256 of an object: of its bytes, and as S3 computed it at upload (None if it did not)."""

    downloaded: str
    recorded: str | None


def s3_client(settings: Settings, config: Config) -> S3Client:
    """A client for the settings' region and endpoint, under the credentials of the usual AWS chain."""
    return boto3.Session().client("s3", region_name=settings.region, endpoint_url=settings.endpoint_url, config=config)


class ObjectStore:
    """One bucket, read under the credentials of the usual AWS chain."""

    def __init__(self, settings: Settings) -> None:
        self._bucket = settings.bucket
        self._client = s3_client(
            settings,
            Config(
                connect_timeout=5, read_timeout=30, retries={"mode": "standard"}, user_agent_extra="cutover-compare"
            ),
        )

    def hashes(self, key: str) -> ObjectHashes | None:
        """Downloads the object and returns its hashes, or None if S3 says that there is none.

        Raises:
            ObjectStoreError: access is denied, the session expired, or S3 cannot be reached.
        """
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=key, ChecksumMode="ENABLED")
            digest = hashlib.sha256()
            for block in answer["Body"].iter_chunks(_BLOCK):
                digest.update(block)
        except self._client.exceptions.NoSuchKey:
            return None
        except ClientError as error:
            raise ObjectStoreError(f"s3://{self._bucket}/{key}: {_sentence(error)}") from error
        except BotoCoreError as error:
            raise ObjectStoreError(f"s3://{self._bucket}/{key}: {error}") from error
        recorded = answer.get("ChecksumSHA256")
        return ObjectHashes(digest.hexdigest(), base64.b64decode(recorded).hex() if recorded else None)


def _sentence(error: ClientError) -> str:
    code, message = error.response["Error"].get("Code"), error.response["Error"].get("Message")
    if code in {"ExpiredToken", "ExpiredTokenException"}:
        return "the session token of these credentials has expired: sign in again, or use the machine's role"
    return f"{code}: {message}"
