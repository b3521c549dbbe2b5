"""What happens once, when a process of the site starts."""

import logging

from django.apps import AppConfig

from cutover.django.flags import PROCESS_FLAGS, Flags
from cutover.django.s3_error import S3Error

logger = logging.getLogger("apps.tournaments.storage")


class CutoverConfig(AppConfig):
    """Announces the flags that this process holds, and prepares S3 if it will be used."""

    name = "cutover.django"
    label = "cutover_django"
    verbose_name = "Certificates in S3"

    def ready(self) -> None:
        """Logs one line a flag; with a flag on, builds the S3 client, so that no customer's save pays for it."""
        announce(PROCESS_FLAGS)
        if PROCESS_FLAGS.uses_s3:
            _prepare_s3()


def announce(flags: Flags) -> None:
    """Logs the two lines for which the runbook's rollback scenarios grep."""
    writes = "ON, writing to local storage and S3" if flags.dual_write else "OFF, using local storage only"
    reads = "ON, reading migrated files from S3" if flags.read_primary else "OFF, reading from local storage"
    logger.info("CERT_S3_DUAL_WRITE: Feature flag %s", writes)
    logger.info("CERT_S3_READ_PRIMARY: Feature flag %s", reads)


def _prepare_s3() -> None:
    from cutover.django.s3_copy import prepare  # noqa: PLC0415 - boto3 takes 0.2 s, which local mode need not pay

    try:
        prepare()
    except S3Error as error:
        logger.warning("S3 could not be prepared, local files are used until it answers: %s", error)
