"""Customers' traffic on the stand-in site: issuing many certificates, and a steady load that counts what fails."""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import hashlib
import itertools
import json
import math
import os
import random
import secrets
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal, Self

import urllib3
from urllib3.exceptions import HTTPError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

TIMEOUT_SECONDS = 30.0  # longer than a graceful restart may hold a request
SMALLEST_KB, LARGEST_KB = 5, 800  # what the rehearsal plans with
CERTIFICATES = "/api/tournaments/certificates/"
FIRST_CERTIFICATES = 5  # what a load downloads from its first second on
MOST_AT_ONCE = 128
PASSWORD_VARIABLE = "LOAD_STAFF_PASSWORD"  # noqa: S105 - the name of a variable

Kind = Literal["download", "urls", "issue", "slow get", "slow post"]
# In per cent. At 20 requests a second the slow ones keep one process busy; staging has four, and two while a
# worker restarts.
MIXTURE: dict[Kind, int] = {"download": 72, "urls": 20, "issue": 5, "slow get": 2, "slow post": 1}


class TrafficError(RuntimeError):
    """A request had another outcome than it must have; the sentence names both."""


@dataclasses.dataclass(frozen=True)
class Issued:
    """A certificate as the site answered when it was issued; `urls` may be presigned and then last 15 minutes."""

    id: int
    file_pdf: str
    file_image: str
    certificate_hash: str
    verification_code: str
    urls: dict[str, str | None] = dataclasses.field(repr=False)


class Client:
    """The site as one signed-in account sees it. All methods may be called from several threads."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url.rstrip("/")
        self._cookie = ""

    def sign_in(self, username: str, password: str) -> int:
        """Signs in for all later requests and returns the account's id; TrafficError if refused."""
        answer = self.request("POST", "/api/sign-in/", {"username": username, "password": password})
        if answer.status != HTTPStatus.OK:
            raise TrafficError(f"{self.base_url} refuses to sign in {username} ({answer.status}).")
        self._cookie = answer.headers["Set-Cookie"].split(";")[0]
        return int(answer.json()["user_id"])

    def request(self, method: str, path: str, fields: dict[str, Any] | None = None) -> urllib3.BaseHTTPResponse:
        """Sends `fields` as JSON and returns the whole answer, whatever its status.

        Raises TrafficError if there is no answer within 30 seconds, or only a part of one.
        """
        headers = {"Cookie": self._cookie} if self._cookie else {}
        body = None
        if fields is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(fields).encode()
        try:
            # A connection for each request: a kept one may be closed by a restarting proxy just when it is used
            # again, which would count against the site.
            with urllib3.PoolManager(retries=False, timeout=TIMEOUT_SECONDS) as connections:
                return connections.request(method, self.base_url + path, body=body, headers=headers)
        except HTTPError as error:
            raise TrafficError(f"{method} {path}: {error}") from error

    def issue(
        self,
        participant_id: int,
        *,
        size_kb: int | None = None,
        tournament_id: int = 1,
        certificate_type: str = "participation",
    ) -> Issued:
        """Issues a certificate whose files have about `size_kb` KB (None: as small as they are)."""
        order: dict[str, Any] = {
            "tournament_id": tournament_id,
            "participant_id": participant_id,
            "certificate_type": certificate_type,
            "placement": "1",
        }
        if size_kb is not None:
            order["size_kb"] = size_kb
        return Issued(**self._expect(HTTPStatus.CREATED, "POST", CERTIFICATES, order).json())

    def download(self, certificate: Issued) -> bytes:
        """Returns the PDF; TrafficError unless ETag and bytes are those of the certificate as it was issued."""
        answer = self._expect(HTTPStatus.OK, "GET", f"{CERTIFICATES}{certificate.id}/")
        if answer.headers.get("ETag") != f'"{certificate.certificate_hash}"':
            raise TrafficError(f"certificate {certificate.id}: the ETag is not the hash of the issued PDF.")
        if hashlib.sha256(answer.data).hexdigest() != certificate.certificate_hash:
            raise TrafficError(f"certificate {certificate.id}: wrong bytes ({len(answer.data)} of them).")
        return answer.data

    def urls(self, certificate_id: int) -> dict[str, str | None]:
        """Returns the storage's URLs of both files, under `pdf` and `image`."""
        answer = self._expect(HTTPStatus.OK, "GET", f"{CERTIFICATES}{certificate_id}/urls/")
        found: dict[str, str | None] = answer.json()
        return found

    def remove(self, certificate_id: int) -> None:
        """Removes a certificate with its files."""
        self._expect(HTTPStatus.NO_CONTENT, "DELETE", f"{CERTIFICATES}{certificate_id}/")

    def slow(self, method: Literal["GET", "POST"], milliseconds: int) -> None:
        """Makes a request whose answer takes that long."""
        self._expect(HTTPStatus.OK, method, f"/rehearsal/slow/?milliseconds={milliseconds}")

    def _expect(
        self, status: HTTPStatus, method: str, path: str, fields: dict[str, Any] | None = None
    ) -> urllib3.BaseHTTPResponse:
        answer = self.request(method, path, fields)
        if answer.status != status:
            seen = answer.data[:200].decode(errors="replace")
            raise TrafficError(f"{method} {path}: {answer.status} instead of {status.value}: {seen}")
        return answer


