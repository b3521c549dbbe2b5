"""A deployment as the data tools see it: media root, table, bucket, roles, and the command as a process."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from cutover import settings
from tests.data_tools.postgres import TABLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.literals import ChecksumAlgorithmType

    from tests.data_tools.account import Roles
    from tests.data_tools.postgres import Database

CUTOVER = str(Path(sys.executable).parent / "cutover")
AGE = datetime.timedelta(hours=1)  # of a row unless told otherwise: older than the sweep's grace, within its look-back
PDF, IMAGE = b"%PDF-1.4 certificate", b"\x89PNG\r\n\x1a\n certificate"


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of the certificate table, as far as tests look at it."""

    id: int
    tournament_id: int
    file_pdf: str | None
    file_image: str | None
    certificate_hash: str
    created_at: datetime.datetime
    updated_at: datetime.datetime
    revoked_at: datetime.datetime | None
    migrated_to_s3_at: datetime.datetime | None

    @property
    def keys(self) -> tuple[str, ...]:
        """The names of its files."""
        return tuple(name for name in (self.file_pdf, self.file_image) if name)

    @property
    def marked(self) -> bool:
        """Whether the row says that its files are in S3."""
        return self.migrated_to_s3_at is not None


@dataclasses.dataclass(frozen=True)
class StoredVersion:
    """One version of an object in the bucket; `md5` is what the server computed of its bytes, hexadecimal."""

    key: str
    md5: str
    size: int
    version_id: str


