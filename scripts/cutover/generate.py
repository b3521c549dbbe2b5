"""Texts that repeat data of ops/cutover.yml, written from it between two marker lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic_core import PydanticUndefined

from cutover import names
from cutover.alarm_table import HOUR
from cutover.alarms.scenario import Described, Event, Expectations, Phase, Scenario, SentAt, StateAt
from cutover.exit_codes import CommandError
from cutover.watcher import health

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cutover import plan as plan_module
    from cutover.alarm_table import Severity

__all__ = ["GenerateError", "outdated", "write"]


_GOES_OUT_AS: dict[Severity, str] = {"critical": "page (PagerDuty) and mail", "warning": "mail and chat"}
# The query of ops/queries/ that shows the lines which a measure is made of; of others, the counts of all METRIC lines.
_SHOWN_BY = {
    "save_success_ratio": "upload-failures",
    "save_fail_ratio": "upload-failures",
    "save_fail": "upload-failures",
    "probe_put_ms": "probe-latencies",
    "probe_sign_ms": "probe-latencies",
    "read_fallback_ratio": "read-fallbacks",
    "read_fallback": "read-fallbacks",
    "consistency_mismatch_ratio": "consistency-results",
    "consistency_checks": "consistency-results",
}
_SCENARIO_PARTS: dict[str, type[Described]] = {
    "The file": Scenario,
    "One of `phases`": Phase,
    "One of `events`": Event,
    "`expect`": Expectations,
    "One change of an alarm": StateAt,
    "One of `pages`, `resolved` and `mails`": SentAt,
}


class GenerateError(CommandError):
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
        alarms = ", ".join(f"`{alarm}`" for alarm in incident.alarms)
        unless = f"`{incident.unless}` is open" if incident.unless else ""
        rows.append([f"[`{name}`](#incident-{name})", _GOES_OUT_AS[incident.severity], alarms, unless])
    return _markdown(["incident", "goes out as", "open while one of these is in ALARM", "not while"], rows)


def _contacts_table(plan: plan_module.Plan) -> str:
    rows = [[each.role, each.contact, ", ".join(each.receives), each.escalation] for each in plan.contacts]
    return _markdown(["who", "contact", "is mailed what is", "escalation"], rows)


def _watchers_table(plan: plan_module.Plan) -> str:
    rows = [
        [each, f"`cutover-watcher-{each}.service`", f"`curl {health.HOST}:{port}{health.PATH}`"]
        for each, port in plan.auto_rollback.health_ports.items()
    ]
    return _markdown(["deployment", "service", "how it is, and what it did last"], rows)


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
    ]
    if alarm.minimum_denominator is not None:
        lines.append(
            f"- A period with fewer than {alarm.minimum_denominator} gives no ratio; `{alarm.companion}` counts there."
        )
    return "\n".join(
        [
            *lines,
            f"- Missing data is `{alarm.treat_missing_data}`: {alarm.reason}.",
            _told(plan, name),
            *_confirmation(plan, name),
            *_next(plan, name),
        ]
    )


def _told(plan: plan_module.Plan, name: str) -> str:
    """Who hears of it, and where the impact of its incident stands."""
    incident = next(incident for incident, each in plan.incidents.items() if name in each.alarms)
    goes_out = _GOES_OUT_AS[plan.incidents[incident].severity]
    itself = f"; by itself, and in a silence too: {_GOES_OUT_AS['warning']}" if plan.alarms[name].trigger else ""
    return (
        f"- Impact: that of incident [`{incident}`](#incident-{incident}). "
        f"Escalation: {goes_out}{itself}; then [who is called](#who-is-called)."
    )


def _confirmation(plan: plan_module.Plan, name: str) -> list[str]:
    """The commands that show the lines behind the alarm: of all that it looked at, and of an hour at least."""
    alarm = plan.alarms[name]
    seconds = max(alarm.period_seconds * alarm.evaluation_periods, HOUR)
    production, staging = (names.log_group(plan.telemetry, each) for each in ("production", "staging"))
    return [
        f"- Confirm it in the log group `{production}` (of staging: `{staging}`):",
        "",
        "  ```",
        f"  aws logs filter-log-events --log-group-name {production} \\",
        f"      --start-time \"$(date -d '-{seconds} seconds' +%s000)\" --output json >EVENTS",
        f"  cutover alarms query {_SHOWN_BY.get(plan.watch(name).measure, 'metric-counts')} EVENTS",
        "  ```",
        "",
    ]


def _next(plan: plan_module.Plan, name: str) -> list[str]:
    """The next command: one for each deployment where they differ, so that staging's page rolls back staging."""
    production, staging = (plan.next_command(name, deployment) for deployment in ("production", "staging"))
    if production != staging:
        return [f"- Next in production: `{production}`", f"- Next in staging: `{staging}`"]
    level = plan.alarms[name].level
    return [f"- Next: `{production}`" + (f". {plan.service_levels[level].action}." if level else "")]


def _scenario_format(_: plan_module.Plan) -> str:
    return "\n\n".join(_keys(title, model) for title, model in _SCENARIO_PARTS.items())


def _keys(title: str, model: type[Described]) -> str:
    rows = [
        [
            field.title or f"`{key}`",
            "needed" if field.is_required() else _default(field.get_default()),
            field.description or "",
        ]
        for key, field in model.model_fields.items()
    ]
    return f"### {title}\n\n{model.__doc__}\n\n{_markdown(['key', 'default', 'meaning'], rows)}"


def _default(value: object) -> str:
    return "" if value in {None, PydanticUndefined} else f"`{str(value).lower()}`"


def _markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows]]
    return "\n".join(lines)


def _markdown_part(
    path: str, name: str, render: Callable[[plan_module.Plan], str], source: str = "ops/cutover.yml"
) -> _Part:
    return _Part(path, f"<!-- generated from {source}: {name} -->", "<!-- end of the generated part -->", render)


_PARTS = [
    _Part(
        "scripts/deltacrown-s3-rollback",
        "# --- the table (generated from ops/cutover.yml by `cutover generate`; edit there) ---",
        "# --- end of the table ---",
        _script_table,
    ),
    _markdown_part("ops/runbook.md", "modes", _modes_table),
    _markdown_part("ops/runbook.md", "scenarios", _scenarios_table),
    _markdown_part("ops/runbook.md", "watchers", _watchers_table),
    _markdown_part("ops/runbook.md", "steps", _steps_table),
    _markdown_part("ops/runbook.md", "incidents", _incidents_table),
    _markdown_part("ops/runbook.md", "contacts", _contacts_table),
    _markdown_part("ops/runbook.md", "alarms", _alarm_sections),
    _markdown_part("ops/scenarios/README.md", "format", _scenario_format, "scripts/cutover/alarms/scenario.py"),
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
