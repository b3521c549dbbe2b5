"""Keeps resources that no stand-in stores faithfully: composite alarms, query definitions, inventories.

One JSON file a resource, in the shape of the AWS API, so that whoever plays AWS's part can read what is deployed.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Mapping


class KeptResources:
    """A private directory with a folder a kind: `KeptResources(directory).list("CompositeAlarm")`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def list(self, kind: str) -> list[dict[str, Any]]:
        """Returns the parameters of every resource of the kind, as its Put operation takes them, by identifier."""
        paths = sorted((self.directory / kind).glob("*.json"))
        return [parameters for path in paths if (parameters := _read(path)) is not None]

    def get(self, kind: str, identifier: str) -> dict[str, Any] | None:
        """Returns the parameters of one resource; None if there is none."""
        return _read(self._path(kind, identifier))

    def put(self, kind: str, identifier: str, parameters: Mapping[str, Any]) -> None:
        """Stores the parameters, in place of earlier ones; a reader sees the old or the new ones, never a part."""
        path = self._path(kind, identifier)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
            json.dump(parameters, file)
        Path(file.name).replace(path)  # a temporary file is for its owner alone

    def delete(self, kind: str, identifier: str) -> None:
        """Forgets the resource, if it is there."""
        self._path(kind, identifier).unlink(missing_ok=True)

    def _path(self, kind: str, identifier: str) -> Path:
        return self.directory / kind / f"{quote(identifier, safe='')}.json"


def _read(path: Path) -> dict[str, Any] | None:
    try:
        parameters: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:  # deleted since it was listed
        return None
    return parameters
