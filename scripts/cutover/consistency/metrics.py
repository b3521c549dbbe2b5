"""The METRIC lines of a check: the application's counters, and the ratio that the alarms take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cutover.gates import Verdict
from cutover.telemetry import measurement_line, metric_line

if TYPE_CHECKING:
    from cutover.consistency.report import Report
    from cutover.plan import Plan

__all__ = ["lines", "measured"]

# As the application's own check names them; no alarm of the table counts them.
SUCCESS, FAIL = "cert.consistency.success", "cert.consistency.fail"


def measured(table: Plan, report: Report | None) -> list[tuple[str, float]]:
    """Names and values: one of the counters, then the ratio (0 to 1). `report` None: the check could not measure.

    An inconclusive check is no success, but it ran, which the alarm that misses checks must see.
    """
    if report is None:
        return [(FAIL, 1)]
    ratio = (table.measurements["consistency_mismatch_ratio"], report.mismatch_ratio)
    if report.verdict is Verdict.INCONCLUSIVE:
        return [ratio]  # it ran and read every key; before the first migration nothing can be compared
    passed = report.verdict is Verdict.PASS
    counter = (SUCCESS, 1) if passed else (table.metrics["consistency_issues"], report.findings.total)
    return [counter, ratio]


def lines(table: Plan, report: Report | None) -> list[str]:
    """The same as lines: counters as they are counted, the ratio as a metric filter can take it."""
    measurements = set(table.measurements.values())
    return [
        (measurement_line if name in measurements else metric_line)(name, value)
        for name, value in measured(table, report)
    ]
