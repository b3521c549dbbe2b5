"""A sweep as a command: its lock, its run over the backfill's machinery, and what it says at the end."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import TYPE_CHECKING

from cutover import settings
from cutover.accepted import Accepted
from cutover.backfill.failure_stop import FailureStop
from cutover.backfill.report import errors
from cutover.backfill.run import Batch, Run, Summary
from cutover.backfill.session import EXIT_CODES
from cutover.catalogue import Catalogue, Selection
from cutover.control import Control, batch_rows
from cutover.exit_codes import ExitCode
from cutover.local_files import UnreadableFileError
from cutover.object_store import ObjectStore
from cutover.stopping import asked_to_stop, interrupted_at_once, leave_at_once
from cutover.sweep.rows import SweepMigrator, select

if TYPE_CHECKING:
    import argparse

    from cutover.plan import Plan

__all__ = ["LOCK", "Session"]

LOCK = "sweep"  # another than the backfill's: both may run at once, for each row's mark is proven by itself


class Session:
    """One call of the command."""

    def __init__(self, options: argparse.Namespace, values: settings.Settings, table: Plan) -> None:
        self._options, self._values, self._table = options, values, table
        self._summary = Summary(dry_run=options.dry_run, start_id=0, most_listed=table.data_tools.most_listed)
        self._unreadable: UnreadableFileError | None = None
        self._verified_again = 0

    def run(self) -> int:
        """Takes the lock, sweeps, reports, and returns the exit code.

        Raises:
            CatalogueError, ObjectStoreError: the database or S3 could not be asked.
            SettingsError: the environment file or the accepted rows cannot be read.
            StateError: the state directory cannot be written.
        """
        with interrupted_at_once(), Catalogue(self._values, read_only=self._options.dry_run) as catalogue:
            if not self._options.dry_run and not catalogue.lock(LOCK):
                print("cutover: another sweep runs on this database: `cutover doctor` names it", file=sys.stderr)
                return ExitCode.CANNOT_WRITE
            self._execute(catalogue)
            unmarked = catalogue.count(Selection())
        self._report(unmarked)
        if self._unreadable is not None:
            print(f"cutover: {self._unreadable}", file=sys.stderr)
            return self._unreadable.exit_code
        if self._summary.stopped is not None:
            print(f"cutover: the sweep ended early: {self._reason()}", file=sys.stderr)
            code = EXIT_CODES[self._summary.stopped]
            if self._summary.stopped == "signal":
                leave_at_once(code)
            return code
        return ExitCode.FAILED if self._summary.errors else ExitCode.DONE

    def _execute(self, catalogue: Catalogue) -> None:
        options, tools = self._options, self._table.data_tools
        store = ObjectStore(self._values, LOCK, connections=tools.concurrency)
        accepted = Accepted(self._values)
        selection = select(catalogue, accepted, tools, options.limit)
        shared = catalogue.shared_names(selection, accepted=selection.accepted)
        migrator = SweepMigrator.for_server(self._values, tools, store, LOCK, shared=shared, dry_run=options.dry_run)
        control = None if options.dry_run else Control(self._values, "sweep", max_rate=options.max_rate)
        with control or contextlib.nullcontext(), asked_to_stop() as stopping:
            run = Run(
                catalogue=catalogue,
                selection=selection,
                migrator=migrator,
                failure_stop=FailureStop(tools.failure_stop),
                summary=self._summary,
                control=control,
                may_run=self._may_run,
                stopping=stopping,
                report=self._count_verified_again,
                batch_size=batch_rows(tools.batch_size, options.max_rate),
                concurrency=tools.concurrency,
            )
            try:
                run.execute()
            except UnreadableFileError as error:
                self._unreadable = error
            except KeyboardInterrupt:  # the second signal
                self._summary.stop("signal", "interrupted twice, without waiting")

    def _may_run(self) -> bool:
        return self._options.dry_run or settings.flag(self._values, self._table.variables["dual_write"])

    def _count_verified_again(self, batch: Batch, _summary: Summary) -> None:
        marked_before = [outcome for outcome in batch.outcomes if outcome.row.migrated_at is not None]
        self._verified_again += sum(not outcome.problems for outcome in marked_before)

    def _reason(self) -> str | None:
        if self._summary.stopped == "flag":
            return f"{self._table.variables['dual_write']} was turned off"
        return self._summary.reason

    def _report(self, unmarked: int) -> None:
        """A line for each problem and one for the whole, or one JSON document; `unmarked` counts the table's rows."""
        summary, verified_again = self._summary, self._verified_again
        if self._options.json:
            counts = {
                "dry_run": summary.dry_run,
                "found": summary.found,
                "marked": summary.migrated - verified_again,
                "verified_again": verified_again,
                "objects_uploaded": summary.objects_uploaded,
                "objects_already_equal": summary.objects_already_equal,
                "bytes": summary.bytes,
                **errors(summary),
                "stopped": summary.stopped,
                "unmarked": unmarked,
                "duration_s": round(summary.duration_s, 3),
            }
            print(json.dumps(counts))
            return
        for problem in summary.errors:
            print(problem)
        if left_out := summary.errors_left_out:
            print(f"… and {left_out.total()} errors more")
        would = "would be " if summary.dry_run else ""
        print(
            f"SWEEP {summary.found} certificates: {summary.migrated - verified_again} {would}marked, {verified_again} "
            f"verified again, {summary.failed} with errors; {summary.objects_uploaded} objects {would}uploaded "
            f"({summary.bytes:,} bytes); {unmarked} rows of the table have no mark; {summary.duration_s:.1f} s"
        )
