"""Every saved query of ops/queries finds, in lines of the application's three layouts, exactly what it asks for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cutover import plan
from cutover.alarms.errors import AlarmError
from cutover.alarms.insights import compile_query, run_query
from cutover.alarms.insights.command import saved_query

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cutover.alarms.insights.rows import Value

ROOT = Path(__file__).parents[2]
QUERIES = sorted((ROOT / "ops/queries").glob("*.logsinsights"))
NOON = 1795608000000  # 2026-11-25 12:00:00 UTC
AT = "2026-11-25 18:00:00,499"
LOGGER = "apps.tournaments.storage"
UNREACHABLE = (
    "S3 failed at the save of certificates/pdf/2026/11/cert_7_0a1b2c3d.pdf, only the local file counts: timed out"
)


def layouts(message: str, level: str = "INFO", logger: str = LOGGER) -> list[str]:
    """The message as the application's console, file and JSON layouts have it."""
    return [
        f"{level} {AT} {logger} {message}",
        f"{level} {AT} {logger} storage 21247 140039661087616 {message}",
        json.dumps({"levelname": level, "asctime": AT, "name": logger, "message": message}),
    ]


def measured(name: str, value: float) -> str:
    return json.dumps(
        {
            "levelname": "INFO",
            "asctime": AT,
            "name": "cutover.probe",
            "message": f"METRIC: {name}={value:g}",
            "metric_name": name,
            "value": value,
        }
    )


def events(messages: Iterable[str], begin: int = NOON, step: int = 1000) -> list[dict[str, Any]]:
    return [
        {"timestamp": begin + number * step, "message": message, "logStream": "web1"}
        for number, message in enumerate(messages)
    ]


# What every journal holds beside the lines that are asked for.
NOISE = [
    *layouts("METRIC: cert.s3.save.success=1"),
    *layouts("METRIC: cert.s3.read.success=1"),
    *layouts("METRIC: cert.s3.save.failover=1"),
    *layouts("METRIC: cert.s3.read.fallbacks=1"),
    *layouts("METRIC: certXs3Xsave.fail=1"),
    *layouts("METRIC: cert.s3.read-fallback=1"),
    *layouts("METRIC: cert.s3_read.fallback=1"),
    *layouts("METRIC: cert_s3.read.fallback=1"),
    *layouts("METRIC: cert_consistency.issues=1"),
    *layouts("METRIC: cert.consistency_issues=1"),
    *layouts("slow", level="WARNING", logger="apps-tournaments.storage"),
    *layouts("slow", level="WARNING", logger="apps.tournaments-storage"),
    *layouts("cert.s3.save.fail and cert.s3.read.fallback are counted from now on", logger="deltacrown.start"),
    *layouts("ERROR 2026-11-25 18:00:00,499 apps.tournaments.storage was in the ticket"),
    *layouts("no such worker", level="ERROR", logger="deltacrown.queue"),
    *layouts("Internal Server Error: /api/", level="ERROR", logger="django.request"),
    *layouts("slow render", level="WARNING", logger="apps.tournaments.storage_report"),
    "10.0.0.1 - - [25/Nov/2026:18:00:00 +0600] GET /api/tournaments/certificates/1/ => 200",
    '{"levelname": "ERROR", "name": "apps.tournaments.storage", cut off',
    "",
]


def run(name: str, found: Iterable[dict[str, Any]]) -> list[dict[str, Value]]:
    return compile_query((ROOT / "ops/queries" / f"{name}.logsinsights").read_text(encoding="utf-8")).run(found)


def test_every_alarm_that_names_a_query_names_a_saved_one() -> None:
    """At night the alarm's next command must exist."""
    named = {
        alarm.next.split()[3] for alarm in plan.load().alarms.values() if alarm.next.startswith("cutover alarms query")
    }
    assert named
    assert named <= {path.stem for path in QUERIES}


@pytest.mark.parametrize("path", QUERIES, ids=lambda path: path.stem)
def test_a_saved_query_says_what_it_answers_and_finds_nothing_in_an_empty_log(path: Path) -> None:
    """The console shows the text alone: without the question nobody picks the right query."""
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert "?" in text.splitlines()[0]
    assert compile_query(text).run([]) == []


@pytest.mark.parametrize(
    "name", ["upload-failures", "read-fallbacks", "probe-latencies", "storage-errors", "consistency-results"]
)
def test_lookalikes_are_not_found(name: str) -> None:
    """A counter of another name, or a line that only speaks of failures, would send the on-call the wrong way."""
    assert run(name, events(NOISE)) == []


def test_upload_failures_are_counted_by_minute() -> None:
    """All three layouts count, once each, and each in its own minute."""
    failures = layouts("METRIC: cert.s3.save.fail=1")
    found = run(
        "upload-failures",
        [*events(failures, NOON - 1, 1), *events(NOISE), *events([measured("cert.s3.save.fail", 1)], NOON + 60_000)],
    )
    assert found == [
        {"minute": "2026-11-25 12:01:00.000", "failures": 1},
        {"minute": "2026-11-25 12:00:00.000", "failures": 2},
        {"minute": "2026-11-25 11:59:00.000", "failures": 1},
    ]


