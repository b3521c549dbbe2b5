"""Downloads as a customer's browser makes them: with its cookies, through redirects, and with none of our caches."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import ssl
import time
import urllib.error
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib import request

from cutover.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Answer", "HttpClient", "NoAnswerError"]

_BLOCK = 1 << 20  # bytes read at once
_START = 4096  # bytes of a refusal in which its code stands
_S3_CODE = re.compile(rb"<Code>(\w+)</Code>")


class NoAnswerError(Exception):
    """There is no whole answer; the text is the cause, and holds no address: that of an object is a secret."""


@dataclass(frozen=True)
class Answer:
    """What came back: status, S3's code if S3 refused, SHA-256 of the bytes (hexadecimal), time in milliseconds.

    `start` are the first bytes, which a short answer is.
    """

    status: int
    code: str
    sha256: str
    milliseconds: float
    start: bytes = b""

    @property
    def refusal(self) -> str:
        """The status, with S3's code if there is one."""
        return f"HTTP {self.status} {self.code}".rstrip()


class HttpClient:
    """One customer, without proxies. HTTPS is trusted as the system does, and those of AWS_CA_BUNDLE, if set.

    Args:
        timeout: seconds to connect and for each read.

    Raises:
        SettingsError: AWS_CA_BUNDLE cannot be read.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._opener = request.OpenerDirector()
        for handler in (
            request.HTTPHandler(),
            request.HTTPSHandler(context=_tls()),
            request.HTTPCookieProcessor(),
            request.HTTPRedirectHandler(),
            request.HTTPErrorProcessor(),
            request.HTTPDefaultErrorHandler(),
        ):
            self._opener.add_handler(handler)

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Fetches all bytes; every status is an answer. NoAnswerError if the connection fails or breaks."""
        return self._ask(request.Request(url, headers=dict(headers or {})))  # noqa: S310 - no handler but HTTP and HTTPS

    def post(self, url: str, fields: Mapping[str, Any]) -> Answer:
        """Sends a JSON object; keeps the cookies that come back. Raises as `get`."""
        body, headers = json.dumps(fields).encode(), {"Content-Type": "application/json"}
        return self._ask(request.Request(url, body, headers))  # noqa: S310 - as above

    def _ask(self, asked: request.Request) -> Answer:
        started = time.monotonic()
        try:
            with closing(self._opened(asked)) as answer:
                status = answer.status or 0
                start = answer.read(_START)
                digest = hashlib.sha256(start)
                while block := answer.read(_BLOCK):
                    digest.update(block)
        except urllib.error.URLError as error:
            raise NoAnswerError(f"no answer ({error.reason})") from error
        except OSError as error:
            raise NoAnswerError(f"no answer ({error.strerror or error})") from error
        except http.client.HTTPException as error:
            raise NoAnswerError(f"no whole answer ({type(error).__name__})") from error
        milliseconds = (time.monotonic() - started) * 1000
        code = _S3_CODE.search(start) if status >= http.client.BAD_REQUEST else None
        return Answer(status, code[1].decode() if code else "", digest.hexdigest(), round(milliseconds, 2), start)

    def _opened(self, asked: request.Request) -> http.client.HTTPResponse | urllib.error.HTTPError:
        try:
            answer: http.client.HTTPResponse = self._opener.open(asked, timeout=self._timeout)
        except urllib.error.HTTPError as error:
            return error
        return answer


def _tls() -> ssl.SSLContext:
    context, authorities = ssl.create_default_context(), os.environ.get("AWS_CA_BUNDLE")
    if authorities:
        try:
            context.load_verify_locations(authorities)
        except OSError as error:
            raise SettingsError(
                f"AWS_CA_BUNDLE {authorities}: cannot be read as certificates ({error}); correct the environment file"
            ) from error
    return context
