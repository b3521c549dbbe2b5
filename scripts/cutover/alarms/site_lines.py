"""The log lines that a site writes in a scenario, in the application's three layouts.

They are the application's and the probe's own lines, not made from the table: a metric filter that counts another name
or another layout must be noticed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from cutover import plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cutover.alarm_table import Probe
    from cutover.alarms.scenario import Phase, Scenario

__all__ = ["START", "Line", "lines"]

# Minute 0 of every scenario, seconds since 1970: a full hour, because an alarm that looks back for more than a day is
# judged once an hour.
START = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())
# The application writes local times without a zone; Asia/Dhaka has no summer time.
DHAKA = timezone(timedelta(hours=6))
LOGGER = "apps.tournaments.storage"

Text = Callable[[datetime], str]


class Line(NamedTuple):
    """A log line as it is delivered: seconds since 1970, and the text."""

    at: float
    message: str


def lines(scenario: Scenario) -> Iterator[Line]:
    """The scenario's lines that are delivered, oldest first."""
    probe = plan.load().telemetry.probe
    for phase in scenario.phases:
        if phase.telemetry:
            for minute in phase.minutes:
                yield from _of_minute(scenario, phase, minute, probe)


def _of_minute(scenario: Scenario, phase: Phase, minute: int, probe: Probe) -> list[Line]:
    begin, counter = START + minute * 60, _COUNTERS[scenario.layout]
    texts = [
        *_spread([counter(metric) for metric in _saves(phase, minute)]),
        *_spread([counter(metric) for metric in _reads(phase, minute)]),
        *_spread([_request for _ in _due(phase.requests_per_minute, minute - phase.minutes.start)]),
        *_spread(_probed(phase, minute, probe)),
        *_spread([_measured("cert.consistency.mismatch_ratio", ratio) for ratio in _checks(scenario, minute)]),
    ]
    texts.sort(key=lambda text: text[0])
    return [Line(begin + second, text(datetime.fromtimestamp(begin + second, DHAKA))) for second, text in texts]


def _saves(phase: Phase, minute: int) -> list[str]:
    saves = _due(phase.saves_per_minute, minute - phase.minutes.start)
    return [f"cert.s3.save.{'fail' if _is_one_of(phase.save_failures, save) else 'success'}" for save in saves]


def _reads(phase: Phase, minute: int) -> list[str]:
    reads = _due(phase.reads_per_minute, minute - phase.minutes.start)
    return [f"cert.s3.read.{'fallback' if _is_one_of(phase.read_fallbacks, read) else 'success'}" for read in reads]


def _checks(scenario: Scenario, minute: int) -> list[float]:
    ratios = [event.consistency_mismatch for event in scenario.events if event.minute == minute]
    return [float(ratio) for ratio in ratios if ratio is not None]


def _probed(phase: Phase, minute: int, probe: Probe) -> list[Text]:
    """One machine's probe: a put of each size and one signature, each interval."""
    if not phase.probe:
        return []
    texts = []
    for number in _due(Fraction(60, probe.interval_seconds), minute - phase.minutes.start):
        sizes = len(probe.object_bytes)
        for put in range(number * sizes, (number + 1) * sizes):
            slow = _is_one_of(phase.slow_uploads, put)
            texts.append(_measured("cert.s3.probe.put_ms", phase.slow_upload_ms if slow else phase.upload_ms))
        slow = _is_one_of(phase.slow_signatures, number)
        texts.append(_measured("cert.s3.probe.sign_ms", phase.slow_sign_ms if slow else phase.sign_ms))
    return texts


def _due(rate: Fraction, minute: int) -> range:
    """The numbers of the things that happen in this minute, at `rate` a minute since minute 0."""
    return range(math.floor(rate * minute), math.floor(rate * (minute + 1)))


def _is_one_of(share: Fraction, number: int) -> bool:
    """Whether the thing of this number, from 0, belongs to the share: of the first n things, share * n do."""
    return math.floor(share * (number + 1)) > math.floor(share * number)


def _spread(texts: Sequence[Text]) -> list[tuple[float, Text]]:
    """Evenly over the minute: the second of each."""
    return [((2 * number + 1) * 30 / len(texts), text) for number, text in enumerate(texts)]


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S},{at.microsecond // 1000:03d}"


def _console(metric: str) -> Text:
    return lambda at: f"INFO {_time(at)} {LOGGER} METRIC: {metric}=1"


def _file(metric: str) -> Text:
    return lambda at: f"INFO {_time(at)} {LOGGER} storage 21247 140039661087616 METRIC: {metric}=1"


def _json(metric: str) -> Text:
    return lambda at: json.dumps(
        {"levelname": "INFO", "asctime": _time(at), "name": LOGGER, "message": f"METRIC: {metric}=1"}
    )


_COUNTERS = {"console": _console, "file": _file, "json": _json}


def _measured(metric: str, value: float) -> Text:
    """A line of the probe or of the consistency check: JSON in every layout, for its number is taken."""
    return lambda at: json.dumps(
        {
            "levelname": "INFO",
            "asctime": _time(at),
            "name": "cutover",
            "message": f"METRIC: {metric}={value:g}",
            "metric_name": metric,
            "value": value,
        }
    )


def _request(at: datetime) -> str:
    return f"10.0.0.1 - - [{at:%d/%b/%Y:%H:%M:%S} +0600] GET /api/tournaments/certificates/1/ => 200"
