"""`cutover downloads` against the stand-in site as a process of its own, and against sites that answer wrongly."""

from __future__ import annotations

import hashlib
import http.server
import io
import itertools
import json
import sys
import threading
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from cutover import cli
from tests.unit.site.s3_conditions import put_object, s3_of
from tests.unit.site.stand_in_site import BUCKET, PASSWORDS, site_process

if TYPE_CHECKING:
    from collections.abc import Iterator

    from apps.tournaments.models import Certificate

    from cutover.django.s3_copy import S3Copy
    from rehearsal.aws_stand_in import AwsStandIn

ACCOUNT = {"user": "load-staff", "password": PASSWORDS["LOAD_STAFF_PASSWORD"]}
NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def served(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The site with reads on S3."""
    flags = {"CERT_S3_DUAL_WRITE": "true", "CERT_S3_READ_PRIMARY": "true"}
    with site_process(environment | flags, tmp_path_factory.mktemp("site") / "log") as address:
        yield address


@pytest.fixture(autouse=True)
def settings_of_the_tool(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The tool runs with the deployment's environment."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def issue(environment: dict[str, str], aws: AwsStandIn) -> Any:
    """Issues a certificate: in S3 and marked, and without its local file, or local alone."""
    from apps.tournaments.models import Certificate
    from django.utils import timezone

    def issued(*, migrated: bool, **columns: Any) -> Certificate:
        number = next(NUMBERS)
        body, name = f"%PDF {number}".encode(), f"certificates/pdf/2026/11/cert_{number}_0a1b2c3d.pdf"
        if migrated:
            put_object(aws, name, body)
        else:
            path = Path(environment["MEDIA_ROOT"]) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
        fields: dict[str, Any] = {
            "pk": number,
            "tournament_id": 1,
            "participant_id": number,
            "certificate_type": "winner",
            "file_pdf": name,
            "certificate_hash": hashlib.sha256(body).hexdigest(),
            "migrated_to_s3_at": timezone.now() if migrated else None,
        }
        return Certificate.objects.create(**fields | columns)

    return issued


class Scripted(http.server.BaseHTTPRequestHandler):
    """A site that lets everybody in and answers each certificate as the script says: status, headers, body."""

    script: ClassVar[dict[int | str, tuple[int, dict[str, str], bytes]]] = {}
    cookies: ClassVar[list[str | None]] = []

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._reply(200, {"Set-Cookie": "sessionid=secret; Path=/"}, b"{}")

    def do_GET(self) -> None:
        self.cookies.append(self.headers.get("Cookie"))
        last = self.path.rstrip("/").rpartition("/")[2]
        self._reply(*self.script[int(last) if last.isdigit() else last])

    def _reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
        if not status:
            return  # the connection breaks
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Keeps the tests' output clean."""


@pytest.fixture
def scripted() -> Iterator[str]:
    """The address of a scripted site."""
    Scripted.script.clear()
    Scripted.cookies.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Scripted)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str, account: object = ACCOUNT) -> tuple[int, str, str]:
    """Exit code, standard output and standard error with that account on standard input."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(account)))
    with redirect_stdout(io.StringIO()) as output, redirect_stderr(io.StringIO()) as errors:
        code = cli.main(["downloads", *arguments])
    return code, output.getvalue(), errors.getvalue()


def download(monkeypatch: pytest.MonkeyPatch, site: str, *arguments: str, code: int) -> dict[str, Any]:
    """The JSON document of a run that ends with this exit code."""
    ended, output, errors = run(monkeypatch, "--site", site, "--json", *arguments)
    assert ended == code, output + errors
    document: dict[str, Any] = json.loads(output)
    return document


def test_both_kinds_are_downloaded_as_bytes(served: str, issue: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A status 200 is no certificate; and a migrated one that only the local file could give is a 404 to come."""
    for migrated in (True, True, True, False, False):
        issue(migrated=migrated)
    issue(migrated=True, revoked_at="2026-11-01T00:00Z")  # answers 410, as it must
    issue(migrated=True, file_pdf=None)
    issue(migrated=False, file_pdf="")
    found = download(monkeypatch, served, "--migrated", "10", "--unmigrated", "1", code=0)
    slowest = found["migrated"].pop("slowest_ms"), found["unmigrated"].pop("slowest_ms")
    assert len(set(found.pop("ids"))) == 4
    assert found == {
        "migrated": {"asked": 3, "equal": 3, "not_found": 0, "failed": 0},
        "unmigrated": {"asked": 1, "equal": 1, "not_found": 0, "failed": 0},
        "failures": [],
    }
    assert all(0 < milliseconds < 30_000 for milliseconds in slowest)


