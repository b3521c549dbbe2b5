"""Texts that repeat data of ops/cutover.yml, written from it between two marker lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cutover import plan as plan_module

__all__ = ["GenerateError", "outdated", "write"]


class GenerateError(RuntimeError):
    """A file that should hold a generated part lacks its markers."""


@dataclass(frozen=True)
class _Part:
    path: str
    first: str
    last: str
    render: Callable[[plan_module.Plan], str]


def _flag_text(value: bool | None) -> str:
    return "-" if value is None else str(value).lower()


def _script_table(plan: plan_module.Plan) -> str:
    lines = [
        f"flag_variables='{' '.join(plan.variables.values())}'",
        'scenario_flags() { # "-" keeps the flag\'s value',
        "    case $1 in",
    ]
    for name, scenario in plan.scenarios.items():
        values = ",".join(_flag_text(scenario.sets.get(flag)) for flag in plan.flags)
        lines.append(f"    {name}) echo {values} ;;")
    lines += ["    *) return 1 ;;", "    esac", "}"]
    return "\n".join(lines)


def _modes_table(plan: plan_module.Plan) -> str:
    header = ["mode", *plan.variables.values(), "writes", "reads"]
    rows = [
        [f"`{name}`", *(str(value).lower() for value in mode.flags.values()), mode.writes, mode.reads]
        for name, mode in plan.modes.items()
    ]
    return _markdown(header, rows)


def _scenarios_table(plan: plan_module.Plan) -> str:
    rows = []
    for name, scenario in plan.scenarios.items():
        turned_off = ", ".join(f"`{plan.flags[flag].variable}`" for flag in scenario.sets)
        rows.append([f"`{name}`", scenario.title, turned_off, scenario.runbook])
    return _markdown(["scenario", "when", "turns off", "in the runbook"], rows)


def _steps_table(plan: plan_module.Plan) -> str:
    rows = []
    for number, step in plan.steps.items():
        criteria = "; ".join(f"{name} {bound}" for name, bound in step.criteria.items())
        rows.append([str(number), step.title, step.deployment, f"{step.from_mode} → {step.to_mode}", criteria])
    return _markdown(["step", "does", "deployment", "mode", "gate"], rows)


def _incidents_table(plan: plan_module.Plan) -> str:
    rows = []
    for name, incident in plan.incidents.items():
        to = "page (PagerDuty) and mail" if incident.severity == "critical" else "mail and chat"
        unless = f"`{incident.unless}` is open" if incident.unless else ""
        rows.append([f"`{name}`", to, ", ".join(f"`{alarm}`" for alarm in incident.alarms), unless])
    return _markdown(["incident", "goes out as", "open while one of these is in ALARM", "not while"], rows)


def _alarm_sections(plan: plan_module.Plan) -> str:
    return "\n\n".join(_alarm_section(plan, name) for name in plan.alarms)


def _alarm_section(plan: plan_module.Plan, name: str) -> str:
    """One alarm; its heading gives the anchor that the alarm's description links to."""
    alarm, watch = plan.alarms[name], plan.watch(name)
    lines = [
        f"### Alarm: {name}",
        "",
        f"{alarm.meaning[0].upper()}{alarm.meaning[1:]}.",
        "",
        f"- Fires ({watch.severity}): `{plan.condition(name)}`.",
        f"- Missing data is `{alarm.treat_missing_data}`: {alarm.reason}.",
        f"- Next: `{plan.next_command(name, '…')}`",
    ]
    if alarm.minimum_denominator is not None:
        lines.insert(
            5,
            f"- A period with fewer than {alarm.minimum_denominator} gives no ratio; `{alarm.companion}` counts there.",
        )
    return "\n".join(lines)


def _markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows]]
    return "\n".join(lines)


def _markdown_part(path: str, name: str, render: Callable[[plan_module.Plan], str]) -> _Part:
    return _Part(path, f"<!-- generated from ops/cutover.yml: {name} -->", "<!-- end of the generated part -->", render)


_PARTS = [
    _Part(
        "scripts/deltacrown-s3-rollback",
        "# --- the table (generated from ops/cutover.yml by `cutover generate`; edit there) ---",
        "# --- end of the table ---",
        _script_table,
    ),
    _markdown_part("ops/runbook.md", "modes", _modes_table),
    _markdown_part("ops/runbook.md", "scenarios", _scenarios_table),
    _markdown_part("ops/runbook.md", "steps", _steps_table),
    _markdown_part("ops/runbook.md", "incidents", _incidents_table),
    _markdown_part("ops/runbook.md", "alarms", _alarm_sections),
]


def _rendered(root: Path, plan: plan_module.Plan) -> dict[Path, str]:
    texts: dict[Path, str] = {}
    for part in _PARTS:
        path = root / part.path
        text = texts.get(path) or path.read_text(encoding="utf-8")
        before, first, rest = text.partition(part.first + "\n")
        _, last, after = rest.partition(part.last)
        if not first or not last:
            raise GenerateError(f"{path}: the lines {part.first!r} and {part.last!r} are not there: restore them")
        texts[path] = before + first + part.render(plan) + "\n" + last + after
    return texts


def outdated(root: Path, plan: plan_module.Plan) -> list[Path]:
    """The files under `root` whose generated parts differ from what the plan says."""
    return [path for path, text in _rendered(root, plan).items() if path.read_text(encoding="utf-8") != text]


def write(root: Path, plan: plan_module.Plan) -> list[Path]:
    """Writes the generated parts anew and returns the files that changed."""
    changed = outdated(root, plan)
    texts = _rendered(root, plan)
    for path in changed:
        path.write_text(texts[path], encoding="utf-8")
    return changed
