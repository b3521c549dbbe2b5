"""Steps 6 to 8 on booted machines, each with one part broken: it must say no, name the cause, and take things back.

The tests build on each other, as the steps do: production goes from local to dual-write, and at the end back to local.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from cutover.evidence import chain
from rehearsal import deployed_site, paging, playbook
from rehearsal.lab.topology import MACHINES
from tests.fleet import production as productions
from tests.fleet.production import DATA_HOST, PRODUCTION, TIME_SCALE, WEBS, Production
from tests.fleet.staging import LOCK

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rehearsal.lab import Lab
    from rehearsal.playbook import PlaybookRun

pytestmark = pytest.mark.timeout(600)  # the first test may wait for a whole lab
FAILED = 2  # what ansible-playbook ends with when a play failed
UNREACHABLE = 4  # and when a machine of a play could not be reached
READY = "Everything is ready: the step may act"
LOOKED = "What the soak has measured"
TEST_CERTIFICATES = "/var/lib/deltacrown-cutover/test-certificates.jsonl"
CANARY = "production-worker1"
SECOND_BATCH = ["production-worker2", "production-worker3", "production-worker4"]
NOWHERE = "10.213.77.99"  # of the lab's network, and no machine has it
IMPATIENT = "-o ControlMaster=auto -o ControlPersist=60s -o ConnectTimeout=1"  # else the dead machine takes a minute
BACK_SECONDS = 60.0


@pytest.fixture(scope="module")
def production(deployed: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Production]:
    """Production in mode local, and step 6 may start."""
    with productions.prepared(deployed, tmp_path_factory.mktemp("production") / "copies") as prepared:
        prepared.wait_for_alarms(7)
        yield prepared


def passed(run: PlaybookRun) -> None:
    assert run.returncode == 0, run.last_lines()


def said(run: PlaybookRun, code: int = FAILED) -> str:
    """What a playbook said, in one line; it must have failed."""
    assert run.returncode == code, run.last_lines()
    return " ".join(run.output.split())


def failed(
    production: Production, run: PlaybookRun, step: int, verdict: str, *, mode: str, switched: list[str]
) -> tuple[str, dict[str, Any]]:
    """What a step said that did not pass, and its record: whom it switched; all of it is back in the mode before."""
    text, record = said(run), production.records()[-1]
    assert (record["kind"], record["step"], record["verdict"]) == ("step", step, verdict), record["message"]
    assert [each["worker"] for each in record["timeline"]] == switched
    outcome = "nothing was switched" if step == 7 else f"every worker of production is back in mode {mode}"
    assert outcome in text
    assert production.is_in(mode)
    return text, record


def restarted(before: dict[str, set[int]], after: dict[str, set[int]]) -> set[str]:
    """The workers that have other processes than before."""
    return {f"production-{worker}" for worker, pids in after.items() if pids != before[worker]}


def criteria(record: dict[str, Any]) -> dict[str, str]:
    return {each["criterion"]: each["verdict"] for each in record["criteria"]}


def _until(holds: Any, seconds: float = BACK_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.5)


def test_step_6_refuses_a_canary_that_cannot_be_reached(production: Production, tmp_path: Path) -> None:
    """Ansible goes on without a dead host: a canary that nobody saw must not count as one that is well."""
    inventory, before = tmp_path / "hosts.yml", production.pids()
    inventory.write_text(json.dumps({"all": {"hosts": {DATA_HOST: {"ansible_host": NOWHERE}}}}), encoding="utf-8")
    text = said(production.play(6, "-i", str(inventory)), UNREACHABLE)
    assert f"[{DATA_HOST}]: UNREACHABLE!" in text
    assert NOWHERE in text
    assert production.pids() == before
    assert production.is_in("local")


def test_step_6_switches_nobody_if_the_canary_dies(production: Production) -> None:
    """The machine is lost between the preflight and the flip, and it is also the one that keeps the evidence."""
    before, records = production.pids(), production.records()
    run = production.start(6, "-e", json.dumps({"ansible_ssh_args": IMPATIENT}))
    run.reaches(READY)
    production.lab.power_off(DATA_HOST)
    try:
        text = said(run.wait())
    finally:
        production.lab.power_on(DATA_HOST)
    assert f"{CANARY}: its machine cannot be reached" in text
    assert f"the evidence could not be sealed: {DATA_HOST} cannot be reached" in text
    assert f"NOT taken back: {DATA_HOST} cannot be reached. Run now: ansible-playbook emergency-rollback.yml" in text
    (kept,) = production.copies.parent.glob("copies-unsealed-*.json")
    assert json.loads(kept.read_text(encoding="utf-8"))["verdict"] == "ERROR"
    _until(lambda: production.is_in("local"))
    assert production.records() == records
    others = {f"production-{worker}" for machine in WEBS[1:] for worker in MACHINES[machine].workers}
    assert not restarted(before, production.pids()) & others


def test_step_6_with_too_few_saves_is_inconclusive(production: Production) -> None:
    """A quiet half hour proves nothing, and the rest of the fleet must not follow a canary that proved nothing."""
    before = production.pids()
    run = production.play(6, "-e", "soak_supply=none", "-e", "time_scale=1200")
    text, record = failed(production, run, 6, "INCONCLUSIVE", mode="local", switched=[CANARY])
    assert criteria(record)["save_success_ratio"] == "INCONCLUSIVE"
    assert restarted(before, production.pids()) == {CANARY}
    for told in (text, record["message"]):
        assert "step 6 INCONCLUSIVE: INCONCLUSIVE save_success_ratio: measured nothing (0 samples)" in told
    assert "PASS" not in text.partition("PLAY RECAP")[0].rpartition("End the step")[2]


def test_worker_of_the_second_batch_that_does_not_start_takes_the_canary_back(production: Production) -> None:
    """A batch that fails must not leave the earlier ones in the new mode, or go on to the later ones."""
    before = production.pids()
    with productions.broken_worker(production, "web3", "worker3"):
        run = production.play(6)
    well = [CANARY, *(worker for worker in SECOND_BATCH if worker != "production-worker3")]
    text, record = failed(production, run, 6, "ERROR", mode="local", switched=well)
    assert {criteria(record).get(name) for name in ("save_success_ratio", "upload_p95")} <= {"PASS", None}
    assert restarted(before, production.pids()) == {CANARY, *SECOND_BATCH}
    for told in (text, record["message"]):
        assert "production-worker3: " in told
        assert "worker3 did not come up with the new flags" in told


def test_canary_that_a_deploy_started_with_other_flags_ends_the_soak(production: Production) -> None:
    """Somebody deploys in the middle of a soak: what it measures from then on would be another fleet's."""
    before, run = production.orphans(), production.start(6)
    run.reaches(LOOKED)
    epoch = '"$(cat /etc/deltacrown/rollback-epoch)"'  # a deploy raises none
    production.sudo(DATA_HOST, f"deltacrown-s3-rollback --flags false,false,false --epoch {epoch} --workers worker1")
    text, record = failed(production, run.wait(), 6, "ERROR", mode="local", switched=[CANARY])
    for told in (text, record["message"]):
        assert f"step 6 ERROR: {DATA_HOST}: worker1 pid " in told
        assert "A deploy, a crash or somebody else started it" in told
    assert production.rows(f"WHERE tournament_id = {productions.PROBE_TOURNAMENT}") == []
    assert set(production.orphans()) <= set(before)


