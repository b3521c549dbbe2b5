"""`cutover worker-requests` against a worker's socket: the protocol, and what it must not call done."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import socketserver
import struct
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from cutover import uwsgi_client, worker_requests_command
from cutover.cli import main
from cutover.exit_codes import ExitCode
from tests.unit import worker_site
from tests.unit.worker_site import BROKEN, HOST, MOVED, PASSWORD, ROTTEN, TOURNAMENT, USER

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Answering = Callable[[socket.socket], None]

ACCOUNT = {"user": USER, "password": PASSWORD, "tournament": TOURNAMENT}
UWSGI = shutil.which("uwsgi")
BUFFER = 4096  # bytes of variables that uWSGI takes, unless its settings say more


class Said(NamedTuple):
    """What a call answered."""

    code: int
    document: dict[str, Any]
    error: str


class StrictHandler(socketserver.StreamRequestHandler):
    """Takes a uwsgi packet apart without mercy and gives the request to the small site."""

    def handle(self) -> None:
        """Answers one request; closes the connection, as uWSGI does, if it cannot be read."""
        environ = self.request_taken()
        self.connection.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            assert not self.connection.recv(1), "bytes behind the body"
        self.connection.setblocking(True)

        def start_response(status: str, headers: list[tuple[str, str]]) -> None:
            lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers), "", ""]
            self.wfile.write("\r\n".join(lines).encode("latin-1"))

        for part in worker_site.application(environ, start_response):
            self.wfile.write(part)

    def request_taken(self) -> dict[str, Any]:
        """The whole request as WSGI has it."""
        modifier1, size, modifier2 = struct.unpack("<BHB", self.rfile.read(4))
        assert (modifier1, modifier2) == (0, 0)
        assert size <= BUFFER
        environ: dict[str, Any] = {}
        block = io.BytesIO(self.rfile.read(size))
        while block.tell() < size:
            name, value = self._text(block), self._text(block)
            assert name not in environ
            environ[name] = value
        environ["wsgi.input"] = io.BytesIO(self.rfile.read(int(environ["CONTENT_LENGTH"] or 0)))
        return environ

    def _text(self, block: io.BytesIO) -> str:
        (size,) = struct.unpack("<H", block.read(2))
        text = block.read(size)
        assert len(text) == size
        return text.decode()


@contextlib.contextmanager
def listening(path: Path, handler: type[StrictHandler]) -> Iterator[None]:
    with socketserver.ThreadingUnixStreamServer(str(path), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield
        server.shutdown()


@contextlib.contextmanager
def uwsgi(path: Path) -> Iterator[None]:
    """The small site in a real uWSGI, whose settings are those of a worker as far as they concern requests."""
    command = [str(UWSGI), "--plugin", "python3", "--socket", str(path), "--master", "--need-app", "--threads", "4"]
    command += ["--wsgi-file", worker_site.__file__, "--disable-logging", "--die-on-term"]
    with (path.parent / "uwsgi.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"PYTHONPATH": ""})
    try:
        deadline = time.monotonic() + 20
        while not path.exists():
            assert process.poll() is None, (path.parent / "uwsgi.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(timeout=20)


@pytest.fixture(params=["strict", pytest.param("uwsgi", marks=pytest.mark.skipif(UWSGI is None, reason="no uWSGI"))])
def worker(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The socket of a worker that runs the small site."""
    (tmp_path / "site").mkdir()
    monkeypatch.setenv("WORKER_SITE", str(tmp_path / "site"))
    path = tmp_path / "worker1.sock"
    with listening(path, StrictHandler) if request.param == "strict" else uwsgi(path):
        yield path


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Runs an action on a worker, with an account on standard input."""

    def run(action: str, path: Path, *arguments: str, host: str = HOST, account: object = ACCOUNT) -> Said:
        monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(account)))
        code = main(["worker-requests", action, "--socket", str(path), "--host", host, "--json", *arguments])
        printed = capsys.readouterr()
        return Said(code, json.loads(printed.out) if printed.out else {}, printed.err)

    return run


def test_certificates_are_issued_downloaded_and_removed_by_this_worker(worker: Path, ask: Callable[..., Said]) -> None:
    """A packet that only our own parser understands proves nothing of any worker."""
    issued = ask("issue", worker, "--count", "5", "--concurrency", "3", "--size-kb", "40")
    assert (issued.code, issued.document["asked"], issued.document["done"]) == (ExitCode.DONE, 5, 5), issued
    ids = issued.document["ids"]
    assert sorted(issued.document["names"]) == sorted(
        name
        for number in ids
        for name in (f"certificates/pdf/cert_{number}.pdf", f"certificates/images/cert_{number}.png")
    )
    assert len(issued.document["seconds"]) == 5
    assert all(0 < seconds < 5 for seconds in issued.document["seconds"])
    downloaded = ask("download", worker, *map(str, ids))
    assert (downloaded.code, downloaded.document["ids"], downloaded.document["names"]) == (ExitCode.DONE, ids, [])
    for _ in range(2):  # whoever is unsure removes them again
        removed = ask("remove", worker, *map(str, ids))
        assert (removed.code, removed.document["done"]) == (ExitCode.DONE, 5)
    gone = ask("download", worker, str(ids[0]))
    assert (gone.code, gone.document["done"]) == (ExitCode.FAILED, 0)
    assert gone.document["failures"] == [
        {"status": 404, "detail": f"certificate {ids[0]}: HTTP 404 no such certificate"}
    ]


def test_orders_that_are_refused_are_failures_beside_what_was_issued(worker: Path, ask: Callable[..., Said]) -> None:
    """Half of the uploads failed, and the ids of the other half, which must be removed, are nowhere."""
    found = ask("issue", worker, "--count", "4", account=ACCOUNT | {"tournament": BROKEN})
    assert (found.code, found.document["done"], len(found.document["ids"])) == (ExitCode.FAILED, 2, 2)
    assert found.document["failures"] == 2 * [{"status": 503, "detail": "an order: HTTP 503 no room"}]
    assert len(found.document["seconds"]) == 4


def test_other_bytes_and_a_way_out_are_failures(worker: Path, ask: Callable[..., Said]) -> None:
    """An answer with 200 is not yet the certificate; one of S3 is none of this worker, and its address a secret."""
    found = ask("download", worker, str(ROTTEN), str(MOVED))
    assert (found.code, found.document["ids"]) == (ExitCode.FAILED, [])
    assert "other bytes than were issued" in found.document["failures"][0]["detail"]
    assert found.document["failures"][1] == {
        "status": 302,
        "detail": f"certificate {MOVED}: HTTP 302 the site leads elsewhere, where not this worker answers",
    }


@pytest.mark.parametrize(
    ("changed", "host", "status"), [({"password": "wrong"}, HOST, 403), ({}, "other.example", 400)]
)
def test_who_cannot_sign_in_has_measured_nothing(
    worker: Path, ask: Callable[..., Said], changed: dict[str, str], host: str, status: int
) -> None:
    """A wrong password is no failing worker, and it is printed nowhere."""
    found = ask("issue", worker, "--count", "1", host=host, account=ACCOUNT | changed)
    assert (found.code, found.document) == (ExitCode.ERROR, {})
    assert f"{worker} answers HTTP {status} when {USER} signs in" in found.error
    assert "wrong" not in found.error


@pytest.mark.parametrize(
    ("account", "sentence"),
    [
        ({"user": USER, "password": PASSWORD}, "standard input has no account"),
        ([PASSWORD], "standard input has no account"),
        (ACCOUNT | {"tournament": "2"}, "tournament is no number"),
    ],
)
def test_standard_input_without_an_account_is_named(
    tmp_path: Path, ask: Callable[..., Said], account: object, sentence: str
) -> None:
    """A traceback of the parser would show the password."""
    found = ask("issue", tmp_path / "none", "--count", "1", account=account)
    assert (found.code, found.document) == (ExitCode.USAGE, {})
    assert sentence in found.error
    assert PASSWORD not in found.error


def test_a_worker_without_a_socket_is_an_error_with_what_to_run(tmp_path: Path, ask: Callable[..., Said]) -> None:
    """Zero requests done on a machine where no worker is must not read as a failing application."""
    found = ask("remove", tmp_path / "worker9.sock", "1")
    assert (found.code, found.document) == (ExitCode.ERROR, {})
    assert (
        "worker9.sock: no answer (No such file or directory) when probe signs in: run this as www-data" in found.error
    )


def broken_worker(after_sign_in: Answering) -> type[StrictHandler]:
    """A worker that signs everybody in, and then answers so."""

    class Handler(StrictHandler):
        def handle(self) -> None:
            if self.request_taken()["PATH_INFO"] == "/api/sign-in/":
                self.wfile.write(b"HTTP/1.1 200 OK\r\nSet-Cookie: sessionid=s\r\n\r\n{}")
            else:
                after_sign_in(self.connection)

    return Handler


@pytest.mark.parametrize(
    ("after_sign_in", "detail"),
    [
        (lambda connection: connection.close(), "no answer (Remote end closed connection without response)"),
        (
            lambda connection: connection.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 9\r\n\r\n{"),
            "IncompleteRead",
        ),
        (lambda connection: connection.sendall(b"nonsense\r\n\r\n"), "BadStatusLine"),
        (lambda _connection: time.sleep(1), "no answer (timed out)"),
    ],
)
def test_an_answer_that_breaks_off_is_no_upload(
    tmp_path: Path, ask: Callable[..., Said], monkeypatch: pytest.MonkeyPatch, after_sign_in: Answering, detail: str
) -> None:
    """A worker that is killed while it answers, or hangs, has answered nobody; what it issued nobody knows."""
    monkeypatch.setattr(worker_requests_command, "TIMEOUT_SECONDS", 0.3)
    path = tmp_path / "worker1.sock"
    with listening(path, broken_worker(after_sign_in)):
        found = ask("issue", path, "--count", "2", "--concurrency", "2")
    assert (found.code, found.document["done"], found.document["ids"]) == (ExitCode.FAILED, 0, [])
    assert [failure["status"] for failure in found.document["failures"]] == [None, None]
    assert detail in found.document["failures"][0]["detail"]
    assert "whether the certificate was issued is not known" in found.document["failures"][0]["detail"]


def test_nothing_more_is_sent_to_a_worker_that_does_not_answer(tmp_path: Path, ask: Callable[..., Said]) -> None:
    """Twenty requests of thirty seconds each would hold a step for ten minutes, to learn the same again."""
    path = tmp_path / "worker1.sock"
    with listening(path, broken_worker(lambda connection: connection.close())):
        found = ask("issue", path, "--count", "3")
    assert (found.code, found.document["done"], len(found.document["seconds"])) == (ExitCode.FAILED, 0, 1)
    assert found.document["failures"][-1]["detail"].startswith("2 more were not sent")


def test_variables_that_do_not_fit_are_refused() -> None:
    """A size that wraps round makes one request's end another's beginning."""
    assert uwsgi_client.packet({"A": "ü"}) == b"\x00\x07\x00\x00\x01\x00A\x02\x00\xc3\xbc"
    for variables in ({"A": 65_536 * "a"}, {"A": 40_000 * "a", "B": 40_000 * "b"}):
        with pytest.raises(ValueError, match="65535 are the most"):
            uwsgi_client.packet(variables)


def test_an_interrupted_issue_tells_what_was_issued(tmp_path: Path, ask: Callable[..., Said]) -> None:
    """Certificates whose ids are lost stay in the customers' table."""
    told = threading.Event()

    def issue_and_interrupt(connection: socket.socket) -> None:
        connection.sendall(b'HTTP/1.1 201 Created\r\n\r\n{"id": 8, "file_pdf": "a.pdf", "file_image": null}')
        if not told.is_set():
            told.set()
            os.kill(os.getpid(), signal.SIGTERM)

    path = tmp_path / "worker1.sock"
    with listening(path, broken_worker(issue_and_interrupt)):
        found = ask("issue", path, "--count", "200")
    assert (found.code, found.document["asked"], found.document["failures"]) == (ExitCode.INTERRUPTED, 200, [])
    assert 1 <= found.document["done"] == len(found.document["ids"]) < 200
    assert set(found.document["names"]) == {"a.pdf"}


