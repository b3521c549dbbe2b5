"""Steps 2 to 5 on booted machines, each with one part broken: it must say no, name the cause, and take things back.

The tests build on each other, as the steps do: each leaves the chain of evidence where the next one begins.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from cutover import plan
from cutover.evidence import chain
from rehearsal import data_acts, deployed_site, paging
from tests.fleet import staging as stagings
from tests.fleet.staging import EVIDENCE, LOCK, Staging

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal.lab import Lab
    from rehearsal.playbook import PlaybookRun, StartedPlaybook

pytestmark = pytest.mark.timeout(600)  # the first test may wait for a whole lab
FAILED = 2  # what ansible-playbook ends with when a play failed
BATCHES_BEFORE = 4  # that are marked when the held row stops the backfill
UNIT = "deltacrown-backfill.service"
WAITS = "Wait until it has ended"
SAMPLE = data_acts.SAMPLE


@pytest.fixture(scope="module")
def staging(deployed: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Staging]:
    """Staging after step 1, which passed."""
    with stagings.prepared(deployed, tmp_path_factory.mktemp("staging") / "copies") as prepared:
        prepared.wait_for_alarms(1)
        passed(prepared.play(1))
        yield prepared


@pytest.fixture(scope="module")
def judged(staging: Staging) -> Staging:
    """Staging once the alarms have looked at a whole hour, as step 3 and the later ones want."""
    staging.wait_for_alarms(3)
    return staging


def passed(run: PlaybookRun) -> None:
    assert run.returncode == 0, run.last_lines()


def said(run: PlaybookRun) -> str:
    """What a playbook said, in one line; it must have failed."""
    assert run.returncode == FAILED, run.last_lines()
    return " ".join(run.output.split())


def failed(staging: Staging, run: PlaybookRun, step: int, verdict: str, *, mode: str) -> tuple[str, dict[str, Any]]:
    """What a step said that acted and did not pass, and its record; nothing of it is left but that record."""
    text, record = said(run), staging.records()[-1]
    assert (record["kind"], record["step"], record["verdict"]) == ("step", step, verdict)
    assert f"step {step} {verdict}: " in record["message"]
    assert f"step {step} {verdict}: " in text
    assert staging.is_in(mode)
    return text, record


def refused(staging: Staging, runs: list[StartedPlaybook]) -> list[str]:
    """What steps said that refused to start: they left no record and no lock."""
    before = staging.records()
    texts = [said(run.wait()) for run in runs]
    assert staging.records() == before
    assert staging.is_in("dual-write")
    return texts


def criteria(record: dict[str, Any]) -> dict[str, tuple[float, str]]:
    return {each["criterion"]: (each["measured"], each["verdict"]) for each in record["criteria"]}


def test_damaged_local_file_fails_the_dry_run(staging: Staging) -> None:
    """The dry run is there to find this before anything is uploaded."""
    row = staging.sample()[42]
    with stagings.damaged_file(row.file_pdf):
        text, record = failed(staging, staging.play(2), 2, "FAIL", mode="dual-write")
    assert criteria(record)["errors"] == (1, "FAIL")
    assert criteria(record)["hash_mismatches"] == (1, "FAIL")
    assert criteria(record)["resume_token_valid"] == (1, "PASS")
    for told in (text, record["message"]):
        assert f"{row.id} {row.file_pdf} damaged_local" in told
    assert (staging.marked(), staging.versions()) == (set(), {})


def test_step_refuses_missing_failed_and_tampered_evidence(staging: Staging) -> None:
    """Whoever forgets a step, goes on after a FAIL, or mends a record by hand must get no further."""
    missing, tampered = f"{EVIDENCE}-missing", f"{EVIDENCE}-tampered"
    staging.sudo(f"rm -rf {missing} {tampered}; cp -a {EVIDENCE} {missing} && cp -a {EVIDENCE} {tampered}")
    staging.sudo(f'rm {missing}/*-step-2-*; sed -i \'s/"attempt": 1/"attempt": 2/\' {tampered}/000001-*')
    try:
        runs = [staging.start(3, "-e", f"evidence_directory={each}") for each in (EVIDENCE, missing, tampered)]
        after_fail, without, broken = refused(staging, runs)
        asked = f"cutover evidence require --step 3 --directory {tampered} || echo exit code $?"
        assert "exit code 4" in staging.sudo(asked)
    finally:
        staging.sudo(f"rm -rf {missing} {tampered}")
    assert "step 3 may not start: step 2 ended with FAIL in 000002-step-2-FAIL.json" in after_fail
    assert "step 3 may not start: step 2 has no evidence" in without
    for text in (after_fail, without):
        assert "run ansible-playbook go-live-step2.yml" in text
    assert f"the evidence in {tampered} is broken at 000001-step-1-PASS.json: expected attempt 1, found 2" in broken


def test_step_refuses_an_alarm_that_fires_and_one_without_data(staging: Staging) -> None:
    """INSUFFICIENT_DATA is not OK: an alarm that sees nothing would not fire either."""
    with stagings.alarm_states(upload_p95="ALARM", presigned_url_p95="INSUFFICIENT_DATA"):
        (text,) = refused(staging, [staging.start(2)])
    assert "deltacrown-staging-upload-p95 ALARM cutover alarms query probe-latencies EVENTS" in text
    assert "deltacrown-staging-presigned-url-p95 INSUFFICIENT_DATA ansible-playbook prepare-hosts.yml" in text


def test_step_2_passes_once_the_file_is_restored(staging: Staging) -> None:
    """A step that failed is run again; its second attempt is what counts."""
    passed(staging.play(2))
    record = staging.records()[-1]
    assert (record["step"], record["verdict"], record["attempt"]) == (2, "PASS", 2)
    assert staging.is_in("dual-write")
    assert (staging.marked(), staging.versions()) == (set(), {})


def test_uploads_that_s3_denies_stop_the_backfill(judged: Staging) -> None:
    """More than 5 % failed uploads stop it: the rest would fail as well, and burden S3 and the operator."""
    run = judged.start(3)
    run.reaches("Everything is ready: the step may act")  # later than the doctor, which would refuse it
    with paging.uploads_denied(judged.lab, "staging"):
        text, record = failed(judged, run.wait(), 3, "FAIL", mode="dual-write")
    assert record["backfill"]["stopped"] == "failures"
    assert 20 <= len(record["backfill"]["errors"]) < SAMPLE
    assert criteria(record)["sample_migrated"] == (0, "FAIL")
    for told in (text, record["message"]):
        assert "s3_denied" in told
        assert "s3:PutObject" in told
    assert "investigate: cutover doctor" in text
    assert (judged.marked(), judged.versions()) == (set(), {})


def test_damaged_local_file_fails_the_sample(judged: Staging) -> None:
    """All of the sample or no PASS: 99 % would leave one certificate that nobody looks for."""
    row = judged.sample()[42]
    with stagings.damaged_file(row.file_pdf):
        text, record = failed(judged, judged.play(3), 3, "FAIL", mode="dual-write")
    assert criteria(record)["sample_migrated"] == (0.99, "FAIL")
    assert criteria(record)["witnesses_agree"] == (1, "PASS")
    for told in (text, record["message"]):
        assert f"{row.id} {row.file_pdf} damaged_local" in told
    assert judged.marked() == {each.id for each in judged.sample()} - {row.id}
    assert not {row.file_pdf, row.file_image} & judged.versions().keys()


def test_interrupted_backfill_is_finished_by_the_next_run(judged: Staging) -> None:
    """Ctrl-C, and a control machine that dies: the data host goes on, and nothing is begun or uploaded twice."""
    judged.nothing_migrated()
    sample, sequence = judged.sample(), judged.records()[-1]["sequence"]
    batch = plan.load().steps[3].batch_size or 0
    with stagings.row_held(judged, sample[BATCHES_BEFORE * batch].id):
        first = judged.start(3)
        first.reaches(WAITS)
        _until(lambda: len(judged.marked()) == BATCHES_BEFORE * batch)
        assert first.interrupt().returncode not in {0, FAILED}
        invocation = _invocation(judged)
        _stale_lock_is_named(judged)
        second = judged.start(3)
        second.reaches(WAITS)
        second.kill()
        judged.sudo(f"rm {LOCK}")
        assert _invocation(judged) == invocation
        third = judged.start(3)
        third.reaches(WAITS)
        assert len(judged.marked()) == BATCHES_BEFORE * batch
    passed(third.wait())
    (record,) = (each for each in judged.records() if each["sequence"] > sequence)
    assert (record["step"], record["verdict"], record["attempt"]) == (3, "PASS", 3)
    assert record["backfill"]["migrated"] == SAMPLE
    assert judged.is_in("dual-write")
    assert judged.marked() == {row.id for row in sample}
    assert judged.versions() == dict.fromkeys((key for row in sample for key in (row.file_pdf, row.file_image)), 1)


def _stale_lock_is_named(staging: Staging) -> None:
    """A step that was killed leaves its lock: the next run names the holder, and how to remove it."""
    holder = json.loads(staging.sudo(f"cat {LOCK}"))
    text = said(staging.play(3))
    assert f"{LOCK} is held (holder {holder['holder']}, step 3, host {holder['host']}, run {holder['run']}" in text
    assert "remove it with `cutover unlock`" in text
    assert json.loads(staging.sudo(f"cat {LOCK}")) == holder
    staging.sudo(f"rm {LOCK}")


def _invocation(staging: Staging) -> str:
    """Which run of the backfill's unit is under way."""
    shown = staging.sudo(f"systemctl show --property=ActiveState --property=InvocationID --value {UNIT}").split()
    assert "active" in shown
    return max(shown, key=len)


