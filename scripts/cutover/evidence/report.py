"""`cutover report`'s page: one HTML file without anything outside of it, from the records of one or more chains."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cutover.evidence import progress, report_figures, report_tables
from cutover.evidence.errors import ChainError
from cutover.evidence.markup import Markup, element, join

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cutover.evidence.chain import Chain
    from cutover.evidence.record import Record
    from cutover.plan import Plan

__all__ = ["Source", "page"]

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"  # the browser, too, refuses whatever is not in the page


@dataclass(frozen=True)
class Source:
    """What the page is made of: the table, the chains, the time for ages, the rehearsal's compression."""

    table: Plan
    chains: Sequence[Chain]
    now: datetime
    time_scale: float = 1.0

    @property
    def records(self) -> list[Record]:
        """All records, oldest first."""
        return sorted((record for chain in self.chains for record in chain.records), key=lambda each: each.recorded_at)

    @property
    def by_deployment(self) -> dict[str, Sequence[Record]]:
        """The records of each deployment that has some."""
        return {chain.records[0].deployment: chain.records for chain in self.chains if chain.records}


def page(source: Source) -> str:
    """The whole page."""
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    title = f"Certificate cutover: {', '.join(source.by_deployment) or 'no record yet'}"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", Markup(style)),
    )
    records = source.records
    body = element(
        "body",
        element("h1", title),
        element("p", f"Written {source.now.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC. All times are UTC.", class_="note"),
        *(_chain(chain) for chain in source.chains),
        _section("What to do next", _next(source)),
        _section("Steps", report_tables.overview(source.table, source.by_deployment)),
        _section("Modes by worker", report_figures.modes(records)),
        _section("Measurements", report_figures.measurements(source.table, records)),
        _section("Every attempt of every step", report_tables.attempts(source.table, records)),
        _section("Fallback reads", report_tables.fallbacks(records)),
        _section("Pages sent", report_tables.pages(records)),
        _section("All records", report_tables.all_records(source.chains)),
    )
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _section(heading: str, content: Markup) -> Markup:
    return element("section", element("h2", heading), content)


def _chain(chain: Chain) -> Markup:
    """What the chain's own proof says; a broken one is said before anything else."""
    if chain.broken is not None:
        text = f"BROKEN EVIDENCE in {chain.directory}: {chain.broken}. What follows stands before that; trust no more."
        return element("p", text, class_="banner ERROR")
    if chain.head is None:
        return element("p", f"{chain.directory}: there is no record yet.", class_="banner INCONCLUSIVE")
    head = f"{chain.directory}: {chain.head.record.sequence} records, each proven by the next; head {chain.head.file} "
    return element("p", head, element("code", chain.head.sha256), class_="note")


def _next(source: Source) -> Markup:
    if any(chain.broken for chain in source.chains):
        return element("p", "Find out who changed the evidence, and put the copy back, before any further step.")
    if not source.by_deployment:
        return element("p", "Nothing is recorded: begin with ", element("code", "ansible-playbook go-live-step1.yml"))
    try:
        answer = progress.next_step(source.table, source.by_deployment, source.now, source.time_scale)
    except ChainError as error:
        return element("p", str(error), class_="banner ERROR")
    if answer is None:
        done = "All steps of these deployments stand. What is in quarantine is deleted by "
        return element("p", done, element("code", "cutover purge"), ", the one act that nothing takes back.")
    title = source.table.steps[answer.step].title
    reasons = [element("li", refusal.reason, ": run ", element("code", refusal.run)) for refusal in answer.refusals]
    may = "may start" if answer.allowed else "may not start yet"
    return join(
        element("p", element("b", f"Step {answer.step}, {title}, {may}. "), "Run ", element("code", answer.next)),
        element("ul", *reasons) if reasons else None,
    )
