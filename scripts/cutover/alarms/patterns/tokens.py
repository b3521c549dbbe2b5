"""What JSON and space-delimited filter patterns are written in."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from cutover.alarms.logic import FormulaBuilder, MalformedError, Operator

if TYPE_CHECKING:
    import re

__all__ = ["REGULAR", "SIGNS", "add_sign"]

Operand = TypeVar("Operand")

REGULAR = r"(?P<regular>%[^%]*%)"
SIGNS = r"(?P<comparison>[!<>]=|[=<>])|(?P<sign>&&|\|\||[()])"


def add_sign(builder: FormulaBuilder[Operand], token: re.Match[str], expected: str) -> None:
    """Gives an operator or a parenthesis to the builder.

    Raises:
        MalformedError: it is none, and `expected` belongs there.
    """
    match token.group():
        case "&&":
            builder.join(Operator.AND, token.start())
        case "||":
            builder.join(Operator.OR, token.start())
        case "(":
            builder.open(token.start())
        case ")":
            builder.close(token.start())
        case other:
            raise MalformedError(token.start(), f"{other} stands where {expected} belongs")
