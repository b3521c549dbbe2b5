"""Whom an emergency fences and what it says of it, by the machines' answers; played: test_fence_play.py."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cutover import fence_plan

MACHINES = ["m1", "m2", "m3"]
ORDER = {"fence": "machine", "fence_machines": "", "deployment": "production", "drill": False, "limit_workers": ""}


def answered(*, proven: bool = True) -> dict[str, Any]:
    """What a machine said to the rollback."""
    process = {"machine": "m", "worker": "worker1", "pid": 7, "proven": proven}
    return {"stdout": f"{json.dumps(process)}\n{json.dumps({'done': proven, 'failed': []})}"}


def hosts(**results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Machines that are proven, but for those that are named."""
    return {name: {"emergency_result": results.get(name, answered())} for name in MACHINES}


AWAY: dict[str, Any] = {"unreachable": True}
UNPROVEN = answered(proven=False)
CUT_OFF = {"stdout": ""}


@pytest.mark.parametrize(
    ("order", "sentence"),
    [
        ({"fence": "all"}, 'fence is "all": give machine or role'),
        ({"fence": "", "fence_machines": "m2"}, "names machines and no fence"),
        ({"fence": "role", "fence_machines": "m2"}, "names machines and no fence"),
        ({"fence_machines": "m2,m9"}, "fence_machines names m9, no machine of production"),
        ({"deployment": "all"}, "a fence is of one deployment"),
        ({"fence": "role", "limit_workers": "worker1"}, "leave limit_workers out"),
        ({"fence": "role", "drill": True}, "a drill fences nobody"),
    ],
)
def test_an_order_that_is_not_clear_is_refused(order: dict[str, Any], sentence: str) -> None:
    """Half of it would be done before the typing error shows."""
    assert sentence in fence_plan.problem_of_order(ORDER | order, MACHINES)


@pytest.mark.parametrize("order", [{}, {"fence": "role"}, {"fence_machines": "m2, m3"}, {"fence": ""}])
def test_a_clear_order_is_none_of_these(order: dict[str, Any]) -> None:
    assert fence_plan.problem_of_order(ORDER | order, MACHINES) == ""


@pytest.mark.parametrize(
    ("results", "order", "sentence"),
    [
        (
            {"m2": AWAY, "m3": UNPROVEN},
            {},
            "m3 can be reached and is not proven, and the rollback comes before a fence",
        ),
        ({"m3": CUT_OFF}, {"fence": "role"}, "m3 can be reached and is not proven"),
        (
            {"m2": AWAY, "m3": UNPROVEN},
            {"fence_machines": "m2"},
            "or fence it, too: -e fence=machine -e fence_machines=m2,m3",
        ),
        ({}, {}, "every machine is proven, so there is none to fence"),
        ({}, {"fence_machines": "m1,m2,m3"}, "m1, m2, m3 is every machine of the deployment"),
        (dict.fromkeys(MACHINES, AWAY), {}, "-e fence=role denies S3 and leaves the load balancer alone"),
    ],
)
def test_nobody_is_fenced_before_the_rollback_or_without_need(
    results: dict[str, Any], order: dict[str, Any], sentence: str
) -> None:
    """The load balancer has nobody left; or a machine that answers goes on writing to S3 while others are fenced."""
    found = fence_plan.choice(hosts(**results), MACHINES, ORDER | order)
    assert sentence in found["problem"]
    assert found["machines"] == []


@pytest.mark.parametrize(
    ("results", "order", "fenced", "marked"),
    [
        ({"m2": AWAY}, {}, ["m2"], ["m1", "m3"]),
        ({"m2": AWAY, "m3": UNPROVEN}, {"fence_machines": "m2,m3"}, ["m2", "m3"], ["m1", "m3"]),
        ({}, {"fence_machines": "m1"}, ["m1"], MACHINES),
        ({"m2": AWAY}, {"fence": "role"}, [], ["m1", "m3"]),
    ],
)
def test_those_are_fenced_that_are_meant(
    results: dict[str, Any], order: dict[str, Any], fenced: list[str], marked: list[str]
) -> None:
    found = fence_plan.choice(hosts(**results), MACHINES, ORDER | order)
    assert found == {"problem": "", "machines": fenced, "marked": marked}


