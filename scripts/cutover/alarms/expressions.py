"""CloudWatch metric math: an expression parsed once, then evaluated over whole time series.

Grammar and functions are those of "Using metric math" (docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/
using-metric-math.html). What that page leaves open is decided beside the code that decides it, here and in
`math_functions`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from cutover.alarms.math_functions import (
    BINARY,
    FUNCTIONS,
    ExpressionError,
    Scope,
    Value,
    apply_binary,
    fill_linear,
    fill_repeat,
    map_series,
    negate,
)

__all__ = ["Expression", "ExpressionError", "compile_expression"]

Node = Callable[[Scope], Value]

DEEPEST = 50  # levels of parentheses, signs and powers: far beyond any alarm, far below Python's own limit
_TOKEN = re.compile(
    r"(?P<space>\s+)|(?P<number>\d+(?:\.\d*)?|\.\d+)|(?P<id>[a-z][a-zA-Z0-9_]*)|(?P<word>[A-Z][A-Z0-9_]*)"
    r'|(?P<text>"[^"]*")|(?P<sign>==|!=|<=|>=|&&|\|\||[-+*/^<>()\[\],])'
)
_FILLERS = {"REPEAT": fill_repeat, "LINEAR": fill_linear}


class Expression:
    """A parsed expression.

    Attributes:
        text: as it was written.
        names: the ids it refers to, sorted.
    """

    def __init__(self, text: str, node: Node, names: tuple[str, ...]) -> None:
        self.text = text
        self.names = names
        self._node = node

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def series(self, values: Mapping[str, Sequence[float | None]], period: float | None = None) -> list[float | None]:
        """Evaluates the expression as an alarm does.

        Args:
            values: every metric of the alarm by its id, oldest point first, all of one length; None is a gap.
            period: of the metrics, in seconds; only PERIOD and RATE need it.

        Returns:
            The result for every period, None where it has no point.

        Raises:
            ExpressionError: an id has no values, the lengths differ, or the result is no single time series.
        """
        lengths = {len(points) for points in values.values()}
        if len(lengths) != 1:
            raise ExpressionError(f"Expression {self.text!r}: its series need one length, and have {sorted(lengths)}")
        metrics = {name: list(points) for name, points in values.items()}
        return self.one_series(Scope(metrics, tuple(metrics), lengths.pop(), period))

    def one_series(self, scope: Scope) -> list[float | None]:
        """As `value`, for a place where only one time series will do.

        Raises:
            ExpressionError: as `value`; and the result is an array.
        """
        value = self.value(scope)
        if isinstance(value, tuple):
            raise ExpressionError(
                f"Expression {self.text!r} gives {len(value)} time series, and an alarm watches one: reduce them,"
                " as in SUM([m1, m2])"
            )
        return value

    def value(self, scope: Scope) -> list[float | None] | tuple[list[float | None], ...]:
        """A series, or an array of them, as an expression that others refer to may give.

        Raises:
            ExpressionError: an id is not in the scope, or the result is a single number, which the page forbids.
        """
        for name in self.names:
            if name not in scope.values:
                raise ExpressionError(
                    f"Expression {self.text!r}: no values for {name!r}: name a metric or an expression"
                )
        value = self._node(scope)
        if not isinstance(value, list | tuple):
            raise ExpressionError(
                f"Expression {self.text!r} gives a single number, and an alarm needs a time series:"
                " write TIME_SERIES(…) around it"
            )
        return tuple(map(_finite, value)) if isinstance(value, tuple) else _finite(value)


@lru_cache(maxsize=1024)
def compile_expression(text: str) -> Expression:
    """Parses a metric-math expression.

    Raises:
        ExpressionError: not metric math, or a function that is not supported; names the position, counted from 1.
    """
    parser = _Parser(text)
    node = parser.operation()
    parser.end()
    return Expression(text, node, tuple(sorted(parser.names)))


def _finite(points: list[float | None]) -> list[float | None]:
    # Silent about what a double cannot hold: dropped like a division by zero.
    return [point if point is not None and math.isfinite(point) else None for point in points]


def _named(name: str) -> Node:
    return lambda scope: scope.values[name]


def _chain(first: Node, rest: Sequence[tuple[str, Node]]) -> Node:
    steps = [(BINARY[sign][1], operand) for sign, operand in rest]

    def chain(scope: Scope) -> Value:
        value = first(scope)
        for operate, operand in steps:
            value = apply_binary(operate, value, operand(scope))
        return value

    return chain if steps else first


def _negated(operand: Node) -> Node:
    return lambda scope: negate(operand(scope))


def _function(function: Callable[..., Value], arguments: Sequence[Node]) -> Node:
    return lambda scope: function(scope, *(argument(scope) for argument in arguments))


def _filling(word: str, filled: Node) -> Node:
    return lambda scope: map_series("FILL", _FILLERS[word], filled(scope))


def _metrics(part: str) -> Node:
    def metrics(scope: Scope) -> Value:
        # Each is a series: the scope's metrics come from no expression.
        found = [value for name in scope.metrics if part in name and isinstance(value := scope.values[name], list)]
        if not found:
            raise ExpressionError(f'METRICS("{part}"): no metric has an Id with {part!r} in it: correct the text')
        return tuple(found)

    return metrics


def _array(members: Sequence[Node]) -> Node:
    def array(scope: Scope) -> Value:
        series: list[list[float | None]] = []
        for member in members:
            value = member(scope)
            if not isinstance(value, list | tuple):
                raise ExpressionError("An array [...] holds time series, not single numbers: write TIME_SERIES(…)")
            series.extend(value if isinstance(value, tuple) else (value,))
        return tuple(series)

    return array


class _Parser:
    """Recursive descent over the tokens; `names` are the ids met so far."""

    def __init__(self, text: str) -> None:
        self.names: set[str] = set()
        self._text = text
        self._depth = 0
        self._position = 0
        self._kind = ""
        self._current = ""
        self._next()

    def _next(self) -> str:
        """Moves on by one token, and gives the one that was current."""
        token = self._current
        self._position += len(token)
        while self._position < len(self._text):
            found = _TOKEN.match(self._text, self._position)
            if found is None:
                self._current = self._text[self._position]
                raise self._unexpected("what metric math allows")
            if found.lastgroup != "space":
                self._kind, self._current = str(found.lastgroup), found.group()
                return token
            self._position = found.end()
        self._kind = self._current = ""
        return token

    def _fail(self, message: str, position: int) -> ExpressionError:
        return ExpressionError(f"Expression {self._text!r}, position {position + 1}: {message}")

    def _unexpected(self, wanted: str) -> ExpressionError:
        found = repr(self._current) if self._current else "the end"
        return self._fail(f"{found} stands where {wanted} is needed", self._position)

    def _expect(self, sign: str) -> None:
        if self._current != sign:
            raise self._unexpected(repr(sign))
        self._next()

    def end(self) -> None:
        """Nothing may follow."""
        if self._current:
            raise self._unexpected("an operator or the end")

    def operation(self, lowest: int = 1) -> Node:
        """Operators of one level are taken from the left (silent; so `a < b < c` compares a truth with c)."""
        first = self._signed()
        rest: list[tuple[str, Node]] = []
        while self._current in BINARY and (level := BINARY[self._current][0]) >= lowest:
            rest.append((self._next(), self.operation(level + 1)))
        return _chain(first, rest)

    def _signed(self) -> Node:
        """Silent: `-2^2` is -(2^2), and `2^3^2` is 2^(3^2), as mathematics reads them."""
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._fail(
                f"nested more than {DEEPEST} levels deep: split it into several expressions", self._position
            )
        if self._current == "-":
            self._next()
            node = _negated(self._signed())
        else:
            node = self._primary()
            if self._current == "^":
                node = _chain(node, [(self._next(), self._signed())])
        self._depth -= 1
        return node

    def _primary(self) -> Node:
        if self._kind == "number":
            number = float(self._next())
            return lambda _scope: number
        if self._kind == "id":
            self.names.add(self._current)
            return _named(self._next())
        if self._kind == "word" and self._current not in BINARY:
            return self._call()
        if self._current == "(":
            self._next()
            inner = self.operation()
            self._expect(")")
            return inner
        if self._current == "[":
            self._next()
            return _array(self._list("]"))
        raise self._unexpected("a number, an id, a function or '('")

    def _list(self, closing: str) -> list[Node]:
        members = [self.operation()]
        while self._current == ",":
            self._next()
            members.append(self.operation())
        self._expect(closing)
        return members

    def _call(self) -> Node:
        position = self._position
        name = self._next()
        if name != "METRICS" and name not in FUNCTIONS:
            known = ", ".join(sorted({*FUNCTIONS, "METRICS"}))
            raise self._fail(f"the function {name!r} is not supported: use {known}", position)
        self._expect("(")
        if name == "METRICS":
            return self._metrics()
        arguments: list[Node] = []
        while self._current != ")":
            if arguments:
                self._expect(",")
            if name == "FILL" and len(arguments) == 1 and self._current in _FILLERS:
                node = _filling(self._next(), arguments[0])
                self._expect(")")
                return node
            arguments.append(self.operation())
        self._next()
        fewest, most, function = FUNCTIONS[name]
        if not fewest <= len(arguments) <= most:
            wanted = str(most) if fewest == most else f"{fewest} or {most}"
            raise self._fail(f"{name} takes {wanted} argument(s), and {len(arguments)} are given", position)
        return _function(function, arguments)

    def _metrics(self) -> Node:
        part = self._next()[1:-1] if self._kind == "text" else ""
        self._expect(")")
        return _metrics(part)
