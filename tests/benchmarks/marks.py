"""What the marks cost the database."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

from cutover import plan
from cutover.catalogue import Catalogue, Selection
from cutover.settings import Settings
from tests.benchmarks import certificates, database
from tests.benchmarks.arithmetic import Findings, Result, Target

if TYPE_CHECKING:
    from tests.benchmarks.conditions import Conditions

ROWS = 10_000
BYTES = 100  # of a file: no file is read here
PER = 1000  # marks
TARGET = Target(10.0, at_least=False)  # milliseconds for so many marks (the data tools' requirements)


def measure(conditions: Conditions) -> Findings:
    """Marks rows in batches as large as the backfill's, all of them in each round."""
    media_root, rows = conditions.directory / "media", conditions.size(ROWS)
    batch_size = plan.load().data_tools.batch_size
    found = []
    with database.running() as table:
        table.fill(certificates.write(media_root, rows, BYTES, share=rows))
        settings = Settings(media_root, "none", "us-east-1", None, conditions.directory, table.url)
        for number in range(conditions.rounds):
            table.unmark()
            with Catalogue(settings, read_only=False) as catalogue:
                pages = list(catalogue.pages(Selection(), batch_size))
                started = time.perf_counter()
                for page in pages:
                    catalogue.mark(page)
                found.append((time.perf_counter() - started) * 1000 / rows * PER)
            conditions.say(f"round {number + 1}/{conditions.rounds}: {found[-1]:.1f} ms for {PER:,} marks")
    detail = f"median of {len(found)}, {min(found):.1f}–{max(found):.1f} ms; {rows:,} rows in batches of {batch_size}"
    result = Result(f"{PER:,} marks", statistics.median(found), "ms", TARGET, detail)
    return Findings("database", (result,))
