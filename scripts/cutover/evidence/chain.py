"""A directory of records, each holding the SHA-256 of the one before: read, proven, continued.

A record's file appears whole or not at all, under a number that no two writers can take. Who changes, removes, renames
or reorders one breaks the chain at the next, and the newest one, which no other record protects, is protected by its
hash in the copies.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from cutover import plan
from cutover.evidence.errors import ChainError, DocumentError, WriteError
from cutover.evidence.record import FILE_NAME, Record, canonical, document, parsed, validated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cutover.evidence.record import Document

__all__ = ["DEFAULT_DIRECTORY", "Break", "Chain", "Link", "append", "compare", "read"]

DEFAULT_DIRECTORY = Path("/var/lib/deltacrown-cutover/evidence")
_TEMPORARY = re.compile(r"\.append-\d+", re.ASCII)  # of a writer that was killed; the next one removes it
_LOCK_SECONDS = 30.0  # a writer holds the directory for milliseconds
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Link:
    """A record as it lies in the directory; `values` is all that the file holds, `sha256` hexadecimal."""

    record: Record
    values: dict[str, object]
    sha256: str
    file: str


@dataclass(frozen=True)
class Break:
    """The first place where a chain does not hold."""

    file: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.file}: expected {self.expected}, found {self.found}"


@dataclass(frozen=True)
class Chain:
    """A directory's records, oldest first, up to the first break if there is one."""

    directory: Path
    links: tuple[Link, ...]
    broken: Break | None = None

    @property
    def head(self) -> Link | None:
        """The newest record, None if there is none."""
        return self.links[-1] if self.links else None

    @property
    def records(self) -> tuple[Record, ...]:
        """All records, oldest first."""
        return tuple(link.record for link in self.links)

    def proven(self) -> Chain:
        """This chain.

        Raises:
            ChainError: it is broken; the sentence names the first broken link.
        """
        if self.broken is not None:
            raise ChainError(
                f"the evidence in {self.directory} is broken at {self.broken}; compare it with a copy: "
                f"cutover evidence verify --directory {self.directory} --against COPY"
            )
        return self


def read(directory: Path) -> Chain:
    """The records of a directory; none if there is no such directory.

    Raises:
        OSError: directory or file cannot be read.
        ChainError: a writer holds the directory for too long.
    """
    try:
        with _locked(directory, fcntl.LOCK_SH):
            return _read(directory)
    except FileNotFoundError:
        return Chain(directory, ())


def compare(chain: Chain, copy: Chain) -> Break | None:
    """The first record in which a copy differs from the chain, is shorter, or is longer; None if they are equal."""
    for mine, other in zip(chain.links, copy.links, strict=False):
        if mine.file != other.file:
            return Break(mine.file, f"the same record in {copy.directory}", other.file)
        if mine.sha256 != other.sha256:
            return Break(mine.file, f"SHA-256 {mine.sha256} in {copy.directory}", other.sha256)
    common = min(len(chain.links), len(copy.links))
    if len(copy.links) > common:
        return Break(copy.links[common].file, f"it in {chain.directory}, as {copy.directory} has it", "no such file")
    if len(chain.links) > common:
        return Break(chain.links[common].file, f"it in the copy {copy.directory}", f"a copy of {common} records")
    return None


def append(directory: Path, values: dict[str, object], *, now: datetime | None = None) -> Link:
    """Continues the chain by one record, which is on the disk when this returns.

    Args:
        directory: of the chain; it is made if there is none.
        values: the document: everything but what the chain gives a record itself.
        now: the time of recording (default: this machine's clock).

    Raises:
        DocumentError: the values are no document, or of another deployment than the chain.
        ChainError: the chain is broken, or its newest record lies in the future of this machine's clock.
        WriteError: the record cannot be written; it is not in the chain then.
    """
    said = document(values)
    try:
        _make(directory)
        with _locked(directory, fcntl.LOCK_EX) as handle:
            for leftover in directory.iterdir():
                if _TEMPORARY.fullmatch(leftover.name):
                    leftover.unlink()
            link = _next(_read(directory).proven(), said, values, now or datetime.now(UTC))
            _write(directory, handle, link)
            return link
    except OSError as error:
        raise WriteError(
            f"{directory}: the record cannot be written ({error.strerror or error}): correct that, look whether "
            f"it is there (cutover evidence list --directory {directory}), and else append it again"
        ) from error


def _next(chain: Chain, said: Document, values: dict[str, object], now: datetime) -> Link:
    head = chain.head
    if head is not None:
        if said.deployment != head.record.deployment:
            raise DocumentError(
                f"deployment: {chain.directory} is the evidence of {head.record.deployment}, and the document is of "
                f"{said.deployment}: append it on that deployment's data host"
            )
        now = _no_earlier(head, now, chain.directory)
    given: dict[str, object] = {
        "sequence": head.record.sequence + 1 if head else 1,
        "previous": head.sha256 if head else None,
        "recorded_at": now.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "attempt": _attempts(chain.links, said) + 1,
        "step": said.step,
    }
    whole = values | given
    record = validated(Record, whole)
    return Link(record, whole, hashlib.sha256(canonical(whole)).hexdigest(), record.file_name)


