"""Files that are too large to be held in memory: sent as they are read, and as proven as the others."""

from __future__ import annotations

import base64
import errno
import hashlib
import io
import json
import os
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cutover import cli, local_files, plan, uploads
from cutover.backfill import token
from cutover.local_files import ChangedWhileReadError
from cutover.uploads import AlreadyThereError, Uploader
from tests.benchmarks import synthetic_s3
from tests.benchmarks.programs import CUTOVER, measured
from tests.data_tools import s3_proxy
from tests.data_tools.backfill_runs import backfill, causes, check_all_migrated
from tests.data_tools.s3_proxy import Exchange

if TYPE_CHECKING:
    from rehearsal.aws_stand_in import AwsStandIn
    from tests.data_tools.certificate_site import Row, Site

LIMIT = plan.load().data_tools.streamed_above_bytes
LARGE = os.urandom(LIMIT + 1)
MOST_BYTES = 150_000_000  # that the data tools may have in memory


def head(site: Site, key: str) -> dict[str, Any]:
    answer = site.root.head_object(Bucket=site.bucket, Key=key, ChecksumMode="ENABLED")
    wanted = ("ContentLength", "ContentType", "CacheControl", "ContentDisposition", "ServerSideEncryption")
    sha256 = base64.b64decode(answer["ChecksumSHA256"]).hex()
    return {name: value for name, value in answer.items() if name in wanted} | {"sha256": sha256}


def large(site: Site) -> Row:
    return site.add(LARGE, LARGE[::-1])


def test_they_are_stored_as_the_others_are(site: Site) -> None:
    """Another way of sending them that forgets the encryption or the checksum is not found out by their bytes."""
    row, edge = large(site), site.add(LARGE[:LIMIT], image=None)
    pdf = hashlib.md5(LARGE, usedforsecurity=False).hexdigest()
    assert f"Would upload: {row.keys[0]} (ETag: {pdf})" in site.run("backfill", "--dry-run").stdout
    code, answer = backfill(site, "--verify-hash")
    assert (code, answer["objects_uploaded"], answer["bytes"]) == (0, 3, 3 * LIMIT + 2)
    check_all_migrated(site)
    streamed, whole = head(site, row.keys[0]), head(site, edge.keys[0])
    assert streamed.pop("sha256") == hashlib.sha256(LARGE).hexdigest()
    assert (streamed.pop("ContentLength"), whole.pop("ContentLength")) == (LIMIT + 1, LIMIT)
    whole.pop("sha256")
    assert streamed == whole


def test_objects_that_are_there_are_compared(site: Site) -> None:
    """Overwritten blindly, the only good copy could be the one that goes."""
    equal, different = large(site), large(site)
    site.store_files(equal)
    site.store(different.keys[0], b"other bytes")
    code, answer = backfill(site)
    assert (code, causes(answer)) == (1, {different.keys[0]: "conflict"})
    assert [row.id for row in site.rows() if row.marked] == [equal.id]
    assert backfill(site, "--certificate-id", str(different.id), "--repair")[0] == 0
    check = site.run("audit", "--json")
    assert check.returncode == 0, check.stdout


def test_s3_refuses_what_came_damaged(site: Site, aws: AwsStandIn) -> None:
    """A body that is sent in pieces must be as proven as one that is sent whole."""
    row = large(site)
    with s3_proxy.running(aws) as proxy:
        proxy.script = lambda request: (
            Exchange.forward_cut if (request.operation, request.key) == ("put", row.keys[0]) else None
        )
        code, answer = backfill(site, proxy=proxy)
    assert (code, causes(answer)) == (1, {row.keys[0]: "checksum_refused"})
    assert not site.row(row.id).marked


