"""The certificate table: its rows page by page, its files in S3's order, and the marks."""

from __future__ import annotations

import contextlib
import hashlib
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, LiteralString, NamedTuple, Self, TypeVar

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import class_row

from cutover.exit_codes import CommandError, ExitCode
from cutover.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from datetime import datetime
    from types import TracebackType

    from cutover.settings import Settings

__all__ = [
    "Catalogue",
    "CatalogueError",
    "CatalogueKey",
    "Certificate",
    "CertificateFile",
    "LockLostError",
    "Selection",
    "check_url",
]

Result = TypeVar("Result")

TABLE = sql.Identifier("tournament_engine_certificate_certificate")
_COLUMNS: LiteralString = (
    "id, tournament_id, nullif(file_pdf, '') AS file_pdf, nullif(file_image, '') AS file_image, "
    "lower(trim(certificate_hash)) AS certificate_hash, migrated_to_s3_at AS migrated_at, created_at, updated_at, "
    "revoked_at IS NOT NULL AS revoked"
)
RECONNECT_SECONDS = 60  # how long a database that restarts is waited for
# No temporary table: a million marks would leave ten thousand dead ones in a live database's catalogues. One text for a
# row, because joining columns costs half as much as the marks; no name that was verified has a line break.
_MARK = sql.SQL(
    "UPDATE {} SET migrated_to_s3_at = coalesce(migrated_to_s3_at, now()) WHERE id = ANY(%(ids)b::bigint[]) "
    "AND concat_ws(E'\\n', id, lower(trim(certificate_hash)), coalesce(file_pdf, ''), coalesce(file_image, '')) "
    "= ANY(%(verified)b::text[]) RETURNING id"
).format(TABLE)
# No delimiter of a URL within user, password, host or name: libpq takes what stands around it for another part, and
# tells it in its errors, be it a piece of the password.
_URL = re.compile(r"postgres(?:ql)?://(?:[^@/?#]*@)?[^@/?#]*(?:/[^@/?#]*)?(?:\?[^@#]*)?")
_LOCK_CLASS = int.from_bytes(hashlib.sha256(b"deltacrown-cutover").digest()[:4], signed=True)


class CatalogueError(CommandError):
    """The database refused or could not be reached; the sentence names what was asked of it."""

    exit_code = ExitCode.ERROR


class LockLostError(CatalogueError):
    """The connection broke, and before it was made again somebody else took the lock."""


class CertificateFile(NamedTuple):
    """One of a certificate's two files; its key is its name as the database has it."""

    key: str
    is_pdf: bool


@dataclass(frozen=True, slots=True)
class Certificate:
    """A row, as far as its files go. Times have a zone; `certificate_hash` is lower case, empty if there is none."""

    id: int
    tournament_id: int
    file_pdf: str | None
    file_image: str | None
    certificate_hash: str
    migrated_at: datetime | None
    created_at: datetime
    updated_at: datetime
    revoked: bool

    @property
    def files(self) -> tuple[CertificateFile, ...]:
        """Its files, the PDF first."""
        pdf = (CertificateFile(self.file_pdf, is_pdf=True),) if self.file_pdf else ()
        image = (CertificateFile(self.file_image, is_pdf=False),) if self.file_image else ()
        return pdf + image


class CatalogueKey(NamedTuple):
    """A file that the table names, with what a check needs of its row."""

    key: str
    certificate_id: int
    is_pdf: bool
    marked: bool
    created_at: datetime
    certificate_hash: str