def _no_earlier(head: Link, now: datetime, directory: Path) -> datetime:
    """Ages are told by these times, so they never run backwards; a small step of the clock is no reason to stop."""
    behind = head.record.recorded_at - now
    if behind > timedelta(seconds=plan.load().data_tools.clock_skew_seconds):
        raise ChainError(
            f"{directory}/{head.file} was recorded at {head.record.recorded_at:%Y-%m-%dT%H:%M:%SZ}, and this machine's "
            f"clock says {now:%Y-%m-%dT%H:%M:%SZ}: set the clock (timedatectl) and append the record again"
        )
    return max(now, head.record.recorded_at)


def _attempts(links: tuple[Link, ...], said: Document) -> int:
    return sum((link.record.kind, link.record.step) == (said.kind, said.step) for link in links)


def _read(directory: Path) -> Chain:
    links: list[Link] = []
    found = sorted(
        (entry for entry in os.scandir(directory) if not _TEMPORARY.fullmatch(entry.name)),
        key=lambda entry: (_number(entry.name), entry.name),
    )
    for entry in found:
        if not FILE_NAME.fullmatch(entry.name) or not entry.is_file(follow_symlinks=False):
            return Chain(
                directory, tuple(links), Break(entry.name, "records and nothing else", "a file that is no record")
            )
        link = _link(entry, tuple(links))
        if isinstance(link, Break):
            return Chain(directory, tuple(links), link)
        links.append(link)
    return Chain(directory, tuple(links))


def _number(name: str) -> float:
    """Files that are no record come last: they do not hide where the chain itself is broken."""
    return int(name.split("-", 1)[0]) if FILE_NAME.fullmatch(name) else float("inf")


def _link(entry: os.DirEntry[str], before: tuple[Link, ...]) -> Link | Break:
    """The record in this file, or how it breaks the chain."""
    expected, number = len(before) + 1, _number(entry.name)
    if number > expected:
        return Break(f"{expected:06d}-….json", f"number {expected} before {entry.name}", "a gap")
    if number < expected:
        return Break(entry.name, "numbers from 1 on, each once", f"number {number:g} again")
    body = Path(entry.path).read_bytes()
    try:
        values = parsed(body)
        record = validated(Record, values)
    except DocumentError as error:
        return Break(entry.name, "a record", f"none ({error})")
    link = Link(record, values, hashlib.sha256(body).hexdigest(), entry.name)
    for what, wanted, found in _claims(link, body, before):
        if wanted != found:
            return Break(entry.name, f"{what} {wanted}", str(found))
    return link


def _claims(link: Link, body: bytes, before: tuple[Link, ...]) -> Iterator[tuple[str, object, object]]:
    """What is claimed, as it must be and as it is: by the records before, by the file's name, by its form."""
    record = link.record
    yield "the name", record.file_name, link.file
    if before:
        head = before[-1]
        yield f"previous = SHA-256 of {head.file},", head.sha256, record.previous
        yield "deployment", head.record.deployment, record.deployment
        yield "recorded_at from", max(head.record.recorded_at, record.recorded_at), record.recorded_at
    else:
        yield "previous", None, record.previous
    yield "attempt", _attempts(before, record) + 1, record.attempt
    yield (
        "canonical JSON, SHA-256",
        hashlib.sha256(canonical(link.values)).hexdigest(),
        hashlib.sha256(body).hexdigest(),
    )


def _make(directory: Path) -> None:
    if not directory.is_dir():
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o755)  # whatever the umask: who may not write it may read it


@contextmanager
def _locked(directory: Path, how: int) -> Iterator[int]:
    """A descriptor of the directory while it is locked; ChainError if a writer keeps it for half a minute."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        end = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(handle, how | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise ChainError(
                        f"{directory}: another process has locked it for {_LOCK_SECONDS:g} s: see which with "
                        f"`fuser -v {directory}`, and run again"
                    ) from None
                time.sleep(_POLL_SECONDS)
        yield handle
    finally:
        os.close(handle)


def _write(directory: Path, handle: int, link: Link) -> None:
    """Makes the record's file appear under its name at once; FileExistsError if there is one."""
    temporary = directory / f".append-{os.getpid()}"
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    try:
        with os.fdopen(file, "wb") as stream:
            os.fchmod(file, 0o644)
            stream.write(canonical(link.values))
            stream.flush()
            os.fsync(file)
        os.link(temporary, directory / link.file, follow_symlinks=False)
    finally:
        temporary.unlink()
    os.fsync(handle)
