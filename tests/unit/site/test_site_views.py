"""The stand-in's interfaces, each as the application has it."""

from __future__ import annotations

import hashlib
import io
import json
import re
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from rehearsal.lab.topology import LOAD_BALANCER
from tests.unit.site.stand_in_site import PASSWORDS, SITE, newest_postgresql

if TYPE_CHECKING:
    from pathlib import Path

    from django.test import Client

CERTIFICATES = "/api/tournaments/certificates/"


def _client(username: str | None = None) -> Client:
    from django.test import Client

    client = Client()
    if username:
        password = PASSWORDS[f"{username.replace('-', '_').upper()}_PASSWORD"]
        body = {"username": username, "password": password}
        assert client.post("/api/sign-in/", body, "application/json").status_code == 200
    return client


def _user_id(username: str) -> int:
    from django.contrib.auth.models import User

    return int(User.objects.get(username=username).pk)


def _issue(**fields: Any) -> dict[str, Any]:
    order = {"tournament_id": 1, "participant_id": _user_id("customer"), "certificate_type": "winner"} | fields
    answer = _client("load-staff").post(CERTIFICATES, order, "application/json")
    assert answer.status_code == 201, answer.content
    issued: dict[str, Any] = answer.json()
    return issued


def test_an_issued_certificate_has_both_files_and_its_hash(media: Path) -> None:
    """A stand-in whose certificates are not those that the application makes."""
    from PIL import Image

    issued = _issue()
    pdf, image = (media / issued[column] for column in ("file_pdf", "file_image"))
    names = r"certificates/{}/\d{{4}}/\d\d/cert_{}_[0-9a-f]{{8}}\.{}"
    assert re.fullmatch(names.format("pdf", issued["id"], "pdf"), issued["file_pdf"])
    assert re.fullmatch(names.format("images", issued["id"], "png"), issued["file_image"])
    assert pdf.read_bytes().startswith(b"%PDF-")
    assert hashlib.sha256(pdf.read_bytes()).hexdigest() == issued["certificate_hash"]
    assert Image.open(image).format == "PNG"
    assert issued["urls"] == {"pdf": f"/media/{issued['file_pdf']}", "image": f"/media/{issued['file_image']}"}


@pytest.mark.parametrize("size_kb", [5, 100, 800])
def test_the_size_asked_for_is_about_the_size_of_both_files(size_kb: int, media: Path) -> None:
    """A rehearsal that claims 800 KB and moves 8."""
    issued = _issue(size_kb=size_kb)
    for column in ("file_pdf", "file_image"):
        assert size_kb * 1024 * 0.9 < (media / issued[column]).stat().st_size < size_kb * 1024 * 1.1 + 4096


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"tournament_id": 99}, "tournament_id"),
        ({"participant_id": "1"}, "participant_id"),
        ({"participant_id": 2**63}, "participant_id"),
        ({"certificate_type": "x" * 21}, "certificate_type"),
        ({"certificate_type": "a\x00"}, "certificate_type"),
        ({"size_kb": 801}, "size_kb"),
        ({"size_kb": True}, "size_kb"),
    ],
)
def test_a_bad_order_is_refused_by_field(fields: dict[str, Any], named: str, media: Path) -> None:
    """A 500, which the rehearsal would take for a failure of the cutover."""
    order = {"tournament_id": 1, "participant_id": 1, "certificate_type": "winner"} | fields
    answer = _client("load-staff").post(CERTIFICATES, order, "application/json")
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith(f"{named}:")
    assert list(media.rglob("*")) == []


@pytest.mark.parametrize(("username", "status"), [(None, 401), ("customer", 403), ("organiser", 403)])
def test_only_staff_issue_and_remove(username: str | None, status: int) -> None:
    """A public POST, which the application does not have."""
    issued = _issue()
    client = _client(username)
    assert client.post(CERTIFICATES, {}, "application/json").status_code == status
    assert client.delete(f"{CERTIFICATES}{issued['id']}/").status_code == status


def test_a_form_of_another_site_cannot_issue() -> None:
    """A request that a browser sends with the staff's cookie, because a foreign page told it to."""
    order = json.dumps({"tournament_id": 1, "participant_id": 1, "certificate_type": "winner"})
    assert _client("load-staff").post(CERTIFICATES, order, "text/plain").status_code == 415
    assert _client().post("/api/sign-in/", "{}", "text/plain").status_code == 415


