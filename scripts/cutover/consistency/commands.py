"""The commands `cutover check` and `cutover audit`."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING

from cutover import plan, settings
from cutover.consistency import metrics, repair_command
from cutover.consistency.errors import ConsistencyError
from cutover.consistency.progress import Progress
from cutover.consistency.report import FIELDS
from cutover.consistency.sample import Sample
from cutover.gates import Verdict
from cutover.settings import SettingsError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

__all__ = ["register"]

_ENDS = (
    "Exit 0: PASS; 1: FAIL, a key disagrees; 2: usage or settings; 3: INCONCLUSIVE, nothing was compared; "
    "4: ERROR, S3, database or disk could not be read to the end."
)
_READS = (
    "Reads only: the read-only role suffices, and PostgreSQL is told to refuse writes. Prints METRIC lines for the "
    "alarms on standard output, with --json on standard error."
)


def register(commands: Subparsers) -> None:
    """Adds `check`, `audit` and `repair` to the parser of `cutover`."""
    check = commands.add_parser(
        "check",
        help="compare the certificate table with the bucket key by key, and a sample by SHA-256",
        description="Compares the table's files with the bucket's objects, key by key: missing, orphaned, of another "
        "size than the local file, there but not marked. Of a sample it compares the SHA-256 of local file, S3 "
        "(S3's own checksum; a download where S3 keeps none) and, for PDFs, certificate_hash, and says which one "
        f"disagrees. {_READS} {_ENDS}",
        epilog="example: cutover check --env-file /etc/deltacrown/production.env --sample 1%",
    )
    check.add_argument(
        "--sample",
        metavar="1%|100%|0|N",
        help="share or number of files to hash, 0 for none",
    )
    audit = commands.add_parser(
        "audit",
        help="check with every file hashed: local, in S3 by a full download, and certificate_hash",
        description=f"The check with every file in the sample, and every object downloaded. {_READS} {_ENDS}",
        epilog="example: cutover audit --env-file /etc/deltacrown/production.env --json",
    )
    audit.set_defaults(sample="100%")
    for parser in (check, audit):
        parser.add_argument("--seed", type=int, metavar="N", help="draw the sample of this number again")
        parser.add_argument(
            "--inventory",
            nargs="+",
            type=Path,
            default=[],
            metavar="FILE|DIR",
            help="S3 Inventory (its manifest.json, Parquet files, or their directory) instead of listing the bucket; "
            "rows newer than it are not judged",
        )
        parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
        settings.add_arguments(parser)
        parser.set_defaults(command=_run)
    repair_command.register(commands)


def _run(options: argparse.Namespace) -> int:
    table = plan.load()
    defaults = table.data_tools.check
    try:
        sample = Sample.parse(options.sample or f"{defaults.sample_ratio:%}", defaults.sample_minimum)
    except ValueError as error:
        raise SettingsError(f"--sample: {error}") from error
    for path in options.inventory:
        if not path.exists():
            raise SettingsError(f"--inventory {path}: there is no such file: give the inventory's manifest.json")
    values = settings.load(options.env_file, role_arn=options.role_arn)
    # boto3 and psycopg take half a second to import, which the other commands need not pay.
    from cutover.catalogue import CatalogueError  # noqa: PLC0415
    from cutover.consistency.check import Request, any_seed, check  # noqa: PLC0415
    from cutover.object_store import ObjectStoreError  # noqa: PLC0415

    seed = options.seed if options.seed is not None else any_seed()
    stream = sys.stderr if options.json else sys.stdout
    try:
        with Progress() as progress:
            report = check(values, table, Request(sample, seed, tuple(options.inventory)), progress)
    except (CatalogueError, ObjectStoreError, ConsistencyError, OSError) as error:
        if options.json:
            print(json.dumps(dict.fromkeys(FIELDS) | {"verdict": Verdict.ERROR.name}))
        _print(metrics.lines(table, None), stream)
        raise ConsistencyError(f"{error}: nothing is said of consistency") from error
    _print([json.dumps(report.document())] if options.json else report.lines(table), sys.stdout)
    _print(metrics.lines(table, report), stream)
    return report.verdict


def _print(lines: Iterable[str], stream: IO[str]) -> None:
    with contextlib.suppress(BrokenPipeError):  # whoever reads the first line only still gets the verdict's code
        for line in lines:
            print(line, file=stream)
