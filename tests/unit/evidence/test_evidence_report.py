"""The report: what it shows, what it calls not measured, and that it is one page that nothing can break out of."""

from __future__ import annotations

import re
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cutover import cli, plan
from cutover.evidence import chain as chains
from cutover.evidence.markup import Markup, element
from cutover.evidence.report import Source, page
from cutover.evidence.report_figures import measurements, thresholds
from tests.unit.evidence import browser, cutover_story
from tests.unit.evidence.cutover_story import HOSTILE
from tests.unit.evidence.documents import step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.evidence.browser import Browser
    from tests.unit.evidence.documents import Story

VOID = {"meta", "br", "hr"}


class Tree(HTMLParser):
    """The page's elements and text, and whether every element is closed where it belongs."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a whole cutover, written by the command's own function a day after the last record."""
    directory = tmp_path_factory.mktemp("cutover")
    stories = cutover_story.tell(directory)
    found = [chains.read(story.directory) for story in stories]
    path = directory / "report.html"
    path.write_text(page(Source(plan.load(), found, stories[1].now + timedelta(hours=1))), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def tree(report: Path) -> Tree:
    return Tree(report.read_text(encoding="utf-8"))


def text_of(story: Story, *documents: dict[str, object]) -> str:
    for document in documents:
        story.tell(document)
    return page(Source(plan.load(), [chains.read(story.directory)], story.now))


def test_the_page_is_whole_and_needs_nothing_from_outside(tree: Tree) -> None:
    """It is mailed, printed, and read on a machine that reaches nothing."""
    assert tree.open == []
    assert {tag for tag, _ in tree.elements} & {
        "script",
        "link",
        "img",
        "iframe",
        "object",
        "base",
        "form",
        "a",
    } == set()
    for tag, attributes in tree.elements:
        assert not {"src", "href", "srcset", "style"} & set(attributes), tag
        assert not [name for name in attributes if name.startswith("on")], tag
    style = (Path(chains.__file__).with_name("report.css")).read_text(encoding="utf-8")
    assert not re.search(r"url\(|@import|</", style)


def test_what_records_say_is_text_and_nothing_else(report: Path, tree: Tree) -> None:
    """A file name in a log line writes a script into the operators' browser."""
    assert "<script" not in report.read_text(encoding="utf-8")
    assert tree.words.count(" ".join(HOSTILE.split())) >= 5  # who, message, worker, key, page


def test_every_step_has_its_verdict_and_every_criterion(tree: Tree) -> None:
    for step_number, each in plan.load().steps.items():
        assert each.title in tree.words
        if step_number <= 8:
            assert all(f"{name} {bound}" in tree.words for name, bound in each.criteria.items())
    assert "Step 1: Enable dual-write in staging, attempt 1 in staging FAIL" in tree.words
    assert "dual-write → s3-reads 1 UNDONE" in tree.words
    assert "s3-reads → settled 0 NOT RUN" in tree.words


def test_what_to_do_next_is_said_first(tree: Tree) -> None:
    """The rollback took step 8 back."""
    assert (
        "What to do next Step 8, Enable S3 reads in production, may start. Run ansible-playbook go-live-step8.yml"
        in tree.words
    )


def test_a_missing_measurement_is_called_so(story: Story) -> None:
    """A zero would be read as a measurement, and here as a good one."""
    whole = step(2, "FAIL")
    criteria = whole["criteria"]
    assert isinstance(criteria, list)
    document = whole | {"criteria": [criteria[0] | {"measured": None, "samples": 0, "verdict": "INCONCLUSIVE"}]}
    words = Tree(text_of(story, document)).words
    assert "errors at most 0 not measured 0 not told INCONCLUSIVE" in words
    assert "hash_mismatches at most 0 not measured not measured NOT MEASURED" in words
    assert "upload_p95 not measured (wanted: below 400: step 6, target; above 500: alarm)" in words
    assert "no record tells the modes of any worker" in words


def test_thresholds_are_the_tables(tree: Tree) -> None:
    table = plan.load()
    assert [limit.value for limit in thresholds(table, "save_success_ratio")] == [0.99, 0.995, 0.999]
    texts = [limit.text for limit in thresholds(table, "read_fallback_ratio")]
    assert texts == ["below 0.001: step 8, target", "above 0.01: stops step 6, alarm", "above 0.05: stops step 8"]
    lines = [attributes for tag, attributes in tree.elements if tag == "line" and attributes.get("class") == "limit"]
    assert len(lines) >= sum(
        len(thresholds(table, name)) for name in ("upload_p95", "save_success_ratio", "read_fallback_ratio")
    )


def test_a_gap_in_a_series_is_a_gap(report: Path) -> None:
    """A line drawn over the minute in which nothing was measured invents a measurement."""
    assert len(re.findall("<polyline", report.read_text(encoding="utf-8"))) == 2


def test_a_series_that_the_table_does_not_know_is_shown(story: Story) -> None:
    text_of(story, step(1, series={"queue_seconds": [["2026-12-01T00:00:00Z", 4]]}))
    assert "queue_seconds" in measurements(plan.load(), chains.read(story.directory).records)


def test_modes_fallbacks_and_pages_are_told(tree: Tree) -> None:
    assert "SlowDown: 2 reads" in tree.words
    assert "cause not told: 1 reads" in tree.words
    assert "not told not told not told" in tree.words
    assert f"critical {' '.join(HOSTILE.split())} state: opened" in tree.words
    assert "reads-off from" in tree.words
    assert "local from 2026-12-02 09:30:00Z to 2026-12-02 09:38:00Z" in tree.words


def test_pages_stand_on_the_timeline(story: Story) -> None:
    """Whoever reads what happened to the workers does not see that somebody was woken."""
    page = {"at": "2026-12-01T09:40:00Z", "severity": "critical", "incident": "incident-s3"}
    change = {"at": "2026-12-01T09:30:00Z", "worker": "worker1", "mode": "dual-write"}
    warned = page | {"at": "2026-12-01T09:50:00Z", "severity": "warning"}
    tree = Tree(text_of(story, step(1, timeline=[change], pages=[page]), step(1, pages=[page, warned])))
    marks = [attributes for tag, attributes in tree.elements if tag == "line" and attributes.get("class") == "mark"]
    assert len(marks) == 3  # two on the whole timeline, one on the step's own
    assert "page sent: incident-s3, 2026-12-01 09:40:00Z page" in tree.words
    assert "warning sent: incident-s3, 2026-12-01 09:50:00Z warning" in tree.words
    assert tree.words.count("2026-12-01 09:40:00 critical incident-s3") == 1


def test_pages_that_nobody_could_ask_for_are_not_none(story: Story) -> None:
    """A step during which somebody was woken reads as a quiet one."""
    assert "no record tells of a page" in text_of(story, step(1))
    assert "none in the time of the 1 records that asked" in text_of(story, step(1, pages=[]))
    words = Tree(text_of(story, step(1, pages_unknown="CloudWatch did not answer"))).words
    assert "not known, 000003-step-1-PASS.json: CloudWatch did not answer" in words


def test_no_axis_begins_below_zero(tree: Tree) -> None:
    """A rate below zero on the page makes the reader doubt the rest of it."""
    assert not re.search(r" -\d", tree.words)


def test_a_broken_chain_is_said_before_anything_else(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    """A report of forged evidence that looks like any other."""
    text_of(story, step(1), step(2))
    (story.directory / "000001-step-1-PASS.json").write_text("{}", encoding="utf-8")
    assert cli.main(["report", "--directory", str(story.directory)]) == 4
    out, err = capsys.readouterr()
    assert "BROKEN EVIDENCE" in Tree(out).words.split("What to do next", maxsplit=1)[0]
    assert "before any further step" in out
    assert "000001-step-1-PASS.json" in err


def test_without_records_the_page_says_how_to_begin(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", "--directory", str(story.directory)]) == 3
    words = Tree(capsys.readouterr().out).words
    assert "begin with ansible-playbook go-live-step1.yml" in words
    assert "NO EVIDENCE HERE" in words


def test_the_page_is_written_to_a_file_at_once(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    text_of(story, step(1))
    output = story.directory.with_name("report.html")
    output.write_text("old", encoding="utf-8")
    assert cli.main(["report", "--directory", str(story.directory), "--output", str(output)]) == 0
    assert output.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert {path.name for path in output.parent.iterdir()} == {"evidence", "report.html"}
    assert (
        cli.main(["report", "--directory", str(story.directory), "--output", str(output.with_name("no") / "r.html")])
        == 5
    )
    assert "cannot be written" in capsys.readouterr().err


def test_markup_escapes_everything_that_it_did_not_make() -> None:
    assert element("p", HOSTILE).count("<") == 2
    assert element("p", "x", title=HOSTILE).count('"') == 2
    assert element("p", element("b", "&")) == "<p><b>&amp;</b></p>"
    assert element("circle", r=1, class_="dot") == Markup('<circle r="1" class="dot"/>')


@pytest.fixture(scope="module")
def opened(report: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Browser, Path]]:
    program = browser.find()
    assert program is not None, "no browser: run ops/toolchain/browser.sh, or set CUTOVER_BROWSER to a Chromium"
    with browser.Browser(program, tmp_path_factory.mktemp("profile")) as started:
        yield started, report


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False)])
def test_a_real_browser_shows_it(opened: tuple[Browser, Path], width: int, dark: bool) -> None:
    """On a wide and a narrow screen, light and dark: nothing else is fetched, nothing complains, nothing overflows."""
    shown, report = opened
    shown.open(report, width=width, dark=dark)
    requested = [
        event["params"]["request"]["url"] for event in shown.events if event["method"] == "Network.requestWillBeSent"
    ]
    assert requested == [report.as_uri()]
    assert [event for event in shown.events if event["method"] in {"Log.entryAdded", "Runtime.exceptionThrown"}] == []
    assert shown.value("document.compatMode") == "CSS1Compat"
    assert shown.value("document.title").startswith("Certificate cutover: staging, production")
    assert shown.value("document.documentElement.scrollWidth") <= width
    assert shown.value("document.querySelectorAll('script, img').length") == 0
    assert shown.value("[...document.querySelectorAll('svg')].every(each => each.getBoundingClientRect().height > 50)")
    assert shown.value("document.querySelectorAll('svg line.limit').length") > 10
    red, green, blue = (
        int(part) for part in re.findall(r"\d+", shown.value("getComputedStyle(document.body).backgroundColor"))[:3]
    )
    assert (red + green + blue < 150) is dark
    assert shown.screenshot().startswith(b"\x89PNG")


def test_texts_in_a_chart_stay_within_it(opened: tuple[Browser, Path]) -> None:
    """A threshold's text that is cut off tells the wrong number."""
    shown, report = opened
    shown.open(report, width=1280)
    outside = """[...document.querySelectorAll('svg text')].filter(text => {
        const inner = text.getBoundingClientRect(), outer = text.ownerSVGElement.getBoundingClientRect();
        return inner.left < outer.left - 1 || inner.right > outer.right + 1
            || inner.bottom > outer.bottom + 1 || inner.top < outer.top - 1;
    }).map(text => text.textContent)"""
    assert shown.value(outside) == []


def test_it_prints_on_paper(opened: tuple[Browser, Path]) -> None:
    """Dark letters on white, whatever the screen; everything within the page's width."""
    shown, report = opened
    shown.open(report, width=700, dark=True, media="print")
    assert shown.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert shown.value("document.documentElement.scrollWidth") <= 700
    assert shown.pdf().startswith(b"%PDF")
