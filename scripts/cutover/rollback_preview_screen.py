"""A preview of a rollback as lines for people at 3 a.m., or as one JSON document."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from cutover.exit_codes import ExitCode
from cutover.status import screen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cutover.rollback_preview import Preview

__all__ = ["document", "lines"]

_UNKNOWN = "NOT MEASURED"


def document(seen: Preview) -> str:
    """One JSON document; times are UTC, ISO 8601."""
    values = asdict(seen) | {"exit_code": int(seen.exit_code), "commands": seen.commands}
    return json.dumps(values, default=screen.json_text)


def lines(seen: Preview) -> Iterator[str]:
    """The workers, what was found, and the verdict with the commands that follow from it."""
    yield f"{seen.deployment}: what scenario {seen.scenario} would meet"
    yield from screen.worker_table(seen.workers, seen.at)
    for name, value in _facts(seen):
        yield f"  {name:<14}{screen.clean(value)}"
    yield ""
    yield from _verdict(seen)


def _facts(seen: Preview) -> Iterator[tuple[str, str]]:
    runs = [f"{run.name}: {run.state}" for run in seen.background or ()]
    yield "background", _UNKNOWN if seen.background is None else "; ".join(runs) or "no backfill or sweep runs"
    yield "only in S3", _only_in_s3(seen)
    if seen.nowhere:
        yield "nowhere", f"{seen.nowhere} files that the table names lie neither locally nor in S3: cutover audit"
    yield "quarantine", _quarantine(seen)
    yield "last drill", _UNKNOWN if seen.drill is None else screen.event(seen.drill, seen.at)
    for scenario, sentences in seen.degraded.items():
        yield scenario, "; ".join(sentences) or "every flag is off already: nothing changes"
    for sentence in seen.not_measured:
        yield _UNKNOWN, sentence


def _only_in_s3(seen: Preview) -> str:
    if seen.only_in_s3 is None:
        return _UNKNOWN
    if not seen.only_in_s3:
        return f"none of {seen.files} files" if seen.files is not None else "none that was purged"
    examples = f", such as {', '.join(seen.named)}" if seen.named else ""
    purged = _UNKNOWN if seen.purged is None else str(seen.purged)
    return f"{seen.only_in_s3} files of {seen.certificates} certificates ({purged} of them purged){examples}"


def _quarantine(seen: Preview) -> str:
    if seen.quarantined is None:
        return _UNKNOWN
    if not seen.quarantined:
        return "empty, nothing to put back"
    seconds = _UNKNOWN if seen.put_back_seconds is None else f"about {seen.put_back_seconds:g} s at this disk's rate"
    return f"{seen.quarantined} files would be put back first, in {seconds}"


def _verdict(seen: Preview) -> Iterator[str]:
    commands = seen.commands
    if seen.exit_code == ExitCode.FAILED:
        yield f"NOT SAFE: {seen.only_in_s3} files exist only in S3, and scenario {seen.scenario} makes them unreadable"
        yield f"  if reads from S3 work, keep them:   {commands['uploads']}"
        yield f"  bring them back, on {seen.data_host}:  {commands['restore']}"
        yield f"  or go on without them:              {commands['run']}"
        return
    if seen.exit_code == ExitCode.ERROR:
        yield f"NOT KNOWN: {len(seen.not_measured)} things above could not be measured; a rollback needs none of them:"
    elif seen.exit_code == ExitCode.INCONCLUSIVE:
        yield "NOT PROVEN: the table names no file; is this the right database?"
    else:
        yield f"SAFE: scenario {seen.scenario} makes no certificate unreadable"
    yield f"  {commands['run']}"
