"""`cutover check` against a real table and a real bucket, in each state that either can be in."""

from __future__ import annotations

import datetime
import errno
import io
import json
import time
import unicodedata
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any

import pytest

from cutover import cli, local_files, plan, step_measures
from cutover.accepted import Accepted
from cutover.catalogue import Catalogue
from cutover.consistency import check as check_module
from cutover.consistency import confirm
from cutover.consistency.confirm import Confirmation
from cutover.consistency.suspects import Kind, Suspect, Suspects
from tests.data_tools import s3_proxy
from tests.data_tools.certificate_site import AGE, PDF
from tests.data_tools.s3_proxy import Exchange

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cutover.catalogue import CatalogueKey
    from cutover.object_store import ListedObject
    from tests.data_tools.account import Account
    from tests.data_tools.certificate_site import Row, Site

NAMES = (
    "certificates/pdf/2026/11/with space.pdf",
    "certificates/pdf/2026/11/" + unicodedata.normalize("NFC", "Müller é.pdf"),
    "certificates/pdf/2026/11/" + unicodedata.normalize("NFD", "Müller é.pdf"),
    "certificates/pdf/~#%+*[]&=;@$,'\"().pdf",
    "certificates/pdf/100%25 %2F.pdf",
    "certificates/pdf-archive/before the slash.pdf",
    "certificates/pdf/a/b/c/d/e/f/g/h/i/j/deep.pdf",
    "certificates/pdf/\U0001d11e beyond the plane.pdf",
    "certificates/pdf/\uffee last of the plane.pdf",
)
NOW = datetime.datetime.now(tz=datetime.UTC)


def migrated(site: Site, count: int = 1, **columns: Any) -> list[Row]:
    """Certificates whose files are in S3 and whose rows say so."""
    rows = [site.add(PDF + bytes([number]), marked=True, **columns) for number in range(count)]
    site.store_files(*rows)
    return rows


