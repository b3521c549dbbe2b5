"""Rows that cannot be migrated, accepted by name and reason; and `cutover accept`, which records them.

The record is append-only: one JSON object a line in `accepted.jsonl` of the state directory, the last one of a row
counts. It holds the row's file names, so that a row that has got other files is not covered any more.
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import getpass
import json
import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from cutover import settings
from cutover.control import StateError
from cutover.exit_codes import CommandError, ExitCode
from cutover.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cutover.catalogue import Catalogue, Certificate
    from cutover.settings import Settings

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

__all__ = ["Acceptance", "Accepted", "register"]


class Acceptance(BaseModel):
    """Who accepted which row when (UTC), why, and the names of its files at that time; or took that back."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    certificate_id: int
    reason: str
    by: str
    at: datetime
    files: tuple[str, ...]
    withdrawn: bool = False


class UnreadableError(CommandError):
    """The record of accepted rows is there and cannot be read; the sentence names it."""

    exit_code = ExitCode.ERROR


class NotAcceptedError(CommandError):
    """A row is not accepted as it was asked for; the sentence says why and what to do."""

    exit_code = ExitCode.FAILED


class Accepted:
    """The accepted rows of a deployment, as they are when this is made.

    Raises:
        UnreadableError: the record cannot be read; that is an error, never "nothing is accepted".
        SettingsError: a line of it is no accepted row.
    """

    def __init__(self, settings: Settings) -> None:
        self.path = settings.state_directory / "accepted.jsonl"
        self._latest = {acceptance.certificate_id: acceptance for acceptance in self._read()}

    def records(self) -> list[Acceptance]:
        """What is accepted now, by certificate id; what was withdrawn is not among it."""
        return [found for _, found in sorted(self._latest.items()) if not found.withdrawn]

    def ids(self) -> frozenset[int]:
        """The ids of the accepted rows; whether a row still has the accepted files is told by `covers`."""
        return frozenset(found.certificate_id for found in self.records())

    def covers(self, row: Certificate) -> bool:
        """Whether this row is accepted with just the files that it has."""
        found = self._latest.get(row.id)
        return found is not None and not found.withdrawn and found.files == _names(row)

    def covered(self, catalogue: Catalogue) -> list[Certificate]:
        """The rows of the table that are accepted with just the files that they have."""
        return [row for row in catalogue.by_id(self.ids()) if self.covers(row)]

    def add(self, row: Certificate, reason: str) -> Acceptance:
        """Records that this row is accepted; StateError if the record cannot be written."""
        return self._append(
            Acceptance(certificate_id=row.id, reason=reason, by=_user(), at=datetime.now(UTC), files=_names(row))
        )

    def withdraw(self, certificate_id: int, reason: str) -> Acceptance | None:
        """Records that a row is not accepted any more; None if it was not. StateError if it cannot be written."""
        found = self._latest.get(certificate_id)
        if found is None or found.withdrawn:
            return None
        changed = {"reason": reason, "by": _user(), "at": datetime.now(UTC), "withdrawn": True}
        return self._append(found.model_copy(update=changed))

    def _read(self) -> list[Acceptance]:
        try:
            # Not splitlines: a reason may hold what Unicode takes for a line's end, and JSON does not.
            lines = self.path.read_text(encoding="utf-8").split("\n")
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as error:
            raise UnreadableError(
                f"{self.path}: the accepted rows cannot be read ({error}): run as who may, or name another "
                "CUTOVER_STATE_DIRECTORY"
            ) from error
        try:
            return [Acceptance.model_validate_json(line) for line in lines if line]
        except ValidationError as error:
            first = error.errors()[0]
            raise SettingsError(f"{self.path}: a line is no accepted row ({first['msg']}): correct it") from error

    def _append(self, acceptance: Acceptance) -> Acceptance:
        line = (acceptance.model_dump_json() + "\n").encode()
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, mode=0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                _append_whole(file, line)
            finally:
                os.close(file)
        except OSError as error:
            raise StateError(
                f"{self.path}: cannot be written ({error.strerror}): free it, or name another CUTOVER_STATE_DIRECTORY"
            ) from error
        self._latest[acceptance.certificate_id] = acceptance
        return acceptance


