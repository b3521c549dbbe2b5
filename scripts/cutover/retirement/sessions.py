"""What each command does: it opens what its run needs, tells how the run ended, and returns the exit code."""

from __future__ import annotations

import dataclasses
import errno
import sys
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from cutover import plan, settings
from cutover.accepted import Accepted
from cutover.catalogue import Catalogue, Selection
from cutover.consistency.progress import Progress
from cutover.exit_codes import CommandError, ExitCode
from cutover.object_store import ObjectStore
from cutover.retirement import only_in_s3, places, purge, quarantine, report, restore
from cutover.retirement.archive import archive, survey
from cutover.retirement.archive_proof import ArchiveError, prove
from cutover.retirement.backups import Backups
from cutover.retirement.download import Downloader
from cutover.retirement.run import LOCK, Run, refuse_unless_s3_serves
from cutover.settings import SettingsError
from cutover.stopping import asked_to_stop, interrupted_at_once

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

    from cutover.settings import Settings

__all__ = ["run"]

_CANNOT_WRITE = restore.FULL | {errno.EACCES, errno.EPERM, errno.EXDEV}


class BusyError(CommandError):
    """Another run of the same kind holds the lock."""

    exit_code = ExitCode.CANNOT_WRITE


class CannotWriteError(CommandError):
    """A disk takes nothing more, or not from this user."""

    exit_code = ExitCode.CANNOT_WRITE


def run(name: str, options: argparse.Namespace) -> int:
    """Runs one of the four commands and returns its exit code; CommandError says what kept it from its end."""
    values = settings.load(options.env_file, role_arn=options.role_arn)
    commands = {"archive": _archive, "quarantine": _quarantine, "purge": _purge, "restore": _restore}
    try:
        return commands[name](options, values)
    except OSError as error:
        if error.errno not in _CANNOT_WRITE:
            raise
        where = error.filename or values.media_root
        raise CannotWriteError(f"{where}: {error.strerror}: free it, then run again") from error


def _say(sentence: object, code: ExitCode) -> ExitCode:
    print(f"cutover: {sentence}", file=sys.stderr)
    return code


def _archive(options: argparse.Namespace, values: Settings) -> int:
    bucket = options.bucket or _backups_bucket(values)
    store = ObjectStore(dataclasses.replace(values, bucket=bucket), "archive")
    backups = Backups(values, bucket, store)
    roots = (values.media_root, places.find(values))
    try:
        with interrupted_at_once(), Progress() as progress:
            if options.verify:
                proof = prove(backups, options.verify, lambda what, done: progress(what, done, done))
            else:
                found = survey(roots)
                proof = archive(backups, roots, found, lambda what, done: progress(what, done, found.files))
    except KeyboardInterrupt:
        return _say("interrupted: nothing new is proven, and no upload was left half done", ExitCode.INTERRUPTED)
    report.proof(proof, as_json=options.json)
    return ExitCode.DONE


def _backups_bucket(values: Settings) -> str:
    table = plan.load()
    deployment = table.deployment_of(values.bucket)
    bucket = table.deployments[deployment].backups_bucket if deployment else None
    if bucket is None:
        raise SettingsError(f"ops/cutover.yml has no backups bucket for {values.bucket}: name one with --bucket")
    return bucket


def _quarantine(options: argparse.Namespace, values: Settings) -> int:
    table = plan.load()
    refuse_unless_s3_serves(values, table)
    request = quarantine.Request(
        batch_size=options.batch_size,
        limit=options.sample or options.limit,
        sample=options.sample is not None,
        opening=options.opening,
        dry_run=options.dry_run,
    )
    directory = places.find(values, options.directory) if options.dry_run else places.claim(values, options.directory)
    _, before = places.restores(directory)
    with _locked(values) as catalogue, asked_to_stop() as asked, Progress() as progress:
        run = Run(values, table, directory, asked, progress, before)
        work = quarantine.Quarantine(
            run, request, catalogue, ObjectStore(values, "quarantine", connections=table.data_tools.concurrency)
        )
        try:
            work.run()
        except BaseException:
            work.summary.stopped = "error"
            raise
        finally:  # what was moved is to be known, whatever ended it
            report.quarantined(work.summary, as_json=options.json, sample=request.sample)
    return report.ended(work.summary.stopped, work.summary.left)


