"""`cutover witnesses`: what local file, S3 and certificate_hash say of the rows that a step names."""

from __future__ import annotations

import hashlib
import io
import json
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from cutover import cli, step_measures
from cutover.accepted import Accepted
from cutover.catalogue import Catalogue
from cutover.consistency import confirm
from cutover.consistency.chosen_rows import Reading, compare
from tests.data_tools import s3_proxy
from tests.data_tools.certificate_site import IMAGE, PDF

if TYPE_CHECKING:
    from tests.data_tools.account import Account
    from tests.data_tools.certificate_site import Row, Site

FIRST = ("--minimum", "2", "--fraction", "0.5")


@pytest.fixture(autouse=True)
def nothing_settles(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits for rows that may still come."""
    monkeypatch.setattr(confirm, "SETTLE_SECONDS", 0)


def migrated(site: Site, count: int = 1, **columns: Any) -> list[Row]:
    """Certificates whose files are in S3 and whose rows say so."""
    rows = [site.add(PDF + bytes([number]), marked=True, **columns) for number in range(count)]
    site.store_files(*rows)
    return rows


def run(*arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error, in this process: the command's start costs half a second."""
    with redirect_stdout(io.StringIO()) as output, redirect_stderr(io.StringIO()) as errors:
        code = cli.main(["witnesses", *arguments])
    return code, output.getvalue(), errors.getvalue()


def ask(*arguments: str, code: int) -> dict[str, Any]:
    """The JSON document of a run that ends with this exit code."""
    ended, output, errors = run("--json", *arguments)
    assert ended == code, output + errors
    document: dict[str, Any] = json.loads(output)
    return document


def test_the_first_rows_are_the_larger_of_number_and_share(site: Site) -> None:
    """A gate that looks at other rows than the backfill of the sample migrated proves nothing of those."""
    rows = migrated(site, 5)
    last = site.add()
    by_number = ask("--minimum", "2", "--fraction", "0.01", code=0)
    assert (by_number["rows"], by_number["start_id"], by_number["end_id"]) == (2, rows[0].id, rows[1].id)
    by_share = ask("--minimum", "1", "--fraction", "0.5", code=0)
    assert (by_share["rows"], by_share["end_id"]) == (3, rows[2].id)
    assert (by_share["pending"], by_share["files"], by_share["agree"], by_share["measured"]) == (0, 6, 6, 6)
    assert by_share["different"] == []
    every = ask("--minimum", "0", "--fraction", "1", code=0)
    assert (every["rows"], every["pending"], every["files"], every["end_id"]) == (6, 1, 10, last.id)


def test_the_manifest_has_the_hash_of_each_file_that_agrees(site: Site) -> None:
    """What evidence says was in S3 must be what a later audit can compare."""
    (row,) = migrated(site)
    assert "manifest" not in ask(*FIRST, "--no-manifest", code=0)
    found = ask(*FIRST, code=0)
    assert found["manifest"] == {key: hashlib.sha256(site.path(key).read_bytes()).hexdigest() for key in row.keys}


@pytest.mark.parametrize(("asked", "downloaded"), [("0", 0), ("5", 5), ("all", 8), ("100", 8)])
def test_as_many_files_as_asked_for_are_read_in_full(
    site: Site, account: Account, monkeypatch: pytest.MonkeyPatch, asked: str, downloaded: int
) -> None:
    """ "Five of them by full download" that were five HEADs."""
    migrated(site, 4)
    site.add()  # not migrated: nothing of it can be downloaded
    with s3_proxy.running(account.aws) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint_url)
        found = ask("--minimum", "9", "--fraction", "0", "--full-downloads", asked, code=0)
        assert found["downloaded"] == downloaded == proxy.count("get")
    assert found["agree"] == 8


def test_the_same_seed_draws_the_same_marked_rows(site: Site) -> None:
    """A sample that nobody can draw again cannot be looked at again."""
    rows = migrated(site, 12)
    site.add()
    found = ask("--random", "4", "--seed", "7", code=0)
    assert (found["rows"], found["pending"], found["seed"]) == (4, 0, 7)
    assert ask("--random", "4", "--seed", "7", code=0)["manifest"] == found["manifest"]
    drawn = {frozenset(ask("--random", "4", "--seed", str(seed), code=0)["manifest"]) for seed in range(5)}
    assert len(drawn) > 1
    assert ask("--random", "99", code=0)["rows"] == len(rows)


def test_a_damaged_local_file_is_named(site: Site) -> None:
    """Damage that the backfill never saw, because it came after it."""
    row, _ = migrated(site, 2)
    site.path(row.keys[0]).write_bytes(b"damaged")
    site.path(row.keys[1]).write_bytes(b"damaged")
    found = ask(*FIRST, code=1)
    by_key = {entry["key"]: entry for entry in found["different"]}
    assert by_key[row.keys[0]]["disagrees"] == ["local"]
    assert by_key[row.keys[0]]["certificate_id"] == row.id
    assert by_key[row.keys[0]]["witnesses"]["local"] == hashlib.sha256(b"damaged").hexdigest()
    assert by_key[row.keys[1]]["disagrees"] == ["local", "s3"]  # nothing tells which copy of a PNG is right
    assert (found["files"], found["agree"], len(found["manifest"])) == (4, 2, 2)


