"""Fresh proof that S3 has what a local copy has, for both files of a certificate together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from cutover import local_files
from cutover.local_files import PREFIX
from cutover.object_store import ObjectStoreError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from concurrent.futures import Executor
    from pathlib import Path

    from cutover.accepted import Accepted
    from cutover.catalogue import Certificate, CertificateFile
    from cutover.local_files import Stamp
    from cutover.object_store import ObjectStore

__all__ = ["Cause", "Left", "ProvenFile", "ProvenRow", "Prover", "UnprovenError"]

Cause = Literal[
    "accepted",
    "cannot_write",
    "changed_while_read",
    "checksum_refused",
    "conflict",
    "damaged_local",
    "damaged_object",
    "missing_object",
    "no_certificate",
    "not_archived",
    "not_in_ledger",
    "occupied",
    "s3_denied",
    "s3_unavailable",
    "shared_name",
    "unmarked",
    "unreadable_local",
    "unsafe_name",
]


@dataclass(frozen=True)
class Left:
    """A file that was left where it is, and why; the certificate is None for a file that belongs to none."""

    certificate_id: int | None
    key: str | None
    cause: Cause
    detail: str


class UnprovenError(Exception):
    """Ends the proof of one certificate."""

    def __init__(self, cause: Cause, detail: str, key: str | None = None) -> None:
        super().__init__(detail)
        self.cause: Cause = cause
        self.key = key


@dataclass(frozen=True)
class ProvenFile:
    """A file of which S3 has this SHA-256 (hexadecimal), and its local copies, as they were when they were read."""

    key: str
    sha256: str
    copies: dict[Path, Stamp]


@dataclass(frozen=True)
class ProvenRow:
    """A certificate all of whose files are proven."""

    row: Certificate
    files: tuple[ProvenFile, ...]


class Prover:
    """Asks S3 and reads local copies, wherever they lie, in this very run. Threads may share it.

    Args:
        store: the bucket.
        places: the roots under which a local copy may lie.
        accepted: rows that retirement never touches.
        shared: names that belong to two certificates.
        read_back: read every object in full, and believe no SHA-256 that a server may have recorded unseen.
    """

    def __init__(
        self,
        store: ObjectStore,
        places: Sequence[Path],
        accepted: Accepted,
        shared: Collection[str],
        *,
        read_back: bool = False,
    ) -> None:
        self._store, self._places = store, places
        self._accepted, self._shared, self._read_back = accepted.ids(), shared, read_back

    def prove_all(self, rows: Sequence[Certificate], threads: Executor) -> tuple[list[ProvenRow], list[Left]]:
        """The rows that are proven, in their order, and what is to be said of the others."""
        outcomes = list(threads.map(self.outcome, rows))
        proven = [outcome for outcome in outcomes if isinstance(outcome, ProvenRow)]
        return proven, [outcome for outcome in outcomes if isinstance(outcome, Left)]

    def outcome(self, row: Certificate) -> ProvenRow | Left:
        """The proof of one certificate, or why there is none."""
        try:
            return ProvenRow(row, self._prove(row))
        except UnprovenError as error:
            return Left(row.id, error.key, error.cause, str(error))
        except ObjectStoreError as error:
            return Left(row.id, None, error.cause, str(error))

    def _prove(self, row: Certificate) -> tuple[ProvenFile, ...]:
        if row.id in self._accepted:
            raise UnprovenError("accepted", "it is accepted as one that cannot be migrated, and keeps its local files")
        if row.migrated_at is None:
            raise UnprovenError("unmarked", "it is not marked as migrated: run `cutover sweep` or `cutover backfill`")
        return tuple(self._prove_file(row, file) for file in row.files)

    def _prove_file(self, row: Certificate, file: CertificateFile) -> ProvenFile:
        if not file.key.startswith(PREFIX):
            raise UnprovenError("unsafe_name", f"the name is not under {PREFIX}: correct the row", file.key)
        if file.key in self._shared:
            raise UnprovenError("shared_name", "two certificates have a file of this name: correct one row", file.key)
        copies = self._copies(file.key)
        damaged = [
            place for place, (sha256, _) in copies.items() if file.is_pdf and row.certificate_hash not in {"", sha256}
        ]
        if damaged:
            raise UnprovenError("damaged_local", f"the copy under {damaged[0]} is not as it was issued", file.key)
        stored = self._stored(file.key)
        if stored is None:
            raise UnprovenError("missing_object", "S3 has no such object: run `cutover repair`", file.key)
        if file.is_pdf and row.certificate_hash not in {"", stored}:
            raise UnprovenError("damaged_object", "the object is not what was issued: run `cutover repair`", file.key)
        for place, (sha256, _) in copies.items():
            if sha256 != stored:
                detail = f"S3 has {stored}, and the copy under {place} has {sha256}: look at both"
                raise UnprovenError("conflict", detail, file.key)
        return ProvenFile(file.key, stored, {place: stamp for place, (_, stamp) in copies.items()})

    def _stored(self, key: str) -> str | None:
        """SHA-256 of the object, None without one."""
        if not self._read_back:
            return self._store.sha256(key)
        hashes = self._store.hashes(key)
        if hashes is not None and hashes.recorded not in {None, hashes.downloaded}:
            detail = f"S3 recorded {hashes.recorded}, and the object reads {hashes.downloaded}: run `cutover repair`"
            raise UnprovenError("damaged_object", detail, key)
        return None if hashes is None else hashes.downloaded

    def _copies(self, key: str) -> dict[Path, tuple[str, Stamp]]:
        found = {}
        try:
            for place in self._places:
                local = local_files.read(place, key, hold=0)
                if local is not None:
                    found[place] = (local.sha256, local.stamp)
        except local_files.UnsafeNameError as error:
            raise UnprovenError("unsafe_name", str(error), key) from error
        except local_files.ChangedWhileReadError as error:
            raise UnprovenError("changed_while_read", str(error), key) from error
        except OSError as error:
            raise UnprovenError("unreadable_local", f"it cannot be read: {error.strerror}", key) from error
        return found
