"""The report's tables: steps, attempts with every criterion, fallback reads, pages, records."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cutover.evidence import report_figures
from cutover.evidence.markup import Child, Markup, element, join
from cutover.evidence.progress import standing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cutover.evidence.chain import Chain
    from cutover.evidence.record import Criterion, Fallback, Page, Record
    from cutover.plan import Plan

__all__ = ["all_records", "attempts", "fallbacks", "overview", "pages"]

NOT_MEASURED = "not measured"
NOT_TOLD = "not told"


def overview(table: Plan, chains: Mapping[str, Sequence[Record]]) -> Markup:
    """One line a step: how it stands by its newest record."""
    rows = []
    for number, step in table.steps.items():
        records = chains.get(step.deployment)
        state = (
            standing(table, records, number) if records else "NOT RUN" if records is not None else "NO EVIDENCE HERE"
        )
        tries = sum(record.kind == "step" and record.step == number for record in records or ())
        rows.append((number, step.title, step.deployment, f"{step.from_mode} → {step.to_mode}", tries, verdict(state)))
    return table_of(("step", "does", "deployment", "mode", "attempts", "stands"), rows)


def attempts(table: Plan, records: Sequence[Record]) -> Markup:
    """Each record with criteria: measured beside wanted; what the table wants beside them was not measured."""
    shown = [record for record in records if record.kind == "step" or record.criteria]
    if not shown:
        return _none("no step has run")
    return join(*(_attempt(table, record) for record in shown))


def fallbacks(records: Sequence[Record]) -> Markup:
    """Reads that were answered from the local copy, grouped by cause."""
    causes: dict[str | None, list[Fallback]] = {}
    for record in records:
        for fallback in record.fallbacks:
            causes.setdefault(fallback.cause, []).append(fallback)
    if not causes:
        return _none("no record tells of a fallback read")
    groups = sorted(causes.items(), key=lambda group: -len(group[1]))
    return join(*(_cause(cause, sorted(reads, key=lambda read: read.at)) for cause, reads in groups))


def pages(records: Sequence[Record]) -> Markup:
    """Pages that were sent, each once, with whatever else their records tell of them; and where nobody knows."""
    sent = {(page.at, page.incident): page for record in records for page in record.pages}
    rows: list[tuple[datetime, tuple[Child, ...]]] = [
        (page.at, (_time(page.at), page.severity or NOT_TOLD, page.incident or NOT_TOLD, _rest(page)))
        for page in sent.values()
    ]
    for record in records:
        if record.pages_unknown is not None:
            span = f"{_time(record.started_at or record.recorded_at)} to {_time(record.recorded_at)}"
            why = f"not known, {record.file_name}: {record.pages_unknown}"
            rows.append((record.recorded_at, (span, "not known", "not known", why)))
    if not rows:
        asked = sum("pages" in record.model_fields_set for record in records)
        return _none(f"none in the time of the {asked} records that asked" if asked else "no record tells of a page")
    ordered = sorted(rows, key=lambda row: row[0])
    return table_of(("time", "severity", "incident", "page"), (cells for _, cells in ordered))


def all_records(chains: Sequence[Chain]) -> Markup:
    """One line a record, with its hash."""
    rows = [
        (
            link.file,
            _time(link.record.recorded_at),
            link.record.deployment,
            link.record.attempt,
            verdict(link.record.verdict),
            _what(link.record),
            element("code", link.sha256),
        )
        for chain in chains
        for link in chain.links
    ]
    if not rows:
        return _none("there is none")
    return table_of(("file", "recorded", "deployment", "attempt", "verdict", "what", "SHA-256"), rows)


def verdict(text: str) -> Markup:
    """A verdict: its word, coloured."""
    return element("span", text, class_=f"verdict {text.split(' ', 1)[0]}")


def table_of(heads: Iterable[str], rows: Iterable[Iterable[Child]]) -> Markup:
    """A table with these column heads."""
    head = element("tr", *(element("th", text, scope="col") for text in heads))
    body = (element("tr", *(element("td", cell) for cell in row)) for row in rows)
    return element("div", element("table", element("thead", head), element("tbody", *body)), class_="wide")


def _attempt(table: Plan, record: Record) -> Markup:
    step = table.steps.get(record.step or 0) if record.kind == "step" else None
    name = f"Step {record.step}: {step.title}" if step else record.kind.capitalize()
    measured = {criterion.criterion for criterion in record.criteria}
    missing = {} if step is None else {key: bound for key, bound in step.criteria.items() if key not in measured}
    rows = [_criterion(criterion) for criterion in record.criteria]
    rows += [
        (key, str(bound), NOT_MEASURED, NOT_MEASURED, "", verdict("NOT MEASURED")) for key, bound in missing.items()
    ]
    heading = element("h3", f"{name}, attempt {record.attempt} in {record.deployment} ", verdict(record.verdict))
    heads = ("criterion", "wanted", "measured", "samples", "of these by the probe", "verdict")
    content = table_of(heads, rows) if rows else _none(NOT_MEASURED)
    turned = report_figures.modes([record]) if record.timeline else None
    return element("article", heading, element("p", _what(record), class_="note"), content, turned)


def _criterion(criterion: Criterion) -> tuple[Child, ...]:
    return (
        criterion.criterion,
        criterion.wanted,
        NOT_MEASURED if criterion.measured is None else f"{criterion.measured:.10g}",
        criterion.samples,
        NOT_TOLD if criterion.probes is None else criterion.probes,
        verdict(criterion.verdict),
    )


def _what(record: Record) -> str:
    """Who, when, from where, and the message, as far as the record tells."""
    extra = record.model_extra or {}
    told = [f"by {record.who or NOT_TOLD}", f"approved by {extra.get('approver') or NOT_TOLD}"]
    if record.started_at is not None:
        told.append(f"{_time(record.started_at)} to {_time(record.ended_at or record.recorded_at)}")
    if record.seconds is not None:
        told.append(f"{record.seconds:g} s")
    told += [value for value in (record.mode, record.scenario) if value]
    told += [f"commit {extra['commit']}"] if extra.get("commit") else []
    return "; ".join(told + ([record.message] if record.message else []))


def _cause(cause: str | None, reads: Sequence[Fallback]) -> Markup:
    span = _time(reads[0].at) if len(reads) == 1 else f"{_time(reads[0].at)} to {_time(reads[-1].at)}"
    rows = (
        (_time(read.at), *(value or NOT_TOLD for value in (read.worker, read.operation, read.key))) for read in reads
    )
    heading = element("h3", f"{cause or 'cause not told'}: {len(reads)} reads, {span}")
    return join(heading, table_of(("time", "worker", "operation", "key"), rows))


def _rest(page: Page) -> str:
    told = page.model_extra or {}
    return "; ".join(f"{key}: {value if isinstance(value, str) else json.dumps(value)}" for key, value in told.items())


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _none(text: str) -> Markup:
    return element("p", text, class_="none")
