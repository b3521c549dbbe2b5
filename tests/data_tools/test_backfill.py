"""`cutover backfill` as a process, on a real table, real files and a real S3 protocol server."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import pty
import re
import subprocess
import termios
import time
from typing import TYPE_CHECKING, Any

import pytest

from cutover import cli, control
from cutover.backfill import token
from cutover.backfill.session import LOCK
from cutover.catalogue import Catalogue, check_url
from cutover.doctor import database as doctor_database
from tests.data_tools.certificate_site import CUTOVER

if TYPE_CHECKING:
    from rehearsal.aws_stand_in import AwsStandIn
    from tests.data_tools.certificate_site import Site

HEADER = """=== Certificate S3 Backfill (DRY-RUN) ===
Start ID: 0
Limit: 100
Batch size: 2
Verify hash: True

[INFO] Found 3 certificates to migrate
"""


def document(process: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(process.stdout)
    return found


def start_id(text: str) -> int:
    return int(json.loads(base64.b64decode(text))["start_id"])


def causes(found: dict[str, Any]) -> dict[str, str]:
    return {error["key"]: error["cause"] for error in found["errors"]}


def test_both_files_are_stored_verified_and_marked(site: Site) -> None:
    """A mark without both objects would send customers to a 404."""
    rows = [site.add(), site.add(image=None), site.add(pdf=None), site.add(revoked=True), site.add(marked=True)]
    done = site.run("backfill", "--json", "--verify-hash")
    assert done.returncode == 0, done.stderr
    found = document(done)
    assert (found["found"], found["migrated"]) == (5, 4)
    assert (found["already_migrated"], found["objects_uploaded"], found["errors"]) == (1, 6, [])
    expected = {key: site.path(key).read_bytes() for row in rows[:4] for key in row.keys}
    assert site.objects() == expected
    assert found["bytes"] == sum(map(len, expected.values()))
    assert all(row.marked for row in site.rows())
    assert start_id(found["resume_token"]) == rows[3].id + 1


def test_objects_are_stored_as_the_application_stores_them(site: Site) -> None:
    """Another Content-Type would make browsers download what they showed before."""
    row = site.add()
    assert site.run("backfill").returncode == 0
    types = {}
    for key in row.keys:
        head = site.root.head_object(Bucket=site.bucket, Key=key, ChecksumMode="ENABLED")
        assert (head["CacheControl"], head["ContentDisposition"]) == ("private, max-age=600", "inline")
        assert head["ServerSideEncryption"] == "AES256"
        assert base64.b64decode(head["ChecksumSHA256"]).hex() == hashlib.sha256(site.path(key).read_bytes()).hexdigest()
        types[key] = head["ContentType"]
    assert types == dict(zip(row.keys, ("application/pdf", "image/png"), strict=True))


def test_second_run_stores_nothing_again(site: Site) -> None:
    """Idempotence: whoever is unsure runs it again."""
    site.add_many([(b"%PDF-1", b"png")] * 3)
    assert site.run("backfill").returncode == 0
    found = document(site.run("backfill", "--json"))
    assert (found["found"], found["migrated"], found["already_migrated"], found["objects_uploaded"]) == (3, 0, 3, 0)
    assert len(site.versions()) == 6


def test_dry_run_finds_what_the_real_run_finds_and_cannot_write(site: Site) -> None:
    """A dry run under a role that may write is one mistake away from a real one."""
    good, damaged, absent, other, unsafe = (site.add() for _ in range(5))
    site.path(damaged.keys[0]).write_bytes(b"%PDF-1.4 cut o")
    site.path(absent.keys[1]).unlink()
    site.store(other.keys[0], b"other bytes")
    site.execute("UPDATE {table} SET file_image = %s WHERE id = %s", "certificates/../../etc/passwd", unsafe.id)
    readonly = ("--role-arn", site.roles.readonly)
    planned = site.run("backfill", "--json", "--dry-run", *readonly)
    assert planned.returncode == 1
    found = document(planned)
    assert causes(found) == {
        damaged.keys[0]: "damaged_local",
        absent.keys[1]: "missing_local",
        other.keys[0]: "conflict",
        "certificates/../../etc/passwd": "unsafe_name",
    }
    assert (found["migrated"], found["objects_uploaded"]) == (1, 2)
    assert list(site.objects()) == [other.keys[0]]
    assert not any(row.marked for row in site.rows())
    denied = site.run("backfill", "--json", *readonly)
    assert denied.returncode == 1
    assert {"s3_denied"} == {e["cause"] for e in document(denied)["errors"] if e["certificate_id"] == good.id}
    real = site.run("backfill", "--json")
    assert causes(document(real)) == causes(found)
    assert [row.id for row in site.rows() if row.marked] == [good.id]


def test_dry_run_without_its_bucket_is_no_pass(site: Site, aws: AwsStandIn) -> None:
    """A HEAD in a bucket that is not there answers 404 as for an absent object: `Would migrate: 1, Errors: 0`."""
    site.add()
    root = {"AWS_ACCESS_KEY_ID": aws.access_key, "AWS_SECRET_ACCESS_KEY": aws.secret_key, "AWS_SESSION_TOKEN": ""}
    done = site.run("backfill", "--dry-run", environment={"AWS_STORAGE_BUCKET_NAME": "certificates-typo", **root})
    assert done.returncode == 4
    assert "certificates-typo" in done.stderr
    assert "NoSuchBucket" in done.stderr


def test_certificate_with_one_unusable_file_uploads_neither(site: Site) -> None:
    """A PDF without its PNG in the bucket is an object that no mark will ever own."""
    row = site.add()
    site.path(row.keys[1]).unlink()
    done = site.run("backfill", "--json")
    assert (done.returncode, site.objects()) == (1, {})
    assert not site.row(row.id).marked


@pytest.mark.parametrize("checksum", [True, False])
def test_equal_object_is_marked_and_kept(site: Site, checksum: bool) -> None:
    """Objects of rows issued under dual-write are met every day; some were stored without a SHA-256."""
    row = site.add()
    for key in row.keys:
        site.store(key, site.path(key).read_bytes(), checksum=checksum)
    found = document(site.run("backfill", "--json"))
    assert (found["migrated"], found["objects_uploaded"], found["objects_already_equal"]) == (1, 0, 2)
    assert site.row(row.id).marked
    assert len(site.versions()) == 2


def test_different_object_is_a_conflict_until_repair(site: Site) -> None:
    """Overwritten blindly, the only good copy could be the one that goes."""
    row = site.add()
    site.store(row.keys[0], b"other bytes")
    refused = site.run("backfill", "--json")
    assert (refused.returncode, causes(document(refused))) == (1, {row.keys[0]: "conflict"})
    assert site.objects()[row.keys[0]] == b"other bytes"
    assert not site.row(row.id).marked
    assert site.run("backfill", "--certificate-id", str(row.id), "--repair").returncode == 0
    assert site.objects()[row.keys[0]] == site.path(row.keys[0]).read_bytes()
    assert len([version for version in site.versions() if version.key == row.keys[0]]) == 2


@pytest.mark.parametrize(
    "name",
    [
        "certificates/pdf/a b.pdf",
        "certificates/pdf/ümläut-ñ-漢.pdf",
        "certificates/pdf/e\u0301.pdf",
        "certificates/pdf/~#%20+&=?*[x]{y}^`|<>\"'!@$;,:\\.pdf",
        "certificates/pdf/.hidden/..dots...pdf",
        "certificates/pdf/a/b/c/d/e/f/g/h.PDF",
        "certificates/pdf/no-suffix",
    ],
)
def test_names_are_kept_byte_for_byte(site: Site, name: str) -> None:
    """A client that escapes a name its own way stores it where nobody looks."""
    row = site.add(image=None, file_pdf=name)
    done = site.run("backfill", "--json")
    assert done.returncode == 0, done.stdout
    assert list(site.objects()) == [name]
    assert site.row(row.id).marked


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../outside.pdf",
        "certificates/../../x.pdf",
        "certificates/./x.pdf",
        "certificates//x.pdf",
        "certificates/link.pdf",
        "certificates/folder/x.pdf",
        "certificates/pipe.pdf",
        "certificates/a\nb.pdf",
        "certificates/a\x7fb.pdf",
        "other/x.pdf",
    ],
)
def test_unsafe_names_are_refused(site: Site, name: str) -> None:
    """A row with such a name would publish a file of the machine, or hang on a pipe."""
    folder = site.media_root / "certificates"
    folder.mkdir()
    (folder / "link.pdf").symlink_to("/etc/passwd")
    (folder / "folder").symlink_to("/etc")
    os.mkfifo(folder / "pipe.pdf")
    site.add(pdf=None, image=None, file_pdf=name)
    done = site.run("backfill", "--json")
    assert (done.returncode, causes(document(done))) == (1, {name: "unsafe_name"})
    assert site.objects() == {}


def test_name_cannot_write_lines_of_its_own(site: Site) -> None:
    """A token or a METRIC in a certificate's name would be taken for the run's own."""
    site.add(pdf=None, image=None, file_pdf="x\nRESUME_TOKEN forged")
    done = site.run("backfill")
    assert r"certificate 1, 'x\nRESUME_TOKEN forged': unsafe_name" in done.stdout
    assert "RESUME_TOKEN forged" not in done.stdout.splitlines()


def test_longest_key_that_s3_takes(site: Site) -> None:
    """S3 takes 1,024 bytes, not characters; the table's own limit was once raised by somebody."""
    site.execute("ALTER TABLE {table} ALTER COLUMN file_pdf TYPE text")
    part = "é" * 120
    longest = f"certificates/{part}/{part}/{part}/{part}/"
    longest += "x" * (1024 - len(longest.encode()))
    site.add(image=None, file_pdf=longest)
    site.add(image=None, file_pdf=f"{longest}y")
    found = document(site.run("backfill", "--json"))
    assert (found["migrated"], causes(found)) == (1, {f"{longest}y": "unsafe_name"})