def test_step_6_killed_in_the_soak_goes_on_when_run_again(production: Production) -> None:
    """The control machine dies while the canary soaks: the next run begins from there and ends with PASS."""
    first = production.start(6)
    first.reaches(LOOKED)
    first.kill()
    canary = {process["dual_write"] for process in production.processes() if process["worker"] == "worker1"}
    assert canary == {True}
    left = production.rows(f"WHERE tournament_id = {productions.PROBE_TOURNAMENT}")
    assert left
    text = said(production.play(6))
    for machine in WEBS:
        assert f"{machine}: {LOCK} is held" in text
    assert "`cutover unlock`" in text
    production.sudo_on_all(f"rm {LOCK}")
    passed(production.play(6))
    record = production.records()[-1]
    assert (record["step"], record["verdict"]) == (6, "PASS")
    assert set(criteria(record).values()) == {"PASS"}
    assert not {certificate for certificate, _ in left} & set(record["probes"])
    assert production.rows(f"WHERE tournament_id = {productions.PROBE_TOURNAMENT}") == []
    assert "".join(production.sudo_on_all(f"test ! -e {TEST_CERTIFICATES} || cat {TEST_CERTIFICATES}")) == ""
    assert production.is_in("dual-write")


def test_damaged_certificate_fails_step_7_until_it_is_accepted(production: Production) -> None:
    """One certificate that cannot be migrated is not rounded away; whoever accepts it says which and why."""
    first = production.rows(f"ORDER BY id LIMIT {productions.CERTIFICATES}")
    production.unmark(f"WHERE id <= {first[-1][0]}")
    damaged, key = first[42]
    accept = f"cutover accept --env-file {PRODUCTION.environment_file} --certificate-id {damaged} --reason 'a test'"
    with productions.damaged_file(key):
        text, record = failed(production, production.play(7), 7, "FAIL", mode="dual-write", switched=[])
        assert criteria(record)["migrated"] == "FAIL"
        for told in (text, record["message"]):
            assert f"{damaged} {key} damaged_local" in told
        assert "cutover accept --env-file" in text
        assert [each for each, _ in production.rows("WHERE migrated_to_s3_at IS NULL")] == [damaged]
        try:
            accepted = deployed_site.shell("production", accept)
            assert accepted.returncode == 0, accepted.stderr
            passed(production.play(7))
        finally:
            deployed_site.shell("production", f"{accept} --withdraw")
    record = production.records()[-1]
    assert (record["step"], record["verdict"], record["attempt"]) == (7, "PASS", 2)
    assert record["witnesses"]["accepted"] == 1
    assert production.is_in("dual-write")