@pytest.fixture(autouse=True)
def nothing_settles(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test but its own waits for rows that may still come."""
    monkeypatch.setattr(confirm, "SETTLE_SECONDS", 0)


def run(*arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command, in this process: its start costs half a second."""
    with redirect_stdout(io.StringIO()) as output, redirect_stderr(io.StringIO()) as errors:
        code = cli.main(arguments)
    return code, output.getvalue(), errors.getvalue()


def check(*arguments: str, code: int, command: str = "check") -> dict[str, Any]:
    """The JSON document of a check that ends with this exit code; what it prints on stderr is beside it."""
    ended, output, errors = run(command, "--json", *arguments)
    assert ended == code, errors
    document: dict[str, Any] = json.loads(output)
    return document | {"stderr": errors}


def test_what_agrees_passes_whatever_it_is_called(site: Site) -> None:
    """A name that one side decodes, normalises or sorts in its own way would be missing and orphaned at once."""
    rows = [site.add(PDF + name.encode(), file_pdf=name, marked=True) for name in NAMES]
    rows += [site.add(None, marked=True), site.add(image=None, marked=True), site.add(marked=True, revoked=True)]
    site.store_files(*rows)
    code, output, _ = run("check", "--sample", "100%")
    assert code == 0, output
    files = sum(len(row.keys) for row in rows)
    assert f"DB count: {files}, S3 count: {files}" in output
    assert f"{files} files compared by SHA-256" in output
    assert "METRIC: cert.consistency.success=1\n" in output
    assert '"metric_name": "cert.consistency.mismatch_ratio", "value": 0.0' in output


def test_every_disagreement_is_named(site: Site) -> None:
    """A count sees none of it: what is lost here is as much as what is too much."""
    good, lost, wrong, cut, empty = migrated(site, 5)
    site.root.delete_object(Bucket=site.bucket, Key=lost.keys[1])
    site.store(wrong.keys[0], bytes(len(PDF) + 1))
    site.store(cut.keys[1], b"half")
    site.store(empty.keys[0], b"")
    site.path(empty.keys[0]).unlink()
    forgotten = site.add(revoked=True)  # older than the sweep's grace, and nobody marked it
    site.store_files(forgotten)
    site.store("certificates/pdf/nobody.pdf", b"orphan")
    site.store("cutover-probe/web1/20000", b"no certificate")
    site.add(created_at=NOW - AGE * 30)  # not migrated yet: no mismatch
    found = check("--sample", "100%", code=1)
    assert found["verdict"] == "FAIL"
    assert found["missing"] == found["marked_absent"] == [lost.keys[1]]
    assert found["orphaned"] == ["certificates/pdf/nobody.pdf"]
    assert sorted(found["unmarked_present"]) == sorted(forgotten.keys)
    different = {entry["key"]: entry for entry in found["different"]}
    assert set(different) == {wrong.keys[0], cut.keys[1], empty.keys[0]}
    assert different[wrong.keys[0]]["disagrees"] == ["s3"]
    assert different[cut.keys[1]]["witnesses"]["s3_bytes"] == len(b"half")
    assert different[empty.keys[0]]["witnesses"]["local_bytes"] is None
    assert (found["rows"], found["objects"]) == (7, 12)
    assert (found["db_count"], found["s3_count"]) == (10, 12)
    assert good.keys[0] not in str(found)


def test_equal_counts_are_not_consistency(site: Site) -> None:
    """The runbook's own check, DB count == S3 count, passes here while a customer's certificate is lost."""
    (row,) = migrated(site)
    site.root.delete_object(Bucket=site.bucket, Key=row.keys[0])
    site.store("certificates/pdf/nobody.pdf", PDF)
    found = check(code=1)
    assert found["db_count"] == found["s3_count"]
    assert (len(found["missing"]), len(found["orphaned"])) == (1, 1)


def test_traffic_is_no_mismatch(site: Site) -> None:
    """A certificate issued a minute ago is not marked yet; paging for it would page every day."""
    migrated(site)
    site.store_files(site.add(created_at=NOW))
    found = check(code=0)
    assert found["verdict"] == "PASS"
    assert found["db_count"] == found["s3_count"] == 2
    assert found["objects"] == 4


@pytest.mark.parametrize("pending", [0, 3])
def test_nothing_equals_nothing_proves_nothing(site: Site, pending: int) -> None:
    """With a wrong bucket or prefix, 0 = 0 would open the gate of step 5."""
    for _ in range(pending):
        site.add()
    found = check(code=3)
    assert (found["verdict"], found["rows"], found["sampled"]) == ("INCONCLUSIVE", pending, 0)
    assert "cert.consistency.success" not in found["stderr"]
    # It ran: the alarm that misses checks must not fire until the first certificate is migrated.
    assert '"metric_name": "cert.consistency.mismatch_ratio", "value": 0.0' in found["stderr"]


def test_files_with_a_single_witness_prove_nothing(site: Site) -> None:
    """With the local copies gone and no checksum in S3, a PNG that was hashed was compared with nothing."""
    row = site.add(None, marked=True)
    site.store(row.keys[0], site.path(row.keys[0]).read_bytes(), checksum=False)
    site.path(row.keys[0]).unlink()
    assert check(code=3)["sampled"] == 0
    assert check("--sample", "0", code=0)["sampled"] == 0


def test_keys_alone_are_compared_without_a_sample(site: Site) -> None:
    """--sample 0 must not pass for a look into the files."""
    (row,) = migrated(site)
    site.store(row.keys[0], bytes(len(PDF) + 1))
    code, output, _ = run("check", "--sample", "0")
    assert code == 0
    assert "no file was hashed" in output
    assert check("--sample", "2", code=1)["sampled"] == 2


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DATABASE_URL", "postgres://application:not-the-password@127.0.0.1:1/none"),
        ("AWS_STORAGE_BUCKET_NAME", "another-bucket-than-this"),
    ],
)
def test_what_cannot_be_read_is_an_error(
    site: Site, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    """An unreachable S3 has no objects and an unreachable table no rows: neither is a verdict."""
    migrated(site)
    monkeypatch.setenv(variable, value)
    found = check(code=4)
    assert found["verdict"] == "ERROR"
    assert found["missing"] is None
    assert "METRIC: cert.consistency.fail=1" in found["stderr"]
    assert "not-the-password" not in found["stderr"]


def test_an_inventory_that_is_absent_is_no_measurement(site: Site) -> None:
    """A mistyped path would ring the alarm of an inconsistent bucket."""
    migrated(site)
    code, output, errors = run("check", "--inventory", "/nowhere/manifest.json")
    assert (code, output) == (2, "")
    assert errors.startswith("cutover: --inventory /nowhere/manifest.json: there is no such file")


@pytest.mark.parametrize("buffered", ["", "1"])
def test_a_reader_who_leaves_does_not_change_the_verdict(site: Site, buffered: str) -> None:
    """`cutover check | head -1` of a PASS would be a FAIL to a script with pipefail."""
    migrated(site)
    process = site.start("check", environment={"PYTHONUNBUFFERED": buffered})
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(60) == 0
    process.communicate()


def test_many_mismatches_call_for_the_rollback(site: Site) -> None:
    """At three in the morning the report itself must say which command comes next."""
    for row in migrated(site, 15):
        site.root.delete_object(Bucket=site.bucket, Key=row.keys[0])
        site.root.delete_object(Bucket=site.bucket, Key=row.keys[1])
    code, output, _ = run("check")
    assert code == 1
    assert "100.0% OF ALL KEYS DISAGREE" in output
    assert "ansible-playbook emergency-rollback.yml -e scenario=inconsistency" in output
    assert "30 missing" in output
    assert "and 10 more" in output
    assert "METRIC: cert.consistency.issues=30" in output


def test_an_audit_says_which_witness_is_wrong(site: Site) -> None:
    """Re-uploading a damaged local file over a good object would destroy the only good copy."""
    local, stored, issued, image, server = migrated(site, 5)
    site.path(local.keys[0]).write_bytes(bytes(len(PDF) + 1))
    site.store(stored.keys[0], bytes(len(PDF) + 1), checksum=False)
    site.execute("UPDATE {table} SET certificate_hash = %s WHERE id = %s", "0" * 64, issued.id)
    site.store(image.keys[1], bytes(len(site.path(image.keys[1]).read_bytes())))
    found = check(code=1, command="audit")
    assert found["sampled"] == 10
    assert {entry["key"]: entry["disagrees"] for entry in found["different"]} == {
        local.keys[0]: ["local"],
        stored.keys[0]: ["s3"],
        issued.keys[0]: ["certificate_hash"],
        image.keys[1]: ["local", "s3"],
    }
    assert server.keys[0] not in str(found)


def test_an_accepted_row_is_listed_and_not_counted(site: Site) -> None:
    """One lost PNG, known and accepted, must not hide what is lost tomorrow, nor hold up the cutover for ever."""
    migrated(site)
    (known,) = migrated(site)
    site.root.delete_object(Bucket=site.bucket, Key=known.keys[1])
    assert run("accept", "--certificate-id", str(known.id), "--reason", "lost in 2024", "--force")[0] == 0
    found = check(code=0)
    assert [(one["certificate_id"], one["reason"]) for one in found["accepted"]] == [(known.id, "lost in 2024")]
    assert found["db_count"] == found["s3_count"] == 3
    site.execute("UPDATE {table} SET file_image = %s WHERE id = %s", "certificates/images/new.png", known.id)
    assert check(code=1)["missing"] == ["certificates/images/new.png"]


def test_a_name_that_two_rows_own_is_named(site: Site) -> None:
    """One of the two customers gets the other one's certificate; a merge that trips over it says nothing at all."""
    (first,) = migrated(site)
    second = site.add(image=None, marked=True, file_pdf=first.file_pdf)
    found = check("--sample", "0", code=1)
    assert [(entry["key"], entry["witnesses"]["certificate_ids"]) for entry in found["different"]] == [
        (first.file_pdf, [first.id, second.id])
    ]
    assert found["db_count"] == found["s3_count"] == 2


def test_a_file_that_is_no_file_is_not_followed(site: Site) -> None:
    """A link in the media folder leads to a file that has nothing to do with the certificate."""
    (row,) = migrated(site)
    path = site.path(row.keys[0])
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))
    (entry,) = check(code=1)["different"]
    assert entry["witnesses"]["local"] == "unsafe name"


