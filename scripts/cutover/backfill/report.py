"""What a backfill says: the runbook's lines while it runs, its summary or JSON document at the end."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import IO, TYPE_CHECKING

from cutover.backfill.token import LAST_LINE
from cutover.telemetry import metric_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.progress import Progress, TaskID

    from cutover.backfill.pace import Pace
    from cutover.backfill.run import Batch, Summary
    from cutover.data_tool_table import DataTools
    from cutover.migration import Outcome
    from cutover.plan import Cost

__all__ = ["Report", "document", "duration", "errors"]

GB = 2**30  # bytes, as AWS bills
_COUNTED = ("found", "migrated", "already_migrated", "objects_uploaded", "objects_already_equal", "bytes")


class Report:
    """Lines for people and logs on standard output; with `as_json` they go to standard error, the document to output.

    On a terminal a bar takes the place of the lines that only say how far the run is.
    """

    def __init__(
        self, tools: DataTools, *, total: int, batch_size: int, as_json: bool, pace: Pace | None = None
    ) -> None:
        self._tools, self._total, self._pace = tools, total, pace
        self._out: IO[str] = sys.stderr if as_json else sys.stdout
        self._batches = pace.batches(total, batch_size) if pace else -(-total // batch_size)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        if sys.stderr.isatty() and (as_json or sys.stdout.isatty()):
            self._start_bar()

    def header(self, settings: Mapping[str, object], *, dry_run: bool) -> None:
        """The first lines: what was asked for."""
        self._say(f"=== Certificate S3 Backfill{' (DRY-RUN)' if dry_run else ''} ===")
        for name, value in settings.items():
            self._say(f"{name}: {value}")
        self._say("")
        self._say(f"[INFO] Found {self._total} certificates to migrate")

    def batch(self, batch: Batch, summary: Summary) -> None:
        """A batch that is done."""
        ids = f"{batch.rows[0].id}-{batch.rows[-1].id}"
        if self._bar is None:
            self._say(f"[INFO] Batch {batch.number}/{self._batches}: Processing certificates {ids}...")
        for outcome in batch.outcomes:
            self._outcome(outcome, dry_run=summary.dry_run)
        done = summary.done
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, description="certificates")
        elif self._total:
            self._say(f"[INFO] Progress: {done}/{self._total} ({done / self._total:.1%}) - ETA: {self._eta(summary)}")
        if not summary.dry_run:
            self._say(
                f"BACKFILL batch {batch.number}/{self._batches} ids {ids} migrated {summary.migrated} "
                f"failed {summary.failed} {LAST_LINE} {summary.resume_token}"
            )
            failed = sum(bool(outcome.problems) for outcome in batch.outcomes)
            self._say(metric_line(self._tools.metrics["migrated"], len(batch.outcomes) - failed))
            self._say(metric_line(self._tools.metrics["failed"], failed))

    def cooling(self, said: str) -> None:
        """A cool-down that begins."""
        self._say(f"[INFO] {said}")
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description="cooling down")

    def end(self, summary: Summary, cost: Cost) -> None:
        """The summary, and the resume token as the very last line."""
        self.close()
        would = "Would migrate" if summary.dry_run else "Migrated"
        skip = "Would skip" if summary.dry_run else "Skipped"
        causes = ", ".join(f"{cause} {count}" for cause, count in summary.causes.most_common())
        told = f" ({causes})" if causes else ""
        self._say("\n=== Summary ===")
        self._say(f"Total found: {summary.found}")
        self._say(f"{would}: {summary.migrated}")
        self._say(f"{skip} (already migrated): {summary.already_migrated}")
        if summary.accepted:
            self._say(f"{summary.accepted} accepted, not migrated")
        self._say(f"Errors: {summary.failed}{told}")
        self._say(f"Duration: {summary.duration_s:.1f} seconds")
        self._say(
            f"Objects: {summary.objects_uploaded} {'to upload' if summary.dry_run else 'uploaded'} "
            f"({summary.bytes:,} bytes), {summary.objects_already_equal} equal in S3 already"
        )
        if summary.dry_run:
            self._say(_estimate(summary, self._tools, cost))
        if summary.reason:
            self._say(f"Stopped: {summary.reason}")
        self._say(f"\nResume token: {summary.resume_token}")
        self._say(f"{LAST_LINE} {summary.resume_token}")

    def close(self) -> None:
        """Takes the bar from the terminal."""
        if self._bar is not None:
            self._bar.stop()

    def _eta(self, summary: Summary) -> str:
        """How long the rest will take, at the speed so far, with the cool-downs that are still to come."""
        waited = self._pace.waited if self._pace else 0.0
        left = (summary.duration_s - waited) / max(summary.done, 1) * max(self._total - summary.done, 0)
        if self._pace is None or not (cool_downs := self._pace.to_come(self._total)):
            return duration(left)
        cooling = cool_downs * self._pace.cooldown_seconds
        return (
            f"{duration(left + cooling)}, {cool_downs} cool-downs of {duration(self._pace.cooldown_seconds)} included"
        )

    def _outcome(self, outcome: Outcome, *, dry_run: bool) -> None:
        for problem in outcome.problems:
            self._say(str(problem))
        if dry_run:  # also the first file of a row whose second one differs: a real run stores it
            for stored in outcome.stored:
                what = "Would upload" if stored.uploaded else "Equal in S3 already"
                self._say(f"[DRY-RUN] {what}: {stored.key} (ETag: {stored.md5})")

    def _start_bar(self) -> None:
        from rich.console import Console  # noqa: PLC0415 - only on a terminal
        from rich.progress import Progress  # noqa: PLC0415

        # Soft: a line that is wrapped here tears a token apart, and is no line any more that somebody greps for.
        console = Console(stderr=True, soft_wrap=True)
        self._bar = Progress(*Progress.get_default_columns(), console=console, redirect_stdout=sys.stdout.isatty())
        self._task = self._bar.add_task("certificates", total=self._total)
        self._bar.start()

    def _say(self, line: str) -> None:
        # Looked up anew, because the bar redirects the streams.
        print(line, file=sys.stderr if self._out is not sys.stdout and self._bar else self._out, flush=True)


def document(summary: Summary) -> str:
    """The JSON document of a run."""
    return json.dumps(
        {
            "dry_run": summary.dry_run,
            **{name: getattr(summary, name) for name in _COUNTED},
            **errors(summary),
            "stopped": summary.stopped,
            "duration_s": round(summary.duration_s, 3),
            "resume_token": summary.resume_token,
        }
    )


def errors(summary: Summary) -> dict[str, object]:
    """A document's errors: the first ones with their details, and how many were left out, by cause."""
    return {
        "errors": [asdict(problem) for problem in summary.errors],
        "errors_left_out": dict(summary.errors_left_out),
    }


def duration(seconds: float) -> str:
    """A span of time for people, two units at most."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} seconds"
    if whole < 3600:
        return f"{round(whole / 60)} minutes"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _estimate(summary: Summary, tools: DataTools, cost: Cost) -> str:
    seconds = max(summary.duration_s, summary.bytes / (tools.estimate_mb_per_second * 1_000_000))
    requests = summary.objects_uploaded * cost.put_per_1000 / 1000
    monthly = summary.bytes / GB * cost.storage_per_gb_month
    return (
        f"Estimated: {duration(seconds)} at {tools.estimate_mb_per_second} MB/s; "
        f"${requests:.2f} for the uploads, ${monthly:.2f} a month to store them"
    )
