"""`python -m cutover.django.outage`: what a save costs a customer while S3 does not answer, in a process of its own.

The process has a worker's environment, except that S3 is a socket which takes every connection and never says a word,
and that dual-write is on. No worker is disturbed, and nothing reaches the bucket. Run it in the site's folder with the
site's Python and DJANGO_SETTINGS_MODULE, as the user of the workers.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import queue
import secrets
import socket
import sys
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.files.base import ContentFile

from cutover import cli, plan
from cutover.django import site_process
from cutover.exit_codes import CommandError, ExitCode
from cutover.stopping import interrupted_at_once, leave_at_once

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django.core.files.storage import Storage

__all__ = ["Outage", "OutageError", "SilentServer", "main", "measure"]

STEP, CRITERION = 6, "seconds_to_answer_without_s3"  # of ops/cutover.yml
GIVE_UP_SECONDS = 30.0  # nginx gives a worker up after as long, and the customer has an error page
KB = 20  # of the probe file; the median of the application's images


class OutageError(CommandError):
    """Nothing could be measured: the site's storage did not ask the S3 that never answers."""

    exit_code = ExitCode.ERROR


@dataclass(frozen=True)
class Outage:
    """What became of the saves: how long they took together in seconds, and whether the local files have the bytes."""

    seconds: float
    kept: bool
    name: str
    problem: str | None = None  # what a customer would have met instead of an answer

    def __str__(self) -> str:
        kept = "the local file has the bytes" if self.kept else "the local file does not have the bytes"
        return f"a save without S3 took {self.seconds:g} s; {kept}{f'; {self.problem}' if self.problem else ''}"

    def is_borne(self, bound: plan.Bound) -> bool:
        """Whether the customer was answered within the bound, and nothing is lost."""
        return self.kept and self.problem is None and bound.holds(self.seconds)


class SilentServer:
    """An S3 that takes connections on this machine and answers none, while it is entered.

    `asked` counts the connections: a save that made none has not met the outage.
    """

    def __init__(self) -> None:
        self.asked = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._open: list[socket.socket] = []

    def __enter__(self) -> SilentServer:
        threading.Thread(target=self._take, name="silent", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for connection in (self._listener, *self._open):
            with contextlib.suppress(OSError):  # it is gone already
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    @property
    def url(self) -> str:
        """Its address, for AWS_ENDPOINT_URL_S3."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def _take(self) -> None:
        with contextlib.suppress(OSError):  # the listener was closed
            while True:
                connection, _ = self._listener.accept()
                self._open.append(connection)
                self.asked += 1


def measure(storage: Storage, media_root: Path, give_up: float = GIVE_UP_SECONDS) -> Outage:
    """Saves a certificate's two files, looks whether they are kept locally, and removes them whatever happens.

    Args:
        storage: of the certificates, whose S3 does not answer.
        media_root: where local files must be.
        give_up: seconds after which the saves are not waited for any longer.
    """
    stem, body = f"cutover-probe-{uuid.uuid4()}", secrets.token_bytes(KB * 1024)
    wanted = [f"certificates/pdf/{stem}.pdf", f"certificates/images/{stem}.png"]  # one request of a customer
    outcome: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

    def save() -> None:
        try:
            outcome.put([storage.save(name, ContentFile(body)) for name in wanted])
        except Exception as error:  # noqa: BLE001 - whatever the site's storage raises is an error page for a customer
            outcome.put(error)

    names, problem, started = wanted, None, time.monotonic()
    try:
        threading.Thread(target=save, name="save", daemon=True).start()  # no time-out of its own can be trusted
        try:
            saved = outcome.get(timeout=give_up)
        except queue.Empty:
            saved = TimeoutError(f"no answer within {give_up:g} s")
        seconds = time.monotonic() - started
        if isinstance(saved, Exception):
            problem = f"save() failed: {type(saved).__name__}: {saved}"
        else:
            names = saved
        kept = all(_has(media_root / name, body) for name in names)
        return Outage(round(seconds, 3), kept, names[0], problem)
    finally:
        for path in {media_root / name for name in (*wanted, *names)}:
            if stem in path.name:  # whatever name the storage answers, no other file is touched
                path.unlink(missing_ok=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m cutover.django.outage",
        description="Saves a certificate's two files by the site's own storage in a process whose S3 takes connections "
        "and never answers, with dual-write on; measures how long that takes, looks whether the local files have the "
        "bytes, and removes them. Exit 0: answered in time and kept; 1: not so; 2: usage or settings; 4: the site "
        "cannot be started, or its storage does not ask S3.",
        epilog="example: DJANGO_SETTINGS_MODULE=deltacrown.settings python -m cutover.django.outage --env-file "
        "/etc/deltacrown/production.env",
    )
    site_process.add_environment_files(parser)
    parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    parser.set_defaults(command=_run)
    options = parser.parse_args(arguments)
    return cli.outcome(options.command, options)


def _run(options: argparse.Namespace) -> int:
    table = plan.load()
    bound = table.steps[STEP].criteria[CRITERION]
    with interrupted_at_once(), SilentServer() as server, contextlib.redirect_stdout(sys.stderr):
        _set_environment(options.env_file, {table.variables["dual_write"]: "true", "AWS_ENDPOINT_URL_S3": server.url})
        _, storage = site_process.start()
        logging.disable()  # for good: METRIC lines of this process would count as customers'
        found = measure(storage, Path(settings.MEDIA_ROOT))
        asked = server.asked
    if not asked:
        raise OutageError(
            f"the save ended after {found.seconds:g} s and never asked the S3 that does not answer, so nothing was "
            "measured: the model must use the S3 storage, the site's settings leave the endpoint to "
            f"AWS_ENDPOINT_URL_S3, and credentials be there; look whether the bucket has {found.name} now"
        )
    borne = found.is_borne(bound)
    document = {"seconds": found.seconds, "kept": found.kept, "problem": found.problem}
    print(json.dumps(document) if options.json else f"{found} ({'as it must be' if borne else f'must be {bound}'})")
    code = ExitCode.DONE if borne else ExitCode.FAILED
    leave_at_once(code)  # a client that still tries would hold the interpreter
    return code


def _set_environment(files: Sequence[Path], outage: Mapping[str, str]) -> None:
    """A worker's environment with the outage in it; a proxy would answer for an S3 that does not."""
    site_process.adopt(files)
    os.environ.update(outage)
    os.environ.pop("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", None)
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = "127.0.0.1"


def _has(path: Path, body: bytes) -> bool:
    try:
        return path.read_bytes() == body
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main())
