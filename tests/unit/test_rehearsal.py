"""The rehearsal's own honesty: what is no proof, and how every run ends."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rehearsal import __main__ as command
from rehearsal import evidence_of
from rehearsal.claims import ClaimError, Claims
from rehearsal.lab import LabError
from rehearsal.playbook import PlaybookRun
from rehearsal.traffic import MIXTURE, Issued, Report, Result

SLOW = {"m1": 2.5, "m2": 0.1}
ALL_KINDS = dict.fromkeys(MIXTURE, 5)


def report(**changes: Any) -> Report:
    values: dict[str, Any] = {
        "total": 100, "due": 100, "by_kind": ALL_KINDS, "failures": (), "p95_seconds": 0.1,
        "slowest_seconds": 2.0, "left_behind": (),
    }  # fmt: skip
    return Report(**(values | changes))


def recap(text: str, returncode: int = 0) -> PlaybookRun:
    return PlaybookRun(returncode, text, Path("x.log"))


@pytest.mark.parametrize(
    ("reports", "sentence"),
    [
        ([report(), report(total=0)], "sent 0 of 100"),
        ([report(total=3)], "sent 3 of 100"),
        ([report(by_kind={"download": 100})], "no request of kind"),
        ([report(left_behind=(7,))], "could not be removed"),
        ([report(failures=(Result("download", 1.0, 1.0, "502"),))], "1 of 100 requests failed"),
    ],
)
def test_load_that_died_or_failed_proves_nothing(reports: list[Report], sentence: str) -> None:
    """ "0 of 3 failed" from a load that died at the start is no zero-downtime."""
    with pytest.raises(ClaimError, match=sentence):
        evidence_of.no_failed_request(reports)


def test_full_load_without_failures_is_a_proof() -> None:
    """The opposite of the refusals above."""
    assert evidence_of.no_failed_request([report(), report()]).startswith("0 of 200 failed")


@pytest.mark.parametrize(
    "text",
    ["", "localhost  : ok=3  changed=0", "m1 : ok=3  changed=0", "m1 : ok=3 changed=0\nm2 : ok=3 changed=1"],
)
def test_run_that_missed_a_machine_or_changed_one_is_no_idempotence(text: str) -> None:
    """A second run on nobody changes nothing, either."""
    with pytest.raises(ClaimError, match="expected changed=0 on m1, m2"):
        evidence_of.no_change(recap(text), {"m1", "m2"})


def test_failed_playbook_is_no_proof() -> None:
    """Its last lines are what the operator needs."""
    with pytest.raises(ClaimError, match="fatal: it broke"):
        evidence_of.passed(recap("fatal: it broke", returncode=2))


def test_gate_must_have_judged_every_criterion() -> None:
    """A gate that lost a criterion would pass without it."""
    output = "PASS errors: measured 0 (5 samples), wanted at most 0"
    assert evidence_of.gate(output, ["errors"]) == "errors measured 0 (5 samples)"
    with pytest.raises(ClaimError, match="hashes"):
        evidence_of.gate(output, ["errors", "hashes"])
    with pytest.raises(ClaimError, match="anything"):
        evidence_of.gate("", [])


def test_every_machine_must_have_delivered_its_line() -> None:
    """A machine that is left out is the one whose failures nobody sees."""
    output = "".join(f'"msg": "{name}: a marked line arrived in /x after {s} s"\n' for name, s in SLOW.items())
    assert evidence_of.delivered(output, {"m1", "m2"}) == "a marked line of 2 machines, the slowest after 2.5 s"
    with pytest.raises(ClaimError, match="no marked line of m3"):
        evidence_of.delivered(output, {"m1", "m2", "m3"})


def test_files_are_those_that_were_hashed(tmp_path: Path) -> None:
    """Empty or wrong files under the right names are not 300 certificates."""
    (tmp_path / "a.pdf").write_bytes(b"%PDF" * 2000)
    Image.effect_noise((100, 100), 50).save(tmp_path / "a.png")
    digest = hashlib.sha256((tmp_path / "a.pdf").read_bytes()).hexdigest()
    issued = Issued(1, "a.pdf", "a.png", digest, "code", {})
    assert evidence_of.files_on_disk(tmp_path, [issued], 1).startswith("2 files")
    with pytest.raises(ClaimError, match="should have 4 files"):
        evidence_of.files_on_disk(tmp_path, [issued], 2)
    (tmp_path / "a.pdf").write_bytes(b"")
    with pytest.raises(ClaimError, match="not the PDF that was hashed"):
        evidence_of.files_on_disk(tmp_path, [issued], 1)


def test_no_claims_at_all_do_not_hold() -> None:
    """A rehearsal that proved nothing must not pass."""
    assert not Claims().hold


def test_progress_survives_a_closed_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in `make rehearse | tee` kills tee first; the lab must still be taken down."""

    def closed(*_arguments: object, **_options: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("builtins.print", closed)
    Claims().say("going down")


class FakeLab:
    """A lab that notes what is done to it."""

    refusal: str | None = None
    calls: list[str]

    def __init__(self, progress: object) -> None:
        del progress
        FakeLab.calls = []

    def preflight(self) -> None:
        if self.refusal:
            raise LabError(self.refusal)

    def down(self) -> None:
        FakeLab.calls.append("down")

    def keep(self) -> None:
        FakeLab.calls.append("keep")


@pytest.mark.parametrize(
    "case",
    [
        ("no root", None, 2, []),
        (None, ClaimError("false"), 1, ["down"]),
        (None, KeyError("nobody foresaw it"), 1, ["down"]),
        (None, KeyboardInterrupt(), 130, ["down"]),
        (None, None, 0, ["down"]),
    ],
)
def test_every_run_ends_with_its_last_line_and_without_a_lab(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], case: tuple[Any, ...]
) -> None:
    """Whoever waits for the last line waits for ever, and five machines stay up."""
    refusal, ending, code, calls = case

    def acts(_lab: object, claims: Claims, _steps: object) -> None:
        with claims.prove("something"):
            if ending:
                raise ending

    monkeypatch.setattr(command, "Lab", FakeLab)
    monkeypatch.setattr(FakeLab, "refusal", refusal)
    monkeypatch.setattr(command, "rehearse", acts)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    assert command.main([]) == code
    assert FakeLab.calls == calls
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("REHEARSAL FAIL" if code else "REHEARSAL PASS")


@pytest.mark.parametrize("steps", ["11", "1-99", "one", "", "1-"])
def test_steps_that_do_not_exist_are_refused(steps: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A rehearsal of steps that are not there would pass without them."""
    with pytest.raises(SystemExit) as caught:
        command.main(["--steps", steps])
    assert caught.value.code == 2
    assert capsys.readouterr().out.splitlines()[-1] == "REHEARSAL FAIL 0 s"
