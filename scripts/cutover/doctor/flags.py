"""The three flags as the environment file has them, and the lines of it that systemd or a shell takes otherwise."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from cutover import fleet
from cutover.doctor.finding import Finding, fail, ok, warn
from cutover.settings import flag

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cutover.doctor.finding import Subject

__all__ = ["examine"]

_ASSIGNMENT = re.compile(r"\ufeff?\s*(?P<export>export\s+)?(?P<name>[A-Za-z_]\w*)(?P<value>\s*=.*)")
# A value that systemd and a shell take for the same text: quoted, or of characters that mean nothing to a shell.
_SAME = re.compile(r"""=('[^']*'|"[^"$`\\]*"|[^\s'"$`\\;&|<>()]*)\s*""")


def examine(subject: Subject) -> Iterator[Finding]:
    """Findings for the mode and, where there is a file, for its lines.

    Raises:
        SettingsError: the file cannot be read any more.
    """
    yield _mode(subject)
    if subject.settings.environment_file is not None:
        yield _lines(subject, subject.settings.environment_file)


def _mode(subject: Subject) -> Finding:
    flags = {name: flag(subject.settings, variable) for name, variable in subject.table.variables.items()}
    held = ", ".join(f"{subject.table.variables[name]}={str(value).lower()}" for name, value in flags.items())
    mode = fleet.mode_named(subject.table.modes, fleet.triple(flags))
    if mode is not None:
        return ok("flags", f"{held}: mode {mode}")
    command = f"ansible-playbook fleet-status.yml -e deployment={subject.deployment or '<deployment>'}"
    return warn("flags", f"{held}: no mode of the table, so no step starts from here", command)


def _lines(subject: Subject, file: Path) -> Finding:
    """What systemd takes otherwise than this command: then the workers run with other settings than the tools."""
    check = "environment file"
    exported, ambiguous, names = [], [], Counter[str]()
    for number, line in enumerate(file.read_text(encoding="utf-8").split("\n"), start=1):
        found = _ASSIGNMENT.match(line)
        if found is None:
            continue
        names[found["name"]] += 1
        if found["export"] or line.startswith("\ufeff"):
            exported.append(f"{found['name']} (line {number})")
        elif not _SAME.fullmatch(found["value"]):
            ambiguous.append(f"{found['name']} (line {number})")
    repeated = [f"{name} ({count} lines)" for name, count in names.items() if count > 1]
    problems = []
    if exported:
        problems.append(f"systemd ignores the lines of {', '.join(exported)}, which begin with `export` or a byte mark")
    if repeated:
        problems.append(f"{', '.join(repeated)} more than once, and the last line counts")
    if ambiguous:
        problems.append(
            f"a shell reads the lines of {', '.join(ambiguous)} otherwise than systemd: write NAME='value' without "
            "blanks around `=` and without a note behind it"
        )
    if not problems:
        return ok(check, f"{file}: {sum(names.values())} assignments, all of which systemd takes")
    flags = set(subject.table.variables.values())
    ours = any(name.split(" ")[0] in flags for name in [*exported, *repeated])
    reason = f"{file}: {'; '.join(problems)}"
    return (fail if ours else warn)(check, reason, f"sudoedit {file}")
