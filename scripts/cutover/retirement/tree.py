"""Moving, removing and writing files by name under a root, through no symbolic link."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cutover.local_files import UnsafeNameError, check_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

__all__ = ["OccupiedError", "move", "parent", "remove", "synchronise", "write"]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_NO_DIRECTORY = {errno.ELOOP, errno.ENOTDIR}


class OccupiedError(RuntimeError):
    """Something already lies where a file was to go."""


@contextmanager
def parent(root: Path, name: str, *, create: bool = False) -> Iterator[tuple[int, str]]:
    """A descriptor of the folder that holds `name`, and the name's last part.

    Args:
        root: where names begin.
        name: as the database has it.
        create: make missing folders, each with the owner and mode of the one that holds it.

    Raises:
        FileNotFoundError: a folder is missing, and `create` is off.
        UnsafeNameError: the name is unsafe or passes a symbolic link.
    """
    parts = check_name(name)
    directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            if create:
                _make_folder(directory, part)
            inner = os.open(part, _DIRECTORY, dir_fd=directory)
            os.close(directory)
            directory = inner
        yield directory, parts[-1]
    except OSError as error:
        if error.errno not in _NO_DIRECTORY:
            raise
        raise UnsafeNameError(f"{name!r} passes a symbolic link or is no plain file: look at it by hand") from error
    finally:
        os.close(directory)


def move(source: Path, target: Path, name: str, *, replace: bool = False) -> None:
    """Renames a plain file from one root to the other, under the same name: at each moment it is in one of them.

    Args:
        source: the root that has it.
        target: the root that is to have it, on the same file system.
        name: of the file under both.
        replace: the caller has compared both files, and they are equal.

    Raises:
        FileNotFoundError: the source has no such file.
        OccupiedError: the target has one already, and `replace` is off.
        UnsafeNameError: see `parent`, or it is no plain file.
    """
    with parent(source, name) as (from_folder, last), parent(target, name, create=True) as (to_folder, _):
        if not stat.S_ISREG(os.stat(last, dir_fd=from_folder, follow_symlinks=False).st_mode):
            raise UnsafeNameError(f"{name!r} is no plain file: look at it by hand")
        if not replace and _exists(to_folder, last):
            raise OccupiedError(f"{target / name} exists already")
        os.rename(last, last, src_dir_fd=from_folder, dst_dir_fd=to_folder)


def remove(root: Path, name: str) -> None:
    """Deletes a file for ever; raises as `parent`, and FileNotFoundError if there is none."""
    with parent(root, name) as (folder, last):
        os.unlink(last, dir_fd=folder)


def write(root: Path, name: str, blocks: Iterable[bytes], accept: Callable[[str, int], None]) -> int:
    """Writes a new file whole or not at all, with its folder's owner and mode, and returns its bytes.

    Args:
        root: where names begin.
        name: of the file; its folders are made.
        blocks: its content.
        accept: is given SHA-256 (hexadecimal) and bytes before the file gets its name, and raises to refuse it.

    Raises:
        OccupiedError: there is one already.
        UnsafeNameError: see `parent`.
        OSError: it cannot be written.
    """
    with parent(root, name, create=True) as (folder, last):
        # One name for each file: what a killed run left behind is overwritten by the next one.
        partial = f".{hashlib.sha256(last.encode()).hexdigest()[:16]}.restoring"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        file = os.open(partial, flags, 0o600, dir_fd=folder)
        try:
            size, digest = 0, hashlib.sha256()
            for block in blocks:
                _write_all(file, block)
                digest.update(block)
                size += len(block)
            accept(digest.hexdigest(), size)
            _adopt(file, folder, 0o666)
            os.fsync(file)
            if _exists(folder, last):
                raise OccupiedError(f"{root / name} exists already")
            os.rename(partial, last, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            os.unlink(partial, dir_fd=folder)
            raise
        finally:
            os.close(file)
    return size


def synchronise(root: Path, names: Iterable[str]) -> None:
    """Returns when the folders of these names are on the disk; one that is gone needs nothing."""
    for folder in sorted({name.rpartition("/")[0] for name in names}):
        try:
            with parent(root, f"{folder}/file") as (descriptor, _):
                os.fsync(descriptor)
        except FileNotFoundError:
            continue


def _make_folder(directory: int, name: str) -> None:
    try:
        # With the mode at once: a run that is killed here leaves a folder that the application can read.
        os.mkdir(name, stat.S_IMODE(os.fstat(directory).st_mode), dir_fd=directory)
    except FileExistsError:
        return
    inner = os.open(name, _DIRECTORY, dir_fd=directory)
    try:
        _adopt(inner, directory, 0o7777)
    finally:
        os.close(inner)


def _adopt(descriptor: int, folder: int, bits: int) -> None:
    """Gives a new file or folder the owner of the folder that holds it, and those of its mode that `bits` names."""
    model, own = os.fstat(folder), os.fstat(descriptor)
    if (model.st_uid, model.st_gid) != (own.st_uid, own.st_gid):
        os.fchown(descriptor, model.st_uid, model.st_gid)
    os.fchmod(descriptor, model.st_mode & bits)


def _exists(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _write_all(file: int, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[os.write(file, view) :]
