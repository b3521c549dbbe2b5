"""What the witnesses say of one file: its local copy, its object, and for a PDF the hash of what was issued."""

from __future__ import annotations

import errno
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cutover import local_files
from cutover.consistency.errors import ConsistencyError
from cutover.local_files import UnsafeNameError

if TYPE_CHECKING:
    from cutover.consistency.sample import SampledFile
    from cutover.consistency.suspects import Witnesses
    from cutover.object_store import ObjectHashes, ObjectStore
    from cutover.settings import Settings

__all__ = ["Testimonies", "Testimony"]

LOCAL, S3, S3_RECORDED, HASH = "local", "s3", "s3_recorded", "certificate_hash"
_OF_THE_FILE = {errno.EIO, errno.ENAMETOOLONG}  # what else keeps it from being read says nothing of its bytes
_ATTEMPTS = 3  # of a download whose connection breaks; S3's own refusals are retried by the client


@dataclass(frozen=True, slots=True)
class Testimony:
    """SHA-256 of a file by witness, hexadecimal or the reason why there is none; None where there is no such copy."""

    file: SampledFile
    witnesses: Witnesses

    @property
    def measured(self) -> bool:
        """Whether there are two witnesses that could disagree; an object and its own checksum are one."""
        return sum(value is not None for name, value in self.witnesses.items() if name != S3_RECORDED) > 1

    @property
    def disagrees(self) -> tuple[str, ...]:
        """The witnesses that contradict the majority, all of them where there is none; empty if all agree.

        A witness that has nothing contradicts nobody, but for S3: the object was listed, and now it is gone. An object
        and its own checksum are one witness as long as they agree.
        """
        said = {name: value for name, value in self.witnesses.items() if value is not None or name == S3}
        if said.get(S3_RECORDED) == said[S3]:
            said.pop(S3_RECORDED, None)
        counts = Counter(said.values()).most_common(2)
        if len(counts) < 2:
            return ()
        (most, votes), (_, next_votes) = counts
        majority = most if votes > next_votes else object()
        return tuple(name for name, value in said.items() if value != majority)


class Testimonies:
    """Asks the witnesses. Threads may share it.

    Args:
        settings: where local files are.
        store: the bucket.
        download: read every object in full, as an audit does; otherwise S3's own SHA-256 of it counts, and only an
            object of which S3 keeps none, or which has no other witness, is downloaded.
    """

    def __init__(self, settings: Settings, store: ObjectStore, *, download: bool) -> None:
        self._media_root, self._store, self._download = settings.media_root, store, download

    def of(self, file: SampledFile) -> Testimony:
        """Reads both copies of a file.

        Raises:
            ObjectStoreError: S3 could not say; nothing follows for this file.
            ConsistencyError: the local file may not be read, or the file system does not answer.
        """
        witnesses: Witnesses = {LOCAL: self._local(file.key), **self._stored(file.key)}
        if file.is_pdf:
            witnesses[HASH] = file.certificate_hash or None
        alone = sum(value is not None for value in witnesses.values()) == 1
        if alone and not self._download and witnesses[S3] is not None:
            witnesses |= self._downloaded(file.key)
        return Testimony(file, witnesses)

    def _local(self, key: str) -> str | None:
        try:
            return local_files.sha256(self._media_root, key)
        except UnsafeNameError:
            return "unsafe name"
        except OSError as error:
            if error.errno not in _OF_THE_FILE:
                raise ConsistencyError(f"{self._media_root / key}: cannot be read ({error.strerror})") from error
            return f"unreadable ({error.strerror})"

    def _stored(self, key: str) -> Witnesses:
        if self._download:
            return self._downloaded(key)
        stored = self._store.head(key)
        if stored is None:
            return {S3: None}
        return {S3: stored.sha256} if stored.sha256 is not None else self._downloaded(key)

    def _downloaded(self, key: str) -> Witnesses:
        hashes = self._hashes(key)
        if hashes is None:
            return {S3: None}
        recorded: Witnesses = {} if hashes.recorded is None else {S3_RECORDED: hashes.recorded}
        return {S3: hashes.downloaded, **recorded}

    def _hashes(self, key: str) -> ObjectHashes | None:
        # With boto3, which this module's other users need not pay for.
        from botocore.exceptions import ClientError  # noqa: PLC0415

        from cutover.object_store import ObjectStoreError  # noqa: PLC0415

        for left in reversed(range(_ATTEMPTS)):
            try:
                return self._store.hashes(key)
            except ObjectStoreError as error:
                if isinstance(error.__cause__, ClientError) or not left:
                    raise
        raise AssertionError  # the last attempt raised or returned