def sizes(count: int, seed: int = 1) -> list[int]:
    """Returns `count` sizes in KB, the same for the same seed: mostly small, from 5 to 800, both ends included."""
    generator = random.Random(seed)  # noqa: S311 - repeatable, not secret
    spread = [round(SMALLEST_KB * (LARGEST_KB / SMALLEST_KB) ** generator.betavariate(1, 3)) for _ in range(count)]
    return [LARGEST_KB, SMALLEST_KB, *spread][:count]


def issue_many(
    client: Client,
    size_of_each_kb: Sequence[int],
    *,
    concurrency: int = 8,
    progress: Callable[[int], None] | None = None,
) -> list[Issued]:
    """Issues one certificate for each size, each for a participant of its own, and returns them in that order.

    `progress` gets the number done so far. Raises the first TrafficError, after what was under way has ended.
    """
    first_participant = _fresh_participant()
    with ThreadPoolExecutor(concurrency, thread_name_prefix="issue") as threads:
        waiting = [
            threads.submit(client.issue, first_participant + number, size_kb=size)
            for number, size in enumerate(size_of_each_kb)
        ]
        issued = []
        try:
            for future in waiting:
                issued.append(future.result())
                if progress:
                    progress(len(issued))
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    return issued


@dataclasses.dataclass(frozen=True)
class Result:
    """One request of a load. Times in seconds; `scheduled` since the load began, `took` since it was due."""

    kind: Kind
    scheduled: float
    took: float
    problem: str | None


@dataclasses.dataclass(frozen=True)
class Report:
    """What became of a load; `due` is what its rate makes of its duration, `p95_seconds` leaves out the slow kinds."""

    total: int
    due: int
    by_kind: dict[str, int]
    failures: tuple[Result, ...]
    p95_seconds: float | None
    slowest_seconds: float
    left_behind: tuple[int, ...]