@dataclasses.dataclass(frozen=True)
class Site:
    """Certificates on disk, in the table and in the bucket. `environment` is the application's, of its own role."""

    media_root: Path
    bucket: str
    backups_bucket: str
    database: Database
    roles: Roles
    root: S3Client
    environment: dict[str, str] = dataclasses.field(repr=False)
    home: Path

    @property
    def settings(self) -> settings.Settings:
        """The settings of this test process, whose environment the fixture has set."""
        return settings.load(None)

    def add(
        self,
        pdf: bytes | None = PDF,
        image: bytes | None = IMAGE,
        *,
        marked: bool = False,
        revoked: bool = False,
        **columns: Any,
    ) -> Row:
        """Issues a certificate: writes the files that are given, then the row.

        None for a file means that the row has none. `columns` overrides columns by their names; a name given
        there is where the file is written, and with the bytes None the row names a file that does not exist.
        """
        (row,) = self.add_many([(pdf, image)], marked=marked, revoked=revoked, **columns)
        return row

    def add_many(
        self,
        files: Iterable[tuple[bytes | None, bytes | None]],
        *,
        marked: bool = False,
        revoked: bool = False,
        **columns: Any,
    ) -> list[Row]:
        """Issues a certificate for each pair of PDF and image, all in one transaction."""
        now = datetime.datetime.now(tz=datetime.UTC)
        marks = {"migrated_to_s3_at": now if marked else None, "revoked_at": now if revoked else None}
        pairs = list(files)
        with self.database.connect() as connection:
            identities = _identities(connection, len(pairs))
            rows = [
                _columns(identity, *pair) | marks | columns for identity, pair in zip(identities, pairs, strict=True)
            ]
            for row, (pdf, image) in zip(rows, pairs, strict=True):
                self._write(row["file_pdf"], pdf)
                self._write(row["file_image"], image)
            if rows:
                with connection.transaction(), connection.cursor() as cursor:
                    cursor.executemany(_insertion(rows[0]), rows)
        return self.rows(identities)

    def rows(self, identities: Sequence[int] | None = None) -> list[Row]:
        """All rows, or those of these ids, as the table has them now, by id."""
        names = sql.SQL(", ").join(sql.Identifier(field.name) for field in dataclasses.fields(Row))
        query = sql.SQL("SELECT {} FROM {} WHERE %(ids)s::bigint[] IS NULL OR id = ANY(%(ids)s) ORDER BY id").format(
            names, sql.Identifier(TABLE)
        )
        with self.database.connect() as connection, connection.cursor(row_factory=class_row(Row)) as cursor:
            return cursor.execute(query, {"ids": identities}).fetchall()

    def row(self, identity: int) -> Row:
        """One row as the table has it now; ValueError if it is not there."""
        (row,) = self.rows([identity])
        return row

    def execute(self, statement: LiteralString, *parameters: Any) -> None:
        """Changes the table as the application would; `{table}` stands for its name."""
        with self.database.connect() as connection:
            connection.execute(sql.SQL(statement).format(table=sql.Identifier(TABLE)), parameters)

    def path(self, key: str) -> Path:
        """Where a file lies under MEDIA_ROOT."""
        return self.media_root / key

    def store(self, key: str, body: bytes, *, checksum: bool = True) -> None:
        """Puts an object past the data tools; without `checksum` S3 keeps no SHA-256 of it."""
        algorithm: ChecksumAlgorithmType = "SHA256" if checksum else "CRC32"
        self.root.put_object(Bucket=self.bucket, Key=key, Body=body, ChecksumAlgorithm=algorithm)

    def store_files(self, *rows: Row) -> None:
        """Puts the local files of these rows, as dual-write does."""
        for key in (key for row in rows for key in row.keys):
            self.store(key, self.path(key).read_bytes())

    def keys(self) -> list[str]:
        """The keys of the objects that the bucket holds now."""
        pages = self.root.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return [found["Key"] for page in pages for found in page.get("Contents", [])]

    def objects(self) -> dict[str, bytes]:
        """The objects that the bucket holds now, with their bytes."""
        return {key: self.root.get_object(Bucket=self.bucket, Key=key)["Body"].read() for key in self.keys()}

    def versions(self) -> list[StoredVersion]:
        """Every version of every object, without downloading; delete markers are not among them."""
        pages = self.root.get_paginator("list_object_versions").paginate(Bucket=self.bucket)
        return [
            StoredVersion(one["Key"], one["ETag"].strip('"'), one["Size"], one["VersionId"])
            for page in pages
            for one in page.get("Versions", [])
        ]

    def run(
        self, *arguments: str, environment: Mapping[str, str] | None = None, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Runs `cutover` with these arguments to its end (`timeout` in seconds); `environment` is added to the site's.

        A variable that is to be absent is given as the empty text.
        """
        process = self.start(*arguments, environment=environment)
        try:
            output, errors = process.communicate(timeout=timeout)
        finally:
            process.kill()
        return subprocess.CompletedProcess(arguments, process.returncode, output, errors)

    def start(self, *arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Starts `cutover` as `run` does, in a process group of its own, and returns at once; end it yourself."""
        return subprocess.Popen(
            [CUTOVER, *arguments],
            env={"PATH": os.environ["PATH"], "HOME": str(self.home), **self.environment, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )

    def environment_file(self, **changes: str) -> Path:
        """Writes the environment to a file, with changes, and returns its path: always the same, replaced at once."""
        file, new = self.home / "site.env", self.home / "site.env.new"
        new.touch(mode=0o600)
        new.write_text("".join(f"{name}={value}\n" for name, value in {**self.environment, **changes}.items()))
        return new.rename(file)

    def _write(self, name: str | None, body: bytes | None) -> None:
        if name and body is not None:
            path = self.path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)


def _identities(connection: psycopg.Connection[Any], count: int) -> list[int]:
    """The next ids of the identity column: a file's name has its row's id in it."""
    query = "SELECT nextval(pg_get_serial_sequence(%s, 'id')) FROM generate_series(1, %s)"
    return [identity for (identity,) in connection.execute(query, (TABLE, count))]


def _insertion(row: Mapping[str, Any]) -> sql.Composed:
    return sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        sql.Identifier(TABLE),
        sql.SQL(", ").join(map(sql.Identifier, row)),
        sql.SQL(", ").join(map(sql.Placeholder, row)),
    )


def _columns(identity: int, pdf: bytes | None, image: bytes | None) -> dict[str, Any]:
    """A row as the application fills it in."""
    issued = datetime.datetime.now(tz=datetime.UTC) - AGE
    stem = f"{issued:%Y/%m}/cert_{identity}_{uuid.uuid4().hex[:8]}"
    return {
        "id": identity,
        "tournament_id": 1,
        "participant_id": identity,  # a participant has one valid certificate of a type in a tournament
        "certificate_type": "winner",
        "placement": "1",
        "file_pdf": None if pdf is None else f"certificates/pdf/{stem}.pdf",
        "file_image": None if image is None else f"certificates/images/{stem}.png",
        "verification_code": uuid.uuid4(),
        "certificate_hash": hashlib.sha256(pdf or b"").hexdigest(),
        "generated_at": issued,
        "created_at": issued,
        "updated_at": issued,
        "downloaded_at": None,
        "download_count": 0,
        "revoked_at": None,
        "revoked_reason": "",
        "migrated_to_s3_at": None,
    }
