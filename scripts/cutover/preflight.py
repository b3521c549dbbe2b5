"""What a preflight measured, held against the table: each function gives one sentence, '' where nothing is wrong."""

from __future__ import annotations

import datetime
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cutover.preflight_table import Preflight

__all__ = ["approver_problem", "backup_problem", "clock_skew_problem", "disk_problem", "version_problem"]

CONTROL_MACHINE = "the control machine"
BACKUP_EXAMPLE = "-e database_backup='2026-11-24T02:00:00Z nightly-0417'"


def clock_skew_problem(local: float, remote: Mapping[str, float], limit_s: float) -> str:
    """Names the two clocks that are furthest apart, if by more than `limit_s`.

    Args:
        local: the control machine's time, in seconds since 1970, when the others were asked.
        remote: the same of each machine, by its name.
        limit_s: seconds that any two of them may be apart.
    """
    if not remote:
        return "no machine's clock was read: run the step again without --limit"
    clocks = {CONTROL_MACHINE: local, **remote}
    unread = [name for name, seconds in clocks.items() if not math.isfinite(seconds)]
    if unread:
        return f"the clock of {', '.join(unread)} could not be read: run `date +%s.%N` there"
    slowest, fastest = min(clocks, key=clocks.__getitem__), max(clocks, key=clocks.__getitem__)
    apart = clocks[fastest] - clocks[slowest]
    if apart <= limit_s:
        return ""
    return (
        f"the clock of {fastest} is {apart:.1f} s ahead of that of {slowest}, and {limit_s:g} s are allowed: "
        "run `timedatectl` on both and `timedatectl set-ntp true` on the one that is wrong"
    )


def disk_problem(where: str, statvfs: Mapping[str, int], minimums: Preflight) -> str:
    """Says what is missing on a file system, if less is free than the table wants.

    Args:
        where: machine and path, for the sentence.
        statvfs: `f_frsize`, `f_blocks`, `f_bavail`, `f_files` and `f_favail` of statvfs(3). Files are not judged
            where the file system counts none (btrfs, many exports).
        minimums: both must be free, its bytes and its ratio.
    """
    missing = [key for key in ("f_frsize", "f_blocks", "f_bavail", "f_files", "f_favail") if key not in statvfs]
    if missing or statvfs["f_blocks"] * statvfs["f_frsize"] <= 0:
        return f"{where}: its size could not be read ({', '.join(missing) or 'it has none'}): run `df` there"
    free = statvfs["f_bavail"] * statvfs["f_frsize"]
    ratio = statvfs["f_bavail"] / statvfs["f_blocks"]
    if free < minimums.free_bytes or ratio < minimums.free_ratio:
        return (
            f"{where}: {free / 1e9:.2f} GB ({ratio:.1%}) are free, and {minimums.free_bytes / 1e9:g} GB and "
            f"{minimums.free_ratio:.0%} must be: make room (`du -xh --max-depth=1`) or enlarge it"
        )
    if statvfs["f_files"] > 0 and statvfs["f_favail"] / statvfs["f_files"] < minimums.free_ratio:
        return (
            f"{where}: {statvfs['f_favail']} of {statvfs['f_files']} files can still be made, and "
            f"{minimums.free_ratio:.0%} must be: remove old ones (`du -x --inodes --max-depth=1`)"
        )
    return ""


def version_problem(versions: Mapping[str, str]) -> str:
    """Names the machines, by what they run, if they do not all run the same version of the tools."""
    if not versions:
        return "no machine told the version of its tools: run the step again without --limit"
    silent = [machine for machine, version in sorted(versions.items()) if not version.strip()]
    if silent:
        return f"{', '.join(silent)} told no version of `cutover`: run ansible-playbook prepare-hosts.yml"
    by_version: dict[str, list[str]] = {}
    for machine, version in sorted(versions.items()):
        by_version.setdefault(version.strip(), []).append(machine)
    if len(by_version) == 1:
        return ""
    found = "; ".join(f"{version} on {', '.join(machines)}" for version, machines in sorted(by_version.items()))
    return f"the machines run different versions of `cutover` ({found}): run ansible-playbook prepare-hosts.yml"


def backup_problem(text: str, now: datetime.datetime, maximum_age_s: float) -> str:
    """Refuses a database backup that is not named, not dated, or too old.

    Args:
        text: `<ISO 8601 time with a zone> <name>`, as the operator gave it.
        now: with a zone.
        maximum_age_s: seconds; a backup of exactly this age will do.
    """
    if not text.strip():
        return f"no database backup is named: make one and give {BACKUP_EXAMPLE}"
    moment, _, name = (part.strip() for part in text.strip().partition(" "))
    try:
        made = datetime.datetime.fromisoformat(moment)
    except ValueError:
        return f"the database backup {text.strip()!r} does not begin with a time: write {BACKUP_EXAMPLE}"
    if made.tzinfo is None or not name:
        lacking = "a zone at its time" if made.tzinfo is None else "a name by which it is found again"
        return f"the database backup {text.strip()!r} lacks {lacking}: write {BACKUP_EXAMPLE}"
    age = (now - made).total_seconds()
    if 0 <= age <= maximum_age_s:
        return ""
    seen = f"{age / 3600:.1f} h old, and {maximum_age_s / 3600:g} h are allowed" if age > 0 else f"{-age:.0f} s ahead"
    return f"the database backup {name} of {moment} is {seen}: make a new one and give {BACKUP_EXAMPLE}"


def approver_problem(name: str, holder: str) -> str:
    """Refuses a step that nobody approved, or only whoever runs it.

    Args:
        name: the approver, as the operator gave it; a mail address will do.
        holder: the user who runs the step; what follows an `@` (host, domain) tells no two persons apart.
    """
    if not name.strip():
        return "nobody approved this step: give -e approver=NAME of the person who did"
    if _person(name) == _person(holder):
        return f"{name.strip()} runs this step and cannot approve it: give -e approver=NAME of a second person"
    return ""


def _person(name: str) -> str:
    return name.strip().partition("@")[0].casefold()
