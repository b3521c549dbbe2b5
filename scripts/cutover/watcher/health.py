"""GET /health on this machine's own address: what the watcher last saw and did, 200 while it is well, else 503."""

from __future__ import annotations

import http.server
import json
import threading
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

__all__ = ["HOST", "PATH", "serving"]

HOST, PATH = "127.0.0.1", "/health"
_CLIENT_SECONDS = 5.0


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int, told: Callable[[], dict[str, Any]]) -> None:
        self.told = told
        super().__init__((HOST, port), _Handler)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server
    timeout = _CLIENT_SECONDS

    def do_GET(self) -> None:
        told, status = {"error": f"only GET {PATH} is served here"}, HTTPStatus.NOT_FOUND
        if self.path == PATH:
            told = self.server.told()
            status = HTTPStatus.OK if told["healthy"] else HTTPStatus.SERVICE_UNAVAILABLE
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Writes nothing: whoever asks every few seconds would fill the journal."""


def serving(port: int, told: Callable[[], dict[str, Any]]) -> AbstractContextManager[int]:
    """Listens, and answers during the block, which gets the port: a free one for 0.

    Args:
        port: on 127.0.0.1.
        told: the document, whose `healthy` decides the status.

    Raises:
        OSError: the port is taken.
    """
    return _served(_Server(port, told))


@contextmanager
def _served(server: _Server) -> Iterator[int]:
    with server:
        threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
