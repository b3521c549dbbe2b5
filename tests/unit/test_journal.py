"""`cutover journal` over recorded journals: what it counts, and what it must not call a count."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from cutover import plan
from cutover.cli import main
from cutover.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

WORKER1, WORKER2 = (f"deltacrown-uwsgi@worker{number}.service" for number in (1, 2))
PROBE = "deltacrown-probe.service"
CURSOR = "s=0d4;i=1;b=b1;m=1;t=1;x=1"
STORAGE = "apps.tournaments.storage"
KEY = "certificates/pdf/2026/11/cert_7_0a1b2c3d.pdf"
START = 1_795_000_000_000_000  # microseconds since 1970
LAYOUTS: dict[str, Callable[[str, str], str]] = {
    "console": lambda level, message: f"{level} 2026-11-24 17:15:08,499 {STORAGE} {message}",
    "file": lambda level, message: f"{level} 2026-11-24 17:15:08,499 {STORAGE} storage 21247 140039661087616 {message}",
    "json": lambda level, message: json.dumps(
        {"levelname": level, "asctime": "2026-11-24 17:15:08,499", "name": STORAGE, "message": message}
    ),
}
FALLBACK = "METRIC: cert.s3.read.fallback=1"
SAVED = LAYOUTS["console"]("INFO", "METRIC: cert.s3.save.success=1")


def cause_of(key: str) -> str:
    """The drop-in's line beside its METRIC line."""
    return f"S3 failed for {key}, the local file is tried: get {key}: TimeoutError: no answer within 1 s"


def entry(message: object, unit: str = WORKER1, *, seconds: float = 1.0, boot: str = "b1", **more: str) -> str:
    """One line of `journalctl -o json`, as systemd 252 prints it with --output-fields; `seconds` after the mark."""
    fields = {"_SYSTEMD_UNIT": unit, "MESSAGE": message, "__MONOTONIC_TIMESTAMP": "1", "_BOOT_ID": boot}
    return json.dumps(
        fields | {"__CURSOR": "s=0d4;i=9", "__REALTIME_TIMESTAMP": str(START + round(seconds * 1_000_000))} | more
    )


MARK = entry("step 6 begins", "session-3.scope", seconds=0, __CURSOR=CURSOR)


