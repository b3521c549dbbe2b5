"""`cutover archive`: all local copies in one object, proven by reading it back, or no archive at all."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import tarfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from cutover.retirement import archive_proof, manifest
from cutover.retirement.multipart import PARTS, SMALLEST_PART, part_bytes
from tests.data_tools.retired import SETTLED, Ended, content, migrated, pdf, run, sentences

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.data_tools.certificate_site import Site


def archive(site: Site, *arguments: str) -> Ended:
    """Runs `cutover archive` under the retirement role."""
    return run(site, "archive", "--bucket", site.backups_bucket, "--role-arn", site.roles.retirement, *arguments)


def stored(site: Site) -> dict[str, bytes]:
    """Every object of the backups bucket."""
    listed = site.root.list_objects_v2(Bucket=site.backups_bucket).get("Contents", [])
    return {
        one["Key"]: site.root.get_object(Bucket=site.backups_bucket, Key=one["Key"])["Body"].read() for one in listed
    }


def unfinished(site: Site) -> list[Any]:
    """Uploads in parts that were begun and neither completed nor ended."""
    return list(site.root.list_multipart_uploads(Bucket=site.backups_bucket).get("Uploads", []))


def members(body: bytes) -> dict[str, bytes]:
    """Names and bytes of a tar.gz."""
    with tarfile.open(fileobj=io.BytesIO(body), mode="r:gz") as tar:
        return {one.name: found.read() for one in tar if (found := tar.extractfile(one))}


def test_the_archive_is_the_local_tree_with_its_manifest(site: Site, tmp_path: Path) -> None:
    """Years later the archive does not unpack, lacks files, or nobody can say whether it is whole."""
    first, second = migrated(site, 2)
    strange = site.path("certificates/pdf/\u00e4\\b\nc" + "d" * 200 + "\udcff.pdf")  # two lines, and no UTF-8
    strange.write_bytes(b"")
    assert run(site, "quarantine", "--limit", "1").code == 0
    before = {
        **{key: (site.media_root.with_name("media.quarantine") / key).read_bytes() for key in first.keys},
        **content(site, second),
        str(strange.relative_to(site.media_root)): b"",
    }
    ended = archive(site)
    assert (ended.code, ended.document["files"]) == (0, 5)
    assert ended.document["bytes"] == sum(map(len, before.values()))
    objects = stored(site)
    packed = members(objects.pop(ended.document["key"]))
    (sidecar,) = objects.values()
    assert packed.pop(manifest.MEMBER) == sidecar
    assert packed == before
    assert unfinished(site) == []
    for name, body in {**packed, manifest.MEMBER: sidecar}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(body)
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", manifest.MEMBER], cwd=tmp_path, check=True)


def test_an_archive_of_nothing_is_none(site: Site) -> None:
    """The export was not mounted, and the proof of no file at all passes for a proven archive."""
    ended = archive(site)
    assert (ended.code, stored(site)) == (1, {})
    assert "no file to archive" in ended.errors


def test_the_archive_goes_where_the_table_says(site: Site, tmp_path: Path) -> None:
    """Another bucket's certificates land in production's archive, because somebody forgot to name theirs."""
    document = yaml.safe_load((Path(__file__).parents[2] / "ops" / "cutover.yml").read_text(encoding="utf-8"))
    assert document["deployments"]["production"]["backups_bucket"] == "deltacrown-backups"
    migrated(site)
    refused = run(site, "archive")
    assert refused.code == 2
    assert f"no backups bucket for {site.bucket}" in refused.errors
    document["deployments"]["production"] |= {"bucket": site.bucket, "backups_bucket": site.backups_bucket}
    (tmp_path / "cutover.yml").write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    table = str(tmp_path / "cutover.yml")
    ended = run(site, "archive", "--role-arn", site.roles.retirement, CUTOVER_PLAN=table)
    assert (ended.code, ended.document["bucket"]) == (0, site.backups_bucket)


def test_the_proof_can_be_repeated_and_says_no(site: Site) -> None:
    """A damaged archive is called proven, and then the local copies are deleted."""
    migrated(site, 3)
    made = archive(site).document
    key, sidecar = made["key"], made["key"].replace(".tar.gz", ".sha256")
    assert archive(site, "--verify", key).document["manifest_sha256"] == made["manifest_sha256"]
    good = stored(site)
    first = next(iter(members(good[key])))
    spoiled = {
        key: [
            good[key][:-200],
            _repacked(good[key], first, b"other bytes"),
            _repacked(good[key], first, None),
            _repacked(good[key], manifest.MEMBER, None),
        ],
        sidecar: [good[sidecar] + manifest.line("certificates/pdf/more.pdf", "0" * 64), b"no manifest\n"],
    }
    for name, bodies in spoiled.items():
        for body in bodies:
            site.root.put_object(Bucket=site.backups_bucket, Key=name, Body=body)
            ended = archive(site, "--verify", key)
            assert (ended.code, ended.document) == (1, {})
            assert key in ended.errors
        site.root.put_object(Bucket=site.backups_bucket, Key=name, Body=good[name])
    assert archive(site, "--verify", key).code == 0
    absent = key.replace(key.split("/")[2], "20200101T000000Z")
    assert archive(site, "--verify", absent).code == 4
    assert archive(site, "--verify", "archives/another-bucket/20200101T000000Z/certificates.tar.gz").code == 2


def _repacked(body: bytes, name: str, content_of: bytes | None) -> bytes:
    """The archive with other bytes for one member, or without it."""
    packed = members(body)
    if content_of is None:
        del packed[name]
    else:
        packed[name] = content_of
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as tar:
        for one, data in packed.items():
            member = tarfile.TarInfo(one)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return target.getvalue()


def is_read(process: subprocess.Popen[str], file: Path) -> bool:
    """Whether the process has read a part of the file, and has it open."""
    for descriptor in Path(f"/proc/{process.pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            if descriptor.readlink() == file:
                return "pos:\t0\n" not in Path(f"/proc/{process.pid}/fdinfo/{descriptor.name}").read_text()
    return False


def while_it_reads(site: Site, file: Path, act: Callable[[subprocess.Popen[str]], object]) -> tuple[int, str]:
    """Runs `cutover archive` as a process, acts in the middle of a file; returns exit code and standard error."""
    process = site.start(
        "archive", "--bucket", site.backups_bucket, "--role-arn", site.roles.retirement, environment=SETTLED
    )
    deadline = time.monotonic() + 30
    while not is_read(process, file) and time.monotonic() < deadline:
        time.sleep(0.005)
    assert unfinished(site)
    act(process)
    _, errors = process.communicate(timeout=60)
    return process.returncode, sentences(errors)


def test_what_ends_it_early_leaves_no_archive(site: Site) -> None:
    """Half an archive lies under the name of a whole one; or holds half an old and half a new file as good."""
    (row,) = migrated(site)
    large = site.path(pdf(row))
    acts: dict[str, tuple[Callable[[subprocess.Popen[str]], object], int, str]] = {
        "changed": (lambda _: os.utime(large), 1, pdf(row)),
        "cut": (lambda _: os.truncate(large, 1000), 1, pdf(row)),
        "vanished": (lambda _: large.unlink(), 1, pdf(row)),
        "terminated": (lambda process: process.send_signal(signal.SIGTERM), 130, "interrupted"),
    }
    for act, expected, named in acts.values():
        large.write_bytes(os.urandom(30 << 20))
        code, errors = while_it_reads(site, large, act)
        assert (code, errors.count("\n")) == (expected, 1), errors
        assert named in errors
        assert (stored(site), unfinished(site)) == ({}, [])
        assert list((site.home / "state").rglob("*.*")) == []


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    """Root lists what it archives in a folder of www-data's."""
    (tmp_path / "listing").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        archive_proof.open_private(tmp_path / "listing")
    assert not (tmp_path / "victim").exists()


