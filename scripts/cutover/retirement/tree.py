"""Moving, removing and writing files by name under a root, through no symbolic link."""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING

from cutover.local_files import UnsafeNameError
from cutover.local_folders import adopt, parent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

__all__ = ["OccupiedError", "move", "remove", "synchronise", "write"]


class OccupiedError(RuntimeError):
    """Something already lies where a file was to go."""


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
        moved = os.stat(last, dir_fd=from_folder, follow_symlinks=False)
        if not stat.S_ISREG(moved.st_mode):
            raise UnsafeNameError(f"{name!r} is no plain file: look at it by hand")
        there = _status(to_folder, last)
        if there is not None and not replace:
            raise OccupiedError(f"{target / name} exists already")
        if there is not None and os.path.samestat(moved, there):
            os.unlink(last, dir_fd=from_folder)  # two names of one file: rename would leave both, and say done
        else:
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
            adopt(file, folder, 0o666)
            os.fsync(file)
            if _status(folder, last) is not None:
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


def _status(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _write_all(file: int, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[os.write(file, view) :]