def test_wrong_bytes_end_step_8_before_anybody_is_switched(production: Production) -> None:
    """S3 serves wrong bytes as they are: no customer may be the one who finds them."""
    before, sample = production.pids(), production.rows("WHERE migrated_to_s3_at IS NOT NULL ORDER BY id LIMIT 100")
    (wrong, key) = sample[7]
    with (
        productions.other_object(production.lab, key),
        productions.marked_alone(production, [row for row, _ in sample]),
    ):
        text, record = failed(production, production.play(8), 8, "FAIL", mode="dual-write", switched=[])
    assert criteria(record) == {"shadow_reads_equal": "FAIL"}
    assert production.pids() == before
    for told in (text, record["message"]):
        assert "step 8 FAIL: shadow reads: of 100 certificates 100 came from S3 and 99 are what was issued" in told
        assert f"; {wrong} " in told


def test_fallbacks_end_the_soak_of_step_8(production: Production) -> None:
    """S3 refuses the workers after the first batch: customers are served, and step 8 goes back all the same."""
    run = production.start(8)
    run.reaches("changed: [production-worker2 ->")
    with productions.reads_denied(production.lab):
        switched = [f"production-worker{number}" for number in range(1, 7)]
        text, record = failed(production, run.wait(), 8, "FAIL", mode="dual-write", switched=switched)
    assert criteria(record)["customer_errors"] == "PASS"
    assert record["fallbacks"]
    for told in (text, record["message"]):
        assert "step 8 FAIL: STOPPED: read_fallback_ratio is " in told
        assert "AccessDenied" in told


def test_emergency_outlasts_the_step_that_it_interrupts(production: Production, tmp_path: Path) -> None:
    """Somebody rolls back while another one's step 8 soaks: the step must not put one worker back on S3."""
    production.wait_for_alarms(8, quiet_seconds=productions.QUIET_SECONDS)
    run = production.start(8)
    run.reaches(LOOKED)
    emergency = playbook.run(
        "emergency-rollback.yml", "-e", f"evidence_copies={production.copies}", log_directory=tmp_path
    )
    passed(emergency)
    assert production.is_in("local")
    rolled_back = production.pids()
    text = said(run.wait())
    assert production.is_in("local")
    assert production.pids() == rolled_back
    rollback, record = production.records()[-2:]
    assert (rollback["kind"], rollback["verdict"]) == ("rollback", "PASS")
    assert (record["step"], record["verdict"]) == (8, "ERROR")
    assert [each.partition(" ")[0] for each in record["superseded"]] == list(WEBS)
    for told in (text, record["message"]):
        assert "step 8 SUPERSEDED: an emergency rollback came first" in told
        assert "nothing was taken back" in told


def test_uploads_that_s3_denies_stop_the_canary(production: Production) -> None:
    """The soak ends at the second failed save, not after half an hour of them, and nobody else was switched."""
    if not production.is_in("local"):
        production.sudo_on_all("deltacrown-s3-rollback")
    before, began = production.pids(), time.monotonic()
    run = production.start(6)
    run.reaches(READY)  # later than the doctor, which would refuse it
    with paging.uploads_denied(production.lab, "production"):
        text, record = failed(production, run.wait(), 6, "FAIL", mode="local", switched=[CANARY])
    assert time.monotonic() - began < 7200 / TIME_SCALE
    assert restarted(before, production.pids()) == {CANARY}
    assert criteria(record)["customer_errors"] == "PASS"
    for told in (text, record["message"]):
        assert "step 6 FAIL: STOPPED: save_fail_ratio is 1 " in told
        assert "AccessDenied" in told
    assert chain.compare(chain.read(production.chain).proven(), chain.read(production.copies)) is None
