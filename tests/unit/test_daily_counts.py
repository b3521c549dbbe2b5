"""A day's counts: of journals, and of the lines that machines delivered; a silent machine is no zero."""

from __future__ import annotations

import json
import secrets
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from cutover import plan
from cutover.daily_counts import Counted, CountError, of_journals
from cutover.daily_delivered import Group, count
from cutover.telemetry import STORAGE_LOGGER, measurement_line, metric_line
from rehearsal import aws_stand_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal.aws_stand_in import AwsStandIn

TABLE = plan.load()
NOW = datetime(2026, 12, 2, 9, 30, tzinfo=UTC)
SAVED, FELL_BACK = TABLE.metrics["save_success"], TABLE.metrics["read_fallback"]
MACHINES = ["web1", "web2"]
SECOND = timedelta(seconds=1)
PROBED = measurement_line(TABLE.measurements["probe_put_ms"], 12.5)


def journal(saves: int, until: str, *, at: str = "2026-12-02T09:00:00Z") -> dict[str, Any]:
    """A machine's document: one worker with so many saves and a fallback read."""
    told = {"at": at, "unit": "deltacrown-uwsgi@worker1.service", "operation": "open", "key": None, "cause": None}
    metrics = {SAVED: saves, FELL_BACK: 1}
    return {
        "units": {told["unit"]: {"metrics": metrics, "server_errors": 0, "first_complaint": ""}},
        "measurements": {},
        "fallbacks": [told],
        "since": "2026-12-01T09:30:00.000000Z",
        "until": until,
    }


def test_journals_of_all_machines_are_added_up() -> None:
    """The next count begins where the first of them ended: no line falls between two days."""
    journals = {"web1": journal(3, "2026-12-02T09:30:01Z", at="2026-12-02T09:10:00Z")}
    journals["web2"] = journal(4, "2026-12-02T09:30:00Z")
    found = of_journals(json.dumps(journals), MACHINES)
    assert (found.counts, found.until) == ({SAVED: 7, FELL_BACK: 2}, NOW)
    assert [each["worker"].split()[0] for each in found.fallbacks] == ["web2", "web1"]
    assert found.document()["counted"]["source"] == "journals"
    assert found.a_day(SAVED, 1) == 7
    assert found.a_day(SAVED, 24) == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{}", "not of the same machines (web1, web2)"),
        (json.dumps({"web1": {}, "web3": {}, "web2": {}}), "(web3)"),
        (json.dumps({"web1": {}, "web2": {}}), "no documents of `cutover journal --json`"),
        ("[1, 2", "no documents of `cutover journal --json`"),
        ("17", "no documents of `cutover journal --json`"),
    ],
)
def test_journals_that_are_none_are_not_counted(text: str, sentence: str) -> None:
    """A machine that is left out had no failures."""
    with pytest.raises(CountError) as refused:
        of_journals(text, MACHINES)
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("hours", "scale", "expected"), [(24, 1, 100), (12, 1, 200), (48, 1, 50), (1, 24, 100), (0, 1, 2400)]
)
def test_requests_are_told_by_the_day(hours: int, scale: float, expected: int) -> None:
    """Two checks a day would halve the month's requests."""
    found = Counted("journals", NOW - timedelta(hours=hours), NOW, {SAVED: 100}, [])
    assert found.a_day(SAVED, scale) == expected
    assert found.a_day("another", scale) == 0


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AwsStandIn]:
    with aws_stand_in.running(tmp_path_factory.mktemp("aws")) as running:
        yield running


class Delivered:
    """A log group of its own, into which machines deliver."""

    def __init__(self, aws: AwsStandIn) -> None:
        self.client = aws.logs()
        self.name = f"/test/{secrets.token_hex(6)}"
        self.client.create_log_group(logGroupName=self.name)

    def deliver(self, machine: str, *lines: tuple[datetime, str]) -> None:
        """A machine's next lines with their times, oldest first."""
        with suppress(self.client.exceptions.ResourceAlreadyExistsException):
            self.client.create_log_stream(logGroupName=self.name, logStreamName=machine)
        events: list[Any] = [{"timestamp": round(at.timestamp() * 1000), "message": text} for at, text in lines]
        for begin in range(0, len(events), 1000):
            self.client.put_log_events(
                logGroupName=self.name, logStreamName=machine, logEvents=events[begin : begin + 1000]
            )

    def count(self, since: datetime, machines: list[str] = MACHINES, now: datetime = NOW) -> Counted:
        return count(Group(self.client, self.name, TABLE), machines, since, now)


@pytest.fixture
def group(aws: AwsStandIn) -> Delivered:
    return Delivered(aws)


def probes(since: datetime, until: datetime = NOW, every: timedelta = 60 * SECOND) -> list[tuple[datetime, str]]:
    """A probe's lines: the last one a moment before `until`."""
    number = round((until - since) / every)
    return [(since + each * every, PROBED) for each in range(number)] + [(until - SECOND, PROBED)]


def test_delivered_lines_are_counted_in_all_layouts_and_of_all_machines(group: Delivered) -> None:
    """The probe's own lines are no saves; nor is a line that speaks of one."""
    since = NOW - timedelta(hours=2)
    saved = f"INFO 2026-12-02 09:00:00,000 apps.tournaments.storage {metric_line(SAVED, 1)}"
    tags = {"operation": "open", "key": "certificates/pdf/a.pdf"}
    fell_back = {"levelname": "INFO", "name": "s", "message": metric_line(FELL_BACK, 1), "tags": tags}
    own = [(since, saved), (since + SECOND, json.dumps(fell_back)), (since + 2 * SECOND, f"no METRIC: cert. {SAVED}")]
    group.deliver("web1", *own, *probes(since + 3 * SECOND))
    group.deliver("web2", (since, saved), *probes(since + SECOND))
    group.deliver("web9", (since, saved))  # left the inventory: what it served counts, and nobody waits for it
    found = group.count(since)
    assert (found.source, found.counts) == ("delivered lines", {SAVED: 3, FELL_BACK: 1})
    (fallback,) = found.fallbacks
    assert (fallback["worker"], fallback["key"], fallback["operation"]) == ("web1", tags["key"], "open")


