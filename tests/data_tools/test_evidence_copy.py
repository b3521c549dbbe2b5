"""`cutover evidence copy` and `verify --bucket` on a real S3 server, under the role that the stack gives them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cutover import names
from cutover.evidence import chain as chains
from cutover.evidence import stored_copy
from tests.data_tools.retired import Ended, run
from tests.unit.evidence.documents import step

if TYPE_CHECKING:
    from pathlib import Path

    from tests.data_tools.account import Account
    from tests.data_tools.certificate_site import Site

PREFIX = names.evidence("staging")


@pytest.fixture
def evidence(tmp_path: Path) -> Path:
    """A chain of three records."""
    directory = tmp_path / "evidence"
    for verdict in ("FAIL", "PASS"):
        chains.append(directory, step(1, verdict))
    chains.append(directory, step(2))
    return directory


def act(site: Site, evidence: Path, name: str, *arguments: str) -> Ended:
    """Runs an act of `cutover evidence` under the role of the evidence."""
    place = ("--directory", str(evidence), "--bucket", site.backups_bucket, "--role-arn", site.roles.evidence)
    return run(site, "evidence", name, *place, *arguments)


def stored(site: Site) -> dict[str, bytes]:
    """What the backups bucket holds."""
    listed = site.root.list_objects_v2(Bucket=site.backups_bucket).get("Contents", [])
    keys = [found["Key"] for found in listed]
    return {key: site.root.get_object(Bucket=site.backups_bucket, Key=key)["Body"].read() for key in keys}


def local(evidence: Path) -> dict[str, bytes]:
    """The same as the chain has it."""
    return {f"{PREFIX}{file.name}": file.read_bytes() for file in sorted(evidence.iterdir())}


def replace(site: Site, file: str, body: bytes) -> None:
    """Somebody with more rights stores another object."""
    site.root.put_object(Bucket=site.backups_bucket, Key=f"{PREFIX}{file}", Body=body)


def test_the_copy_is_the_chain_and_grows_with_it(site: Site, evidence: Path) -> None:
    """The data host's disk dies, and with it all that says what was done."""
    files = [file.name for file in sorted(evidence.iterdir())]
    looked = act(site, evidence, "copy", "--dry-run")
    assert (looked.code, looked.document["copied"], stored(site)) == (0, files, {})
    made = act(site, evidence, "copy")
    assert (made.code, made.document["copied"], made.document["records"]) == (0, files, 3)
    assert stored(site) == local(evidence)
    head = site.root.head_object(Bucket=site.backups_bucket, Key=f"{PREFIX}{files[0]}", ChecksumMode="ENABLED")
    assert head.get("ChecksumSHA256")
    again = act(site, evidence, "copy")
    assert (again.code, again.document["copied"]) == (0, [])
    chains.append(evidence, step(3))
    assert act(site, evidence, "verify").document["broken"]["file"] == "000004-step-3-PASS.json"
    assert act(site, evidence, "copy").document["copied"] == ["000004-step-3-PASS.json"]
    assert (act(site, evidence, "verify").code, stored(site)) == (0, local(evidence))
    versions = site.root.list_object_versions(Bucket=site.backups_bucket)["Versions"]
    assert len(versions) == 4, "a record was stored again"


def test_another_record_in_the_bucket_is_named_and_left_alone(site: Site, evidence: Path) -> None:
    """Two data hosts continue one chain, and the later copy hides the earlier one."""
    act(site, evidence, "copy")
    replace(site, "000002-step-1-PASS.json", b"{}")
    replace(site, "000003-step-2-PASS.json", b"[]")
    chains.append(evidence, step(3))
    before = stored(site)
    ended = act(site, evidence, "copy")
    assert (ended.code, ended.document["verdict"], ended.document["copied"]) == (1, "FAIL", [])
    assert ended.document["broken"]["file"] == "000002-step-1-PASS.json"
    assert ended.errors.count("\n") == 1
    assert "first at 000002-step-1-PASS.json: expected SHA-256 " in ended.errors
    assert stored(site) == before
    proven = act(site, evidence, "verify")
    assert (proven.code, proven.document["broken"]["file"]) == (1, "000002-step-1-PASS.json")


def test_a_record_that_only_the_bucket_has_is_a_fork(site: Site, evidence: Path) -> None:
    """A data host is made anew without its chain, and begins another one over the old."""
    act(site, evidence, "copy")
    replace(site, "000004-step-3-PASS.json", b"{}")
    ended = act(site, evidence, "copy")
    assert (ended.code, ended.document["broken"]["found"]) == (1, "no such file")
    assert ended.document["broken"]["file"] == "000004-step-3-PASS.json"
    assert act(site, evidence, "verify").code == 1


