"""Proof of an archive: it is read back from S3, and every member's SHA-256 is compared with the manifest."""

from __future__ import annotations

import hashlib
import io
import os
import re
import tarfile
import zlib
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import IO, TYPE_CHECKING

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from cutover import plan
from cutover.control import StateError
from cutover.exit_codes import CommandError, ExitCode
from cutover.retirement import manifest
from cutover.retirement.backups import ARCHIVE_PREFIX
from cutover.retirement.manifest import ManifestError
from cutover.retirement.stored_bytes import RANGE_BYTES, StoredBytes
from cutover.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from cutover.retirement.backups import Backups
    from cutover.settings import Settings

__all__ = [
    "ArchiveError",
    "Proof",
    "StreamedTar",
    "archive_key",
    "cannot_keep",
    "open_private",
    "prove",
    "sidecar_key",
    "state_file",
    "unarchived",
]

_ARCHIVE, _SIDECAR = "certificates.tar.gz", "certificates.sha256"
_KEY = re.compile(rf"{ARCHIVE_PREFIX}(?P<bucket>[^/]+)/(?P<time>\d{{8}}T\d{{6}}Z)/{re.escape(_ARCHIVE)}")
_BLOCK = 1 << 20  # bytes read at once


class ArchiveError(CommandError):
    """An archive is not what its manifest says, or none was proven; the sentence names it."""

    exit_code = ExitCode.FAILED


class DifferentError(Exception):
    """A file of an archive is not what its manifest says."""


class StreamedTar(tarfile.TarFile):
    """A tar file of any size: `members`, where tarfile remembers each one, is emptied by whoever streams."""

    members: list[tarfile.TarInfo]


class Proof(BaseModel):
    """An archive that was read back whole, and when (UTC): its manifest's SHA-256 (hexadecimal), files and bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bucket: str
    key: str
    manifest_sha256: str
    files: int
    bytes: int
    proven_at: AwareDatetime


def archive_key(bucket: str, now: datetime) -> str:
    """The key of an archive of this bucket's certificates, made `now` (UTC)."""
    return f"{ARCHIVE_PREFIX}{bucket}/{now:%Y%m%dT%H%M%SZ}/{_ARCHIVE}"


def sidecar_key(key: str) -> str:
    """The key of the manifest beside an archive."""
    return key.removesuffix(_ARCHIVE) + _SIDECAR


def state_file(values: Settings, key: str, suffix: str) -> Path:
    """Where the state directory keeps the manifest (`.sha256`) and the proof (`.json`) of an archive.

    Raises:
        SettingsError: the key is not one of an archive of these certificates.
    """
    found = _KEY.fullmatch(key)
    if found is None or found["bucket"] != values.bucket:
        raise SettingsError(f"{key!r} is no archive of {values.bucket}: its key is like {_example(values.bucket)}")
    return values.state_directory / "archives" / f"{found['time']}{suffix}"


def prove(backups: Backups, key: str, progress: Callable[[str, int], None]) -> Proof:
    """Reads an archive and its manifest back from S3, compares every file, and records the proof.

    Args:
        backups: the bucket that holds it.
        key: the archive's key.
        progress: is told what is done, and how many files.

    Raises:
        ArchiveError: a file is missing, additional or different, or the archive cannot be unpacked.
        NoObjectError: there is no such archive, or no manifest beside it.
        ObjectStoreError: S3 cannot be read.
        StateError: the proof cannot be recorded.
    """
    listing = state_file(backups.settings, key, ".sha256")
    with io.BufferedReader(StoredBytes(backups, sidecar_key(key)), RANGE_BYTES) as sidecar:
        digest = _keep(listing, iter(lambda: sidecar.read(_BLOCK), b""))
    where = backups.where(key)
    with io.BufferedReader(StoredBytes(backups, key), RANGE_BYTES) as stored, listing.open("rb") as lines:
        try:
            with StreamedTar.open(fileobj=stored, mode="r|gz") as tar:
                files, size = _compare(tar, lines, digest, progress)
        except (tarfile.TarError, zlib.error, EOFError) as error:
            raise ArchiveError(f"{where}: cannot be unpacked to its end ({error}): make another archive") from error
        except (DifferentError, ManifestError) as error:
            raise ArchiveError(f"{where}: {error}: make another archive") from error
    proof = Proof(
        bucket=backups.bucket, key=key, manifest_sha256=digest, files=files, bytes=size, proven_at=datetime.now(UTC)
    )
    _keep(state_file(backups.settings, key, ".json"), [proof.model_dump_json().encode()])
    return proof


