"""One object of S3 as a local file: verified before it gets its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from cutover.object_store import ObjectStoreError
from cutover.retirement import tree
from cutover.retirement.proof import UnprovenError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cutover.catalogue import Certificate, CertificateFile
    from cutover.object_store import ObjectStore, StoredObject
    from cutover.settings import Settings

__all__ = ["Downloader"]

_ATTEMPTS = 3  # of an object whose connection breaks in its middle; S3's own refusals are retried by the client
_BLOCK = 1 << 20  # bytes held in memory


class BrokenDownloadError(ObjectStoreError):
    """The connection broke in the middle of an object."""


class Downloader:
    """Brings objects to MEDIA_ROOT. Threads may share it."""

    def __init__(self, values: Settings, store: ObjectStore) -> None:
        self._media_root, self._bucket, self._store = values.media_root, values.bucket, store

    def fetch(self, row: Certificate, file: CertificateFile) -> int:
        """Writes the object whole or not at all, and returns its bytes; the file must not exist.

        Its SHA-256 must be the one that S3 keeps, if it keeps one, and for a PDF the one that it was issued with.

        Raises:
            UnprovenError: there is no object, or it is not what it should be.
            ObjectStoreError: S3 refuses, or does not answer through all attempts.
            OccupiedError, UnsafeNameError, OSError: it cannot be written.
        """
        for left in reversed(range(_ATTEMPTS)):
            try:
                return self._fetch(row, file)
            except BrokenDownloadError:
                if not left:
                    raise
        raise AssertionError  # the last attempt raised or returned

    def size(self, file: CertificateFile) -> int:
        """Bytes of the object, without fetching it; raises as `fetch`."""
        return self._head(file).size

    def _fetch(self, row: Certificate, file: CertificateFile) -> int:
        stored = self._head(file)

        def accept(sha256: str, size: int) -> None:
            if size != stored.size or stored.sha256 not in {None, sha256}:
                expected = f"S3 keeps {stored.size} bytes with SHA-256 {stored.sha256 or 'unknown'}"
                raise UnprovenError("checksum_refused", f"{size} bytes came with SHA-256 {sha256}, and {expected}")
            if file.is_pdf and row.certificate_hash not in {"", sha256}:
                detail = f"its SHA-256 is {sha256}, and it was issued with {row.certificate_hash}"
                raise UnprovenError("damaged_object", detail)

        return tree.write(self._media_root, file.key, self._blocks(stored), accept)

    def _head(self, file: CertificateFile) -> StoredObject:
        stored = self._store.head(file.key)
        if stored is None:
            raise UnprovenError("missing_object", "neither quarantine nor S3 has it: look for it in the archive")
        return stored

    def _blocks(self, stored: StoredObject) -> Iterator[bytes]:
        try:
            answer = self._store.client.get_object(
                Bucket=self._bucket, Key=stored.key, IfMatch=stored.etag, ChecksumMode="ENABLED"
            )
        except (ClientError, BotoCoreError) as error:
            raise self._store.error(stored.key, error) from error
        try:
            yield from answer["Body"].iter_chunks(_BLOCK)
        except BotoCoreError as error:
            raise BrokenDownloadError(str(self._store.error(stored.key, error))) from error
