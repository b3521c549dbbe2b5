"""S3 Inventory in place of a listing: AWS's daily table of a bucket, read by DuckDB.

The manifest tells the format, the columns, the files with their MD5 and when AWS took the inventory. Parquet files can
be read without it.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cutover.consistency.errors import ConsistencyError
from cutover.consistency.merge import UNKNOWN_SIZE
from cutover.local_files import PREFIX
from cutover.object_store import ListedObject

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from duckdb import DuckDBPyConnection, DuckDBPyRelation

__all__ = ["Inventory"]

MANIFEST = "manifest.json"
_MEMORY = "512MB"  # what DuckDB sorts in; more goes to its temporary files
_FETCH = 10000  # rows taken from DuckDB at once
_GIVE_MANIFEST = f"give the inventory's {MANIFEST}"


@dataclass(frozen=True)
class _Part:
    """The files of one inventory; `columns` are those of CSV, which has no header, `taken` is the manifest's time."""

    files: tuple[Path, ...]
    columns: tuple[str, ...] = ()
    taken: datetime | None = None


class Inventory:
    """The current objects of a bucket as its inventories have them; `as_of` is when the oldest of them was taken.

    Args:
        paths: manifests, Parquet files, or directories that have either.
        bucket: whose inventory it must be.

    Raises:
        ConsistencyError: duckdb is not installed; a file is absent, damaged, of another bucket or no inventory.
    """

    def __init__(self, paths: Sequence[Path], bucket: str) -> None:
        try:
            import duckdb  # noqa: PLC0415 - an optional dependency, which listing does not need
        except ImportError as error:
            raise ConsistencyError(
                "an inventory is read by duckdb, which is not installed: pip install 'deltacrown-cutover[inventory]'"
            ) from error
        self._error = duckdb.Error
        self._database = duckdb.connect()
        self._database.execute(f"SET memory_limit = '{_MEMORY}'; SET TimeZone = 'UTC'")
        # Its own choice is the current directory, which a service may not write to.
        self._spill = tempfile.TemporaryDirectory(prefix="cutover-inventory-")
        self._database.execute("SET temp_directory = $directory", {"directory": self._spill.name})
        parts = [part for path in paths for part in _parts(path, bucket)]
        try:
            tables = [(part, _normalised(self._database, part)) for part in parts]
            self.as_of = min(part.taken or _newest(table, part.files[0]) for part, table in tables)
            self._objects = _current(tables[0][1], bucket)
            for _, table in tables[1:]:
                self._objects = self._objects.union(_current(table, bucket))
        except self._error as error:
            raise self._sentence(error) from error

    def objects(self) -> Iterator[ListedObject]:
        """Current objects under certificates/ in the order of their keys' UTF-8 bytes; no delete markers.

        Raises:
            ConsistencyError: a file cannot be read as what it should be.
        """
        try:
            ordered = self._database.execute(self._objects.order("key").sql_query())
            while rows := ordered.fetchmany(_FETCH):
                yield from map(ListedObject._make, rows)
        except self._error as error:
            raise self._sentence(error) from error

    def _sentence(self, error: Exception) -> ConsistencyError:
        return ConsistencyError(f"the inventory cannot be read: {str(error).splitlines()[0]}: fetch it again")


def _parts(path: Path, bucket: str) -> list[_Part]:
    if not path.exists():
        raise ConsistencyError(f"{path}: there is no such inventory: {_GIVE_MANIFEST}")
    if path.is_dir():
        found = sorted(path.glob(f"**/{MANIFEST}")) or sorted(path.glob("**/*.parquet"))
        if not found:
            raise ConsistencyError(f"{path}: has no {MANIFEST} and no Parquet file: {_GIVE_MANIFEST}")
        if len(found) > 1 and found[0].name == MANIFEST:
            raise ConsistencyError(f"{path}: has {len(found)} inventories: name the {MANIFEST} of the latest")
        return _parts(found[0], bucket) if found[0].name == MANIFEST else [_Part(tuple(found))]
    if path.suffix == ".json":
        return [_manifest(path, bucket)]
    if path.suffix != ".parquet":
        raise ConsistencyError(
            f"{path}: without its manifest nothing tells the columns of a CSV file: {_GIVE_MANIFEST}"
        )
    return [_Part((path,))]


