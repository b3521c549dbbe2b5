"""Composite rules, held to the examples of AWS.

Vectors: "Create a composite alarm"
(docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Create_Composite_Alarm.html),
"Rule expressions", and PutCompositeAlarm in the API reference (AlarmRule).
"""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutover.alarms.errors import AlarmError
from cutover.alarms.rules import LONGEST, MOST_CHILDREN, MOST_ELEMENTS, STATES, answer, compile_rule

CPU, DISK, NETWORK = "CPUUtilizationTooHigh", "DiskReadOpsTooHigh", "NetworkOutTooHigh"
ARN = "arn:aws:cloudwatch:us-east-1:123456789012:alarm:disk full"


def state(rule: str, **states: str) -> str:
    return compile_rule(rule).state(states)


@pytest.mark.parametrize(
    ("rule", "alarming"),
    [
        (f"ALARM({CPU}) AND ALARM({DISK})", lambda cpu, disk, _: cpu == disk == "ALARM"),
        (f"ALARM({CPU}) AND NOT ALARM({DISK})", lambda cpu, disk, _: cpu == "ALARM" and disk != "ALARM"),
        (
            f"(ALARM({CPU}) OR ALARM({DISK})) AND OK({NETWORK})",
            lambda cpu, disk, network: "ALARM" in {cpu, disk} and network == "OK",
        ),
        (
            f'(ALARM("{CPU}") OR \nALARM("{DISK}")) AND \nOK("{NETWORK}")',
            lambda cpu, disk, network: "ALARM" in {cpu, disk} and network == "OK",
        ),
        (f"INSUFFICIENT_DATA({CPU})", lambda cpu, _disk, _network: cpu == "INSUFFICIENT_DATA"),
        (
            f"ALARM({CPU}) OR ALARM({DISK}) AND OK({NETWORK})",
            lambda c, d, n: c == "ALARM" or (d == "ALARM" and n == "OK"),
        ),
        (f"NOT ALARM({CPU}) AND ALARM({DISK})", lambda cpu, disk, _: cpu != "ALARM" and disk == "ALARM"),
        (f"NOT (ALARM({CPU}) AND ALARM({DISK}))", lambda cpu, disk, _: not cpu == disk == "ALARM"),
        (f"NOT NOT OK({CPU})", lambda cpu, _disk, _network: cpu == "OK"),
    ],
)
def test_examples_over_all_states(rule: str, alarming: Any) -> None:
    """A wrong precedence pages for every deployment, or never; the last rows pin NOT > AND > OR."""
    compiled = compile_rule(rule)
    for states in product(STATES, repeat=3):
        expected = "ALARM" if alarming(*states) else "OK"
        assert compiled.state(dict(zip((CPU, DISK, NETWORK), states, strict=True))) == expected


@pytest.mark.parametrize(
    ("rule", "expected"), [("TRUE", "ALARM"), ("FALSE", "OK"), ("false", "OK"), ("False OR NOT True", "OK")]
)
def test_constants(rule: str, expected: str) -> None:
    """AWS's way out of a circle of composite alarms is the rule FALSE, which it writes in three ways."""
    assert state(rule) == expected


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        ("ALARM(disk-full)", "disk-full"),
        ("ALARM( disk/full:1 )", "disk/full:1"),
        ('ALARM("disk full, (really)")', "disk full, (really)"),
        (r'ALARM("disk \"full\"")', 'disk "full"'),
        (f'ALARM("{ARN}")', "disk full"),
        ("ALARM(arn:aws-cn:cloudwatch:cn-north-1:1:alarm:a:b)", "a:b"),
        ("alarm(x)", "x"),
    ],
)
def test_names(rule: str, name: str) -> None:
    """An alarm that is not found under its name leaves the composite alarm blind."""
    compiled = compile_rule(rule)
    assert compiled.alarms == (name,)
    assert compiled.state({name: "ALARM"}) == "ALARM"


def test_a_state_may_be_given_by_arn() -> None:
    """The rule and the states may spell an alarm alike, as ARN; then that is its state."""
    assert compile_rule(f'ALARM("{ARN}")').state({ARN: "ALARM", "disk full": "OK"}) == "ALARM"


def test_alarms_are_named_once_and_in_order() -> None:
    """The replay evaluates them first: a missing one would be evaluated too late."""
    assert compile_rule("OK(b) OR AT_LEAST(1, OK, (c, a)) AND ALARM(b)").alarms == ("b", "c", "a")


