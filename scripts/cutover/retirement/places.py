"""Where local copies lie: under MEDIA_ROOT, or put aside in the quarantine directory on the same file system."""

from __future__ import annotations

import errno
import os
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

__all__ = ["claim", "find", "restores", "restoring"]

_RECORD = "quarantine-directory"  # in the state directory: where `restore` looks in an emergency, whoever runs it
_RESTORING, _RESTORED = "restoring", "restored"  # while one runs, and afterwards
_TRIAL = ".no-such-file"


def find(settings: Settings, given: Path | None = None) -> Path:
    """The quarantine directory, which may not exist: the given one, else the one in use, else MEDIA_ROOT's sibling."""
    if given is not None:
        return given.absolute()
    try:
        return Path((settings.state_directory / _RECORD).read_text(encoding="utf-8").strip())
    except FileNotFoundError:
        root = settings.media_root.resolve()
        return root.with_name(f"{root.name}.quarantine")


def claim(settings: Settings, given: Path | None = None) -> Path:
    """The quarantine directory, made, proven to take files by rename, and recorded for whoever restores.

    Raises:
        SettingsError: it is not on MEDIA_ROOT's file system, is under MEDIA_ROOT, or another one is in use.
        StateError: it cannot be recorded.
        OSError: it cannot be made.
    """
    directory, used = find(settings, given).resolve(), find(settings).resolve()
    if directory != used and next(local_files.walk(used), None) is not None:
        raise SettingsError(f"{used}: files of {settings.bucket} lie there: use it, or bring them back before")
    root = settings.media_root.resolve()
    if directory.is_relative_to(root) or root.is_relative_to(directory):
        raise SettingsError(
            f"{directory}: the web server serves what lies under MEDIA_ROOT ({root}): name a --directory beside it"
        )
    served = root / PREFIX if (root / PREFIX).is_dir() else root
    if not _same_device(served, directory):
        raise SettingsError(_elsewhere(root, directory))
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _takes_renames(served, directory):
        raise SettingsError(_elsewhere(root, directory))
    _record(settings, directory)
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
    try:
        yield
    finally:
        with suppress(FileNotFoundError):  # nothing to hold back, or another restore was done before this one
            marker.rename(directory / _RESTORED)


def restores(directory: Path) -> tuple[bool, int]:
    """Whether a restore runs, and a number that changes with each one that was begun."""
    try:
        last = (directory / _RESTORED).stat().st_mtime_ns
    except FileNotFoundError:
        last = 0
    return (directory / _RESTORING).exists(), last


def _same_device(served: Path, directory: Path) -> bool:
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    return served.stat().st_dev == existing.stat().st_dev


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
        "name a --directory on it outside MEDIA_ROOT; where exactly MEDIA_ROOT is mounted, mount the folder that holds "
        "it, too, and set MEDIA_ROOT to that path"
    )


def _record(settings: Settings, directory: Path) -> None:
    path = settings.state_directory / _RECORD
    new = path.with_name(f"{path.name}.new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(f"{directory}\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise StateError(
            f"{path}: cannot be written ({error.strerror}): free it, or name another CUTOVER_STATE_DIRECTORY"
        ) from error