@dataclass(frozen=True)
class Selection:
    """Which rows: id from `start_id` to `end_id` (both included), and what else is given. Pending: not marked.

    Downloadable: not revoked, with a PDF and the hash of it. The rows of the ids `accepted` are left out.
    """

    start_id: int = 0
    end_id: int | None = None
    tournament_id: int | None = None
    ids: tuple[int, ...] = ()
    keys: tuple[str, ...] = ()
    pending: bool | None = True
    downloadable: bool = False
    updated_since: datetime | None = None
    created_since: datetime | None = None
    accepted: tuple[int, ...] = ()
    limit: int | None = None

    def condition(self) -> tuple[sql.Composed, dict[str, object]]:
        """Its WHERE clause and the values for it."""
        parts: list[LiteralString] = ["id >= %(start_id)s"]
        if self.end_id is not None:
            parts.append("id <= %(end_id)s")
        if self.tournament_id is not None:
            parts.append("tournament_id = %(tournament_id)s")
        if self.ids or self.keys:
            parts.append("(id = ANY(%(ids)s) OR file_pdf = ANY(%(keys)s) OR file_image = ANY(%(keys)s))")
        if self.updated_since is not None:
            parts.append("updated_at >= %(updated_since)s")
        if self.created_since is not None:
            parts.append("created_at >= %(created_since)s")
        if self.pending is not None:
            parts.append("migrated_to_s3_at IS NULL" if self.pending else "migrated_to_s3_at IS NOT NULL")
        if self.downloadable:
            parts.append("revoked_at IS NULL AND file_pdf <> '' AND trim(certificate_hash) <> ''")
        if self.accepted:
            parts.append("id <> ALL(%(accepted)s)")
        lists = {"ids": list(self.ids), "keys": list(self.keys), "accepted": list(self.accepted)}
        values = {**vars(self), **lists}
        return sql.SQL(" AND ").join(sql.SQL(part) for part in parts), values


