"""What the report draws: which measurements belong together, where the table's limits lie, who was in which mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cutover.evidence.markup import Markup, element, join
from cutover.evidence.report_charts import Curve, Dot, Lane, Mark, Threshold, chart, lanes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from cutover.evidence.record import Page, Record
    from cutover.plan import Bound, Plan

__all__ = ["measurements", "modes", "thresholds"]

# The heading of each group, and the names that are drawn even when nobody measured them.
_GROUPS = {
    "Success rate (share of one)": ("save_success_ratio",),
    "Latency (ms, 95th percentile)": ("upload_p95", "presigned_url_p95"),
    "Fallback (share of one)": ("read_fallback_ratio",),
    "Consistency (share of one)": ("keys_agree", "hashes_agree"),
}
_MORE = "Other series"


def measurements(table: Plan, records: Sequence[Record]) -> Markup:
    """A chart for each name: the records' criteria as dots, their series as curves, the table's thresholds."""
    groups = {heading: list(names) for heading, names in _GROUPS.items()}
    known = {name for names in groups.values() for name in names}
    groups[_MORE] = sorted({name for record in records for name in record.series} - known)
    parts = []
    for heading, names in groups.items():
        charts = [chart(name, _dots(records, name), _curves(records, name), thresholds(table, name)) for name in names]
        if charts:
            parts.append(join(element("h3", heading), *charts))
    return join(*parts)


def thresholds(table: Plan, name: str) -> list[Threshold]:
    """The limits that the table has for a measurement: of steps, their stops, service levels and their alarms."""
    found: dict[tuple[float, str], list[str]] = {}

    def add(bound: Bound, role: str) -> None:
        found.setdefault((bound.limit[1], str(bound)), []).append(role)

    for number, step in table.steps.items():
        if name in step.criteria:
            add(step.criteria[name], f"step {number}")
        if name in step.stop:
            add(step.stop[name], f"stops step {number}")
    for key, level in table.service_levels.items():
        if name in {key, level.measure}:
            if level.target is not None:
                add(level.target, "target")
            add(level.alert, "alarm")
    return [Threshold(value, f"{bound}: {', '.join(roles)}") for (value, bound), roles in sorted(found.items())]


def modes(records: Sequence[Record]) -> Markup:
    """The timeline of modes by worker, until the newest time that the records tell, with the pages that were sent."""
    changes: dict[tuple[str, str], list[tuple[datetime, str]]] = {}
    for record in records:
        for change in record.timeline:
            changes.setdefault((record.deployment, change.worker), []).append((change.at, change.mode))
    told = [record.recorded_at for record in records] + [at for found in changes.values() for at, _ in found]
    alone = len({deployment for deployment, _ in changes}) == 1
    rows = []
    for (deployment, worker), found in sorted(changes.items()):
        found.sort(key=lambda change: change[0])
        ends = [at for at, _ in found[1:]] + [max(told)]
        spans = [(at, until, mode) for (at, mode), until in zip(found, ends, strict=True)]
        told_already = alone or worker.startswith(deployment)
        rows.append(Lane(worker if told_already else f"{deployment} {worker}", spans))
    marks = {(page.at, page.incident): _mark(page) for record in records for page in record.pages}
    return lanes(rows, list(marks.values()))


def _mark(page: Page) -> Mark:
    word = "page" if page.severity == "critical" else "warning"
    return Mark(page.at, word, f"{word} sent: {page.incident or 'incident not told'}")


def _dots(records: Sequence[Record], name: str) -> list[Dot]:
    return [
        Dot(record.ended_at or record.recorded_at, float(criterion.measured), criterion.verdict, record.file_name)
        for record in records
        for criterion in record.criteria
        if criterion.criterion == name and criterion.measured is not None
    ]


def _curves(records: Sequence[Record], name: str) -> list[Curve]:
    return [
        Curve([(at, None if value is None else float(value)) for at, value in sorted(record.series[name], key=_time)])
        for record in records
        if name in record.series
    ]


def _time(point: tuple[datetime, float | None]) -> datetime:
    return point[0]
