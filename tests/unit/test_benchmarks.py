"""The arithmetic of the benchmarks: a wrong ratio or a listing out of order would praise or blame the wrong program."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sys
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest

from rehearsal.lab import topology
from tests.benchmarks import certificates, report, rollback
from tests.benchmarks.arithmetic import Findings, Result, Series, Target, faster, rotated
from tests.benchmarks.programs import BenchmarkError, measured
from tests.benchmarks.synthetic_s3 import PAGE, Bucket

if TYPE_CHECKING:
    from pathlib import Path

ROWS = 1500  # their listing takes three pages


@pytest.mark.parametrize(
    ("bound", "at_least", "value", "verdict"),
    [
        (1.3, True, 1.3, "PASS"),
        (1.3, True, 1.29, "FAIL"),
        (1.25, False, 1.25, "PASS"),
        (1.25, False, 1.26, "FAIL"),
    ],
)
def test_target_decides_the_verdict(bound: float, at_least: bool, value: float, verdict: str) -> None:
    """A missed target that counts as met: the slow backfill is found out during the cutover's night."""
    assert Result("measure", value, "×", Target(bound, at_least=at_least), "").verdict == verdict


def test_one_disturbed_run_does_not_move_the_ratio() -> None:
    """A backup that starts during one repetition: the mean would blame the program that ran then."""
    ours, theirs = Series("ours", 100, (1.0, 1.0, 50.0)), Series("theirs", 100, (2.0, 2.0, 2.0))
    assert faster(ours, theirs) == 2.0


def test_ratio_is_of_rates_not_of_times() -> None:
    """A peer that copies a part of the files only: compared by its seconds alone it would win by doing less."""
    assert faster(Series("ours", 1000, (10.0,)), Series("theirs", 100, (10.0,))) == 10.0


def test_each_contestant_leads_a_round() -> None:
    """The same order in each round: whoever runs behind the heaviest writer always meets a busy disk."""
    assert [rotated(["a", "b", "c"], number)[0] for number in range(4)] == ["a", "b", "c", "a"]
    assert sorted(rotated(["a", "b", "c"], 2)) == ["a", "b", "c"]


def test_a_program_is_measured_and_not_who_starts_it(tmp_path: Path) -> None:
    """A peak of 200 MB that is the benchmark's own: the data tools are blamed for it, and nobody finds the leak."""
    ours = bytearray(os.urandom(1 << 20) * 200)
    used = measured([sys.executable, "-c", "b'x' * 50_000_000"], os.environ, tmp_path / "log")
    assert 50_000_000 < used.peak_bytes < 100_000_000 < len(ours)
    with pytest.raises(BenchmarkError, match=r"ended with 3; .*log ends: said"):
        measured([sys.executable, "-c", "print('said'); raise SystemExit(3)"], os.environ, tmp_path / "log")
    with pytest.raises(BenchmarkError, match="No such file"):
        measured(["/nowhere/program"], os.environ, tmp_path / "log")


def test_names_come_in_the_order_of_their_bytes() -> None:
    """A listing that is not sorted: a check that merges it would report files as missing that are there."""
    rows = 2 * certificates.MONTHLY + 1
    names = [certificates.name_at(position, rows) for position in range(2 * rows)]
    assert names == sorted(names, key=str.encode)
    assert len(set(names)) == len(names)
    assert [certificates.position(name, rows) for name in names] == list(range(2 * rows))


@pytest.mark.parametrize("wrong", ["certificates/pdf/2020/01/cert_1000000_00000000.pdf", "warm-up/1"])
def test_names_of_nobody_have_no_position(wrong: str) -> None:
    """A server that says of every key that it is there: no client could be caught asking for the wrong one."""
    assert certificates.position(wrong, ROWS) is None
    assert certificates.position(certificates.name("pdf", certificates.FIRST_NUMBER + ROWS), ROWS) is None


def test_written_files_are_those_of_the_names(tmp_path: Path) -> None:
    """Hashes of other bytes: the backfill would refuse every file as damaged, and its time would be no time."""
    issued = dict(certificates.write(tmp_path, 5, 10, share=2))
    assert list(issued) == [certificates.FIRST_NUMBER + index for index in range(5)]
    for number, sha256 in issued.items():
        assert hashlib.sha256((tmp_path / certificates.name("pdf", number)).read_bytes()).hexdigest() == sha256
        assert (tmp_path / certificates.name("images", number)).stat().st_size == 10
    assert len(set(issued.values())) == 3


