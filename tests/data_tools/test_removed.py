"""`cutover removed` and `cutover issued` on a real table, disk and bucket."""

from __future__ import annotations

import datetime
import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from cutover import cli
from cutover.exit_codes import ExitCode
from tests.data_tools.certificate_site import PDF

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.data_tools.account import Account
    from tests.data_tools.certificate_site import Row, Site

    Remove = Callable[..., tuple[int, dict[str, Any], str]]


@pytest.fixture
def removed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Remove:
    """Runs the command on these certificates, or on what is given; its exit code, document and words."""

    def run(*rows: Row, given: object = None, rows_only: bool = False) -> tuple[int, dict[str, Any], str]:
        text = json.dumps(given if rows == () else [{"id": row.id, "names": row.keys} for row in rows])
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        code = cli.main(["removed", "--json", *(["--rows-only"] if rows_only else [])])
        printed = capsys.readouterr()
        return code, json.loads(printed.out) if printed.out else {}, printed.err

    return run


def gone_from_the_table(site: Site, *rows: Row, files: bool = True) -> Sequence[Row]:
    """Removes rows as the site does, with their local files or without."""
    for row in rows:
        site.execute("DELETE FROM {table} WHERE id = %s", row.id)
        for key in row.keys if files else ():
            site.path(key).unlink()
    return rows


def test_objects_that_a_local_worker_left_are_deleted(site: Site, removed: Remove) -> None:
    """The next consistency check would call them orphans, and page somebody because of our own probe."""
    row, other = site.add(), site.add()
    site.store_files(row, other)
    gone_from_the_table(site, row)
    code, document, _ = removed(row)
    assert (code, document["asked"], document["gone"], document["left"]) == (ExitCode.DONE, 1, 1, [])
    assert sorted(document["objects_deleted"]) == sorted(row.keys)
    assert set(site.objects()) == set(other.keys)
    assert {version.key for version in site.versions()} >= set(row.keys)  # as old versions
    assert removed(row)[1]["objects_deleted"] == []


def test_a_row_that_is_still_there_keeps_its_objects(site: Site, removed: Remove) -> None:
    """The site refused to remove it: it is a certificate like any other."""
    row = site.add()
    site.store_files(row)
    code, document, _ = removed(row)
    assert (code, document["gone"], document["objects_deleted"]) == (ExitCode.FAILED, 0, [])
    assert document["left"] == [{"certificate_id": row.id, "key": None, "what": "the row is still there"}]
    assert set(site.objects()) == set(row.keys)


def test_an_object_that_another_row_names_is_never_deleted(site: Site, removed: Remove) -> None:
    """A wrong list must not cost a customer's certificate."""
    row = site.add()
    other = site.add(file_pdf=row.file_pdf)
    site.store_files(other)
    gone_from_the_table(site, row, files=False)
    code, document, _ = removed(row)
    assert code == ExitCode.FAILED
    assert {"certificate_id": row.id, "key": row.file_pdf, "what": f"certificate {other.id} names this file, too"} in (
        document["left"]
    )
    assert site.objects()[str(row.file_pdf)] == PDF
    assert site.path(str(row.file_pdf)).exists()


def test_a_local_file_that_is_left_is_named_and_kept(site: Site, removed: Remove) -> None:
    """On the disk there are no old versions to go back to."""
    (row,) = gone_from_the_table(site, site.add(), files=False)
    code, document, _ = removed(row)
    assert code == ExitCode.FAILED
    assert [(one["key"], one["what"]) for one in document["left"]] == [
        (key, "the local file is still there") for key in row.keys
    ]
    assert all(site.path(key).exists() for key in row.keys)


def test_an_id_that_a_customer_has_by_now_is_told_from_a_test_certificate(site: Site, removed: Remove) -> None:
    """A killed step left its ids, the database was restored, and the ids were given again."""
    ours, customers, half, bare = site.add(), site.add(), site.add(), site.add(file_pdf=None, image=None)
    site.store_files(ours, customers)
    (gone,) = gone_from_the_table(site, site.add())
    remembered = [
        {"id": ours.id, "names": ours.keys},
        {"id": customers.id, "names": ["certificates/pdf/of-the-test.pdf"]},
        {"id": half.id, "names": half.keys[:1]},
        {"id": bare.id, "names": []},
        {"id": gone.id, "names": gone.keys},
    ]
    code, document, _ = removed(given=remembered, rows_only=True)
    assert code == ExitCode.DONE
    assert document == {"there": [ours.id], "others": [customers.id, half.id, bare.id]}
    assert set(site.objects()) == {*ours.keys, *customers.keys}


def test_an_object_that_may_not_be_deleted_is_named(
    site: Site, account: Account, removed: Remove, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named by its key: the operator deletes it before the check finds it."""
    row = site.add()
    site.store_files(row)
    gone_from_the_table(site, row)
    for name, value in account.credentials(site.roles.readonly).items():
        monkeypatch.setenv(name, value)
    code, document, _ = removed(row)
    assert code == ExitCode.FAILED
    assert {one["key"] for one in document["left"]} == set(row.keys)
    assert all("the object is still there" in one["what"] and "Denied" in one["what"] for one in document["left"])


def test_what_cannot_be_looked_at_is_an_error(site: Site, removed: Remove, monkeypatch: pytest.MonkeyPatch) -> None:
    """An S3 that is away has not said that nothing is left."""
    (row,) = gone_from_the_table(site, site.add())
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    code, document, said = removed(row)
    assert (code, document) == (ExitCode.ERROR, {})
    assert f"s3://{site.bucket}/{row.keys[0]}" in said


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize(
    "given",
    [
        {"id": 7},
        [{"id": 7}],
        [{"id": "seven", "names": []}],
        [{"id": 7, "names": ["cutover-probe/web1/a"]}],
        [{"id": 7, "names": ["certificates/../../etc/passwd"]}],
        [{"id": 7, "names": [None]}],
    ],
)
def test_what_is_no_list_of_certificates_is_refused(removed: Remove, given: object) -> None:
    """A name that leads elsewhere would delete what is no certificate of ours."""
    code, document, said = removed(given=given)
    assert (code, document) == (ExitCode.USAGE, {})
    assert "standard input (" in said


def test_certificates_issued_since_a_moment_are_listed(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """One of before the switch would be judged as the step's own."""
    switched = datetime.datetime.now(tz=datetime.UTC)
    site.add(created_at=switched - datetime.timedelta(microseconds=1))
    since = [site.add(created_at=switched), site.add(created_at=switched + datetime.timedelta(hours=1), image=None)]
    asked = ["issued", "--json", "--since", switched.isoformat()]
    assert cli.main(asked) == ExitCode.DONE
    document = json.loads(capsys.readouterr().out)
    assert document == {"ids": [row.id for row in since], "names": [key for row in since for key in row.keys]}
    asked[-1] = (switched + datetime.timedelta(hours=2)).isoformat()
    assert cli.main(asked) == ExitCode.INCONCLUSIVE
    assert json.loads(capsys.readouterr().out) == {"ids": [], "names": []}
