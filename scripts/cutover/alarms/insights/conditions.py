"""The conditions of `filter`.

Source: "filter", docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_QuerySyntax-Filter.html. It does not say what a
missing field does: here it equals nothing, contains nothing and is neither smaller nor larger than anything.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cutover.alarms.insights.rows import Row, Value, number, same
from cutover.alarms.insights.tokens import regular_expression

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cutover.alarms.insights.tokens import Reader

__all__ = ["Condition", "condition"]

Condition = Callable[[Row], bool]
Comparison = Callable[["Reader", str], Condition]


def condition(reader: Reader) -> Condition:
    """Reads conditions joined by `or`, which binds weaker than `and`.

    Raises:
        AlarmError: something is no condition, or one that is not run here.
    """
    found = _both(reader)
    while reader.accept("or"):
        found = _either(found, _both(reader))
    return found


def _both(reader: Reader) -> Condition:
    found = _negatable(reader)
    while reader.accept("and"):
        found = _all(found, _negatable(reader))
    return found


def _negatable(reader: Reader) -> Condition:
    if reader.accept("not"):
        return _not(_negatable(reader))
    if reader.accept("("):
        found = condition(reader)
        reader.expect(")")
        return found
    if reader.next_is("ispresent", "("):
        reader.accept("ispresent", "(")
        field = reader.take("name").text
        reader.expect(")")
        return lambda row: field in row
    return _comparison(reader)


def _comparison(reader: Reader) -> Condition:
    field = reader.take("name").text
    if reader.next_is("("):
        raise reader.error(f"the function {field} is not run here, found")
    if reader.accept("!="):
        return _not(_equal(reader, field))
    if reader.accept("not"):
        return _not(_one_of(reader, field, {"like": _like, "in": _in}))
    return _one_of(reader, field, {"like": _like, "=~": _like, "in": _in, "=": _equal, **_ORDERS})


def _one_of(reader: Reader, field: str, comparisons: Mapping[str, Comparison]) -> Condition:
    for word, comparison in comparisons.items():
        if reader.accept(word):
            return comparison(reader, field)
    raise reader.error(f"after {field} one of {', '.join(comparisons)} is missing before")


def _like(reader: Reader, field: str) -> Condition:
    token = reader.take("text", "regex")
    if token.kind == "text":
        return lambda row: field in row and token.text in str(row[field])
    expression = regular_expression(token)
    return lambda row: field in row and expression.search(str(row[field])) is not None


def _in(reader: Reader, field: str) -> Condition:
    reader.expect("[")
    values = reader.listed(lambda: _literal(reader))
    reader.expect("]")
    return lambda row: any(same(row.get(field), value) for value in values)


def _equal(reader: Reader, field: str) -> Condition:
    value = _literal(reader)
    return lambda row: same(row.get(field), value)


def _ordered(holds: Callable[[Any, Any], bool]) -> Comparison:
    def comparison(reader: Reader, field: str) -> Condition:
        limit = _literal(reader)

        def condition(row: Row) -> bool:
            if field not in row:
                return False
            numbers = number(row[field]), number(limit)
            return holds(str(row[field]), str(limit)) if None in numbers else holds(*numbers)

        return condition

    return comparison


def _literal(reader: Reader) -> Value:
    token = reader.take("text", "number")
    return token.text if token.kind == "text" else float(token.text)


def _not(inner: Condition) -> Condition:
    return lambda row: not inner(row)


def _all(left: Condition, right: Condition) -> Condition:
    return lambda row: left(row) and right(row)


def _either(left: Condition, right: Condition) -> Condition:
    return lambda row: left(row) or right(row)


_ORDERS = {
    "<=": _ordered(operator.le),
    "<": _ordered(operator.lt),
    ">=": _ordered(operator.ge),
    ">": _ordered(operator.gt),
}
