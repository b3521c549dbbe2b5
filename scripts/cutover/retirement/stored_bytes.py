"""An object of any size as a stream that survives broken connections."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from cutover.exit_codes import CommandError, ExitCode

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from cutover.retirement.backups import Backups

__all__ = ["NoObjectError", "StoredBytes"]

RANGE_BYTES = 8 << 20  # asked of S3 at once, and held in memory
_ATTEMPTS = 5  # of one range whose connection breaks; S3's own refusals are retried by the client


class NoObjectError(CommandError):
    """There is no object of this key; the sentence names it."""

    exit_code = ExitCode.ERROR


class StoredBytes(io.RawIOBase):
    """An object's bytes, by ranges of one version: a connection that breaks costs one range, not the archive."""

    def __init__(self, backups: Backups, key: str) -> None:
        self._backups, self._key = backups, key
        stored = backups.store.head(key)
        if stored is None:
            raise NoObjectError(f"{backups.where(key)}: there is no such object")
        self._etag, self.size, self._position = stored.etag, stored.size, 0

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Reads what comes next; ObjectStoreError if S3 refuses it, or the connection breaks again and again."""
        view = memoryview(buffer).cast("B")
        last = min(self._position + len(view), self.size) - 1
        if last < self._position:
            return 0
        block = self._range(self._position, last)
        view[: len(block)] = block
        self._position += len(block)
        return len(block)

    def _range(self, first: int, last: int) -> bytes:
        store, wanted = self._backups.store, f"bytes={first}-{last}"
        for left in reversed(range(_ATTEMPTS)):
            try:
                answer = store.client.get_object(
                    Bucket=self._backups.bucket, Key=self._key, Range=wanted, IfMatch=self._etag
                )
                return answer["Body"].read()
            except (ClientError, BotoCoreError) as error:
                if isinstance(error, ClientError) or not left:
                    raise store.error(self._key, error) from error
        raise AssertionError  # the last attempt raised
