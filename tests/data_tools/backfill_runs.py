"""What the tests of interrupted and disturbed backfills share: reading a run's answer, and the invariant of marks."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from tests.data_tools.certificate_site import IMAGE, PDF

if TYPE_CHECKING:
    from collections.abc import Mapping
    from subprocess import CompletedProcess

    from tests.data_tools.certificate_site import Row, Site
    from tests.data_tools.s3_proxy import S3Proxy


def issue(site: Site, count: int) -> list[Row]:
    """Issues certificates whose files all differ."""
    return site.add_many((PDF + str(n).encode(), IMAGE + str(n).encode()) for n in range(count))


def backfill(site: Site, *arguments: str, proxy: S3Proxy | None = None) -> tuple[int, dict[str, Any]]:
    """Runs a backfill to its end, through the proxy if one is given; its exit code and its JSON document."""
    result = site.run("backfill", "--json", *arguments, environment=through(proxy) if proxy else None, timeout=120)
    return result.returncode, document(result)


def through(proxy: S3Proxy) -> dict[str, str]:
    """The change of the environment that leads a process to the proxy."""
    return {"AWS_ENDPOINT_URL_S3": proxy.endpoint_url}


def document(result: CompletedProcess[str]) -> dict[str, Any]:
    """The JSON document of a run; shows what the run said instead, if there is none."""
    try:
        answer: dict[str, Any] = json.loads(result.stdout)
    except ValueError:
        raise AssertionError(f"exit code {result.returncode}, no document: {result.stdout}{result.stderr}") from None
    return answer


def causes(answer: Mapping[str, Any]) -> dict[str | None, str]:
    """The causes of a document's errors, by key."""
    return {error["key"]: error["cause"] for error in answer["errors"]}


def last_token(output: str) -> str | None:
    """The newest resume token of a run's output, as `grep RESUME_TOKEN | tail -1` finds it in a log."""
    lines = [line for line in output.splitlines(keepends=True) if "RESUME_TOKEN" in line and line.endswith("\n")]
    return lines[-1].split()[-1] if lines else None


def check_marks(site: Site) -> list[Row]:
    """Fails if a marked row lacks an object that equals its file, or an object was stored twice; gives all rows.

    The bucket is read before the table: whatever a mark stands for was stored before the mark was asked for.
    """
    versions = site.versions()
    twice = [key for key, count in Counter(version.key for version in versions).items() if count > 1]
    assert not twice
    stored = {version.key: version.md5 for version in versions}
    rows = site.rows()
    assert {key: stored.get(key) for key in marked_keys(rows)} == {key: _md5(site, key) for key in marked_keys(rows)}
    return rows


def check_all_migrated(site: Site) -> None:
    """Fails unless every row is marked, and the bucket holds the files of the rows and nothing else."""
    rows = check_marks(site)
    assert [row.id for row in rows if not row.marked] == []
    assert set(site.keys()) == set(marked_keys(rows))


def marked_keys(rows: list[Row]) -> list[str]:
    """The files of the marked rows."""
    return [key for row in rows if row.marked for key in row.keys]


def _md5(site: Site, key: str) -> str:
    return hashlib.md5(site.path(key).read_bytes(), usedforsecurity=False).hexdigest()
