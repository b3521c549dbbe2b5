"""What the benchmarks say: a table, a JSON document and a plot."""

from __future__ import annotations

import json
import os
import platform
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.benchmarks.arithmetic import Findings

PLAIN_WIDTH = 200  # columns, where no terminal says how many it has
STYLES = {"PASS": "green", "FAIL": "bold red"}


def missed(findings: Sequence[Findings]) -> bool:
    """Tells whether a target was missed."""
    return any(result.verdict == "FAIL" for found in findings for result in found.results)


def print_table(findings: Sequence[Findings], *, quick: bool) -> None:
    """Prints one line a measure on standard output; without colours and frame where that is no terminal."""
    terminal = sys.stdout.isatty()
    table = Table(box=SIMPLE if terminal else None, pad_edge=False)
    for heading in ("Benchmark", "Measure", "Result", "Target", "Verdict", "Measured"):
        table.add_column(heading, justify="right" if heading in {"Result", "Target"} else "left", no_wrap=not terminal)
    for found in findings:
        for result in found.results:
            verdict = "" if quick else result.verdict
            styled = f"[{STYLES[verdict]}]{verdict}[/]" if verdict else ""
            value = f"{result.value:,.2f} {result.unit}"
            table.add_row(found.benchmark, result.measure, value, str(result.target or ""), styled, result.detail)
    Console(width=None if terminal else PLAIN_WIDTH, highlight=False).print(table)
    if quick:
        print("A quick look: small sizes, in which a process's start counts for too much to judge.")


def document(findings: Sequence[Findings], *, quick: bool) -> str:
    """Returns everything as one JSON document, every single run included."""
    machine = {"processors": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()}
    verdict = "NOT JUDGED" if quick else "FAIL" if missed(findings) else "PASS"
    return json.dumps(
        {"machine": machine, "quick": quick, "verdict": verdict, "benchmarks": [_entry(found) for found in findings]}
    )


def _entry(found: Findings) -> dict[str, Any]:
    results = [asdict(result) | {"verdict": result.verdict} for result in found.results]
    return {"benchmark": found.benchmark, "results": results, "series": [asdict(series) for series in found.series]}


def plot(findings: Sequence[Findings], path: Path) -> bool:
    """Draws the rate of each contestant, its single runs as dots, into a PNG; False if there is nothing to draw."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    drawn = [found for found in findings if found.series]
    if not drawn:
        return False
    figure, panels = pyplot.subplots(len(drawn), 1, figsize=(9, 3.2 * len(drawn)), squeeze=False)
    for found, panel in zip(drawn, panels.flat, strict=True):
        series = sorted(found.series, key=lambda one: one.rate)
        names = [one.contestant for one in series]
        colours = ["tab:blue" if name.startswith(("cutover", "check", "emergency")) else "tab:grey" for name in names]
        panel.barh(names, [one.rate for one in series], color=colours)
        for one in series:
            runs = [one.items / seconds for seconds in one.seconds]
            panel.plot(runs, [one.contestant] * len(runs), "k.", markersize=4)
        panel.set_xlabel("items a second (bar: median; dots: single runs)")
        panel.set_title(found.benchmark, loc="left")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    return True
