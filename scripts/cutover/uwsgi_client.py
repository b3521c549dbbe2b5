"""Requests to one worker alone: the uwsgi protocol over the worker's own UNIX socket, as nginx speaks it."""

from __future__ import annotations

import http.client
import http.cookies
import json
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cutover.http_client import NoAnswerError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["UwsgiAnswer", "UwsgiClient", "packet"]

_WSGI = 0  # modifier1 of a request to a WSGI application; modifier2 is 0, too
_LARGEST = 0xFFFF  # bytes of a packet's variables, and of each name and value: their sizes have 16 bits


@dataclass(frozen=True)
class UwsgiAnswer:
    """What a worker answered."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


class UwsgiClient:
    """One customer of one worker. It keeps the cookies it is given; `request` may be called from several threads.

    Args:
        path: the worker's socket; its owner or root may connect.
        host: the site's host name, as customers' requests have it.
        timeout: seconds for each wait: to connect, and between two pieces of the answer.
    """

    def __init__(self, path: Path, host: str, timeout: float) -> None:
        self._path, self._host, self._timeout = path, host, timeout
        self._cookies: Mapping[str, str] = {}  # replaced as a whole: other threads may be reading it

    def request(self, method: str, path: str, fields: Mapping[str, Any] | None = None) -> UwsgiAnswer:
        """Sends `fields` as a JSON body and returns the whole answer, whatever its status.

        Raises:
            NoAnswerError: the worker cannot be reached, or gives no answer or not all of one.
        """
        body = b"" if fields is None else json.dumps(fields).encode()
        sent = packet(self._variables(method, path, len(body))) + body
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(self._timeout)
                connection.connect(str(self._path))
                connection.sendall(sent)
                with http.client.HTTPResponse(connection, method=method) as answer:
                    answer.begin()
                    received = answer.read()
        except OSError as error:
            raise NoAnswerError(f"no answer ({error.strerror or error})") from error
        except http.client.HTTPException as error:
            raise NoAnswerError(f"no whole answer ({type(error).__name__})") from error
        given = http.cookies.SimpleCookie()
        for cookie in answer.headers.get_all("Set-Cookie", []):
            given.load(cookie)
        if given:
            self._cookies = {**self._cookies, **{name: cookie.coded_value for name, cookie in given.items()}}
        return UwsgiAnswer(answer.status, answer.headers, received)

    def _variables(self, method: str, path: str, length: int) -> dict[str, str]:
        """What nginx's uwsgi_params name, and the request's headers."""
        route, _, query = path.partition("?")
        variables = {
            "QUERY_STRING": query,
            "REQUEST_METHOD": method,
            "CONTENT_TYPE": "application/json" if length else "",
            "CONTENT_LENGTH": str(length) if length else "",
            "REQUEST_URI": path,
            "PATH_INFO": route,
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REQUEST_SCHEME": "http",
            "REMOTE_ADDR": "127.0.0.1",
            "REMOTE_PORT": "0",
            "SERVER_PORT": "80",
            "SERVER_NAME": self._host,
            "HTTP_HOST": self._host,
        }
        cookies = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        return variables | ({"HTTP_COOKIE": cookies} if cookies else {})


def packet(variables: Mapping[str, str]) -> bytes:
    """The packet that opens a request: a header of four bytes, then the variables, each text behind its size.

    Raises:
        ValueError: a text, or all together, is larger than the sizes can say.
    """
    block = b"".join(_sized(name) + _sized(value) for name, value in variables.items())
    if len(block) > _LARGEST:
        raise ValueError(f"a request's variables take {len(block)} bytes, and {_LARGEST} are the most")
    return struct.pack("<BHB", _WSGI, len(block), 0) + block


def _sized(text: str) -> bytes:
    encoded = text.encode()
    if len(encoded) > _LARGEST:
        raise ValueError(f"{text[:40]!r} takes {len(encoded)} bytes, and {_LARGEST} are the most")
    return struct.pack("<H", len(encoded)) + encoded
