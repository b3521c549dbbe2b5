"""S3 Inventory instead of a listing: the formats that AWS writes, and what of them proves nothing."""

from __future__ import annotations

import datetime
import gzip
import hashlib
import json
import sys
import tempfile
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

import duckdb
import pytest

from cutover import cli
from cutover.consistency.errors import ConsistencyError
from cutover.consistency.inventory import Inventory
from cutover.object_store import ListedObject

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.data_tools.certificate_site import Site

BUCKET = "certificates-of-a-test"
TAKEN = datetime.datetime(2026, 11, 24, 1, 0, tzinfo=datetime.UTC)
SCHEMA = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate"
KEYS = (
    "certificates/pdf/a b.pdf",
    "certificates/pdf/a+b.pdf",
    "certificates/pdf/~#%é.pdf",
    "certificates/\U0001d11e.pdf",
)
Line = tuple[str, str, str, str]  # key, is it the latest, is it a delete marker, size

CURRENT: list[Line] = [(key, "true", "false", str(len(key))) for key in KEYS]
PAST: list[Line] = [
    ("certificates/pdf/a b.pdf", "false", "false", "1"),
    ("certificates/pdf/deleted.pdf", "true", "true", ""),
    ("cutover-probe/web1/20000", "true", "false", "20000"),
]


def csv_inventory(
    folder: Path, lines: Sequence[Line], *, bucket: str = BUCKET, taken: datetime.datetime = TAKEN
) -> Path:
    """An inventory as AWS lays it down: the manifest in a folder of its date, the data beside that."""
    data = folder / "data" / "0001.csv.gz"
    data.parent.mkdir(parents=True)
    text = "".join(
        f'"{bucket}","{quote_plus(key)}","v","{latest}","{deleted}","{size}","2026-11-24T00:30:00.000Z"\n'
        for key, latest, deleted, size in lines
    )
    data.write_bytes(gzip.compress(text.encode()))
    manifest = folder / "2026-11-24T01-00Z" / "manifest.json"
    manifest.parent.mkdir()
    md5 = hashlib.md5(data.read_bytes(), usedforsecurity=False).hexdigest()
    document = {
        "sourceBucket": bucket,
        "creationTimestamp": str(int(taken.timestamp() * 1000)),
        "fileFormat": "CSV",
        "fileSchema": SCHEMA,
        "files": [{"key": f"inventory/data/{data.name}", "size": data.stat().st_size, "MD5checksum": md5}],
    }
    manifest.write_text(json.dumps(document))
    return manifest


def parquet_inventory(folder: Path, lines: Sequence[Line]) -> Path:
    """A Parquet file of an inventory; its keys are as they are."""
    path = folder / "0001.parquet"
    columns = "bucket VARCHAR, key VARCHAR, is_latest BOOLEAN, is_delete_marker BOOLEAN, size BIGINT"
    with duckdb.connect() as database:
        database.execute(f"CREATE TABLE inventory ({columns}, last_modified_date TIMESTAMP)")
        for key, latest, deleted, size in lines:
            values = [BUCKET, key, latest, deleted, size or None, TAKEN.replace(tzinfo=None)]
            database.execute("INSERT INTO inventory VALUES (?, ?, ?, ?, ?, ?)", values)
        database.execute(f"COPY inventory TO '{path}' (FORMAT parquet)")
    return path


def by_bytes(lines: Sequence[Line]) -> list[ListedObject]:
    return [ListedObject(key, int(size)) for key, _, _, size in sorted(lines, key=lambda line: line[0].encode())]


def test_csv_is_decoded_filtered_and_sorted(tmp_path: Path) -> None:
    """A key left encoded is missing and orphaned at once; an old version is an object that nobody can download."""
    manifest = csv_inventory(tmp_path, [*PAST, *reversed(CURRENT)])
    for path in (manifest, tmp_path):
        inventory = Inventory([path], BUCKET)
        assert list(inventory.objects()) == by_bytes(CURRENT)
        assert inventory.as_of == TAKEN


