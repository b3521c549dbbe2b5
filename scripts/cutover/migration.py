"""One certificate's way into S3: read, prove, put, compare. Whoever marks rows does it by what this says of them."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Self

from cutover import local_files, uploads
from cutover.object_store import ObjectStoreError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cutover.catalogue import Certificate, CertificateFile
    from cutover.data_tool_table import DataTools
    from cutover.local_files import LocalFile
    from cutover.object_store import ObjectStore
    from cutover.settings import Settings

__all__ = [
    "UPLOAD_FAILURES",
    "Migrator",
    "Outcome",
    "Problem",
    "ProblemError",
    "Rules",
    "StoredFile",
    "UnreadableProblem",
]

Cause = Literal[
    "missing_local",
    "damaged_local",
    "unsafe_name",
    "changed_while_read",
    "conflict",
    "s3_denied",
    "s3_unavailable",
    "checksum_refused",
    "database",
]
UPLOAD_FAILURES: frozenset[Cause] = frozenset({"s3_denied", "s3_unavailable", "checksum_refused"})
_LASTING: frozenset[Cause] = frozenset({"missing_local", "damaged_local", "unsafe_name", "conflict"})


@dataclass(frozen=True)
class Problem:
    """Why a certificate was not migrated; `key` is the file that it is about."""

    certificate_id: int
    key: str | None
    cause: Cause
    detail: str

    @property
    def is_lasting(self) -> bool:
        """Whether another attempt alone cannot mend it: somebody must look at the file, the row or the object."""
        return self.cause in _LASTING

    def __str__(self) -> str:
        # A name is the table's: a line break in it must not make a line of its own, which somebody greps for.
        key = "its row" if self.key is None else self.key if self.key.isprintable() else repr(self.key)
        return f"[ERROR] certificate {self.certificate_id}, {key}: {self.cause}: {self.detail}"


class UnreadableProblem(Problem):
    """A file that is there, and that its disk did not give: tomorrow it may."""

    @property
    def is_lasting(self) -> bool:
        """Never: the resume token must lead back to it."""
        return False


class ProblemError(Exception):
    """Ends the way of one certificate."""

    def __init__(self, cause: Cause, detail: str) -> None:
        super().__init__(detail)
        self.cause: Cause = cause


class _UnreadableError(ProblemError):
    """Ends the way of a certificate of which the disk does not give a file."""


@dataclass(frozen=True)
class StoredFile:
    """A file whose equal is in S3: put there now, or met there. `md5`, which S3 gives as ETag, in dry runs only."""

    key: str
    size: int  # bytes
    sha256: str
    uploaded: bool
    md5: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of one certificate. It may be marked only if it has no problem."""

    row: Certificate
    stored: tuple[StoredFile, ...]
    problems: tuple[Problem, ...]
    attempted: bool  # something was asked of S3

    @property
    def upload_failed(self) -> bool:
        """Whether S3, not the file or the row, is to blame."""
        return any(problem.cause in UPLOAD_FAILURES for problem in self.problems)

    @property
    def unreadable(self) -> bool:
        """Whether the disk did not give a file that is there."""
        return any(isinstance(problem, UnreadableProblem) for problem in self.problems)


@dataclass(frozen=True)
class Rules:
    """How certificates are taken to S3."""

    longest_key: int  # bytes
    hold: int  # bytes of a file that is held in memory; a larger one is read again to be sent
    verify: bool = False  # ask S3 again for the SHA-256 of what it has just stored
    read_back: bool = False  # download what was stored, because this server does not enforce checksums
    repair: bool = False  # replace an object that differs from a local file


