"""`python -m cutover.django.reads`: certificates read by the site's own storage, as its workers would read them.

Run it in the site's folder with the site's Python and DJANGO_SETTINGS_MODULE. Nothing is written, and no METRIC line
of it reaches the site's log, where they count customers.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import logging
import os
import re
import sys
import time
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import parse_qs, urlsplit

from django.conf import settings
from django.db import Error as DatabaseError

from cutover import cli
from cutover.arguments import natural, positive
from cutover.django import site_process
from cutover.django.read_results import Reads, Row
from cutover.exit_codes import CommandError, ExitCode
from cutover.http_client import HttpClient, NoAnswerError
from cutover.telemetry import STORAGE_LOGGER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from django.core.files.storage import Storage
    from django.db.models import Model

__all__ = ["Reader", "ReadsError", "main"]

Result = TypeVar("Result")

READ_PRIMARY = "CERT_S3_READ_PRIMARY"
TIMEOUT_SECONDS = 10  # of a presigned URL, to connect and for each read
_METRIC = re.compile(r"METRIC: cert\.s3\.([a-z_.]+)=")
_SIGNATURES = {"X-Amz-Signature", "Signature"}  # of versions 4 and 2


class ReadsError(CommandError):
    """The site's table could not be read; nothing is said of its reads."""

    exit_code = ExitCode.ERROR


