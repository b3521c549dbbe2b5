"""The command `cutover worker-requests`: certificates issued, downloaded and removed by one worker that is named.

nginx spreads requests over the workers; a canary of one is proven by requests that only it can have answered.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from cutover.arguments import positive
from cutover.exit_codes import ExitCode
from cutover.http_client import NoAnswerError
from cutover.settings import SettingsError
from cutover.site_account import CERTIFICATES, SIGN_IN, SiteError, given_fields
from cutover.stopping import asked_to_stop
from cutover.uwsgi_client import UwsgiClient

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from cutover.uwsgi_client import UwsgiAnswer

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

__all__ = ["Failure", "Memory", "Requests", "register"]

TIMEOUT_SECONDS = 30  # for each wait; nginx does not wait longer for a worker either
TYPE = "participant"  # of the test certificates


@dataclass(frozen=True)
class Failure:
    """A request that did not do what it had to; no status if there was no answer, of a program its exit code."""

    status: int | None
    detail: str


@dataclass
class Requests:
    """What became of the requests. `seconds` has all that were sent; `ids` and `names` those that were done."""

    asked: int = 0
    done: int = 0
    failures: list[Failure] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    def lines(self, what: str) -> Iterator[str]:
        """The result for people."""
        slowest = f", the slowest in {max(self.seconds):.3f} s" if self.seconds else ""
        yield f"{what}: {self.done} of {self.asked} done{slowest}"
        if self.ids:
            yield f"certificates: {' '.join(map(str, self.ids))}"
        for failure in self.failures:
            yield f"  {failure.detail}"


@dataclass(frozen=True)
class _Result:
    """One request: the certificate that it was done to, the files that it made, or why it failed."""

    id: int | None = None
    names: tuple[str, ...] = ()
    failure: Failure | None = None


class Memory:
    """The file that outlives whoever asked for certificates, so that they can be removed; without a path, nothing.

    Threads may share it: each line is one write at the file's end.
    """

    def __init__(self, path: Path | None) -> None:
        self._file: int | None = None
        if path is not None:  # before the first certificate: one that cannot be remembered must not be issued
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = _opened(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            os.close(self._file)

    def add(self, certificate_id: int, names: Sequence[str]) -> None:
        """Writes a certificate down, on disk when it returns."""
        if self._file is not None:
            os.write(self._file, f"{json.dumps({'id': certificate_id, 'names': names})}\n".encode())
            os.fsync(self._file)


def _opened(path: Path) -> int:
    """The file for lines at its end; SettingsError if somebody else made it: root must not follow where they lead."""
    problem = f"{path}: is a link or another user's, which the cutover never makes: see whose (ls -l), and remove it"
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO}:  # a link; a pipe that nobody reads
            raise SettingsError(problem) from error
        raise
    if os.fstat(file).st_uid != os.geteuid():
        os.close(file)
        raise SettingsError(problem)
    return file


def register(commands: Subparsers) -> None:
    """Adds `worker-requests` to the parser of `cutover`."""
    parser = commands.add_parser(
        "worker-requests",
        help="issue, download and remove test certificates through one worker that is named",
        description="Speaks to one worker over its own socket, so that no other one can answer. Standard input has "
        "the account, and for `issue` the tournament, as one JSON object. Run it as www-data. Exit 0: all requests "
        "were done; 1: some failed; 2: usage; 4: nobody could sign in; 130: interrupted, with what was done until "
        "then.",
        epilog="example: cutover worker-requests issue --socket /run/deltacrown/worker1.sock --host staging.deltacrown "
        "--count 20 < account.json",
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    issue = actions.add_parser("issue", help="issue certificates, each for a participant of its own")
    issue.add_argument("--count", type=positive, required=True, metavar="N", help="how many")
    issue.add_argument("--size-kb", type=positive, metavar="S", help="of each file, about (default: as small as it is)")
    issue.add_argument(
        "--remember", type=Path, metavar="FILE", help="write each certificate down as soon as it is issued"
    )
    issue.set_defaults(command=_issue)
    download = actions.add_parser("download", help="download PDFs, and compare them with the hash of the issued one")
    download.set_defaults(command=_download)
    remove = actions.add_parser("remove", help="remove certificates with their files; one that is gone counts as done")
    remove.set_defaults(command=_remove)
    for action in (download, remove):
        action.add_argument("ids", type=positive, nargs="+", metavar="ID", help="of a certificate")
    for action in (issue, download, remove):
        action.add_argument("--socket", type=Path, required=True, metavar="P", help="of the worker")
        action.add_argument("--host", required=True, metavar="NAME", help="the site's name, as in customers' requests")
        action.add_argument(
            "--concurrency", type=positive, default=1, metavar="K", help="requests at once (default: 1)"
        )
        action.add_argument("--json", action="store_true", help="one JSON document instead of lines")


def _issue(options: argparse.Namespace) -> int:
    given = given_fields("user", "password", "tournament")
    if not isinstance(given["tournament"], int):
        raise SettingsError("standard input: tournament is no number: give the id of the probe's tournament")
    # A participant holds one certificate of a type: numbers that no other run has, nor any account of the site.
    first = 1_000_000 * (1 + secrets.randbelow(1_000_000_000))
    order: dict[str, Any] = {"tournament_id": given["tournament"], "certificate_type": TYPE}
    if options.size_kb is not None:
        order["size_kb"] = options.size_kb

    def issue(client: UwsgiClient, number: int) -> _Result:
        try:
            answer = client.request("POST", CERTIFICATES, order | {"participant_id": first + number})
        except NoAnswerError as error:
            raise NoAnswerError(f"{error}; whether the certificate was issued is not known") from error
        if answer.status != HTTPStatus.CREATED:
            return _refused(answer, "an order")
        try:
            issued = json.loads(answer.body)
            names = tuple(str(issued[name]) for name in ("file_pdf", "file_image") if issued[name])
            number = int(issued["id"])
        except (ValueError, KeyError, TypeError):
            return _Result(failure=Failure(answer.status, "the worker issued something that has no id"))
        memory.add(number, names)
        return _Result(number, names)

    with Memory(options.remember) as memory:
        return _run(options, given, issue, range(options.count))


def _download(options: argparse.Namespace) -> int:
    def download(client: UwsgiClient, certificate: int) -> _Result:
        answer = client.request("GET", f"{CERTIFICATES}{certificate}/")
        if answer.status != HTTPStatus.OK:
            return _refused(answer, f"certificate {certificate}")
        issued, found = answer.headers.get("ETag", "").strip('"'), hashlib.sha256(answer.body).hexdigest()
        if issued == found:
            return _Result(certificate)
        detail = f"certificate {certificate}: other bytes than were issued: SHA-256 {found}, ETag {issued or 'none'}"
        return _Result(failure=Failure(answer.status, detail))

    return _run(options, given_fields("user", "password"), download, options.ids)


def _remove(options: argparse.Namespace) -> int:
    def remove(client: UwsgiClient, certificate: int) -> _Result:
        answer = client.request("DELETE", f"{CERTIFICATES}{certificate}/")
        if answer.status in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_FOUND}:  # whoever cleans up twice is done, too
            return _Result(certificate)
        return _refused(answer, f"certificate {certificate}")

    return _run(options, given_fields("user", "password"), remove, options.ids)


def _run(
    options: argparse.Namespace,
    account: Mapping[str, Any],
    call: Callable[[UwsgiClient, int], _Result],
    numbers: Sequence[int],
) -> int:
    """Signs in, makes one call for each number, and says what became of them, also of a part."""
    with asked_to_stop() as stopping:
        client = UwsgiClient(options.socket, options.host, TIMEOUT_SECONDS)
        _sign_in(client, options, str(account["user"]), str(account["password"]))
        found = _all(client, call, numbers, options.concurrency, stopping)
        interrupted = stopping.is_set()
    print(json.dumps(asdict(found)) if options.json else "\n".join(found.lines(options.command.__name__.strip("_"))))
    if interrupted:
        return ExitCode.INTERRUPTED
    return ExitCode.FAILED if found.failures else ExitCode.DONE


def _sign_in(client: UwsgiClient, options: argparse.Namespace, user: str, password: str) -> None:
    try:
        answer = client.request("POST", SIGN_IN, {"username": user, "password": password})
    except NoAnswerError as error:
        raise SiteError(
            f"{options.socket}: {error} when {user} signs in: run this as www-data on the worker's machine, and look "
            "at systemctl status deltacrown-uwsgi@<worker>"
        ) from error
    if answer.status != HTTPStatus.OK:
        raise SiteError(
            f"{options.socket} answers HTTP {answer.status} when {user} signs in: check the account, its password and "
            "--host"
        )


def _all(
    client: UwsgiClient,
    call: Callable[[UwsgiClient, int], _Result],
    numbers: Sequence[int],
    concurrency: int,
    stopping: threading.Event,
) -> Requests:
    """Makes the calls, so many at once; once told to stop it begins no more, and waits for those under way.

    Nor does it begin any after one without an answer: a worker that hangs would hold each of the others as long.
    """
    silent = threading.Event()

    def attempt(number: int) -> tuple[float, _Result] | None:
        if stopping.is_set() or silent.is_set():
            return None
        started = time.monotonic()
        try:
            result = call(client, number)
        except NoAnswerError as error:
            silent.set()
            result = _Result(failure=Failure(None, str(error)))
        return time.monotonic() - started, result

    found = Requests(asked=len(numbers))
    with ThreadPoolExecutor(concurrency, thread_name_prefix="request") as threads:
        for made in threads.map(attempt, numbers):
            if made is None:
                continue
            seconds, result = made
            found.seconds.append(round(seconds, 4))
            found.names.extend(result.names)
            if result.id is not None:
                found.done += 1
                found.ids.append(result.id)
            if result.failure is not None:
                found.failures.append(result.failure)
    if silent.is_set() and (unsent := found.asked - len(found.seconds)):
        found.failures.append(Failure(None, f"{unsent} more were not sent, because the worker gives no answer"))
    return found


def _refused(answer: UwsgiAnswer, what: str) -> _Result:
    """The result of an answer with another status than it must have; the site's own sentence is added."""
    try:
        detail = str(json.loads(answer.body)["detail"])[:200]
    except (ValueError, KeyError, TypeError):
        detail = ""
    if answer.status in range(300, 400):
        detail = "the site leads elsewhere, where not this worker answers"
    return _Result(failure=Failure(answer.status, f"{what}: HTTP {answer.status} {detail}".rstrip()))