def test_two_counts_have_each_line_once(group: Delivered) -> None:
    """What one machine has not delivered yet is left to the next count."""
    since, saved = NOW - timedelta(minutes=20), metric_line(SAVED, 1)
    group.deliver("web1", *probes(since), (NOW - SECOND / 2, saved))
    group.deliver("web2", *probes(since, NOW - 30 * SECOND), (NOW - 20 * SECOND, saved), (NOW - 10 * SECOND, saved))
    first = group.count(since)
    assert (first.until, first.counts) == (NOW - 10 * SECOND, {SAVED: 1})
    group.deliver("web2", (NOW + 60 * SECOND, PROBED))
    second = group.count(first.until, now=NOW + 61 * SECOND)
    assert (second.since, second.until) == (first.until, NOW - SECOND / 2)
    assert second.counts == {SAVED: 1}
    assert group.count(second.until, now=NOW + 61 * SECOND).counts == {}
    group.deliver("web1", (NOW + 60 * SECOND, PROBED))
    assert group.count(second.until, now=NOW + 61 * SECOND).counts == {SAVED: 1}


def silent_in(group: Delivered, first: int, last: int) -> Counted:
    """The count of two hours of which web2 was silent from minute `first` on, before minute `last`."""
    since = NOW - timedelta(hours=2)
    group.deliver("web1", (since, metric_line(SAVED, 1)), *probes(since))
    silent = range(first, last)
    group.deliver("web2", *[line for number, line in enumerate(probes(since)) if number not in silent and number < 120])
    return group.count(since)


@pytest.mark.parametrize(("first", "last"), [(114, 120), (0, 120)], ids=["at last", "always"])
def test_a_machine_that_is_silent_now_is_no_zero(group: Delivered, first: int, last: int) -> None:
    """Its lines may still come, or are lost, with whatever failures they told of."""
    with pytest.raises(CountError) as refused:
        silent_in(group, first, last)
    assert "web2 delivered no METRIC line from 2026-12-02T09:25:00Z to 2026-12-02T09:30:00Z" in str(refused.value)


@pytest.mark.parametrize(
    ("first", "last", "begin", "end"),
    [(0, 58, "07:30", "08:28"), (54, 114, "08:23", "09:24"), (112, 119, "09:21", "09:29")],
    ids=["at first", "between", "at last"],
)
def test_a_machine_that_was_silent_has_a_gap(group: Delivered, first: int, last: int, begin: str, end: str) -> None:
    """Refused, it would be refused for ever: each later count begins before the same silence."""
    found = silent_in(group, first, last)
    assert found.counts == {SAVED: 1}
    told = f"web2 delivered no METRIC line from 2026-12-02T{begin}:00Z to 2026-12-02T{end}:00Z"
    assert [str(gap) for gap in found.gaps] == [told]
    (gap,) = found.document()["counted"]["gaps"]
    assert gap["machine"] == "web2"


@pytest.mark.parametrize("layout", ["console", "json"])
def test_a_fallback_is_told_by_the_warning_beside_it(group: Delivered, layout: str) -> None:
    """Only METRIC lines arrive otherwise, and the ledger's cause is empty for all of the soak."""
    since = NOW - timedelta(minutes=10)
    key = "certificates/pdf/2026/11/cert_7_0a1b2c3d.pdf"
    told = f"S3 failed for {key}, the local file is tried: get {key}: TimeoutError: no answer within 1 s"
    warning = f"WARNING 2026-12-02 09:20:00,000 {STORAGE_LOGGER} {told}"
    if layout == "json":
        warning = json.dumps({"levelname": "WARNING", "name": STORAGE_LOGGER, "message": told})
    fell_back = f"INFO 2026-12-02 09:20:00,001 {STORAGE_LOGGER} {metric_line(FELL_BACK, 1)}"
    group.deliver("web1", (since, warning), (since + SECOND / 100, fell_back), *probes(since + SECOND))
    found = group.count(since, ["web1"])
    assert found.counts == {FELL_BACK: 1}
    (fallback,) = found.fallbacks
    expected = ("get", key, "TimeoutError: no answer within 1 s")
    assert (fallback["operation"], fallback["key"], fallback["cause"]) == expected


def test_a_warning_that_is_a_metric_counts_once(group: Delivered) -> None:
    """It matches both searches."""
    since = NOW - timedelta(minutes=10)
    line = f"WARNING 2026-12-02 09:20:00,000 {STORAGE_LOGGER} {metric_line(FELL_BACK, 1)}"
    group.deliver("web1", (since, line), *probes(since + SECOND))
    assert group.count(since, ["web1"]).counts == {FELL_BACK: 1}


def test_a_short_silence_is_none(group: Delivered) -> None:
    """A machine that restarts is silent for a minute or two, and the alarm does not fire for it, either."""
    since = NOW - timedelta(hours=1)
    group.deliver("web1", *probes(since, every=240 * SECOND))
    assert group.count(since, ["web1"]).counts == {}


def test_a_group_that_cannot_be_searched_is_an_error(aws: AwsStandIn) -> None:
    """No lines, because nobody may look."""
    with pytest.raises(CountError, match="/nowhere: there is no such log group"):
        count(Group(aws.logs(), "/nowhere", TABLE), MACHINES, NOW - timedelta(hours=1), NOW)