@pytest.mark.parametrize(
    ("results", "offered"),
    [
        ({"m2": AWAY}, "rollback -e fence=machine"),
        (dict.fromkeys(MACHINES, AWAY), "rollback -e fence=role"),
        ({"m2": AWAY, "m3": UNPROVEN}, ""),
        ({}, ""),
    ],
)
def test_a_fence_is_offered_only_when_all_others_are_proven(results: dict[str, Any], offered: str) -> None:
    """Whoever reads it at night types it, and the machine that answers stays on S3."""
    said = fence_plan.offer(hosts(**results), MACHINES, "rollback")
    assert said.endswith(offered)
    assert bool(said) == bool(offered)


def test_the_offered_command_is_not_refused_after_a_purge() -> None:
    """Whoever accepted that 12 files are unreadable types what the report says, and is refused."""
    command = "ansible-playbook emergency-rollback.yml -e deployment=staging -e scenario=reads"
    assert fence_plan.rollback_command("staging", "reads", 0) == command
    assert fence_plan.rollback_command("staging", "reads", 12) == f"{command} -e accept_unreadable=12"


def outcome(**changes: Any) -> list[str]:
    """The problems of a fence of m2 that went well, but for the changes."""
    machines: dict[str, dict[str, Any]] = {"m2": {"aws_session_name": "i-2"}}
    machines["m2"] |= changes.pop("variables", {})
    results = {
        "drained": [{"item": ["m2", "lb1"], "rc": 0}],
        "denied": {"rc": 0, "stdout": '{"role": "r", "sessions": ["i-2"], "whole_role": false}'},
        "marked": [{"item": "m1", "state": "file"}],
    } | changes
    chosen = {"machines": ["m2"], "command": ["cutover", "fence"]}
    found = fence_plan.outcome(machines, chosen, results, "production")
    assert found["lines"][-1].endswith("ansible-playbook unfence.yml -e deployment=production")
    return found["problems"]


def test_a_whole_fence_has_no_problem() -> None:
    assert outcome() == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"drained": [{"item": ["m2", "lb1"], "skipped": True}]},
            "balancer (the inventory has no drain_command, or one that",
        ),
        (
            {"drained": [], "drain_broke_off": "'x' is undefined"},
            "m2 is NOT out of the load balancer ('x' is undefined)",
        ),
        ({"drained": []}, "(the inventory's group load_balancer is empty)"),
        ({"drained": [{"item": ["m2", "lb1"], "rc": 3, "stdout": "no such backend\n"}]}, "(lb1: no such backend)"),
        ({"drained": [{"item": ["m2", "lb1"], "unreachable": True}]}, "(lb1: it cannot be reached)"),
        ({"variables": {"aws_session_name": ""}}, "S3 is NOT denied to m2: the inventory has no aws_session_name"),
        (
            {"denied": {"rc": 4, "stderr": "cutover: no\n"}},
            "S3 is NOT denied: cutover: no. Once AWS answers: cutover fence",
        ),
        ({"denied": {"msg": "no such program"}}, "S3 is NOT denied: no such program"),
        ({"marked": []}, "no mark could be left on any machine"),
        ({"marked": [{"item": "m1", "unreachable": True}]}, "no mark could be left on m1"),
        ({"marked": [{"item": "m1", "msg": "No space left on device"}]}, "no mark could be left on m1"),
    ],
)
def test_half_a_fence_is_named(changes: dict[str, Any], sentence: str) -> None:
    """The report says that the machine is fenced, and it serves customers, or writes to S3."""
    (problem,) = outcome(**changes)
    assert sentence in problem


