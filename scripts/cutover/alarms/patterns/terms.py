"""Filter patterns for unstructured log events: `ERROR -"timed out"`, `?ERROR ?WARN`, `"exact phrase"`, `%regular%`."""

from __future__ import annotations

import re
from typing import TypeAlias

from cutover.alarms.logic import QUOTED, MalformedError, read_tokens, unquote
from cutover.alarms.patterns.matches import Match
from cutover.alarms.patterns.regular import compile_regular
from cutover.alarms.patterns.tokens import REGULAR

__all__ = ["TermPattern", "compile_terms"]

Term: TypeAlias = "str | re.Pattern[str]"

# A space after the minus sign is as AWS's own example writes it: "ERROR" - "Exiting".
_TERM = re.compile(rf"(?P<prefix>-\s*|\??)(?:{QUOTED}|{REGULAR}|(?P<bare>[^\s\"%]+))(?!\S)")


class TermPattern:
    """Terms that an event has, or lacks. A term is found within words, too: ERROR in ERRORCODE."""

    def __init__(self, required: tuple[Term, ...], excluded: tuple[Term, ...], optional: tuple[Term, ...]) -> None:
        self._required = required
        self._excluded = excluded
        # AWS ignores optional terms beside required or excluded ones.
        self._optional = () if required or excluded else optional

    def match(self, message: str) -> Match | None:
        """The match of a log event, or None."""
        for term in self._required:
            if not _occurs(term, message):
                return None
        for term in self._excluded:
            if _occurs(term, message):
                return None
        if self._optional and not any(_occurs(term, message) for term in self._optional):
            return None
        return Match()


def _occurs(term: Term, message: str) -> bool:
    return term in message if isinstance(term, str) else term.search(message) is not None


def compile_terms(text: str) -> TermPattern:
    """Compiles a pattern of terms; an empty one matches every event.

    Raises:
        MalformedError: a term with other characters than letters, digits and underscores is not quoted, or a regular
            expression cannot be used.
    """
    terms: dict[str, list[Term]] = {"": [], "-": [], "?": []}
    for token in read_tokens(_TERM, text, 0, len(text)):
        terms[token["prefix"].strip()].append(_term(token))
    return TermPattern(tuple(terms[""]), tuple(terms["-"]), tuple(terms["?"]))


def _term(token: re.Match[str]) -> Term:
    if token["quoted"]:
        phrase = unquote(token["quoted"])
        return phrase if phrase.strip() else ""  # '" "' is AWS's pattern for every event, not for a space
    if token["regular"]:
        return compile_regular(token["regular"], token.start("regular"))
    bare: str = token["bare"]
    if not all(character.isalnum() or character == "_" for character in bare):
        raise MalformedError(token.start("bare"), f"{bare} has other characters than letters and digits, quote it")
    return bare
