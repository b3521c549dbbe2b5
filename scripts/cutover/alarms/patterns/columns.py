"""Filter patterns for space-delimited log events: `[ip, user, ..., status_code = 4*, bytes > 1000]`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from cutover.alarms.logic import QUOTED, Formula, FormulaBuilder, MalformedError, read_tokens
from cutover.alarms.patterns.comparisons import Number, Scalar, Test, compile_comparison, read_number
from cutover.alarms.patterns.matches import Match
from cutover.alarms.patterns.tokens import REGULAR, SIGNS, add_sign

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["ColumnPattern", "compile_columns"]

Tokens: TypeAlias = "list[re.Match[str]]"

_TOKEN = re.compile(rf"{QUOTED}|{REGULAR}|{SIGNS}|(?P<comma>,)|(?P<bare>[^\s,=!<>&|()\"%]+)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
# Brackets and quotation marks hold a field together if they enclose all of it; "[pid]:" is one field as it stands.
_FIELD = re.compile(r'\[([^\]]*)\](?!\S)|"([^"]*)"(?!\S)|(\S+)')
_ELLIPSIS = "..."


@dataclass(frozen=True, slots=True)
class _Column:
    """A field of the pattern; without a name or a condition it only takes its place."""

    name: str | None = None
    condition: Formula[Test] | None = None

    def accepts(self, text: str) -> bool:
        return self.condition is None or self.condition.holds(lambda test: test(text))


class ColumnPattern:
    """Columns before and after an ellipsis, or all columns if there is none (then `after` is None)."""

    def __init__(self, before: Sequence[_Column], after: Sequence[_Column] | None) -> None:
        self._before = tuple(before)
        self._after = tuple(after or ())
        self._has_ellipsis = after is not None

    def match(self, message: str) -> Match | None:
        """The match of a log event, or None; without an ellipsis the number of fields has to be the same."""
        texts = [field[field.lastindex or 0] for field in _FIELD.finditer(message)]
        unnamed = len(texts) - len(self._before) - len(self._after)
        if unnamed < 0 or (unnamed and not self._has_ellipsis):
            return None
        pairs = [
            *zip(self._before, texts, strict=False),
            *zip(self._after, texts[len(self._before) + unnamed :], strict=True),
        ]
        if not all(column.accepts(text) for column, text in pairs):
            return None
        return Match({f"${column.name}": text for column, text in pairs if column.name is not None})


def compile_columns(text: str) -> ColumnPattern:
    """Compiles a pattern that starts with a bracket; `[]` matches every event.

    Raises:
        MalformedError: it is no space-delimited filter pattern.
    """
    if not text.endswith("]"):
        raise MalformedError(len(text), "the closing bracket is missing, end the pattern with ]")
    end = len(text) - 1
    if not text[1:end].strip():
        return ColumnPattern((), ())
    before: list[_Column] = []
    after: list[_Column] | None = None
    names: set[str] = set()
    for tokens, position in _fields(text, end):
        if [token.group() for token in tokens] == [_ELLIPSIS]:
            if after is not None:
                raise MalformedError(position, "a pattern can have one ellipsis, remove this second one")
            after = []
            continue
        column = _column(tokens, position)
        if column.name in names:
            raise MalformedError(position, f"two fields are called {column.name}, rename one")
        if column.name is not None:
            names.add(column.name)
        (before if after is None else after).append(column)
    return ColumnPattern(before, after)


def _fields(text: str, end: int) -> Iterator[tuple[Tokens, int]]:
    """The tokens of each field, and where it ends."""
    tokens: Tokens = []
    for token in read_tokens(_TOKEN, text, 1, end):
        if token["comma"]:
            yield tokens, token.start()
            tokens = []
        else:
            tokens.append(token)
    yield tokens, end


def _column(tokens: Tokens, end: int) -> _Column:
    """The column of a field's tokens: nothing, a name, or conditions on one name."""
    if not tokens:
        return _Column()
    name = next((token.group() for token in tokens if token["bare"]), "")
    if _NAME.fullmatch(name) is None:
        raise MalformedError(
            tokens[0].start(), f"{tokens[0].group()} is no field, start it with a name like status_code"
        )
    if len(tokens) == 1:
        return _Column(name)
    builder = FormulaBuilder[Test]()
    index = 0
    while index < len(tokens):
        token = tokens[index]
        if token["bare"]:
            builder.operand(_test(tokens[index : index + 3], name, end), token.start())
            index += 3
        else:
            add_sign(builder, token, "the field's name")
            index += 1
    return _Column(name, builder.finish(end))


def _test(tokens: Tokens, name: str, end: int) -> Test:
    """The condition of a name, an operator and a value, if there are as many tokens."""
    if len(tokens) < 3 or not tokens[1]["comparison"] or tokens[2].lastgroup not in {"quoted", "regular", "bare"}:
        raise MalformedError(end, f"{tokens[0].group()} starts no condition, write a name, an operator and a value")
    named, sign, operand = tokens
    if named.group().lower() != name.lower():  # AWS's own example spells one field w1 and W1
        raise MalformedError(
            named.start(), f"{named.group()} stands in the conditions of {name}, give it its own field"
        )
    return compile_comparison(sign.group(), operand.group(), operand.start(), _field_number)


def _field_number(value: Scalar) -> Number | None:
    """The fields of such an event are text: a number is what reads as one."""
    return read_number(value) if isinstance(value, str) else value