class Journal:
    """A machine's journal, behind a `journalctl` that prints recorded lines and notes how it was called."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._directory, self._capsys = directory, capsys
        self.record([])

    def record(self, lines: Sequence[str], *, code: int = 0, complaint: str = "") -> None:
        """Decides what journalctl prints."""
        (self._directory / "lines").write_text("".join(f"{line}\n" for line in lines))
        script = self._directory / "journalctl"
        script.write_text(
            f'#!/bin/sh\nprintf "%s\\n" "$@" > {self._directory}/called\ncat {self._directory}/lines\n'
            f"printf '%s' '{complaint}' >&2\nexit {code}\n"
        )
        script.chmod(0o755)

    @property
    def called(self) -> list[str]:
        """The arguments of the last call."""
        return (self._directory / "called").read_text().splitlines()

    def count(self, *units: str, until: str | None = None) -> dict[str, Any]:
        """The document, which must come."""
        options = [option for unit in units or (WORKER1,) for option in ("--unit", unit)]
        options += ["--until-cursor", until] if until else []
        assert main(["journal", "--cursor", CURSOR, *options, "--json"]) == ExitCode.DONE
        found: dict[str, Any] = json.loads(self._capsys.readouterr().out)
        return found

    def refused(self, *options: str) -> str:
        """The sentence of a call that must end with 4, and print no document."""
        assert main(["journal", "--cursor", CURSOR, "--unit", WORKER1, "--json", *options]) == ExitCode.ERROR
        said = self._capsys.readouterr()
        assert said.out == ""
        return said.err


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Journal:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return Journal(tmp_path, capsys)


def test_counts_of_each_unit_and_silent_ones(journal: Journal) -> None:
    """One busy worker must not cover for a silent one, nor another service for both."""
    error = "ERROR 2026-11-24 17:15:08,499 django.request Internal Server Error: /api/x"
    denied = LAYOUTS["console"]("WARNING", "S3 failed at the save of x, only the local file counts: AccessDenied")
    journal.record([MARK, entry(SAVED), entry(SAVED), entry(denied), entry(error), entry(SAVED, "other.service")])
    found = journal.count(WORKER1, WORKER2)
    assert found["units"] == {
        WORKER1: {"metrics": {"cert.s3.save.success": 2}, "server_errors": 1, "first_complaint": denied},
        WORKER2: {"metrics": {}, "server_errors": 0, "first_complaint": ""},
    }
    assert found["fallbacks"] == []
    assert found["since"] == "2026-11-18T11:06:40.000000Z"
    assert found["until"] > found["since"]


def test_journalctl_is_asked_for_the_marks_what_journald_dropped_and_the_units(journal: Journal) -> None:
    """A journal asked for the workers alone never says that it dropped lines; without --all it cuts long ones."""
    journal.record([MARK])
    journal.count(WORKER1, WORKER2)
    assert journal.called == [
        *("--quiet", "--all", "--output=json", "--output-fields=MESSAGE,_SYSTEMD_UNIT", f"--cursor={CURSOR}"),
        *("SYSLOG_IDENTIFIER=deltacrown-cutover", "+", "SYSLOG_IDENTIFIER=systemd-journald"),
        *("+", f"_SYSTEMD_UNIT={WORKER1}", "+", f"_SYSTEMD_UNIT={WORKER2}", "+", f"_SYSTEMD_UNIT={PROBE}"),
    ]


def test_the_probes_numbers_are_measurements_and_a_workers_are_not(journal: Journal) -> None:
    """Latencies of the wrong source pass a gate; ones that are missing must show as none, not lack."""
    put = json.dumps({"message": "METRIC: cert.s3.probe.put_ms=41.5", "metric_name": "cert.s3.probe.put_ms"})
    journal.record(
        [MARK, entry(put, PROBE), entry(put.replace("41.5", "39"), PROBE), entry(put, WORKER1), entry("x", PROBE)]
    )
    found = journal.count()
    assert found["measurements"]["cert.s3.probe.put_ms"] == [41.5, 39.0]
    assert found["measurements"]["cert.s3.probe.sign_ms"] == []
    assert set(found["measurements"]) == set(plan.load().measurements.values())
    assert list(found["units"]) == [WORKER1]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_fallback_and_its_warning_are_one_in_every_layout(journal: Journal, layout: str) -> None:
    """Two entries for one fallback double the rate; one without its cause sends the operator searching."""
    write = LAYOUTS[layout]
    journal.record([MARK, entry(write("INFO", FALLBACK)), entry(write("WARNING", cause_of(KEY)), seconds=1.01)])
    assert journal.count()["fallbacks"] == [
        {
            "at": "2026-11-18T11:06:41.000000Z",
            "unit": WORKER1,
            "operation": "get",
            "key": KEY,
            "cause": "TimeoutError: no answer within 1 s",
        }
    ]


def test_tags_of_the_metric_line_tell_without_any_warning(journal: Journal) -> None:
    """The application's own line names operation and error in its tags, and no file."""
    line = {
        "levelname": "INFO",
        "name": STORAGE,
        "message": FALLBACK,
        "tags": {"operation": "url", "error": "NoSuchKey"},
    }
    journal.record([MARK, entry(json.dumps(line))])
    (found,) = journal.count()["fallbacks"]
    assert (found["operation"], found["key"], found["cause"]) == ("url", None, "NoSuchKey")


@pytest.mark.parametrize(
    ("text", "operation", "cause"),
    [
        (f"S3 read failed for {KEY}, falling back to local: NoSuchKey", "read", "NoSuchKey"),
        (f"S3 failed for {KEY}, the local file is tried: sign {KEY}: no credentials: x", "sign", "no credentials: x"),
        (f"Fell back to {KEY}", None, None),
    ],
)
def test_a_warning_tells_what_it_has_also_before_its_metric_line(
    journal: Journal, text: str, operation: str | None, cause: str | None
) -> None:
    """The site's own wording and order are not the drop-in's."""
    journal.record([MARK, entry(LAYOUTS["console"]("WARNING", text)), entry(LAYOUTS["console"]("INFO", FALLBACK))])
    (found,) = journal.count()["fallbacks"]
    assert (found["operation"], found["key"], found["cause"]) == (operation, KEY, cause)