def test_a_full_state_directory_leaves_no_archive(site: Site) -> None:
    """The disk is full, and the archive lacks its manifest."""
    migrated(site)
    state = site.home / "state"
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k,nr_inodes=5", "tmpfs", state], check=True)
    try:
        (state / "full").write_bytes(b"0" * 4096)
        ended = archive(site)
    finally:
        subprocess.run(["umount", state], check=True)
    assert (ended.code, ended.errors.count("\n")) == (5, 1)
    assert "No space left" in ended.errors
    assert (stored(site), unfinished(site)) == ({}, [])


def test_the_retirement_role_archives_and_the_application_may_not(site: Site) -> None:
    """Whoever takes a worker over replaces the archives."""
    migrated(site)
    ended = run(site, "archive", "--bucket", site.backups_bucket)
    assert ended.code == 4
    assert "s3://" in ended.errors
    assert stored(site) == {}


def test_an_archive_of_any_size_fits_into_s3s_parts() -> None:
    """After hours the upload ends, because S3 takes no part with the number 10,001."""
    assert part_bytes(0) == SMALLEST_PART
    for size in (PARTS * SMALLEST_PART, PARTS * SMALLEST_PART + 1, 5 << 40):
        assert part_bytes(size) * PARTS >= size
        assert part_bytes(size) < 5 << 30


@pytest.mark.parametrize("name", ["a.pdf", "a\\b.pdf", "a\nb.pdf", "\\n\r.pdf", "\udcff.pdf", "two  spaces.pdf"])
def test_a_manifest_line_holds_any_name(name: str) -> None:
    """A strange name breaks the manifest for all files after it."""
    line = manifest.line(name, "a" * 64)
    assert line.count(b"\n") == 1
    assert manifest.parse(line) == (name, "a" * 64)


@pytest.mark.parametrize("line", [b"", b"\n", b"abc  name\n", b"a" * 64 + b" name\n", b"a" * 64 + b"  \n"])
def test_a_line_that_is_none_is_refused(line: bytes) -> None:
    """A manifest that was cut proves what it does not name."""
    with pytest.raises(manifest.ManifestError):
        manifest.parse(line)