class Catalogue:
    """The table of one deployment. Not for several threads at once.

    Every method raises CatalogueError if the database refuses or stays away for a minute; one that restarts is waited
    for and asked again, which all of them can bear. `read_only` makes PostgreSQL itself refuse every write.
    """

    def __init__(self, settings: Settings, *, read_only: bool) -> None:
        if not settings.database_url:
            source = settings.environment_file or "the environment"
            raise SettingsError(f"DATABASE_URL is not set in {source}: add it as the application has it")
        check_url(settings.database_url)
        self._url = settings.database_url
        self._access: LiteralString = "READ ONLY" if read_only else "READ WRITE"
        self._lock: int | None = None
        self._connection = self._connect(seconds=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def pages(self, selection: Selection, size: int | Callable[[], int]) -> Iterator[list[Certificate]]:
        """The selected rows in the order of their ids, `size` at a time and `limit` in all; new rows included.

        A `size` that is called is asked before each page.
        """
        last, left = selection.start_id - 1, selection.limit
        condition, values = selection.condition()
        query = sql.SQL("SELECT {} FROM {} WHERE {} AND id > %(last)s ORDER BY id LIMIT %(size)s").format(
            sql.SQL(_COLUMNS), TABLE, condition
        )
        while left is None or left > 0:
            most = size() if callable(size) else size
            wanted = most if left is None else min(most, left)
            page = self._rows(query, values | {"last": last, "size": wanted})
            if page:
                yield page
                last = page[-1].id
                left = None if left is None else left - len(page)
            if len(page) < wanted:
                return

    def count(self, selection: Selection) -> int:
        """How many rows are selected, `limit` at most."""
        condition, values = selection.condition()
        query = sql.SQL("SELECT count(*) FROM (SELECT 1 FROM {} WHERE {} LIMIT %(limit)s) AS found").format(
            TABLE, condition
        )
        return self._retried("count", lambda connection: _single(connection.execute(query, values)))

    def drawn(self, selection: Selection, count: int, seed: int) -> list[Certificate]:
        """`count` of the selected rows by chance, all if they are fewer; the same seed (63 bits) draws them again."""
        condition, values = selection.condition()
        query = sql.SQL(
            "SELECT {} FROM {} WHERE {} ORDER BY hashint8extended(id, %(seed)s), id LIMIT %(count)s"
        ).format(sql.SQL(_COLUMNS), TABLE, condition)
        return self._rows(query, values | {"seed": seed, "count": count})

    def by_id(self, ids: Collection[int]) -> list[Certificate]:
        """The rows of these ids that exist, in the order of their ids."""
        query = sql.SQL("SELECT {} FROM {} WHERE id = ANY(%(ids)s) ORDER BY id").format(sql.SQL(_COLUMNS), TABLE)
        return self._rows(query, {"ids": list(ids)})

    def verification_codes(self, ids: Collection[int]) -> dict[int, str]:
        """Under which code the site's public page verifies each of these rows."""
        query = sql.SQL("SELECT id, verification_code::text FROM {} WHERE id = ANY(%s)").format(TABLE)
        return self._retried(
            "read verification codes", lambda connection: dict(connection.execute(query, [list(ids)]).fetchall())
        )

    def by_keys(self, keys: Collection[str]) -> list[Certificate]:
        """The rows that own one of these files."""
        query = sql.SQL(
            "SELECT {} FROM {} WHERE file_pdf = ANY(%(keys)s) OR file_image = ANY(%(keys)s) ORDER BY id"
        ).format(sql.SQL(_COLUMNS), TABLE)
        return self._rows(query, {"keys": list(keys)})

    def shared_names(
        self, selection: Selection | None = None, *, accepted: Collection[int] = ()
    ) -> dict[str, tuple[int, int]]:
        """The names that stand twice in the table, each with the lowest and the highest id that has it.

        Proof of such a file for one certificate says nothing of the other one.

        Args:
            selection: only names of these rows, whoever else has them; None for all.
            accepted: ids of rows that do not count.
        """
        condition, values = (selection or Selection(pending=None)).condition()
        among = (
            sql.SQL("")
            if selection is None
            else sql.SQL(
                "AND key IN (SELECT file_pdf FROM {table} WHERE {condition} UNION ALL "
                "SELECT file_image FROM {table} WHERE {condition})"
            ).format(table=TABLE, condition=condition)
        )
        query = sql.SQL(
            "SELECT key, min(id), max(id) FROM (SELECT file_pdf AS key, id FROM {table} WHERE file_pdf <> '' "
            "UNION ALL SELECT file_image, id FROM {table} WHERE file_image <> '') AS files "
            "WHERE id <> ALL(%(not_counted)s) {among} GROUP BY key HAVING count(*) > 1"
        ).format(table=TABLE, among=among)
        found = self._retried(
            "look for shared names",
            lambda connection: connection.execute(query, values | {"not_counted": list(accepted)}).fetchall(),
        )
        return {key: (first, last) for key, first, last in found}

    def keys(self) -> Iterator[CatalogueKey]:
        """All files that the table names, ordered by their UTF-8 bytes as S3 orders its keys, one snapshot, streamed.

        It is not asked again when the connection breaks, for a second snapshot could differ from the first. Until the
        last one is taken, the catalogue can be asked nothing else.
        """
        query = sql.SQL(
            "SELECT key, id, is_pdf, migrated_to_s3_at IS NOT NULL, created_at, lower(trim(certificate_hash)) FROM ("
            "SELECT file_pdf AS key, true AS is_pdf, * FROM {table} WHERE file_pdf <> '' UNION ALL "
            "SELECT file_image, false, * FROM {table} WHERE file_image <> '') AS files "
            'ORDER BY key COLLATE "C", id'
        ).format(table=TABLE)
        with _sentence("read the files' names"), self._connection.cursor(binary=True) as cursor:
            yield from map(CatalogueKey._make, cursor.stream(query, size=1000))

    def mark(self, rows: Sequence[Certificate]) -> set[int]:
        """Marks rows as migrated, now; returns the ids of those whose names and hash are still what was verified.

        A row that somebody else has marked meanwhile is among them.
        """
        if not rows:
            return set()
        return self._retried("mark rows", lambda connection: _mark(connection, rows))

    def unmark(self, row: Certificate) -> bool:
        """Takes the mark from a row, if its files are unchanged; whether it was there."""
        query = sql.SQL(
            "UPDATE {} SET migrated_to_s3_at = NULL WHERE id = %s AND migrated_to_s3_at IS NOT NULL "
            "AND nullif(file_pdf, '') IS NOT DISTINCT FROM %s AND nullif(file_image, '') IS NOT DISTINCT FROM %s"
        ).format(TABLE)
        values = (row.id, row.file_pdf, row.file_image)
        return self._retried("unmark a row", lambda connection: connection.execute(query, values).rowcount == 1)

    def lock(self, name: str) -> bool:
        """Takes an advisory lock for as long as this catalogue is open; False if somebody else holds it."""
        number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], signed=True)
        taken = self._retried("take a lock", lambda connection: _take(connection, number))
        if taken:
            self._lock = number
        return taken

    def _rows(self, query: sql.Composed, values: dict[str, object]) -> list[Certificate]:
        def fetch(connection: psycopg.Connection) -> list[Certificate]:
            with connection.cursor(row_factory=class_row(Certificate)) as cursor:
                return cursor.execute(query, values).fetchall()

        return self._retried("read rows", fetch)

    def _retried(self, what: str, ask: Callable[[psycopg.Connection], Result]) -> Result:
        deadline = time.monotonic() + RECONNECT_SECONDS
        while True:
            with _sentence(what):
                try:
                    return ask(self._connection)
                except psycopg.errors.DeadlockDetected:  # with another command that marks the same rows
                    if time.monotonic() > deadline:
                        raise
                    continue
                except psycopg.OperationalError:
                    if not self._connection.broken or time.monotonic() > deadline:
                        raise
            self._connection.close()
            self._connection = self._connect(seconds=deadline - time.monotonic())

    def _connect(self, seconds: float) -> psycopg.Connection:
        """A new connection with the lock that the old one held; waits `seconds` for a database that is away."""
        deadline = time.monotonic() + seconds
        while True:
            with _sentence("connect"):
                try:
                    connection = psycopg.connect(
                        self._url,
                        autocommit=True,
                        connect_timeout=10,
                        application_name="deltacrown-cutover",
                        # Behind a pooler a prepared statement may meet another server process.
                        prepare_threshold=None,
                    )
                    break
                except psycopg.OperationalError:
                    if time.monotonic() > deadline:
                        raise
            time.sleep(0.5)
        with _sentence("prepare the connection"):
            connection.execute("SET TIME ZONE 'UTC'")
            connection.execute(sql.SQL("SET SESSION CHARACTERISTICS AS TRANSACTION {}").format(sql.SQL(self._access)))
            if self._lock is not None and not _take(connection, self._lock):
                raise LockLostError("the database went away, and now somebody else holds the lock: look who runs")
        return connection


