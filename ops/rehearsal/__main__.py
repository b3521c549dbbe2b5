"""`make rehearse`: the cutover on this machine, with real parts and a proof for every claim."""

from __future__ import annotations

import argparse
import re
import signal
import sys
import time
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from rehearsal.acts import AVAILABLE_STEPS, PLAYED_STEPS, rehearse
from rehearsal.claims import Claims
from rehearsal.lab import Lab, LabError, reach

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the rehearsal; its last line on stdout is `REHEARSAL PASS <s> s` or `REHEARSAL FAIL <s> s`, always."""
    options = _options(arguments)
    for ending in ENDINGS:
        signal.signal(ending, _interrupt)
    claims = Claims()
    lab = Lab(progress=claims.say)
    try:
        lab.preflight()
        played = _play(lab, claims, options.steps)
        code = _leave(lab, claims, keep=options.keep)
        code = played or code
    except LabError as error:
        claims.say(f"rehearse: {error}")
        code = EXIT_USAGE
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    return _end(claims, code or (0 if claims.hold else EXIT_FAILED))


def _play(lab: Lab, claims: Claims, steps: Sequence[int]) -> int:
    """Plays the acts and returns the exit code; nothing that ends them early is raised."""
    try:
        rehearse(lab, claims, steps)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Exception as error:  # noqa: BLE001 - an error that nobody foresaw must not leave five machines behind
        claims.say(f"rehearse: {error}" if isinstance(error, RuntimeError) else traceback.format_exc())
        return EXIT_FAILED
    return 0


def _leave(lab: Lab, claims: Claims, *, keep: bool) -> int:
    for ending in ENDINGS:
        signal.signal(ending, signal.SIG_IGN)  # an impatient second Ctrl-C would leave half a lab
    try:
        if keep:
            lab.keep()
            with suppress(OSError):
                print(reach.hints(lab))
        else:
            with claims.prove("the lab is gone: no process, mount, network or cgroup of it is left"):
                lab.down()
    except (LabError, OSError) as error:
        claims.say(f"rehearse: {error}")
        return EXIT_FAILED
    return 0


def _end(claims: Claims, code: int) -> int:
    with suppress(OSError):
        print(f"\n{claims.summary()}\n")
        print(f"REHEARSAL {'FAIL' if code else 'PASS'} {time.monotonic() - claims.started:.0f} s", flush=True)
    return code


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Ends as every rehearsal ends, so that whoever reads the last line learns of it."""
        print(f"rehearse: {message}", file=sys.stderr)
        print("REHEARSAL FAIL 0 s")
        self.exit(EXIT_USAGE)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _Parser(
        prog="make rehearse",
        description="Plays the cutover on this machine: real Pulumi, systemd machines, nginx, uWSGI, PostgreSQL, S3.",
        epilog="examples: make rehearse        make rehearse KEEP=1        make rehearse STEPS=1",
    )
    parser.add_argument("--keep", action="store_true", help="leave the lab up and say how to reach it")
    parser.add_argument(
        "--steps",
        type=_steps,
        default=list(PLAYED_STEPS),
        metavar="1,3-4",
        help="steps to play, with those that they need",
    )
    return parser.parse_args(arguments)


def _steps(text: str) -> list[int]:
    chosen: set[int] = set()
    for part in text.split(","):
        found = re.fullmatch(r"(\d{1,2})(?:-(\d{1,2}))?", part.strip())
        if not found:
            raise argparse.ArgumentTypeError(f"{part!r} is no step: write numbers like 1 or 1-4 or 1,6")
        chosen |= set(range(int(found[1]), int(found[2] or found[1]) + 1))
    unknown = sorted(chosen - set(AVAILABLE_STEPS))
    if unknown or not chosen:
        known = ", ".join(map(str, AVAILABLE_STEPS))
        raise argparse.ArgumentTypeError(f"{text}: this release has a playbook for step {known} only")
    return sorted(chosen)


if __name__ == "__main__":
    sys.exit(main())
