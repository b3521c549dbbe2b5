"""What the sweep looks at, and how it takes a row that is marked already."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from psycopg import sql

from cutover.catalogue import Selection
from cutover.migration import Migrator, ProblemError

if TYPE_CHECKING:
    from cutover.accepted import Accepted
    from cutover.catalogue import Catalogue, Certificate, CertificateFile
    from cutover.data_tool_table import DataTools
    from cutover.local_files import LocalFile

__all__ = ["SweepMigrator", "Unproven", "select"]


@dataclass(frozen=True, kw_only=True)
class Unproven(Selection):
    """Rows without a mark, or with one that is older than their last change, which lies from `since` to `until`.

    Marked ones are among them because a file that was attached or replaced after the mark, and whose S3 write failed,
    would be a mark without an object. They are met again at each sweep until the look-back has passed.
    """

    pending: bool | None = None
    since: datetime
    until: datetime
    older_too: bool = False  # those without a mark, from before `since`

    def condition(self) -> tuple[sql.Composed, dict[str, object]]:
        """Its WHERE clause and the values for it."""
        condition, values = super().condition()
        own = sql.SQL(
            "updated_at > coalesce(migrated_to_s3_at, '-infinity') AND updated_at < %(until)s "
            "AND (updated_at >= %(since)s OR %(older_too)s AND migrated_to_s3_at IS NULL)"
        )
        return sql.SQL(" AND ").join([condition, own]), values


def select(catalogue: Catalogue, accepted: Accepted, tools: DataTools, limit: int | None) -> Unproven:
    """The rows of a sweep.

    Before the backfill the sweep must not become one: rows from before the look-back are looked at only if those
    without a mark are one batch at most, and few of all. After the backfill that makes good for an outage which lasted
    longer.
    """
    now = datetime.now(UTC)
    since = now - timedelta(seconds=tools.sweep.lookback_seconds)
    covered = tuple(row.id for row in accepted.covered(catalogue))
    older = Unproven(since=since, until=since, older_too=True, accepted=covered, limit=tools.batch_size + 1)
    share = tools.sweep.stragglers_ratio * catalogue.count(Selection(pending=None))
    few = catalogue.count(older) <= min(tools.batch_size, share)
    until = now - timedelta(seconds=tools.sweep.young_seconds)
    return replace(older, until=until, older_too=few, limit=limit)


class SweepMigrator(Migrator):
    """Takes rows to S3, of which most are there; of a file that a marked one has no more, only the object is wanted."""

    def _advice(self, file: LocalFile) -> str:
        return f"look at both, then run `cutover repair --key {shlex.quote(file.name)}`"

    def _store_one(self, file: LocalFile) -> bool:
        """Asks S3 before it sends anything: dual-write has stored most files, and marked rows are met again all day."""
        existing = self._kept(file.name)
        if existing is None:
            return super()._store_one(file)
        if existing != file.sha256:
            raise self._conflict(file, existing)
        return False

    def _is_retired(self, row: Certificate, file: CertificateFile) -> bool:
        """Whether S3 keeps what was issued, as it does of a retired local copy; of an image, whether it keeps one."""
        kept = None if row.migrated_at is None else self._kept(file.key)
        if kept is not None and file.is_pdf and row.certificate_hash not in {"", kept}:
            raise ProblemError(
                "conflict",
                f"there is no such file, and the bucket holds other bytes ({kept}) than were issued "
                f"({row.certificate_hash}): restore the file, or run `cutover repair --key {shlex.quote(file.key)}`",
            )
        return kept is not None
