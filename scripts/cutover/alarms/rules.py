"""Composite alarm rules: `ALARM(disk) AND NOT ALARM("deployment in progress")`.

Sources: "Composite alarms" (docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-combining.html) and the API
reference's PutCompositeAlarm (docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutCompositeAlarm.html).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cutover.alarms.errors import AlarmError
from cutover.alarms.logic import QUOTED, Formula, FormulaBuilder, MalformedError, Operator, read_tokens, unquote

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["STATES", "Rule", "answer", "compile_rule"]

STATES = ("ALARM", "OK", "INSUFFICIENT_DATA")

# The limits of PutCompositeAlarm's AlarmRule, as its documentation gives them.
LONGEST = 10_240  # characters
MOST_CHILDREN = 100  # alarms
MOST_ELEMENTS = 500  # child alarms, TRUE, FALSE and parentheses; a pair of parentheses is taken as one here

# A bare name has no space, parenthesis or comma; in a quoted one a backslash stands before a quotation mark.
_TOKEN = re.compile(rf'{QUOTED}|(?P<sign>[(),])|(?P<word>[^\s(),"]+)')
_ARN = re.compile(r"arn:[^:]+:cloudwatch:[^:]*:[^:]*:alarm:(?P<name>.+)", re.DOTALL)
_THRESHOLD = re.compile(r"(?P<number>[0-9]{1,5})(?P<percent>%?)")


@dataclass(frozen=True, slots=True)
class _Reference:
    """An alarm as a rule names it: by name, or by ARN."""

    text: str

    @property
    def name(self) -> str:
        arn = _ARN.fullmatch(self.text)
        return self.text if arn is None else arn["name"]

    def state(self, states: Mapping[str, str]) -> str:
        state = states.get(self.text, states.get(self.name))
        if state is None:
            raise AlarmError(f"the rule names {self.text}, and its state is not given: add it to the states")
        return _known(self.text, state)


@dataclass(frozen=True, slots=True)
class _AtLeast:
    """So many of the alarms are in a state, or (`negated`) in another.

    ALARM(x) is one of one, TRUE none of none, FALSE one of none.
    """

    least: int
    state: str
    negated: bool
    alarms: tuple[_Reference, ...]

    def holds(self, states: Mapping[str, str]) -> bool:
        found = [(alarm.state(states) == self.state) is not self.negated for alarm in self.alarms]
        return sum(found) >= self.least


class Rule:
    """A compiled rule.

    Attributes:
        alarms: the names of the alarms it depends on, each once, in the order of the text; of an ARN the name in it.
    """

    def __init__(self, formula: Formula[_AtLeast]) -> None:
        self._formula = formula
        self.alarms = tuple(dict.fromkeys(alarm.name for condition in formula.operands for alarm in condition.alarms))

    def state(self, states: Mapping[str, str]) -> str:
        """ALARM if the rule is true, else OK.

        Args:
            states: of the alarms, by name or ARN.

        Raises:
            AlarmError: an alarm of the rule has no state, or one that is none; names the alarm.
        """
        return "ALARM" if self._formula.holds(lambda condition: condition.holds(states)) else "OK"


def compile_rule(text: str) -> Rule:
    """Compiles an AlarmRule.

    AWS writes the keywords in capitals, and FALSE in small letters, too: here any case will do.

    Raises:
        AlarmError: the rule cannot be read, or passes a limit of AWS; names the character or the limit.
    """
    if not 1 <= len(text) <= LONGEST:
        raise AlarmError(f"Invalid rule: it has {len(text)} characters, AWS takes 1 to {LONGEST}: change its length")
    try:
        parser = _Parser(text)
        rule = Rule(parser.formula())
    except MalformedError as error:
        raise AlarmError(f"Invalid rule {error}") from error
    for count, most, what in (
        (len(rule.alarms), MOST_CHILDREN, "alarms"),
        (parser.elements, MOST_ELEMENTS, "alarms, constants and parentheses"),
    ):
        if count > most:
            raise AlarmError(
                f"Invalid rule: it has {count} {what}, AWS takes {most}: split it into two composite alarms"
            )
    return rule


class _Parser:
    """Reads a rule; `elements` counts what AWS limits."""

    def __init__(self, text: str) -> None:
        self._end = len(text)
        self._tokens = read_tokens(_TOKEN, text, 0, len(text))
        self._index = 0
        self.elements = 0

    def formula(self) -> Formula[_AtLeast]:
        builder = FormulaBuilder[_AtLeast]()
        while self._index < len(self._tokens):
            token = self._take("a condition")
            position = token.start()
            match token.group().upper():
                case "AND":
                    builder.join(Operator.AND, position)
                case "OR":
                    builder.join(Operator.OR, position)
                case "NOT":
                    builder.negate(position)
                case "(":
                    self.elements += 1
                    builder.open(position)
                case ")":
                    builder.close(position)
                case _:
                    builder.operand(self._condition(token), position)
        return builder.finish(self._end)

    def _condition(self, token: re.Match[str]) -> _AtLeast:
        keyword = token.group().upper()
        if keyword in {"TRUE", "FALSE"}:
            self.elements += 1
            return _AtLeast(int(keyword == "FALSE"), "ALARM", negated=False, alarms=())
        if keyword == "AT_LEAST":
            return self._at_least()
        if keyword not in STATES:
            raise MalformedError(
                token.start(),
                f"{token.group()} is no function, use ALARM, OK, INSUFFICIENT_DATA, AT_LEAST, TRUE or FALSE",
            )
        self._expect("(")
        alarm = self._alarm()
        self._expect(")")
        return _AtLeast(1, keyword, negated=False, alarms=(alarm,))

    def _at_least(self) -> _AtLeast:
        """AT_LEAST(2, ALARM, (a, b, c)) or AT_LEAST(50%, NOT OK, (a, b, c))."""
        self._expect("(")
        threshold = self._take("a number or a percentage")
        self._expect(",")
        state = self._take("a state")
        negated = state.group().upper() == "NOT"
        if negated:
            state = self._take("a state")
        if state.group().upper() not in STATES:
            raise MalformedError(state.start(), f"{state.group()} is no state, use {', '.join(STATES)}, or NOT and one")
        self._expect(",")
        self._expect("(")
        alarms = [self._alarm()]
        while (sign := self._take(", or )")).group() == ",":
            alarms.append(self._alarm())
        if sign.group() != ")":
            raise MalformedError(sign.start(), f"{sign.group()} stands where , or ) belongs")
        self._expect(")")
        return _AtLeast(_least(threshold, len(alarms)), state.group().upper(), negated, tuple(alarms))

    def _alarm(self) -> _Reference:
        token = self._take("an alarm's name")
        text = unquote(token.group()) if token["quoted"] else token.group()
        if token["sign"] or not text:
            raise MalformedError(token.start(), "an alarm's name is missing, add it")
        self.elements += 1
        return _Reference(text)

    def _expect(self, sign: str) -> None:
        token = self._take(sign)
        if token.group() != sign:
            raise MalformedError(token.start(), f"{token.group()} stands where {sign} belongs")

    def _take(self, expected: str) -> re.Match[str]:
        if self._index == len(self._tokens):
            raise MalformedError(self._end, f"the rule ends where {expected} belongs")
        self._index += 1
        return self._tokens[self._index - 1]


def _least(threshold: re.Match[str], alarms: int) -> int:
    """The number of alarms that a threshold asks for; of a percentage the next whole number up."""
    found = _THRESHOLD.fullmatch(threshold.group())
    number = 0 if found is None else int(found["number"])
    most = 100 if found is not None and found["percent"] else alarms
    if found is None or not 1 <= number <= most:
        raise MalformedError(
            threshold.start(), f"{threshold.group()} is no threshold, use 1 to {alarms} for these alarms, or 1% to 100%"
        )
    return -(-number * alarms // 100) if found["percent"] else number


def _known(alarm: str, state: object) -> str:
    if not isinstance(state, str) or state not in STATES:
        raise AlarmError(f"the state of {alarm} is {state!r}: use {', '.join(STATES)}")
    return state


def answer(document: Mapping[str, Any]) -> dict[str, Any]:
    """Answers one line of `cutover alarms combine`.

    Args:
        document: `rule`, `states` (state by alarm) and perhaps `suppressor`, which keeps actions back and never
            changes the state.

    Returns:
        `state`, or `error`.
    """
    try:
        return {"state": _combine(document)}
    except AlarmError as error:
        return {"error": str(error)}


def _combine(document: Mapping[str, Any]) -> str:
    if not {"rule", "states"} <= set(document):
        raise AlarmError(
            f"a line has the keys rule, states and perhaps suppressor, and this one has {sorted(document)}"
        )
    rule, states, suppressor = document["rule"], document["states"], document.get("suppressor") or {}
    if not isinstance(rule, str):
        raise AlarmError("rule is no text: write one such as ALARM(disk)")
    for key, value in (("states", states), ("suppressor", suppressor)):
        if not isinstance(value, dict):
            raise AlarmError(f"{key} is no object: write {{…}}")
    for alarm, state in states.items():
        _known(alarm, state)
    if "state" in suppressor:
        _known("the suppressor", suppressor["state"])
    return compile_rule(rule).state(states)
