"""Peak memory of whole processes, at few and at many rows, against an S3 server made of arithmetic.

A row has a PDF alone here, of one kilobyte: the memory of a backfill depends on the rows that it has met and on the
files in flight, and a million rows are done in minutes only if they are small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.benchmarks import certificates, database, synthetic_s3
from tests.benchmarks.arithmetic import Findings, Result, Target
from tests.benchmarks.programs import CUTOVER, BenchmarkError, measured

if TYPE_CHECKING:
    from tests.benchmarks.conditions import Conditions

FEW, MANY = 10_000, 1_000_000
BYTES = 1000  # of a file
MB = 1_000_000
# The data tools' requirements.
GROWTH = Target(1.1, at_least=False)
PEAK = Target(150.0, at_least=False)  # MB


def of_backfill(conditions: Conditions) -> Findings:
    """Backfills few and many rows into a server that checks each upload's SHA-256 and forgets it."""
    media_root, peaks = conditions.directory / "media", {}
    with database.running() as table, synthetic_s3.running(rows=0, size=BYTES) as server:
        environment = conditions.environment(server, table, media_root, "synthetic")
        many = conditions.size(MANY)
        issued = list(certificates.write(media_root, many, BYTES, share=certificates.MOST_LINKS))
        for rows in (FEW, many):
            table.fill(issued[:rows], images=False)
            log = conditions.directory / f"backfill-{rows}.log"
            used = measured([CUTOVER, "backfill"], environment, log)
            if (marked := table.marked()) != rows:
                raise BenchmarkError(f"the backfill marked {marked} rows of {rows}: see {log}")
            peaks[rows] = used.peak_bytes
            conditions.say(f"backfill of {rows:,} rows: {used.peak_bytes / MB:.0f} MB, {used.seconds:.0f} s")
    return _findings("backfill's memory", peaks)


def of_check(conditions: Conditions) -> Findings:
    """Checks few and many rows, of two files each, against the listing of their objects."""
    media_root, peaks = conditions.directory / "media", {}
    with database.running() as table:
        many = conditions.size(MANY)
        issued = list(certificates.write(media_root, many, BYTES, share=certificates.MOST_LINKS))
        for rows in (FEW, many):
            table.fill(issued[:rows], marked=True)
            with synthetic_s3.running(rows, BYTES) as server:
                environment = conditions.environment(server, table, media_root, "synthetic")
                log = conditions.directory / f"check-{rows}.log"
                used = measured([CUTOVER, "check", "--sample", "0"], environment, log)
            peaks[rows] = used.peak_bytes
            conditions.say(f"check of {rows:,} rows: {used.peak_bytes / MB:.0f} MB, {used.seconds:.0f} s")
    return _findings("check's memory", peaks)


def _findings(benchmark: str, peaks: dict[int, int]) -> Findings:
    (few, least), (many, most) = sorted(peaks.items())
    detail = f"{most / MB:.0f} MB at {many:,} rows, {least / MB:.0f} MB at {few:,}"
    results = (
        Result("growth of the peak", most / least, "×", GROWTH, detail),
        Result("peak", most / MB, "MB", PEAK, f"at {many:,} rows"),
    )
    return Findings(benchmark, results)