class _Heard(logging.Handler):
    """Takes the storage's lines while it is entered, and keeps them from the site's log."""

    def __init__(self) -> None:
        super().__init__()
        self._logger = logging.getLogger(STORAGE_LOGGER)
        self._messages: list[str] = []

    def __enter__(self) -> _Heard:
        logger = self._logger
        self._before = (logger.handlers[:], logger.propagate, logger.level, logger.disabled)
        logger.handlers[:] = [self]
        logger.propagate, logger.disabled = False, False
        logger.setLevel(logging.INFO)
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.handlers[:], self._logger.propagate, level, self._logger.disabled = self._before
        self._logger.setLevel(level)

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps a line."""
        self._messages.append(record.getMessage())

    def taken(self) -> tuple[set[str], str]:
        """The metrics since the last call, and the causes beside them."""
        found = [(_METRIC.match(message), message) for message in self._messages]
        self._messages.clear()
        return {match[1] for match, _ in found if match}, "; ".join(text for match, text in found if not match)


@dataclass
class _Read:
    """One row as the storage gave it."""

    signed: str | None = None  # the URL, if it leads to S3
    sign_ms: float = 0.0
    metrics: set[str] = field(default_factory=set)  # of open() and read()
    fell_back: bool = False  # in url() or open()
    given: bool = False  # bytes, by whomever
    equal: bool = False
    wrong: list[str] = field(default_factory=list)

    @property
    def from_s3(self) -> bool:
        """Whether S3 gave the bytes: the application counts a success before the first byte, and may fall back yet."""
        return self.given and "read.success" in self.metrics and "read.fallback" not in self.metrics

    @property
    def from_local(self) -> bool:
        """Whether the storage went to the local file at once."""
        return self.given and not self.metrics & {"read.success", "read.fallback"}


class Reader:
    """Reads rows of one model by the storage of its PDFs.

    Args:
        model: the certificates.
        storage: another storage than the model's own.
    """

    def __init__(self, model: type[Model], storage: Storage | None = None) -> None:
        self._rows = model._default_manager
        self._storage: Storage = storage or model._meta.get_field("file_pdf").storage  # type: ignore[union-attr]
        self._client = HttpClient(TIMEOUT_SECONDS)

    def measure(self, sample: int, answers: int) -> Reads:
        """Reads `sample` rows of each kind, drawn by chance, and fetches `answers` of the presigned URLs.

        A row that was not read as it must be, and was marked or removed meanwhile, is not counted.

        Raises:
            ReadsError: the table cannot be read.
        """
        found = Reads()
        try:
            with _Heard() as heard:
                self._measure_migrated(found, heard, sample, answers)
                self._measure_unmigrated(found, heard, sample)
        except DatabaseError as error:
            text = " ".join(str(error).split())
            raise ReadsError(f"the certificate table cannot be read ({text}): check DATABASE_URL") from error
        return found

    def _measure_migrated(self, found: Reads, heard: _Heard, sample: int, answers: int) -> None:
        rows = self._drawn(sample, migrated=True)
        if rows:  # the first call builds the client, which a worker does when it starts
            with contextlib.suppress(Exception):
                self._storage.url(rows[0].name)
            heard.taken()
        for row in rows:
            read = self._read(row, heard)
            if read.from_local:
                read.wrong.append("open() did not ask S3: reads are not on S3 in this process")
            if read.signed is None:
                read.wrong.append("url() gave no presigned URL")
            asked = read.signed is not None and found.answers.asked < answers
            answered = asked and self._answers(read)
            if read.wrong and not self._is_unchanged(row, migrated=True):
                continue
            found.migrated.asked += 1
            found.migrated.from_s3 += read.from_s3
            found.migrated.equal += read.equal
            found.migrated.fallbacks += read.fell_back
            found.answers.asked += asked
            found.answers.ok += answered
            if read.signed is not None:
                found.sign_ms.append(read.sign_ms)
            found.fail(row, read.wrong)

    def _measure_unmigrated(self, found: Reads, heard: _Heard, sample: int) -> None:
        for row in self._drawn(sample, migrated=False):
            read = self._read(row, heard)
            if read.from_s3:
                read.wrong.append("open() read it from S3, although it is not marked as migrated")
            if read.signed is not None:
                read.wrong.append("url() leads to S3, although it is not marked as migrated")
            if read.wrong and not self._is_unchanged(row, migrated=False):
                continue
            found.unmigrated.asked += 1
            found.unmigrated.from_local += read.from_local
            found.unmigrated.equal += read.equal
            found.unmigrated.signed += read.signed is not None
            found.fail(row, read.wrong)

    def _read(self, row: Row, heard: _Heard) -> _Read:
        """Asks for the URL, then for the bytes, and takes what the storage says of each."""
        read = _Read()
        started = time.perf_counter()
        url = self._call("url()", lambda: self._storage.url(row.name), read)
        read.sign_ms = round((time.perf_counter() - started) * 1000, 3)
        read.signed = url if url is not None and _leads_to_s3(url) else None
        self._take(heard, "url()", read)
        body = self._call("open()", lambda: self._bytes(row.name), read)
        read.metrics = self._take(heard, "open()", read)
        read.given = body is not None
        if body is not None:
            read.equal = hashlib.sha256(body).hexdigest() == row.certificate_hash.strip().lower()
            if not read.equal:
                read.wrong.append("the bytes are not those that were issued (certificate_hash)")
        return read

    def _bytes(self, name: str) -> bytes:
        with self._storage.open(name) as file:
            body: bytes = file.read()
        return body

    def _call(self, what: str, call: Callable[[], Result], read: _Read) -> Result | None:
        try:
            return call()
        except DatabaseError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever the site's storage raises is an error page for a customer
            read.wrong.append(f"{what} failed: {type(error).__name__}: {error}")
            return None

    def _take(self, heard: _Heard, what: str, read: _Read) -> set[str]:
        metrics, causes = heard.taken()
        if "read.fallback" in metrics:
            read.fell_back = True
            read.wrong.append(f"{what} fell back to the local file: {causes or 'no cause was logged'}")
        return metrics

    def _answers(self, read: _Read) -> bool:
        """Whether the presigned URL gives a byte. Not by HEAD: the signature covers the method."""
        try:
            answer = self._client.get(str(read.signed), {"Range": "bytes=0-0"})
        except NoAnswerError as error:
            read.wrong.append(f"the presigned URL: {error}")
            return False
        if answer.status in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}:
            return True
        read.wrong.append(f"the presigned URL answers {answer.refusal}")
        return False

    def _drawn(self, count: int, *, migrated: bool) -> list[Row]:
        rows = self._rows.filter(migrated_to_s3_at__isnull=not migrated, file_pdf__gt="", certificate_hash__gt="")
        return [Row(*row) for row in rows.order_by("?").values_list("pk", "file_pdf", "certificate_hash")[:count]]

    def _is_unchanged(self, row: Row, *, migrated: bool) -> bool:
        return self._rows.filter(pk=row.id, file_pdf=row.name, migrated_to_s3_at__isnull=not migrated).exists()


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m cutover.django.reads",
        description="Reads certificates by the site's own storage: rows that are marked as migrated must come from S3 "
        "without a fallback, others from local files, all with the bytes that were issued; presigned URLs must answer "
        "a ranged GET. Exit 0: so it is; 1: it is not; 2: usage or settings; 3: no row is migrated; 4: the site "
        "cannot be started, or its table not be read.",
        epilog="example: DJANGO_SETTINGS_MODULE=deltacrown.settings python -m cutover.django.reads --sample 10 "
        "--answers 5 --env-file /etc/deltacrown/staging.env",
    )
    parser.add_argument("--sample", type=positive, required=True, metavar="N", help="so many rows of each kind")
    parser.add_argument("--answers", type=natural, default=0, metavar="K", help="fetch so many of the presigned URLs")
    site_process.add_environment_files(parser)
    parser.add_argument(
        "--shadow", action="store_true", help=f"with {READ_PRIMARY} on in this process alone, whatever the files say"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    parser.set_defaults(command=_run)
    options = parser.parse_args(arguments)
    return cli.outcome(options.command, options)


def _run(options: argparse.Namespace) -> int:
    site_process.adopt(options.env_file)
    if options.shadow:
        os.environ[READ_PRIMARY] = "true"
    with contextlib.redirect_stdout(sys.stderr):  # a site may log to standard output, which is the document's
        found = Reader(*site_process.start()).measure(options.sample, options.answers)
    print(json.dumps(asdict(found)) if options.json else "\n".join(found.lines()))
    return found.verdict


def _leads_to_s3(url: str) -> bool:
    """Whether a URL is signed, or leads away from where the site serves its local files."""
    parts = urlsplit(url)
    return bool(_SIGNATURES & parse_qs(parts.query).keys()) or (
        bool(parts.netloc) and not url.startswith(settings.MEDIA_URL)
    )


if __name__ == "__main__":
    sys.exit(main())