def test_a_file_that_may_not_be_read_is_no_verdict(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run as a user who may not read the files, each of them disagrees, and the report calls for a rollback."""
    migrated(site)

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "cert.pdf")

    monkeypatch.setattr(local_files, "sha256", refuse)
    found = check(code=4)
    assert found["verdict"] == "ERROR"
    assert f"{site.media_root}/certificates/" in found["stderr"]
    assert "cannot be read (Permission denied)" in found["stderr"]


def test_a_download_that_breaks_off_is_begun_again(
    site: Site, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After hours an audit of all objects says nothing, because one connection broke."""
    (row,) = migrated(site)
    with s3_proxy.running(account.aws) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint_url)
        proxy.script = lambda request: Exchange.reply_cut if request.operation == "get" and request.number < 3 else None
        assert check(code=0, command="audit")["sampled"] == 2
        assert proxy.count("get", row.keys[0]) == 3
        proxy.script = lambda request: Exchange.reply_cut if request.operation == "get" else None
        assert check(code=4, command="audit")["verdict"] == "ERROR"


def test_bytes_that_rotted_in_s3_are_named_and_stop_nobody(
    site: Site, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client refuses a body that is not what S3 recorded: that is a finding on one key, not an outage."""
    rotten, good = migrated(site, 2)

    with s3_proxy.running(account.aws) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint_url)
        damaged = ("get", rotten.keys[1])
        proxy.script = lambda request: Exchange.reply_damaged if (request.operation, request.key) == damaged else None
        found = check(code=1, command="audit")
    assert [(each["key"], each["disagrees"]) for each in found["different"]] == [(rotten.keys[1], ["s3"])]
    assert good.keys[0] not in str(found["different"])


def test_a_folder_made_in_the_console_is_no_object(site: Site) -> None:
    """It is an empty object whose name ends in a slash: somebody clicked, and nobody's certificate is concerned."""
    (row,) = migrated(site)
    folder = row.keys[0].rpartition("/")[0]
    site.store(f"{folder}-archive/x.pdf", PDF)
    site.store(f"{folder}/", b"")
    found = check("--sample", "0", code=1)
    assert found["orphaned"] == [f"{folder}-archive/x.pdf"]


def test_the_read_only_role_suffices(site: Site) -> None:
    """Whoever looks must not need the right to write; and the table must refuse it even by mistake."""
    migrated(site)
    assert check("--role-arn", site.roles.readonly, code=0)["sampled"] == 2
    assert check("--role-arn", site.roles.readonly, code=0, command="audit")["sampled"] == 2


def test_a_sample_that_is_none_is_refused(site: Site) -> None:
    """A typing error must not end as a check that hashed nothing and passed."""
    assert migrated(site)
    for sample in ("101%", "-1", "many", "%", "nan%"):
        assert run("check", f"--sample={sample}")[0] == 2


def test_what_traffic_explains_is_no_finding(site: Site) -> None:
    """While the bucket is listed, certificates are issued, marked and deleted: each would page somebody."""
    marked, renamed = migrated(site, 2)
    young, old = site.add(), site.add()
    site.execute("UPDATE {table} SET file_pdf = %s WHERE id = %s", "certificates/pdf/new.pdf", renamed.id)
    suspects = [
        Suspect(Kind.UNMARKED_PRESENT, marked.keys[0], marked.id),  # marked since
        Suspect(Kind.MISSING, young.keys[0], young.id),  # unmarked since
        Suspect(Kind.MISSING, renamed.keys[0], renamed.id),  # has another file since
        Suspect(Kind.DIFFERENT, "certificates/pdf/none.pdf", old.id + 1),  # deleted since
        Suspect(Kind.ORPHANED, young.keys[1]),  # issued since
    ]
    real = [
        Suspect(Kind.UNMARKED_PRESENT, old.keys[0], old.id),
        Suspect(Kind.MISSING, marked.keys[0], marked.id),
        Suspect(Kind.ORPHANED, "certificates/pdf/none.pdf"),
    ]
    with Catalogue(site.settings, read_only=True) as catalogue, Suspects() as seen:
        for suspect in [*suspects, *real]:
            seen.add(suspect)
        Confirmation(catalogue, Accepted(site.settings), None).sift(seen)
        assert [one for batch in seen.batches(list(Kind)) for one in batch.values()] == real


def test_many_findings_are_all_counted_and_some_named(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong bucket makes each of a million keys a finding: all in memory, the check is killed and says nothing."""
    rows = migrated(site, 4)
    for row in rows[1:]:
        for key in row.keys:
            site.root.delete_object(Bucket=site.bucket, Key=key)
    site.store("certificates/pdf/nobody.pdf", PDF)
    whole = plan.load()
    few = whole.model_copy(update={"data_tools": whole.data_tools.model_copy(update={"most_listed": 2})})
    monkeypatch.setattr(plan, "load", lambda: few)
    found = check("--sample", "0", code=1)
    assert found["missing"] == sorted(key for row in rows[1:] for key in row.keys)[:2]
    assert found["left_out"] == {"missing": 4}
    assert (found["db_count"], found["s3_count"], len(found["orphaned"])) == (8, 3, 1)
    assert step_measures.consistency(found)["keys_agree"] == (1 / 8, 8)
    assert f"METRIC: {whole.metrics['consistency_issues']}=7\n" in found["stderr"]
    code, output, _ = run("check", "--sample", "0")
    assert code == 1
    assert "\n6 missing: " in output


def test_a_row_that_is_committed_a_moment_later_is_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The application stores the object before its transaction ends; in between it belongs to nobody."""
    migrated(site)
    site.store("certificates/pdf/late.pdf", PDF)
    monkeypatch.setattr(confirm, "SETTLE_SECONDS", 1)
    monkeypatch.setattr(time, "sleep", lambda _: site.add(image=None, file_pdf="certificates/pdf/late.pdf"))
    assert check("--sample", "0", code=0)["orphaned"] == []


def test_what_is_marked_while_the_bucket_is_listed_is_not_missing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The listing begins before the table is read: a backfill beside it marks rows whose page has passed."""
    migrated(site)
    row, keys = site.add(), Catalogue.keys

    def late(self: Catalogue) -> Iterator[CatalogueKey]:
        site.store_files(row)
        site.execute("UPDATE {table} SET migrated_to_s3_at = now() WHERE id = %s", row.id)
        return keys(self)

    @contextmanager
    def listed(items: Iterator[ListedObject]) -> Iterator[Iterator[ListedObject]]:
        yield iter(list(items))

    monkeypatch.setattr(Catalogue, "keys", late)
    monkeypatch.setattr(check_module, "read_ahead", listed)
    assert check("--sample", "0", code=0)["missing"] == []


def test_an_object_that_is_marked_a_moment_later_is_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backfill stores the objects of old rows before it marks them; a check beside it pages for its last batch."""
    migrated(site)
    row = site.add()
    site.store_files(row)
    assert len(check("--sample", "0", code=1)["unmarked_present"]) == 2

    def marked(_: float) -> None:
        site.execute("UPDATE {table} SET migrated_to_s3_at = now() WHERE id = %s", row.id)

    monkeypatch.setattr(confirm, "SETTLE_SECONDS", 1)
    monkeypatch.setattr(time, "sleep", marked)
    assert check("--sample", "0", code=0)["unmarked_present"] == []


def test_a_listing_that_breaks_off_is_no_listing(site: Site, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of a listing would make every certificate of the other half missing, and page for a rollback."""
    migrated(site, 2)
    with s3_proxy.running(account.aws) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint_url)
        assert check("--sample", "0", code=0)["objects"] == 4
        proxy.script = lambda request: s3_proxy.refusal(403, "AccessDenied") if request.operation == "list" else None
        assert check("--sample", "0", code=4)["verdict"] == "ERROR"
        proxy.script = lambda request: s3_proxy.refusal(403, "AccessDenied") if request.operation == "head" else None
        assert check(code=4)["sampled"] is None


def test_the_command_itself(site: Site) -> None:
    """What the timer runs is the installed command, and what the shell sees is its exit code."""
    rows = migrated(site)
    passed = site.run("check", "--seed", "7")
    assert (passed.returncode, passed.stderr) == (0, "")
    assert passed.stdout.startswith(f"PASS  s3://{site.bucket} against the certificate table")
    assert "--seed 7 draws them again" in passed.stdout
    site.path(rows[0].keys[0]).write_bytes(b"damaged")
    failed = site.run("audit", "--env-file", str(site.environment_file()), environment={"DATABASE_URL": ""})
    assert failed.returncode == 1
    assert f"{rows[0].keys[0]}  (certificate {rows[0].id})  in doubt: local; local " in failed.stdout


def test_rows_that_a_rollback_left_unmarked_are_no_mismatch(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """In mode local no sweep marks what dual-write had stored, and a page would send the on-call to nothing."""
    migrated(site)
    site.store_files(site.add())  # older than the grace, stored, and unmarked
    assert check("--sample", "0", code=1)["unmarked_present"]
    monkeypatch.setenv("CERT_S3_DUAL_WRITE", "false")
    assert check("--sample", "0", code=0)["unmarked_present"] == []


def test_a_key_is_one_finding_everywhere(site: Site) -> None:
    """A copy of another size, whose hash differs, too, was counted twice by the lines and by the METRIC."""
    (row,) = migrated(site)
    site.store(row.keys[0], b"half")
    (entry,) = check(code=1)["different"]
    assert entry["disagrees"] == ["s3"]  # as the hashes say
    assert {"s3_bytes", "local_bytes", "certificate_hash"} <= entry["witnesses"].keys()
    code, output, _ = run("check")
    assert code == 1
    assert "\n1 different: " in output
    assert output.count(row.keys[0]) == 1
    assert f"METRIC: {plan.load().metrics['consistency_issues']}=1\n" in output
