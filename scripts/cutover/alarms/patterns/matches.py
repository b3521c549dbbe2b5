"""What a filter pattern finds in a log event."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from cutover.alarms.patterns.comparisons import read_number
from cutover.alarms.patterns.documents import JsonObject, find_selector

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Match", "Pattern"]


@dataclass(frozen=True, slots=True)
class Match:
    """A log event that a pattern matches.

    Attributes:
        fields: "$name" to text, of the named fields of a space-delimited pattern; else empty.
        document: the event, if the pattern is a JSON one.
    """

    fields: Mapping[str, str] = field(default_factory=dict)
    document: JsonObject | None = None

    def value(self, metric_value: str) -> float | None:
        """The number that a metric filter's `metricValue` stands for in this event.

        Args:
            metric_value: a number ("1"), a space-delimited field ("$bytes") or a JSON property ("$.latency", "$.a[0]").

        Returns:
            A finite number, or None if the event has no number there: then CloudWatch publishes nothing.
        """
        if metric_value.startswith("$."):
            found = None if self.document is None else find_selector(self.document, metric_value)
        elif metric_value.startswith("$"):
            found = self.fields.get(metric_value)
        else:
            found = metric_value
        number = read_number(found) if isinstance(found, str) else found
        if isinstance(number, bool) or not isinstance(number, int | float):
            return None
        try:
            value = float(number)
        except OverflowError:
            return None
        return value if math.isfinite(value) else None


class Pattern(Protocol):
    """A compiled filter pattern."""

    def match(self, message: str) -> Match | None:
        """The match of a log event, or None if the pattern does not match it."""