def test_upload_failures_equal_the_runbooks_query() -> None:
    """On real METRIC lines the saved query counts what the runbook's own query counts."""
    runbook = "fields @timestamp, @message\n| filter @message like /cert.s3.save.fail/\n| stats count() by bin(1m)"
    lines = events(layouts("METRIC: cert.s3.save.fail=1") * 50 + layouts("METRIC: cert.s3.save.success=1"), step=7000)
    theirs = compile_query(runbook).run(lines)
    assert len(theirs) > 10
    assert sorted(tuple(row.values()) for row in theirs) == sorted(
        tuple(row.values()) for row in run("upload-failures", lines)
    )


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("read-fallbacks", layouts("METRIC: cert.s3.read.fallback=1")),
        ("storage-errors", layouts(UNREACHABLE, level="ERROR")),
        ("consistency-results", layouts("METRIC: cert.integrity.fail=1")),
    ],
)
def test_lists_are_of_the_newest_hundred(name: str, lines: list[str]) -> None:
    """An outage writes thousands of lines: the last ones matter, and the screen must hold them."""
    found = run(name, events(lines * 40))
    assert len(found) == 100
    assert found[0]["@timestamp"] == "2026-11-25 12:01:59.000"


def test_read_fallbacks_name_the_machine() -> None:
    """One machine that falls back alone has a problem of its own."""
    fallbacks = layouts("METRIC: cert.s3.read.fallback=1")
    found = run("read-fallbacks", [*events(NOISE), *events(fallbacks)])
    assert [row["@message"] for row in found] == fallbacks[::-1]
    assert found[0] == {"@timestamp": "2026-11-25 12:00:02.000", "@logStream": "web1", "@message": fallbacks[-1]}


def test_metric_counts_name_every_metric() -> None:
    """What is counted is the line's name, whatever its layout; other lines are not counted."""
    lines = [*layouts("METRIC: cert.s3.save.success=1"), measured("cert.s3.probe.put_ms", 12.5), "METRIC: none", ""]
    found = run("metric-counts", [*events(lines), *events(lines[:1], NOON + 300_000)])
    assert found == [
        {"since": "2026-11-25 12:05:00.000", "metric": "cert.s3.save.success", "lines": 1},
        {"since": "2026-11-25 12:00:00.000", "metric": "cert.s3.probe.put_ms", "lines": 1},
        {"since": "2026-11-25 12:00:00.000", "metric": "cert.s3.save.success", "lines": 3},
    ]


def test_probe_latencies_are_percentiles_by_measurement() -> None:
    """Puts and signatures must not be mixed: a signature takes a hundredth of a put."""
    puts = [measured("cert.s3.probe.put_ms", value) for value in range(1, 101)]
    later = events([measured("cert.s3.probe.get_ms", 7)], NOON + 300_000)
    signed = events([measured("cert.s3.probe.sign_ms", 3)])
    assert run("probe-latencies", [*events(puts, step=2000), *signed, *later]) == [
        {
            "since": "2026-11-25 12:05:00.000",
            "metric_name": "cert.s3.probe.get_ms",
            "p95_ms": 7,
            "longest_ms": 7,
            "samples": 1,
        },
        {
            "since": "2026-11-25 12:00:00.000",
            "metric_name": "cert.s3.probe.put_ms",
            "p95_ms": 95,
            "longest_ms": 100,
            "samples": 100,
        },
        {
            "since": "2026-11-25 12:00:00.000",
            "metric_name": "cert.s3.probe.sign_ms",
            "p95_ms": 3,
            "longest_ms": 3,
            "samples": 1,
        },
    ]


def test_storage_errors_are_the_storage_classes_own() -> None:
    """The cause stands in that line alone; the metric's line has none."""
    causes = [*layouts(UNREACHABLE, level="WARNING"), *layouts(UNREACHABLE, level="ERROR")]
    found = run("storage-errors", [*events(NOISE), *events(causes)])
    assert [row["@message"] for row in found] == causes[::-1]


def test_consistency_results_have_name_and_number() -> None:
    """The application's counters and the check's ratio stand side by side."""
    lines = [measured("cert.consistency.mismatch_ratio", 0.02), *layouts("METRIC: cert.consistency.issues=1")]
    found = run("consistency-results", [*events(NOISE), *events(lines)])
    assert [(row["metric"], row["result"]) for row in found] == [
        *[("cert.consistency.issues", "1")] * 3,
        ("cert.consistency.mismatch_ratio", "0.02"),
    ]


def test_the_alarms_command_works_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`cutover alarms query upload-failures EVENTS` is what a page says, whatever folder the on-call is in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CUTOVER_QUERIES", raising=False)
    path = tmp_path / "events.json"
    path.write_text(json.dumps({"events": events(layouts("METRIC: cert.s3.save.fail=1"))}))
    assert run_query("upload-failures", str(path), as_json=False) == 0
    assert capsys.readouterr().out.splitlines() == [
        "minute                   failures",
        "2026-11-25 12:00:00.000  3",
        "1 rows from 3 events",
    ]


def test_an_unknown_query_names_the_folder_and_what_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative folder, or none, leaves the on-call guessing what was looked at."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CUTOVER_QUERIES", raising=False)
    with pytest.raises(AlarmError, match=f"^{ROOT / 'ops/queries'}: no query is called upload; there are: consistency"):
        saved_query("upload")
    monkeypatch.setenv("CUTOVER_QUERIES", "empty")
    with pytest.raises(AlarmError, match=f"^{tmp_path / 'empty'}: .* there are: none; set CUTOVER_QUERIES$"):
        saved_query("upload-failures")
