"""Deletes local copies that have lain in quarantine long enough: the one act of the cutover that nothing takes back."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cutover import local_files
from cutover.accepted import Accepted
from cutover.retirement import tree
from cutover.retirement.archive_proof import unarchived
from cutover.retirement.ledger import Entry, Ledger
from cutover.retirement.proof import Left, Prover
from cutover.retirement.run import all_for_s3

if TYPE_CHECKING:
    from pathlib import Path

    from cutover.catalogue import Catalogue
    from cutover.local_files import Stamp
    from cutover.object_store import ObjectStore
    from cutover.retirement.proof import ProvenRow
    from cutover.retirement.run import Run
    from cutover.settings import Settings

__all__ = ["Purge", "Summary", "Survey", "phrase", "survey"]


@dataclass(frozen=True)
class Survey:
    """What may be deleted by its age and the archive, in bytes and by name; what may not, and why."""

    ripe: dict[str, Entry]
    bytes: int
    too_young: int
    left: list[Left]


@dataclass
class Summary:
    """What was deleted, files and bytes; what was left and why. `stopped` is None at the end.

    `only_in_s3` counts the files that no local copy is left of: before the run, and (unless it is a dry run) after it.
    """

    dry_run: bool
    directory: str
    eligible: int
    eligible_bytes: int
    too_young: int
    approve: str  # the phrase that deletes just these
    files: int = 0
    bytes: int = 0
    left: list[Left] = field(default_factory=list)
    stopped: str | None = None
    duration_s: float = 0.0
    only_in_s3: int | None = None  # None: could not be counted


def phrase(bucket: str, count: int) -> str:
    """What an operator has to write to delete `count` local copies of this bucket's certificates."""
    return f"delete-{count}-local-copies-of-{bucket}-for-ever"


def survey(values: Settings, directory: Path, *, days: int, archived: bool) -> Survey:
    """Looks through the quarantine directory.

    Args:
        values: whose certificates they are.
        directory: the quarantine.
        days: how long a file must have lain there.
        archived: it must also be in an archive that was proven lately.

    Raises:
        LedgerError: the ledger cannot be read, so nothing is known of any file's age.
        ArchiveError: an archive is required, and none was proven lately.
    """
    since = datetime.now(UTC) - timedelta(days=days)
    put_aside = Ledger(directory).put_aside()
    ripe, left, too_young = {}, [], 0
    for name in local_files.walk(directory):
        entry = put_aside.get(name)
        if entry is None:
            left.append(Left(None, name, "not_in_ledger", "nobody knows since when it lies there: look at it by hand"))
        elif entry.at > since:
            too_young += 1
        else:
            ripe[name] = entry
    if archived and ripe:
        for name in unarchived(values, {name: entry.sha256 for name, entry in ripe.items()}):
            entry = ripe.pop(name)
            detail = "no archive that was proven lately has these bytes: run `cutover archive`"
            left.append(Left(entry.certificate_id, name, "not_archived", detail))
    size = sum(found.size for name in ripe if (found := local_files.stamp(directory, name)))
    return Survey(ripe, size, too_young, left)


class Purge:
    """One run over what a survey found, with proof from a store."""

    def __init__(self, run: Run, catalogue: Catalogue, store: ObjectStore) -> None:
        self._run, self._catalogue, self._directory = run, catalogue, run.directory
        self._ledger = Ledger(run.directory)
        roots = (run.directory, run.settings.media_root)
        # Nothing takes it back, so that S3's word is not enough.
        self._prover = Prover(store, roots, Accepted(run.settings), catalogue.shared_names(), read_back=True)

    def run(self, found: Survey, summary: Summary) -> None:
        """Proves and deletes batch by batch, into `summary`; what a killed run did not delete, the next one finds."""
        started = time.monotonic()
        size = self._run.limits.retirement.batch_size
        # Both files of a certificate together, for they are proven together.
        names = sorted(found.ripe, key=lambda name: (found.ripe[name].certificate_id, name))
        with ThreadPoolExecutor(self._run.limits.concurrency) as threads:
            for start in range(0, len(names), size):
                summary.stopped = summary.stopped or self._run.reason_to_stop()
                if summary.stopped:
                    break
                batch = {name: found.ripe[name] for name in names[start : start + size]}
                self._batch(batch, threads, summary)
                self._run.progress("files", start + len(batch), len(names))
        summary.duration_s = round(time.monotonic() - started, 3)

    def _batch(self, batch: dict[str, Entry], threads: ThreadPoolExecutor, summary: Summary) -> None:
        rows = self._catalogue.by_id({entry.certificate_id for entry in batch.values()})
        owned = {file.key for row in rows for file in row.files}
        detail = "no certificate has a file of this name any more: look at it by hand"
        summary.left += [
            Left(entry.certificate_id, name, "no_certificate", detail)
            for name, entry in batch.items()
            if name not in owned
        ]
        proven, left = self._prover.prove_all(rows, threads)
        summary.left += left
        if all_for_s3(len(rows), left):
            summary.stopped = "s3"
        doomed = [one for row in proven for one in self._doomed(row, batch, summary)]
        now = datetime.now(UTC)
        self._ledger.append(entry.model_copy(update={"at": now, "act": "purge"}) for entry, _ in doomed)
        for entry, stamp in doomed:
            summary.stopped = summary.stopped or self._run.interruption()
            if summary.stopped:
                break
            try:
                if local_files.stamp(self._directory, entry.key) != stamp:
                    continue  # a restore took it back meanwhile
                tree.remove(self._directory, entry.key)
            except FileNotFoundError:
                continue  # or does so at this moment
            summary.files += 1
            summary.bytes += stamp.size
        tree.synchronise(self._directory, [entry.key for entry, _ in doomed])

    def _doomed(self, proven: ProvenRow, batch: dict[str, Entry], summary: Summary) -> list[tuple[Entry, Stamp]]:
        """The files of a certificate that are to be deleted: none, if one of them is not what was put aside."""
        doomed = []
        for file in proven.files:
            entry, stamp = batch.get(file.key), file.copies.get(self._directory)
            if entry is None or stamp is None:
                continue
            if entry.sha256 != file.sha256:
                detail = f"it was put aside with SHA-256 {entry.sha256}, and now both copies have {file.sha256}"
                summary.left.append(Left(proven.row.id, file.key, "conflict", detail))
                return []
            doomed.append((entry, stamp))
        return doomed
