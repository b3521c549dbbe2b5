"""The model of ops/cutover.yml's preflight: what machines and operator must bring before a step starts."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from cutover.alarm_table import Count, Table

__all__ = ["Preflight"]


class Preflight(Table):
    """How far clocks may be apart, what must be free where a step writes, and how old the database's backup may be."""

    clock_skew_seconds: Annotated[float, Field(gt=0)]
    free_bytes: Count
    free_ratio: Annotated[float, Field(ge=0, lt=1)]
    database_backup_maximum_age_seconds: Count
