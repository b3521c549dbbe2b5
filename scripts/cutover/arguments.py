"""Kinds of arguments that the commands take; each says in one sentence why it refuses a text."""

from __future__ import annotations

import argparse
import datetime
import math

__all__ = ["key", "moment", "natural", "positive", "rate", "seconds"]


def key(text: str) -> str:
    """A file's name, which the table has as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no UTF-8, so no certificate has it") from error
    return text


def moment(text: str) -> datetime.datetime:
    """A time in ISO 8601 with a zone."""
    try:
        found = datetime.datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time with a zone: write 2026-11-24T10:00:00Z")
    return found


def natural(text: str) -> int:
    """A whole number that PostgreSQL's bigint can hold."""
    if not text.isascii() or not text.isdigit() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 to 2^63")
    return int(text)


def positive(text: str) -> int:
    """A whole number from 1 on."""
    if not natural(text):
        raise argparse.ArgumentTypeError("must be 1 or more")
    return int(text)


def rate(text: str) -> float:
    """Certificates a second."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of certificates a second above 0")
    return number


def seconds(text: str) -> float:
    """A span of time, a day at most."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 0 to a day")
    return number
