"""`cutover generate`: writes what repeats ops/cutover.yml, or says that it is out of date."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cutover import generate, plan
from cutover.exit_codes import ExitCode

if TYPE_CHECKING:
    import argparse

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

__all__ = ["register"]


def register(commands: Subparsers) -> None:
    """Adds `generate` to the parser of `cutover`."""
    parser = commands.add_parser(
        "generate",
        help="write the parts of script and documentation that repeat ops/cutover.yml",
        description="Writes the parts of the machine script, the runbook and the scenarios' reference that repeat "
        "ops/cutover.yml.",
        epilog="example: cutover generate --check    (exit 1 if a generated part is out of date)",
    )
    parser.add_argument("--check", action="store_true", help="change nothing, exit 1 if something is out of date")
    parser.add_argument("--root", type=Path, default=Path(), metavar="DIR", help="the checkout (default: here)")
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> int:
    table = plan.load(options.root / "ops" / "cutover.yml")
    paths = (generate.outdated if options.check else generate.write)(options.root, table)
    for path in paths:
        print(f"{path} is out of date: run `cutover generate`" if options.check else f"{path} written")
    return ExitCode.FAILED if options.check and paths else ExitCode.DONE
