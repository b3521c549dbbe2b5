"""Log events that are JSON objects, and property selectors into them."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any, Final, NoReturn, TypeAlias

__all__ = ["MISSING", "SELECTOR", "JsonObject", "Path", "find", "find_selector", "read_object", "read_path"]

JsonObject: TypeAlias = "dict[str, Any]"
Path: TypeAlias = "tuple[str | int, ...]"

SELECTOR = r"\$(?:\.[A-Za-z0-9_-]+(?:\[[0-9]{1,9}\])*)+"
MISSING: Final = object()  # what `find` returns for a path that leads nowhere: null is a value
_SELECTOR = re.compile(SELECTOR)
_STEP = re.compile(r"\.([A-Za-z0-9_-]+)|\[([0-9]+)\]")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse)


@lru_cache(maxsize=16)
def read_object(message: str) -> JsonObject | None:
    """The JSON object that a log event is, or None if it is none.

    The result is shared by the patterns that look at the same event one after another: nobody may change it.
    """
    if not message.lstrip().startswith("{"):
        return None
    try:
        document: JsonObject = _DECODER.decode(message)
    except (ValueError, RecursionError):
        return None
    return document


@lru_cache(maxsize=256)
def read_path(selector: str) -> Path | None:
    """The steps of a selector such as `$.users[0].email`, or None if it is none."""
    if _SELECTOR.fullmatch(selector) is None:
        return None
    return tuple(name or int(index) for name, index in _STEP.findall(selector))


def find(document: JsonObject, path: Path) -> Any:  # noqa: ANN401 (JSON has values of every type)
    """The value at a path, or MISSING."""
    value: Any = document
    for step in path:
        if isinstance(step, str):
            if not isinstance(value, dict) or step not in value:
                return MISSING
        elif not isinstance(value, list) or step >= len(value):
            return MISSING
        value = value[step]
    return value


def find_selector(document: JsonObject, selector: str) -> Any:  # noqa: ANN401 (JSON has values of every type)
    """The value at a selector; MISSING, too, if the selector cannot be read."""
    path = read_path(selector)
    return MISSING if path is None else find(document, path)
