"""A backfill or sweep that hangs or was killed: its batch, its token, and what it waits for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cutover import control
from cutover.doctor.finding import Finding, fail, ok

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cutover.control import Run
    from cutover.doctor.finding import Subject

__all__ = ["examine"]

_DEPENDENCIES = ("permission s3:ListBucket", "permission s3:PutObject", "PostgreSQL", "MEDIA_ROOT")


def examine(subject: Subject, earlier: Sequence[Finding]) -> Iterator[Finding]:
    """A finding for each kind of run; `earlier` are the other checks' findings, which may name the reason.

    Raises:
        SettingsError: a run's file was changed by hand and cannot be read.
    """
    for kind in control.KINDS:
        run = control.running(subject.settings, kind)
        yield ok(f"running {kind}", "none") if run is None else _judge(subject, run, earlier)


def _judge(subject: Subject, run: Run, earlier: Sequence[Finding]) -> Finding:
    check = f"running {run.kind}"
    seconds = (datetime.now(UTC) - run.updated).total_seconds()
    token = f", token {run.token}" if run.token else ""
    seen = f"batch {run.batch}{token}, {seconds:.0f} s ago"
    state = run.process_state()
    if state is None:
        return fail(check, f"its process {run.pid} is dead; last: {seen}", _go_on(subject, run))
    if seconds <= subject.table.data_tools.hung_seconds:
        return ok(check, f"{run}; last: {seen}, {run.rate:.1f} certificates a second")
    if run.phase == "paused":
        return fail(check, f"paused by an operator; last: {seen}", subject.command(f"resume {run.kind}"))
    reason = _waits_for(run, state, earlier)
    return fail(check, f"hangs: {reason}; last: {seen}", f"kill {run.pid} && {_go_on(subject, run)}")


def _waits_for(run: Run, state: str, earlier: Sequence[Finding]) -> str:
    if state == "T":
        return f"its process was stopped by a signal (kill -CONT {run.pid} lets it go on)"
    if state == "D":
        return "its process waits for a disk, which with a network file system means the server of MEDIA_ROOT"
    if run.phase != "running":
        return run.phase
    for finding in earlier:
        if finding.check in _DEPENDENCIES and finding.outcome in {"FAIL", "UNKNOWN"}:
            return f"waits for what is not well here either, {finding.check}: {finding.reason}"
    return "waits for an answer of S3 or PostgreSQL, though both answer now"


def _go_on(subject: Subject, run: Run) -> str:
    """The runbook's way to go on after a hang: from the last token."""
    if run.kind == "sweep":
        return subject.command("sweep")
    token = f" --resume-token {run.token}" if run.token else ""
    return subject.command(f"backfill{token}")
