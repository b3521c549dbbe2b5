"""What a playbook got back from a data tool: the document it printed, or one sentence on why there is none."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Document = dict[str, Any] | list[Any]

__all__ = ["document", "problem"]

_TOLD = 400  # characters of what a tool said; more hides the sentence that follows


def document(text: str) -> Document:
    """The JSON object or list of this text, or of its last line: what a site prints while it starts stands before it.

    Raises:
        ValueError: neither is a JSON object or list.
    """
    for candidate in (text, text.strip().rpartition("\n")[2]):
        try:
            found = json.loads(candidate)
        except ValueError:
            continue
        if isinstance(found, dict | list):
            return found
    raise ValueError(f"no JSON document: {_short(text) or 'nothing at all'}")


def problem(result: Mapping[str, Any], command: str, host: str, accepts: Sequence[int]) -> str:
    """Why there is nothing to judge, as one sentence; empty if there is a document.

    Args:
        result: of Ansible's task that ran the command.
        command: what ran, for the sentence.
        host: where it ran.
        accepts: the exit codes after which the command has printed its document.
    """
    if result.get("unreachable"):
        return f"{host} cannot be reached, so `{command}` could not be asked"
    code, output = result.get("rc"), result.get("stdout", "")
    said = _short(result.get("stderr", "")) or _short(output) or _short(_start_failed(result)) or "it said nothing"
    if code not in accepts:
        return f"`{command}` on {host} ended with {code}: {said}"
    if not output.strip():
        return f"`{command}` on {host} ended with {code} and printed no result: {said}"
    try:
        document(output)
    except ValueError as error:
        return f"`{command}` on {host} ended with {code} and printed {error}"
    return ""


def _start_failed(result: Mapping[str, Any]) -> str:
    """Ansible's own words where the program could not be started; after an exit code they say nothing."""
    words = str(result.get("msg", ""))
    return "" if words == "non-zero return code" else words


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= _TOLD else f"{words[:_TOLD]} …"
