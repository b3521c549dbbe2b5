"""Runs programs, and turns their failures into one sentence."""

from __future__ import annotations

import shlex
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

COMMAND_SECONDS = 120.0  # far above what any command but an image build takes


class LabError(RuntimeError):
    """The lab cannot do what was asked; the message names the remedy."""


def run(
    argv: Sequence[str | Path],
    *,
    stdin: str | None = None,
    seconds: float = COMMAND_SECONDS,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Runs `argv` and returns its stdout; LabError with the last line it said if it fails or takes `seconds`."""
    shown = shlex.join(str(word) for word in argv)
    try:
        # A session of its own: a Ctrl-C reaches this process alone, which then undoes what it began.
        completed = subprocess.run(
            [str(word) for word in argv],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
            env=environment,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise LabError(f"{argv[0]} is not installed: run `make setup`.") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"`{shown}` did not end within {seconds:g} s.") from error
    if completed.returncode != 0:
        said = (completed.stderr.strip() or completed.stdout.strip() or "nothing").splitlines()[-1]
        raise LabError(f"`{shown}` failed with exit code {completed.returncode}: {said}")
    return completed.stdout