@pytest.mark.parametrize("what", ["written", "removed", "a link"])
def test_a_file_that_changes_before_it_is_sent_is_no_upload_failure(site: Site, what: str) -> None:
    """Twenty of them would end the run as if S3 refused everything."""
    (key, *_) = large(site).keys
    file = local_files.read(site.media_root, key, hold=LIMIT)
    assert file is not None
    assert file.body is None
    if what == "written":
        site.path(key).write_bytes(LARGE[::-1])
    else:
        site.path(key).unlink()
    if what == "a link":
        site.path(key).symlink_to("/etc/passwd")
    with pytest.raises(ChangedWhileReadError, match="was changed before it was stored"):
        Uploader(site.settings, "test").put(file)
    assert site.keys() == []


def test_a_disk_that_does_not_give_it_again_is_no_change(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """ "Run again when its writer is done" waits for nobody, and a bad sector is found by nobody."""
    row, other = large(site), large(site)
    read = os.fdopen

    def broken(descriptor: int, *arguments: Any, **options: Any) -> Any:
        if Path(f"/proc/self/fd/{descriptor}").readlink() == site.path(row.keys[0]):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(descriptor, *arguments, **options)

    monkeypatch.setattr(os, "fdopen", broken)
    with redirect_stdout(io.StringIO()) as output:
        assert cli.main(["backfill", "--json"]) == 1
    (error,) = json.loads(output.getvalue())["errors"]
    assert (error["key"], error["cause"]) == (row.keys[0], "damaged_local")
    assert error["detail"].startswith("cannot be read (EIO, Input/output error): mend its disk")
    assert token.decode([json.loads(output.getvalue())["resume_token"]]) <= row.id
    assert site.row(other.id).marked


def test_one_that_exists_is_said_to(site: Site) -> None:
    """Whoever streams past If-None-Match overwrites what dual-write has just stored."""
    (key, *_) = large(site).keys
    site.store(key, b"other bytes")
    file = local_files.read(site.media_root, key, hold=LIMIT)
    assert file is not None
    with pytest.raises(AlreadyThereError):
        Uploader(site.settings, "test").put(file)
    assert uploads.examine(site.settings).enforces_checksums
    assert site.objects()[key] == b"other bytes"


def test_repair_takes_them_both_ways(site: Site) -> None:
    """A restore that needs the file's size in memory fails on the machine that has least of it."""
    lost, absent = large(site), large(site)
    site.store_files(lost)
    site.path(lost.keys[0]).unlink()
    site.store(absent.keys[1], site.path(absent.keys[1]).read_bytes())
    for row in (lost, absent):
        done = site.run("repair", "--certificate-id", str(row.id))
        assert done.returncode == 0, done.stdout + done.stderr
    assert site.path(lost.keys[0]).read_bytes() == LARGE
    check_all_migrated(site)


@pytest.mark.parametrize("size", [LIMIT, 30 * LIMIT])
def test_memory_has_a_bound_whatever_is_uploaded_at_once(site: Site, tmp_path: Path, size: int) -> None:
    """The unit's memory limit kills the run, and each that is resumed comes to the same file."""
    first = site.add(os.urandom(size), os.urandom(size))
    rows = [
        first,
        *(site.add(None, None, **_names(number), certificate_hash=first.certificate_hash) for number in range(31)),
    ]
    for row in rows[1:]:
        for key, source in zip(row.keys, first.keys, strict=True):
            site.path(key).parent.mkdir(parents=True, exist_ok=True)
            os.link(site.path(source), site.path(key))
    with synthetic_s3.running(rows=0, size=size) as server:
        environment = {**os.environ, **site.environment, "AWS_ENDPOINT_URL_S3": server.endpoint_url}
        used = measured([CUTOVER, "backfill"], environment, tmp_path / "log")
    assert all(row.marked for row in site.rows())
    assert used.peak_bytes <= MOST_BYTES, (tmp_path / "log").read_text()


def _names(number: int) -> dict[str, Any]:
    return {"file_pdf": f"certificates/pdf/{number}.pdf", "file_image": f"certificates/images/{number}.png"}