class Load:
    """A steady load in the background: `with Load(client, rate=20) as load: …`, then `load.report()`.

    Requests are sent when they are due, whatever became of the earlier ones, and timed from that moment: a site
    that stalls cannot slow its customers down. Leaving the block waits for requests under way, then removes the
    certificates that the load issued. Entering raises TrafficError if the site does not issue any.
    """

    def __init__(self, client: Client, rate: float = 20.0, seed: int = 1) -> None:
        self._client = client
        self._rate = rate
        self._random = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._participants = itertools.count(_fresh_participant())
        self._lock = threading.Lock()
        self._results: list[Result] = []
        self._issued: list[Issued] = []
        self._left_behind: list[int] = []
        self._began = self._ended = 0.0
        self._stop = threading.Event()
        self._schedule = threading.Thread(target=self._send_when_due, name="load", daemon=True)

    def __enter__(self) -> Self:
        self._issued += issue_many(self._client, sizes(FIRST_CERTIFICATES))
        self._began = time.monotonic()
        self._schedule.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = time.monotonic()
        self._stop.set()
        self._schedule.join()
        if error is not None:
            return  # the site may be broken: waiting for it certificate by certificate helps nobody
        for certificate in self._issued:
            try:
                self._client.remove(certificate.id)
            except TrafficError:
                self._left_behind.append(certificate.id)

    def report(self) -> Report:
        """Returns the counts so far; complete, and with what could not be removed, after the block."""
        with self._lock:
            results = tuple(self._results)
        quick = sorted(result.took for result in results if not result.kind.startswith("slow"))
        return Report(
            total=len(results),
            due=int(((self._ended or time.monotonic()) - self._began) * self._rate),
            by_kind=dict(collections.Counter(result.kind for result in results)),
            failures=tuple(result for result in results if result.problem),
            p95_seconds=quick[math.ceil(0.95 * len(quick)) - 1] if quick else None,
            slowest_seconds=max((result.took for result in results), default=0.0),
            left_behind=tuple(self._left_behind),
        )

    def _send_when_due(self) -> None:
        began = time.monotonic()
        number = 0
        with ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="load") as threads:
            while not self._stop.wait(max(0.0, began + number / self._rate - time.monotonic())):
                threads.submit(self._send, self._next_request(), began, number / self._rate)
                number += 1

    def _next_request(self) -> tuple[Kind, Callable[[], object]]:
        kind = self._random.choices(list(MIXTURE), weights=list(MIXTURE.values()))[0]
        with self._lock:
            certificate = self._random.choice(self._issued)
        milliseconds = self._random.randint(1000, 2000)
        participant = next(self._participants)
        calls: dict[Kind, Callable[[], object]] = {
            "download": lambda: self._client.download(certificate),
            "urls": lambda: self._client.urls(certificate.id),
            "issue": lambda: self._issue(participant),
            "slow get": lambda: self._client.slow("GET", milliseconds),
            "slow post": lambda: self._client.slow("POST", milliseconds),
        }
        return kind, calls[kind]

    def _send(self, request: tuple[Kind, Callable[[], object]], began: float, scheduled: float) -> None:
        kind, call = request
        problem = None
        try:
            call()
        except Exception as error:  # noqa: BLE001 - whatever it is, a customer's request failed
            problem = str(error) or repr(error)
        took = time.monotonic() - began - scheduled
        with self._lock:
            self._results.append(Result(kind, scheduled, took, problem))

    def _issue(self, participant_id: int) -> None:
        issued = self._client.issue(participant_id, size_kb=20)  # the median of the application's PNGs
        with self._lock:
            self._issued.append(issued)


def _fresh_participant() -> int:
    """Returns the first of a million numbers that no other run and no account has."""
    return 1_000_000 * (1 + secrets.randbelow(1_000_000_000))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `python -m rehearsal.traffic`; returns 0, 1 if requests failed, or 2 for a missing password."""
    parser = argparse.ArgumentParser(prog="python -m rehearsal.traffic", description=__doc__)
    parser.add_argument("--url", required=True, help="the site, for example http://10.213.77.5")
    parser.add_argument("--username", default="load-staff", help=f"its password comes from {PASSWORD_VARIABLE}")
    commands = parser.add_subparsers(dest="command", required=True)
    issuing = commands.add_parser("issue", help="issues certificates of 5 to 800 KB")
    issuing.add_argument("--count", type=int, default=300)
    loading = commands.add_parser("load", help="keeps up a load, removes what it issued, reports failures")
    loading.add_argument("--rate", type=float, default=20.0, help="requests a second")
    loading.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args(arguments)
    password = os.environ.get(PASSWORD_VARIABLE)
    if not password:
        print(f"{PASSWORD_VARIABLE} is not set: put {options.username}'s password there.", file=sys.stderr)
        return 2
    client = Client(options.url)
    try:
        client.sign_in(options.username, password)
        if options.command == "issue":
            issued = issue_many(client, sizes(options.count))
            print(json.dumps({"issued": len(issued), "ids": [certificate.id for certificate in issued]}))
            return 0
        return _load_for(client, options.rate, options.seconds)
    except TrafficError as error:
        print(error, file=sys.stderr)
        return 1


def _load_for(client: Client, rate: float, seconds: float) -> int:
    with Load(client, rate) as load, contextlib.suppress(KeyboardInterrupt):
        time.sleep(seconds)
    report = load.report()
    print(json.dumps(dataclasses.asdict(report), indent=2))
    return 1 if report.failures or report.left_behind else 0


if __name__ == "__main__":
    sys.exit(main())
