"""Boolean expressions of filter patterns and composite rules: their tokens, and the expressions in postfix order.

Postfix needs no recursion, so no depth of nesting can exhaust Python's stack.
"""

from __future__ import annotations

import re
from enum import IntEnum
from typing import TYPE_CHECKING, Generic, TypeVar

from cutover.alarms.errors import AlarmError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["QUOTED", "Formula", "FormulaBuilder", "MalformedError", "Operator", "read_tokens", "unquote"]

Operand = TypeVar("Operand")

QUOTED = r'(?P<quoted>"(?:[^"\\]|\\[\s\S])*")'
_ESCAPED = re.compile(r'\\(["\\])')


class MalformedError(AlarmError):
    """A text that cannot be read, with the place in it."""

    def __init__(self, position: int, problem: str) -> None:
        """Takes the place as an index from 0; people read it as a character from 1."""
        super().__init__(f"at character {position + 1}: {problem}")


def unquote(text: str) -> str:
    r"""The content of a quoted text; within it \" is a quotation mark and \\ a backslash."""
    return _ESCAPED.sub(r"\1", text[1:-1])


def read_tokens(kinds: re.Pattern[str], text: str, start: int, end: int) -> list[re.Match[str]]:
    """The tokens between two indexes; whitespace parts them.

    Raises:
        MalformedError: something there is none of these kinds.
    """
    tokens = []
    index = start
    while index < end:
        if text[index].isspace():
            index += 1
            continue
        token = kinds.match(text, index, end)
        if token is None:
            (word, *_) = text[index:end].split(maxsplit=1)
            raise MalformedError(
                index, f"{word} cannot be read, quote what has other characters than letters and digits"
            )
        tokens.append(token)
        index = token.end()
    return tokens


class Operator(IntEnum):
    """What joins conditions; the greater binds more tightly."""

    OR = 1
    AND = 2
    NOT = 3


class Formula(Generic[Operand]):
    """A boolean expression over operands.

    Attributes:
        operands: in the order of the text.
    """

    def __init__(self, postfix: tuple[Operand | Operator, ...]) -> None:
        self._postfix = postfix
        self.operands = tuple(item for item in postfix if not isinstance(item, Operator))

    def holds(self, test: Callable[[Operand], bool]) -> bool:
        """Whether the expression is true; every operand is tested."""
        stack: list[bool] = []
        for item in self._postfix:
            if not isinstance(item, Operator):
                stack.append(test(item))
            elif item is Operator.NOT:
                stack[-1] = not stack[-1]
            else:
                right = stack.pop()
                stack[-1] = stack[-1] and right if item is Operator.AND else stack[-1] or right
        return stack[0]


class FormulaBuilder(Generic[Operand]):
    """Takes the parts of an expression in the order of the text; each call refuses a part out of place.

    Positions are indexes into the text; every method raises MalformedError with that place.
    """

    def __init__(self) -> None:
        self._postfix: list[Operand | Operator] = []
        self._waiting: list[tuple[Operator | None, int]] = []
        self._after_operand = False

    def operand(self, operand: Operand, position: int) -> None:
        """Takes a condition."""
        self._expect_operand(position)
        self._postfix.append(operand)
        self._after_operand = True

    def negate(self, position: int) -> None:
        """Takes NOT."""
        self._expect_operand(position)
        self._waiting.append((Operator.NOT, position))

    def join(self, operator: Operator, position: int) -> None:
        """Takes AND or OR."""
        self._expect_operator(position)
        while self._waiting and (top := self._waiting[-1][0]) is not None and top >= operator:
            self._postfix.append(top)
            self._waiting.pop()
        self._waiting.append((operator, position))
        self._after_operand = False

    def open(self, position: int) -> None:
        """Takes an opening parenthesis."""
        self._expect_operand(position)
        self._waiting.append((None, position))

    def close(self, position: int) -> None:
        """Takes a closing parenthesis."""
        self._expect_operator(position)
        while self._waiting:
            operator, _ = self._waiting.pop()
            if operator is None:
                return
            self._postfix.append(operator)
        raise MalformedError(position, "this closing parenthesis has no opening one, remove it")

    def finish(self, position: int) -> Formula[Operand]:
        """Returns the whole expression; `position` is the end of the text."""
        self._expect_operator(position)
        while self._waiting:
            operator, opened = self._waiting.pop()
            if operator is None:
                raise MalformedError(opened, "this parenthesis is never closed, add the closing one")
            self._postfix.append(operator)
        return Formula(tuple(self._postfix))

    def _expect_operand(self, position: int) -> None:
        if self._after_operand:
            raise MalformedError(position, "two conditions stand side by side, join them by an operator")

    def _expect_operator(self, position: int) -> None:
        if not self._after_operand:
            raise MalformedError(position, "a condition is missing before this, add it")
