"""The load generator against the site as a process of its own."""

from __future__ import annotations

import dataclasses
import hashlib
import http.server
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from rehearsal import traffic
from tests.unit.site.stand_in_site import BUCKET, PASSWORDS, site_process

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal.aws_stand_in import AwsStandIn


@pytest.fixture(scope="module")
def served(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The site with dual-write on."""
    log = tmp_path_factory.mktemp("site") / "log"
    with site_process(environment | {"CERT_S3_DUAL_WRITE": "true"}, log) as address:
        yield address


@pytest.fixture
def client(served: str) -> traffic.Client:
    """The load's account, signed in."""
    client = traffic.Client(served)
    client.sign_in("load-staff", PASSWORDS["LOAD_STAFF_PASSWORD"])
    return client


def test_issued_certificates_are_in_s3_and_can_be_downloaded(client: traffic.Client, aws: AwsStandIn) -> None:
    """A rehearsal whose uploads never left the local disk."""
    done: list[int] = []
    issued = traffic.issue_many(client, [5, 40, 200], concurrency=2, progress=done.append)
    assert done == [1, 2, 3]
    for certificate in issued:
        stored = aws.s3().get_object(Bucket=BUCKET, Key=certificate.file_pdf)["Body"].read()
        assert hashlib.sha256(stored).hexdigest() == certificate.certificate_hash
        assert client.download(certificate) == stored
        assert client.urls(certificate.id) == certificate.urls
        client.remove(certificate.id)
    with pytest.raises(traffic.TrafficError, match="404"):
        client.download(issued[0])


def test_wrong_bytes_are_a_failure(client: traffic.Client) -> None:
    """A download with status 200 and another certificate's bytes, counted as good."""
    first, second = traffic.issue_many(client, [5, 5])
    mixed_up = dataclasses.replace(first, id=second.id)
    with pytest.raises(traffic.TrafficError, match="hash"):
        client.download(mixed_up)


def test_a_wrong_password_is_told(served: str) -> None:
    """A load that is refused throughout and calls it success."""
    with pytest.raises(traffic.TrafficError, match=r"refuses to sign in probe \(403\)"):
        traffic.Client(served).sign_in("probe", "wrong")


def test_a_load_reports_and_cleans_up(client: traffic.Client, aws: AwsStandIn) -> None:
    """Load certificates that stay behind as customers' ones."""
    before = aws.s3().list_objects_v2(Bucket=BUCKET)["KeyCount"]
    with traffic.Load(client, rate=20) as load:
        time.sleep(2)
    report = load.report()
    assert report.failures == ()
    assert report.left_behind == ()
    assert 30 <= report.total <= 45
    assert sum(report.by_kind.values()) == report.total
    assert report.p95_seconds is not None
    assert 0 < report.p95_seconds <= report.slowest_seconds
    assert aws.s3().list_objects_v2(Bucket=BUCKET)["KeyCount"] == before


class _Stalling(http.server.BaseHTTPRequestHandler):
    """Issues certificates that do not exist, and answers every download with 500 after half a second."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(
            201,
            b'{"id": 1, "file_pdf": "a", "file_image": "b", "certificate_hash": "c",'
            b' "verification_code": "d", "urls": {}}',
        )

    def do_GET(self) -> None:
        time.sleep(0.5)
        self._answer(500, b"no")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Keeps the tests' output clean."""


def test_a_stall_does_not_slow_the_load_down_and_every_failure_counts() -> None:
    """A load that waits for a site which stalls, and so sends it fewer requests and sees fewer failures."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Stalling)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with traffic.Load(traffic.Client(f"http://127.0.0.1:{server.server_port}"), rate=40) as load:
        time.sleep(2)  # 80 requests are due: a busy machine may swallow some tenths of a second
    server.shutdown()
    server.server_close()
    report = load.report()
    assert report.total >= 30
    gets = report.total - report.by_kind.get("issue", 0) - report.by_kind.get("slow post", 0)
    assert len(report.failures) >= gets > 0
    assert any("500" in (failure.problem or "") for failure in report.failures)
    assert report.p95_seconds is not None
    assert report.p95_seconds >= 0.5
    assert report.left_behind


def test_a_site_that_is_down_fails_at_once() -> None:
    """A load that starts against nothing."""
    with pytest.raises(traffic.TrafficError), traffic.Load(traffic.Client("http://127.0.0.1:1")):
        pass


def test_sizes_are_repeatable_and_reach_both_ends() -> None:
    """Two deployments with different certificates, or none of 800 KB in either."""
    sizes = traffic.sizes(300)
    assert sizes == traffic.sizes(300)
    assert len(sizes) == 300
    assert (min(sizes), max(sizes)) == (5, 800)
    assert len(set(sizes)) > 30


def test_the_command_reports_failures_by_its_exit_code(
    served: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script around the command that takes a refused load for a good one."""
    monkeypatch.setenv("LOAD_STAFF_PASSWORD", PASSWORDS["LOAD_STAFF_PASSWORD"])
    assert traffic.main(["--url", served, "load", "--rate", "10", "--seconds", "0.5"]) == 0
    assert '"failures": []' in capsys.readouterr().out
    monkeypatch.setenv("LOAD_STAFF_PASSWORD", "wrong")
    assert traffic.main(["--url", served, "issue", "--count", "1"]) == 1
    monkeypatch.delenv("LOAD_STAFF_PASSWORD")
    assert traffic.main(["--url", served, "issue"]) == 2
