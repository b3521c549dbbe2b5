"""The storage class of certificates: local first, then S3, and reads from S3 only where the table says so."""

from __future__ import annotations

import contextlib
import logging
from typing import IO, TYPE_CHECKING, Any, TypeVar

from django.conf import settings
from django.core.files.base import ContentFile, File
from django.core.files.storage import FileSystemStorage, Storage
from django.utils import timezone
from django.utils.deconstruct import deconstructible

from cutover.django.flags import PROCESS_FLAGS, Flags
from cutover.django.migration_state import is_migrated
from cutover.django.s3_error import S3Error

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable
    from os import PathLike

    from cutover.django.s3_copy import S3Copy

__all__ = ["CertificateS3Storage"]

Result = TypeVar("Result")
logger = logging.getLogger("apps.tournaments.storage")


@deconstructible
class CertificateS3Storage(Storage):
    """Keeps a certificate's files under MEDIA_ROOT and, as the flags say, in S3 under the same name.

    An S3 failure never fails a call: a write stays local, a read falls back to the local file, each at the
    cost of at most about a second, and each leaves a METRIC line and a line with the cause. Only a read for which
    there is no local file raises S3Error, which is an OSError, and that after ten seconds at most.
    """

    def __init__(self, flags: Flags | None = None) -> None:
        self.flags = flags or PROCESS_FLAGS
        self.local_storage = FileSystemStorage()

    @property
    def s3_storage(self) -> S3Copy:
        """The S3 half; boto3 is imported with its first use."""
        from cutover.django.s3_copy import shared_copy  # noqa: PLC0415 - takes 0.2 s, local mode need not pay

        return shared_copy()

    def save(self, name: str | None, content: IO[Any], max_length: int | None = None) -> str:
        """Saves locally, then with dual-write on copies what was saved; returns the name, the same in both."""
        stored = self.local_storage.save(name, content, max_length=max_length)
        if self.flags.dual_write:
            self._attempt("save", stored, lambda: self._copy_to_s3(stored))
        return stored

    def delete(self, name: str) -> None:
        """Deletes the local file, then with a flag on the object; in mode local, an object in S3 stays behind."""
        self.local_storage.delete(name)
        if self.flags.uses_s3:
            self._attempt("delete", name, lambda: self.s3_storage.remove(name))

    def open(self, name: str, mode: str = "rb") -> File[Any]:
        """Opens for reading only (ValueError otherwise): what is written to one copy alone makes them differ."""
        if mode not in {"r", "rb"}:
            raise ValueError(f"{name} cannot be opened with mode {mode!r}: certificates are written by save().")

        def from_s3(sole: bool) -> File[Any]:
            body = self.s3_storage.get(name, sole=sole)
            return ContentFile(body if mode == "rb" else body.decode(), name=name)

        return self._read("read", name, from_s3, lambda: self.local_storage.open(name, mode))

    def url(self, name: str | None) -> str:
        """Returns a presigned URL (15 minutes) of a file that is in S3, else its address under MEDIA_URL."""
        if name is None:
            return self.local_storage.url(name)
        return self._read("url", name, lambda _sole: self.s3_storage.sign(name), lambda: self.local_storage.url(name))

    def exists(self, name: str) -> bool:
        """Tells whether the file exists. A migrated object that S3 does not find counts as a failure of S3.

        While S3 fails, only the local file counts.
        """
        return self._read(
            "exists",
            name,
            lambda sole: self.s3_storage.length(name, sole=sole) >= 0,
            lambda: self.local_storage.exists(name),
        )

    def size(self, name: str) -> int:
        """Returns the file's size in bytes."""
        return self._read(
            "size",
            name,
            lambda sole: self.s3_storage.length(name, sole=sole),
            lambda: self.local_storage.size(name),
        )

    def get_accessed_time(self, name: str) -> datetime.datetime:
        """Returns the local access time; S3 keeps none, and answers with that of storing."""
        return self._time(name, self.local_storage.get_accessed_time)

    def get_created_time(self, name: str) -> datetime.datetime:
        """Returns when the file was stored."""
        return self._time(name, self.local_storage.get_created_time)

    def get_modified_time(self, name: str) -> datetime.datetime:
        """Returns when the file was stored: certificates do not change."""
        return self._time(name, self.local_storage.get_modified_time)

    def path(self, name: str) -> str:
        """Returns the local path, at which no file is once local copies are quarantined."""
        return self.local_storage.path(name)

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        """Lists local folders and files; what exists in S3 is told by the certificate table."""
        return self.local_storage.listdir(path)

    def get_valid_name(self, name: str) -> str:
        """Decided by the local storage, like every name."""
        return self.local_storage.get_valid_name(name)

    def get_alternative_name(self, file_root: str, file_ext: str) -> str:
        """Decided by the local storage, like every name."""
        return self.local_storage.get_alternative_name(file_root, file_ext)

    def is_name_available(self, name: str, max_length: int | None = None) -> bool:
        """Decided by the local storage, like every name."""
        return self.local_storage.is_name_available(name, max_length=max_length)

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        """Decided by the local storage, like every name."""
        return self.local_storage.get_available_name(name, max_length=max_length)

    def generate_filename(self, filename: str | PathLike[str]) -> str:
        """Decided by the local storage, like every name."""
        return self.local_storage.generate_filename(filename)

    def _time(self, name: str, local: Callable[[str], datetime.datetime]) -> datetime.datetime:
        def from_s3(sole: bool) -> datetime.datetime:
            modified = self.s3_storage.modified(name, sole=sole)
            return modified if settings.USE_TZ else timezone.make_naive(modified)

        return self._read(None, name, from_s3, lambda: local(name))

    def _copy_to_s3(self, name: str) -> None:
        with self.local_storage.open(name) as file:
            body = file.read()
        self.s3_storage.put(name, body)

    def _attempt(self, operation: str, name: str, call: Callable[[], None]) -> None:
        try:
            call()
        except OSError as error:  # S3Error, or the local file could not be read back
            _count(f"{operation}.fail")
            logger.warning("S3 failed at the %s of %s, only the local file counts: %s", operation, name, error)
        else:
            _count(f"{operation}.success")

    def _read(
        self, operation: str | None, name: str, from_s3: Callable[[bool], Result], from_local: Callable[[], Result]
    ) -> Result:
        """Reads where the table says that the file is; `from_s3` is told whether S3 has the sole copy.

        The application counts no `read.fail`, only fallbacks.
        """
        if not (self.flags.read_primary and is_migrated(name)):
            return from_local()
        try:
            result = from_s3(not self.local_storage.exists(name))
        except S3Error as error:
            if operation in {"url", "exists", "size"}:
                _count(f"{operation}.fail")
            _count("read.fallback")
            logger.warning("S3 failed for %s, the local file is tried: %s", name, error)
            with contextlib.suppress(FileNotFoundError):
                return from_local()
            raise
        if operation is not None:
            _count(f"{operation}.success")
        return result


def _count(metric: str) -> None:
    name = f"cert.s3.{metric}"
    logger.info("METRIC: %s=1", name, extra={"metric_name": name, "value": 1, "tags": {}})
