"""The command `cutover witnesses`."""

from __future__ import annotations

import argparse
import json
import math
from fractions import Fraction
from typing import TYPE_CHECKING

from cutover import plan, settings
from cutover.arguments import moment, natural, positive
from cutover.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cutover.catalogue import Catalogue, Certificate
    from cutover.consistency.chosen_rows import Comparison

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

__all__ = ["register"]

_PAGE = 1000  # rows read at once
_SHOWN = 20  # files that disagree in the lines for people; the JSON document has them all


def register(commands: Subparsers) -> None:
    """Adds `witnesses` to the parser of `cutover`."""
    parser = commands.add_parser(
        "witnesses",
        help="compare the files of certain certificates: local copy, S3, and the hash of what was issued",
        description="Asks for each file of the chosen rows what its witnesses say: the local copy, S3 (its own "
        "SHA-256, or the bytes where they are read in full) and, for PDFs, certificate_hash. Names each file on which "
        "they disagree. An absent object counts if its row is marked as migrated. Reads only. Exit 0: all agree; 1: "
        "some do not; 2: usage or settings; 3: nothing to look at, or a file with one witness only; 4: S3, database "
        "or disk could not be read.",
        epilog="example: cutover witnesses --env-file /etc/deltacrown/staging.env --minimum 100 --fraction 0.1 "
        "--full-downloads 5",
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--minimum", type=natural, metavar="N", help="the first rows by id: N at least (and --fraction)")
    which.add_argument("--random", type=positive, metavar="N", help="N rows that are marked as migrated, by chance")
    which.add_argument("--certificate-id", type=positive, nargs="+", action="extend", metavar="ID", help="these rows")
    parser.add_argument("--fraction", type=_fraction, metavar="R", help="and this share of all rows, 0 to 1")
    parser.add_argument(
        "--issued-before",
        type=moment,
        metavar="TIME",
        help="ISO 8601 with a zone; of the first rows those only, for later ones are the sweep's",
    )
    parser.add_argument("--seed", type=natural, metavar="S", help="draw what this number drew before")
    parser.add_argument(
        "--full-downloads",
        type=_count_or_all,
        default=0,
        metavar="K|all",
        help="read so many files of marked rows from S3 in full, drawn by chance (default: 0)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    parser.add_argument("--no-manifest", action="store_true", help="leave each file's SHA-256 out of the document")
    settings.add_arguments(parser)
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> int:
    if options.issued_before is not None and options.minimum is None:
        raise SettingsError("--issued-before belongs to --minimum and --fraction: leave it out")
    if (options.minimum is None) != (options.fraction is None):
        raise SettingsError("--minimum and --fraction go together: the first rows are the larger of the two")
    values = settings.load(options.env_file, role_arn=options.role_arn)
    # boto3 and psycopg take half a second to import, which the other commands need not pay.
    from cutover.catalogue import Catalogue  # noqa: PLC0415
    from cutover.consistency.check import any_seed  # noqa: PLC0415
    from cutover.consistency.chosen_rows import Reading, compare  # noqa: PLC0415
    from cutover.consistency.progress import Progress  # noqa: PLC0415

    seed = options.seed if options.seed is not None else any_seed()
    reading = Reading(options.full_downloads, seed, threads=plan.load().data_tools.concurrency)
    with Catalogue(values, read_only=True) as catalogue, Progress() as progress:
        found = compare(values, catalogue, _rows(options, catalogue, seed), reading, progress)
    document = {**found.document(), "seed": seed}
    if options.no_manifest:
        del document["manifest"]
    print(json.dumps(document) if options.json else "\n".join(_lines(found, seed)))
    return found.verdict


def _rows(options: argparse.Namespace, catalogue: Catalogue, seed: int) -> list[Certificate]:
    """The chosen rows in the order of their ids."""
    from cutover.catalogue import Selection  # noqa: PLC0415 (as in _run)

    if options.certificate_id is not None:
        rows = catalogue.by_id(options.certificate_id)
        if absent := sorted(set(options.certificate_id) - {row.id for row in rows}):
            raise SettingsError(f"certificate {absent[0]}: no row of the table has this id; name another")
        return rows
    if options.random is not None:
        return sorted(catalogue.drawn(Selection(pending=False), options.random, seed), key=lambda row: row.id)
    every = Selection(pending=None)
    wanted = max(options.minimum, math.ceil(options.fraction * catalogue.count(every)))
    pages = catalogue.pages(Selection(pending=None, limit=wanted), _PAGE)
    return [
        row for page in pages for row in page if options.issued_before is None or row.created_at < options.issued_before
    ]


def _lines(found: Comparison, seed: int) -> Iterator[str]:
    yield f"{found.rows} certificates (id {found.start_id} to {found.end_id}), {found.pending} of them not marked"
    if found.accepted:
        yield f"  {found.accepted} more are accepted as they are, and were not looked at"
    yield f"  {found.files} files: {len(found.manifest)} agree, {len(found.different)} do not"
    if found.without_local:
        yield f"  {len(found.without_local)} have no local copy, the first is {found.without_local[0].key}"
    yield f"  {found.downloaded} were read from S3 in full (--seed {seed} draws them again)"
    for suspect in found.different[:_SHOWN]:
        said = ", ".join(f"{witness} {value or 'absent'}" for witness, value in suspect.witnesses.items())
        doubt = " and ".join(suspect.disagrees)
        yield f"  {suspect.key}  (certificate {suspect.certificate_id})  in doubt: {doubt}; {said}"
    if len(found.different) > _SHOWN:
        yield f"  … and {len(found.different) - _SHOWN} more (--json names all)"
    for key in found.unproven[:_SHOWN]:
        yield f"  {key}: one witness only, which proves nothing"
    if found.different:
        yield "cutover repair --key KEY says what can be done"
    elif not found.files:
        yield "nothing to look at: no file of these certificates is in S3, and none need be"


def _fraction(text: str) -> Fraction:
    """Exact, for 0.07 of 100 rows are 7, and as floating-point numbers more than 7."""
    try:
        share = Fraction(text)
    except (ValueError, ZeroDivisionError):
        share = Fraction(-1)
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share from 0 to 1")
    return share


def _count_or_all(text: str) -> int | None:
    return None if text == "all" else natural(text)