def test_what_is_issued_is_remembered_whatever_becomes_of_whoever_asked(
    worker: Path, ask: Callable[..., Said], tmp_path: Path
) -> None:
    """The control machine dies, and the ids with it: nobody could remove the certificates of the test."""
    memory = tmp_path / "state/test-certificates.jsonl"
    ids = []
    for _ in range(2):
        issued = ask("issue", worker, "--count", "3", "--concurrency", "3", "--remember", str(memory))
        assert issued.code == ExitCode.DONE, issued
        ids += issued.document["ids"]
        ask("remove", worker, *map(str, issued.document["ids"]))
    found = [json.loads(line) for line in memory.read_text().splitlines()]
    assert sorted(one["id"] for one in found) == sorted(ids)
    for one in found:
        assert one["names"] == [f"certificates/pdf/cert_{one['id']}.pdf", f"certificates/images/cert_{one['id']}.png"]


def test_what_cannot_be_remembered_is_not_issued(tmp_path: Path, ask: Callable[..., Said]) -> None:
    memory = tmp_path / "folder"
    memory.mkdir()
    found = ask("issue", tmp_path / "none", "--count", "1", "--remember", str(memory))
    assert (found.code, found.document) == (ExitCode.ERROR, {})
    assert f"{memory}: Is a directory" in found.error


@pytest.mark.parametrize("planted", ["a link", "a link that leads nowhere", "a pipe", "a file"])
def test_root_remembers_in_no_file_of_somebody_else(tmp_path: Path, ask: Callable[..., Said], planted: str) -> None:
    """www-data writes into the same directory, and root would add lines to any file that it names."""
    memory, victim = tmp_path / "test-certificates.jsonl", tmp_path / "victim"
    if planted == "a link":
        victim.touch()
    if planted.startswith("a link"):
        memory.symlink_to(victim)
    elif planted == "a pipe":
        os.mkfifo(memory)
    else:
        memory.touch()
        os.chown(memory, 33, 33)
    found = ask("issue", tmp_path / "none", "--count", "1", "--remember", str(memory))
    assert (found.code, found.document) == (ExitCode.USAGE, {})
    assert f"{memory}: is a link or another user's" in found.error
    assert victim.exists() == (planted == "a link")
