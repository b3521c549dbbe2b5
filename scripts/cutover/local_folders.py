"""Folders under a root, reached and made by the names of the files in them, through no symbolic link."""

from __future__ import annotations

import errno
import os
import stat
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cutover.local_files import UnsafeNameError, check_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["adopt", "parent"]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_NO_DIRECTORY = {errno.ELOOP, errno.ENOTDIR}
# A folder that another thread has made and not yet given its owner would pass the wrong one on.
_MAKING = threading.Lock()


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


def adopt(descriptor: int, folder: int, bits: int) -> None:
    """Gives a new file or folder the owner of the folder that holds it, and those of its mode that `bits` names."""
    model, own = os.fstat(folder), os.fstat(descriptor)
    if (model.st_uid, model.st_gid) != (own.st_uid, own.st_gid):
        os.fchown(descriptor, model.st_uid, model.st_gid)
    os.fchmod(descriptor, model.st_mode & bits)


def _make_folder(directory: int, name: str) -> None:
    with _MAKING:
        try:
            # With the mode at once: a run that is killed here leaves a folder that the application can read.
            os.mkdir(name, stat.S_IMODE(os.fstat(directory).st_mode), dir_fd=directory)
        except FileExistsError:
            return
        inner = os.open(name, _DIRECTORY, dir_fd=directory)
        try:
            adopt(inner, directory, 0o7777)
        finally:
            os.close(inner)
