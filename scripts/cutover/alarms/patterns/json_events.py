"""JSON filter patterns: `{ $.eventType = "UpdateTrail" && $.latency > 50 }`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias

from cutover.alarms.logic import QUOTED, Formula, FormulaBuilder, MalformedError, read_tokens
from cutover.alarms.patterns.comparisons import Number, Scalar, compile_comparison, read_number
from cutover.alarms.patterns.documents import MISSING, SELECTOR, JsonObject, Path, find, read_object, read_path
from cutover.alarms.patterns.matches import Match
from cutover.alarms.patterns.tokens import REGULAR, SIGNS, add_sign

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["JsonPattern", "compile_json"]

Condition: TypeAlias = "Callable[[JsonObject], bool]"

_TOKEN = re.compile(
    rf"(?P<selector>{SELECTOR}(?![^\s=!<>&|()]))|{QUOTED}|{REGULAR}|{SIGNS}|(?P<bare>[^\s=!<>&|()\"%$]+)"
)
# AWS's own patterns have dots in bare texts: 123.123.* and $.eventSource = s3.amazonaws.com.
_BARE_TEXT = re.compile(r"[A-Za-z0-9_.*]+")
_CONSTANTS = {"NULL": None, "TRUE": True, "FALSE": False}


class JsonPattern:
    """A JSON filter pattern; an event that is no JSON object never matches."""

    def __init__(self, formula: Formula[Condition]) -> None:
        self._formula = formula

    def match(self, message: str) -> Match | None:
        """The match of a log event, or None."""
        document = read_object(message)
        if document is None or not self._formula.holds(lambda condition: condition(document)):
            return None
        return Match(document=document)


def compile_json(text: str) -> JsonPattern:
    """Compiles a pattern that starts with a brace.

    Raises:
        MalformedError: it is no JSON filter pattern.
    """
    if not text.endswith("}"):
        raise MalformedError(len(text), "the closing brace is missing, end the pattern with }")
    end = len(text) - 1
    tokens = read_tokens(_TOKEN, text, 1, end)
    builder = FormulaBuilder[Condition]()
    index = 0
    while index < len(tokens):
        token = tokens[index]
        if token["selector"]:
            builder.operand(_condition(tokens[index : index + 3], end), token.start())
            index += 3
        else:
            add_sign(builder, token, "a property selector such as $.name or $.names[0]")
            index += 1
    return JsonPattern(builder.finish(end))


def _condition(tokens: Sequence[re.Match[str]], end: int) -> Condition:
    """The condition of a selector and the two tokens after it, if there are as many."""
    path = read_path(tokens[0].group())
    if path is None or len(tokens) < 3:
        raise MalformedError(end, "the condition is not complete, add an operator and a value to its selector")
    _, verb, operand = tokens
    if verb["comparison"]:
        return _comparison(path, verb.group(), operand)
    if verb.group() == "IS" and operand.group() in _CONSTANTS:
        constant = _CONSTANTS[operand.group()]
        return lambda document: find(document, path) is constant
    if (verb.group(), operand.group()) == ("NOT", "EXISTS"):
        return lambda document: find(document, path) is MISSING
    raise MalformedError(
        verb.start(),
        f"{verb.group()} {operand.group()} is no condition, use an operator with a value, IS NULL, IS TRUE, IS FALSE "
        "or NOT EXISTS",
    )


def _comparison(path: Path, sign: str, operand: re.Match[str]) -> Condition:
    text = operand.group()
    if operand.lastgroup not in {"quoted", "regular", "bare"}:
        raise MalformedError(operand.start(), f"a value is missing between {sign} and {text}, add it")
    if operand["bare"] and _BARE_TEXT.fullmatch(text) is None and read_number(text) is None:
        raise MalformedError(operand.start(), f"{text} has other characters than letters and digits, quote it")
    test = compile_comparison(sign, text, operand.start(), _json_number)

    def holds(document: JsonObject) -> bool:
        # AWS lets a selector point to "value nodes", strings and numbers. Of anything else, and of a property that is
        # not there, every comparison is false, != too.
        value = find(document, path)
        return _is_value_node(value) and test(value)

    return holds


def _is_value_node(value: Any) -> bool:  # noqa: ANN401 (JSON has values of every type)
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _json_number(value: Scalar) -> Number | None:
    """A string is no number, whatever it spells: an order of it is never true."""
    return None if isinstance(value, str) else value
