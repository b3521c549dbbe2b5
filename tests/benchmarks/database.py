"""The application's table for the benchmarks, in a PostgreSQL whose commits are on the disk, as a site's are."""

from __future__ import annotations

import contextlib
import datetime
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from tests.benchmarks import certificates
from tests.data_tools import postgres

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

TOURNAMENT_ROWS = 1000
AGE = datetime.timedelta(days=30)  # so that no check takes a row for one whose sweep is still to come
_TABLE = sql.Identifier(postgres.TABLE)
_COLUMNS = (
    "id",
    "tournament_id",
    "participant_id",
    "certificate_type",
    "placement",
    "file_pdf",
    "file_image",
    "verification_code",
    "certificate_hash",
    "generated_at",
    "created_at",
    "updated_at",
    "download_count",
    "revoked_reason",
    "migrated_to_s3_at",
)


@dataclass(frozen=True)
class Table:
    """The certificate table of one database."""

    database: postgres.Database

    @property
    def url(self) -> str:
        """DATABASE_URL; it has a password."""
        return self.database.url

    def fill(self, issued: Iterable[tuple[int, str]], *, images: bool = True, marked: bool = False) -> None:
        """Puts rows in the place of all others.

        Args:
            issued: the number and the PDF's SHA-256 of each certificate.
            images: whether a row has a PNG beside its PDF.
            marked: whether a row says that its files are in S3.
        """
        then = datetime.datetime.now(datetime.UTC) - AGE
        copy_in = sql.SQL("COPY {} ({}) FROM STDIN").format(_TABLE, sql.SQL(", ").join(map(sql.Identifier, _COLUMNS)))
        with self.database.connect() as connection:
            connection.execute(sql.SQL("TRUNCATE {}").format(_TABLE))
            with connection.cursor() as cursor, cursor.copy(copy_in) as copy:
                for number, sha256 in issued:
                    pdf = certificates.name("pdf", number)
                    image = certificates.name("images", number) if images else None
                    tournament = number // TOURNAMENT_ROWS
                    certificate = (number, tournament, number, "participant", "", pdf, image, uuid.uuid4(), sha256)
                    copy.write_row((*certificate, then, then, then, 0, "", then if marked else None))
            connection.execute(sql.SQL("VACUUM ANALYZE {}").format(_TABLE))

    def unmark(self) -> None:
        """Takes all marks away."""
        with self.database.connect() as connection:
            connection.execute(sql.SQL("UPDATE {} SET migrated_to_s3_at = NULL").format(_TABLE))
            connection.execute(sql.SQL("VACUUM {}").format(_TABLE))

    def marked(self) -> int:
        """Returns how many rows are marked."""
        with self.database.connect() as connection:
            row = connection.execute(sql.SQL("SELECT count(migrated_to_s3_at) FROM {}").format(_TABLE)).fetchone()
        return int(row[0]) if row else 0


@contextlib.contextmanager
def running() -> Iterator[Table]:
    """Runs a server with an empty table for the duration of a `with` block."""
    with postgres.running() as cluster:
        place = f"-c listen_addresses=127.0.0.1 -c port={cluster.port} -c unix_socket_directories={cluster.directory}"
        cluster.control("restart", f"--options={place}")  # the tests' server loses its last commits at a power cut
        with postgres.fresh_database(cluster) as database:
            yield Table(database)
