"""Files that lie only in S3 since the purge, and the mark by which a machine knows of them when nobody else answers.

The ledger names what was purged; whether a local copy lies there again, the disk says. Neither S3 nor the database is
asked: an emergency refuses by this count, and may be called because of either.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from cutover.consistency.merge import local_size
from cutover.control import StateError
from cutover.exit_codes import CommandError
from cutover.retirement import places
from cutover.retirement.ledger import FILE_NAME, Ledger, LedgerError

if TYPE_CHECKING:
    from pathlib import Path

    from cutover.settings import Settings

__all__ = ["MARK", "OnlyInS3", "UnreadableError", "count", "mark", "marked", "recount", "refuse_unless_accepted"]

MARK = "purged-copies"  # beside the application's environment file, where the machine script looks for it


class OnlyInS3(NamedTuple):
    """Files without a local copy, in quarantine or out of it, of how many certificates; 0 of 0 if all are back."""

    files: int
    certificates: int

    def __str__(self) -> str:
        return f"{self.files} files of {self.certificates} certificates"


class UnreadableError(CommandError):
    """Files that lie only in S3 would become unreadable, and nobody has accepted just so many."""


def count(values: Settings, directory: Path) -> OnlyInS3 | None:
    """Counts the purged files that lie neither under MEDIA_ROOT nor in the quarantine; None if none was ever purged.

    Raises:
        LedgerError: the ledger is gone or cannot be read, so that nothing is known.
        OSError: the file system does not answer.
    """
    ledger = directory / FILE_NAME
    is_marked = marked(values)
    if not ledger.is_file() and (is_marked or (places.is_in_use(values) and not directory.is_dir())):
        raise LedgerError(f"{ledger}: is not there, so nobody can count what was purged: mount the media directory")
    roots = [str(root) for root in (values.media_root, directory)]
    owners: dict[str, int] = {entry.key: entry.certificate_id for entry in Ledger(directory).purged()}
    if not owners and not is_marked:
        return None
    gone = [owner for key, owner in owners.items() if not any((local_size(root, key) or -1) > 0 for root in roots)]
    return OnlyInS3(len(gone), len(set(gone)))


def marked(values: Settings) -> bool:
    """Whether this machine has a mark."""
    path = _path(values)
    return path is not None and path.exists()


def mark(values: Settings, files: int) -> None:
    """Writes on this machine how many files lie only in S3, or takes the mark away where none does.

    Without an environment file there is no machine script that could look.

    Raises:
        StateError: it cannot be written.
    """
    path = _path(values)
    if path is None:
        return
    if files:
        places.keep(path, f"{files} {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}\n")
        return
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StateError(f"{path}: cannot be removed ({error.strerror}): remove it as root") from error


def recount(values: Settings, directory: Path) -> int | None:
    """How many files lie only in S3 after a run, and the mark brought up to date; None, and a sentence, if unknown.

    It never raises: what the run did is done, and told.
    """
    try:
        found = count(values, directory)
        if found is not None:
            mark(values, found.files)
    except (CommandError, OSError) as error:
        print(f"cutover: how many files lie only in S3 could not be counted or marked: {error}", file=sys.stderr)
        return None
    return 0 if found is None else found.files


def refuse_unless_accepted(found: OnlyInS3, accepted: int) -> None:
    """UnreadableError unless every file is readable without S3, or just so many are accepted as lost to readers."""
    if found.files not in {0, accepted}:
        raise UnreadableError(f"{found} lie only in S3 since the purge, and {accepted} are accepted: nothing was moved")


def _path(values: Settings) -> Path | None:
    return None if values.environment_file is None else values.environment_file.with_name(MARK)