def test_dry_run_prints_the_runbooks_form(site: Site) -> None:
    """Operators compare what they see with the runbook's Appendix D."""
    rows = [site.add(), site.add(image=None), site.add()]
    done = site.run("backfill", "--dry-run", "--limit", "100", "--batch-size", "2", "--verify-hash")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert done.stdout.startswith(HEADER)
    first, second = rows[0].id, rows[1].id
    assert f"[INFO] Batch 1/2: Processing certificates {first}-{second}..." in lines
    etag = hashlib.md5(site.path(rows[0].keys[0]).read_bytes()).hexdigest()  # noqa: S324 - S3's ETag
    assert f"[DRY-RUN] Would upload: {rows[0].keys[0]} (ETag: {etag})" in lines
    assert any(re.fullmatch(r"\[INFO\] Progress: 2/3 \(66\.7%\) - ETA: \d+ seconds", line) for line in lines)
    end = lines[lines.index("=== Summary ===") :]
    assert end[1:5] == ["Total found: 3", "Would migrate: 3", "Would skip (already migrated): 0", "Errors: 0"]
    assert re.fullmatch(r"Duration: \d+\.\d seconds", end[5])
    encoded = base64.b64encode(json.dumps({"start_id": rows[2].id + 1}).encode()).decode()
    assert end[-2:] == [f"Resume token: {encoded}", f"RESUME_TOKEN {encoded}"]
    assert "\x1b" not in done.stdout + done.stderr


