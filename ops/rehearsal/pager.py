"""The on-call's pager: behaves as PagerDuty's CloudWatch integration does behind its integration URL.

It confirms a subscription by visiting the address that SNS sends, opens an incident when an alarm goes into ALARM, and
resolves it when that alarm is OK again. Repeated alarms do not page again while the incident is open. Signatures are
not looked at: the AWS stand-in makes none.
"""

from __future__ import annotations

import dataclasses
import hmac
import http.client
import http.server
import json
import ssl
import sys
import threading
import time
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from rehearsal.json_answer import send_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TYPE_HEADER = "x-amz-sns-message-type"
INCIDENTS_PATH = "/incidents"
VISIT_SECONDS = 10.0
LARGEST_MESSAGE = 262_144  # bytes; SNS takes no larger one
CHANGES = {"ALARM": "opened", "OK": "resolved"}  # PagerDuty takes no notice of INSUFFICIENT_DATA


class PagerError(ValueError):
    """A message is not what SNS or CloudWatch sends; the sentence says what is wrong."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """Its address, the secret in its integration URL, its record, and the AWS stand-in that it confirms to."""

    host: str
    port: int
    key: str = dataclasses.field(repr=False)
    record: str
    aws_endpoint: str
    aws_ca_file: str | None = None

    @property
    def integration_url(self) -> str:
        """The address that SNS subscribes; whoever knows it can page the on-call."""
        return f"http://{self.host}:{self.port}{self.integration_path}"

    @property
    def integration_path(self) -> str:
        """The address's path."""
        return f"/integration/{self.key}/enqueue"

    def write(self, path: Path) -> None:
        """Writes the settings, which hold a secret, readable by their owner alone."""
        path.touch(mode=0o600)
        path.write_text(json.dumps(dataclasses.asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Settings:
        """Reads what `write` wrote."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))


@dataclasses.dataclass
class Incident:
    """One page: the alarm that opened it, when, and when it was resolved (seconds since 1970; None: it is open).

    `reason` and `description` are what the on-call reads on the phone.
    """

    alarm: str
    opened: float
    reason: str
    description: str = ""
    resolved: float | None = None
    repeated: int = 0


class Incidents:
    """All incidents since the start, oldest first; each change is a line of the record."""

    def __init__(self, record: Path, now: Callable[[], float] = time.time) -> None:
        self._record = record
        self._now = now
        self._lock = threading.Lock()
        self._all: list[Incident] = []
        record.touch(mode=0o600)

    def take(self, alarm: Mapping[str, Any]) -> None:
        """Opens, repeats or resolves the incident of CloudWatch's message; PagerError if it names no alarm or state."""
        name, state = alarm.get("AlarmName"), alarm.get("NewStateValue")
        if not isinstance(name, str) or not isinstance(state, str):
            raise PagerError("the message has no AlarmName and NewStateValue, so it is none of CloudWatch's alarms")
        with self._lock:
            is_open = next((each for each in self._all if each.alarm == name and each.resolved is None), None)
            if state not in CHANGES or (is_open is None and state == "OK"):
                return
            change, now, reason = CHANGES[state], self._now(), str(alarm.get("NewStateReason", ""))
            if is_open is None:
                self._all.append(Incident(name, now, reason, str(alarm.get("AlarmDescription") or "")))
            elif state == "OK":
                is_open.resolved = now
            else:
                change = "repeated"
                is_open.repeated += 1
            with self._record.open("a", encoding="utf-8") as record:
                record.write(json.dumps({"at": now, "change": change, "alarm": name, "reason": reason}) + "\n")

    def as_json(self) -> list[dict[str, Any]]:
        """The incidents as the rehearsal reads them."""
        with self._lock:
            return [dataclasses.asdict(each) for each in self._all]


class Pager(http.server.ThreadingHTTPServer):
    """The service; `serve_forever` answers until it is shut down."""

    daemon_threads = True

    def __init__(self, settings: Settings) -> None:
        super().__init__((settings.host, settings.port), _Handler)
        self.settings = settings
        self.incidents = Incidents(Path(settings.record))

    def take(self, kind: str, body: bytes) -> None:
        """Takes one message of SNS; PagerError if it is malformed or its subscription cannot be confirmed."""
        try:
            message = json.loads(body)
            if kind == "SubscriptionConfirmation":
                self._confirm(message["SubscribeURL"])
            elif kind == "Notification":
                self.incidents.take(json.loads(message["Message"]))
            else:
                raise PagerError(f"{TYPE_HEADER} is {kind!r}, and SNS sends SubscriptionConfirmation or Notification")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise error if isinstance(error, PagerError) else PagerError(f"the {kind} is malformed: {error}") from error

    def _confirm(self, subscribe_url: str) -> None:
        """Visits the address that SNS sends.

        The stand-in writes http into it even when it speaks TLS, so the scheme is that of its endpoint. Other hosts
        are not visited: a stranger's message could send this request anywhere.
        """
        visited, endpoint = urlsplit(subscribe_url), urlsplit(self.settings.aws_endpoint)
        if visited.netloc != endpoint.netloc:
            raise PagerError(f"the SubscribeURL leads to {visited.netloc}, and SNS is at {endpoint.netloc}")
        connection = http.client.HTTPConnection(endpoint.netloc, timeout=VISIT_SECONDS)
        if endpoint.scheme == "https":
            context = ssl.create_default_context(cafile=self.settings.aws_ca_file)
            connection = http.client.HTTPSConnection(endpoint.netloc, timeout=VISIT_SECONDS, context=context)
        try:
            connection.request("GET", f"{visited.path}?{visited.query}")
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            raise PagerError(f"the subscription could not be confirmed: {error}") from error
        finally:
            connection.close()
        if status != HTTPStatus.OK:
            raise PagerError(f"SNS answered the confirmation with {status}")


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Pager

    def do_GET(self) -> None:
        if self.path == INCIDENTS_PATH:
            send_json(self, HTTPStatus.OK, self.server.incidents.as_json())
        else:
            send_json(self, HTTPStatus.NOT_FOUND, {"message": "not found"})

    def do_POST(self) -> None:
        # The body is read whatever the path: a client that is cut off while it sends sees no answer.
        body = self.rfile.read(min(int(self.headers.get("Content-Length", 0)), LARGEST_MESSAGE))
        if not hmac.compare_digest(self.path.encode(), self.server.settings.integration_path.encode()):
            send_json(self, HTTPStatus.NOT_FOUND, {"message": "not found"})
            return
        try:
            self.server.take(self.headers.get(TYPE_HEADER, ""), body)
        except PagerError as error:
            print(f"pager: {error}", file=sys.stderr, flush=True)
            send_json(self, HTTPStatus.BAD_REQUEST, {"message": str(error)})
        else:
            send_json(self, HTTPStatus.ACCEPTED, {"status": "success"})

    def log_message(self, *_: object) -> None:
        """Writes nothing: each request's line has the key in it."""


def main() -> None:
    """Serves until it is ended; the argument is the path of the settings."""
    Pager(Settings.read(Path(sys.argv[1]))).serve_forever()


if __name__ == "__main__":
    main()
