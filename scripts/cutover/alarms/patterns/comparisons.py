"""Comparing a value of a log event with a value of a filter pattern.

Source: "Filter and pattern syntax" (docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html).
"""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from cutover.alarms.logic import MalformedError, unquote
from cutover.alarms.patterns.regular import compile_regular

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Number", "Scalar", "Test", "compile_comparison", "read_number"]

Number: TypeAlias = "int | float"
Scalar: TypeAlias = "str | int | float"
Test: TypeAlias = "Callable[[Scalar], bool]"

_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d{1,300}", re.ASCII)
_ORDERS: dict[str, Callable[[Number, Number], bool]] = {
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}


def read_number(text: str) -> Number | None:
    """The number that a text writes: sign, decimals and scientific notation as AWS documents them; None if it is none.

    Whole numbers stay exact, so that long identifiers do not become equal by rounding.
    """
    if _NUMBER.fullmatch(text) is None:
        return None
    return int(text) if _WHOLE.fullmatch(text) else float(text)


@dataclass(frozen=True, slots=True)
class _Wildcard:
    """A text with * at its start, its end or both; anywhere else * is itself ("Ev*ent")."""

    core: str
    open_start: bool
    open_end: bool

    def __call__(self, text: str) -> bool:
        if self.open_start:
            return self.core in text if self.open_end else text.endswith(self.core)
        return text.startswith(self.core) if self.open_end else text == self.core


def _wildcard(text: str) -> _Wildcard:
    open_start = text.startswith("*")
    open_end = text.endswith("*")
    return _Wildcard(text[open_start : len(text) - open_end], open_start, open_end)


def compile_comparison(
    sign: str, operand: str, position: int, numeric: Callable[[Scalar], Number | None]
) -> Callable[[Scalar], bool]:
    """Compiles `= operand`, `!= operand`, `> operand` and so on.

    A number compares as a number where the event has one, and else as text; a quoted operand and one with wildcards
    always compare as text.

    Args:
        sign: one of = != < > <= >=.
        operand: as the pattern writes it: quoted, between % signs, or bare.
        position: of the operand in the pattern, from 0.
        numeric: the number that a value of the event is, or None.

    Raises:
        MalformedError: an order is asked of something that is no number, or the regular expression cannot be used.
    """
    order = _ORDERS.get(sign)
    if order is None:
        equal = _equality(operand, position, numeric)
        return equal if sign == "=" else lambda value: not equal(value)
    limit = read_number(operand)
    if limit is None:
        raise MalformedError(position, f"{sign} compares numbers, and {operand} is none: give a number, or use = or !=")
    return lambda value: (found := numeric(value)) is not None and order(found, limit)


def _equality(operand: str, position: int, numeric: Callable[[Scalar], Number | None]) -> Callable[[Scalar], bool]:
    if operand.startswith("%"):
        regular = compile_regular(operand, position)
        return lambda value: regular.search(str(value)) is not None
    if operand.startswith('"'):
        text = _wildcard(unquote(operand))
        return lambda value: text(str(value))
    expected = read_number(operand)
    if expected is None:
        text = _wildcard(operand)
        return lambda value: text(str(value))
    return lambda value: value == operand if (found := numeric(value)) is None else found == expected
