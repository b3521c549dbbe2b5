"""What the workers counted since the last daily check, wherever it was counted, and how their journals tell it."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from cutover.exit_codes import CommandError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from cutover.evidence.record import Gap

    Journals = Mapping[str, Mapping[str, Any]]

__all__ = ["CountError", "Counted", "fallbacks", "of_journals", "utc_text"]


class CountError(CommandError):
    """A day's lines could not be counted, which is not the same as none; the sentence names the machine."""

    exit_code = ExitCode.ERROR


@dataclass(frozen=True)
class Counted:
    """METRIC lines by name and the fallback reads from `since` to `until` (UTC), and where they were counted.

    Of the `gaps` nothing is counted, which is not zero.
    """

    source: Literal["journals", "delivered lines"]
    since: datetime
    until: datetime
    counts: Mapping[str, int]
    fallbacks: Sequence[Mapping[str, Any]]
    gaps: Sequence[Gap] = ()

    def a_day(self, metric: str, time_scale: float) -> int:
        """How many lines of this name that is in a day, of a rehearsal in one of its days; rounded up.

        Less than an hour counts as one: a second check right after the first would make a day's bill of one burst.
        """
        span = max((self.until - self.since) * time_scale, timedelta(hours=1))
        return math.ceil(self.counts.get(metric, 0) * (timedelta(days=1) / span))

    def document(self) -> dict[str, Any]:
        """As the record of the day has it."""
        window = {"source": self.source, "since": utc_text(self.since), "until": utc_text(self.until)}
        gaps = {"gaps": [gap.model_dump(mode="json") for gap in self.gaps]} if self.gaps else {}
        return {"counted": window | gaps, "counts": dict(self.counts), "fallbacks": list(self.fallbacks)}


def of_journals(text: str, machines: Collection[str]) -> Counted:
    """What the documents of `cutover journal` say, one a machine by its name, together.

    The next count begins where the first of them ends: a line too many is no line lost.

    Args:
        text: the JSON object of them.
        machines: which must be there, no more and no fewer.

    Raises:
        CountError: the text is no such object, or one of another deployment.
    """
    try:
        journals: Journals = json.loads(text)
        strangers = sorted(set(journals) ^ set(machines))
        if strangers:
            raise CountError(
                f"--journals and --machine are not of the same machines ({', '.join(strangers)}): name all"
            )
        return Counted(
            source="journals",
            since=min(datetime.fromisoformat(journal["since"]) for journal in journals.values()),
            until=min(datetime.fromisoformat(journal["until"]) for journal in journals.values()),
            counts=_summed(journals),
            fallbacks=fallbacks(journals),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CountError(
            f"--journals holds no documents of `cutover journal --json` by machine ({error!r}): count them again"
        ) from error


def fallbacks(journals: Journals) -> list[dict[str, Any]]:
    """Every fallback read that the machines' journals tell of, with its machine, in the order of time."""
    found = [
        {**entry, "worker": f"{machine} {entry['unit']}"}
        for machine, journal in journals.items()
        for entry in journal["fallbacks"]
    ]
    return sorted(found, key=lambda entry: str(entry["at"]))


def _summed(journals: Journals) -> dict[str, int]:
    """The METRIC lines of all workers of all machines, by name."""
    counts: Counter[str] = Counter()
    for journal in journals.values():
        for worker in journal["units"].values():
            counts.update(worker["metrics"])
    return dict(counts)


def utc_text(moment: datetime) -> str:
    """A moment (UTC) as records have it: ISO 8601 with microseconds and Z."""
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
