"""CloudWatch Logs filter patterns, as AWS documents them.

Source: "Filter and pattern syntax" (docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html). What
the page leaves open is decided beside the code that decides it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from cutover.alarms.errors import AlarmError
from cutover.alarms.logic import QUOTED, MalformedError
from cutover.alarms.patterns.columns import compile_columns
from cutover.alarms.patterns.json_events import compile_json
from cutover.alarms.patterns.matches import Match, Pattern
from cutover.alarms.patterns.regular import MOST_EXPRESSIONS
from cutover.alarms.patterns.terms import compile_terms
from cutover.alarms.patterns.tokens import REGULAR

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Match", "Pattern", "answer", "compile_pattern"]

LONGEST = 1024  # characters of filterPattern: API reference, PutMetricFilter
_KINDS: dict[str, Callable[[str], Pattern]] = {"{": compile_json, "[": compile_columns}
_ENCLOSED = re.compile(f"{QUOTED}|{REGULAR}")


def compile_pattern(text: str) -> Pattern:
    """Compiles a filter pattern: JSON in braces, space-delimited in brackets, else terms.

    Raises:
        AlarmError: the pattern cannot be used; names the character.
    """
    if len(text) > LONGEST:
        raise AlarmError(f"Invalid filter pattern: it has {len(text)} characters, AWS takes {LONGEST}: shorten it")
    trimmed = text.strip()
    expressions = sum(1 for found in _ENCLOSED.finditer(trimmed) if found["regular"])
    if expressions > MOST_EXPRESSIONS:
        raise AlarmError(
            f"Invalid filter pattern {trimmed!r}: it has {expressions} regular expressions, AWS takes "
            f"{MOST_EXPRESSIONS}: use fewer"
        )
    try:
        return _KINDS.get(trimmed[:1], compile_terms)(trimmed)
    except MalformedError as error:
        raise AlarmError(f"Invalid filter pattern {trimmed!r} {error}") from error


def answer(document: Mapping[str, Any]) -> dict[str, Any]:
    """Answers one line of `cutover alarms match`.

    Args:
        document: `pattern` and `message`, both text.

    Returns:
        `matches`, and `fields` ("$name" to text; empty unless a space-delimited pattern matches); or `error`.
    """
    pattern, message = document.get("pattern"), document.get("message")
    if not isinstance(pattern, str) or not isinstance(message, str):
        return {"error": f"a line has the keys pattern and message, both text, and this one has {sorted(document)}"}
    try:
        match = compile_pattern(pattern).match(message)
    except AlarmError as error:
        return {"error": str(error)}
    return {"matches": match is not None, "fields": {} if match is None else dict(match.fields)}
