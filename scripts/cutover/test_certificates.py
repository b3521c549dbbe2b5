"""The commands `cutover issued` and `cutover removed`: the certificates by which a step is judged, and their end."""

from __future__ import annotations

import base64
import json
import sys
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from cutover import local_files, settings
from cutover.arguments import moment
from cutover.exit_codes import ExitCode
from cutover.settings import SettingsError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

    from cutover.catalogue import Catalogue
    from cutover.object_store import ObjectStore
    from cutover.settings import Settings

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

__all__ = ["register", "remembered", "unread"]

_PAGE = 1000  # rows read at once


@dataclass(frozen=True)
class Removed:
    """A certificate that must be gone: its id, and the names that its files had."""

    id: int
    names: tuple[str, ...]


@dataclass(frozen=True)
class Left:
    """What is left of a certificate; no key if it is its row."""

    certificate_id: int
    key: str | None
    what: str


@dataclass
class Remains:
    """What became of the certificates that must be gone."""

    asked: int = 0
    gone: int = 0  # certificates of which nothing is left, after what was done here
    objects_deleted: list[str] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """The result for people."""
        yield f"{self.gone} of {self.asked} certificates are gone, with every copy of their files"
        yield from (f"  deleted from S3: {key}" for key in self.objects_deleted)
        for left in self.left:
            yield f"  left of certificate {left.certificate_id}: {left.key or 'row'}: {left.what}"


@dataclass
class Standing:
    """Which of the certificates are in the table, by their ids; what is in neither list is gone."""

    there: list[int] = field(default_factory=list)
    others: list[int] = field(default_factory=list)  # the id is another certificate's by now: its names are others

    def lines(self) -> Iterator[str]:
        """The result for people."""
        yield f"{len(self.there)} certificates are still there: {' '.join(map(str, self.there))}".rstrip(": ")
        yield from (f"  certificate {number} has other names: it is another one, keep it" for number in self.others)


def register(commands: Subparsers) -> None:
    """Adds `issued` and `removed` to the parser of `cutover`."""
    issued = commands.add_parser(
        "issued",
        help="list the certificates that were issued since a moment",
        description="Prints the ids of the certificates that were issued since then, and the names of their files. "
        "Reads only. Exit 0: there are some; 2: usage or settings; 3: there are none; 4: the database could not be "
        "read.",
        epilog="example: cutover issued --env-file /etc/deltacrown/staging.env --since 2026-11-24T10:00:00Z",
    )
    issued.add_argument("--since", type=moment, required=True, metavar="TIME", help="ISO 8601 with a zone")
    issued.set_defaults(command=_issued)
    removed = commands.add_parser(
        "removed",
        help="prove that test certificates are gone, and delete what is left of them in S3",
        description="Looks for what is left of certificates that were removed: the row, the local files, the objects. "
        "Deletes an object that is left of a certificate whose row is gone, unless another row names it; the old "
        'version stays in the bucket. Everything else is named. Standard input: [{"id": 7, "names": […]}, …]. '
        "Exit 0: nothing is left; 1: something is; 2: usage or settings; 4: S3, database or disk could not be read.",
        epilog="example: cutover removed --env-file /etc/deltacrown/staging.env < removed.json",
    )
    removed.add_argument(
        "--rows-only",
        action="store_true",
        help="before the removal: say which ids still are these certificates, and which another one has by now (a "
        "database that was restored gives ids again); looks at the table alone, and exits with 0",
    )
    removed.set_defaults(command=_removed)
    for parser in (issued, removed):
        parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
        settings.add_arguments(parser)


