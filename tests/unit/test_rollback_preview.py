"""`cutover rollback-preview` with recorded answers: what is safe, what is not, and what nobody could measure."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from cutover import cli
from tests.unit.evidence.documents import drill
from tests.unit.status import recorded
from tests.unit.status.recorded import LOCAL, S3_READS, evidence, process

if TYPE_CHECKING:
    from tests.unit.status.recorded import Fleet

SAFE: dict[str, Any] = {
    "purged": None,
    "quarantine": {"files": 0, "per_second": None},
    "table": {"files": 600, "missing": 0, "named": [], "s3": None},
}
AWAY = {"error": "S3 is\naway"}
RESTORE = "sudo cutover restore --env-file /etc/deltacrown/production.env"


@pytest.fixture
def fleet(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """Production reads from S3; a drill of an hour ago took twelve seconds."""
    found = recorded.healthy(tmp_path, monkeypatch)
    for machine, workers in (("web1", ("worker1", "worker3")), ("web2", ("worker2",))):
        found.processes[machine] = [process(worker, S3_READS) for worker in workers]
    data = found.here["web1"]["data"]
    del data["alarms"]
    data["copies"] = dict(SAFE)
    data["evidence"] = evidence(tmp_path / "drilled", drill("production", "s3-reads", seconds=12))
    return found


def copies(fleet: Fleet, **parts: Any) -> None:
    """Sets what the data host tells of files."""
    fleet.here["web1"]["data"]["copies"] = SAFE | parts


def purged(fleet: Fleet, s3: object) -> None:
    """Forty files are purged, and of two others only S3 can tell whether it has them."""
    table = {"files": 600, "missing": 42, "named": ["certificates/pdf/a.pdf"], "s3": s3}
    copies(fleet, purged={"files": 40, "certificates": 20}, table=table)


def look(fleet: Fleet, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    fleet.write()
    code = cli.main(["rollback-preview", "-i", fleet.inventory, "--json", *arguments])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert found["exit_code"] == code
    return code, found


def screen(fleet: Fleet, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Exit code and lines, with one space for many."""
    fleet.write()
    code = cli.main(["rollback-preview", "-i", fleet.inventory, *arguments])
    return code, "\n".join(" ".join(line.split()) for line in capsys.readouterr().out.splitlines())


