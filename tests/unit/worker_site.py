"""A site as small as `cutover worker-requests` needs it, as a WSGI application: what it keeps lies in a directory.

Some numbers misbehave: a participant of tournament `BROKEN` gets no certificate, and certificate `ROTTEN` has other
bytes than its ETag says.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

HOST, USER, PASSWORD = "staging.deltacrown", "probe", "right: ü"
TOURNAMENT, BROKEN, ROTTEN, MOVED = 2, 13, 4711, 4712
SESSION = "sessionid=" + 700 * "s"
Answer = tuple[str, list[tuple[str, str]], bytes]


def application(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    """Answers one request; whatever a worker of the real site would refuse is refused here, too."""
    status, headers, body = _answer(environ, Path(os.environ["WORKER_SITE"]))
    start_response(status, [*headers, ("Content-Length", str(len(body)))])
    return [body]


def pdf(number: int) -> bytes:
    """The PDF of a certificate; larger than one read of a socket."""
    return b"%PDF-1.4 " + str(number).encode() * 100_000


def _answer(environ: dict[str, Any], directory: Path) -> Answer:
    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"] or 0))
    if environ["HTTP_HOST"] != HOST or environ["SERVER_PROTOCOL"] != "HTTP/1.1":
        return _said("400 Bad Request", "no such host")
    if method == "POST" and environ["CONTENT_TYPE"] != "application/json":
        return _said("415 Unsupported Media Type", "send application/json")
    if path == "/api/sign-in/":
        return _sign_in(json.loads(body))
    if environ.get("HTTP_COOKIE") != SESSION:
        return _said("401 Unauthorized", "sign in first")
    if path == "/api/tournaments/certificates/":
        return _issue(json.loads(body), directory)
    return _one(method, int(path.rstrip("/").rpartition("/")[2]), directory)


def _sign_in(account: dict[str, str]) -> Answer:
    if account != {"username": USER, "password": PASSWORD}:
        return _said("403 Forbidden", "wrong username or password")
    return "200 OK", [("Set-Cookie", f"{SESSION}; HttpOnly; Path=/; SameSite=Strict")], b"{}"


def _issue(order: dict[str, Any], directory: Path) -> Answer:
    if order["tournament_id"] == BROKEN and order["participant_id"] % 2:
        return _said("503 Service Unavailable", "no room")
    number = order["participant_id"] % 1000 + 1
    try:
        (directory / str(number)).touch(exist_ok=False)
    except FileExistsError:
        return _said("409 Conflict", "this participant has one")
    names = {"file_pdf": f"certificates/pdf/cert_{number}.pdf", "file_image": f"certificates/images/cert_{number}.png"}
    size = {"size_kb": order["size_kb"]} if "size_kb" in order else {}
    return "201 Created", [], json.dumps({"id": number, **names, **size}).encode()


def _one(method: str, number: int, directory: Path) -> Answer:
    file = directory / str(number)
    if number == MOVED:
        return "302 Found", [("Location", "https://s3.example.com/secret")], b""
    if number != ROTTEN and not file.exists():
        return _said("404 Not Found", "no such certificate")
    if method == "DELETE":
        file.unlink(missing_ok=True)
        return "204 No Content", [], b""
    body = pdf(number)
    etag = f'"{hashlib.sha256(body).hexdigest()}"'
    return "200 OK", [("ETag", etag)], b"rotten" if number == ROTTEN else body


def _said(status: str, detail: str) -> Answer:
    return status, [("Content-Type", "application/json")], json.dumps({"detail": detail}).encode()
