"""A backfill as a command: its lock, its signals, its run, and what it says at the end."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from typing import TYPE_CHECKING

from cutover import settings
from cutover.accepted import Accepted
from cutover.backfill import token
from cutover.backfill.errors import SchedulerError, UnknownCertificateError
from cutover.backfill.failure_stop import FailureStop
from cutover.backfill.pace import Pace
from cutover.backfill.report import Report, document, duration
from cutover.backfill.run import Run, Summary
from cutover.catalogue import Catalogue, CatalogueError, Selection
from cutover.control import Control, batch_rows
from cutover.exit_codes import CommandError, ExitCode
from cutover.local_files import UnreadableFileError
from cutover.migration import Migrator
from cutover.object_store import ObjectStore
from cutover.stopping import asked_to_stop, interrupted_at_once, leave_at_once

if TYPE_CHECKING:
    import argparse

    from cutover.data_tool_table import Scheduler
    from cutover.plan import Plan

__all__ = ["EXIT_CODES", "LOCK", "Session"]

LOCK = "backfill"
EXIT_CODES = {
    "failures": ExitCode.FAILED,
    "flag": ExitCode.USAGE,
    "lock": ExitCode.CANNOT_WRITE,
    "signal": ExitCode.INTERRUPTED,
}


class Session:
    """One call of the command."""

    def __init__(self, options: argparse.Namespace, values: settings.Settings, table: Plan) -> None:
        self._options, self._values, self._table = options, values, table
        start, most_listed = options.start_id, table.data_tools.most_listed
        self._summary = Summary(dry_run=options.dry_run, start_id=start, most_listed=most_listed, next_id=start)

    def run(self) -> int:
        """Takes the lock, runs, reports, and returns the exit code.

        Raises:
            CatalogueError, ObjectStoreError: the database or S3 could not be reached before anything was done.
            StateError: the state directory cannot be written.
            UnknownCertificateError: an id or a file of the options is nobody's.
        """
        options, summary = self._options, self._summary
        with interrupted_at_once(), Catalogue(self._values, read_only=options.dry_run) as catalogue:
            selection = self._selection(catalogue)
            if not options.dry_run and not catalogue.lock(LOCK):
                summary.stop("lock", "another backfill runs on this database: `cutover doctor` names it")
                self._refuse(summary.reason)
                return ExitCode.CANNOT_WRITE
            pace = self._pace()
            report = Report(
                self._table.data_tools,
                total=catalogue.count(selection),
                batch_size=self._scheduler.shard_size if options.scheduler else options.batch_size,
                as_json=options.json,
                pace=pace,
            )
            report.header(self._header(), dry_run=options.dry_run)
            failure = self._execute(catalogue, selection, report, pace)
        if isinstance(failure, SchedulerError) and not summary.done:
            report.close()
            self._refuse(failure)
            return failure.exit_code
        self._end(report)
        if failure is not None:
            print(f"cutover: {failure}", file=sys.stderr)
        code = failure.exit_code if failure is not None else self._exit_code()
        if summary.stopped == "signal":
            leave_at_once(code)
        return code

    def _refuse(self, reason: object) -> None:
        """Says why nothing was done: a summary of nothing, with a token of its own, would hide the one to go on by."""
        print(f"cutover: {reason}", file=sys.stderr)
        if self._options.json:
            print(document(self._summary), flush=True)
        elif self._options.resume_token:
            print(f"{token.LAST_LINE} {self._summary.resume_token}", flush=True)

    def _end(self, report: Report) -> None:
        report.end(self._summary, self._table.cost)
        if self._options.json:
            print(document(self._summary), flush=True)

    def _execute(
        self, catalogue: Catalogue, selection: Selection, report: Report, pace: Pace | None
    ) -> CommandError | None:
        """Runs, and returns why it broke off, if the database, the workers or the disk failed it."""
        options, tools = self._options, self._table.data_tools
        try:
            migrator = self._migrator(catalogue)
        except KeyboardInterrupt:
            self._summary.stop("signal", "interrupted before anything was stored")
            return None
        control = None if options.dry_run else Control(self._values, "backfill", max_rate=options.max_rate)
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
                report=report.batch,
                batch_size=options.batch_size,
                concurrency=options.concurrency,
                pace=pace,
            )
            if pace is not None:
                pace.tell = report.cooling
            try:
                self._spread(run) if options.scheduler else run.execute()
                if self._summary.stopped != "lock":
                    self._summary.already_migrated = self._already_migrated(catalogue, selection)
            except (CatalogueError, SchedulerError, UnreadableFileError) as error:
                return error
            except KeyboardInterrupt:  # the second signal
                self._summary.stopped, self._summary.reason = "signal", "interrupted twice, without waiting"
            except BaseException:
                self._end(report)  # whatever it was, the token must be known
                raise
        return None

    def _pace(self) -> Pace | None:
        """The cool-downs of the run; a dry run has none, because it takes nothing from anybody but reads."""
        options = self._options
        return None if options.run_size is None or options.dry_run else Pace(options.run_size, options.cooldown)

    def _migrator(self, catalogue: Catalogue) -> Migrator:
        options = self._options
        accepted = [row.id for row in Accepted(self._values).covered(catalogue)]
        store = ObjectStore(self._values, LOCK, connections=options.concurrency)
        return Migrator.for_server(
            self._values,
            self._table.data_tools,
            store,
            LOCK,
            shared=catalogue.shared_names(accepted=accepted),
            dry_run=options.dry_run,
            verify=options.verify_hash,
            repair=options.repair,
        )

    @property
    def _scheduler(self) -> Scheduler:
        limits = self._table.data_tools.scheduler
        return limits.model_copy(update={"shard_size": batch_rows(limits.shard_size, self._options.max_rate)})

    def _spread(self, run: Run) -> None:
        """Gives a run to the workers of a Dask scheduler."""
        try:
            from cutover.backfill.spread import Spread  # noqa: PLC0415 - half a second, and an extra of the package
        except ModuleNotFoundError as error:
            raise settings.SettingsError(
                f"--scheduler needs the module {error.name}: install deltacrown-cutover[scheduler]"
            ) from error
        Spread(self._options, self._values, self._scheduler, run).execute()

    def _may_run(self) -> bool:
        return self._options.dry_run or settings.flag(self._values, self._table.variables["backfill"])

    def _selection(self, catalogue: Catalogue) -> Selection:
        options = self._options
        ids, keys = tuple(options.certificate_id), tuple(options.key)
        if ids or keys:
            rows = [*catalogue.by_id(ids), *catalogue.by_keys(keys)]
            known: set[object] = {row.id for row in rows} | {file.key for row in rows for file in row.files}
            for wanted in (*ids, *keys):
                if wanted not in known:
                    what = f"certificate {wanted}" if isinstance(wanted, int) else f"file {wanted!r}"
                    raise UnknownCertificateError(f"{what}: no row of the table has it; look it up and name it again")
        selection = Selection(
            start_id=options.start_id,
            tournament_id=options.tournament_id,
            ids=ids,
            keys=keys,
            # Whoever names a certificate to repair means it, be it marked or not.
            pending=None if options.repair and (ids or keys) else True,
            limit=options.limit,
        )
        # Nor is a certificate passed by that is named, be it accepted or not.
        return selection if ids or keys else self._without_accepted(catalogue, selection)

    def _without_accepted(self, catalogue: Catalogue, selection: Selection) -> Selection:
        """The selection without the rows that are accepted as not migrated; the summary counts them."""
        rows = Accepted(self._values).covered(catalogue)
        covered = tuple(row.id for row in rows if row.migrated_at is None)
        if covered:
            self._summary.accepted = catalogue.count(dataclasses.replace(selection, ids=covered, limit=None))
        return dataclasses.replace(selection, accepted=covered)

    def _already_migrated(self, catalogue: Catalogue, selection: Selection) -> int:
        """The marked rows that the run has passed by."""
        if selection.pending is None:
            return 0
        summary = self._summary
        whole = summary.stopped is None and (selection.limit is None or summary.done < selection.limit)
        end_id = None if whole else summary.last_id
        marked = catalogue.count(dataclasses.replace(selection, pending=False, limit=None, end_id=end_id))
        return marked if summary.dry_run else max(0, marked - summary.migrated)

    def _header(self) -> dict[str, object]:
        options = self._options
        return {
            "Start ID": options.start_id,
            "Limit": options.limit or "none",
            "Batch size": options.batch_size,
            "Verify hash": options.verify_hash,
            **self._cool_downs(),
        }

    def _cool_downs(self) -> dict[str, object]:
        pace = self._pace()
        return {} if pace is None else {"Cool-down": f"{duration(pace.cooldown_seconds)} after each {pace.run_size}"}

    def _exit_code(self) -> ExitCode:
        if self._summary.stopped is not None:
            return EXIT_CODES[self._summary.stopped]
        return ExitCode.FAILED if self._summary.errors else ExitCode.DONE
