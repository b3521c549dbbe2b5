"""An S3 server that answers one thing: an empty listing at its own time, or that it is busy."""

from __future__ import annotations

import contextlib
import email.utils
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


class StubS3(BaseHTTPRequestHandler):
    """Answers a listing without certificate, at its own time, or says that it is busy."""

    seconds_ahead = 0.0
    busy = False

    def do_GET(self) -> None:
        body = b"<ListBucketResult></ListBucketResult>"
        if self.busy:
            body = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
        self.send_response_only(503 if self.busy else 200)
        self.send_header("Date", email.utils.formatdate(time.time() + self.seconds_ahead, usegmt=True))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""


@contextlib.contextmanager
def stub_s3(**attributes: Any) -> Iterator[str]:
    """Runs it with these attributes of StubS3 for the duration of a `with` block; its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Stub", (StubS3,), attributes))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
