"""S3 as it is on a bad day: a TLS proxy before the AWS stand-in that counts requests and plays a fault a request.

with s3_proxy.running(aws) as proxy:
    proxy.script = lambda request: s3_proxy.refusal(503, "SlowDown") if request.number == 1 else None
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import http.server
import ssl
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from rehearsal.aws_stand_in import KEY_NAME, REGION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rehearsal.aws_stand_in import AwsStandIn

    Fault = Callable[["Exchange"], None]
    Script = Callable[["Request"], Fault | None]

# Of one connection, or made anew by whoever sends the message on.
_OF_THE_CONNECTION = frozenset({"connection", "content-length", "date", "expect", "keep-alive", "server"})
_OF_THE_SIGNATURE = ("authorization", "host", "x-amz-security-token", "x-amz-date", "x-amz-content-sha256")
_OF_THE_CHECKSUM = ("content-md5", "x-amz-checksum-", "x-amz-sdk-checksum-algorithm")
_OBJECT_OPERATIONS = {"PUT": "put", "GET": "get", "HEAD": "head", "DELETE": "delete"}


SECONDS_AT_A_GATE = 25.0  # less than a client waits for an answer


@dataclasses.dataclass(frozen=True)
class Request:
    """What was asked: put, get, head, delete or list, or the method with the sub-resource; and of which object."""

    operation: str
    key: str
    number: int  # 1 for the first of this operation and key; a retry counts
    total: int  # 1 for the first of this operation


class S3Proxy(http.server.ThreadingHTTPServer):
    """Listens on a free port of 127.0.0.1 under the stand-in's own certificate; without a script it changes nothing."""

    daemon_threads = True
    block_on_close = False  # a held request would hold the test

    def __init__(self, aws: AwsStandIn) -> None:
        assert aws.ca_file is not None
        super().__init__(("127.0.0.1", 0), Exchange)
        self.aws = aws
        self.script: Script = lambda _: None
        self.requests: list[Request] = []
        self.ended = threading.Event()
        self._counts: Counter[tuple[str, str | None]] = Counter()
        self._lock = threading.Lock()
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(aws.ca_file, Path(aws.ca_file).parent / KEY_NAME)

    @property
    def endpoint_url(self) -> str:
        """For AWS_ENDPOINT_URL_S3."""
        return f"https://127.0.0.1:{self.server_address[1]}"

    def count(self, operation: str, key: str | None = None) -> int:
        """How often this was asked, of one key or of all."""
        return self._counts[operation, key]

    def asked(self, operation: str, key: str) -> Request:
        """Counts a request."""
        with self._lock:
            self._counts[operation, key] += 1
            self._counts[operation, None] += 1
            request = Request(operation, key, self._counts[operation, key], self._counts[operation, None])
            self.requests.append(request)
        return request

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serves one connection; the other side may be killed at any moment."""
        with contextlib.suppress(OSError), self._tls.wrap_socket(request, server_side=True) as connection:
            super().finish_request(connection, client_address)


class Exchange(http.server.BaseHTTPRequestHandler):
    """One connection; a fault acts on it by one of the public methods, which answers the request at hand."""

    server: S3Proxy
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two packets, and the second would wait for an answer
    body: bytes

    def setup(self) -> None:
        """Prepares the connection to the stand-in, which is opened when it is needed."""
        super().setup()
        trusted = ssl.create_default_context(cafile=self.server.aws.ca_file)
        address = urlsplit(self.server.aws.endpoint_url).netloc
        self._stand_in = http.client.HTTPSConnection(address, timeout=30, context=trusted)

    def finish(self) -> None:
        """Closes both connections."""
        self._stand_in.close()
        super().finish()

    def do_PUT(self) -> None:
        """Serves any request: by its fault, if the script has one, else by the stand-in."""
        parts = urlsplit(self.path)
        key = unquote(parts.path.removeprefix("/").partition("/")[2])
        self.body = self._chunks() if self._chunked else self.rfile.read(int(self.headers.get("Content-Length", 0)))
        request = self.server.asked(_operation(self.command, key, parts.query), key)
        fault = self.server.script(request)
        if fault is None:
            self.forward()
        else:
            fault(self)

    do_GET = do_HEAD = do_DELETE = do_POST = do_PUT  # noqa: N815 - the names that the standard library looks for

    def forward(self) -> None:
        """Lets the stand-in answer."""
        self.reply(*self._ask(self.body))

    def forward_cut(self) -> None:
        """The stand-in gets the first half of the body."""
        self.reply(*self._ask(self.body[: len(self.body) // 2]))

    def reply_cut(self) -> None:
        """The client gets the first half of the stand-in's answer, and then the connection breaks."""
        status, headers, body = self._ask(self.body)
        self.close_connection = True
        self.reply(status, headers, body[: len(body) // 2], announced=len(body))

    def reply_damaged(self) -> None:
        """The client gets other bytes than the stand-in keeps, as many of them, and the checksum of the right ones."""
        status, headers, body = self._ask(self.body)
        self.reply(status, headers, bytes(len(body)))

    def lose_answer(self) -> None:
        """The stand-in does what was asked, and the connection breaks before the client hears of it."""
        self._ask(self.body)
        self.close_connection = True

    def store_unchecked(self, body: bytes) -> None:
        """Stores these bytes whatever checksum came with the request, as a server does that does not know them."""
        left_out = (*_OF_THE_CONNECTION, *_OF_THE_SIGNATURE, *_OF_THE_CHECKSUM)
        headers = {name: value for name, value in self.headers.items() if not name.lower().startswith(left_out)}
        signed = AWSRequest(self.command, self.server.aws.endpoint_url + self.path, headers, body)
        root = Credentials(self.server.aws.access_key, self.server.aws.secret_key)
        S3SigV4Auth(root, "s3", REGION).add_auth(signed)
        self._stand_in.request(self.command, self.path, body, dict(signed.headers.items()))
        answer = self._stand_in.getresponse()
        kept = [(name, value) for name, value in answer.getheaders() if "checksum" not in name.lower()]
        self.reply(answer.status, kept, answer.read())

    def refuse(self, status: int, code: str) -> None:
        """Answers with an error as S3 writes it."""
        text = (
            f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>By the script</Message></Error>"
        )
        body = b"" if self.command == "HEAD" else text.encode()
        self.reply(status, [("Content-Type", "application/xml")], body)

    def hang_up(self) -> None:
        """Breaks the connection without an answer."""
        self.close_connection = True

    def reply(self, status: int, headers: list[tuple[str, str]], body: bytes, *, announced: int | None = None) -> None:
        """Writes an answer; `announced` is the length that is claimed, in bytes."""
        self.send_response_only(status)
        lengths = [value for name, value in headers if name.lower() == "content-length"]
        for name, value in headers:
            if name.lower() not in _OF_THE_CONNECTION:
                self.send_header(name, value)
        length = lengths[0] if lengths and self.command == "HEAD" else str(announced or len(body))
        self.send_header("Content-Length", length)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing: a test prints what it needs."""

    def _ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        self._stand_in.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in _OF_THE_CONNECTION:
                self._stand_in.putheader(name, value)
        if not self._chunked:
            self._stand_in.putheader("Content-Length", str(len(body)))
        self._stand_in.endheaders([body] if self._chunked else body, encode_chunked=self._chunked)
        answer = self._stand_in.getresponse()
        return answer.status, answer.getheaders(), answer.read()

    @property
    def _chunked(self) -> bool:
        """Whether the body has its checksum behind it, as boto3 sends one that it was not given."""
        return self.headers.get("Transfer-Encoding") == "chunked"

    def _chunks(self) -> bytes:
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)


def refusal(status: int, code: str) -> Fault:
    """S3 answers with this error."""
    return lambda exchange: exchange.refuse(status, code)


def hold(seconds: float) -> Fault:
    """S3 answers late; whoever has gone by then gets nothing."""

    def held(exchange: Exchange) -> None:
        exchange.server.ended.wait(seconds)
        exchange.forward()

    return held


class Gate:
    """A fault that holds requests until the test opens the gate; `reached` is set when the first one stands there."""

    def __init__(self) -> None:
        self.reached, self._open = threading.Event(), threading.Event()

    def __call__(self, exchange: Exchange) -> None:
        """Holds a request, and then lets the stand-in answer."""
        self.reached.set()
        self._open.wait(SECONDS_AT_A_GATE)
        exchange.forward()

    def wait(self) -> None:
        """Returns when a request stands at the gate; AssertionError after half a minute without one."""
        assert self.reached.wait(SECONDS_AT_A_GATE), "no request came to the gate"

    def open(self) -> None:
        """Lets all requests through, those to come as well."""
        self._open.set()


@contextlib.contextmanager
def running(aws: AwsStandIn) -> Iterator[S3Proxy]:
    """A proxy for the duration of a `with` block."""
    with S3Proxy(aws) as proxy:
        serving = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05})
        serving.start()
        try:
            yield proxy
        finally:
            proxy.ended.set()
            proxy.shutdown()
            serving.join()


def _operation(method: str, key: str, query: str) -> str:
    names = parse_qs(query, keep_blank_values=True)
    resources = sorted(name for name in names if name in {"uploads", "uploadId", "versions", "policy", "location"})
    if resources:
        return f"{method}?{resources[0]}"
    if not key:
        return "list" if method == "GET" else method
    return _OBJECT_OPERATIONS.get(method, method)
