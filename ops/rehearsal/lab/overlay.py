"""Overlay mounts, and those that are left under a folder."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from rehearsal.lab.commands import run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def mount(layers: Sequence[Path], *, upper: Path, work: Path, at: Path) -> None:
    """Mounts `layers` (lowest first) under a writable `upper`; the folders are made. Raises LabError."""
    for directory in (upper, work, at):
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    lower = ":".join(str(layer) for layer in reversed(layers))
    run(["mount", "-t", "overlay", "overlay", "-o", f"lowerdir={lower},upperdir={upper},workdir={work}", at])


@contextlib.contextmanager
def mounted(layers: Sequence[Path], *, upper: Path, work: Path, at: Path) -> Iterator[Path]:
    """Mounts as `mount` does, gives the mounted folder, and unmounts it again."""
    mount(layers, upper=upper, work=work, at=at)
    try:
        yield at
    finally:
        run(["umount", at])


def mounts_under(directory: Path, mounts: str | None = None) -> list[Path]:
    """Returns the mount points below `directory`, deepest first; `mounts` is the text of /proc/self/mounts."""
    text = Path("/proc/self/mounts").read_text() if mounts is None else mounts
    points = [Path(line.split()[1]) for line in text.splitlines()]
    below = (point for point in points if directory in point.parents)
    return sorted(below, key=lambda point: -len(point.parts))


def unmount_all(directory: Path) -> None:
    """Unmounts everything below `directory`; raises LabError if something holds a mount."""
    for point in mounts_under(directory):
        run(["umount", point])
