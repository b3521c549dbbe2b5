"""A drill of two machines that are this one: what refuses it, what ends it on its way back, and what it leaves."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from cutover import plan
from tests.playbooks import stub_deployment
from tests.playbooks.local_play import PLAYBOOKS, program
from tests.playbooks.stub_deployment import Deployment

if TYPE_CHECKING:
    from pathlib import Path

LOCAL, DUAL_WRITE, S3_READS = "false,false,false", "true,false,true", "true,true,true"
ASKED = plan.load().rollback.drill_downloads
# Holds the flags of all machines in one file; a triple that stands in the file `broken` leaves its workers unproven.
SCRIPT = """
echo "script $*" >>$home/calls
hold() { echo "$1" >$home/flags.$$ && mv $home/flags.$$ $home/flags; } # the other machine's may be reading it
case "$1" in
    --flags) flags=$2; hold "$2" ;;
    --status) ;;
    *) hold false,false,false ;;
esac
set -- $(tr , ' ' <$home/flags)
proven=true; grep -qsx "$flags" $home/broken && [ -n "$flags" ] && proven=false
printf '{"machine": "m", "worker": "worker1", "pid": 7, "started": "2026-11-28T05:00:00Z", "dual_write": %s, ' $1
printf '"read_primary": %s, "backfill": %s, "proven": %s}\\n' $2 $3 $proven
$proven && failed= || failed='"worker1"'
printf '{"machine": "m", "done": %s, "seconds": 1, "failed": [%s], "epoch": 4, "fenced": %s}\\n' $proven "$failed" \\
    $([ -e $home/fenced ] && echo true || echo false)
$proven
"""
CUTOVER = """
echo "cutover $*" >>$home/calls
case "$1" in
    evidence) cat >$home/sealed.json; echo '{"file": "f", "sha256": "s"}' ;;
    alarms) case "$*" in *--lift*) answer lift ;; *) answer silence ;; esac ;;
    worker-requests) touch $home/asked; answer worker ;;
    journal) if [ -e $home/asked ]; then answer journal-after; else answer journal-before; fi ;;
    *) answer "$1" ;;
