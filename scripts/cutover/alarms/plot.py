"""A replay as a picture: the rates over time, and under them a lane for each alarm, coloured by its state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cutover import names, plan
from cutover.alarms.errors import AlarmError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from cutover.alarms.replay import Replay

__all__ = ["draw"]

COLOURS = {"ALARM": "#c0392b", "OK": "#27ae60", "INSUFFICIENT_DATA": "#bdc3c7"}
FORMATS = {".svg", ".png"}


def draw(shown: Replay, path: Path) -> None:
    """Writes the picture.

    Raises:
        AlarmError: matplotlib is not installed, the name ends in neither .svg nor .png, or the file cannot be written.
    """
    if path.suffix not in FORMATS:
        raise AlarmError(f"{path}: a plot is an .svg or a .png file: give such a name")
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 (slow to load, and only plots need it)
        from matplotlib.patches import Patch  # noqa: PLC0415 (as above)
    except ImportError as error:
        raise AlarmError("--plot needs matplotlib, which is not installed: pip install matplotlib") from error
    lanes = sorted({transition.alarm for transition in shown.transitions})
    figure = Figure(figsize=(12, 4 + 0.3 * len(lanes)), layout="constrained")  # no pyplot: no display, no global state
    rates, states = figure.subplots(2, sharex=True, height_ratios=(3, 1 + 0.3 * len(lanes)))
    figure.suptitle(shown.source)
    _draw_rates(rates, shown)
    _draw_states(states, shown, lanes)
    _explain(states, [Patch(color=colour, label=state) for state, colour in COLOURS.items()])
    try:
        figure.savefig(path)
    except OSError as error:
        raise AlarmError(f"{path}: cannot be written ({error.strerror}): give another name") from error


def _draw_rates(axes: Axes, shown: Replay) -> None:
    table = plan.load()
    for alarm in table.alarms:
        values = shown.values.get(names.alarm(shown.deployment, alarm), [])
        if table.watch(alarm).measure in table.ratios and any(value is not None for value in values):
            percent = [float("nan") if value is None else 100 * value for value in values]
            axes.plot(range(1, len(percent) + 1), percent, label=alarm, drawstyle="steps-post")
    axes.set_ylabel("percent of the alarm's period")
    if axes.lines:
        _explain(axes, axes.lines)


def _explain(axes: Axes, shown: Sequence[Artist]) -> None:
    axes.legend(handles=shown, loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")


def _draw_states(axes: Axes, shown: Replay, lanes: list[str]) -> None:
    for lane, alarm in enumerate(lanes):
        changes = [(0, "INSUFFICIENT_DATA")]
        changes += [(shown.minute(each.at), each.new) for each in shown.transitions if each.alarm == alarm]
        ends = [minute for minute, _ in changes[1:]] + [shown.minutes]
        for (begin, state), end in zip(changes, ends, strict=True):
            axes.barh(lane, end - begin, left=begin, color=COLOURS[state], height=0.8)
    axes.set_yticks(range(len(lanes)), lanes, fontsize="small")
    axes.set_xlabel("minutes")
    axes.set_xlim(0, shown.minutes)
