"""The words of a query, and a reader that takes them one by one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from cutover.alarms.errors import AlarmError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

__all__ = ["Reader", "Token", "regular_expression"]

Item = TypeVar("Item")

_TOKEN = re.compile(
    r"""(?P<space>\s+)
    | (?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
    | (?P<regex>/(?:\\.|[^/\\\n])+/)
    | (?P<period>\d+[A-Za-z]+)
    | (?P<number>-?\d+(?:\.\d+)?)
    | (?P<name>[@A-Za-z_][\w.@]*|`[^`\n]+`)
    | (?P<sign><=|>=|!=|=~|[=<>()\[\],|*])""",
    re.VERBOSE | re.ASCII,
)


class Token(NamedTuple):
    """One word: its kind (a group of the pattern above, or `end`), its text without quotes, and its line from 1."""

    kind: str
    text: str
    line: int


class Reader:
    """Takes the words of a query in their order. Keywords are known in any case, as Logs Insights knows them."""

    def __init__(self, query: str) -> None:
        self._tokens = list(_tokens(query))
        self.position = 0

    @property
    def line(self) -> int:
        """The line of the next word."""
        return self._tokens[self.position].line

    @property
    def at_end(self) -> bool:
        """Whether no word is left."""
        return self._tokens[self.position].kind == "end"

    def next_is(self, *words: str) -> bool:
        """Whether the next words are these keywords or signs."""
        following = self._tokens[self.position : self.position + len(words)]
        return [token.text.lower() if token.kind in {"name", "sign"} else None for token in following] == list(words)

    def accept(self, *words: str) -> bool:
        """Takes these keywords or signs if they come next."""
        found = self.next_is(*words)
        self.position += len(words) if found else 0
        return found

    def expect(self, word: str) -> None:
        """Takes this keyword or sign.

        Raises:
            AlarmError: another word is there.
        """
        if not self.accept(word):
            raise self.error(f"`{word}` is missing before")

    def take(self, *kinds: str) -> Token:
        """Takes the next word, which must be of one of these kinds.

        Raises:
            AlarmError: it is of another kind.
        """
        token = self._tokens[self.position]
        if token.kind not in kinds:
            raise self.error(f"a {' or '.join(kinds)} is missing before")
        self.position += 1
        return token

    def listed(self, read: Callable[[], Item]) -> list[Item]:
        """Takes what `read` takes, again after each comma."""
        items = [read()]
        while self.accept(","):
            items.append(read())
        return items

    def first_line_of(self, names: Collection[str], begin: int) -> int | None:
        """The line of the first of these names among the words taken since position `begin`."""
        taken = self._tokens[begin : self.position]
        return next((token.line for token in taken if token.kind == "name" and token.text in names), None)

    def error(self, what: str) -> AlarmError:
        """What is wrong at the next word, and where that is."""
        token = self._tokens[self.position]
        at = "the end" if token.kind == "end" else f"`{token.text}`"
        return AlarmError(f"query, line {token.line}: {what} {at}: correct the query")


def regular_expression(token: Token) -> re.Pattern[str]:
    """The token's expression; its named groups are written `(?<name>…)`.

    Raises:
        AlarmError: it is no regular expression.
    """
    try:
        return re.compile(re.sub(r"\(\?<(?=[A-Za-z_])", "(?P<", token.text))
    except re.error as error:
        raise AlarmError(f"query, line {token.line}: /{token.text}/ is no regular expression ({error})") from error


def _tokens(query: str) -> Iterator[Token]:
    # A comment is blanked, not cut out, so that line numbers stay.
    text = re.sub(r"(?m)^[ \t]*#.*$", "", query)
    position = 0
    while position < len(text):
        line = text.count("\n", 0, position) + 1
        found = _TOKEN.match(text, position)
        if found is None:
            raise AlarmError(f"query, line {line}: `{text[position]}` is not run here: take it out")
        kind, word = str(found.lastgroup), found[0]
        if kind == "text":
            word = re.sub(r"\\(.)", r"\1", word[1:-1])
        elif kind == "regex":
            word = word[1:-1].replace("\\/", "/")
        elif kind == "name":
            word = word.strip("`")
        if kind != "space":
            yield Token(kind, word, line)
        position = found.end()
    yield Token("end", "", text.count("\n") + 1)
