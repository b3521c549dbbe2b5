"""What the witnesses say of the files of certain rows: those that a step migrated, or some by chance."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cutover.accepted import Accepted
from cutover.consistency.confirm import Confirmation
from cutover.consistency.sample import SampledFile
from cutover.consistency.streams import mapped
from cutover.consistency.suspects import Kind, Suspect, Suspects
from cutover.consistency.witnesses import LOCAL, S3, Testimonies
from cutover.exit_codes import ExitCode
from cutover.object_store import ObjectHashes, ObjectStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cutover.catalogue import Catalogue, Certificate
    from cutover.consistency.witnesses import Testimony
    from cutover.settings import Settings

    Progress = Callable[[str, int, int], None]

__all__ = ["Comparison", "Reading", "compare"]


@dataclass(frozen=True)
class Reading:
    """How files are read: so many of marked rows from S3 in full (None: all), drawn by `seed`; so many at once.

    Of the others S3's own SHA-256 counts, where it keeps one and somebody else is a witness, too.
    """

    full_downloads: int | None
    seed: int
    threads: int

    def in_full(self, files: Iterable[SampledFile]) -> frozenset[str]:
        """The keys of those that are drawn."""
        keys = [file.key for file in files]
        if self.full_downloads is None or self.full_downloads >= len(keys):
            return frozenset(keys)
        return frozenset(random.Random(self.seed).sample(keys, self.full_downloads))  # noqa: S311 - no secret


@dataclass
class Comparison:
    """What was found. Rows and files are counted; a file agrees if two witnesses at least say the same."""

    rows: int
    pending: int  # rows that are neither marked nor accepted
    accepted: int  # rows that are accepted with these files, which are not looked at
    start_id: int | None
    end_id: int | None
    downloaded: int = 0  # files read from S3 in full
    measured: int = 0  # files with two witnesses at least
    unproven: list[str] = field(default_factory=list)  # files with one witness only
    without_local: list[SampledFile] = field(default_factory=list)  # files that do not disagree, and have no local copy
    different: list[Suspect] = field(default_factory=list)
    manifest: dict[str, str] = field(default_factory=dict)  # SHA-256 by key of the files that agree, hexadecimal
    duration: float = 0.0  # seconds

    @property
    def files(self) -> int:
        """The files that were looked at: all but those of unmarked rows that are not in S3."""
        return len(self.manifest) + len(self.unproven) + len(self.different)

    @property
    def local(self) -> int:
        """The files that agree with their local copies."""
        return len(self.manifest) + len(self.unproven) - len(self.without_local)

    @property
    def verdict(self) -> ExitCode:
        """FAILED as soon as one file disagrees; INCONCLUSIVE where nothing, or not every file, could be compared."""
        if self.different:
            return ExitCode.FAILED
        return ExitCode.INCONCLUSIVE if self.unproven or not self.manifest else ExitCode.DONE

    def document(self) -> dict[str, Any]:
        """The JSON document of `witnesses --json`."""
        return {
            "rows": self.rows,
            "pending": self.pending,
            "accepted": self.accepted,
            "start_id": self.start_id,
            "end_id": self.end_id,
            "files": self.files,
            "agree": len(self.manifest),
            "downloaded": self.downloaded,
            "measured": self.measured,
            "local": self.local,
            "unproven": len(self.unproven),
            "without_local": [
                {"certificate_id": file.certificate_id, "key": file.key, "copy": "no local copy"}
                for file in self.without_local
            ],
            "different": [
                {
                    "certificate_id": suspect.certificate_id,
                    "key": suspect.key,
                    "witnesses": suspect.witnesses,
                    "disagrees": suspect.disagrees,
                }
                for suspect in self.different
            ],
            "manifest": self.manifest,
            "duration_s": round(self.duration, 3),
        }


class _CountingStore(ObjectStore):
    """A bucket that remembers which of its objects were read in full."""

    def __init__(self, settings: Settings, *, connections: int) -> None:
        super().__init__(settings, "witnesses", connections=connections)
        self.downloaded: set[str] = set()

    def hashes(self, key: str) -> ObjectHashes | None:
        """Downloads as the base class does."""
        found = super().hashes(key)
        if found is not None:
            self.downloaded.add(key)
        return found


def compare(
    settings: Settings,
    catalogue: Catalogue,
    rows: Sequence[Certificate],
    reading: Reading,
    progress: Progress,
) -> Comparison:
    """Asks the witnesses of each file of these rows; reads only.

    An absent object is a difference if its row is marked; otherwise the file is not migrated yet. What disagrees is
    looked up in the table again: a certificate may be removed meanwhile.

    Args:
        settings: the deployment.
        catalogue: where differences are looked up.
        rows: the rows, in the order of their ids.
        reading: which objects are read in full, and how many files at once.
        progress: told now and then what is done, how many, and of how many.

    Raises:
        ObjectStoreError, ConsistencyError, CatalogueError: S3, disk or table could not be read to the end.
    """
    started, accepted = time.monotonic(), Accepted(settings)
    store = _CountingStore(settings, connections=reading.threads)
    store.require_bucket()
    judged = [row for row in rows if not accepted.covers(row)]
    marked = {row.id for row in judged if row.migrated_at is not None}
    found = Comparison(
        rows=len(rows),
        pending=len(judged) - len(marked),
        accepted=len(rows) - len(judged),
        start_id=rows[0].id if rows else None,
        end_id=rows[-1].id if rows else None,
    )
    files = [SampledFile(file.key, row.id, file.is_pdf, row.certificate_hash) for row in judged for file in row.files]
    in_full = reading.in_full(file for file in files if file.certificate_id in marked)
    by_checksum, by_download = (Testimonies(settings, store, download=download) for download in (False, True))

    def ask(file: SampledFile) -> Testimony:
        return (by_download if file.key in in_full else by_checksum).of(file)

    with Suspects() as suspects:
        for number, testimony in enumerate(mapped(ask, files, reading.threads), start=1):
            if suspect := _judge(testimony, found, marked=testimony.file.certificate_id in marked):
                suspects.add(suspect)
            progress("files", number, len(files))
        Confirmation(catalogue, accepted, as_of=None).sift(suspects)
        found.different = [one for batch in suspects.batches(list(Kind)) for one in batch.values()]
    found.downloaded, found.duration = len(store.downloaded), time.monotonic() - started
    return found


def _judge(testimony: Testimony, found: Comparison, *, marked: bool) -> Suspect | None:
    """Counts a file; gives it back if it disagrees."""
    file, stored = testimony.file, testimony.witnesses[S3]
    if stored is None and not marked:
        return None
    found.measured += testimony.measured
    # Without a local copy nobody contradicts the absent object of a PNG; its row's mark does.
    disagrees = testimony.disagrees or ((S3,) if stored is None else ())
    if disagrees:
        kind = Kind.MISSING if stored is None else Kind.DIFFERENT
        return Suspect(kind, file.key, file.certificate_id, testimony.witnesses, disagrees)
    if testimony.measured:
        found.manifest[file.key] = str(stored)
    else:
        found.unproven.append(file.key)
    if testimony.witnesses[LOCAL] is None:
        found.without_local.append(file)
    return None
