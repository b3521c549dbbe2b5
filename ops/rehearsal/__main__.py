"""`make rehearse`: the cutover on this machine, with real parts and a proof for every claim."""

from __future__ import annotations

import argparse
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, NoReturn

from botocore.exceptions import ClientError

from rehearsal.acts import AVAILABLE_STEPS, rehearse
from rehearsal.claims import Claims
from rehearsal.lab import Lab, LabError, reach

if TYPE_CHECKING:
    from types import FrameType

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130


def main() -> int:
    """Runs the rehearsal; its last line on stdout is `REHEARSAL PASS <s> s` or `REHEARSAL FAIL <s> s`."""
    options = _options()
    signal.signal(signal.SIGTERM, _interrupt)
    claims = Claims()
    lab = Lab(progress=claims.say)
    code = 0
    try:
        lab.preflight()
    except LabError as error:
        print(f"rehearse: {error}", file=sys.stderr)
        return _end(claims, EXIT_USAGE)
    try:
        rehearse(lab, claims, options.steps)
    except KeyboardInterrupt:
        claims.say("interrupted: taking the lab down")
        code = EXIT_INTERRUPTED
    except (RuntimeError, OSError, subprocess.SubprocessError, ClientError) as error:
        print(f"rehearse: {error}", file=sys.stderr)
        code = EXIT_FAILED
    finally:
        code = _take_down(lab, claims, keep=options.keep) or code
    return _end(claims, code or (0 if claims.hold else EXIT_FAILED))


def _take_down(lab: Lab, claims: Claims, *, keep: bool) -> int:
    try:
        if keep:
            lab.keep()
            print(reach.hints(lab))
            return 0
        with claims.prove("the lab is gone: no process, mount, network or cgroup of it is left"):
            lab.down()
    except LabError as error:
        print(f"rehearse: {error}", file=sys.stderr)
        return EXIT_FAILED
    return 0


def _end(claims: Claims, code: int) -> int:
    print(f"\n{claims.summary()}\n")
    print(f"REHEARSAL {'FAIL' if code else 'PASS'} {time.monotonic() - claims.started:.0f} s")
    return code


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Ends as every rehearsal ends, so that whoever reads the last line learns of it."""
        print(f"rehearse: {message}", file=sys.stderr)
        print("REHEARSAL FAIL 0 s")
        self.exit(EXIT_USAGE)


def _options() -> argparse.Namespace:
    parser = _Parser(
        prog="make rehearse",
        description="Plays the cutover on this machine: real Pulumi, systemd machines, nginx, uWSGI, PostgreSQL, S3.",
        epilog="examples: make rehearse        make rehearse KEEP=1        make rehearse STEPS=1",
    )
    parser.add_argument("--keep", action="store_true", help="leave the lab up and say how to reach it")
    parser.add_argument(
        "--steps", type=_steps, default=list(AVAILABLE_STEPS), metavar="1,3-4", help="the steps to play"
    )
    return parser.parse_args()


def _steps(text: str) -> list[int]:
    chosen: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip())
        if not found:
            raise argparse.ArgumentTypeError(f"{part!r} is no step: write numbers like 1 or 1-4 or 1,6")
        chosen += range(int(found[1]), int(found[2] or found[1]) + 1)
    unknown = sorted(set(chosen) - set(AVAILABLE_STEPS))
    if unknown or not chosen:
        known = ", ".join(map(str, AVAILABLE_STEPS))
        raise argparse.ArgumentTypeError(
            f"steps {unknown or text} have no playbook in this release; there are: {known}"
        )
    return sorted(set(chosen))


if __name__ == "__main__":
    sys.exit(main())
