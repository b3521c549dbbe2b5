"""The certificates that the benchmarks move: numbers, names and files, all from arithmetic.

The numbers have equally many digits, so that the order of the names' bytes is the order of the numbers, and a listing
of any length can be computed instead of stored.
"""

from __future__ import annotations

import hashlib
import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FIRST_NUMBER = 1_000_000
MONTHLY = 20_000  # certificates in a folder
FIRST_YEAR = 2020
MOST_LINKS = 60_000  # ext4 takes 65,000 to a file
SUFFIXES = {"images": "png", "pdf": "pdf"}  # in the order of the names' bytes
_NAME = re.compile(r"certificates/(images|pdf)/\d+/\d+/cert_(\d+)_")


def name(kind: str, number: int) -> str:
    """Returns the name of a certificate's file (kind: pdf or images), as the application makes them."""
    month = (number - FIRST_NUMBER) // MONTHLY
    folder = f"certificates/{kind}/{FIRST_YEAR + month // 12}/{month % 12 + 1:02d}"
    return f"{folder}/cert_{number}_{number * 2_654_435_761 & 0xFFFFFFFF:08x}.{SUFFIXES[kind]}"


def name_at(position: int, rows: int) -> str:
    """Returns the name at a position (from 0) in the sorted listing of the files of `rows` certificates."""
    kind = "images" if position < rows else "pdf"
    return name(kind, FIRST_NUMBER + position % rows)


def position(wanted: str, rows: int) -> int | None:
    """Returns the position of a name in the listing of the files of `rows` certificates; None if it is not there."""
    match = _NAME.match(wanted)
    if match is None:
        return None
    kind, index = match[1], int(match[2]) - FIRST_NUMBER
    if not 0 <= index < rows or name(kind, FIRST_NUMBER + index) != wanted:
        return None
    return index if kind == "images" else rows + index


def write(media_root: Path, rows: int, size: int, share: int = 1) -> Iterator[tuple[int, str]]:
    """Writes two files of `size` random bytes a certificate; yields its number and the SHA-256 of its PDF.

    Args:
        media_root: where the names begin.
        rows: how many certificates.
        size: bytes of a file.
        share: how many certificates in a row have the same bytes, in hard links to one file (up to MOST_LINKS):
            a million small files are named in the time in which a tenth of them could be written.
    """
    numbers = range(FIRST_NUMBER, FIRST_NUMBER + rows)
    for start in range(0, rows, share):
        group = numbers[start : start + share]
        sha256 = {kind: _write_group(media_root, kind, group, size) for kind in SUFFIXES}
        for number in group:
            yield number, sha256["pdf"]


def _write_group(media_root: Path, kind: str, group: range, size: int) -> str:
    body, first = os.urandom(size), media_root / name(kind, group[0])
    for number in group:
        path = media_root / name(kind, number)
        if number == group[0] or (number - FIRST_NUMBER) % MONTHLY == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
        if path == first:
            path.write_bytes(body)
        else:
            os.link(first, path)
    return hashlib.sha256(body).hexdigest()
