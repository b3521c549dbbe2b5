"""Putting proven bytes in the place of a local file, in one step."""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING

from cutover.local_folders import parent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

__all__ = ["replace"]


def replace(media_root: Path, name: str, blocks: Iterable[bytes], accept: Callable[[str], None]) -> None:
    """Puts a file in the old one's place with its owner and mode; a new one gets those of its folder.

    Whoever opens the name meanwhile reads the old file or the new one, never a part.

    Args:
        media_root: where names begin.
        name: of the file.
        blocks: its bytes.
        accept: is given their SHA-256 (hexadecimal) before the file gets its name, and raises to refuse it.

    Raises:
        UnsafeNameError: the name leads out of MEDIA_ROOT or passes a symbolic link.
        OSError: it cannot be written.
    """
    with parent(media_root, name, create=True) as (folder, last):
        partial = f".{os.getpid()}.repairing"
        file = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600, dir_fd=folder)
        try:
            with os.fdopen(file, "wb") as stream:
                digest = hashlib.sha256()
                for block in blocks:
                    stream.write(block)
                    digest.update(block)
                stream.flush()
                accept(digest.hexdigest())
                owner, group, mode = _model(folder, last)
                os.fchown(file, owner, group)
                os.fchmod(file, mode)
                os.fsync(file)
            os.rename(partial, last, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            os.unlink(partial, dir_fd=folder)
            raise
        os.fsync(folder)


def _model(folder: int, last: str) -> tuple[int, int, int]:
    """Owner, group and mode of the file that is replaced, or else of the folder, without its right to execute."""
    try:
        status = os.stat(last, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        status = os.fstat(folder)
    return status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode) & 0o666