def test_limit_and_token_go_on_where_the_last_run_ended(site: Site) -> None:
    """A row that fails must not block every later batch, nor be lost to the one who resumes."""
    rows = [site.add() for _ in range(6)]
    site.path(rows[1].keys[0]).unlink()
    first = document(site.run("backfill", "--json", "--limit", "3", "--batch-size", "2"))
    assert (first["migrated"], first["found"], start_id(first["resume_token"])) == (2, 3, rows[2].id + 1)
    log = f"RESUME_TOKEN {first['resume_token']}"
    second = document(site.run("backfill", "--json", "--limit", "2", "--resume-token", *log.split()))
    assert (second["migrated"], start_id(second["resume_token"])) == (2, rows[4].id + 1)
    third = document(site.run("backfill", "--json", "--resume-token", f"{rows[4].id + 1}:2026-11-24T10:00:00"))
    assert (third["migrated"], [row.marked for row in site.rows()]) == (1, [True, False, True, True, True, True])


def test_migrated_ones_are_counted_with_a_limit_as_without(site: Site) -> None:
    """`Skipped (already migrated): 0` after a night's run reads as if nothing had been done."""
    rows = [site.add(marked=True), site.add(marked=True), site.add(), site.add(marked=True)]
    first = document(site.run("backfill", "--json", "--limit", "1"))
    assert (first["found"], first["migrated"], first["already_migrated"]) == (3, 1, 2)
    again = document(site.run("backfill", "--json", "--limit", "100"))
    assert (again["found"], again["migrated"], again["already_migrated"]) == (4, 0, 4)
    site.execute("UPDATE {table} SET migrated_to_s3_at = NULL WHERE id = %s", rows[2].id)
    site.path(rows[2].keys[1]).unlink()
    failed = document(site.run("backfill", "--json", "--limit", "1"))
    assert (failed["found"], failed["already_migrated"], len(failed["errors"])) == (3, 2, 1)


