"""The models of ops/cutover.yml's data tools: backfill, sweep, check and retirement."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from cutover.alarm_table import Count, Table

__all__ = ["DataTools"]

Ratio = Annotated[float, Field(ge=0, le=1)]


class FailureStop(Table):
    """When upload failures end a backfill: a ratio over a sliding window of attempted rows, or a bad start."""

    ratio: Ratio
    window: Count
    judged_from: Count
    in_a_row: Count


class Sweep(Table):
    """How often rows are looked after, which are too young for it or to be missed, how far back, and which beyond."""

    interval_seconds: Count
    young_seconds: Count
    grace_seconds: Count
    lookback_seconds: Count
    stragglers_ratio: Ratio


class Check(Table):
    """How often the consistency check runs, and which share of the files it hashes."""

    interval_hours: Count
    sample_ratio: Ratio
    sample_minimum: Count


class Daily(Table):
    """How often the daily check of step 9's soak runs by itself."""

    interval_hours: Count


class Retirement(Table):
    """How long a file stays in quarantine before it may be purged, and how fresh the proof of its object must be."""

    quarantine_days: Count
    proof_seconds: Count
    batch_size: Count


class Scheduler(Table):
    """How many rows a shard of a spread backfill has, and how often it is tried."""

    shard_size: Count
    attempts: Count


class DataTools(Table):
    """Defaults and limits of the commands that touch certificates."""

    batch_size: Count
    concurrency: Count
    longest_key_bytes: Count
    streamed_above_bytes: Count
    streamed_at_once: Count
    most_listed: Count
    estimate_mb_per_second: Count
    hung_seconds: Count
    clock_skew_seconds: Count
    failure_stop: FailureStop
    sweep: Sweep
    check: Check
    daily: Daily
    retirement: Retirement
    scheduler: Scheduler
    metrics: dict[str, str]
