"""Files under MEDIA_ROOT, opened by the names that the database has for them."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["UnsafeNameError", "sha256"]

_BLOCK = 1 << 20  # bytes read at once


class UnsafeNameError(ValueError):
    """A name leads out of MEDIA_ROOT or to something that is no plain file."""


def sha256(media_root: Path, name: str) -> str | None:
    """Hexadecimal SHA-256 of a local file, or None if there is none.

    Raises:
        OSError: the file is there and cannot be read.
        UnsafeNameError: the name is absolute, has `..`, passes a symbolic link or is no plain file.
    """
    parts = name.split("/")
    if name.startswith("/") or any(part in {"", ".", ".."} for part in parts):
        raise UnsafeNameError(f"{name!r} is no name under MEDIA_ROOT: correct the certificate's row")
    directory = os.open(media_root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
            os.close(directory)
            directory = inner
        file = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno not in {errno.ELOOP, errno.ENOTDIR, errno.ENXIO}:
            raise
        raise UnsafeNameError(f"{name!r} passes a symbolic link or is no plain file: look at it by hand") from error
    finally:
        os.close(directory)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise UnsafeNameError(f"{name!r} is no plain file: look at it by hand")
    with os.fdopen(file, "rb") as stream:
        digest = hashlib.sha256()
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