@pytest.mark.parametrize(
    ("rule", "in_alarm", "expected"),
    [
        ("AT_LEAST(2, ALARM, (a, b, c, d))", "ab", "ALARM"),
        ("AT_LEAST(2, ALARM, (a, b, c, d))", "a", "OK"),
        ("AT_LEAST(50%, ALARM, (a, b, c, d))", "ab", "ALARM"),
        ("AT_LEAST(50%, ALARM, (a, b, c, d))", "a", "OK"),
        ("AT_LEAST(50%, ALARM, (a, b, c))", "ab", "ALARM"),
        ("AT_LEAST(50%, ALARM, (a, b, c))", "a", "OK"),
        ("AT_LEAST(60%, NOT ALARM, (a, b, c, d))", "a", "ALARM"),
        ("AT_LEAST(60%, NOT ALARM, (a, b, c, d))", "ab", "OK"),
        ("AT_LEAST(1%, ALARM, (a))", "", "OK"),
        ('NOT AT_LEAST(1, OK, ("a", b))', "ab", "ALARM"),
    ],
)
def test_at_least(rule: str, in_alarm: str, expected: str) -> None:
    """Half of three is two: rounding down would page for one machine of three."""
    assert compile_rule(rule).state({name: "ALARM" if name in in_alarm else "OK" for name in "abcd"}) == expected


@pytest.mark.parametrize(
    ("rule", "character"),
    [
        ("", None),
        (" ", 2),
        ("ALARM(a) AND", 13),
        ("AND ALARM(a)", 1),
        ("ALARM(a) ALARM(b)", 10),
        ("ALARM(a) NOT ALARM(b)", 10),
        ("(ALARM(a)", 1),
        ("ALARM(a))", 9),
        ("()", 2),
        ("ALARM()", 7),
        ('ALARM("")', 7),
        ("ALARM(a", 8),
        ("ALARM(a b)", 9),
        ("ALARM a", 7),
        ('ALARM("a)', 7),
        ("ALERT(a)", 1),
        ("ALARM(a) XOR ALARM(b)", 10),
        ("ALARM(a) && ALARM(b)", 10),
        ("a", 1),
        ("TRUE(a)", 5),
        ("AT_LEAST(0, ALARM, (a))", 10),
        ("AT_LEAST(2, ALARM, (a))", 10),
        ("AT_LEAST(101%, ALARM, (a))", 10),
        ("AT_LEAST(0%, ALARM, (a))", 10),
        ("AT_LEAST(1.5, ALARM, (a, b))", 10),
        ("AT_LEAST(1, ALERT, (a))", 13),
        ("AT_LEAST(1, ALARM, ())", 21),
        ("AT_LEAST(1, ALARM, (a b))", 23),
        ("AT_LEAST(1, ALARM, a)", 20),
        ("AT_LEAST(1, ALARM)", 18),
    ],
)
def test_malformed_rules(rule: str, character: int | None) -> None:
    """AWS refuses these when they are deployed, which is late; the place helps to find the fault."""
    with pytest.raises(AlarmError, match=f"at character {character}: " if character else "0 characters"):
        compile_rule(rule)


def test_limits() -> None:
    """PutCompositeAlarm's AlarmRule: 10,240 characters, 100 child alarms, 500 elements."""
    assert (LONGEST, MOST_CHILDREN, MOST_ELEMENTS) == (10_240, 100, 500)
    compile_rule("TRUE".ljust(LONGEST))
    compile_rule(" OR ".join(f"OK(a{number})" for number in range(MOST_CHILDREN)))
    compile_rule(" OR ".join(["OK(a)"] * MOST_ELEMENTS))
    deep = MOST_ELEMENTS - 1
    assert compile_rule("(" * deep + "TRUE" + ")" * deep).state({}) == "ALARM"
    for rule, fault in (
        ("TRUE".ljust(LONGEST + 1), "10241 characters"),
        (" OR ".join(f"OK(a{number})" for number in range(MOST_CHILDREN + 1)), "101 alarms"),
        (" OR ".join(["OK(a)"] * (MOST_ELEMENTS + 1)), "501 alarms, constants and parentheses"),
        (" OR ".join(["TRUE"] * (MOST_ELEMENTS + 1)), "501 alarms, constants and parentheses"),
        ("(" * MOST_ELEMENTS + "TRUE" + ")" * MOST_ELEMENTS, "501 alarms, constants and parentheses"),
    ):
        with pytest.raises(AlarmError, match=fault):
            compile_rule(rule)


