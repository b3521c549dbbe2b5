"""The regular expressions %…% that filter patterns may contain: a small part of the usual syntax.

Source: "Supported regular expressions (regex) syntax" (docs.aws.amazon.com/AmazonCloudWatch/latest/logs/
regex-expressions.html).
"""

from __future__ import annotations

import re

from cutover.alarms.logic import MalformedError

__all__ = ["MOST_EXPRESSIONS", "compile_regular"]

MOST_EXPRESSIONS = 2  # in one filter pattern: same page, "Quotas"
_SYMBOLS = ":_#=@/;,-"
_OPERATORS = "^$?[]{}|\\*+."
_ESCAPE = re.compile(r"\\(?:(?P<kind>[dDsSwW]|x[0-9A-Fa-f]{2})|(?P<literal>[\^$?\[\]{}|\\*+.:_#=@/;,-]))")


def compile_regular(text: str, position: int) -> re.Pattern[str]:
    r"""Compiles what stands between two % signs, to be searched for anywhere in a text.

    Python's own syntax differs in places: `\d` is an ASCII digit here, `$` is nothing but the end, and `[` and `|` are
    plain characters within a class.

    Args:
        text: with the % signs.
        position: of the first one in the whole pattern, from 0.

    Raises:
        MalformedError: a character or an escape that AWS does not support, or no regular expression at all.
    """
    end = len(text) - 1
    if end == 1:
        raise MalformedError(position, "%% holds no regular expression, write one between the % signs")
    translated: list[str] = []
    index, in_class = 1, False
    while index < end:
        character = text[index]
        if character == "\\":
            escape = _ESCAPE.match(text, index, end)
            if escape is None:
                raise MalformedError(
                    position + index,
                    f"{text[index : index + 2]} is no escape that AWS supports, write the character as \\xhh",
                )
            translated.append(escape.group() if escape["kind"] else re.escape(escape["literal"]))
            index = escape.end()
            continue
        if not (character.isascii() and character.isalnum()) and character not in _SYMBOLS + _OPERATORS:
            raise MalformedError(
                position + index, f"{character!r} is not supported in a regular expression, write it as \\xhh"
            )
        translated.append(_translate(character, in_class=in_class))
        in_class = character == "[" or (in_class and character != "]")
        index += 1
    try:
        return re.compile("".join(translated), re.ASCII)
    except (re.error, OverflowError) as error:
        raise MalformedError(position, f"{text} is no regular expression ({error}), correct it") from error


def _translate(character: str, *, in_class: bool) -> str:
    if in_class:
        return "\\" + character if character in "[|" else character
    return r"\Z" if character == "$" else character