def _until(holds: Any, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_check_of_steps_2_to_4_changes_nothing(judged: Staging) -> None:
    """--check is what an operator dares to type at any time."""
    _check_changes_nothing(judged, 2, 3, 4)


def _check_changes_nothing(staging: Staging, *steps: int) -> None:
    before = staging.everything()
    runs = {step: staging.start(step, "--check") for step in steps}
    for step, run in runs.items():
        ended = run.wait()
        passed(ended)
        assert f"step {step} would start: " in " ".join(ended.output.split())
    after = staging.everything()
    for name in before:
        assert after[name] == before[name], name


def test_wrong_bytes_and_a_missing_object_take_the_reads_back(judged: Staging) -> None:
    """Wrong bytes are served as they are, and a 404 is hidden by the local copy: both must end the step."""
    wrong, missing = judged.sample()[7], judged.sample()[8]
    with stagings.broken_objects(judged.lab, wrong=wrong.file_pdf, missing=missing.file_pdf):
        text, record = failed(judged, judged.play(4), 4, "FAIL", mode="dual-write")
    measured, verdict = criteria(record)["migrated_from_s3"]
    assert verdict == "FAIL"
    assert 0.95 < measured < 1
    assert criteria(record)["others_from_local"] == (1, "PASS")
    assert criteria(record)["presigned_url_p95"][1] == "PASS"
    assert {each["certificate_id"] for each in record["storage"]["failures"]} == {wrong.id, missing.id}
    assert wrong.id in {each["certificate_id"] for each in record["downloads"]["failures"]}
    for told in (text, record["message"]):
        assert f"; {wrong.id} " in told
        assert f"; {missing.id} " in told
        assert "every worker of staging is back in mode dual-write" in told
    assert [each["mode"] for each in record["timeline"]] == ["s3-reads", "s3-reads"]


def test_step_4_broken_off_between_two_workers_is_finished_by_the_next_run(judged: Staging) -> None:
    """Half of the fleet in the new mode is no place to stop, and no reason to begin with an emergency."""
    first = judged.start(4)
    first.reaches("included: rolling_flip for staging-worker2")
    assert first.interrupt().returncode not in {0, FAILED}
    _until(lambda: not deployed_site.status_of(judged.lab, stagings.MACHINE)["failed"])  # the second may be restarting
    processes = deployed_site.status_of(judged.lab, stagings.MACHINE)["processes"]
    assert {each["read_primary"] for each in processes if each["worker"] == "worker1"} == {True}
    judged.sudo(f"rm {LOCK}")
    passed(judged.play(4))
    assert judged.is_in("s3-reads")
    assert {verdict for _, verdict in criteria(judged.records()[-1]).values()} == {"PASS"}


def test_check_of_step_5_changes_nothing(judged: Staging) -> None:
    """As for the steps before."""
    _check_changes_nothing(judged, 5)


def test_wrong_bytes_and_a_missing_object_fail_the_consistency_check(judged: Staging) -> None:
    """Equal numbers of rows and objects prove nothing: each key is compared."""
    wrong, missing = judged.sample()[7], judged.sample()[8]
    with stagings.broken_objects(judged.lab, wrong=wrong.file_pdf, missing=missing.file_image, longer=True):
        text, record = failed(judged, judged.play(5), 5, "FAIL", mode="s3-reads")
    assert criteria(record)["keys_agree"] == (0.99, "FAIL")
    assert criteria(record)["hashes_agree"][1] == "FAIL"
    assert record["check"]["missing"] == [missing.file_image]
    assert [each["key"] for each in record["check"]["different"]] == [wrong.file_pdf]
    assert record["check"]["different"][0]["disagrees"] == ["s3"]
    for told in (text, record["message"]):
        assert f"missing {missing.file_image}" in told
        assert f"different {wrong.file_pdf}" in told
    assert "cutover audit" in text


def test_step_5_passes_and_the_chain_and_its_copy_verify(judged: Staging) -> None:
    """Five steps, their failures and their interruptions are one chain that nobody can change unseen."""
    passed(judged.play(5))
    verdicts = [(each["step"], each["verdict"]) for each in judged.records()]
    failures = [(2, "FAIL"), (3, "FAIL"), (3, "FAIL"), (4, "FAIL"), (5, "FAIL")]
    assert [each for each in verdicts if each[1] != "PASS"] == failures
    assert [step for step, verdict in verdicts if verdict == "PASS"] == [1, 2, 3, 4, 5]
    assert chain.compare(chain.read(judged.chain).proven(), chain.read(judged.copies)) is None