@pytest.mark.parametrize(
    "words",
    [
        ["RESUME_TOKEN", "eyJzdGFydF9pZCI6IDUwMDB9"],
        ["RESUME_TOKEN eyJzdGFydF9pZCI6IDUwMDB9\n"],
        ["RESUME_TOKEN", "eyJzdGFydF9pZCI6IDYwMDB9", "RESUME_TOKEN", "eyJzdGFydF9pZCI6IDUwMDB9"],
        ["5000:1764000000.25"],
        ["5000:2026-11-24T10:00:00+06:00"],
        ["5000:2026-11-24 10:00:00.123456+00:00"],
        ["5000:2026-11-24", "10:00:00"],
    ],
)
def test_token_forms(words: list[str]) -> None:
    """An hour that is taken for an id goes over half the table again."""
    assert token.decode(words) == 5000


def test_rate_holds_for_fewer_rows_than_a_batch(site: Site) -> None:
    """Ten certificates a second were asked for, because S3 throttles, and two hundred come at once."""
    site.add_many([(b"%PDF-1", None)] * 6)
    found = document(site.run("backfill", "--json", "--max-rate", "2"))
    assert (found["migrated"], found["errors"]) == (6, [])
    assert found["duration_s"] >= 2  # at 0, 1 and 2 s


def test_flag_turned_off_ends_a_paused_run(site: Site) -> None:
    """Scenario 3 turns the flag off while the run is paused; resumed, it stores one batch more."""
    site.add_many([(b"%PDF-1", None)] * 60)
    file = site.environment_file()
    with site.start("backfill", "--env-file", str(file), "--max-rate", "2") as process:
        assert process.stdout is not None
        assert any(line.startswith("BACKFILL") for line in process.stdout)
        assert site.run("pause").returncode == 0
        deadline = time.monotonic() + 20
        while (run := control.running(site.settings, "backfill")) and run.phase != "paused":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        stored = len(site.keys())
        assert stored == sum(row.marked for row in site.rows())  # what was stored before the pause is marked in it
        site.environment_file(CERT_S3_BACKFILL_ENABLED="false")
        output = process.communicate(timeout=10)[0]
    assert process.returncode == 2
    assert "flag was turned off" in output
    assert len(site.keys()) == stored < 60


def test_empty_token_starts_anew(site: Site) -> None:
    """The runbook's `tail -1` of several logs gives nothing; what is left must be migrated all the same."""
    site.add(marked=True)
    site.add()
    done = site.run("backfill", "--json", "--resume-token")
    assert (done.returncode, document(done)["migrated"]) == (0, 1)
    assert "--resume-token without a token" in done.stderr


