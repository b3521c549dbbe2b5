"""The command `cutover report`."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cutover import plan
from cutover.evidence import chain as chains
from cutover.evidence.commands import factor
from cutover.evidence.errors import WriteError
from cutover.evidence.report import Source, page
from cutover.exit_codes import ExitCode

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from cutover.evidence.chain import Chain

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

__all__ = ["register"]


def register(commands: Subparsers) -> None:
    """Adds `report` to the parser of `cutover`."""
    parser = commands.add_parser(
        "report",
        help="the evidence as one HTML page: verdicts, timelines, thresholds, what to do next",
        description="Writes one HTML page that needs nothing outside of it: verdict and criteria of every step, modes "
        "by worker, measurements with the table's thresholds, fallback reads by cause, pages sent, and what to do "
        "next. What was not measured is called so. Exit 0: written; 3: there is no record, the page says so; 4: a "
        "chain is broken, the page says where; 5: cannot write.",
        epilog="example: cutover report --directory var/evidence/staging var/evidence/production --output report.html",
    )
    parser.add_argument(
        "--directory",
        type=Path,
        nargs="+",
        default=[chains.DEFAULT_DIRECTORY],
        metavar="DIR",
        help=f"the chains, one a deployment (default: {chains.DEFAULT_DIRECTORY})",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="default: standard output")
    parser.add_argument(
        "--time-scale", type=factor, default=1.0, metavar="S", help="of a rehearsal: days of grace are S times shorter"
    )
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> int:
    found = [chains.read(directory) for directory in options.directory]
    text = page(Source(plan.load(), found, datetime.now(UTC), options.time_scale))
    if options.output is None:
        sys.stdout.write(text)
    else:
        _write(options.output, text)
    return _exit_code(found)


def _exit_code(found: Sequence[Chain]) -> ExitCode:
    for chain in found:
        if chain.broken is not None:
            print(f"cutover: the evidence in {chain.directory} is broken at {chain.broken}", file=sys.stderr)
            return ExitCode.ERROR
    if any(chain.links for chain in found):
        return ExitCode.DONE
    where = ", ".join(str(chain.directory) for chain in found)
    print(f"cutover: {where}: there is no record yet, and the page says so", file=sys.stderr)
    return ExitCode.INCONCLUSIVE


def _write(path: Path, text: str) -> None:
    """Replaces the file at once: whoever has it open sees the old page or the new one."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise WriteError(f"{path}: cannot be written ({error.strerror}): give another --output") from error