def test_synthetic_listing_is_whole() -> None:
    """A page that repeats or loses a key: the memory of a check would be measured on a listing of suspects."""
    bucket, found, token = Bucket(ROWS, 10), [], ""
    while True:
        _, _, body = bucket.answer("GET", f"/bucket?list-type=2{token}", {}, b"")
        answer = ElementTree.fromstring(body)  # noqa: S314 - made two lines above
        page = [key.text for key in answer.iterfind("Contents/Key")]
        assert 0 < len(page) <= PAGE
        found += page
        if answer.findtext("IsTruncated") == "false":
            break
        token = f"&continuation-token={answer.findtext('NextContinuationToken')}"
    assert found == [certificates.name_at(position, ROWS) for position in range(2 * ROWS)]
    _, _, body = bucket.answer("GET", f"/bucket?list-type=2&start-after={found[0]}", {}, b"")
    assert ElementTree.fromstring(body).findtext("Contents/Key") == found[1]  # noqa: S314 - made a line above


def test_synthetic_server_refuses_a_wrong_checksum() -> None:
    """A server that takes everything: the backfill would read each object back, which is not what is to be measured."""
    right = base64.b64encode(hashlib.sha256(b"body").digest()).decode()
    bucket = Bucket(0, 10)
    assert bucket.answer("PUT", "/bucket/key", {"x-amz-checksum-sha256": right}, b"body")[0] == 200
    status, _, body = bucket.answer("PUT", "/bucket/key", {"x-amz-checksum-sha256": right}, b"other")
    assert (status, b"BadDigest" in body) == (400, True)


def test_missed_target_fails_the_run_and_shows_in_table_and_document(capsys: pytest.CaptureFixture[str]) -> None:
    """A missed target that only the plot shows: `make bench` would end with 0, and nobody would look."""
    results = (
        Result("against s5cmd", 0.9, "×", Target(1.0, at_least=True), "detail"),
        Result("told", 1, "s", None, ""),
    )
    findings = [Findings("small files", results, (Series("cutover", 10, (2.0,)),))]
    assert report.missed(findings)
    assert not report.missed([Findings("small files", results[1:])])
    report.print_table(findings, quick=False)
    line = capsys.readouterr().out.splitlines()[1]
    assert line.split() == ["small", "files", "against", "s5cmd", "0.90", "×", "≥", "1", "FAIL", "detail"]
    document = json.loads(report.document(findings, quick=False))
    assert document["verdict"] == "FAIL"
    assert document["benchmarks"][0]["results"][0]["verdict"] == "FAIL"
    assert document["benchmarks"][0]["series"][0]["seconds"] == [2.0]
    assert json.loads(report.document(findings, quick=True))["verdict"] == "NOT JUDGED"


def test_plot_has_a_panel_only_for_what_was_repeated(tmp_path: Path) -> None:
    """`--only marks` has no contestants: an empty plot would end the run with a traceback after minutes."""
    picture = tmp_path / "plot.png"
    assert not report.plot([Findings("marks", ())], picture)
    assert not picture.exists()
    assert report.plot([Findings("small files", (), (Series("cutover", 10, (2.0, 1.0)),))], picture)
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("said", ["NOT PROVEN after 4.0 s", "ROLLED BACK: 59 processes proven in 4.0 s", ""])
def test_an_emergency_that_did_not_prove_all_is_no_measurement(tmp_path: Path, said: str) -> None:
    """A rollback that is fast because it left a machine out would be praised for it."""
    log = tmp_path / "log"
    log.write_text(said)
    with pytest.raises(BenchmarkError, match="did not prove 60 processes"):
        rollback.seconds_to_proof(log.read_text(), 60)
    assert rollback.seconds_to_proof("msg: ROLLED BACK: 60 processes\n  proven in 4.0 s", 60) == 4.0


def test_larger_lab_keeps_the_machines_of_the_rehearsal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rehearsal's inventory lists the first machines: the others come after them, with addresses of their own."""
    before = list(topology.MACHINES.values())
    monkeypatch.setattr(topology, "MACHINES", dict(topology.MACHINES))
    monkeypatch.setattr(topology, "LOAD_BALANCED", list(topology.LOAD_BALANCED))
    topology.enlarge(10)
    machines = list(topology.MACHINES.values())
    assert machines[: len(before)] == before
    assert [machine.name for machine in topology.LOAD_BALANCED] == [f"web{number}" for number in range(1, 11)]
    assert len({machine.address for machine in machines}) == len(machines)
    assert all(machine.workers for machine in topology.LOAD_BALANCED)
