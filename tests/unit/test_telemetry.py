"""METRIC lines in a journal, counted."""

from __future__ import annotations

import json

import pytest

from cutover import telemetry

UNIT = "deltacrown-uwsgi@worker1.service"
CONSOLE = "INFO 2026-11-24 17:15:08,499 apps.tournaments.storage METRIC: cert.s3.save.success=1"
FILE = (
    "INFO 2026-11-24 17:15:08,499 apps.tournaments.storage storage 21247 140039661087616 METRIC: cert.s3.save.success=1"
)
DOCUMENT = json.dumps(
    {"levelname": "INFO", "name": "apps.tournaments.storage", "message": "METRIC: cert.s3.save.success=1"}
)


def entry(message: object, unit: str = UNIT) -> str:
    return json.dumps({"MESSAGE": message, "_SYSTEMD_UNIT": unit})


def count_journal(lines: list[str], units: list[str]) -> dict[str, telemetry.WorkerCounts]:
    counts = {unit: telemetry.WorkerCounts() for unit in units}
    for found in telemetry.entries(lines):
        telemetry.count(counts, found)
    return counts


@pytest.mark.parametrize("message", [CONSOLE, FILE, DOCUMENT])
def test_every_layout_counts(message: str) -> None:
    """A layout that is not recognised looks like a worker that saves nothing."""
    assert telemetry.parse_metric(message) == ("cert.s3.save.success", 1.0)


@pytest.mark.parametrize(
    "message", ["", "METRICS: a=1", "METRIC: a=", "METRIC: a=1x", '{"message": 3}', '{"broken', "[1]", '"METRIC"']
)
def test_other_lines_are_no_metric(message: str) -> None:
    """A line that only resembles a metric must not raise a count."""
    assert telemetry.parse_metric(message) is None


def test_counts_are_kept_apart_by_unit_and_silent_units_are_present() -> None:
    """One busy worker must not cover for a silent one."""
    counts = count_journal([entry(CONSOLE), entry(CONSOLE), entry(CONSOLE, "other.service")], [UNIT, "silent"])
    assert counts[UNIT].metrics == {"cert.s3.save.success": 2}
    assert counts["silent"].metrics == {}
    assert set(counts) == {UNIT, "silent"}


def test_message_that_came_as_bytes_counts() -> None:
    """journalctl prints a message with a stray byte as numbers; skipping it loses counts."""
    raw = list(b"\xff " + CONSOLE.encode())
    assert count_journal([entry(raw)], [UNIT])[UNIT].metrics == {"cert.s3.save.success": 1}


@pytest.mark.parametrize(
    "message",
    [
        "ERROR 2026-11-24 17:15:08,499 django.request Internal Server Error: /api/x",
        json.dumps({"levelname": "ERROR", "name": "django.request", "message": "Internal Server Error: /api/x"}),
        "[pid: 7] 10.0.0.1 () {40 vars} [Tue] GET /x => generated 145 bytes in 3 msecs (HTTP/1.1 500) 4 headers",
    ],
)
def test_server_errors_are_seen_in_every_form(message: str) -> None:
    """ "No 500 errors" must not pass because the 500s were logged in another form."""
    assert count_journal([entry(message)], [UNIT])[UNIT].server_errors == 1


def test_one_failed_request_logged_twice_counts_once() -> None:
    """Django and uWSGI both log a 500."""
    lines = [entry("ERROR t django.request Internal Server Error: /x"), entry("GET /x => (HTTP/1.1 500) 4 headers")]
    assert count_journal(lines, [UNIT])[UNIT].server_errors == 1


@pytest.mark.parametrize("line", ["no json", "[1, 2]"])
def test_output_that_is_no_journal_is_an_error(line: str) -> None:
    """An error text in place of entries must not count as "nothing happened"."""
    with pytest.raises(telemetry.TelemetryError, match="line 1"):
        count_journal([line], [UNIT])


def test_dropped_messages_are_an_error() -> None:
    """A rate-limited journal proves nothing about what it dropped."""
    with pytest.raises(telemetry.TelemetryError, match="Suppressed 12 messages"):
        count_journal([entry("Suppressed 12 messages from x", "systemd-journald.service")], [UNIT])


def marked(cursor: str, boot: str = "b1") -> str:
    return json.dumps({"MESSAGE": "step 1 begins", "__CURSOR": cursor, "_BOOT_ID": boot})


def test_counts_begin_after_the_mark() -> None:
    """What was logged before the step must not prove the step."""
    found = telemetry.after_mark(telemetry.entries([marked("c1"), marked("c2")]), "c1")
    assert [each.cursor for each in found] == ["c1", "c2"]  # the mark itself, and what came after it


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([], "mark in the journal is gone"),
        ([marked("c2")], "is gone"),
        ([marked("c1"), marked("c2", "b2")], "restarted"),
    ],
)
def test_lost_mark_or_restart_is_an_error(lines: list[str], sentence: str) -> None:
    """A journal that was vacuumed says zero errors, and journalctl says so with exit code 0."""
    with pytest.raises(telemetry.TelemetryError, match=sentence):
        list(telemetry.after_mark(telemetry.entries(lines), "c1"))


def test_first_complaint_of_the_storage_is_kept() -> None:
    """A gate that says only "0 saves" sends the operator searching for the one line that says why."""
    denied = "WARNING 2026-11-24 17:15:08,499 apps.tournaments.storage S3 failed: AccessDenied"
    counts = count_journal([entry(CONSOLE), entry(denied), entry(denied + " again")], [UNIT])
    assert counts[UNIT].first_complaint == denied
