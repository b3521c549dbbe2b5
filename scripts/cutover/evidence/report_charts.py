"""Inline SVG: measurements over time with the table's thresholds, and the workers' modes over time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cutover.evidence.markup import Markup, element, join

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Curve", "Dot", "Lane", "Mark", "Threshold", "chart", "lanes"]

WIDTH, HEIGHT = 900, 190
LEFT, RIGHT, TOP, BOTTOM = 150, 240, 12, 26
LANE = 24
_TICKS = 4
_NAME_LETTERS = 21


@dataclass(frozen=True)
class Dot:
    """One measurement of a record: `text` says which, `verdict` colours it."""

    at: datetime
    value: float
    verdict: str
    text: str


@dataclass(frozen=True)
class Curve:
    """Measurements over time; None is a gap."""

    points: Sequence[tuple[datetime, float | None]]


@dataclass(frozen=True)
class Threshold:
    """A limit of the table: where it lies, what it says."""

    value: float
    text: str


@dataclass(frozen=True)
class Lane:
    """A worker's modes: begin, end, mode."""

    name: str
    spans: Sequence[tuple[datetime, datetime, str]]


@dataclass(frozen=True)
class Mark:
    """Something that happened at a moment, across all lanes."""

    at: datetime
    word: str
    text: str


@dataclass(frozen=True)
class _Scale:
    """From times and values to the drawing's coordinates."""

    begin: float
    end: float
    low: float
    high: float

    def x(self, at: datetime) -> float:
        share = (at.timestamp() - self.begin) / (self.end - self.begin) if self.end > self.begin else 0.5
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)


def chart(name: str, dots: Sequence[Dot], curves: Sequence[Curve], thresholds: Sequence[Threshold]) -> Markup:
    """Measurements over time, and the thresholds as dashed lines; "not measured" where there is none."""
    drawn = [(at, value) for curve in curves for at, value in curve.points if value is not None]
    drawn += [(dot.at, dot.value) for dot in dots]
    if not drawn:
        limits = "; ".join(threshold.text for threshold in thresholds)
        return element(
            "p", element("b", name), " not measured", f" (wanted: {limits})" if limits else None, class_="none"
        )
    scale = _scale([at for at, _ in drawn], [value for _, value in drawn] + [each.value for each in thresholds])
    parts = [element("title", f"{name}: {len(drawn)} measurements"), *_axes(scale)]
    parts += _thresholds(scale, thresholds)
    parts += [line for curve in curves for line in _curve(scale, curve)]
    parts += [_dot(scale, dot) for dot in dots]
    return element("figure", element("figcaption", name), _drawing(HEIGHT, name, parts))


def lanes(rows: Sequence[Lane], marks: Sequence[Mark] = ()) -> Markup:
    """One lane a worker, coloured and labelled by mode, and a line through all of them for each mark."""
    if not rows:
        return element("p", "not measured: no record tells the modes of any worker", class_="none")
    times = [time for row in rows for begin, end, _ in row.spans for time in (begin, end)]
    times += [mark.at for mark in marks]
    scale = _scale(times, [0.0])
    height = TOP + LANE * len(rows) + BOTTOM
    parts = [element("title", f"modes of {len(rows)} workers"), *_time_axis(scale, height)]
    for number, row in enumerate(rows):
        top = TOP + LANE * number
        parts.append(element("text", _short(row.name), x=LEFT - 6, y=top + 15, text_anchor="end"))
        parts += [part for span in row.spans for part in _span(scale, top, *span)]
    parts += [part for mark in marks for part in _mark(scale, height, mark)]
    return _drawing(height, "modes by worker", parts)


def _drawing(height: int, name: str, parts: Iterable[Markup]) -> Markup:
    """The drawing in a box of its own, which a narrow screen scrolls."""
    drawn = element("svg", *parts, viewBox=f"0 0 {WIDTH} {height}", role="img", aria_label=name)
    return element("div", drawn, class_="wide")