def test_a_record_that_is_missing_in_the_bucket_is_named(site: Site, evidence: Path) -> None:
    """Somebody deletes the record of an incident; the copy is behind, or it is not: only this tells."""
    act(site, evidence, "copy")
    site.root.delete_object(Bucket=site.backups_bucket, Key=f"{PREFIX}000002-step-1-PASS.json")
    replace(site, "000003-step-2-PASS.json", b"[]")
    proven = act(site, evidence, "verify")
    assert (proven.code, proven.document["broken"]["found"]) == (1, "no such object")
    assert proven.document["broken"]["file"] == "000002-step-1-PASS.json"


def test_whoever_stores_first_is_not_overwritten(site: Site, evidence: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look and the write another data host stores its own record, and it is gone."""
    look = stored_copy.look

    def slow(*place: Any) -> stored_copy.StoredCopy:
        found = look(*place)
        replace(site, "000001-step-1-FAIL.json", (evidence / "000001-step-1-FAIL.json").read_bytes())
        replace(site, "000002-step-1-PASS.json", b"{}")
        return found

    monkeypatch.setattr(stored_copy, "look", slow)
    ended = act(site, evidence, "copy")
    assert (ended.code, ended.document["copied"]) == (1, ["000001-step-1-FAIL.json"])
    assert ended.document["broken"]["file"] == "000002-step-1-PASS.json"
    assert sorted(stored(site)) == [f"{PREFIX}000001-step-1-FAIL.json", f"{PREFIX}000002-step-1-PASS.json"]
    assert stored(site)[f"{PREFIX}000002-step-1-PASS.json"] == b"{}"


def test_object_lock_keeps_what_is_copied(site: Site, account: Account, evidence: Path) -> None:
    """With object lock S3 asks for a checksum with each object, and a copy without one would fail only there."""
    bucket = f"{site.backups_bucket}-locked"
    account.s3.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    account.s3.put_object_lock_configuration(
        Bucket=bucket,
        ObjectLockConfiguration={
            "ObjectLockEnabled": "Enabled",
            "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}},
        },
    )
    role = account.make_roles(f"{site.bucket}-locked", bucket).evidence
    place = ("--directory", str(evidence), "--bucket", bucket, "--role-arn", role)
    root = {name: account.aws.access_key if name.endswith("ID") else account.aws.secret_key for name in ROOT_KEYS}
    assert run(site, "evidence", "copy", *place, **root, AWS_SESSION_TOKEN="").code == 0
    head = account.s3.head_object(Bucket=bucket, Key=f"{PREFIX}000001-step-1-FAIL.json")
    assert head["ObjectLockMode"] == "GOVERNANCE"


ROOT_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


def test_without_the_role_nothing_is_copied(site: Site, evidence: Path) -> None:
    """A worker that is taken over writes evidence."""
    ended = run(site, "evidence", "copy", "--directory", str(evidence), "--bucket", site.backups_bucket)
    assert ended.code == 4
    assert f"s3://{site.backups_bucket}/evidence/staging/" in ended.errors
    assert stored(site) == {}


def test_s3_that_does_not_answer_is_an_error(site: Site, evidence: Path) -> None:
    """A copy that could not be compared passes for an equal one."""
    away = "https://127.0.0.1:1"
    for name in ("copy", "verify"):
        ended = act_away(site, evidence, name, away)
        assert (ended.code, ended.document) == (4, {})


def act_away(site: Site, evidence: Path, name: str, endpoint: str) -> Ended:
    """Runs an act while S3 is away; as the application, whose credentials need no S3."""
    place = ("--directory", str(evidence), "--bucket", site.backups_bucket)
    return run(site, "evidence", name, *place, AWS_ENDPOINT_URL_S3=endpoint)


def test_a_broken_chain_is_not_copied(site: Site, evidence: Path) -> None:
    """The forged record gets the copy's authority."""
    record = evidence / "000002-step-1-PASS.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"who": "mallory"}))
    ended = act(site, evidence, "copy")
    assert (ended.code, stored(site)) == (4, {})
    assert "000002-step-1-PASS.json" in ended.errors


def test_no_record_is_no_copy(site: Site, tmp_path: Path) -> None:
    """The first step's preflight copies before there is anything."""
    for name in ("copy", "verify"):
        ended = act(site, tmp_path / "none", name)
        assert (ended.code, ended.document["verdict"]) == (3, "INCONCLUSIVE")


def test_the_bucket_is_the_tables_unless_told_otherwise(site: Site, evidence: Path) -> None:
    """Production's evidence lies in a bucket that nobody looks into."""
    ended = run(site, "evidence", "copy", "--directory", str(evidence), "--role-arn", site.roles.evidence)
    assert ended.code == 4
    assert "s3://deltacrown-backups/evidence/staging/" in ended.errors