def test_the_same_seed_downloads_the_same(issue: Any, scripted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure that nobody can look at again."""
    for _ in range(12):
        Scripted.script[issue(migrated=True).pk] = (500, {}, b"")
    drawn = [
        [failure["certificate_id"] for failure in download(monkeypatch, scripted, *asked, code=1)["failures"]]
        for asked in (("--migrated", "3", "--seed", seed) for seed in ("1", "1", "2"))
    ]
    assert len(drawn[0]) == 3
    assert drawn[0] == drawn[1] != drawn[2]


def test_wrong_bytes_are_a_failure(
    served: str, issue: Any, aws: AwsStandIn, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A customer gets another's certificate, with status 200."""
    migrated, local, good = issue(migrated=True), issue(migrated=False), issue(migrated=True)
    put_object(aws, migrated.file_pdf.name, b"another's")
    (Path(environment["MEDIA_ROOT"]) / local.file_pdf.name).write_bytes(b"damaged")
    named = [str(certificate.pk) for certificate in (migrated, local, good)]
    found = download(monkeypatch, served, "--certificate-id", *named, code=1)
    assert (found["migrated"]["asked"], found["migrated"]["equal"], found["migrated"]["failed"]) == (2, 1, 1)
    assert (found["unmigrated"]["asked"], found["unmigrated"]["failed"]) == (1, 1)
    by_id = {failure["certificate_id"]: failure for failure in found["failures"]}
    assert by_id.keys() == {migrated.pk, local.pk}
    assert by_id[migrated.pk]["status"] == 200
    assert hashlib.sha256(b"another's").hexdigest() in by_id[migrated.pk]["detail"]


def test_an_object_that_is_gone_is_a_failure(
    served: str, issue: Any, aws: AwsStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Marked, quarantined, and not in S3: nobody has it any more."""
    certificate = issue(migrated=True)
    s3_of(aws).delete_object(Bucket=BUCKET, Key=certificate.file_pdf.name)
    found = download(monkeypatch, served, "--migrated", "1", code=1)
    assert found["failures"] == [{"certificate_id": certificate.pk, "status": 503, "detail": "HTTP 503"}]


def test_a_revoked_certificate_that_is_named_is_no_download(
    served: str, issue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quarantined sample of ten revoked rows would prove nothing."""
    certificate = issue(migrated=True, revoked_at="2026-11-01T00:00Z")
    found = download(monkeypatch, served, "--certificate-id", str(certificate.pk), code=1)
    assert (found["failures"][0]["status"], found["migrated"]["failed"]) == (410, 1)


def test_the_verification_page_finds_what_was_issued(served: str, issue: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that opens the local file says is_tampered once that is gone, although the download works."""
    issue(migrated=True)
    assert download(monkeypatch, served, "--migrated", "1", "--verification", code=0)["migrated"]["equal"] == 1


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        ((200, {}, b'{"is_tampered": true}'), "the verification page says is_tampered: true"),
        ((200, {}, b"{}"), "the verification page says is_tampered: null"),
        ((200, {}, b"<html>"), "the verification page gives no answer that can be read"),
        ((200, {}, b"[]"), "the verification page gives no answer that can be read"),
        ((429, {}, b"{}"), "the verification page answers HTTP 429"),
        ((0, {}, b""), "the verification page gives no answer that can be read"),
    ],
)
def test_what_the_verification_page_does_not_confirm_is_a_failure(
    scripted: str, issue: Any, monkeypatch: pytest.MonkeyPatch, answer: tuple[int, dict[str, str], bytes], detail: str
) -> None:
    """ "Certificate is tampered with", shown to the employer of whoever earned it."""
    certificate = issue(migrated=True)
    number = int(certificate.file_pdf.name.split("_")[1])
    Scripted.script[certificate.pk] = (200, {}, f"%PDF {number}".encode())
    Scripted.script[str(certificate.verification_code)] = answer
    found = download(monkeypatch, scripted, "--migrated", "1", "--verification", code=1)
    assert (found["migrated"]["equal"], found["migrated"]["failed"]) == (0, 1)
    assert found["failures"][0]["detail"].startswith(detail)


@pytest.mark.parametrize(
    ("status", "counted"),
    [(404, "not_found"), (500, "failed"), (410, "failed"), (503, "failed"), (0, "failed")],
)
@pytest.mark.parametrize("migrated", [True, False])
def test_any_other_answer_is_a_failure(
    scripted: str, issue: Any, monkeypatch: pytest.MonkeyPatch, *, migrated: bool, status: int, counted: str
) -> None:
    """A 404 of a migrated certificate, which step 8 must not let pass; or no answer at all."""
    certificate, kind = issue(migrated=migrated), "migrated" if migrated else "unmigrated"
    Scripted.script[certificate.pk] = (status, {}, b"error page")
    found = download(monkeypatch, scripted, f"--{kind}", "5", code=1)
    assert {name for name, count in found[kind].items() if name != "slowest_ms" and count} == {"asked", counted}
    assert [(failure["certificate_id"], failure["status"]) for failure in found["failures"]] == [
        (certificate.pk, status or None)
    ]


def test_a_sign_in_page_is_no_certificate(scripted: str, issue: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that ended leads to a page with status 200."""
    certificate = issue(migrated=True)
    Scripted.script[certificate.pk] = (302, {"Location": f"{scripted}/sign-in/0/"}, b"")
    Scripted.script[0] = (200, {}, b"<html>Please sign in</html>")
    assert download(monkeypatch, scripted, "--migrated", "1", code=1)["migrated"]["failed"] == 1


@pytest.mark.parametrize("condition", ["up", "denying", "down"])
def test_a_redirect_to_s3_is_followed_and_not_told(
    scripted: str, issue: Any, copies: dict[str, S3Copy], monkeypatch: pytest.MonkeyPatch, condition: str
) -> None:
    """An application that redirects to S3 serves the bytes, too; its URL is a secret for a quarter of an hour."""
    certificate = issue(migrated=True)
    Scripted.script[certificate.pk] = (302, {"Location": copies[condition].sign(certificate.file_pdf.name)}, b"")
    code, output, errors = run(monkeypatch, "--site", scripted, "--json", "--migrated", "1")
    assert code == (0 if condition == "up" else 1), output + errors
    assert "ignature" not in output + errors
    assert Scripted.cookies == ["sessionid=secret"]
    failures = [(failure["status"], failure["detail"]) for failure in json.loads(output)["failures"]]
    assert (
        failures
        == {
            "up": [],
            "denying": [(403, "HTTP 403 AccessDenied")],
            "down": [(None, "no answer ([Errno 111] Connection refused)")],
        }[condition]
    )


def test_what_changed_while_it_was_fetched_does_not_count(
    scripted: str, issue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate that is removed between the drawing and its download fails the step of a live site."""
    from apps.tournaments.models import Certificate
    from django.db import connection

    gone, there = issue(migrated=True), issue(migrated=True)
    body = f"%PDF {there.pk}".encode()
    Scripted.script |= {gone.pk: (404, {}, b""), there.pk: (200, {}, body)}
    do_post = Scripted.do_POST

    def remove_one(handler: Scripted) -> None:
        Certificate.objects.filter(pk=gone.pk).delete()
        connection.close()  # of this thread
        do_post(handler)

    monkeypatch.setattr(Scripted, "do_POST", remove_one)
    found = download(monkeypatch, scripted, "--migrated", "2", code=0)
    assert (found["migrated"]["asked"], found["migrated"]["equal"]) == (1, 1)


@pytest.mark.parametrize("asked", [("--migrated", "5"), ("--migrated", "5", "--unmigrated", "5")])
def test_no_rows_of_a_kind_are_inconclusive(
    served: str, issue: Any, monkeypatch: pytest.MonkeyPatch, asked: tuple[str, ...]
) -> None:
    """0 of 0 migrated certificates are not found: the gate of step 8 would open on an empty table."""
    issue(migrated=False)
    found = download(monkeypatch, served, *asked, code=3)
    assert (found["migrated"]["asked"], found["migrated"]["slowest_ms"]) == (0, None)
    assert "nothing to look at" in run(monkeypatch, "--site", served, *asked)[1]


@pytest.mark.parametrize(
    ("account", "sentence"),
    [
        ({"user": "load-staff", "password": "wrong"}, "answers HTTP 403 when load-staff signs in"),
        ({"user": "nobody", "password": "wrong"}, "answers HTTP 403 when nobody signs in"),
    ],
)
def test_a_wrong_password_is_told(
    served: str, issue: Any, monkeypatch: pytest.MonkeyPatch, account: dict[str, str], sentence: str
) -> None:
    """Every download would answer 401, and look as if the cutover had broken it."""
    issue(migrated=True)
    code, output, errors = run(monkeypatch, "--site", served, "--migrated", "1", "--json", account=account)
    assert (code, output) == (4, "")
    assert sentence in errors
    assert account["password"] not in errors


def test_a_site_that_does_not_answer_is_an_error(issue: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong address says nothing of the certificates."""
    issue(migrated=True)
    code, _, errors = run(monkeypatch, "--site", "http://127.0.0.1:1", "--migrated", "1")
    assert code == 4
    assert errors.startswith("cutover: http://127.0.0.1:1: no answer")


def test_a_table_that_cannot_be_read_is_an_error(served: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No rows, because there is no database."""
    monkeypatch.setenv("DATABASE_URL", "postgres://nobody@127.0.0.1:1/nothing")
    assert run(monkeypatch, "--site", served, "--migrated", "1")[0] == 4


@pytest.mark.parametrize(
    ("arguments", "account", "sentence"),
    [
        ((), ACCOUNT, "say which certificates"),
        (("--migrated", "1", "--certificate-id", "1"), ACCOUNT, "say which certificates"),
        (("--certificate-id", "987654321"), ACCOUNT, "certificate 987654321: no row"),
        (("--migrated", "1"), {"user": "load-staff"}, "standard input has no account"),
        (("--migrated", "1"), "secret", "standard input has no account"),
    ],
)
def test_wrong_usage_is_told(
    arguments: tuple[str, ...], account: object, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And shows no password."""
    code, _, errors = run(monkeypatch, "--site", "http://127.0.0.1:1", *arguments, account=account)
    assert code == 2
    assert sentence in errors
    assert "secret" not in errors