class Migrator:
    """Takes certificates to S3. Threads may share it. Without `uploader` it reads everything and writes nothing.

    `shared`: the names that are two certificates' at once, with the ids of both (see Catalogue.shared_names).
    """

    def __init__(
        self,
        settings: Settings,
        store: ObjectStore,
        uploader: uploads.Uploader | None,
        rules: Rules,
        *,
        shared: Mapping[str, tuple[int, int]],
    ) -> None:
        self.shared = shared
        self._media_root = settings.media_root
        self._store, self._uploader, self._rules = store, uploader, rules

    @classmethod
    def for_server(  # noqa: PLR0913 - a command's options, each by its name
        cls,
        settings: Settings,
        tools: DataTools,
        store: ObjectStore,
        purpose: str,
        *,
        shared: Mapping[str, tuple[int, int]],
        dry_run: bool = False,
        verify: bool = False,
        repair: bool = False,
    ) -> Self:
        """A migrator for this S3 server; says on standard error what the server cannot do.

        `purpose` is told to S3 in the user agent.

        Raises:
            ObjectStoreError: there are no credentials, or a dry run finds no bucket.
        """
        rules = Rules(tools.longest_key_bytes, tools.streamed_above_bytes, verify=verify, repair=repair)
        if dry_run:
            store.require_bucket()
            return cls(settings, store, None, rules, shared=shared)
        server = uploads.examine(settings)
        if server.untried is not None:
            print(
                f"cutover: whether this S3 refuses a wrong SHA-256 could not be tried ({server.untried}), so every "
                "object is read back",
                file=sys.stderr,
            )
        elif not server.enforces_checksums:
            print("cutover: this S3 does not refuse a wrong SHA-256, so every object is read back", file=sys.stderr)
        if not server.encrypts:
            print("cutover: this S3 has no SSE-S3: objects are stored as its bucket does by default", file=sys.stderr)
        uploader = uploads.Uploader(settings, purpose, encrypt=server.encrypts)
        rules = replace(rules, read_back=not server.enforces_checksums)
        return cls(settings, store, uploader, rules, shared=shared)

    def migrate(self, row: Certificate) -> Outcome:
        """Reads and proves all files of a row, and only then stores them; never raises for what is wrong with one.

        A conflict shows when its file is put: an object that was put before it, of the same row, stays.

        Raises:
            UnreadableFileError: the disk gives no file, so that nobody knows what is wrong with this one.
        """
        files, problems = self._sources(row)
        if problems:
            return Outcome(row, (), tuple(problems), attempted=any(each.cause in UPLOAD_FAILURES for each in problems))
        stored = []
        for file in files:
            try:
                uploaded = self._store_one(file)
                stored.append(StoredFile(file.name, file.stamp.size, file.sha256, uploaded, self._md5(file)))
            except (ObjectStoreError, ProblemError) as error:
                problems.append(_problem(row, file.name, error))
            except OSError as error:  # of a large file, which is read again to be sent
                problems.append(_problem(row, file.name, self._unreadable(row, file.name, error)))
            if problems:
                break
        # Looked at last: the first file may be replaced while the second is stored.
        detail = "the file was changed while it was stored: run again"
        problems += [
            Problem(row.id, file.name, "changed_while_read", detail)
            for file in files[: len(stored)]
            if not local_files.unchanged(self._media_root, file)
        ]
        return Outcome(row, tuple(stored), tuple(problems), attempted=bool(files))

    def _md5(self, file: LocalFile) -> str | None:
        if self._uploader is not None:
            return None
        if file.body is None:
            with contextlib.suppress(OSError, local_files.UnsafeNameError):  # then it was changed, which is found next
                return local_files.md5(self._media_root, file.name)
            return None
        return hashlib.md5(file.body, usedforsecurity=False).hexdigest()

    def _sources(self, row: Certificate) -> tuple[list[LocalFile], list[Problem]]:
        found, problems = [], []
        for file in row.files:
            try:
                source = self._source(row, file)
            except (ObjectStoreError, ProblemError) as error:
                problems.append(_problem(row, file.key, error))
            else:
                found += [] if source is None else [source]
        return found, problems

    def _source(self, row: Certificate, file: CertificateFile) -> LocalFile | None:
        """The file as it is to be stored, or None where nothing is left to do for it."""
        length = len(os.fsencode(file.key))
        if not file.key.startswith(local_files.PREFIX):
            raise ProblemError("unsafe_name", f"the name does not begin with {local_files.PREFIX}: correct the row")
        if length > self._rules.longest_key:
            limit = self._rules.longest_key
            raise ProblemError("unsafe_name", f"the name has {length} bytes, and S3 takes {limit} in a key")
        if file.key in self.shared:
            first, second = self.shared[file.key]
            owners = f"certificates {first} and {second} own it" if first != second else "it is its PDF and its image"
            advice = "correct one of the rows, or accept one certificate by name"
            raise ProblemError("conflict", f"a file can be one certificate's only, and {owners}: {advice}")
        try:
            local = local_files.read(self._media_root, file.key, hold=self._rules.hold)
        except local_files.UnsafeNameError as error:
            raise ProblemError("unsafe_name", str(error)) from error
        except local_files.ChangedWhileReadError as error:
            raise ProblemError("changed_while_read", str(error)) from error
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise ProblemError("unsafe_name", "no disk takes a name so long: correct the row") from error
            raise self._unreadable(row, file.key, error) from error
        if local is None:
            if self._is_retired(row, file):
                return None
            local_files.require_tree(self._media_root)
            raise ProblemError("missing_local", "there is no such file: restore it, or accept the certificate by name")
        self._prove(row, file, local)
        return local

    def _is_retired(self, _row: Certificate, _file: CertificateFile) -> bool:
        """Whether a file that is not on the disk need not be there."""
        return False

    @staticmethod
    def _prove(row: Certificate, file: CertificateFile, local: LocalFile) -> None:
        if not local.stamp.size:
            raise ProblemError("damaged_local", "the file is empty")
        if file.is_pdf and row.certificate_hash not in {"", local.sha256}:
            raise ProblemError(
                "damaged_local", f"its SHA-256 is {local.sha256}, and it was issued with {row.certificate_hash}"
            )

    def _unreadable(self, row: Certificate, key: str, error: OSError) -> _UnreadableError:
        """What to report of a file that is there and cannot be read; raises where the whole disk is away."""
        code = errno.errorcode.get(error.errno or 0, error.errno)
        if error.errno == errno.ESTALE:
            raise local_files.UnreadableFileError(
                f"{self._media_root / key}: cannot be read ({code}, {error.strerror}): mount the media directory anew"
            ) from error
        local_files.require_tree(self._media_root)
        return _UnreadableError(
            "damaged_local",
            f"cannot be read ({code}, {error.strerror}): mend its disk, its mount or its permissions; if this file "
            f"alone is lost, `cutover accept --certificate-id {row.id}` passes it by",
        )

    def has_local(self, row: Certificate) -> bool:
        """Whether the disk has a file of a row."""
        for file in row.files:
            with contextlib.suppress(OSError, local_files.UnsafeNameError):
                if local_files.stamp(self._media_root, file.key) is not None:
                    return True
        return False

    def _store_one(self, file: LocalFile) -> bool:
        """Sees to an equal object; whether it was put now, or would be in a real run."""
        if self._uploader is None:
            existing = self._store.sha256(file.name)
            if existing not in {None, file.sha256} and not self._rules.repair:
                raise self._conflict(file, existing)
            return existing != file.sha256
        replace = False
        for last in (False, True):
            try:
                self._uploader.put(file, replace=replace)
            except local_files.ChangedWhileReadError as error:
                raise ProblemError("changed_while_read", str(error)) from error
            except uploads.AlreadyThereError:
                existing = self._kept(file.name)
                if existing == file.sha256:
                    return False
                # None: S3 said 409, another upload of this key was under way, of which nothing has come.
                if last or (existing is not None and not self._rules.repair):
                    raise self._conflict(file, existing) from None
                replace = existing is not None
            else:
                break
        self._verified(file)
        return True

    def _verified(self, file: LocalFile) -> None:
        if not (self._rules.read_back or self._rules.verify):
            return  # S3 computed the SHA-256 itself, or it would have refused the bytes
        kept = self._kept(file.name)
        if kept != file.sha256:
            raise ProblemError("checksum_refused", f"S3 keeps {kept or 'nothing'} of it, and {file.sha256} was sent")

    def _kept(self, key: str) -> str | None:
        """SHA-256 of an object: S3's own, unless this server records whatever it is told."""
        if not self._rules.read_back:
            return self._store.sha256(key)
        hashes = self._store.hashes(key)
        return None if hashes is None else hashes.downloaded

    def _conflict(self, file: LocalFile, existing: str | None) -> ProblemError:
        return ProblemError(
            "conflict",
            f"the bucket holds other bytes ({existing or 'gone meanwhile'}) than the local file ({file.sha256}): "
            f"{self._advice(file)}",
        )

    def _advice(self, _file: LocalFile) -> str:
        """What to do about a conflict, by the command that met it."""
        return "look at both; --repair puts the local file in the object's place, whose old version stays"


def _problem(row: Certificate, key: str, error: ObjectStoreError | ProblemError) -> Problem:
    kind = UnreadableProblem if isinstance(error, _UnreadableError) else Problem
    return kind(row.id, key, error.cause, str(error))
