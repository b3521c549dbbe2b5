"""PostgreSQL: reachable, with the application's table as this project knows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from cutover.catalogue import TABLE, check_url
from cutover.doctor.finding import Finding, fail, ok
from cutover.probe_store import TIMEOUT_SECONDS
from cutover.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cutover.settings import Settings

__all__ = ["examine"]

# The columns that the data tools read or write, with PostgreSQL's name for each type.
COLUMNS: Mapping[str, str] = {
    "id": "bigint",
    "tournament_id": "bigint",
    "file_pdf": "character varying",
    "file_image": "character varying",
    "certificate_hash": "character varying",
    "created_at": "timestamp with time zone",
    "updated_at": "timestamp with time zone",
    "revoked_at": "timestamp with time zone",
    "migrated_to_s3_at": "timestamp with time zone",
}


def examine(settings: Settings) -> Finding:
    """The finding; the connection is read-only."""
    check, table = "PostgreSQL", TABLE.as_string()
    if not settings.database_url:
        return fail(check, "DATABASE_URL is not set: add it as the application has it")
    try:
        check_url(settings.database_url)
        with psycopg.connect(
            settings.database_url,
            options="-c default_transaction_read_only=on",
            connect_timeout=TIMEOUT_SECONDS,
            application_name="deltacrown-cutover",
        ) as connection:
            found: dict[str, str] = dict(
                connection.execute(
                    "SELECT attname::text, format_type(atttypid, NULL) FROM pg_attribute "
                    "WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
                    (table,),
                ).fetchall()
            )
    except SettingsError as error:
        return fail(check, str(error))
    except psycopg.OperationalError as error:
        return fail(check, " ".join(str(error).split()), "systemctl status postgresql")
    if not found:
        return fail(check, f"there is no table {table}, or this user may not see it", "python manage.py migrate")
    wrong = [
        f"{name} is {found.get(name, 'absent')} (expected {kind})"
        for name, kind in COLUMNS.items()
        if found.get(name) != kind
    ]
    if wrong:
        return fail(check, f"{table}: {'; '.join(wrong)}", "python manage.py migrate tournaments")
    return ok(check, f"{table} with the {len(COLUMNS)} columns that the tools use")
