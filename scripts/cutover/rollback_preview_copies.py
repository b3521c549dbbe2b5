"""What a data host knows for a preview of a rollback: which files lie where. Each part is asked for by itself.

No certificate is touched. Where files lie in quarantine, empty ones of its own are renamed there and removed again: how
long renames take is known to that disk alone.
"""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from cutover import local_files
from cutover.catalogue import Catalogue
from cutover.consistency.merge import local_size
from cutover.exit_codes import CommandError, ExitCode
from cutover.local_files import PREFIX
from cutover.object_store import ObjectStore, s3_client
from cutover.retirement import only_in_s3, places, tree

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cutover.settings import Settings

__all__ = ["copies"]

S3_SECONDS = 45.0  # 100,000 keys are listed within one; an S3 that hangs must not hide what the disk says
_CONNECT_SECONDS, _READ_SECONDS, _ATTEMPTS = 3, 5, 2
_TRIAL_FILES = 50
_NAMED = 3  # files as examples


class LateError(CommandError):
    """S3 did not answer in time."""

    exit_code = ExitCode.ERROR


def copies(values: Settings, part: Callable[[Callable[[], Any]], Any]) -> dict[str, Any]:
    """Counts of files by where they lie, for JSON; `part` puts an error in the place of what could not be asked.

    `purged`: files without a local copy since the purge, and of how many certificates (null: none was ever purged).
    `quarantine`: files that would be put back, and how many of them a second (null: none lie there).
    `table`: files that the table names; those that lie neither locally nor in quarantine (`missing`); and of these, by
    S3's list, how many lie in `s3` and `nowhere` (null: none is missing), with the names of some.
    """
    return {
        "purged": part(lambda: _purged(values)),
        "quarantine": part(lambda: _quarantine(values)),
        "table": part(lambda: _table(values, part)),
    }


def _purged(values: Settings) -> dict[str, int] | None:
    found = only_in_s3.count(values, places.find(values))
    return None if found is None else found._asdict()


def _quarantine(values: Settings) -> dict[str, Any]:
    directory = places.find(values)
    files = sum(1 for _ in local_files.walk(directory))
    return {"files": files, "per_second": _renames_per_second(directory) if files else None}


def _renames_per_second(directory: Path) -> float | None:
    """How many files a second a restore renames on this disk; None if it takes no trial."""
    names = [f"{PREFIX}trial/{number}" for number in range(_TRIAL_FILES)]
    try:
        with tempfile.TemporaryDirectory(prefix=".preview-", dir=directory) as trial:
            here, there = Path(trial, "here"), Path(trial, "there")
            (here / names[0]).parent.mkdir(parents=True)
            there.mkdir()
            for name in names:
                (here / name).touch()
            begun = time.monotonic()
            for name in names:
                tree.move(here, there, name)
            tree.synchronise(there, names)
            return round(_TRIAL_FILES / (time.monotonic() - begun), 1)
    except OSError:
        return None


def _table(values: Settings, part: Callable[[Callable[[], Any]], Any]) -> dict[str, Any]:
    roots = [str(values.media_root), str(places.find(values))]
    files, missing = 0, dict[str, int]()
    with Catalogue(values, read_only=True) as catalogue:
        last = None
        for row in catalogue.keys():  # noqa: SIM118 - no dict
            if row.key != last:
                files += 1
                if not any((local_size(root, row.key) or -1) > 0 for root in roots):
                    missing[row.key] = row.certificate_id
            last = row.key
    if missing:  # all of them are, where the media directory is not mounted
        local_files.require_tree(values.media_root)
    in_s3: Any = part(lambda: _in_s3(values, missing)) if missing else None
    return {"files": files, "missing": len(missing), "named": sorted(missing)[:_NAMED], "s3": in_s3}


def _in_s3(values: Settings, missing: Mapping[str, int]) -> dict[str, Any]:
    """How many of these files lie in S3, of how many certificates, and how many nowhere; LateError if it hangs."""
    listed: list[set[str]] = []
    failed: list[Exception] = []

    def look() -> None:
        try:
            listed.append(_listed(values, missing))
        except CommandError as error:
            failed.append(error)

    # A daemon: what hangs in S3's client, or in that of the role, ends with this process.
    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(S3_SECONDS)
    if failed:
        raise failed[0]
    if not listed:
        raise LateError(f"s3://{values.bucket} did not answer within {S3_SECONDS:g} s")
    (there,) = listed
    nowhere = sorted(missing.keys() - there)
    return {
        "files": len(there),
        "certificates": len({missing[key] for key in there}),
        "nowhere": len(nowhere),
        "nowhere_named": nowhere[:_NAMED],
    }


def _listed(values: Settings, missing: Mapping[str, int]) -> set[str]:
    store = ObjectStore(values, "rollback-preview")
    config = Config(
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
    )
    try:  # a client that gives up sooner than those that move certificates
        s3_client(values, config).list_objects_v2(Bucket=values.bucket, Prefix=PREFIX, MaxKeys=1)
    except (ClientError, BotoCoreError) as error:
        raise store.error(PREFIX, error) from error
    return {found.key for found in store.list() if found.key in missing}
