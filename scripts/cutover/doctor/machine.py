"""MEDIA_ROOT: there, mounted, readable, writable, with room for the uploads to come."""

from __future__ import annotations

import os
import pwd
import tempfile
from typing import TYPE_CHECKING

from cutover.doctor.finding import Finding, fail, ok, warn
from cutover.local_files import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cutover.doctor.finding import Subject

__all__ = ["examine"]

_DAY = 86400  # seconds


def examine(subject: Subject) -> Iterator[Finding]:
    """Findings for the directory, for reading and writing, and for its free space."""
    media_root = subject.settings.media_root
    yield _readable(media_root)
    yield _writable(media_root)
    yield _space(subject)


def _readable(media_root: Path) -> Finding:
    check = "MEDIA_ROOT"
    device = f"findmnt --target {media_root}"
    folder = media_root / PREFIX
    try:
        empty = next(folder.iterdir(), None) is None
    except OSError as error:
        return fail(check, f"{folder} cannot be read ({error.strerror}): is the export mounted?", device)
    if empty:
        return fail(check, f"{folder} is empty: is the export mounted?", device)
    where = "a mount of its own" if os.path.ismount(media_root) else "on the file system of its parent"
    return ok(check, f"{media_root} is readable, {where}")


def _writable(media_root: Path) -> Finding:
    check = "MEDIA_ROOT writable"
    user = pwd.getpwuid(os.geteuid()).pw_name
    try:
        with tempfile.TemporaryFile(dir=media_root) as file:
            file.write(b"doctor")
    except OSError as error:
        return fail(check, f"{user} cannot write into {media_root}: {error.strerror}", f"findmnt --target {media_root}")
    return ok(check, f"{user} can write")


def _space(subject: Subject) -> Finding:
    """Each upload is stored here, too, until the local copies may go: by the table's figures and step 10's grace."""
    check = "MEDIA_ROOT space"
    status = os.statvfs(subject.settings.media_root)
    free = status.f_bavail * status.f_frsize
    planned, grace = subject.table.cost.planned, subject.table.steps[10].grace_seconds or 0
    needed = planned.puts_per_day * planned.average_kb * 1000 * grace // _DAY
    seen = f"{free / 1e9:.1f} GB and {status.f_favail} files free"
    if free < needed:
        reason = f"{seen}; the uploads until the local copies may go need {needed / 1e9:.1f} GB"
        return warn(check, reason, f"df -h {subject.settings.media_root}")
    return ok(check, seen)