def test_a_second_valid_certificate_of_a_type_is_refused_and_leaves_nothing(media: Path) -> None:
    """Orphaned files of an issue that was rolled back, or a revoked certificate that cannot be replaced."""
    from apps.tournaments.models import Certificate
    from django.utils import timezone

    _issue()
    files = sorted(media.rglob("*.p*"))
    order = {"tournament_id": 1, "participant_id": _user_id("customer"), "certificate_type": "winner"}
    assert _client("load-staff").post(CERTIFICATES, order, "application/json").status_code == 409
    assert sorted(media.rglob("*.p*")) == files
    Certificate.objects.update(revoked_at=timezone.now())
    _issue()


def test_a_failed_issue_leaves_no_files(media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PDF without a row, which the consistency check would report for ever."""
    from apps.tournaments import rendering, services
    from apps.tournaments.models import Certificate

    def broken(*_arguments: Any) -> bytes:
        raise OSError("disk full")

    monkeypatch.setattr(rendering, "png", broken)
    with pytest.raises(OSError, match="disk full"):
        services.issue(services.Order(1, 1, "winner", "", None))
    assert [path for path in media.rglob("*") if path.is_file()] == []
    assert not Certificate.objects.exists()


def test_a_removed_certificate_takes_its_files_along(media: Path) -> None:
    """Test certificates that stay in the customers' media root."""
    issued = _issue()
    assert _client("load-staff").delete(f"{CERTIFICATES}{issued['id']}/").status_code == 204
    assert [path for path in media.rglob("*") if path.is_file()] == []
    assert _client("load-staff").get(f"{CERTIFICATES}{issued['id']}/").status_code == 404


@pytest.mark.parametrize("username", ["customer", "organiser", "load-staff"])
def test_those_who_may_download_get_the_issued_bytes(username: str) -> None:
    """A download whose ETag and bytes differ, and no client that could tell."""
    from apps.tournaments.models import Certificate

    issued = _issue()
    answer = _client(username).get(f"{CERTIFICATES}{issued['id']}/")
    assert answer.status_code == 200
    assert answer["ETag"] == f'"{issued["certificate_hash"]}"'
    assert answer["Content-Type"] == "application/pdf"
    assert hashlib.sha256(answer.getvalue()).hexdigest() == issued["certificate_hash"]
    row = Certificate.objects.get(pk=issued["id"])
    assert row.download_count == 1
    assert row.downloaded_at is not None


@pytest.mark.parametrize("suffix", ["", "urls/"])
def test_others_get_nothing(suffix: str) -> None:
    """A certificate shown to anybody who can count."""
    address = f"{CERTIFICATES}{_issue(participant_id=10**9)['id']}/{suffix}"
    assert _client().get(address).status_code == 401
    assert _client("customer").get(address).status_code == 403


def test_a_format_is_not_found_and_a_revoked_certificate_is_gone() -> None:
    """A preflight that trusts answers which the application does not give."""
    from apps.tournaments.models import Certificate
    from django.utils import timezone

    address = f"{CERTIFICATES}{_issue()['id']}/"
    assert _client("customer").get(f"{address}?format=image").status_code == 404
    Certificate.objects.update(revoked_at=timezone.now())
    assert _client("customer").get(address).status_code == 410


def test_verification_tells_a_damaged_pdf_from_a_good_one(media: Path) -> None:
    """Damage that nobody notices before it is copied."""
    issued = _issue()
    address = f"{CERTIFICATES}verify/{issued['verification_code']}/"
    assert _client().get(address).json()["is_tampered"] is False
    (media / issued["file_pdf"]).write_bytes(b"%PDF-1.4 another")
    assert _client().get(address).json()["is_tampered"] is True
    assert _client().get(f"{CERTIFICATES}verify/{uuid.uuid4()}/").status_code == 404


@pytest.mark.parametrize("migrated", [True, False], ids=["S3 fails", "the file is gone"])
def test_a_pdf_that_cannot_be_read_is_neither_tampered_nor_a_crash(
    *, migrated: bool, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outage of S3, after which the world believes that its certificates are forged."""
    from apps.tournaments.models import Certificate
    from django.utils import timezone

    from cutover.django import s3_copy
    from cutover.django.flags import Flags
    from cutover.django.s3_error import S3Error

    def fail() -> None:
        raise S3Error("down")

    monkeypatch.setattr(s3_copy, "shared_copy", fail)
    storage = Certificate.file_pdf.field.storage
    monkeypatch.setattr(storage, "flags", Flags(read_primary=migrated))
    issued = _issue()
    Certificate.objects.update(migrated_to_s3_at=timezone.now())
    (media / issued["file_pdf"]).unlink()
    for address in (f"verify/{issued['verification_code']}/", f"{issued['id']}/"):
        answer = _client("customer").get(CERTIFICATES + address)
        assert answer.status_code == 503
        assert answer.json() == {"detail": "The PDF cannot be read now, try again later."}


def test_verification_is_throttled_by_client() -> None:
    """Checks that pass in the rehearsal and are throttled on the real site."""
    address = f"{CERTIFICATES}verify/{_issue()['verification_code']}/"
    client = _client()
    assert [client.get(address).status_code for _ in range(101)] == [200] * 100 + [429]
    assert client.get(address, headers={"X-Forwarded-For": "10.0.0.9"}).status_code == 429, "a claim of the client"
    assert client.get(address, REMOTE_ADDR="10.0.0.9").status_code == 200
    assert _client("customer").get(address).status_code == 200


def test_a_machine_believes_the_load_balancer_alone_about_the_client() -> None:
    """A limit for each client that counts all customers as one, or one that a header of the client's lifts."""
    machine = (SITE / "deploy" / "nginx-machine.conf.in").read_text()
    assert re.findall(r"set_real_ip_from (.+);", machine) == [LOAD_BALANCER.address]
    assert "real_ip_header X-Forwarded-For;" in machine
    assert "X-Forwarded-For $remote_addr;" in (SITE / "deploy" / "nginx-load-balancer.conf.in").read_text()


def test_a_wrong_password_is_refused() -> None:
    """A sign-in that lets everybody in."""
    bodies: list[object] = [{"username": "probe", "password": "wrong"}, {"username": "probe"}, [], 1]
    for body in bodies:
        assert _client().post("/api/sign-in/", body, "application/json").status_code == 403


def test_slow_answers_are_bounded() -> None:
    """A slow request that outlives every graceful stop."""
    assert _client().post("/rehearsal/slow/?milliseconds=1").json() == {"milliseconds": 1}
    assert _client().get("/rehearsal/slow/?milliseconds=60000").status_code == 400
    assert _client().get("/healthz").content == b"ok\n"


def test_the_table_is_the_applications() -> None:
    """Tools that pass against defaults or indexes which the real table does not have."""
    from django.db import connection

    table = "tournament_engine_certificate_certificate"
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT column_name, data_type, is_nullable, column_default, character_maximum_length"
            " FROM information_schema.columns WHERE table_name = %s",
            [table],
        )
        columns = {name: rest for name, *rest in cursor.fetchall()}
        cursor.execute("SELECT indexdef FROM pg_indexes WHERE tablename = %s", [table])
        indexes = [row[0] for row in cursor.fetchall()]
    assert len(columns) == 17
    assert columns["id"][0] == "bigint"
    assert columns["file_pdf"] == columns["file_image"] == ["character varying", "YES", None, 100]
    assert columns["certificate_hash"] == ["character varying", "NO", None, 64]
    assert columns["migrated_to_s3_at"][:2] == ["timestamp with time zone", "YES"]
    assert [name for name, facts in columns.items() if facts[2] is not None] == []
    assert not any("migrated_to_s3_at" in index for index in indexes)
    assert any("UNIQUE" in index and "revoked_at IS NULL" in index for index in indexes)


def test_the_newest_postgresql_is_the_one_with_the_highest_number(tmp_path: Path) -> None:
    """Tests that run on a PostgreSQL of ten years ago, because 9 comes after 1."""
    for version in ("9.6", "15", "13"):
        (tmp_path / version / "bin").mkdir(parents=True)
    assert newest_postgresql(tmp_path) == tmp_path / "15" / "bin"


def test_seeding_without_passwords_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accounts with an empty password."""
    from django.core.management import CommandError, call_command

    monkeypatch.delenv("PROBE_PASSWORD")
    with pytest.raises(CommandError, match="PROBE_PASSWORD"):
        call_command("seed_rehearsal")


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ("console", r"INFO \d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} apps\.tournaments\.storage METRIC: a\.b=1\n"),
        ("json", r'\{"levelname": "INFO", "asctime": "[-0-9 :,]{23}", .*"message": "METRIC: a\.b=1", .*\}\n'),
    ],
)
def test_log_lines_have_the_applications_layouts(layout: str, expected: str) -> None:
    """A METRIC line that the parsers of the real log do not know."""
    import logging.config

    from django.conf import settings

    stream = io.StringIO()
    formatters = settings.LOGGING["formatters"]
    configurator = logging.config.DictConfigurator({"version": 1})
    handler = logging.StreamHandler(stream)
    handler.setFormatter(configurator.configure_formatter(dict(formatters[layout])))
    record = logging.LogRecord("apps.tournaments.storage", logging.INFO, __file__, 1, "METRIC: %s=1", ("a.b",), None)
    record.metric_name, record.value, record.tags = "a.b", 1, {}
    handler.emit(record)
    assert re.fullmatch(expected, stream.getvalue())
    if layout == "json":
        assert json.loads(stream.getvalue())["metric_name"] == "a.b"
