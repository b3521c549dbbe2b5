"""The consistency task under the name that the runbook knows, over the same check as `cutover check`.

A site that schedules it with Celery wraps it: `shared_task(check_certificate_consistency)`.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from django.conf import settings as site_settings

from cutover import plan, settings
from cutover.django.management.commands.backfill_certificates_to_s3 import SETTINGS

__all__ = ["check_certificate_consistency"]

logger = logging.getLogger("apps.tournaments.tasks.certificate_consistency")


def check_certificate_consistency() -> dict[str, Any]:
    """Compares the certificate table with the bucket, key by key, and the plan's sample by SHA-256.

    Returns:
        The document of `cutover check --json`: `verdict`, `db_count` and `s3_count` (files of migrated certificates),
        and the keys that disagree. A mismatch is logged as an error, and each check as a METRIC line.

    Raises:
        SettingsError: MEDIA_ROOT, the bucket or DATABASE_URL is not set.
        CatalogueError, ObjectStoreError, ConsistencyError, OSError: table or bucket could not be read to the end.
    """
    # boto3 and psycopg take half a second to import, which the site's other processes need not pay.
    from cutover.catalogue import CatalogueError  # noqa: PLC0415
    from cutover.consistency import metrics  # noqa: PLC0415
    from cutover.consistency.check import Request, check  # noqa: PLC0415
    from cutover.consistency.errors import ConsistencyError  # noqa: PLC0415
    from cutover.object_store import ObjectStoreError  # noqa: PLC0415

    table, values = plan.load(), _settings()
    try:
        report = check(values, table, Request.by_default(table), lambda *_: None)
    except (CatalogueError, ObjectStoreError, ConsistencyError, OSError):
        _log(metrics.measured(table, None))
        raise
    _log(metrics.measured(table, report))
    if report.findings:
        logger.error("\n".join(report.lines(table)))
    return report.document()


def _settings() -> settings.Settings:
    """The site's settings, as the data tools take them."""
    for name in SETTINGS:
        if value := getattr(site_settings, name, None):
            os.environ.setdefault(name, str(value))
    return settings.load(None)


def _log(measured: list[tuple[str, float]]) -> None:
    for name, value in measured:
        logger.info("METRIC: %s=%s", name, value, extra={"metric_name": name, "value": value, "tags": {}})