esac
"""


def journal(success: int, fallback: int = 0) -> dict[str, Any]:
    metrics = {"cert.s3.read.success": success, "cert.s3.read.fallback": fallback}
    unit = {"metrics": metrics, "server_errors": 0, "first_complaint": "AccessDenied" if fallback else ""}
    return {"units": {"deltacrown-uwsgi@worker1.service": unit}, "measurements": {}, "fallbacks": []}


def shadow(from_s3: int = 100) -> dict[str, Any]:
    failures = [{"certificate_id": 7, "detail": "open() fell back"}] * (100 - from_s3)
    return {
        "migrated": {"asked": 100, "from_s3": from_s3, "equal": 100, "fallbacks": 100 - from_s3},
        "unmigrated": {"asked": 10, "from_local": 10, "equal": 10, "signed": 0},
        "sign_ms": [2.0] * 100,
        "answers": {"asked": 100, "ok": 100},
        "failures": failures,
    }


@dataclass(frozen=True)
class Drilled:
    """Staging, which a test breaks somewhere before it is drilled."""

    deployment: Deployment
    home: Path

    def says(self, name: str, document: Any, code: int = 0, stderr: str = "") -> None:
        self.deployment.says(name, document, code, stderr)

    def drill(self, *arguments: str) -> tuple[int, str]:
        """The exit code of a drill, and what Ansible said."""
        site = {
            "deployment": "staging",
            "drill": True,
            "drill_program": f"{self.home}/bin/cutover",
            "evidence_copies": f"{self.home}/copies",
            "site_url": "http://127.0.0.1",
            "aws_region": "us-east-1",
            "test_upload_user": "probe",
            "test_upload_password": "secret",
            "test_upload_tournament": 2,
        }
        return self.deployment.play("emergency-rollback.yml", "-e", json.dumps(site), *arguments)

    @property
    def calls(self) -> list[str]:
        return (self.home / "calls").read_text().splitlines()

    @property
    def flags(self) -> str:
        """What the workers hold in the end."""
        return (self.home / "flags").read_text().strip()

    @property
    def sealed(self) -> dict[str, Any]:
        record: dict[str, Any] = json.loads((self.home / "sealed.json").read_text())
        return record

    def order(self, *parts: str) -> None:
        """The first calls that have these parts came one after the other."""
        places = [next((n for n, call in enumerate(self.calls) if part in call), -1) for part in parts]
        assert -1 not in places, (parts, places)
        assert places == sorted(places), (parts, self.calls)


@pytest.fixture
def drilled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Drilled:
    """Staging in s3-reads, of which a drill passes; its seconds of waiting are one."""
    table = yaml.safe_load((PLAYBOOKS.parent / "ops/cutover.yml").read_text())
    table["data_tools"]["sweep"]["young_seconds"] = table["preflight"]["clock_skew_seconds"] = 1
    (tmp_path / "table.yml").write_text(yaml.safe_dump(table, sort_keys=False))
    monkeypatch.setenv("CUTOVER_PLAN", str(tmp_path / "table.yml"))
    deployment = Deployment.ready_for(tmp_path, 5)
    head = f"home={tmp_path}\nanswers={tmp_path}/answers\n{stub_deployment.ANSWER}"
    program(tmp_path / "bin", "cutover", head + CUTOVER)
    program(tmp_path / "bin", "deltacrown-s3-rollback", head + SCRIPT)
    program(tmp_path / "bin", "sudo", '[ "$1" = -n ] && shift; exec "$@"')
    program(tmp_path / "bin", "logger", "exit 0")
    program(tmp_path / "bin", "journalctl", 'echo \'{"__CURSOR": "c"}\'')
    (tmp_path / "flags").write_text(S3_READS)
    module = deployment.playbooks / "library/cutover_lock.py"
    module.write_text(module.read_text().replace("/run/deltacrown/cutover.lock", f"{tmp_path}/cutover.lock"))
    made = Drilled(deployment, tmp_path)
    made.says("restore", {"from_quarantine": 0, "errors": [], "directory": "/q"})
    made.says("silence", "staging: s3 sends no page until 12:00 UTC")
    made.says("lift", "")
    made.says("sweep", {"found": 2, "marked": 2, "objects_uploaded": 4, "errors": [], "stopped": None})
    made.says("site", shadow())
    ids = list(range(ASKED))
    made.says("downloads", {"migrated": {"asked": ASKED, "equal": ASKED}, "ids": ids, "failures": []})
    made.says("worker", {"asked": ASKED, "done": ASKED, "failures": [], "ids": ids})
    made.says("journal-before", journal(3))
    made.says("journal-after", journal(3 + ASKED))
    return made


def test_a_drill_goes_and_returns(drilled: Drilled) -> None:
    """Nobody reads from S3 before what was issued meanwhile is there, and one machine before the others."""
    code, said = drilled.drill()
    assert code == 0, said
    assert "is back in s3-reads after" in said
    assert drilled.flags == S3_READS
    drilled.order("--dry-run", "--minutes 60", "script local", f"--flags {DUAL_WRITE}", "sweep", "--migrated")
    drilled.order("sweep", f"--flags {S3_READS}", "worker-requests download", "--certificate-id", "--lift", "append")
    readers = [n for n, call in enumerate(drilled.calls) if f"--flags {S3_READS}" in call]
    asked = [n for n, call in enumerate(drilled.calls) if "worker-requests" in call]
    assert readers[0] < asked[0] < readers[1]
    record = drilled.sealed
    assert (record["kind"], record["verdict"], record["mode"]) == ("drill", "PASS", "s3-reads")
    assert 0 < record["seconds_to_prepare"] < record["seconds"] < record["seconds_to_return"]
    assert record["sweep"]["marked"] == 2
    criteria = {criterion["criterion"]: criterion["verdict"] for criterion in record["criteria"]}
    assert set(criteria) == {"seconds_to_proof", *plan.load().steps[4].criteria}
    assert set(criteria.values()) == {"PASS"}


def test_from_dual_write_nobody_reads_from_s3(drilled: Drilled) -> None:
    (drilled.home / "flags").write_text(DUAL_WRITE)
    code, said = drilled.drill("-e", "drill_silence=false")
    assert code == 0, said
    assert "NOT SILENCED (drill_silence=false)" in said
    assert "is back in dual-write after" in said
    assert drilled.flags == DUAL_WRITE
    assert not [call for call in drilled.calls if "alarms" in call or S3_READS in call or "sweep" in call]


def test_a_drill_that_would_restart_nobody_does_not_begin(drilled: Drilled) -> None:
    """No worker in dual-write reads from S3; what is kept is proven in a second, and that is no drill."""
    (drilled.home / "flags").write_text(DUAL_WRITE)
    code, said = drilled.drill("-e", "scenario=reads")
    assert code == 2
    assert "NOT STARTED, nothing was changed: scenario reads turns off no flag of dual-write" in said
    assert [call for call in drilled.calls if "script" in call] == ["script --status"] * 2


def test_a_drill_that_cannot_be_silenced_does_not_begin(drilled: Drilled) -> None:
    """An on-call who is woken by a drill believes the next page, too, to be one."""
    drilled.says("silence", "", 4, "cutover: these credentials may not do it: cloudwatch:PutMetricData is needed")
    code, said = drilled.drill()
    assert code == 2
    assert "NOT STARTED, nothing was changed: the drill cannot be silenced: cutover: these credentials" in said
    assert "-e drill_silence=false" in said
    assert drilled.flags == S3_READS
    assert not [call for call in drilled.calls if "script local" in call]


def test_a_drill_is_not_held_under_a_fence(drilled: Drilled) -> None:
    """Every save of the returned writers fails, and the alarms are silenced."""
    (drilled.home / "fenced").touch()
    code, said = drilled.drill()
    assert code == 2
    assert "m1 says that staging is fenced" in said
    assert "ansible-playbook unfence.yml -e deployment=staging first" in said
    assert [call for call in drilled.calls if "script" in call] == ["script --status"] * 2


def test_a_drill_does_not_end_a_step_that_runs(drilled: Drilled) -> None:
    """A soak of a week is lost to practice, and its step is SUPERSEDED."""
    lock = drilled.home / "cutover.lock"
    lock.write_text(json.dumps({"holder": "amina", "step": 8}))
    code, said = drilled.drill()
    assert code == 2
    assert "is held (holder amina, step 8): wait for that step" in said
    assert drilled.flags == S3_READS
    assert lock.exists()
    assert not [call for call in drilled.calls if "alarms" in call or "script local" in call]


@pytest.mark.parametrize(
    "found",
    [
        {"from_quarantine": 1, "errors": []},
        {"from_quarantine": 0, "errors": [{"key": "a", "cause": "occupied"}]},
    ],
)
def test_a_drill_moves_no_file_out_of_quarantine(drilled: Drilled, found: dict[str, Any]) -> None:
    drilled.says("restore", found | {"directory": "/media.quarantine"}, 1 if found["errors"] else 0)
    code, said = drilled.drill()
    assert code == 2
    assert "NOT STARTED, nothing was changed: local copies of staging lie in /media.quarantine" in said
    assert [call for call in drilled.calls if "script" in call] == ["script --status"] * 2


def test_a_data_host_that_cannot_say_refuses_the_drill(drilled: Drilled) -> None:
    drilled.says("restore", "", 4, "cutover: the disk is away")
    code, said = drilled.drill()
    assert code == 2
    assert "ERROR, could not measure: `cutover restore --quarantined-only` on m1 ended with 4" in said
    assert drilled.flags == S3_READS


def failed(drilled: Drilled, sentence: str, *, flags: str) -> str:
    """What a drill said that failed on its way back; it is recorded, pages come again, and this is what is held."""
    code, said = drilled.drill()
    assert code == 2, said
    assert sentence in said
    assert drilled.flags == flags
    assert [call for call in drilled.calls if "--lift" in call]
    assert (drilled.sealed["kind"], drilled.sealed["verdict"]) == ("drill", "FAIL")
    assert sentence in drilled.sealed["message"]
    return said


@pytest.mark.parametrize(
    ("name", "document", "code", "sentence"),
    [
        (
            "sweep",
            {"errors": [{"certificate_id": 7, "cause": "s3_denied"}], "stopped": None},
            1,
            "not everything that was issued meanwhile is in S3 and marked; 7 s3_denied",
        ),
        ("site", shadow(99), 1, "the read gate says FAIL: FAIL migrated_from_s3: measured 0.99"),
    ],
)
def test_readers_stay_local_before_a_gate_that_says_no(
    drilled: Drilled, name: str, document: Any, code: int, sentence: str
) -> None:
    drilled.says(name, document, code)
    said = failed(drilled, sentence, flags=DUAL_WRITE)
    assert (
        "the fleet is in dual-write on m1, m2. Next, once the cause is mended: ansible-playbook go-live-step4.yml"
        in said
    )
    assert not [call for call in drilled.calls if f"--flags {S3_READS}" in call]


def test_readers_of_a_machine_that_falls_back_are_taken_back(drilled: Drilled) -> None:
    """The customer got the bytes, from the local disk: without the journal the drill would have passed."""
    drilled.says("journal-after", journal(3 + ASKED - 1, 1))
    said = failed(
        drilled, "read 1 certificates from local files, since S3 did not give them (AccessDenied)", flags=DUAL_WRITE
    )
    assert "m1: deltacrown-uwsgi@worker1.service read 1" in said
    assert len([call for call in drilled.calls if f"--flags {S3_READS}" in call]) == 1  # the second machine never did


def test_a_machine_that_does_not_return_ends_the_drill(drilled: Drilled) -> None:
    (drilled.home / "broken").write_text(f"{DUAL_WRITE}\n")
    failed(drilled, f"m1 did not return to {DUAL_WRITE}", flags=DUAL_WRITE)
    assert not [call for call in drilled.calls if "sweep" in call]


def test_a_rollback_that_fails_in_a_drill_is_heard(drilled: Drilled) -> None:
    """It is no drill any more: whoever is on call must hear of it, and nothing returns."""
    program(
        drilled.home / "bin",
        "sudo",
        'case "$*" in *local*) echo no >&2; exit 1 ;; esac; [ "$1" = -n ] && shift; exec "$@"',
    )
    code, said = drilled.drill()
    assert code == 2
    assert "NOT PROVEN after" in said
    assert [call for call in drilled.calls if "--lift" in call]
    assert (drilled.sealed["kind"], drilled.sealed["verdict"]) == ("drill", "FAIL")
    assert not [call for call in drilled.calls if "--flags" in call]


def test_a_silence_that_cannot_be_lifted_is_no_good_end(drilled: Drilled) -> None:
    (drilled.home / "flags").write_text(DUAL_WRITE)
    drilled.says("lift", "", 4, "cutover: CloudWatch could not be asked")
    code, said = drilled.drill()
    assert code == 2
    assert "the drill passed and is recorded, but STILL SILENT, for minutes: 60 at most (cutover: CloudWatch" in said
    assert "Lift it: cutover alarms silence --deployment staging --region us-east-1 --lift" in said
    assert drilled.sealed["verdict"] == "PASS"


def test_a_real_emergency_is_never_silenced(drilled: Drilled) -> None:
    drilled.says("journal-after", journal(0))  # its workers read locally, as its validation demands
    code, said = drilled.drill("-e", "drill=false")
    assert code == 0, said
    assert "ROLLED BACK: 2 processes proven" in said
    assert not [call for call in drilled.calls if "alarms" in call or "restore" in call]


def test_sudo_that_asks_for_a_password_is_named_at_once(drilled: Drilled) -> None:
    """Without `-n` the emergency would wait for a password that nobody types."""
    program(drilled.home / "bin", "sudo", '[ "$1" = -n ] || exec sleep 60; echo "sudo: a password is required"; exit 1')
    code, said = drilled.drill("-e", "drill=false")
    assert code == 2
    assert "m1: sudo asks for a password: run `sudo deltacrown-s3-rollback <scenario>` there" in said