def _purge(options: argparse.Namespace, values: Settings) -> int:
    table = plan.load()
    refuse_unless_s3_serves(values, table)
    directory = places.find(values, options.directory)
    _, before = places.restores(directory)
    try:
        found = purge.survey(values, directory, days=options.older_than_days, archived=not options.without_archive)
    except ArchiveError as error:
        raise SettingsError(f"{error}; or delete with --without-archive what no archive has") from error
    wanted = purge.phrase(values.bucket, len(found.ripe))
    before_it = only_in_s3.count(values, directory)
    gone = 0 if before_it is None else before_it.files
    summary = purge.Summary(
        dry_run=options.dry_run,
        directory=str(directory),
        eligible=len(found.ripe),
        eligible_bytes=found.bytes,
        too_young=found.too_young,
        approve=wanted,
        left=list(found.left),
        only_in_s3=gone,
    )
    if options.dry_run or not found.ripe:
        report.purged(summary, as_json=options.json)
        return report.ended(None, summary.left)
    if options.approve != wanted:
        report.purged(summary, as_json=options.json)
        raise SettingsError(f"it deletes for ever, so it must be approved for just this: --approve {wanted}")
    print(f"cutover: IRREVERSIBLE: {wanted}; afterwards S3 and the archive have the only copies", file=sys.stderr)
    with _locked(values) as catalogue, asked_to_stop() as asked, Progress() as progress:
        run = Run(values, table, directory, asked, progress, before)
        only_in_s3.mark(
            values, gone + len(found.ripe)
        )  # before the first is deleted: an emergency may come at any time
        work = purge.Purge(run, catalogue, ObjectStore(values, "purge", connections=table.data_tools.concurrency))
        try:
            work.run(found, summary)
        except BaseException:
            summary.stopped = "error"
            raise
        finally:  # what is deleted is to be known, whatever ended it
            summary.only_in_s3 = only_in_s3.recount(values, directory)
            report.purged(summary, as_json=options.json)
    return report.ended(summary.stopped, summary.left)


def _restore(options: argparse.Namespace, values: Settings) -> int:
    table, directory = plan.load(), places.find(values, options.directory)
    _, before = places.restores(directory)
    ids, started = frozenset(options.certificate_id), time.monotonic()
    if options.accept_unreadable is not None:
        _refuse_unless_accepted(values, directory, options.accept_unreadable)
    with asked_to_stop() as asked, _restoring(directory, dry_run=options.dry_run), Progress() as progress:
        run = Run(values, table, directory, asked, progress, before)
        work = restore.Restore(run, limit=options.limit, dry_run=options.dry_run)
        try:
            work.from_quarantine(ids)
            if not options.quarantined_only and work.summary.stopped is None:
                _restore_from_s3(values, work, ids)
        finally:  # also if S3 or the database cannot be asked: what came back from quarantine is to be known
            work.summary.duration_s = round(time.monotonic() - started, 3)
            if not options.dry_run:
                work.summary.only_in_s3 = only_in_s3.recount(values, directory)
            report.restored(work.summary, as_json=options.json)
    return report.restore_ended(work.summary)


def _refuse_unless_accepted(values: Settings, directory: Path, accepted: int) -> None:
    """For the emergency, which goes on with the machines' own marks where nobody can count; it reads the last line."""
    try:
        found = only_in_s3.count(values, directory)
    except (CommandError, OSError) as error:
        _say(f"{error}; this goes on", ExitCode.DONE)
        return
    if found is not None:
        print(f"ONLY_IN_S3 {found.files} {found.certificates}", flush=True)
        only_in_s3.refuse_unless_accepted(found, accepted)


def _restore_from_s3(values: Settings, work: restore.Restore, ids: frozenset[int]) -> None:
    store = ObjectStore(values, "restore", connections=plan.load().data_tools.concurrency)
    source = restore.Source(Downloader(values, store), store, Accepted(values).ids())
    with Catalogue(values, read_only=True) as catalogue:
        if not catalogue.lock("restore"):
            raise BusyError("another restore is downloading: wait for it, then run again")
        if unknown := sorted(ids - {row.id for row in catalogue.by_id(ids)}):
            raise SettingsError(f"certificates {', '.join(map(str, unknown))} are not in the table: correct the ids")
        work.from_s3(catalogue, Selection(pending=None, ids=tuple(sorted(ids))), source)


@contextmanager
def _restoring(directory: Path, *, dry_run: bool) -> Iterator[None]:
    """Holds a running quarantine back; where the disk does not even take the marker, files come back without it."""
    with ExitStack() as stack:
        try:
            if not dry_run:
                stack.enter_context(places.restoring(directory))
        except OSError as error:
            _say(f"{directory}: {error.strerror}: stop a running quarantine by hand; this goes on", ExitCode.DONE)
        yield


@contextmanager
def _locked(values: Settings) -> Iterator[Catalogue]:
    with Catalogue(values, read_only=True) as catalogue:
        if not catalogue.lock(LOCK):
            raise BusyError("another quarantine or purge is running: wait for it, then run again")
        yield catalogue
