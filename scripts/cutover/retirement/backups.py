"""The bucket that takes archives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cutover.object_store import ObjectStore
    from cutover.settings import Settings

__all__ = ["ARCHIVE_PREFIX", "Backups"]

ARCHIVE_PREFIX = "archives/"  # of every archive's key; the bucket of the certificates follows


@dataclass(frozen=True)
class Backups:
    """Whose certificates are archived, the bucket that takes them, and the way to it."""

    settings: Settings
    bucket: str
    store: ObjectStore

    def where(self, key: str) -> str:
        """An object of the bucket, for people."""
        return f"s3://{self.bucket}/{key}"