def test_wrong_bytes_in_s3_are_named(site: Site) -> None:
    """A customer who gets another's certificate."""
    (row,) = migrated(site)
    site.store(row.keys[0], b"other bytes")
    (difference,) = ask("--certificate-id", str(row.id), code=1)["different"]
    assert (difference["key"], difference["disagrees"]) == (row.keys[0], ["s3"])


def test_bytes_that_are_not_those_of_the_checksum_are_found_by_a_full_download(
    site: Site, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3's own SHA-256 speaks of what was uploaded, a download of what customers get."""
    (row,) = migrated(site)
    with s3_proxy.running(account.aws) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint_url)
        proxy.script = lambda request: s3_proxy.Exchange.reply_damaged if request.operation == "get" else None
        ask(*FIRST, code=0)
        found = ask(*FIRST, "--full-downloads", "all", code=1)
    assert {entry["key"] for entry in found["different"]} == set(row.keys)


@pytest.mark.parametrize("local", [True, False])
def test_an_absent_object_of_a_marked_row_is_a_difference(site: Site, *, local: bool) -> None:
    """404 for a customer once reads are on S3; without a local PNG no witness but the mark speaks for it."""
    row, _ = migrated(site, 2)
    for key in row.keys:
        site.root.delete_object(Bucket=site.bucket, Key=key)
        if not local:
            site.path(key).unlink()
    found = ask(*FIRST, code=1)
    assert {entry["key"] for entry in found["different"]} == set(row.keys)
    assert all("s3" in entry["disagrees"] for entry in found["different"])


def test_what_is_not_migrated_yet_is_pending_and_no_difference(site: Site) -> None:
    """The backfill stopped before the sample's end: the files that are in S3 agree, and yet not all is done."""
    migrated(site)
    site.add()
    stored = site.add()
    site.store_files(stored)  # by dual-write, and the sweep has not been there
    found = ask("--minimum", "3", "--fraction", "0", code=0)
    assert (found["rows"], found["pending"], found["files"], found["agree"]) == (3, 2, 4, 4)
    site.store(stored.keys[0], b"other bytes")
    assert ask("--certificate-id", str(stored.id), code=1)["different"][0]["key"] == stored.keys[0]


def test_an_accepted_row_is_told_and_not_judged(site: Site) -> None:
    """A file that was lost in 2024, and accepted by name, would keep the step's gate shut for ever."""
    (row, _) = migrated(site, 2)
    lost = site.add()
    site.path(lost.keys[1]).write_bytes(b"damaged")
    site.store(lost.keys[1], IMAGE)
    with Catalogue(site.settings, read_only=True) as catalogue:
        (lost_row,) = catalogue.by_id([lost.id])
    Accepted(site.settings).add(lost_row, "PNG lost in 2024, owner told")
    found = ask("--minimum", "3", "--fraction", "0", code=0)
    assert (found["rows"], found["pending"], found["accepted"], found["files"]) == (3, 0, 1, 4)
    assert row.keys[0] in found["manifest"]


def test_a_certificate_that_is_removed_meanwhile_is_no_difference(site: Site) -> None:
    """Traffic that fails a gate: its object is gone because the certificate is."""
    rows = migrated(site, 2)
    with Catalogue(site.settings, read_only=True) as catalogue:
        chosen = catalogue.by_id([row.id for row in rows])
        site.execute("DELETE FROM {table} WHERE id = %s", rows[0].id)
        site.root.delete_object(Bucket=site.bucket, Key=rows[0].keys[0])
        found = compare(site.settings, catalogue, chosen, Reading(0, 1, 4), lambda *_: None)
    assert (found.different, len(found.manifest)) == ([], 3)


@pytest.mark.parametrize("rows", [0, 2])
def test_nothing_to_look_at_is_inconclusive(site: Site, rows: int) -> None:
    """0 files of 0 agree: the gate of a sample that was never migrated would open."""
    for _ in range(rows):
        site.add()
    found = ask(*FIRST, code=3)
    assert (found["rows"], found["pending"], found["files"], found["manifest"]) == (rows, rows, 0, {})
    assert ask("--random", "10", code=3)["rows"] == 0
    assert "nothing to look at" in run(*FIRST)[1]


def test_one_witness_proves_nothing(site: Site) -> None:
    """With no local copy and no checksum in S3, a PNG was compared with itself."""
    row = site.add(marked=True)
    site.store(row.keys[1], IMAGE, checksum=False)
    site.store(row.keys[0], PDF)
    site.path(row.keys[1]).unlink()
    found = ask(*FIRST, code=3)
    assert (found["files"], found["agree"], found["measured"], found["downloaded"]) == (2, 1, 1, 1)
    assert f"{row.keys[1]}: one witness only" in run(*FIRST)[1]


