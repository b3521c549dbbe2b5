"""Where local copies lie: under MEDIA_ROOT, or put aside in the quarantine directory on the same file system.

That directory lies beside MEDIA_ROOT, out of the served tree. Where exactly MEDIA_ROOT is mounted, the folder beside it
is on another file system; then it is `.cutover-quarantine` within, and closed to everybody but root: a web server
serves only what its workers may read, and they are not root's.
"""

from __future__ import annotations

import errno
import os
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from cutover import local_files
from cutover.control import StateError
from cutover.local_files import PREFIX
from cutover.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cutover.settings import Settings

__all__ = ["claim", "find", "is_in_use", "keep", "restores", "restoring"]

_RECORD = "quarantine-directory"  # in the state directory: where `restore` looks in an emergency, whoever runs it
_RESTORING, _RESTORED = "restoring", "restored"  # while one runs, and afterwards
_TRIAL = ".no-such-file"
_WITHIN = ".cutover-quarantine"  # the one name under MEDIA_ROOT that a quarantine may have
_OTHERS = 0o077  # the bits of a mode that let anybody but the owner in; those of an access list are bounded by them


def find(settings: Settings, given: Path | None = None) -> Path:
    """The quarantine directory, which may not exist: the given one, else the one in use, else the default.

    The default is MEDIA_ROOT's sibling where files can be renamed to there, else a closed directory within.
    """
    if given is not None:
        return given.absolute()
    try:
        return Path((settings.state_directory / _RECORD).read_text(encoding="utf-8").strip())
    except FileNotFoundError:
        root = settings.media_root.resolve()
        beside, within = root.with_name(f"{root.name}.quarantine"), root / _WITHIN
        return within if within.is_dir() or not _takes_renames(root, root.parent) else beside


def is_in_use(settings: Settings) -> bool:
    """Whether a quarantine directory was ever claimed, be it there now or not."""
    return (settings.state_directory / _RECORD).exists()


def claim(settings: Settings, given: Path | None = None) -> Path:
    """The quarantine directory, made, proven to take files by rename, and recorded for whoever restores.

    Raises:
        SettingsError: it is not on MEDIA_ROOT's file system, could be served, or another one is in use.
        StateError: it cannot be recorded.
        OSError: it cannot be made.
    """
    directory, used = find(settings, given).resolve(), find(settings).resolve()
    if directory != used and next(local_files.walk(used), None) is not None:
        raise SettingsError(f"{used}: files of {settings.bucket} lie there: use it, or bring them back before")
    root = settings.media_root.resolve()
    within = directory == root / _WITHIN
    if (directory.is_relative_to(root) and not within) or root.is_relative_to(directory):
        raise SettingsError(
            f"{directory}: the web server serves what lies under MEDIA_ROOT ({root}): name a --directory beside it, or "
            f"{root / _WITHIN}"
        )
    served = root / PREFIX if (root / PREFIX).is_dir() else root
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    if not _takes_renames(served, existing):
        raise SettingsError(_elsewhere(root, directory))
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if within:
        _refuse_unless_closed(directory)
    keep(settings.state_directory / _RECORD, f"{directory}\n")
    return directory


@contextmanager
def restoring(directory: Path) -> Iterator[None]:
    """Ends a running quarantine or purge before its next file; if this is killed, later ones do not begin either.

    Raises:
        OSError: the disk does not even take the marker.
    """
    marker = directory / _RESTORING
    if directory.is_dir():  # else there is nothing to hold back
        marker.touch(mode=0o600)
        marker.write_text(uuid.uuid4().hex, encoding="ascii")  # two within a tick of the clock must differ
    try:
        yield
    finally:
        with suppress(FileNotFoundError):  # nothing to hold back, or another restore was done before this one
            marker.rename(directory / _RESTORED)


def restores(directory: Path) -> tuple[bool, str]:
    """Whether a restore runs, and a text that changes with each one that has ended."""
    try:
        last = (directory / _RESTORED).read_text(encoding="ascii")
    except FileNotFoundError:
        last = ""
    return (directory / _RESTORING).exists(), last


def keep(path: Path, text: str) -> None:
    """Writes a small file of root's own whole or not at all; it is on the disk when this returns.

    Raises:
        StateError: it cannot be written.
    """
    new = path.with_name(f"{path.name}.new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        opened = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(opened, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise StateError(f"{path}: cannot be written ({error.strerror}): make room, or run this as root") from error


def _refuse_unless_closed(directory: Path) -> None:
    """SettingsError unless root alone may enter, which the directory itself tells: an export may map root to nobody."""
    status = directory.stat()
    if status.st_uid != 0 or status.st_mode & _OTHERS:
        seen = f"belongs to user {status.st_uid} with mode {status.st_mode & 0o777:03o}"
        raise SettingsError(
            f"{directory}: {seen}, so that a web server might serve it: as root, give it to root with mode 700, or "
            "name a --directory outside MEDIA_ROOT"
        )


def _takes_renames(served: Path, directory: Path) -> bool:
    """Whether the kernel would rename between the two: it says so before it looks for the file.

    Two mounts of one file system have the same device number, and refuse.
    """
    try:
        (served / _TRIAL).rename(directory / _TRIAL)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    return False


def _elsewhere(root: Path, directory: Path) -> str:
    return (
        f"{directory}: is not on the file system of {root / PREFIX}, so that taking a file back would be no rename: "
        f"name a --directory on it outside MEDIA_ROOT, or {root / _WITHIN}"
    )
