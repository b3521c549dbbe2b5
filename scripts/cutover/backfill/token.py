"""Resume tokens: where a backfill goes on."""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import TYPE_CHECKING

from cutover.exit_codes import CommandError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["TokenError", "decode", "encode"]

LAST_LINE = "RESUME_TOKEN"  # what the runbook greps for
_WITH_TIME = re.compile(r"(\d{1,19}):[0-9T:.+Z-]*")
_BLANK_IN_TIME = re.compile(r"(?<=:\d{4}-\d\d-\d\d) (?=\d\d:)")  # else its hour would be a token of its own


class TokenError(CommandError):
    """A text is no resume token."""


def encode(start_id: int) -> str:
    """The runbook's form: base64 of `{"start_id": N}`, N being the first id that is not done."""
    return base64.b64encode(json.dumps({"start_id": start_id}).encode()).decode()


def decode(words: Sequence[str]) -> int:
    """The id to start from, by the words that stood behind `--resume-token`.

    A token may stand behind the word RESUME_TOKEN, as in the last line of a log; the form `N:timestamp` is taken, too.
    Of several, as `tail` of several logs gives them, the smallest counts: what is done already costs next to nothing.

    Raises:
        TokenError: there is no token, or one cannot be read.
    """
    tokens = [word for word in _BLANK_IN_TIME.sub("T", " ".join(words)).split() if word != LAST_LINE]
    if not tokens:
        raise TokenError("--resume-token: there is no token; take the one behind RESUME_TOKEN in the last run's log")
    return min(_start_id(token) for token in tokens)


def _start_id(token: str) -> int:
    try:
        found = _WITH_TIME.fullmatch(token)
        start_id = int(found[1]) if found else json.loads(base64.b64decode(token, validate=True))["start_id"]
    except (binascii.Error, ValueError, KeyError, TypeError):
        start_id = None
    if not isinstance(start_id, int) or isinstance(start_id, bool) or not 0 <= start_id < 2**63:
        raise TokenError(
            f'--resume-token {token[:80]!r}: is no token; it is base64 of {{"start_id": N}}, or N:timestamp'
        )
    return start_id
