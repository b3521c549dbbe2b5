"""`cutover compare`: both copies of named files, read in full."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from cutover import compare, settings
from cutover.exit_codes import ExitCode

if TYPE_CHECKING:
    import argparse

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

__all__ = ["register"]


def register(commands: Subparsers) -> None:
    """Adds `compare` to the parser of `cutover`."""
    parser = commands.add_parser(
        "compare",
        help="read both copies of named files in full and compare their SHA-256",
        description="Reads the local and the S3 copy of each named file in full and compares their SHA-256, "
        "with the checksum that S3 recorded. Exit 0: all equal; 1: some differ or are absent; 4: S3 could not say.",
        epilog="example: cutover compare --env-file /etc/deltacrown/staging.env certificates/pdf/2026/11/cert_7_a1.pdf",
    )
    parser.add_argument("keys", nargs="+", metavar="NAME", help="a file's name as the database has it")
    settings.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> int:
    from cutover import object_store  # noqa: PLC0415 - boto3 takes a third of a second

    values = settings.load(options.env_file, role_arn=options.role_arn)
    comparisons = []
    for comparison in compare.compare(values, object_store.ObjectStore(values), options.keys):
        comparisons.append(comparison)
        if not options.json:
            print(comparison)
    if options.json:
        print(json.dumps([asdict(comparison) | {"equal": comparison.equal} for comparison in comparisons]))
    return ExitCode.DONE if all(comparison.equal for comparison in comparisons) else ExitCode.FAILED