def register(commands: Subparsers) -> None:
    """Adds `accept` to the parser of `cutover`."""
    parser = commands.add_parser(
        "accept",
        help="accept by name and reason that a certificate cannot be migrated",
        description="Records who accepted which certificate when and why. Every report lists it, the consistency "
        "check does not count it, and its local files are never retired. It is covered as long as it has the same "
        "files. Exit 0: recorded or listed; 1: there is nothing to withdraw, or the row is marked as migrated and "
        "--force is absent; 2: no such row, no reason, or settings; 4: the database or the record cannot be read; "
        "5: cannot write.",
        epilog='example: cutover accept --certificate-id 812 --reason "PNG lost in 2024, owner told" '
        "--env-file /etc/deltacrown/production.env",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--certificate-id", type=int, metavar="N", help="the row")
    what.add_argument("--list", action="store_true", help="print what is accepted now")
    parser.add_argument("--reason", type=_reason, metavar="TEXT", help="why it is accepted, or why not any more")
    parser.add_argument("--withdraw", action="store_true", help="take back that the row is accepted")
    parser.add_argument("--force", action="store_true", help="accept a row although it is marked as migrated")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    settings.add_arguments(parser)
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> int:
    values = settings.load(options.env_file, role_arn=options.role_arn)
    accepted = Accepted(values)
    if options.list:
        _show(accepted.records(), as_json=options.json)
        if not accepted.path.exists():  # of a mistyped directory, too
            print(f"cutover: there is no {accepted.path}, so nothing was ever accepted there", file=sys.stderr)
        return ExitCode.DONE
    if options.reason is None:
        raise SettingsError("--reason is missing: write why, for whoever reads the report next year")
    found = _record(values, accepted, options)
    if found is None:
        print(f"cutover: certificate {options.certificate_id} is not accepted: nothing to withdraw", file=sys.stderr)
        return ExitCode.FAILED
    _show([found], as_json=options.json)
    return ExitCode.DONE


def _record(values: Settings, accepted: Accepted, options: argparse.Namespace) -> Acceptance | None:
    """Withdraws or accepts; a row that is gone can still be withdrawn."""
    if options.withdraw:
        return accepted.withdraw(options.certificate_id, options.reason)
    # psycopg takes a tenth of a second to import, which --list need not pay.
    from cutover.catalogue import Catalogue  # noqa: PLC0415

    with Catalogue(values, read_only=True) as catalogue:
        rows = catalogue.by_id([options.certificate_id])
    if not rows:
        raise SettingsError(f"certificate {options.certificate_id} is not in the table: give the id of a row")
    if rows[0].migrated_at is not None:
        sentence = f"certificate {rows[0].id} is marked as migrated, and no check counts an accepted row"
        if not options.force:
            raise NotAcceptedError(f"{sentence}: look at it with `cutover repair --dry-run`; accept it by --force")
        print(f"cutover: {sentence}: accepted by --force", file=sys.stderr)
    return accepted.add(rows[0], options.reason)


def _show(records: Sequence[Acceptance], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps([found.model_dump(mode="json") for found in records]))
        return
    for found in records:
        state = "not accepted any more" if found.withdrawn else "accepted"
        print(
            f"certificate {found.certificate_id} {state}, {found.at:%Y-%m-%d %H:%M} UTC by {found.by}: {found.reason}"
        )
    if not records:
        print("no certificate is accepted")


def _append_whole(file: int, line: bytes) -> None:
    """Appends the line or nothing: a full disk must not leave half a line that nobody can read."""
    size = os.fstat(file).st_size
    try:
        if os.write(file, line) == len(line):
            os.fsync(file)
            return
    except OSError:
        os.ftruncate(file, size)
        raise
    os.ftruncate(file, size)
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _names(row: Certificate) -> tuple[str, ...]:
    return tuple(file.key for file in row.files)


def _user() -> str:
    """Who is at the keyboard: sudo keeps the name that it was called by."""
    return os.environ.get("SUDO_USER") or getpass.getuser()


def _reason(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("an empty reason explains nothing")
    return text.strip()