def test_no_depth_of_nesting_exhausts_the_stack() -> None:
    """A chain of NOT is no element, so only the length limits it: Python's recursion limit must not."""
    assert compile_rule("NOT " * 2_500 + "TRUE").state({}) == "ALARM"


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"rule": "ALARM(a)", "states": {"a": "ALARM"}}, "ALARM"),
        ({"rule": "ALARM(a)", "states": {"a": "OK", "unused": "OK"}}, "OK"),
        ({"rule": "ALARM(a)", "states": {"a": "ALARM"}, "suppressor": {"name": "s", "state": "ALARM"}}, "ALARM"),
        ({"rule": "FALSE", "states": {}, "suppressor": {}}, "OK"),
    ],
)
def test_answers(document: dict[str, Any], expected: str) -> None:
    """A suppressor keeps actions back; a state that it changed would hide the incident on the dashboard."""
    assert answer(document) == {"state": expected}


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        ({"rule": "ALARM(a)"}, "keys"),
        ({"states": {}}, "keys"),
        ({"rule": 1, "states": {}}, "rule is no text"),
        ({"rule": "TRUE", "states": []}, "states is no object"),
        ({"rule": "TRUE", "states": {}, "suppressor": "s"}, "suppressor is no object"),
        ({"rule": "TRUE", "states": {}, "suppressor": {"state": "ALERT"}}, "the suppressor is 'ALERT'"),
        ({"rule": "TRUE", "states": {"a": "alarm"}}, "a is 'alarm'"),
        ({"rule": "TRUE", "states": {"a": ["OK"]}}, "a is ['OK']"),
        ({"rule": "ALARM(b)", "states": {"a": "OK"}}, "names b"),
        ({"rule": "TRUE OR ALARM(b)", "states": {}}, "names b"),
        ({"rule": "ALARM(", "states": {}}, "at character 7"),
    ],
)
def test_lines_that_cannot_be_answered(document: dict[str, Any], fault: str) -> None:
    """A guess in place of a missing state would be taken for AWS's answer."""
    given_answer = answer(document)
    assert list(given_answer) == ["error"]
    assert fault in given_answer["error"]


ALARM_STATES = st.fixed_dictionaries({name: st.sampled_from(STATES) for name in "abcd"})
CONDITIONS = st.builds("{}({})".format, st.sampled_from(STATES), st.sampled_from("abcd"))
RULES = st.recursive(
    CONDITIONS,
    lambda rules: st.one_of(
        st.builds("({} AND {})".format, rules, rules),
        st.builds("({} OR {})".format, rules, rules),
        st.builds("(NOT {})".format, rules),
    ),
    max_leaves=6,
)


@given(RULES, RULES, ALARM_STATES)
def test_de_morgan(left: str, right: str, states: dict[str, str]) -> None:
    """Two spellings of one rule must not differ."""
    for rule, same in (
        (f"NOT ({left} AND {right})", f"NOT {left} OR NOT {right}"),
        (f"NOT ({left} OR {right})", f"NOT {left} AND NOT {right}"),
    ):
        assert compile_rule(rule).state(states) == compile_rule(same).state(states)


@given(st.lists(st.sampled_from("abcd"), min_size=1, unique=True), st.sampled_from(STATES), ALARM_STATES)
def test_at_least_one_is_or_and_at_least_all_is_and(names: list[str], wanted: str, states: dict[str, str]) -> None:
    """The thresholds' two ends are operators that are known to be right."""
    listed = ", ".join(names)
    each = [f"{wanted}({name})" for name in names]
    one, every = " OR ".join(each), " AND ".join(each)
    for rule, same in (
        (f"AT_LEAST(1, {wanted}, ({listed}))", one),
        (f"AT_LEAST({len(names)}, {wanted}, ({listed}))", every),
        (f"AT_LEAST(100%, {wanted}, ({listed}))", every),
        (f"AT_LEAST(1, NOT {wanted}, ({listed}))", f"NOT ({every})"),
    ):
        assert compile_rule(rule).state(states) == compile_rule(same).state(states)


@given(st.text(alphabet='ALRMOKNDTUEFS_(),"\\ 5%a', max_size=30))
def test_any_rule_is_used_or_refused(rule: str) -> None:
    """No rule may end the command with a traceback."""
    assert len(answer({"rule": rule, "states": {"a": "OK"}})) == 1