def test_parquet_needs_no_manifest(tmp_path: Path) -> None:
    """Decoding a Parquet key would turn `a+b` into `a b`."""
    inventory = Inventory([parquet_inventory(tmp_path, [*PAST, *CURRENT])], BUCKET)
    assert list(inventory.objects()) == by_bytes(CURRENT)
    assert inventory.as_of == TAKEN


def test_nothing_is_left_in_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DuckDB sorts in `.tmp` of the directory that a service was started in, which it may not write to."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "spill"))
    (tmp_path / "spill").mkdir()
    inventory = Inventory([csv_inventory(tmp_path / "inventory", CURRENT)], BUCKET)
    ((directory,),) = inventory._database.execute("SELECT current_setting('temp_directory')").fetchall()
    assert directory.startswith(f"{tmp_path}/spill/")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        ("unlink", "is absent, and a part of an inventory proves nothing"),
        ("truncate", "is not the file whose MD5 the manifest has"),
        ("bucket", "is the inventory of certificates-of-a-test, not of another"),
        ("manifest", "is no manifest of an S3 Inventory"),
        ("csv", "nothing tells the columns of a CSV file"),
        ("nowhere", "there is no such inventory"),
        ("twice", "has 2 inventories"),
        ("empty", "and no Parquet file"),
    ],
)
def test_what_is_not_the_whole_inventory_is_refused(tmp_path: Path, damage: str, sentence: str) -> None:
    """A part of an inventory would make all other certificates missing, and page for a rollback."""
    manifest = csv_inventory(tmp_path, CURRENT)
    data, given, bucket = tmp_path / "data" / "0001.csv.gz", manifest, BUCKET
    match damage:
        case "unlink":
            data.unlink()
        case "truncate":
            data.write_bytes(data.read_bytes()[:-9])
        case "bucket":
            bucket = "another"
        case "manifest":
            manifest.write_text('{"sourceBucket": "x"}')
        case "csv":
            given = data
        case "nowhere":
            given = tmp_path / "nowhere"
        case "twice":
            csv_inventory(tmp_path / "older", CURRENT)
            given = tmp_path
        case "empty":
            given = data.parent
            data.unlink()
    with pytest.raises(ConsistencyError, match=sentence):
        Inventory([given], bucket)


def test_a_parquet_file_of_another_bucket_is_refused(tmp_path: Path) -> None:
    """Staging's inventory says nothing of production."""
    path = parquet_inventory(tmp_path, CURRENT)
    with pytest.raises(ConsistencyError, match="objects of another bucket than another"):
        Inventory([path], "another")


def test_without_duckdb_the_sentence_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An optional dependency that is not there must not end as a traceback at night."""
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(ConsistencyError, match=r"pip install 'deltacrown-cutover\[inventory\]'"):
        Inventory([tmp_path], BUCKET)


def test_the_check_judges_what_the_inventory_can_know(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Yesterday's inventory lacks today's certificates and today's backfill; neither is missing for that."""
    now = datetime.datetime.now(tz=datetime.UTC)
    taken = now - datetime.timedelta(days=1)
    before: dict[str, Any] = {"created_at": now - datetime.timedelta(days=9)}
    there = site.add(**before, migrated_to_s3_at=taken - datetime.timedelta(days=1))
    site.add(**before, marked=True)  # the backfill came to it today
    site.add(marked=True)  # issued today
    lost = site.add(image=None, **before, migrated_to_s3_at=taken - datetime.timedelta(days=1))
    site.store_files(there)
    lines: list[Line] = [(key, "true", "false", str(site.path(key).stat().st_size)) for key in there.keys]
    manifest = csv_inventory(tmp_path / "inventory", lines, bucket=site.bucket, taken=taken)
    assert cli.main(["check", "--inventory", str(manifest)]) == 1
    output = capsys.readouterr().out
    assert "inventory, 24 h 00 min old; 2 files of newer rows are not judged" in output
    assert "1 missing" in output
    assert f"{lost.keys[0]}  (certificate {lost.id})" in output
    site.execute("UPDATE {table} SET migrated_to_s3_at = NULL WHERE id = %s", lost.id)
    assert cli.main(["check", "--inventory", str(manifest), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["objects"], found["db_count"], found["s3_count"]) == (2, 2, 2)
