"""A stream into one object of S3: in parts, each with its SHA-256, and whole or not at all."""

from __future__ import annotations

import base64
import hashlib
import sys
from typing import TYPE_CHECKING, Self

from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from types import TracebackType

    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

    from cutover.retirement.backups import Backups

__all__ = ["MultipartUpload", "part_bytes"]

# S3's limits for multipart uploads: 10,000 parts, of 5 MiB to 5 GiB.
PARTS = 10_000
SMALLEST_PART = 16 << 20  # bytes; more than S3 asks for, so that fewer requests are made


def part_bytes(size: int) -> int:
    """Bytes of a part, which is held in memory, with which an object of `size` bytes fits into S3's number of parts."""
    return max(SMALLEST_PART, -(-size // PARTS))


class MultipartUpload:
    """One upload: enter it, write, `complete` it; whatever leaves it otherwise ends the upload and keeps no part.

    Args:
        backups: the bucket.
        key: that must not exist yet.
        content_type: of the object.
        part_size: in bytes, held in memory.

    Every method raises ObjectStoreError if S3 refuses or cannot be reached.
    """

    def __init__(self, backups: Backups, key: str, content_type: str, part_size: int) -> None:
        self._store, self._client = backups.store, backups.store.client
        self._bucket, self._key = backups.bucket, key
        self._content_type, self._part_size = content_type, part_size
        self._buffer = bytearray()
        self._parts: list[CompletedPartTypeDef] = []
        self._upload_id = ""

    def __enter__(self) -> Self:
        try:
            answer = self._client.create_multipart_upload(
                Bucket=self._bucket, Key=self._key, ContentType=self._content_type, ChecksumAlgorithm="SHA256"
            )
        except (ClientError, BotoCoreError) as error:
            raise self._store.error(self._key, error) from error
        self._upload_id = answer["UploadId"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._upload_id:
            return
        try:
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=self._key, UploadId=self._upload_id)
        except (ClientError, BotoCoreError) as failure:
            # What ended the upload is raised already; S3 removes the parts by the bucket's lifecycle rule.
            print(f"cutover: {self._store.error(self._key, failure)}; its parts stay", file=sys.stderr)

    def write(self, data: bytes) -> int:
        """Takes bytes, and sends a part when there are enough."""
        self._buffer += data
        while len(self._buffer) > self._part_size:
            self._send(self._part_size)
        return len(data)

    def flush(self) -> None:
        """Nothing: only the last part may be short."""

    def complete(self) -> None:
        """Sends the rest, and gives the object its name, unless another has it already."""
        self._send(len(self._buffer))
        try:
            self._client.complete_multipart_upload(
                Bucket=self._bucket,
                Key=self._key,
                UploadId=self._upload_id,
                MultipartUpload={"Parts": self._parts},
                IfNoneMatch="*",
            )
        except (ClientError, BotoCoreError) as error:
            raise self._store.error(self._key, error) from error
        self._upload_id = ""

    def _send(self, size: int) -> None:
        part, number = bytes(self._buffer[:size]), len(self._parts) + 1
        sha256 = base64.b64encode(hashlib.sha256(part).digest()).decode()
        try:
            answer = self._client.upload_part(
                Bucket=self._bucket,
                Key=self._key,
                UploadId=self._upload_id,
                PartNumber=number,
                Body=part,
                ChecksumSHA256=sha256,
            )
        except (ClientError, BotoCoreError) as error:
            raise self._store.error(self._key, error) from error
        self._parts.append({"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": sha256})
        del self._buffer[:size]