def test_there_are_as_many_fallbacks_as_metric_lines(journal: Journal) -> None:
    """A failed save's warning, or one without a count beside it, is no fallback; an old one's cause is no new one's."""
    console = LAYOUTS["console"]
    other = KEY.replace("7", "8")
    save = f"S3 failed at the save of {KEY}, only the local file counts: put {KEY}: AccessDenied"
    journal.record(
        [
            MARK,
            entry(console("WARNING", cause_of(KEY))),
            entry(console("WARNING", save), seconds=2),
            entry(console("INFO", FALLBACK), seconds=60),  # nobody says why
            entry(console("INFO", FALLBACK), seconds=90),
            entry(console("INFO", FALLBACK), WORKER2, seconds=90),
            entry(console("WARNING", cause_of(other)), seconds=90.2),
            entry(console("WARNING", cause_of(other)), seconds=90.3),
        ]
    )
    found = journal.count(WORKER1, WORKER2)
    assert [(each["unit"], each["key"]) for each in found["fallbacks"]] == [
        (WORKER1, None),
        (WORKER1, other),
        (WORKER2, None),
    ]
    assert found["units"][WORKER1]["metrics"] == {"cert.s3.read.fallback": 2}


def test_threads_that_fall_back_at_once_are_told_apart_by_number(journal: Journal) -> None:
    """Interleaved lines of four threads must not become more fallbacks, or fewer causes."""
    console = LAYOUTS["console"]
    keys = [f"certificates/images/2026/11/cert_{number}_0a1b2c3d.png" for number in range(4)]
    counted = [entry(console("INFO", FALLBACK), seconds=1 + number / 1000) for number in range(4)]
    told = [entry(console("WARNING", cause_of(key)), seconds=1.1) for key in keys]
    journal.record([MARK, *counted, *told])
    assert sorted(each["key"] for each in journal.count()["fallbacks"]) == keys


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([], "the mark in the journal is gone"),
        ([entry(SAVED)], "the mark in the journal is gone"),
        ([MARK, entry(SAVED), entry(SAVED, boot="b2")], "the machine was restarted since the mark"),
        ([MARK, entry("Suppressed 12 messages from x", "systemd-journald.service")], "journald dropped lines"),
        ([MARK, "Failed to get data"], "line 2 of the journal is no JSON"),
        ([MARK, entry(SAVED, __REALTIME_TIMESTAMP="soon")], "line 2 of the journal has no time"),
    ],
)
def test_a_journal_that_proves_nothing_is_an_error(journal: Journal, lines: list[str], sentence: str) -> None:
    """A vacuumed, interrupted or rate-limited journal says zero errors, and journalctl says so with exit code 0."""
    journal.record(lines)
    assert sentence in journal.refused()


@pytest.mark.parametrize("lines", [[], [MARK, entry(SAVED)]])
def test_a_journalctl_that_fails_is_an_error_with_its_own_words(journal: Journal, lines: list[str]) -> None:
    """Half a journal, with whatever was wrong on a stream that nobody reads."""
    journal.record(lines, code=1, complaint="Failed to seek to cursor: Invalid argument")
    assert "journalctl ended with 1 (Failed to seek to cursor: Invalid argument)" in journal.refused()


def test_a_machine_without_journalctl_is_an_error(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A traceback names no machine and no next step."""
    monkeypatch.setenv("PATH", "/nowhere")
    assert "journalctl: No such file or directory; could not look" in journal.refused()


def test_lines_for_people(journal: Journal, capsys: pytest.CaptureFixture[str]) -> None:
    """What is counted must be readable without a tool."""
    journal.record([MARK, entry(SAVED), entry(LAYOUTS["console"]("INFO", FALLBACK))])
    assert main(["journal", "--cursor", CURSOR, "--unit", WORKER1]) == ExitCode.DONE
    said = capsys.readouterr().out
    assert f"{WORKER1}: cert.s3.read.fallback 1, cert.s3.save.success 1; server errors 0\n" in said
    assert f"fallback 2026-11-18T11:06:41.000000Z {WORKER1}: nothing is told\n" in said


LATER = "s=0d4;i=7;b=b1;m=7;t=7;x=7"


def test_a_count_that_ends_at_a_later_mark(journal: Journal) -> None:
    """The next count begins there: lines after it would be in both."""
    later = entry("step 9 begins", "session-4.scope", seconds=60, __CURSOR=LATER)
    journal.record([MARK, entry(SAVED), later, entry(SAVED, seconds=61), entry(SAVED, seconds=62)])
    found = journal.count(until=LATER)
    assert found["units"][WORKER1]["metrics"] == {"cert.s3.save.success": 1}
    assert found["until"] == "2026-11-18T11:07:40.000000Z"


def test_a_later_mark_that_is_gone_proves_nothing(journal: Journal) -> None:
    journal.record([MARK, entry(SAVED)])
    assert "the mark at the end is not there" in journal.refused("--until-cursor", LATER)