def unarchived(values: Settings, wanted: Mapping[str, str]) -> list[str]:
    """Which of these files (name to SHA-256) are in no archive that was proven lately (`proof_seconds` of the table).

    Raises:
        ArchiveError: no archive was proven lately, or what the state directory keeps of one was changed.
    """
    seconds = plan.load().data_tools.retirement.proof_seconds
    proofs = _proofs(values)
    fresh = [proof for proof in proofs if datetime.now(UTC) - proof.proven_at < timedelta(seconds=seconds)]
    if not fresh:
        command = f"cutover archive --verify {proofs[-1].key}" if proofs else "cutover archive"
        raise ArchiveError(f"no archive of {values.bucket} was proven within the last {seconds} s: run `{command}`")
    missing = dict(wanted)
    for proof in fresh:
        for name, sha256 in _manifest(values, proof):
            if missing.get(name) == sha256:
                del missing[name]
    return list(missing)


def _compare(tar: StreamedTar, lines: IO[bytes], digest: str, progress: Callable[[str, int], None]) -> tuple[int, int]:
    """Files and bytes of an archive whose members are those of the manifest, in its order; else DifferentError."""
    files = size = 0
    while (member := tar.next()) is not None:
        tar.members.clear()
        sha256 = _sha256(tar, member)
        if member.name == manifest.MEMBER:
            break
        expected = lines.readline()
        if not expected or manifest.parse(expected) != (member.name, sha256):
            raise DifferentError(f"{member.name!r} is not as its manifest says")
        files, size = files + 1, size + member.size
        progress("files proven", files)
    else:
        raise DifferentError("it ends without its manifest")
    if sha256 != digest:
        raise DifferentError("the manifest in it is not the one beside it")
    if rest := lines.readline():
        raise DifferentError(f"{manifest.parse(rest)[0]!r} of its manifest is missing")
    return files, size


def _sha256(tar: StreamedTar, member: tarfile.TarInfo) -> str:
    digest = hashlib.sha256()
    content = tar.extractfile(member)
    if content is None:
        raise DifferentError(f"{member.name!r} is no plain file")
    while block := content.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest()


def _proofs(values: Settings) -> list[Proof]:
    """All proofs of the state directory, the archive that was made first coming first."""
    try:
        paths = sorted((values.state_directory / "archives").glob("*.json"))
        return [Proof.model_validate_json(path.read_bytes()) for path in paths]
    except ValidationError as error:
        what = error.errors()[0]["msg"]
        raise ArchiveError(
            f"{values.state_directory}/archives: a proof cannot be read ({what}): prove again"
        ) from error


def _manifest(values: Settings, proof: Proof) -> Iterator[tuple[str, str]]:
    """Names and SHA-256 of a proven archive; ArchiveError, at the end, if they are not those that were proven."""
    path = state_file(values, proof.key, ".sha256")
    changed = ArchiveError(f"{path}: was changed since it was proven: run `cutover archive --verify {proof.key}`")
    digest = hashlib.sha256()
    try:
        with path.open("rb") as lines:
            for line in lines:
                digest.update(line)
                yield manifest.parse(line)
    except (FileNotFoundError, ManifestError) as error:
        raise changed from error
    if digest.hexdigest() != proof.manifest_sha256:
        raise changed


def _keep(path: Path, blocks: Iterable[bytes]) -> str:
    """Writes a file of the state directory in one step, and returns its SHA-256."""
    new, digest = path.with_name(f"{path.name}.new"), hashlib.sha256()
    with cannot_keep(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = open_private(new)
    with file:
        for block in blocks:
            digest.update(block)
            with cannot_keep(path):
                file.write(block)
        with cannot_keep(path):
            file.flush()
            os.fsync(file.fileno())
    new.replace(path)
    return digest.hexdigest()


def open_private(path: Path) -> IO[bytes]:
    """A new file for writing that nobody else can read; OSError if it cannot be made."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb")


@contextmanager
def cannot_keep(path: Path) -> Iterator[None]:
    """Tells a full state directory from a network that does not answer."""
    try:
        yield
    except OSError as error:
        raise StateError(
            f"{path}: cannot be written ({error.strerror}): free it, or name another CUTOVER_STATE_DIRECTORY"
        ) from error


def _example(bucket: str) -> str:
    return archive_key(bucket, datetime(2026, 11, 24, tzinfo=UTC))
