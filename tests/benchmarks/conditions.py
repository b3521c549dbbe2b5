"""The conditions under which benchmarks run, and the environment of the commands that they run."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.database import Table
    from tests.benchmarks.s3_server import S3Server

QUICK = 10  # a quick look takes this part of the sizes


@dataclass(frozen=True)
class Conditions:
    """Where a benchmark works, how often it repeats, and whether it is only a quick look."""

    directory: Path
    rounds: int
    quick: bool

    def size(self, wanted: int) -> int:
        """Returns a number of rows, or in a quick look a part of it."""
        return wanted // QUICK if self.quick else wanted

    def say(self, line: str) -> None:
        """Tells whoever waits how far it is."""
        print(f"bench: {line}", file=sys.stderr, flush=True)

    def environment(self, server: S3Server, table: Table, media_root: Path, bucket: str) -> dict[str, str]:
        """Returns the environment of the application, in which `cutover` finds its settings."""
        return server.environment | {
            "HOME": str(self.directory),
            "DATABASE_URL": table.url,
            "MEDIA_ROOT": str(media_root),
            "AWS_STORAGE_BUCKET_NAME": bucket,
            "CERT_S3_BACKFILL_ENABLED": "true",
            "CUTOVER_STATE_DIRECTORY": str(self.directory / "state"),
        }