def remembered(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What the machines remember of the test certificates that they issued: {"id", "names"}, each once.

    Args:
        results: of the task that read each machine's file, which `cutover worker-requests issue --remember` writes.
    """
    found = [certificate for result in results for certificate in _parsed(result) if certificate is not None]
    return list({certificate["id"]: certificate for certificate in found}.values())


def unread(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """The machines (`item`) whose file could not be read, or not wholly; one that has none remembers nothing."""
    return [
        result["item"]
        for result in results
        if ("content" not in result and "not found" not in result.get("msg", "")) or None in _parsed(result)
    ]


def _parsed(result: Mapping[str, Any]) -> list[dict[str, Any] | None]:
    """The certificates of a file, line by line; None is a line that was cut off."""
    found: list[dict[str, Any] | None] = []
    for line in base64.b64decode(result.get("content", "")).decode(errors="replace").splitlines():
        try:
            entry = json.loads(line)
            found.append({"id": int(entry["id"]), "names": [str(name) for name in entry["names"]]})
        except (ValueError, KeyError, TypeError):
            found.append(None)
    return found


def _issued(options: argparse.Namespace) -> int:
    values = settings.load(options.env_file, role_arn=options.role_arn)
    from cutover.catalogue import Catalogue, Selection  # noqa: PLC0415 - psycopg takes a while to import

    with Catalogue(values, read_only=True) as catalogue:
        since = Selection(pending=None, created_since=options.since)
        rows = [row for page in catalogue.pages(since, _PAGE) for row in page]
    ids, names = [row.id for row in rows], [file.key for row in rows for file in row.files]
    print(json.dumps({"ids": ids, "names": names}) if options.json else "\n".join([f"{len(ids)} certificates", *names]))
    return ExitCode.DONE if rows else ExitCode.INCONCLUSIVE


def _removed(options: argparse.Namespace) -> int:
    certificates = _given()
    values = settings.load(options.env_file, role_arn=options.role_arn)
    from cutover.catalogue import Catalogue  # noqa: PLC0415 - as above
    from cutover.object_store import ObjectStore  # noqa: PLC0415 - boto3, too

    found: Standing | Remains
    with Catalogue(values, read_only=True) as catalogue:
        if options.rows_only:
            found = _standing(certificates, catalogue)
        else:
            found = _remains(certificates, values, catalogue, ObjectStore(values, "removed"))
    print(json.dumps(asdict(found)) if options.json else "\n".join(found.lines()))
    return ExitCode.FAILED if isinstance(found, Remains) and found.left else ExitCode.DONE


def _given() -> list[Removed]:
    try:
        return [Removed(int(one["id"]), tuple(map(_name, one["names"]))) for one in json.load(sys.stdin)]
    except (ValueError, KeyError, TypeError) as error:
        raise SettingsError(
            f'standard input ({error}): give the certificates as [{{"id": 7, "names": ["certificates/…"]}}, …]'
        ) from error


def _name(name: object) -> str:
    if not isinstance(name, str) or not name.startswith(local_files.PREFIX):
        raise ValueError(f"{name!r} does not begin with {local_files.PREFIX}")
    local_files.check_name(name)
    return name


def _standing(certificates: Sequence[Removed], catalogue: Catalogue) -> Standing:
    found = Standing()
    names = {row.id: {file.key for file in row.files} for row in catalogue.by_id([one.id for one in certificates])}
    for one in certificates:
        if one.id in names:  # a row without any name cannot be told from a customer's
            same = bool(one.names) and names[one.id] == set(one.names)
            (found.there if same else found.others).append(one.id)
    return found


def _remains(certificates: Sequence[Removed], values: Settings, catalogue: Catalogue, store: ObjectStore) -> Remains:
    """Deletes the objects that may go, and names the rest; raises as `object_store` where S3 cannot say."""
    found = Remains(asked=len(certificates))
    rows = {row.id for row in catalogue.by_id([one.id for one in certificates])}
    owners = {
        file.key: row.id
        for row in catalogue.by_keys([name for one in certificates for name in one.names])
        for file in row.files
    }
    for one in certificates:
        left = [Left(one.id, None, "the row is still there")] if one.id in rows else []
        for name in () if left else one.names:
            if name in owners:
                left.append(Left(one.id, name, f"certificate {owners[name]} names this file, too"))
                continue
            if local_files.stamp(values.media_root, name) is not None:
                left.append(Left(one.id, name, "the local file is still there"))
            if store.head(name) is None:
                continue
            if problem := _delete(store, values.bucket, name):
                left.append(Left(one.id, name, f"the object is still there: {problem}"))
            else:
                found.objects_deleted.append(name)
        found.gone += not left
        found.left += left
    return found


def _delete(store: ObjectStore, bucket: str, name: str) -> str:
    """Deletes an object and looks again; why it is still there, empty if it is gone."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - as above

    try:
        store.client.delete_object(Bucket=bucket, Key=name)
    except (ClientError, BotoCoreError) as error:
        return str(store.error(name, error))
    return "" if store.head(name) is None else "S3 said that it deleted it"
