"""Every alarm at its boundary, which is taken from the table; and what a replay may not depend on."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cutover import names, plan
from cutover.alarms.monitor import Monitor
from tests.unit.alarms.table_resources import declared

TABLE = plan.load()
NAMESPACE = names.namespace(TABLE.telemetry, "production")
GROUP = names.log_group(TABLE.telemetry, "production")
RESOURCES = declared(TABLE)
START = 1_767_225_600  # 2026-01-01T00:00:00Z, a full hour
PER_MINUTE = 1000  # of which every limit of the table is a whole number
UPPER = [name for name in TABLE.alarms if TABLE.watch(name).alert.above is not None]
RATIOS = [name for name in TABLE.alarms if TABLE.watch(name).measure in TABLE.ratios]

Samples = Iterator[tuple[str, float]]


def ratio_samples(name: str, numerator: float, denominator: float) -> Samples:
    """One minute's counts, so that the ratio is numerator ÷ denominator."""
    ratio = TABLE.ratios[TABLE.watch(name).measure]
    (other,) = set(ratio.denominator) - set(ratio.numerator)
    yield ratio.numerator[0], numerator
    yield other, denominator - numerator


def samples(name: str, minute: int, beyond: bool) -> Samples:
    """What happens in a minute: exactly the alarm's limit, or the least amount `beyond` it."""
    alarm, watch = TABLE.alarms[name], TABLE.watch(name)
    (limit,) = (value for value in (watch.alert.above, watch.alert.below) if value is not None)
    step = 1 if watch.alert.above is not None else -1
    if watch.measure in TABLE.ratios:
        yield from ratio_samples(name, round(limit * PER_MINUTE) + step * beyond, PER_MINUTE)
    elif watch.measure in TABLE.measurements:
        yield watch.measure, limit + beyond * 0.0001
    elif minute % (alarm.period_seconds // 60) == 0:  # a count: all of a period at once
        yield watch.measure, limit + beyond
    else:
        yield watch.measure, 0


def replay(name: str, minutes: int, happens: Callable[[int], Samples], start: int = START) -> list[tuple[int, str]]:
    """The alarm's changes into and out of ALARM: minute and state."""
    monitor = Monitor(RESOURCES, start)
    for minute in range(minutes):
        for metric, value in happens(minute):
            monitor.put(NAMESPACE, metric, value, start + minute * 60)
    return [
        (int(each.at - start) // 60, each.new)
        for each in monitor.advance(start + minutes * 60)
        if each.alarm == names.alarm("production", name) and "ALARM" in (each.old, each.new)
    ]


@pytest.mark.parametrize("name", [name for name in TABLE.alarms if name in UPPER or name in RATIOS])
def test_at_its_limit_it_is_quiet_and_just_beyond_it_fires_and_resolves(name: str) -> None:
    """An alarm that fires a window too late, or never, is an outage without a page.

    The first minute beyond the limit makes its window breach; M windows must, at M different minutes a period apart.
    It resolves when no more than M - 1 of the newest N windows have a minute beyond the limit.
    """
    alarm = TABLE.alarms[name]
    period, count, needed = alarm.period_seconds // 60, alarm.evaluation_periods, alarm.datapoints
    begin, end, last = 6 * period, 12 * period, 24 * period
    is_count = TABLE.watch(name).measure in {*TABLE.metrics, *TABLE.reported}
    newest_bad = end - period if is_count else end - 1  # a count's events lie in a period's first minute
    changes = replay(name, last, lambda minute: samples(name, minute, begin <= minute < end))
    fires = begin + 1 + (needed - 1) * period
    resolves = newest_bad + 1 + (count - needed + 1) * period
    assert changes == [(fires, "ALARM"), (resolves, "OK")]


@pytest.mark.parametrize("name", RATIOS)
def test_a_ratio_of_too_few_is_none(name: str) -> None:
    """One failure of three uploads at night is noise, and must page nobody."""
    alarm = TABLE.alarms[name]
    period, minimum = alarm.period_seconds // 60, alarm.minimum_denominator or 0
    bad = 1 if TABLE.watch(name).alert.above is not None else 0

    def all_bad(total: int) -> Callable[[int], Samples]:
        return lambda minute: ratio_samples(name, bad * total, total) if minute % period == 0 else iter(())

    assert replay(name, 12 * period, all_bad(minimum - 1)) == []
    assert [state for _, state in replay(name, 12 * period, all_bad(minimum))] == ["ALARM"]


@pytest.mark.parametrize("name", ["no-telemetry", "no-consistency-check"])
def test_what_must_happen_in_every_range_and_does_not(name: str) -> None:
    """A probe or a check that died silently leaves every other alarm blind."""
    alarm, watch = TABLE.alarms[name], TABLE.watch(name)
    period = alarm.period_seconds // 60
    begin = alarm.evaluation_periods * period  # the last period in which it happened ends here
    again = begin + (alarm.evaluation_periods + 2) * period

    def happens(minute: int) -> Samples:
        yield watch.measure, watch.alert.below or 0 if minute % period == 0 and not begin <= minute < again else 0

    silent = begin + alarm.evaluation_periods * period
    assert replay(name, again + 2 * period, happens) == [
        (silent if period == 60 else begin + 1 - period + period * alarm.evaluation_periods, "ALARM"),
        (again + (period if period == 60 else 1), "OK"),
    ]


def random_lines(minutes: int, seed: int) -> list[tuple[float, str]]:
    """Traffic with failures, gaps and other lines, the order of a minute's lines left to the caller."""
    chance = random.Random(seed)  # noqa: S311 (no secret)
    lines = []
    for minute in range(minutes):
        failing = chance.choice([0.0, 0.0, 0.02, 0.2])
        for _ in range(chance.choice([0, 3, 40])):
            kind = chance.choice(["save", "read"])
            bad = chance.random() < failing
            metric = f"cert.s3.{kind}.{({'save': 'fail', 'read': 'fallback'})[kind] if bad else 'success'}"
            lines.append((minute * 60 + chance.uniform(0, 59.9), f"INFO x METRIC: {metric}=1"))
        if chance.random() < 0.7:
            value = chance.uniform(100, 600)
            line = f'{{"message": "METRIC: x", "metric_name": "cert.s3.probe.put_ms", "value": {value}}}'
            lines.append((minute * 60 + chance.uniform(0, 59.9), line))
    return lines


def timeline(lines: list[tuple[float, str]], minutes: int, start: int) -> list[tuple[Any, ...]]:
    monitor = Monitor(RESOURCES, start)
    for at, message in lines:
        monitor.log(GROUP, message, start + at)
    return [
        (each.at - start, each.alarm, each.kind, each.old, each.new, each.reason, each.actions, each.suppressed_by)
        for each in monitor.advance(start + minutes * 60)
    ]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.randoms())
def test_the_order_of_lines_does_not_matter(seed: int, order: random.Random) -> None:
    """Ten machines deliver their lines interleaved anyhow; who is paged must not depend on it."""
    lines = random_lines(90, seed)
    expected = timeline(lines, 90, START)
    assert any(state == "ALARM" for _, _, _, _, state, *_ in expected)
    order.shuffle(lines)
    assert timeline(lines, 90, START) == expected


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.integers(-10_000, 10_000))
def test_a_shift_by_minutes_shifts_the_timeline(seed: int, minutes: int) -> None:
    """A rule that is tied to multiples of a period would page at another minute the next day.

    The one alarm that CloudWatch judges once an hour is left out, and what is composed of it.
    """
    hourly = {names.alarm("production", "no-consistency-check"), names.incident("production", "degraded")}
    lines = random_lines(60, seed)
    expected = [change for change in timeline(lines, 60, START) if change[1] not in hourly]
    shifted = [change for change in timeline(lines, 60, START + minutes * 60) if change[1] not in hourly]
    assert shifted == expected


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 1000), st.integers(-1000, 1000))
def test_a_shift_by_hours_shifts_the_whole_timeline(seed: int, hours: int) -> None:
    lines = random_lines(130, seed)
    assert timeline(lines, 130, START + hours * 3600) == timeline(lines, 130, START)
