"""Streams all local copies into one archive in the backups bucket, with no second local copy, and proves it."""

from __future__ import annotations

import gzip
import hashlib
import heapq
import os
import tarfile
from contextlib import suppress
from datetime import UTC, datetime
from operator import itemgetter
from typing import IO, TYPE_CHECKING, NamedTuple

from cutover import local_files
from cutover.local_files import PREFIX, UnsafeNameError
from cutover.retirement import manifest
from cutover.retirement.archive_proof import (
    ArchiveError,
    StreamedTar,
    archive_key,
    cannot_keep,
    open_private,
    prove,
    sidecar_key,
    state_file,
)
from cutover.retirement.multipart import MultipartUpload, part_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from cutover.retirement.archive_proof import Proof
    from cutover.retirement.backups import Backups

__all__ = ["Survey", "archive", "survey"]

_COMPRESSION = 1  # of gzip: PDF and PNG are compressed already, and higher levels cost time only
_BYTES_A_MEMBER = 2048  # at most, beside its content: headers, padding, and its line of the manifest


class Survey(NamedTuple):
    """What there is to archive: files, and their bytes."""

    files: int
    bytes: int


def survey(places: Sequence[Path]) -> Survey:
    """Counts the local copies under these roots, each name once."""
    files = size = 0
    for root, name in _copies(places):
        with suppress(FileNotFoundError):  # whoever archives it will say that it vanished
            size += (root / name).lstat().st_size
        files += 1
    return Survey(files, size)


def archive(backups: Backups, places: Sequence[Path], found: Survey, progress: Callable[[str, int], None]) -> Proof:
    """Makes an archive and proves it by reading it back; memory does not grow with it.

    Args:
        backups: the bucket that takes it.
        places: the roots under which local copies lie; the first one that has a name counts.
        found: what a survey of them found.
        progress: is told what is done, and how many files.

    Raises:
        ArchiveError: there is no file, one cannot be read or changes meanwhile, or the archive is not what was sent;
            only in the last case is there an archive.
        ObjectStoreError: S3 refuses or cannot be reached.
        StateError: the manifest cannot be kept.
    """
    if not found.files:
        where = " and ".join(str(place / PREFIX) for place in places)
        raise ArchiveError(f"{where}: there is no file to archive: is the export mounted?")
    key = archive_key(backups.settings.bucket, datetime.now(UTC))
    listing = state_file(backups.settings, key, ".building")
    with cannot_keep(listing):
        listing.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lines = open_private(listing)
    try:
        with lines, MultipartUpload(backups, key, "application/gzip", _part_bytes(found)) as upload:
            with gzip.GzipFile("", "wb", _COMPRESSION, upload) as compressed:
                _pack(compressed, places, lines, listing, progress)
            digest = _send_manifest(backups, sidecar_key(key), listing)
            upload.complete()
    finally:
        listing.unlink()
    proof = prove(backups, key, progress)
    if proof.manifest_sha256 != digest:
        raise ArchiveError(
            f"{backups.where(sidecar_key(key))}: is not the manifest that was sent: make another archive"
        )
    return proof


def _copies(places: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Root and name of each local copy, by the names' bytes; a name that two roots have comes with the first."""

    def walk(rank: int, root: Path) -> Iterator[tuple[bytes, int, str]]:
        return ((os.fsencode(name), rank, name) for name in local_files.walk(root))

    previous = None
    for _, rank, name in heapq.merge(*(walk(rank, root) for rank, root in enumerate(places)), key=itemgetter(0, 1)):
        if name != previous:
            yield places[rank], name
        previous = name


def _pack(
    compressed: gzip.GzipFile,
    places: Sequence[Path],
    lines: IO[bytes],
    listing: Path,
    progress: Callable[[str, int], None],
) -> None:
    with StreamedTar(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for number, (root, name) in enumerate(_copies(places), 1):
            sha256 = _add(tar, root, name)
            with cannot_keep(listing):
                lines.write(manifest.line(name, sha256))
            progress("files archived", number)
        with cannot_keep(listing):
            lines.flush()
        member = tarfile.TarInfo(manifest.MEMBER)
        member.size, member.mode = listing.stat().st_size, 0o644
        with listing.open("rb") as content:
            tar.addfile(member, content)


def _add(tar: StreamedTar, root: Path, name: str) -> str:
    """Adds a file as it is, and returns its SHA-256."""
    try:
        before = local_files.stamp(root, name, any_character=True)
        with local_files.opened(root, name, any_character=True) as file:
            status = os.fstat(file)
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.mode = status.st_size, int(status.st_mtime), status.st_mode & 0o7777
            member.uid, member.gid = status.st_uid, status.st_gid
            content = _Hashed(file, name)
            tar.addfile(member, content)
        tar.members.clear()
        if before is None or local_files.stamp(root, name, any_character=True) != before:
            raise _changed(name)
    except FileNotFoundError:
        raise ArchiveError(f"{root / name}: vanished while it was archived: there is no archive, run again") from None
    except (OSError, UnsafeNameError) as error:
        raise ArchiveError(f"{root / name}: cannot be read ({error}): there is no archive") from error
    return content.sha256()


class _Hashed:
    """A file that is hashed as it is read."""

    def __init__(self, file: int, name: str) -> None:
        self._file, self._name = file, name
        self._digest = hashlib.sha256()

    def read(self, size: int = 0, /) -> bytes:
        """Just so many bytes, for the archive's header has promised them; ArchiveError if there are fewer."""
        blocks, wanted = [], size
        while wanted:
            block = os.read(self._file, wanted)
            if not block:
                raise _changed(self._name)
            blocks.append(block)
            wanted -= len(block)
        data = b"".join(blocks)
        self._digest.update(data)
        return data

    def sha256(self) -> str:
        """Hexadecimal, of what was read."""
        return self._digest.hexdigest()


def _changed(name: str) -> ArchiveError:
    return ArchiveError(f"{name}: was changed while it was archived: there is no archive, run again")


def _part_bytes(found: Survey) -> int:
    return part_bytes(found.bytes + found.files * _BYTES_A_MEMBER)


def _send_manifest(backups: Backups, key: str, listing: Path) -> str:
    """Stores the manifest beside the archive, and returns its SHA-256."""
    digest = hashlib.sha256()
    size = part_bytes(listing.stat().st_size)
    with listing.open("rb") as lines, MultipartUpload(backups, key, "text/plain", size) as upload:
        while block := lines.read(size):
            digest.update(block)
            upload.write(block)
        upload.complete()
    return digest.hexdigest()
