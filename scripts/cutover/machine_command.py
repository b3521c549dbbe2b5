"""`cutover machine`: what a preflight must know of the machine it runs on, in one look."""

from __future__ import annotations

import hashlib
import json
import os
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from cutover.exit_codes import ExitCode

if TYPE_CHECKING:
    import argparse

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

__all__ = ["register"]

SCRIPT = Path("/usr/local/sbin/deltacrown-s3-rollback")
_FILE_SYSTEM = ("f_frsize", "f_blocks", "f_bavail", "f_files", "f_favail")


def register(commands: Subparsers) -> None:
    """Adds `machine` to the parser of `cutover`."""
    parser = commands.add_parser(
        "machine",
        help="the clock, the tools' version and the room on the disks of this machine",
        description="Prints one JSON object: the time (seconds since 1970), the version of `cutover`, the SHA-256 of "
        "the machine script, and what statvfs says of each path. It changes nothing. Exit 4: a path cannot be asked.",
        epilog="example: cutover machine --path /var/www/deltacrown/media",
    )
    parser.add_argument("--path", action="append", default=[], metavar="PATH", help="a file system to look at")
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> int:
    disks = {path: {name: getattr(os.statvfs(path), name) for name in _FILE_SYSTEM} for path in options.path}
    tools = f"{version('deltacrown-cutover')} with script {hashlib.sha256(SCRIPT.read_bytes()).hexdigest()[:12]}"
    print(json.dumps({"time": time.time(), "tools": tools, "disks": disks}))
    return ExitCode.DONE
