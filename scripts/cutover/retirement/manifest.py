"""A manifest: one line a file, SHA-256 and name, as `sha256sum --check` reads it."""

from __future__ import annotations

import os

__all__ = ["MEMBER", "ManifestError", "line", "parse"]

MEMBER = "MANIFEST.sha256"  # the last member of an archive
_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r"}


class ManifestError(RuntimeError):
    """A line of a manifest is none."""


def line(name: str, sha256: str) -> bytes:
    """The line of one file; one whose name has a backslash or a line break is escaped, and begins with a backslash."""
    escaped = "".join(_ESCAPES.get(character, character) for character in name)
    return ("\\" if escaped != name else "").encode() + f"{sha256}  ".encode() + os.fsencode(escaped) + b"\n"


def parse(text: bytes) -> tuple[str, str]:
    """Name and SHA-256 (hexadecimal) of a line.

    Raises:
        ManifestError: it is no line of a manifest.
    """
    sha256, sign, name = os.fsdecode(text).rstrip("\n").partition("  ")
    escaped = sha256.startswith("\\")
    sha256 = sha256.removeprefix("\\")
    if not sign or len(sha256) != 64 or not name:
        raise ManifestError(f"{text[:100]!r} is no line of a manifest")
    return (_unescaped(name) if escaped else name), sha256


def _unescaped(name: str) -> str:
    parts = name.split("\\\\")
    return "\\".join(part.replace("\\n", "\n").replace("\\r", "\r") for part in parts)