def _manifest(path: Path, bucket: str) -> _Part:
    try:
        document = json.loads(path.read_bytes())
        source, form = document["sourceBucket"], document["fileFormat"]
        taken = datetime.fromtimestamp(int(document["creationTimestamp"]) / 1000, tz=UTC)
        columns = [name.strip() for name in document["fileSchema"].split(",")] if form == "CSV" else []
        files = [_data_file(path, entry["key"], entry["MD5checksum"]) for entry in document["files"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ConsistencyError(f"{path}: is no manifest of an S3 Inventory ({error!r})") from error
    if source != bucket:
        raise ConsistencyError(f"{path}: is the inventory of {source}, not of {bucket}: give the right one")
    if form not in {"CSV", "Parquet"} or not files:
        raise ConsistencyError(f"{path}: {form} with {len(files)} files; only CSV and Parquet with files can be read")
    return _Part(tuple(files), tuple(columns), taken)


def _data_file(manifest: Path, key: str, md5: str) -> Path:
    """Where a file of the manifest lies: beside it, in data/, or in data/ one level up, as in the bucket."""
    name = Path(key).name
    places = [manifest.parent / name, manifest.parent / "data" / name, manifest.parent.parent / "data" / name]
    for place in places:
        if place.is_file():
            with place.open("rb") as file:
                if hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest() != md5:
                    raise ConsistencyError(f"{place}: is not the file whose MD5 the manifest has: fetch it again")
            return place
    raise ConsistencyError(f"{places[1]}: is absent, and a part of an inventory proves nothing: fetch the whole")


def _normalised(database: DuckDBPyConnection, part: _Part) -> DuckDBPyRelation:
    """The files as one table whose columns are lower case without underscores, and whose keys are decoded."""
    names = [str(file) for file in part.files]
    if part.columns:
        columns = dict.fromkeys(part.columns, "VARCHAR")
        table = database.read_csv(names, header=False, columns=columns, compression="auto", auto_detect=False)
    else:
        table = database.read_parquet(names)
    plain = {name: name.lower().replace("_", "") for name in table.columns}
    if not {"bucket", "key"} <= set(plain.values()):
        raise ConsistencyError(f"{names[0]}: an inventory has the columns bucket and key, and this has not")
    # CSV has its keys as in a form: percent signs, and + for a space.
    decoded = "url_decode(replace(\"{}\", '+', '%20'))" if part.columns else '"{}"'
    return table.project(
        ", ".join(
            f"{decoded.format(name)} AS key" if short == "key" else f'"{name}" AS {short}'
            for name, short in plain.items()
        )
    )


def _newest(table: DuckDBPyRelation, file: Path) -> datetime:
    """When an inventory without manifest was taken at the earliest: when its newest object was stored."""
    if "lastmodifieddate" not in table.columns:
        raise ConsistencyError(f"{file}: nothing tells when it was taken: {_GIVE_MANIFEST}")
    ((newest,),) = table.aggregate("max(CAST(lastmodifieddate AS TIMESTAMPTZ))").fetchall()
    if not isinstance(newest, datetime):
        raise ConsistencyError(f"{file}: is empty, so that nothing tells when it was taken: {_GIVE_MANIFEST}")
    return newest


def _current(table: DuckDBPyRelation, bucket: str) -> DuckDBPyRelation:
    """Key and size of the current objects under certificates/."""
    if table.filter(f"bucket <> $${bucket}$$").limit(1).fetchall():
        raise ConsistencyError(f"the inventory has objects of another bucket than {bucket}: give the right one")
    conditions = [f"starts_with(key, '{PREFIX}')"]
    if "islatest" in table.columns:
        conditions.append("lower(CAST(islatest AS VARCHAR)) = 'true'")
    if "isdeletemarker" in table.columns:
        conditions.append("coalesce(lower(CAST(isdeletemarker AS VARCHAR)), '') <> 'true'")
    size = f"coalesce(TRY_CAST(size AS BIGINT), {UNKNOWN_SIZE})" if "size" in table.columns else str(UNKNOWN_SIZE)
    return table.filter(" AND ".join(conditions)).project(f"key, {size} AS size")
