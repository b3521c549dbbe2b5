"""Files under MEDIA_ROOT, opened by the names that the database has for them."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from cutover.exit_codes import CommandError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = [
    "PREFIX",
    "ChangedWhileReadError",
    "LocalFile",
    "Stamp",
    "UnreadableFileError",
    "UnsafeNameError",
    "check_name",
    "md5",
    "opened",
    "read",
    "require_tree",
    "sha256",
    "stamp",
    "unchanged",
    "walk",
]

PREFIX = "certificates/"  # of every certificate's name, hence of every key (application's upload_to)
_BLOCK = 1 << 18  # bytes read at once
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_NO_PLAIN_FILE = {errno.ELOOP, errno.ENOTDIR, errno.ENXIO}


class UnsafeNameError(CommandError, ValueError):
    """A name leads out of MEDIA_ROOT or to something that is no plain file."""


class ChangedWhileReadError(RuntimeError):
    """A file was written or replaced while it was read, so its bytes may be of two versions."""


class UnreadableFileError(CommandError):
    """A file is there, or may be, and its disk does not give it; the sentence names the path and what to do."""

    exit_code = ExitCode.ERROR


class Stamp(NamedTuple):
    """What changes when a file is written or replaced: inode, bytes, and both times in nanoseconds."""

    inode: int
    size: int
    modified: int
    changed: int


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file as it was read: its hexadecimal SHA-256, and its bytes unless they are too many to be held."""

    name: str
    body: bytes | None
    sha256: str
    stamp: Stamp


def check_name(name: str, *, any_character: bool = False) -> list[str]:
    """The parts of a name that stays under MEDIA_ROOT.

    Raises:
        UnsafeNameError: it is absolute, has `..`, `.` or an empty part, or (unless `any_character`) a control
            character, which S3's listings cannot carry.
    """
    parts = name.split("/")
    if any(part in {"", ".", ".."} for part in parts) or (_CONTROL.search(name) and not any_character):
        raise UnsafeNameError(f"{name!r} is no name under MEDIA_ROOT: correct the certificate's row")
    return parts


@contextmanager
def opened(media_root: Path, name: str, *, any_character: bool = False) -> Iterator[int]:
    """A descriptor of a plain file for reading, reached through no symbolic link.

    Args:
        media_root: where names begin.
        name: of the file.
        any_character: the name was found on the disk, and is not to become a key.

    Raises:
        FileNotFoundError: there is none.
        OSError: the file is there and cannot be read.
        UnsafeNameError: the name is unsafe, passes a symbolic link or is no plain file.
    """
    parts = check_name(name, any_character=any_character)
    file = -1
    directory = os.open(media_root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            inner = os.open(part, _DIRECTORY, dir_fd=directory)
            os.close(directory)
            directory = inner
        file = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise UnsafeNameError(f"{name!r} is no plain file: look at it by hand")
        yield file
    except OSError as error:
        if error.errno not in _NO_PLAIN_FILE:
            raise
        raise UnsafeNameError(f"{name!r} passes a symbolic link or is no plain file: look at it by hand") from error
    finally:
        os.close(directory)
        if file != -1:
            os.close(file)


def read(media_root: Path, name: str, *, hold: int) -> LocalFile | None:
    """The file with its bytes, if they are `hold` at most, or None if there is none.

    Raises:
        ChangedWhileReadError: it was written while it was read.
        OSError: the file is there and cannot be read.
        UnsafeNameError: see `opened`.
    """
    try:
        with opened(media_root, name) as file:
            before = _stamp(os.fstat(file))
            # One byte more than there should be: a file that has grown shows, and one that has not is read at once.
            body = _whole(file, before.size + 1) if before.size <= hold else None
            digest = _hashed(file, "sha256") if body is None else hashlib.sha256(body)
            after = _stamp(os.fstat(file))
    except FileNotFoundError:
        return None
    if before != after or (body is not None and len(body) != after.size):
        raise ChangedWhileReadError(f"{name!r} was written while it was read: run again when its writer is done")
    return LocalFile(name, body, digest.hexdigest(), after)


def require_tree(media_root: Path) -> None:
    """Raises UnreadableFileError unless certificates lie here: without its export a mount point is an empty folder."""
    folder = media_root / PREFIX
    try:
        with os.scandir(folder) as found:
            if next(found, None) is not None:
                return
        reason = "it is empty"
    except OSError as error:
        reason = f"{errno.errorcode.get(error.errno or 0, error.errno)}, {error.strerror}"
    raise UnreadableFileError(f"{folder} has no certificate ({reason}): mount the media directory on this machine")


def stamp(media_root: Path, name: str, *, any_character: bool = False) -> Stamp | None:
    """What tells a file that was read from one that was changed since, or None if there is none; raises as `opened`."""
    try:
        with opened(media_root, name, any_character=any_character) as file:
            return _stamp(os.fstat(file))
    except FileNotFoundError:
        return None


def unchanged(media_root: Path, local: LocalFile) -> bool:
    """Whether a file that was read is still there as it was; nothing is opened, for its inode tells it from another."""
    try:
        return _stamp(os.stat(f"{media_root}/{local.name}", follow_symlinks=False)) == local.stamp  # noqa: PTH116 - for every upload
    except OSError:
        return False


def sha256(media_root: Path, name: str) -> str | None:
    """Hexadecimal SHA-256 of a local file of any size, or None if there is none; raises as `opened`."""
    try:
        with opened(media_root, name) as file:
            return _hashed(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def md5(media_root: Path, name: str) -> str:
    """Hexadecimal MD5 of a local file of any size, as S3 gives it for an ETag; raises as `opened`."""
    with opened(media_root, name) as file:
        return _hashed(file, "md5").hexdigest()


def walk(media_root: Path, prefix: str = PREFIX) -> Iterator[str]:
    """The names of all plain files under a folder of MEDIA_ROOT, ordered by their UTF-8 bytes, as S3 lists keys.

    Names that are no UTF-8 come as Python's surrogate escapes. Symbolic links are neither followed nor given.
    """

    def order(entry: os.DirEntry[str]) -> bytes:
        return os.fsencode(entry.name) + (b"/" if entry.is_dir(follow_symlinks=False) else b"")

    try:
        with os.scandir(media_root / prefix) as found:
            entries = sorted(found, key=order)
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from walk(media_root, f"{prefix}{entry.name}/")
        elif entry.is_file(follow_symlinks=False):
            yield f"{prefix}{entry.name}"


def _hashed(file: int, algorithm: str) -> hashlib._Hash:
    digest = hashlib.new(algorithm, usedforsecurity=False)
    while block := os.read(file, _BLOCK):
        digest.update(block)
    return digest


def _whole(file: int, size: int) -> bytes:
    body = os.read(file, size)
    while len(body) < size and (more := os.read(file, size - len(body))):
        body += more
    return body


def _stamp(status: os.stat_result) -> Stamp:
    return Stamp(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
