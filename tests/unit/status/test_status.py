"""`cutover status` with recorded answers of machines, good ones and every bad one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cutover import cli, plan
from cutover.status import asking, command, here, locks, sites, workers
from tests.unit.evidence.documents import drill, step
from tests.unit.status import recorded
from tests.unit.status.recorded import DUAL_WRITE, LOCAL, alarm, evidence, now, process, units

if TYPE_CHECKING:
    from tests.unit.status.recorded import Fleet

LOCK = {"holder": "amina", "step": 6, "host": "laptop", "start": "2026-11-28T05:00:00Z", "epoch": 2}


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    return recorded.healthy(tmp_path, monkeypatch)


def look(fleet: Fleet, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit code and the deployments of the JSON document."""
    fleet.write()
    code = cli.main(["status", "-i", fleet.inventory, "--json", *arguments])
    document = json.loads(capsys.readouterr().out)
    assert document["exit_code"] == code
    return code, {state["deployment"]: state for state in document["deployments"]}


def screen(fleet: Fleet, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    fleet.write()
    code = cli.main(["status", "-i", fleet.inventory, *arguments])
    return code, capsys.readouterr().out


def test_a_healthy_fleet_is_all_well(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    """The opposite of every test below; and one screen has no colours where no terminal shows them."""
    code, text = screen(fleet, capsys)
    assert code == 0, text
    assert "4 workers on 3 machines" in text
    assert text.rstrip().endswith("all well")
    assert "\033" not in text
    assert "staging: mode s3-reads" in text
    (row,) = (line for line in text.splitlines() if line.startswith("  p1 "))
    assert row.split()[:6] == ["p1", "web1", "local", "---", "41", "+1"]
    assert "nothing, every step has passed" in text
    assert "step 6: Enable dual-write in production on a canary, then everywhere" in text
    assert "drill never; check 1 h ago (PASS); sweep 1 min ago (PASS)" in text


def test_each_machine_is_asked_once_with_the_inventory_s_settings(
    fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    """A cached connection to a dead machine would hang; an option lost would not connect at all."""
    screen(fleet, capsys)
    calls = fleet.calls().splitlines()
    assert len(calls) == 3
    (web1,) = (call for call in calls if " 10.0.0.2 " in call)
    for part in ("ConnectTimeout=5", "ControlPath=none", "-l operator", "-o IdentitiesOnly=yes"):
        assert part in web1
    assert "sudo -n deltacrown-s3-rollback --status; sudo -n /usr/local/bin/cutover status-here" in web1
    assert "--deployment production --env-file /etc/deltacrown/production.env --role-arn arn:ro" in web1
    (web2,) = (call for call in calls if " 10.0.0.3 " in call)
    assert web2.endswith("status-here")


def test_an_unreachable_machine_is_named_and_the_others_are_shown(
    fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    """One dead machine must not hide nine that live, nor look like a worker in mode local."""
    fleet.stdout["web2"] = ""
    fleet.ended["web2"] = (255, "ssh: connect to host 10.0.0.3 port 22: No route to host\n")
    code, seen = look(fleet, capsys)
    assert code == 4
    assert seen["production"]["unasked"] == [
        "web2 (10.0.0.3) cannot be reached: ssh: connect to host 10.0.0.3 port 22: No route to host"
    ]
    assert [worker["mode"] for worker in seen["production"]["workers"]] == ["local", "?", "local"]
    assert seen["staging"]["unasked"] == []
    assert "p2      web2     not asked" in screen(fleet, capsys)[1]


def test_a_machine_that_hangs_is_named_in_time(
    fleet: Fleet, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that hangs keeps the connection alive and never answers."""
    fleet.hanging.add("web2")
    monkeypatch.setattr(asking.ask, "__defaults__", (0.5,))
    begun = time.monotonic()
    code, seen = look(fleet, capsys)
    assert code == 4
    assert time.monotonic() - begun < 10
    assert seen["production"]["unasked"] == ["web2 (10.0.0.3) did not answer within 0.5 s"]


@pytest.mark.parametrize(
    ("said", "errors", "sentence"),
    [
        ("", "sudo: a password is required", "says: sudo: a password is required"),
        ("{]\x00\n[1, 2]\nnonsense", "", "says: {]"),
        ('{"pid": 1, "worker": "worker2"}\n{"failed": [], "epoch": 0}', "", "says what is no process"),
        (json.dumps(process("worker2")), "", "--status says:"),
    ],
)
def test_garbage_is_no_answer(
    fleet: Fleet, capsys: pytest.CaptureFixture[str], said: str, errors: str, sentence: str
) -> None:
    """An answer that was cut off, or is none, proves nothing of any worker."""
    fleet.stdout["web2"], fleet.ended["web2"] = said, (1, errors)
    code, seen = look(fleet, capsys)
    assert code == 4
    assert sentence in " ".join(seen["production"]["unasked"])
    assert seen["production"]["workers"][1]["mode"] == "?"


def test_workers_show_on_a_machine_without_the_package(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    """The machine script needs nothing but Debian; the truth of the workers must not wait for prepare-hosts."""
    fleet.write()
    fleet.stdout["web2"] = "\n".join((fleet.directory / "10.0.0.3/stdout").read_text().splitlines()[:-1])
    fleet.ended["web2"] = (1, "sudo: /usr/local/bin/cutover: command not found\n")
    code, seen = look(fleet, capsys)
    assert code == 4
    assert seen["production"]["workers"][1]["mode"] == "local"
    assert "command not found; ansible-playbook prepare-hosts.yml" in seen["production"]["unasked"][0]


def test_mixed_modes_without_a_step_are_amiss(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    """What a step left half done, and nobody is at work on it."""
    fleet.processes["web2"] = [process("worker2", DUAL_WRITE)]
    code, seen = look(fleet, capsys)
    assert code == 1
    assert seen["production"]["mode"] == "mixed"
    assert seen["production"]["amiss"] == ["mixed modes, and no step runs: most workers are in local; p2 dual-write"]
    assert "≠ p2" in screen(fleet, capsys)[1]


def test_mixed_modes_of_a_running_step_are_its_business(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    """A canary in its soak is no finding; its overrides are not, either."""
    fleet.processes["web2"] = [process("worker2", DUAL_WRITE)]
    for machine in ("web1", "web2"):
        fleet.here[machine]["lock"] = LOCK
    fleet.here["web2"]["overrides"] = [{"worker": "worker2", "flags": {"CERT_S3_DUAL_WRITE": "true"}}]
    code, seen = look(fleet, capsys)
    assert code == 0
    assert seen["production"]["running"] == "step 6 by amina on laptop since 2026-11-28T05:00:00Z"
    assert seen["production"]["next"]["blocked_by"] == [
        "it runs already, step 6 by amina on laptop since 2026-11-28T05:00:00Z"
    ]


def test_a_missing_flag_is_unproven_not_off(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    """Null is a variable that is not in the environment."""
    fleet.processes["web2"] = [process("worker2", (False, None, False), proven=False)]
    fleet.failed["web2"] = ["worker2"]
    code, seen = look(fleet, capsys)
    assert code == 1
    worker = seen["production"]["workers"][1]
    assert (worker["mode"], worker["flags"]) == ("unproven", "-?-")
    assert worker["problem"] == "unproven: CERT_S3_READ_PRIMARY not in its environment"


@pytest.mark.parametrize(
    ("found", "failed", "problem"),
    [
        ([], ["worker2"], "runs no process"),
        ([process("worker2", proven=False)], ["worker2"], "unproven: its files say otherwise"),
        ([process("worker2"), process("worker2", DUAL_WRITE, 42)], [], "its processes hold different flags: "),
        ([process("worker2"), process("worker9")], [], "worker9 on web2: not in the inventory"),
    ],
)
def test_a_worker_that_is_not_proven_is_amiss(
    fleet: Fleet,
    capsys: pytest.CaptureFixture[str],
    found: list[dict[str, Any]],
    failed: list[str],
    problem: str,
) -> None:
    """A stopped worker, a changed file, half a restart, and one that nobody would roll back."""
    fleet.processes["web2"], fleet.failed["web2"] = found, failed
    code, seen = look(fleet, capsys)
    assert code == 1
    assert problem in " ".join(seen["production"]["amiss"])
    assert "what is amiss below" in seen["production"]["next"]["blocked_by"]


@pytest.mark.parametrize(
    ("lock", "sentence"),
    [
        (LOCK | {"epoch": 1}, "stale lock on web2, step 6 by amina on laptop since 2026-11-28T05:00:00Z: an emergency"),
        (LOCK | {"host": os.uname().nodename, "step": 11}, "no go-live-step11.yml runs on this host any more"),
        ({"holder": "nobody that could be told"}, "it does not say which step on which host"),
        (LOCK, "is not on web1: a restarted machine, or being taken just now"),
    ],
)
def test_a_stale_lock_is_named_with_its_holder(
    fleet: Fleet, capsys: pytest.CaptureFixture[str], lock: dict[str, Any], sentence: str
) -> None:
    """The next step refuses to start because of it, and somebody has to know whom to ask."""
    fleet.here["web2"]["lock"] = lock
    code, seen = look(fleet, capsys)
    assert code == 1
    assert sentence in " ".join(seen["production"]["amiss"])


@pytest.mark.parametrize(
    ("fence", "sentence"),
    [
        (
            {"machines": {"web3": "i-3"}, "role": False},
            "web3 is fenced by ana since 10:00 (told on web1, web2); next: ",
        ),
        (
            {"machines": {}, "role": True, "s3_denied": False},
            "the workers' role is fenced by ana since 10:00, S3 NOT denied",
        ),
        ({}, "something is fenced by ana since 10:00"),
    ],
)
def test_a_fence_is_amiss_and_blocks_the_step(
    fleet: Fleet, capsys: pytest.CaptureFixture[str], fence: dict[str, Any], sentence: str
) -> None:
    """A machine stays out of the load balancer for a week, because nobody remembers that it is."""
    for machine in ("web1", "web2"):
        fleet.here[machine]["fence"] = fence | {"by": "ana", "since": "10:00"}
    code, seen = look(fleet, capsys)
    assert code == 1
    (told,) = [each for each in seen["production"]["amiss"] if "fenced" in each]
    assert sentence in told
    assert told.endswith("next: ansible-playbook unfence.yml -e deployment=production")
    assert "what is amiss below" in seen["production"]["next"]["blocked_by"]


def test_two_holders_are_amiss() -> None:
    """Locks are taken all or none."""
    answers = [
        asking.Answer(name, here={"lock": LOCK | {"holder": holder}}) for name, holder in (("a", "ana"), ("b", "ben"))
    ]
    assert "two steps hold a lock: " in locks.look(answers).problems[0]


def test_overrides_left_behind_are_named(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    """A crash would start that worker with other flags than the machine's file says."""
    fleet.here["web2"]["overrides"] = [{"worker": "worker2", "flags": {"CERT_S3_DUAL_WRITE": "true"}}]
    code, seen = look(fleet, capsys)
    assert code == 1
    assert seen["production"]["amiss"] == [
        "web2 has overrides in /etc/deltacrown/workers, and no step runs: worker2 (true,-,-)"
    ]


def test_the_next_step_is_judged_by_both_chains(
    fleet: Fleet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Step 6 starts from staging's evidence, also where production alone is asked for."""
    _, seen = look(fleet, capsys, "--deployment", "production")
    assert list(seen) == ["production"]
    assert seen["production"]["next"]["step"] == 6
    (blocked,) = seen["production"]["next"]["blocked_by"]
    assert "no rollback drill from s3-reads in staging is recorded" in blocked
    steps = [step(number) for number in range(1, 6)]
    fleet.here["staging1"]["data"]["evidence"] = evidence(tmp_path / "drilled", *steps, drill("staging", "s3-reads"))
    code, seen = look(fleet, capsys, "--deployment", "production")
    assert (code, seen["production"]["next"]["blocked_by"]) == (0, [])
    assert seen["production"]["next"]["command"] == "ansible-playbook go-live-step6.yml"


def test_a_fleet_in_another_mode_blocks_the_step(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    """All workers agree, on a mode from which the next step does not start."""
    for name in ("web1", "web2"):
        fleet.processes[name] = [
            each | {"dual_write": True, "backfill": True} for each in fleet.processes[name]
        ]  # dual-write
    code, seen = look(fleet, capsys)
    assert code == 0
    assert "it starts from mode local, and the workers are in dual-write" in seen["production"]["next"]["blocked_by"]


def test_a_fleet_that_a_scenario_left_behind_may_go_on(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    """After scenario `inconsistency` step 6 starts from reads-off, and the status must not say otherwise."""
    for name in ("web1", "web2"):
        fleet.processes[name] = [each | {"dual_write": True} for each in fleet.processes[name]]
    _, seen = look(fleet, capsys)
    assert seen["production"]["next"]["step"] == 6
    assert not [reason for reason in seen["production"]["next"]["blocked_by"] if "it starts from mode" in reason]


def test_alarms_that_are_not_ok_are_amiss_with_what_to_run(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    """The screen that is opened at 3 a.m. says what the page said."""
    fleet.here["web1"]["data"]["alarms"] = [alarm(), alarm("deltacrown-production-upload-failures", "ALARM")]
    code, text = screen(fleet, capsys)
    assert code == 1
    assert "1 OK, 1 NOT OK (below)" in text
    assert "alarm deltacrown-production-upload-failures is ALARM; next: look there" in text


def test_the_judging_deployment_that_is_silent_is_a_hole(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    """Without staging's evidence nobody knows whether step 6 may start."""
    fleet.ended["staging1"], fleet.stdout["staging1"] = (255, "timed out\n"), ""
    code, seen = look(fleet, capsys, "--deployment", "production")
    assert code == 4
    assert seen["production"]["unasked"] == [
        "the evidence of staging could not be read: cutover status --deployment staging"
    ]


def test_an_old_package_on_the_data_host_is_a_hole(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    """No alarms told is not the same as no alarm."""
    del fleet.here["web1"]["data"]
    fleet.here["web2"] = {"lock": "?"}
    code, seen = look(fleet, capsys)
    assert code == 4
    assert "web1: cutover status-here told nothing of its data" in " ".join(seen["production"]["unasked"])
    assert "web2: cutover status-here says" in " ".join(seen["production"]["unasked"])


@pytest.mark.parametrize("part", ["alarms", "evidence", "units", "runs"])
def test_what_could_not_be_asked_is_not_well(fleet: Fleet, capsys: pytest.CaptureFixture[str], part: str) -> None:
    """No answer of CloudWatch, the chain or systemd is not the same as good news."""
    fleet.here["web1"]["data"][part] = {"error": "Access\nDenied"}
    code, seen = look(fleet, capsys)
    assert code == 4
    assert seen["production"]["unasked"] == [f"web1: {part} could not be asked: Access Denied"]


def test_a_broken_chain_is_amiss_and_judges_nothing(
    fleet: Fleet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A record that was changed by hand may not let a step start."""
    (changed,) = tmp_path.glob("staging-chain/000002-*")
    changed.write_text(changed.read_text().replace("PASS", "FAIL"), encoding="utf-8")
    fleet.here["staging1"]["data"]["evidence"] = here.evidence(tmp_path / "staging-chain")
    code, seen = look(fleet, capsys)
    assert code == 1
    assert "is broken at 000002" in seen["staging"]["amiss"][0]
    assert seen["staging"]["next"] is None


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"cutover_check": {"ExecMainStatus": "1"}}, "the last cutover-check says FAIL"),
        ({"cutover_check": {"ExecMainStatus": "4"}}, "the last cutover-check says ERROR"),
        ({"cutover_check": {"ExecMainExitTimestamp": "@1700000000"}}, "cutover-check ran last at 2023-11-14"),
        ({"deltacrown_sweep": {"ExecMainStatus": "137"}}, "the last deltacrown-sweep says ended with 137"),
        ({"cutover_daily": {"ExecMainStatus": "4"}}, "the last cutover-daily says ERROR"),
    ],
)
def test_data_tools_that_do_not_do_their_work_are_amiss(
    fleet: Fleet, capsys: pytest.CaptureFixture[str], changed: dict[str, dict[str, str]], sentence: str
) -> None:
    """The soak counts on a check each day."""
    fleet.here["web1"]["data"]["units"] = units(**changed)
    code, seen = look(fleet, capsys)
    assert code == 1
    assert sentence in seen["production"]["amiss"][0]


def test_a_sweep_that_has_nothing_to_do_is_well(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    """Before dual-write is on its condition skips it, which is no run and no failure."""
    skipped = {
        "Result": "exec-condition",
        "ExecMainExitTimestamp": "",
        "InactiveEnterTimestamp": f"@{int((now() - timedelta(seconds=30)).timestamp())}",
    }
    fleet.here["web1"]["data"]["units"] = units(deltacrown_sweep=skipped)
    code, text = screen(fleet, capsys, "--deployment", "production")
    assert code == 0
    assert "s ago (skipped: dual-write is off)" in text


def test_a_running_backfill_shows_its_progress(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    """And one that was killed, or that hangs, wants somebody."""
    run = {
        "kind": "backfill", "pid": 7, "host": "web1", "batch": 12, "phase": "running", "rate": 45.34,
        "updated": now().isoformat(), "process": "S", "progress": "40/100 (40.0%) - ETA: 3 minutes",
    }  # fmt: skip
    fleet.here["web1"]["data"]["runs"] = [run]
    code, text = screen(fleet, capsys)
    assert code == 0
    assert "batch 12, running, 45.3 certificates a second, 40/100 (40.0%) - ETA: 3 minutes" in text
    hung = (now() - timedelta(seconds=plan.load().data_tools.hung_seconds + 1)).isoformat()
    for changed, sentence in (
        ({"process": None}, "backfill was killed"),
        ({"process": "T"}, "backfill was stopped by a signal"),
        ({"updated": hung}, "backfill hangs"),
    ):
        fleet.here["web1"]["data"]["runs"] = [run | changed]
        code, seen = look(fleet, capsys)
        assert code == 1
        assert seen["production"]["amiss"][0].startswith(sentence)


def test_fallbacks_are_grouped_by_cause_over_all_machines(
    fleet: Fleet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twelve reads that S3 throttled on two machines are one line."""
    for name, reads in (("web1", 5), ("web2", 7)):
        fleet.here[name]["fallbacks"] = [
            {"cause": "SlowDown", "reads": reads, "workers": 1, "last": f"2026-11-28T05:0{reads}:00Z"}
        ]
    told = [{"at": "2026-11-28T05:00:00Z", "worker": "p1", "cause": None}] * 2
    fleet.here["web1"]["data"]["evidence"] = evidence(tmp_path / "told", step(6, fallbacks=told))
    code, text = screen(fleet, capsys)
    assert code == 0
    assert "12 in the last hour on 2 workers, last 2026-11-28T05:07:00Z: SlowDown" in text
    assert "2 in the evidence on 1 workers, last 2026-11-28T05:00:00Z: no line tells the cause" in text


def test_text_from_elsewhere_does_not_steer_the_terminal(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    """A holder's name comes from a file on a machine."""
    for machine in ("web1", "web2"):
        fleet.here[machine]["lock"] = LOCK | {"holder": "ana\033[2J\nAMISS"}
    _, text = screen(fleet, capsys)
    assert "step 6 by ana [2J AMISS on laptop" in text


def test_watching_looks_again(
    fleet: Fleet, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it is interrupted."""
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            raise KeyboardInterrupt

    fleet.write()
    monkeypatch.setattr(command, "sleep", wait)
    assert cli.main(["status", "-i", fleet.inventory, "--watch", "5"]) == 130
    assert waits == [5, 5]
    assert capsys.readouterr().out.count("all well") == 2


def test_modes_have_the_table_s_names() -> None:
    """What a scenario leaves behind has its name, too; a flag that is missing is no mode at all."""
    table = plan.load()
    names = {
        flags: workers.mode_of(table, flags) for flags in ("true,true,false", "false,true,false", "null,true,true")
    }
    assert list(names.values()) == ["settled", "uploads-off", "unproven"]
    assert workers.mode_of(table, ",".join(str(flag).lower() for flag in LOCAL)) == "local"


@pytest.mark.parametrize(
    ("inventory", "sentence"),
    [
        ("all: {hosts: {x: }}", "group staging_machines is empty or absent"),
        ("all: [", "has no hosts"),
        (None, "there is no such inventory"),
    ],
)
def test_an_unusable_inventory_is_a_usage_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], inventory: str | None, sentence: str
) -> None:
    """Before any connection."""
    path = tmp_path / "hosts.yml"
    if inventory is not None:
        path.write_text(inventory, encoding="utf-8")
    assert cli.main(["status", "-i", str(path)]) == 2
    assert sentence in capfd.readouterr().err


def test_it_runs_from_anywhere_in_the_checkout(fleet: Fleet, tmp_path: Path) -> None:
    """Without -i it is the inventory of playbooks/ansible.cfg."""
    fleet.write()
    (tmp_path / "ssh").write_text("#!/bin/sh\necho nobody answers >&2\nexit 255\n", encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    run = subprocess.run(
        [sys.executable, "-m", "cutover.cli", "status"],
        cwd=Path(__file__).parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 4, run.stderr
    assert "staging1 (staging1.example.com) cannot be reached: nobody answers" in run.stdout
    assert "NOT ASKED   web2 (web2.example.com) cannot be reached" in run.stdout


def test_outside_of_a_checkout_it_says_so(tmp_path: Path) -> None:
    """Ansible would read /etc/ansible/hosts, somebody else's."""
    with pytest.raises(sites.SitesError, match="is in no checkout"):
        sites.playbooks_directory(tmp_path)
