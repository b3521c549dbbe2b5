"""The command `cutover repair`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, get_args

from cutover import plan, settings
from cutover.consistency.diagnosis import Action, Trust
from cutover.exit_codes import ExitCode
from cutover.settings import SettingsError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from cutover.catalogue import Catalogue, Certificate
    from cutover.consistency.diagnosis import Diagnosis
    from cutover.settings import Settings

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

__all__ = ["register"]


def register(commands: Subparsers) -> None:
    """Adds `repair` to the parser of `cutover`."""
    parser = commands.add_parser(
        "repair",
        help="repair one certificate whose local file and object disagree",
        description="Shows what the witnesses of a certificate's files say: local file, downloaded object, S3's "
        "checksum, certificate_hash. Uploads the local file where it is proven right (the object's old version stays "
        "in the bucket), writes the local file from S3 where the object is proven right, and marks the row once both "
        "files are. Nothing proves a PNG: if its copies differ, look at both and name the right one. Uploads need "
        "CERT_S3_BACKFILL_ENABLED. Exit 0: right, or with --dry-run could be made so; 1: refused; 2: no such "
        "certificate, settings, or the flag is off; 4: S3, database or disk failed.",
        epilog="example: cutover repair --env-file /etc/deltacrown/production.env --certificate-id 812 --dry-run",
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--certificate-id", type=int, metavar="N", help="the certificate")
    which.add_argument("--key", help="the certificate that owns this file")
    parser.add_argument("--trust", choices=get_args(Trust), help="the copy that is right where no hash decides")
    parser.add_argument(
        "--dry-run", action="store_true", help="show the witnesses and what would be done, write nothing"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    settings.add_arguments(parser)
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> int:
    values = settings.load(options.env_file, role_arn=options.role_arn)
    # boto3 and psycopg take half a second to import, which the other commands need not pay.
    from cutover.catalogue import Catalogue  # noqa: PLC0415

    with Catalogue(values, read_only=options.dry_run) as catalogue:
        return _repair(options, values, catalogue)


def _repair(options: argparse.Namespace, values: Settings, catalogue: Catalogue) -> int:
    from cutover.consistency.repair import Repair  # noqa: PLC0415 (as in _run)

    row = _row(options, catalogue)
    repair = Repair(values, catalogue)
    diagnoses = repair.diagnose(row, options.trust)
    actions = {diagnosis.action for diagnosis in diagnoses}
    if options.dry_run:
        right = Action.REFUSED not in actions
    else:
        if Action.UPLOAD in actions:
            _refuse_unless_enabled(values, options)
        right = repair.execute(row, diagnoses)
    if options.json:
        print(json.dumps(_document(row, diagnoses, right=right, dry_run=options.dry_run)))
    else:
        print("\n".join(_lines(row, diagnoses, right=right, dry_run=options.dry_run)))
    return ExitCode.DONE if right else ExitCode.FAILED


def _row(options: argparse.Namespace, catalogue: Catalogue) -> Certificate:
    by_key = options.key is not None
    rows = catalogue.by_keys([options.key]) if by_key else catalogue.by_id([options.certificate_id])
    if not rows:
        what = f"file {options.key!r}" if by_key else f"certificate {options.certificate_id}"
        raise SettingsError(f"{what}: no row of the table has it; look it up and name it again")
    return rows[0]


def _refuse_unless_enabled(values: Settings, options: argparse.Namespace) -> None:
    flag = plan.load().variables["backfill"]
    if not settings.flag(values, flag):
        source = options.env_file or "the environment"
        raise SettingsError(f"{flag} is not `true` in {source}: turn it on, or look first with --dry-run")


def _document(row: Certificate, diagnoses: Sequence[Diagnosis], *, right: bool, dry_run: bool) -> dict[str, object]:
    files = [
        {
            "key": diagnosis.key,
            "action": diagnosis.action,
            "reason": diagnosis.reason,
            "witnesses": diagnosis.testimony.witnesses,
            "disagrees": diagnosis.testimony.disagrees,
        }
        for diagnosis in diagnoses
    ]
    return {"certificate_id": row.id, "dry_run": dry_run, "right": right, "files": files}


def _lines(row: Certificate, diagnoses: Sequence[Diagnosis], *, right: bool, dry_run: bool) -> Iterator[str]:
    yield f"certificate {row.id}{' (dry run)' if dry_run else ''}"
    for diagnosis in diagnoses:
        yield diagnosis.key
        for witness, value in diagnosis.testimony.witnesses.items():
            doubt = "  <- disagrees" if witness in diagnosis.testimony.disagrees else ""
            yield f"  {witness:<16} {value or 'absent'}{doubt}"
        yield f"  {diagnosis.action}: {diagnosis.reason}"
    if dry_run:
        yield "would be right in S3 afterwards" if right else "cannot be repaired as it is"
    else:
        yield "right in S3, and marked as migrated" if right else "not right: nothing was marked"
