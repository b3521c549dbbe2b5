"""An S3 server made of arithmetic: it lists millions of keys that nobody stored, and forgets what is put into it.

`python -m tests.benchmarks.synthetic_s3 PORT ROWS SIZE` answers on 127.0.0.1 as a bucket that holds the two files, of
SIZE bytes, of each of ROWS certificates. An upload is checked against its SHA-256 and dropped, so that the memory and
the time of a client can be measured at sizes that no server on the same machine could hold. It checks no signature.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import http
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from rehearsal.service_process import free_port
from tests.benchmarks import certificates
from tests.benchmarks.programs import REPOSITORY
from tests.benchmarks.s3_server import HOST, S3Server

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = 1000  # keys, as S3 gives them
MODIFIED = "2026-11-24T00:00:00.000Z"
HTTP_DATE = "Tue, 24 Nov 2026 00:00:00 GMT"
ETAG = f'"{"0" * 32}"'
HEAD_END = b"\r\n\r\n"


@dataclass(frozen=True)
class Bucket:
    """What the server says that it holds."""

    rows: int
    size: int  # bytes of an object

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> tuple[int, str, bytes]:
        """Returns an answer: its status, its header lines and its body."""
        url = urlsplit(target)
        _, _, key = unquote(url.path).lstrip("/").partition("/")
        if method == "PUT":
            return self._put(headers, body)
        if method == "GET" and not key:
            return self._list({name: values[0] for name, values in parse_qs(url.query).items()})
        if method == "HEAD" and certificates.position(key, self.rows) is not None:
            return 200, f"Content-Length: {self.size}\r\nETag: {ETAG}\r\nLast-Modified: {HTTP_DATE}\r\n", b""
        return _error(404, "NoSuchKey")

    def _put(self, headers: dict[str, str], body: bytes) -> tuple[int, str, bytes]:
        promised = headers.get("x-amz-checksum-sha256")
        if promised is not None and promised != base64.b64encode(hashlib.sha256(body).digest()).decode():
            return _error(400, "BadDigest")
        return 200, f"ETag: {ETAG}\r\nContent-Length: 0\r\n", b""

    def _list(self, query: dict[str, str]) -> tuple[int, str, bytes]:
        end = 2 * self.rows
        if "continuation-token" in query:
            start = int(query["continuation-token"])
        elif "start-after" in query:
            after = certificates.position(query["start-after"], self.rows)
            start = 0 if after is None else after + 1
        else:
            start = 0
        stop = min(start + int(query.get("max-keys", PAGE)), end)
        tail = f"</Key><LastModified>{MODIFIED}</LastModified><ETag>{ETAG}</ETag><Size>{self.size}</Size></Contents>"
        keys = "".join(
            f"<Contents><Key>{certificates.name_at(position, self.rows)}{tail}" for position in range(start, stop)
        )
        more = f"<NextContinuationToken>{stop}</NextContinuationToken>" if stop < end else ""
        return _xml(
            200,
            f"<ListBucketResult><Prefix>{escape(query.get('prefix', ''))}</Prefix><KeyCount>{stop - start}</KeyCount>"
            f"<IsTruncated>{str(stop < end).lower()}</IsTruncated>{more}{keys}</ListBucketResult>",
        )


class Connection(asyncio.Protocol):
    """One client's connection: requests one after another, kept alive."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps where answers go."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answers each request that has arrived as a whole."""
        self._received += data
        while (end := self._received.find(HEAD_END)) >= 0:
            request, *lines = self._received[:end].decode("latin-1").split("\r\n")
            headers = {field.lower(): value.strip() for field, _, value in (line.partition(":") for line in lines)}
            start = end + len(HEAD_END)
            stop = start + int(headers.get("content-length", 0))
            if len(self._received) < stop:
                return
            body = bytes(self._received[start:stop])
            del self._received[:stop]
            method, target, _ = request.split(" ", 2)
            status, head, content = self._bucket.answer(method, target, headers, body)
            reason = http.HTTPStatus(status).phrase
            self._transport.write(f"HTTP/1.1 {status} {reason}\r\n{head}\r\n".encode() + content)


def _error(status: int, code: str) -> tuple[int, str, bytes]:
    return _xml(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>")


def _xml(status: int, content: str) -> tuple[int, str, bytes]:
    body = content.encode()
    return status, f"Content-Type: application/xml\r\nContent-Length: {len(body)}\r\n", body


@contextlib.contextmanager
def running(rows: int, size: int) -> Iterator[S3Server]:
    """Runs the server in a process of its own for the duration of a `with` block."""
    port = free_port(HOST)
    command = [sys.executable, "-m", __name__, str(port), str(rows), str(size)]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()  # it says when it listens
        yield S3Server(f"http://{HOST}:{port}", "benchmark", "benchmark")
    finally:
        process.terminate()
        process.wait()


async def _serve(port: int, bucket: Bucket) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Connection(bucket), HOST, port)
    print("listening", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    port, rows, size = map(int, sys.argv[1:])
    asyncio.run(_serve(port, Bucket(rows, size)))