def check_url(url: str) -> None:
    """Raises SettingsError unless this leads to a database; libpq's own words would show parts of the password."""
    try:
        ports = str(conninfo_to_dict(url).get("port") or "")
    except psycopg.ProgrammingError:
        ports = "none"
    if ("://" in url and not _URL.fullmatch(url)) or not re.fullmatch(r"[0-9,]*", ports):
        raise SettingsError(
            "DATABASE_URL is no PostgreSQL URL: write postgres://user:password@host:port/name, with every @ : / ? # of "
            "user, password and name percent-encoded (%40 %3A %2F %3F %23)"
        )


@contextlib.contextmanager
def _sentence(what: str) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise CatalogueError(f"the database could not {what}: {text}") from error


def _single(cursor: psycopg.Cursor[tuple[int]] | psycopg.Cursor) -> int:
    row = cursor.fetchone()
    return int(row[0]) if row else 0


def _take(connection: psycopg.Connection, number: int) -> bool:
    row = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", (_LOCK_CLASS, number)).fetchone()
    return bool(row and row[0])


def _mark(connection: psycopg.Connection, rows: Sequence[Certificate]) -> set[int]:
    verified = [f"{row.id}\n{row.certificate_hash}\n{row.file_pdf or ''}\n{row.file_image or ''}" for row in rows]
    values = {"ids": [row.id for row in rows], "verified": verified}
    return {int(found[0]) for found in connection.execute(_MARK, values, binary=True).fetchall()}