def test_files_without_a_local_copy_are_told_and_their_object_is_one_witness(site: Site) -> None:
    """Step 8 said that all local copies were still there after the last one had been deleted."""
    kept, bare = migrated(site, 2)
    for key in bare.keys:
        site.path(key).unlink()
    found = ask(*FIRST, "--full-downloads", "all", code=3)
    assert [each["key"] for each in found["without_local"]] == list(bare.keys)
    assert (found["files"], found["local"], found["unproven"]) == (4, 2, 1)
    assert set(found["manifest"]) == {*kept.keys, bare.keys[0]}  # S3's bytes and S3's own checksum of them are no two
    nothing = {"migrated": {"asked": 0, "from_s3": 0, "equal": 0}, "sign_ms": []}
    measured = step_measures.read_switch(nothing, nothing, [], found)
    assert measured["local_copies_present"] == (0.5, 4)
    assert f"2 have no local copy, the first is {bare.keys[0]}" in run(*FIRST)[1]


@pytest.mark.parametrize("broken", ["closed port", "no such bucket", "denied", "no database"])
def test_what_cannot_be_read_is_an_error(site: Site, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    """An outage of S3 must be told from files that are gone, and from files that agree."""
    migrated(site)
    changes = {
        "closed port": ("AWS_ENDPOINT_URL_S3", "https://127.0.0.1:1"),
        "no such bucket": ("AWS_STORAGE_BUCKET_NAME", "another-bucket-than-this"),
        "denied": ("AWS_SECRET_ACCESS_KEY", "wrong"),
        "no database": ("DATABASE_URL", "postgres://nobody@127.0.0.1:1/nothing"),
    }
    monkeypatch.setenv(*changes[broken])
    code, output, errors = run(*FIRST, "--json")
    assert (code, output) == (4, ""), errors
    assert len(errors.strip().splitlines()) == 1


def test_the_read_only_role_suffices(site: Site) -> None:
    """A measurement that needs the right to write can be suspected of having written."""
    migrated(site)
    assert ask(*FIRST, "--role-arn", site.roles.readonly, "--full-downloads", "all", code=0)["downloaded"] == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--minimum", "2"), "--minimum and --fraction go together"),
        (("--random", "2", "--fraction", "0.1"), "--minimum and --fraction go together"),
        (("--certificate-id", "77"), "certificate 77: no row of the table has this id"),
    ],
)
def test_wrong_usage_is_told(site: Site, arguments: tuple[str, ...], sentence: str) -> None:
    """A gate over other rows than were meant."""
    site.add()
    code, _, errors = run(*arguments)
    assert code == 2
    assert sentence in errors


def test_each_certificate_that_is_named_counts(site: Site) -> None:
    """Of an option that may be given again, the last alone would count: a gate over one row instead of two."""
    rows = migrated(site, 3)
    named = [argument for row in rows[:2] for argument in ("--certificate-id", str(row.id))]
    assert ask(*named, str(rows[2].id), code=0)["rows"] == 3


@pytest.mark.parametrize("share", ["1.1", "-0.1", "nan", "1/0", "ten"])
def test_a_share_is_from_0_to_1(share: str, capsys: pytest.CaptureFixture[str]) -> None:
    """10 for 10 %."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["witnesses", "--minimum", "1", f"--fraction={share}"])
    assert ended.value.code == 2
    assert "is no share from 0 to 1" in capsys.readouterr().err


def test_the_lines_for_people_name_what_disagrees(site: Site) -> None:
    """JSON at 3 a.m."""
    row, _ = migrated(site, 2)
    site.store(row.keys[0], b"other bytes")
    code, output, _ = run(*FIRST)
    assert code == 1
    assert f"2 certificates (id {row.id} to {row.id + 1}), 0 of them not marked" in output
    assert "4 files: 3 agree, 1 do not" in output
    assert f"{row.keys[0]}  (certificate {row.id})  in doubt: s3" in output


def test_what_was_issued_since_is_left_out(site: Site) -> None:
    """Traffic goes on during the full backfill, and its newest certificates are the sweep's next work."""
    (old,) = migrated(site)
    moment = datetime.now(UTC) - timedelta(minutes=1)
    site.execute("UPDATE {table} SET created_at = %s WHERE id = %s", moment - timedelta(days=1), old.id)
    site.add(created_at=datetime.now(UTC))
    every = ("--minimum", "1", "--fraction", "1")
    assert ask(*every, code=0)["pending"] == 1
    found = ask(*every, "--issued-before", moment.isoformat(), code=0)
    assert (found["rows"], found["pending"], found["end_id"]) == (1, 0, old.id)
    with pytest.raises(SystemExit):
        run(*every, "--issued-before", "2026-11-24T10:00:00")  # without a zone it could be any moment
    assert run("--random", "1", "--issued-before", moment.isoformat())[0] == 2
