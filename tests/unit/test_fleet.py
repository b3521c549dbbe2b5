"""The inventory's rules and the machine script's output."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from cutover import fleet

WORKER = {"ansible_host": "web1", "machine": "web1", "worker_unit": "deltacrown-uwsgi@worker1.service"}
GROUPS = {"production_workers": ["w1"], "production_machines": ["web1"]}


def process(flags: str, worker: str = "worker1", machine: str = "web1", pid: int = 7) -> dict[str, Any]:
    dual, read, backfill = (json.loads(flag) for flag in flags.split(","))
    return {
        "machine": machine, "worker": worker, "pid": pid, "proven": True,
        "dual_write": dual, "read_primary": read, "backfill": backfill,
    }  # fmt: skip


def test_sound_inventory_has_no_problem() -> None:
    """The opposite of every refusal below."""
    assert fleet.inventory_problem(GROUPS, {"w1": WORKER}, "production") == ""


@pytest.mark.parametrize(
    ("groups", "worker", "sentence"),
    [
        ({}, WORKER, "production_machines is empty or absent"),
        ({"production_machines": ["web1"]}, WORKER, "production_workers is empty or absent"),
        (GROUPS, WORKER | {"machine": ""}, "worker w1 has no machine"),
        (GROUPS, WORKER | {"machine": "web9"}, "worker w1 is on machine web9"),
        (
            GROUPS | {"production_machines": ["web1", "web2"]},
            WORKER,
            "machine web2 is in production_machines and has no worker",
        ),
    ],
)
def test_inventory_with_a_gap_is_refused(groups: dict[str, list[str]], worker: dict[str, str], sentence: str) -> None:
    """A worker whose machine is not listed would never be rolled back."""
    assert sentence in fleet.inventory_problem(groups, {"w1": worker}, "production")


def test_report_reads_lines_between_other_output() -> None:
    """A pty mixes stderr into stdout."""
    output = f"sudo: hello\r\n{json.dumps(process('true,false,true'))}\n" + json.dumps(
        {"machine": "web1", "done": True, "seconds": 1.5, "failed": []}
    )
    report = fleet.machine_report(output)
    assert report["done"] is True
    assert [entry["pid"] for entry in report["processes"]] == [7]


def test_report_that_was_cut_off_is_not_done() -> None:
    """Half an answer from a machine that died must not look like an answer."""
    assert fleet.machine_report(json.dumps(process("true,false,true")))["done"] is False


def test_missing_flag_is_a_stranger() -> None:
    """null is "unproven", never "off"."""
    (said,) = fleet.processes_not_holding([process("false,false,null")], "false,false,false")
    assert said == "worker1 pid 7 holds false,false,null"


def test_flags_proven_counts_workers_without_processes() -> None:
    """A dead worker has no process that could contradict."""
    reports = [{"processes": [process("true,false,true"), process("true,false,true", pid=8)]}]
    assert fleet.flags_proven(reports, 1, "true,false,true") == (1.0, 2)
    assert fleet.flags_proven(reports, 2, "true,false,true") == (0.5, 2)


def test_worker_that_the_inventory_does_not_list_is_no_bonus() -> None:
    """A forgotten unit in the old mode must not be outvoted by a wrong total."""
    dual = [process("true,false,true"), process("true,false,true", "worker2")]
    reports = [{"processes": [*dual, process("false,false,false", "worker3")]}]
    assert fleet.flags_proven(reports, 2, "true,false,true")[0] == pytest.approx(2 / 3)


def test_dead_worker_is_returned_too() -> None:
    """A worker that crashed in the middle of a step is the one that most needs its old flags."""
    report = {"processes": [process("false,false,false")], "failed": ["worker2"]}
    assert fleet.workers_to_return(report, "false,false,false") == ["worker2"]


@pytest.mark.parametrize(
    ("result", "failure"),
    [
        ({"unreachable": True}, "web1 cannot be reached"),
        (
            {
                "unreachable": True,
                "msg": "Failed to connect:\r\nConnection timed out during banner exchange\r\n",
            },
            "web1 cannot be reached (Connection timed out during banner exchange)",
        ),
        ({"stdout": ""}, "web1: it printed nothing"),
        (
            {"stdout": "sudo: a password is required"},
            "web1: sudo asks for a password: run `sudo deltacrown-s3-rollback <scenario>` there, then allow NOPASSWD",
        ),
        (
            {"stdout": json.dumps({"machine": "web1", "done": True, "seconds": 1, "failed": []})},
            "web1: it printed nothing",
        ),
        (
            {"stdout": json.dumps({"machine": "web1", "done": False, "seconds": 1, "failed": ["worker4"]})},
            "web1: worker4 DOES NOT RUN (journalctl -u deltacrown-uwsgi@worker4)",
        ),
    ],
)
def test_rollback_report_fails_whatever_is_not_proven(result: dict[str, Any], failure: str) -> None:
    """ "Rolled back" without a single proven process is how fleets stay broken overnight."""
    report = fleet.rollback_report([{"inventory_hostname": "web1", "emergency_result": result}])
    assert report["failed"] == [failure]
    assert report["proven"] == 0


@pytest.mark.parametrize(
    ("restored", "failure"),
    [
        ({"rc": 1, "stdout": "a.pdf: occupied\r\n"}, "may not be back (a.pdf: occupied)"),
        ({"rc": 2, "stdout": "", "stderr": "sudo: a password is required"}, "(sudo: a password is required)"),
        ({"rc": 1}, "may not be back (it said nothing)"),
        ({"unreachable": True}, "may not be back (the machine cannot be reached)"),
    ],
)
def test_local_copies_that_may_not_be_back_are_named(restored: dict[str, Any], failure: str) -> None:
    """Every worker proven in local mode, and the files still in quarantine."""
    answer = {"machine": "web1", "done": True, "seconds": 1, "failed": []}
    worker = process("false,false,false") | {"proven": True}
    result = {"stdout": "\n".join(map(json.dumps, (worker, answer)))}
    machine = {"inventory_hostname": "web1", "emergency_result": result, "environment_file": "/etc/deltacrown/x.env"}
    assert fleet.rollback_report([machine | {"emergency_restored": {"rc": 0}}])["failed"] == []
    (named,) = fleet.rollback_report([machine | {"emergency_restored": restored}])["failed"]
    assert failure in named
    assert "sudo cutover restore --quarantined-only --env-file /etc/deltacrown/x.env" in named


def test_holder_of_the_lock_that_was_broken_is_named() -> None:
    """Whoever runs the step that was stopped must hear of it from the person on call."""
    notice = 'deltacrown-s3-rollback: breaking the lock of a running step: {"holder": "amina"}\r'
    answer = {"machine": "web1", "done": True, "seconds": 1, "failed": [], "kept": ["worker1"], "epoch": 5}
    output = "\n".join([notice, json.dumps(process("false,false,false")), json.dumps(answer)])
    report = fleet.rollback_report([{"inventory_hostname": "web1", "emergency_result": {"stdout": output}}])
    assert report["failed"] == []
    done, says = report["lines"]
    assert done.startswith(
        "web1: done, 1 of 1 processes proven in 1 s, epoch 5; not restarted, for they held these flags"
    )
    assert says == 'web1 says: breaking the lock of a running step: {"holder": "amina"}'


def test_machine_that_was_not_rolled_back_is_named_with_what_it_holds() -> None:
    """The person on call must know whether the machine with the full disk still writes to S3."""
    refusal = "deltacrown-s3-rollback: /etc/deltacrown/rollback-epoch cannot be written; nothing was changed"
    answer = {"machine": "web1", "done": False, "seconds": 1, "failed": ["worker1", "worker2"]}
    held = process("true,false,true") | {"proven": False}
    output = "\n".join([refusal, json.dumps(held), json.dumps(answer)])
    report = fleet.rollback_report([{"inventory_hostname": "web1", "emergency_result": {"stdout": output}}])
    (named,) = report["failed"]
    assert (
        "worker2 DOES NOT RUN (journalctl -u deltacrown-uwsgi@worker2); worker1 not proven, holding true,false,"
        in named
    )
    assert "cannot be written; nothing was changed" in named


def test_machine_outside_limit_workers_is_left_out() -> None:
    """A machine that nobody chose is no failure."""
    assert fleet.rollback_report([{"inventory_hostname": "web1"}]) == {"lines": [], "failed": [], "proven": 0}


def test_clock_starts_with_the_program() -> None:
    """A clock that starts at the first task hides the seconds before it."""
    code = (
        "import os, time; time.sleep(0.3); from cutover import fleet; "
        "print(fleet.seconds_since_start_of('marker-program', os.getpid()))"
    )
    output = subprocess.run([sys.executable, "-c", code, "marker-program"], capture_output=True, text=True, check=True)
    assert 0.3 <= float(output.stdout) < 20
    with pytest.raises(LookupError):
        fleet.seconds_since_start_of("no-such-program-runs")


def test_limit_takes_either_name_and_names_strangers() -> None:
    """A slip in `limit_workers` must not roll back somebody else, or nobody."""
    hosts = {"production-w1": WORKER, "web1": {"ansible_host": "web1"}}
    assert fleet.workers_on(hosts, "web1") == ["worker1"]
    assert fleet.workers_on(hosts, "web1", "production-w1") == fleet.workers_on(hosts, "web1", "worker1") == ["worker1"]
    assert fleet.workers_on(hosts, "web1", "worker2") == fleet.workers_on(hosts, "web2") == []
    assert fleet.unknown_workers(hosts, ["web1"], "worker1, worker9") == ["worker9"]


def test_unit_of_another_kind_is_no_worker() -> None:
    """A wrong unit name would make a worker that the machine script does not know."""
    assert "worker_unit uwsgi.service" in fleet.inventory_problem(
        GROUPS, {"w1": WORKER | {"worker_unit": "uwsgi.service"}}, "production"
    )
    with pytest.raises(ValueError, match=r"uwsgi\.service"):
        fleet.worker_of("uwsgi.service")


LAST_LINE = json.dumps({"machine": "web1", "done": True, "seconds": 1, "failed": []})


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        ({"unreachable": True}, "web1 cannot be reached"),
        ({"rc": 1, "stdout": "", "stderr": "sudo: a password is required"}, "web1 says: sudo: a password is required"),
        ({"rc": 0, "stdout": LAST_LINE}, "web1 runs no process of worker1"),
        (
            {"rc": 0, "stdout": f"{json.dumps(process('true,false,true'))}\n{LAST_LINE}"},
            "web1: worker1 pid 7 holds true,false,true",
        ),
    ],
)
def test_only_what_is_seen_to_be_back_is_back(result: dict[str, Any], sentence: str) -> None:
    """ "Taken back" without having looked sends the operator to bed with S3 still on."""
    assert fleet.not_returned([result | {"item": "web1"}], {"w1": WORKER}, "false,false,false") == [sentence]


def test_machine_that_is_back_is_not_named() -> None:
    """The opposite of every sentence above."""
    result = {"item": "web1", "rc": 0, "stdout": f"{json.dumps(process('false,false,false'))}\n{LAST_LINE}"}
    assert fleet.not_returned([result], {"w1": WORKER}, "false,false,false") == []


def test_line_that_was_cut_in_the_middle_costs_that_machine_only() -> None:
    """One machine that died while it answered must not hide what the others said."""
    report = fleet.machine_report(json.dumps(process("true,false,true"))[:30])
    assert report == {"processes": [], "done": False}


def test_two_workers_for_one_unit_are_refused() -> None:
    """Twice the same unit means that another one is missing."""
    groups = GROUPS | {"production_workers": ["w1", "w2"]}
    assert "two workers" in fleet.inventory_problem(groups, {"w1": WORKER, "w2": WORKER}, "production")


def told(machine: str, *processes: dict[str, Any], epoch: int = 3) -> dict[str, Any]:
    """The result of asking a machine for its status."""
    last = {"machine": machine, "done": True, "seconds": 1, "failed": [], "epoch": epoch}
    return {"item": machine, "rc": 0, "stdout": "\n".join(map(json.dumps, [*processes, last]))}


DUAL, OFF = "true,false,true", "false,false,false"
TWO: dict[str, dict[str, Any]] = {
    "w1": WORKER,
    "w2": WORKER | {"machine": "web2"},
    "web1": {"preflight_epoch": 3},
    "web2": {"preflight_epoch": 3},
}


def test_an_emergency_is_seen_by_the_epoch_of_each_machine() -> None:
    """A machine that cannot be asked, or is cut off, has not told that an emergency came."""
    results = [told("web1", epoch=4), told("web2"), {"item": "web1", "unreachable": True}]
    assert fleet.superseded(results[:2], TWO) == ["web1 (epoch 4, this step began at 3)"]
    assert fleet.superseded(results[1:], TWO) == []


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([process(DUAL)], [process(OFF)], []),
        ([process(DUAL)], [process(DUAL)], []),  # switched by an earlier run of the step
        ([process(DUAL)], [process(OFF), process(OFF, "worker9")], []),  # joined in a proven state
        ([process(OFF)], [process(OFF)], ["web1: worker1 pid 7 holds false,false,false"]),
        ([process(DUAL), process(OFF, pid=8)], [process(OFF)], ["web1: worker1 pid 8 holds false,false,false"]),
        ([process(DUAL)], [process("true,true,true")], ["web2: worker1 pid 7 holds true,true,true"]),
        ([process(DUAL)], [process("false,null,false")], ["web2: worker1 pid 7 holds false,null,false"]),
        (
            [process(DUAL)],
            [process(OFF), process("true,true,false", "worker9")],
            ["web2: worker9 pid 7 holds true,true,false"],
        ),
        ([process(DUAL)], [], ["web2 runs no process of worker1"]),
    ],
)
def test_a_worker_that_the_step_did_not_start_so_is_named(
    first: list[dict[str, Any]], second: list[dict[str, Any]], expected: list[str]
) -> None:
    """A deploy in the middle of a soak leaves a fleet that nobody has proven."""
    assert fleet.strays([told("web1", *first), told("web2", *second)], TWO, ["w1"], DUAL, [OFF]) == expected


def test_a_machine_that_does_not_answer_is_named_among_the_strays() -> None:
    results = [{"item": "web1", "unreachable": True}, {"item": "web2", "rc": 2, "stdout": "", "stderr": "no unit"}]
    assert fleet.strays(results, TWO, ["w1"], DUAL, [OFF]) == ["web1 cannot be reached", "web2 says: no unit"]


def test_uploads_count_from_the_last_switch_by_the_slowest_clock() -> None:
    """A certificate of a worker that was still local proves nothing of dual-write."""
    flips = [{"rolling_flip_at": f"2026-11-24T10:0{minute}:00Z"} for minute in (1, 3, 2)]
    assert fleet.switched_since(flips, 5) == "2026-11-24T10:03:05+00:00"


def rolled_back(**last: Any) -> dict[str, Any]:
    """A machine's variables after an emergency; `last` is added to its last line."""
    line = {"machine": "web1", "done": True, "seconds": 1.2, "failed": [], "epoch": 4, **last}
    answer = f"{json.dumps(process('false,false,false') | {'proven': True})}\n{json.dumps(line)}"
    return {"inventory_hostname": "web1", "emergency_result": {"rc": 0, "stdout": answer}}


def test_what_was_stopped_in_the_background_stands_in_the_report() -> None:
    """Whoever wonders why the backfill ended must find it there."""
    report = fleet.rollback_report([rolled_back(stopped=["deltacrown-backfill.service"], running=[])])
    assert report["lines"] == [
        "web1: done, 1 of 1 processes proven in 1.2 s, epoch 4; stopped deltacrown-backfill.service"
    ]
    assert report["failed"] == []


def test_what_could_not_be_stopped_is_no_success() -> None:
    """A backfill that goes on marking rows after an inconsistency makes it worse."""
    report = fleet.rollback_report([rolled_back(stopped=["backfill:71"], running=["backfill:71"])])
    assert report["failed"] == [
        "web1: backfill:71 still runs: kill it there by its pid (systemctl status deltacrown-backfill)"
    ]
