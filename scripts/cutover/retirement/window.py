"""When files may be moved: a span of the day in the machine's local time."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta

__all__ = ["Until", "Window", "until", "window"]

_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True)
class Window:
    """From `begin` until `end`, each day; over midnight if the end is the earlier one."""

    begin: time
    end: time

    def is_open(self, now: datetime) -> bool:
        """Whether `now`, in local time, lies within it; the end itself does not."""
        moment = now.time()
        if self.begin < self.end:
            return self.begin <= moment < self.end
        return moment >= self.begin or moment < self.end


@dataclass(frozen=True)
class Until:
    """Until a moment, in local time."""

    end: datetime

    def is_open(self, now: datetime) -> bool:
        """Whether the moment is still to come."""
        return now < self.end


def window(text: str) -> Window:
    """Reads `HH:MM-HH:MM`; argparse's error otherwise."""
    begin, sign, end = text.partition("-")
    if not sign or begin == end:
        raise argparse.ArgumentTypeError(f"{text!r} is no span such as 01:00-05:00")
    return Window(_time(begin), _time(end))


def until(text: str, now: datetime | None = None) -> Until:
    """Reads `HH:MM`, the next such moment; argparse's error otherwise."""
    start = now or datetime.now().astimezone()
    moment = _time(text)
    end = start.replace(hour=moment.hour, minute=moment.minute, second=0, microsecond=0)
    return Until(end if end > start else end + timedelta(days=1))


def _time(text: str) -> time:
    found = _TIME.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 05:00")
    return time(int(found[1]), int(found[2]))