def test_where_every_file_lies_locally_it_is_safe(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    """The opposite of every test below."""
    code, text = screen(fleet, capsys)
    assert code == 0, text
    for line in (
        "production: what scenario local would meet",
        "only in S3 none of 600 files",
        "quarantine empty, nothing to put back",
        "background no backfill or sweep runs",
        "SAFE: scenario local makes no certificate unreadable",
        "ansible-playbook emergency-rollback.yml -e deployment=production -e scenario=local",
    ):
        assert line in text.splitlines()
    assert re.search(r"^last drill \d+ \w+ ago \(PASS from s3-reads in 12 s\)$", text, re.MULTILINE)
    assert [line.split()[2] for line in text.splitlines() if re.match(r"p\d ", line)] == ["s3-reads"] * 3


def test_each_machine_is_asked_once_and_the_data_host_for_its_files(
    fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    """A preview that asks for alarms waits for the AWS that is down."""
    screen(fleet, capsys)
    web1, web2 = sorted(fleet.calls().splitlines(), key=lambda call: " 10.0.0.3 " in call)
    assert web1.endswith(
        "status-here --deployment production --env-file /etc/deltacrown/production.env --role-arn arn:ro --copies"
    )
    assert web2.endswith("status-here")


@pytest.mark.parametrize("scenario", ["local", "reads", "inconsistency"])
def test_files_that_only_s3_has_make_it_unsafe(fleet: Fleet, capsys: pytest.CaptureFixture[str], scenario: str) -> None:
    """The on-call learns of forty unreadable certificates from forty customers."""
    purged(fleet, {"files": 42, "certificates": 21, "nowhere": 0, "nowhere_named": []})
    code, text = screen(fleet, capsys, "--scenario", scenario)
    assert code == 1
    assert "only in S3 42 files of 21 certificates (40 of them purged), such as certificates/pdf/a.pdf" in text
    assert f"NOT SAFE: 42 files exist only in S3, and scenario {scenario} makes them unreadable" in text
    command = "ansible-playbook emergency-rollback.yml -e deployment=production"
    assert f"{command} -e scenario=uploads" in text
    assert f"on web1: {RESTORE}" in text
    assert f"{command} -e scenario={scenario} -e accept_unreadable=40" in text


def test_uploads_leaves_them_readable(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    purged(fleet, AWAY)
    code, seen = look(fleet, capsys, "--scenario", "uploads")
    assert (code, seen["only_in_s3"]) == (4, 40)
    copies(fleet, purged={"files": 40, "certificates": 20}, table={"files": 0, "missing": 0, "named": [], "s3": None})
    code, text = screen(fleet, capsys, "--scenario", "uploads")
    assert code == 0
    assert "SAFE: scenario uploads makes no certificate unreadable" in text


def test_files_that_were_never_written_locally_make_it_unsafe(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing was purged, so nothing is asked for; and the disk was full for an hour last week."""
    s3 = {"files": 2, "certificates": 1, "nowhere": 1, "nowhere_named": ["certificates/pdf/b.pdf"]}
    copies(fleet, table={"files": 600, "missing": 3, "named": ["certificates/pdf/a.pdf"], "s3": s3})
    code, text = screen(fleet, capsys)
    assert code == 1
    assert "2 files of 1 certificates (0 of them purged)" in text
    assert "accept_unreadable" not in text
    assert "nowhere 1 files that the table names lie neither locally nor in S3: cutover audit" in text


def test_what_the_purge_left_is_known_without_s3(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    """S3 cannot be listed, so the verdict is "not measured", and forty files are gone."""
    purged(fleet, AWAY)
    code, seen = look(fleet, capsys)
    assert (code, seen["only_in_s3"], seen["certificates"], seen["nowhere"]) == (1, 40, 20, None)
    assert seen["not_measured"] == ["web1: s3 NOT MEASURED: S3 is away"]
    assert seen["commands"]["restore"] == RESTORE


@pytest.mark.parametrize(
    ("parts", "hole"),
    [
        ({"table": {"files": 600, "missing": 3, "named": ["a"], "s3": AWAY}}, "s3 NOT MEASURED: S3 is away"),
        ({"table": {"error": "no database"}}, "table NOT MEASURED: no database"),
        ({"purged": {"error": "no ledger"}}, "purged NOT MEASURED: no ledger"),
        ({"purged": {"files": 0, "certificates": 0}, "table": {"error": "no disk"}}, "table NOT MEASURED: no disk"),
        ({"quarantine": {"error": "no disk"}}, "quarantine NOT MEASURED: no disk"),
    ],
)
def test_what_could_not_be_measured_is_no_safety(
    fleet: Fleet, capsys: pytest.CaptureFixture[str], parts: dict[str, Any], hole: str
) -> None:
    """ "Safe", because nobody could look."""
    copies(fleet, **parts)
    code, text = screen(fleet, capsys)
    assert code == 4
    assert f"NOT MEASURED web1: {hole}" in text or f"NOT MEASUREDweb1: {hole}" in text
    assert "NOT KNOWN: 1 things above could not be measured" in text


@pytest.mark.parametrize("data", [None, {}, {"copies": {"error": "no settings"}}])
def test_a_data_host_that_tells_nothing_of_its_files_is_no_safety(
    fleet: Fleet, capsys: pytest.CaptureFixture[str], data: dict[str, Any] | None
) -> None:
    """A package of before this command, or an environment file that cannot be read."""
    fleet.here["web1"]["data"] = data
    code, seen = look(fleet, capsys)
    assert (code, seen["only_in_s3"], seen["files"], seen["quarantined"]) == (4, None, None, None)
    assert len(seen["not_measured"]) == 1


def test_an_unreachable_machine_is_named_and_is_no_safety(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    fleet.stdout["web2"] = ""
    fleet.ended["web2"] = (255, "ssh: connect to host 10.0.0.3 port 22: No route to host\n")
    code, seen = look(fleet, capsys)
    assert code == 4
    assert "web2 (10.0.0.3) cannot be reached" in seen["not_measured"][0]
    assert [worker["mode"] for worker in seen["workers"]] == ["s3-reads", "?", "s3-reads"]


def test_an_empty_table_proves_nothing(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    """The environment file leads to a fresh database, and everything is safe."""
    copies(fleet, table={"files": 0, "missing": 0, "named": [], "s3": None})
    code, text = screen(fleet, capsys)
    assert code == 3
    assert "NOT PROVEN: the table names no file" in text


def test_the_quarantine_would_come_back_first(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody knows how long the emergency is going to take after step 10."""
    copies(fleet, quarantine={"files": 500, "per_second": 1000.0})
    code, text = screen(fleet, capsys)
    assert code == 0
    assert "quarantine 500 files would be put back first, in about 0.5 s at this disk's rate" in text
    copies(fleet, quarantine={"files": 500, "per_second": None})
    assert "500 files would be put back first, in NOT MEASURED" in screen(fleet, capsys)[1]


def test_a_run_is_named_and_what_stays_degraded_is_told(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    """The rollback stops a backfill that nobody thought of, and S3 lacks certificates for weeks."""
    fleet.here["web1"]["data"]["runs"] = [
        {
            "kind": "backfill", "pid": 7, "host": "web1", "batch": 3, "phase": "running", "rate": 12.0,
            "process": "R", "updated": "2026-11-28T05:00:00+00:00",
        }
    ]  # fmt: skip
    text = screen(fleet, capsys)[1]
    assert "background backfill: pid 7 on web1, batch 3, running" in text
    degraded = look(fleet, capsys)[1]["degraded"]
    assert degraded["local"][0].startswith("new certificates are kept locally only")
    assert degraded["reads"] == [
        "saves still try S3, each up to a second or two longer while it fails",
        "all downloads come from the local disk",
        "the backfill may go on calling S3",
    ]
    for machine in ("web1", "web2"):
        fleet.processes[machine] = [each | dict.fromkeys(("dual_write", "read_primary", "backfill"), False)
                                    for each in fleet.processes[machine]]  # fmt: skip
    assert "local every flag is off already: nothing changes" in screen(fleet, capsys)[1]
    assert LOCAL == (False, False, False)


def test_evidence_that_is_broken_takes_the_last_drill_only(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    """A chain that somebody changed hides which files are unreadable."""
    fleet.here["web1"]["data"]["evidence"] = {"broken": "the evidence in /d is broken at 3"}
    code, seen = look(fleet, capsys)
    assert (code, seen["only_in_s3"], seen["drill"]) == (4, 0, None)
    assert seen["not_measured"] == ["the evidence in /d is broken at 3"]


def test_a_data_host_that_does_not_answer_leaves_nothing_said_of_it(
    fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    """ "No backfill runs" and "never drilled" would be answers that nobody gave."""
    fleet.here["web1"] = {"data": {"error": "killed"}}
    code, text = screen(fleet, capsys)
    assert code == 4
    assert "background NOT MEASURED" in text
    assert "last drill NOT MEASURED" in text


def test_another_deployment_or_scenario_does_not_exist(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    """ "all" has no one exit code."""
    for wrong in (["--deployment", "all"], ["--scenario", "everything"]):
        with pytest.raises(SystemExit) as ended:
            look(fleet, capsys, *wrong)
        assert ended.value.code == 2