def _short(name: str) -> Markup:
    """A name that fits beside its lane; the whole one when it is pointed at."""
    if len(name) <= _NAME_LETTERS:
        return join(name)
    return join(element("title", name), f"{name[: _NAME_LETTERS - 1]}…")


def _span(scale: _Scale, top: int, begin: datetime, end: datetime, mode: str) -> Iterable[Markup]:
    left, right = scale.x(begin), max(scale.x(end), scale.x(begin) + 3)
    title = element("title", f"{mode} from {_moment(begin)} to {_moment(end)}")
    known = mode if mode in {"local", "dual-write", "s3-reads", "settled"} else "other"
    box = {"x": left, "y": top, "width": round(right - left, 1), "height": LANE - 4}
    yield element("rect", title, class_=f"mode {known}", **box)
    if right - left > 7 * len(mode):
        yield element("text", mode, x=left + 4, y=top + 14, class_="on")


def _mark(scale: _Scale, height: int, mark: Mark) -> Iterable[Markup]:
    x, title = scale.x(mark.at), element("title", f"{mark.text}, {_moment(mark.at)}")
    yield element("line", title, x1=x, x2=x, y1=TOP, y2=height - BOTTOM, class_="mark")
    yield element("text", mark.word, x=x, y=TOP - 1, text_anchor="middle", class_="mark")


def _scale(times: Sequence[datetime], values: Sequence[float]) -> _Scale:
    low, high = min(values), max(values)
    margin = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    bottom = low - margin if low < 0 else max(low - margin, 0.0)  # no axis shows what cannot be, such as -4 ms
    stamps = [time.timestamp() for time in times]
    return _Scale(min(stamps), max(stamps), bottom, high + margin)


def _axes(scale: _Scale) -> list[Markup]:
    parts = _time_axis(scale, HEIGHT)
    for number in range(_TICKS):
        value = scale.low + (scale.high - scale.low) * number / (_TICKS - 1)
        y = scale.y(value)
        parts.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid"))
        parts.append(element("text", f"{value:.4g}", x=LEFT - 6, y=y + 4, text_anchor="end"))
    return parts


def _time_axis(scale: _Scale, height: int) -> list[Markup]:
    moments = [datetime.fromtimestamp(stamp, UTC) for stamp in dict.fromkeys((scale.begin, scale.end))]
    anchors = ("start", "end") if len(moments) > 1 else ("middle",)
    return [
        element("text", _moment(moment), x=scale.x(moment), y=height - 6, text_anchor=anchor)
        for moment, anchor in zip(moments, anchors, strict=True)
    ]


def _thresholds(scale: _Scale, thresholds: Sequence[Threshold]) -> Iterable[Markup]:
    """Lines where the limits lie, their texts beside them, moved apart where they would cover each other."""
    free = float(HEIGHT)
    for threshold in sorted(thresholds, key=lambda each: each.value):
        y = scale.y(threshold.value)
        text = min(y + 4, free - 13)
        free = text
        yield element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="limit")
        yield element("text", threshold.text, x=WIDTH - RIGHT + 6, y=text, class_="limit")


def _curve(scale: _Scale, curve: Curve) -> Iterable[Markup]:
    """The curve's pieces between its gaps; a piece of one point is a small circle."""
    piece: list[str] = []
    for at, value in [*curve.points, (datetime.now(UTC), None)]:
        if value is not None:
            piece.append(f"{scale.x(at)},{scale.y(value)}")
            continue
        if len(piece) > 1:
            yield element("polyline", points=" ".join(piece), class_="curve")
        elif piece:
            x, y = piece[0].split(",")
            yield element("circle", cx=x, cy=y, r=2, class_="curve")
        piece = []


def _dot(scale: _Scale, dot: Dot) -> Markup:
    title = element("title", f"{dot.text}: {dot.value:g} ({dot.verdict}), {_moment(dot.at)}")
    return element("circle", title, cx=scale.x(dot.at), cy=scale.y(dot.value), r=4, class_=f"dot {dot.verdict}")


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"