def test_selection_by_tournament_id_and_key(site: Site) -> None:
    """The runbook's resolution of a hash mismatch concerns one tournament's certificates only."""
    mine, other, third = site.add(tournament_id=7), site.add(), site.add()
    assert document(site.run("backfill", "--json", "--tournament-id", "7"))["migrated"] == 1
    assert document(site.run("backfill", "--json", "--key", other.keys[1]))["migrated"] == 1
    assert [site.row(row.id).marked for row in (mine, other, third)] == [True, True, False]
    unknown = site.run("backfill", "--certificate-id", "99999999")
    assert unknown.returncode == 2
    assert "certificate 99999999: no row of the table has it" in unknown.stderr


def test_flag_off_uploads_nothing(site: Site) -> None:
    """The kill switch: by the environment, and by the file that is read before every batch."""
    site.add()
    off = site.run("backfill", environment={"CERT_S3_BACKFILL_ENABLED": "yes"})
    assert (off.returncode, site.objects()) == (2, {})
    assert "CERT_S3_BACKFILL_ENABLED is not `true`" in off.stderr
    file = site.environment_file(CERT_S3_BACKFILL_ENABLED="false")
    assert site.run("backfill", "--env-file", str(file)).returncode == 2
    assert site.run("backfill", "--env-file", str(file), "--dry-run").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--limit", "0"), "must be 1 or more"),
        (("--start-id", "-1"), "is no whole number"),
        (("--start-id", "9223372036854775808"), "is no whole number"),
        (("--max-rate", "nan"), "is no number of certificates a second"),
        (("--resume-token", "nonsense"), "is no token"),
        (("--start-id", "5", "--resume-token", token.encode(9)), "each say where to begin: leave one out"),
        (("--resume-token", "eyJzdGFydF9pZCI6IC0xfQ=="), "is no token"),
        (("--resume-token", "9999999999999999999:2026-11-24T10:00:00"), "is no token"),
        (("--key", "\udcff.pdf"), "is no UTF-8"),
        (("--resume-token", "RESUME_TOKEN"), "there is no token"),
        (("--env-file", "/nowhere.env"), "cannot be read"),
    ],
)
def test_bad_input_is_one_sentence(site: Site, arguments: tuple[str, ...], says: str) -> None:
    """Nothing half done, and what to do said."""
    done = site.run("backfill", *arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert site.objects() == {}


def test_database_that_is_away_is_said_without_its_password(site: Site) -> None:
    """A sentence in a log must not open the database to whoever reads it."""
    away = site.run("backfill", environment={"DATABASE_URL": "postgres://user:geheim@127.0.0.1:1/certificates"})
    assert away.returncode == 4
    assert "the database could not connect" in away.stderr
    assert "geheim" not in away.stderr + away.stdout


@pytest.mark.parametrize(
    "url",
    [
        "mysql://user:geheim@db/certificates",
        "postgres://user:ge@heim@127.0.0.1:1/certificates",
        "postgres://user:ge#heim@127.0.0.1:1/certificates",
        "postgres://user:ge/heim@127.0.0.1:1/certificates",
        "postgres://user:ge?heim@127.0.0.1:1/certificates",
        "postgres://user:geheim/certificates",
        "postgres://user:ge%heim@127.0.0.1:1/certificates",
        "host=127.0.0.1 port=geheim",
    ],
)
def test_an_address_that_libpq_takes_apart_elsewhere_shows_no_password(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    """What follows an unescaped `@` is a host for libpq, and half of the password stands in its message."""
    monkeypatch.setenv("DATABASE_URL", url)
    assert cli.main(["backfill"]) == 2
    output, errors = capsys.readouterr()
    assert errors.startswith(
        "cutover: DATABASE_URL is no PostgreSQL URL: write postgres://user:password@host:port/name"
    )
    assert "percent-encoded" in errors
    found = doctor_database.examine(site.settings)
    assert (found.outcome, errors.count("\n")) == ("FAIL", 1)
    for text in (output, errors, str(found)):
        assert "heim" not in text


@pytest.mark.parametrize(
    "url",
    [
        "postgres://user:ge%40%23%2F%3Fheim@db:5432/certificates?sslmode=require",
        "postgresql://user@%2Frun%2Fpostgresql/certificates",
        "postgres:///certificates?host=/run/postgresql",
        "postgres://user:ge:heim@[::1]:5432/certificates",
        "postgres://user@one:5432,two:5433/certificates?target_session_attrs=read-write",
        "host=db dbname=certificates",
    ],
)
def test_addresses_of_all_forms_are_taken(url: str) -> None:
    """A rule that is too strict stops a site that has worked so far."""
    check_url(url)


def test_second_backfill_says_why_it_does_nothing_and_keeps_the_token(site: Site) -> None:
    """A summary of nothing, with a token of id 0, is taken for a table without certificates, and for the last token."""
    site.add()
    given = token.encode(1)
    with Catalogue(site.settings, read_only=False) as first:
        assert first.lock(LOCK)
        refused = site.run("backfill", "--resume-token", given)
        assert (refused.returncode, refused.stdout) == (5, f"RESUME_TOKEN {given}\n")
        assert refused.stderr.startswith("cutover: another backfill runs on this database")
        assert site.run("backfill").stdout == ""
        assert document(site.run("backfill", "--json"))["stopped"] == "lock"


def test_dry_run_names_the_file_that_a_real_run_stores_before_a_conflict(site: Site) -> None:
    """A dry run that promises nothing, and a run that then stores an object, have not told the same."""
    row = site.add()
    pdf, image = row.keys
    site.store(image, b"other bytes")
    looked = site.run("backfill", "--dry-run")
    assert f"[DRY-RUN] Would upload: {pdf} (" in looked.stdout
    assert f"Would upload: {image}" not in looked.stdout
    planned, done = (document(site.run("backfill", "--json", *how)) for how in (["--dry-run"], []))
    for found in (planned, done):
        assert (found["migrated"], found["objects_uploaded"], causes(found)) == (0, 1, {image: "conflict"})
    assert site.objects() == {pdf: site.path(pdf).read_bytes(), image: b"other bytes"}


def test_accepted_certificates_are_passed_by_until_they_are_named(site: Site) -> None:
    """A row that was accepted by name would otherwise fail every run for ever."""
    accepted, _, changed = site.add(), site.add(), site.add()
    for row in (accepted, changed):
        site.path(row.keys[1]).unlink()
        named = ("--certificate-id", str(row.id))
        assert site.run("accept", *named, "--reason", "lost").returncode == 0
    site.execute("UPDATE {table} SET file_image = NULL WHERE id = %s", changed.id)  # which nobody has accepted
    looked = site.run("backfill", "--dry-run")
    assert (looked.returncode, "1 accepted, not migrated" in looked.stdout.splitlines()) == (0, True)
    assert "[ERROR]" not in looked.stdout
    done = site.run("backfill", "--json")
    found = document(done)
    assert (done.returncode, found["found"], found["migrated"], found["errors"]) == (0, 2, 2, [])
    assert [row.id for row in site.rows() if not row.marked] == [accepted.id]
    assert site.run("backfill", "--certificate-id", str(accepted.id)).returncode == 1


def test_on_a_narrow_terminal_no_line_is_torn(site: Site) -> None:
    """A token that is wrapped at the terminal's width is copied in halves, and grep finds none of it."""
    row = site.add(pdf=None, file_pdf=f"certificates/pdf/{'x' * 60}.pdf")
    site.add()
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 40))
    environment = {"PATH": os.environ["PATH"], "HOME": str(site.home), "TERM": "xterm", **site.environment}
    with subprocess.Popen([CUTOVER, "backfill"], env=environment, stdin=theirs, stdout=theirs, stderr=theirs):
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # EIO: the last one who could write has left
            while read := os.read(ours, 65536):
                shown += read
    os.close(ours)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert re.search(rf"\[ERROR\] certificate {row.id}, {row.file_pdf}: missing_local: there is no such file: ", text)
    assert re.search(r"BACKFILL batch 1/1 ids \d+-\d+ migrated 1 failed 1 RESUME_TOKEN [A-Za-z0-9+/]+=*\r", text), text