def test_a_mark_keeps_what_others_have_fenced() -> None:
    """The second fence forgets the first machine, and the way back leaves it out for ever."""
    new = {"machines": {"m3": "i-3"}, "role": False, "s3_denied": True, "by": "ana@laptop"}
    old = {"machines": {"m2": "i-2"}, "role": True, "s3_denied": False, "since": "2026-11-24T10:00:00Z"}
    found = json.loads(fence_plan.mark([json.dumps(old), "torn"], new, "production"))
    assert found["machines"] == {"m2": "i-2", "m3": "i-3"}
    assert (found["role"], found["s3_denied"], found["since"]) == (True, False, "2026-11-24T10:00:00Z")
    assert "\n" not in json.dumps(found)


@pytest.mark.parametrize(
    ("old", "new", "denied"),
    [
        ({"machines": {"m2": "i-2"}}, {"machines": {"m2": "i-2"}}, True),
        ({"machines": {"m2": "i-2"}}, {"machines": {"m3": "i-3"}}, False),
        ({"machines": {"m2": "i-2"}}, {"machines": {}, "role": True}, True),
        ({"machines": {}, "role": True}, {"machines": {"m2": "i-2"}}, False),
        ({"machines": {"m2": "i-2"}}, {"machines": {"m2": "i-2"}, "s3_denied": False}, False),
    ],
)
def test_a_fence_that_is_set_again_once_aws_answers_is_whole(
    old: dict[str, Any], new: dict[str, Any], *, denied: bool
) -> None:
    """`cutover status` says for days that S3 is not denied, or that it is where it is not."""
    ordered = {"role": False, "s3_denied": True, "by": "ana@laptop"} | new
    found = fence_plan.mark([json.dumps({"s3_denied": False} | old)], ordered, "production")
    assert json.loads(found)["s3_denied"] is denied


def status(machine: str, flags: str = "false,false,false") -> dict[str, Any]:
    """What a machine with one worker says to --status."""
    values = dict(zip(("dual_write", "read_primary", "backfill"), map(json.loads, flags.split(",")), strict=True))
    process = {"machine": machine, "worker": "worker1", "pid": 7, "proven": True, **values}
    return {"item": machine, "rc": 0, "stdout": f"{json.dumps(process)}\n{json.dumps({'done': True, 'failed': []})}"}


INVENTORY = {name: {"aws_session_name": name.replace("m", "i-")} for name in MACHINES} | {
    f"w-{name}": {"machine": name, "worker_unit": "deltacrown-uwsgi@worker1.service"} for name in MACHINES
}


def unfenced(changed: dict[str, Any], named: str = "", **denied: Any) -> dict[str, Any]:
    """The choice where no machine has a mark, and AWS denies this."""
    statuses = [status(name) | changed.get(name, {}) for name in MACHINES]
    return fence_plan.unfence_choice(INVENTORY, statuses, {}, {"sessions": [], "whole_role": False} | denied, named)


def test_what_aws_alone_knows_is_unfenced_like_the_rest() -> None:
    found = unfenced({}, sessions=["i-2", "i-gone"])
    assert (found["problem"], found["machines"], found["role"]) == ("", ["m2"], False)
    assert found["sessions"] == ["i-2", "i-gone"]
    alone = unfenced({}, "m2", sessions=["i-2", "i-gone"], whole_role=True)
    assert (alone["sessions"], alone["role"]) == (["i-2"], False)
    assert json.loads(alone["remains"]) == {"machines": {"i-gone": "i-gone"}, "role": True}
    assert unfenced({})["sessions"] == []


def test_the_role_is_not_unfenced_while_two_machines_differ() -> None:
    """One of them would read and write S3 at once, while the others have left it."""
    found = unfenced({"m3": status("m3", "true,true,true")}, whole_role=True)
    assert "hold false,false,false and true,true,true, not one and the same" in found["problem"]
