"""What `cutover cost` can measure: what the bucket holds, and what AWS says that S3 cost."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from cutover import cost, object_store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cutover.plan import Plan
    from cutover.settings import Settings

__all__ = ["billed", "document", "stored"]

FILES = 2  # of a certificate
DAYS = 30  # as the estimate counts a month
SERVICE = "Amazon Simple Storage Service"  # as Cost Explorer names S3
QUICK = Config(connect_timeout=3, read_timeout=10, retries={"total_max_attempts": 1})


def document(values: Settings, table: Plan, given: Mapping[str, Any], probe_machines: int | None) -> dict[str, Any]:
    """What `cutover cost --from-bucket` says.

    Args:
        values: whose bucket is listed.
        table: prices and planned use.
        given: what is known of the use otherwise (`puts_per_day`, `gets_per_day`, `transfer_out_gb`).
        probe_machines: how many machines run the probe; None: the plan's.

    Raises:
        ObjectStoreError: the bucket cannot be listed.
    """
    use = cost.planned_use(table, *stored(values), probe_machines)
    return cost.document(table, replace(use, **given), billed(values))


def stored(values: Settings) -> tuple[int, Decimal]:
    """How many certificates' worth of objects the bucket has, and their average size in KB of 1,000 bytes.

    Raises:
        ObjectStoreError: the bucket cannot be listed.
    """
    objects = total = 0
    for found in object_store.ObjectStore(values, "cost").list():
        objects, total = objects + 1, total + found.size
    certificates = math.ceil(objects / FILES)
    return certificates, Decimal(total) / 1000 / max(certificates, 1)


def billed(values: Settings) -> Decimal | None:
    """US dollars that S3 cost in the last 30 days, all buckets of the account; None where Cost Explorer does not say.

    Its permission (ce:GetCostAndUsage) is nobody's by default, and it answers in AWS only. Before its data are there it
    lists no time, or nothing: no certificates cost that.
    """
    today = datetime.now(UTC).date()
    period = {"Start": f"{today - timedelta(days=DAYS)}", "End": f"{today}"}
    try:
        answer = (
            object_store.session(values)
            .client("ce", region_name="us-east-1", config=QUICK)
            .get_cost_and_usage(
                TimePeriod=period,
                Granularity="MONTHLY",
                Metrics=["UnblendedCost"],
                Filter={"Dimensions": {"Key": "SERVICE", "Values": [SERVICE]}},
            )
        )
    except (ClientError, BotoCoreError):
        return None
    dollars = sum((Decimal(part["Total"]["UnblendedCost"]["Amount"]) for part in answer["ResultsByTime"]), Decimal(0))
    return dollars or None
