"""Both copies of named files: the local disk against S3, byte for byte."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cutover import local_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cutover.object_store import ObjectStore
    from cutover.settings import Settings

__all__ = ["Comparison", "compare"]


@dataclass(frozen=True)
class Comparison:
    """SHA-256 of one file by its witnesses, hexadecimal; None where a witness has nothing."""

    key: str
    local: str | None
    downloaded: str | None
    recorded_by_s3: str | None

    @property
    def equal(self) -> bool:
        """Whether both copies exist and are the same; S3's own checksum must agree where it has one."""
        return self.local is not None and {self.local} == {self.downloaded, self.recorded_by_s3 or self.downloaded}

    def __str__(self) -> str:
        if self.equal:
            return f"equal      {self.key}  {self.local}"
        witnesses = ", ".join(f"{name} {value or 'absent'}" for name, value in vars(self).items() if name != "key")
        return f"DIFFERENT  {self.key}  {witnesses}"


def compare(settings: Settings, store: ObjectStore, keys: Iterable[str]) -> Iterator[Comparison]:
    """Reads both copies of every key in full.

    Raises:
        ObjectStoreError: S3 could not say; nothing follows for that key.
        UnsafeNameError: a key is no name under MEDIA_ROOT.
    """
    for key in keys:
        local = local_files.sha256(settings.media_root, key)
        remote = store.hashes(key)
        yield Comparison(key, local, remote.downloaded if remote else None, remote.recorded if remote else None)
