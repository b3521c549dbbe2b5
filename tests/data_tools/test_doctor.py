"""The doctor: that each of its checks can say no, and names what is wrong and what to do."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from cutover import object_store, plan
from cutover.doctor import bucket, identity, permissions, s3_calls, transport
from cutover.doctor.finding import Finding, Subject
from cutover.exit_codes import ExitCode
from cutover.plan import DeploymentNames
from tests.data_tools.retired import run
from tests.data_tools.stub_s3 import stub_s3

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cutover.settings import Settings
    from tests.data_tools.account import Account
    from tests.data_tools.certificate_site import Site

TABLE = plan.load()
SETTINGS_OF_THE_BUCKET = ("bucket policy", "public access block", "versioning", "lifecycle")


@pytest.fixture
def names(site: Site) -> DeploymentNames:
    role, readonly_role = (arn.rpartition("/")[2] for arn in (site.roles.application, site.roles.readonly))
    return DeploymentNames(bucket=site.bucket, role=role, readonly_role=readonly_role, fence_role="-")


@pytest.fixture
def subject(site: Site, names: DeploymentNames) -> Subject:
    """The site, under a table that knows its bucket and roles."""
    return Subject(site.settings, TABLE, "staging", names)


@pytest.fixture
def table_file(names: DeploymentNames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same table as a file, for the command."""
    document = yaml.safe_load((Path(__file__).parents[2] / "ops" / "cutover.yml").read_text(encoding="utf-8"))
    document["deployments"]["staging"] = names.model_dump(exclude_none=True)
    path = tmp_path / "cutover.yml"
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    monkeypatch.setenv("CUTOVER_PLAN", str(path))


def changed(subject: Subject, **settings: Any) -> Subject:
    return dataclasses.replace(subject, settings=dataclasses.replace(subject.settings, **settings))


def by_name(findings: Iterable[Finding]) -> dict[str, Finding]:
    return {finding.check: finding for finding in findings}


def listing(values: Settings) -> s3_calls.Answer:
    client = s3_calls.client(values)
    return s3_calls.ask(lambda: client.list_objects_v2(Bucket=values.bucket, Prefix="certificates/", MaxKeys=1))


def transport_of(subject: Subject) -> dict[str, Finding]:
    url = str(subject.settings.endpoint_url)
    return by_name(transport.examine(subject, url, listing(subject.settings)))


def permissions_of(subject: Subject, role: str) -> dict[str, Finding]:
    client = s3_calls.client(subject.settings)
    return by_name(permissions.examine(subject, client, role, listing(subject.settings)))


def allow(account: Account, role: str, effect: str, *actions: str) -> None:
    """Adds a statement to what a role may do, in place of the one added before."""
    statement = {"Effect": effect, "Action": [f"s3:{action}" for action in actions], "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    account.iam.put_role_policy(RoleName=role, PolicyName="changed-by-hand", PolicyDocument=document)


@pytest.mark.parametrize("command", ["doctor", "check"])
def test_an_endpoint_that_is_no_url_is_named(site: Site, command: str) -> None:
    """Whoever forgets `https://` gets a traceback from the very command that is to say what is wrong."""
    ended = run(site, command, AWS_ENDPOINT_URL_S3="minio:9000")
    assert (ended.code, ended.errors.count("\n")) == (2, 1)
    assert "AWS_ENDPOINT_URL_S3 'minio:9000' of the environment is no plain URL" in ended.errors


@pytest.mark.usefixtures("table_file")
def test_on_a_healthy_site_every_check_is_ok_and_nothing_is_left_behind(site: Site) -> None:
    """A doctor that finds something on every site is not read on the night it matters."""
    site.store_files(site.add())
    before = site.versions()
    file = str(site.environment_file())
    command = ("doctor", "--role-arn", site.roles.readonly, "--env-file", file)
    result = site.run(*command, "--json", environment=dict(os.environ))
    findings = json.loads(result.stdout)
    assert {finding["outcome"] for finding in findings} == {"OK"}, findings
    assert len(findings) == 21
    assert result.returncode == ExitCode.DONE
    assert site.versions() == before
    told = {finding["check"]: finding["reason"] for finding in findings}
    assert told["presigned URL"].startswith("fetched certificates/")
    site.root.delete_bucket_policy(Bucket=site.bucket)
    result = site.run(*command, environment=dict(os.environ))
    assert result.returncode == ExitCode.FAILED  # a monitoring job reads nothing but the exit code
    assert "FAIL     bucket policy: there is none\n         next: pulumi up --stack staging\n" in result.stdout


@pytest.mark.usefixtures("table_file")
def test_settings_that_may_not_be_read_are_unknown_and_not_ok(site: Site, names: DeploymentNames) -> None:
    """A bucket open to the world looks fine to a role that may not look."""
    site.store_files(site.add())
    result = site.run("doctor", environment=dict(os.environ))
    lines = result.stdout.splitlines()
    unknown = [line for line in lines if line.startswith("UNKNOWN")]
    assert [line.split(":")[0].removeprefix("UNKNOWN").strip() for line in unknown] == list(SETTINGS_OF_THE_BUCKET)
    assert f"         next: cutover doctor --role-arn <ARN of {names.readonly_role}>" in lines
    assert not any(line.startswith(("FAIL", "WARN")) for line in lines)
    assert result.returncode == ExitCode.ERROR
    probes = [version.key for version in site.versions() if version.key.startswith("cutover-probe/doctor-")]
    assert len(probes) == 1
    listed = site.root.list_objects_v2(Bucket=site.bucket, Prefix="cutover-probe/")
    assert listed["KeyCount"] == 0  # it was removed again


def test_another_role_is_named(site: Site, subject: Subject, names: DeploymentNames) -> None:
    """The staging role on production's machines is denied at the first certificate, at night."""
    other = names.model_copy(update={"role": "deltacrown-s3-access"})
    finding, role = identity.examine(dataclasses.replace(subject, names=other))
    assert role == names.role
    assert finding.outcome == "FAIL"
    assert f"application-{site.bucket}" in finding.reason
    assert "expected deltacrown-s3-access or" in finding.reason
    finding, _ = identity.examine(Subject.of(site.settings, TABLE))
    assert (finding.outcome, "none of the table's (deltacrown-cert" in finding.reason) == ("WARN", True)


def test_credentials_that_are_no_roles_are_named(
    subject: Subject, account: Account, names: DeploymentNames, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root's keys work everywhere until they are found; keys that were rotated away look like a policy's fault."""
    known = os.environ["AWS_ACCESS_KEY_ID"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", f"{known[:-4]}GONE")
    finding, _ = identity.examine(subject)
    assert (finding.outcome, finding.reason.startswith("STS: ")) == ("FAIL", True)
    # A refusal of unknown keys proves nothing of the read-only role.
    assert permissions_of(subject, names.readonly_role)["permission s3:PutObject"].outcome == "UNKNOWN"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", account.aws.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", account.aws.secret_key)
    monkeypatch.delenv("AWS_SESSION_TOKEN")
    object_store.session.cache_clear()
    finding, role = identity.examine(subject)
    assert (finding.outcome, "is no role of staging" in finding.reason, role) == ("WARN", True, "")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    object_store.session.cache_clear()
    finding, _ = identity.examine(subject)
    assert (finding.outcome, "Unable to locate credentials" in finding.reason) == ("FAIL", True)


def test_each_permission_that_is_missing_is_named(subject: Subject, account: Account, names: DeploymentNames) -> None:
    """The runbook's 403 has four possible causes, and three of them cost an hour."""
    assert {finding.outcome for finding in permissions_of(subject, names.role).values()} == {"OK"}
    for action in ("ListBucket", "PutObject", "GetObject", "DeleteObject"):
        allow(account, names.role, "Deny", action)
        findings = permissions_of(subject, names.role)
        failed = {name for name, finding in findings.items() if finding.outcome != "OK"}
        assert failed == {f"permission s3:{action}"} | ({"presigned URL"} if action == "GetObject" else set())
        finding = findings[f"permission s3:{action}"]
        assert (finding.outcome, finding.reason.startswith("AccessDenied")) == ("FAIL", True)
        assert finding.next == f"aws iam get-role-policy --role-name {names.role} --policy-name S3CertificateAccess"


def test_a_read_only_role_that_may_write_fails(
    site: Site, subject: Subject, account: Account, names: DeploymentNames
) -> None:
    """A dry run is safe only because its role cannot write."""
    looking = changed(subject, role_arn=site.roles.readonly)
    findings = permissions_of(looking, names.readonly_role)
    for action in ("PutObject", "DeleteObject"):
        assert findings[f"permission s3:{action}"].reason == "denied, as it must be under a role that only looks"
    # Before the first upload there is nothing to fetch, which must not be told as if it were fetched.
    assert "no certificate yet" in findings["presigned URL"].reason
    allow(account, names.readonly_role, "Allow", "PutObject", "DeleteObject")
    findings = permissions_of(looking, names.readonly_role)
    for action in ("PutObject", "DeleteObject"):
        finding = findings[f"permission s3:{action}"]
        assert (finding.outcome, finding.reason.startswith("allowed to a role that must only")) == ("FAIL", True)


def test_a_setting_of_the_bucket_that_is_not_the_stacks_fails(site: Site, subject: Subject) -> None:
    """Certificates that are public, gone for good, or unreadable in a year: each began with a change by hand."""
    client, name, s3 = s3_calls.client(changed(subject, role_arn=site.roles.readonly).settings), site.bucket, site.root
    assert {finding.outcome for finding in bucket.examine(subject, client)} == {"OK"}
    open_objects = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": f"arn:aws:s3:::{name}",
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    frozen = {
        "ID": "freeze",
        "Status": "Enabled",
        "Filter": {"Prefix": "certificates/"},
        "Transitions": [{"Days": 365, "StorageClass": "GLACIER"}],
    }
    s3.put_bucket_policy(Bucket=name, Policy=json.dumps({"Version": "2012-10-17", "Statement": [open_objects]}))
    s3.put_public_access_block(
        Bucket=name, PublicAccessBlockConfiguration={"BlockPublicAcls": True, "IgnorePublicAcls": True}
    )
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Suspended"})
    s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": [frozen]})  # type: ignore[list-item] # a dictionary of the right form
    findings = by_name(bucket.examine(subject, client))
    assert {finding.outcome for finding in findings.values()} == {"FAIL"}
    assert {finding.next for finding in findings.values()} == {"pulumi up --stack staging"}
    assert "does not deny plain HTTP" in findings["bucket policy"].reason
    assert "BlockPublicPolicy, RestrictPublicBuckets off" in findings["public access block"].reason
    assert "Suspended" in findings["versioning"].reason
    assert "rules certificates-stay-instantly-readable, freeze, probe-objects-expire" in findings["lifecycle"].reason


def test_a_setting_of_the_bucket_that_was_never_made_fails(site: Site, subject: Subject) -> None:
    """A bucket that was made by hand has none of them, and S3 answers an error instead of an empty one."""
    client = s3_calls.client(changed(subject, role_arn=site.roles.readonly).settings)
    site.root.delete_bucket_policy(Bucket=site.bucket)
    site.root.delete_public_access_block(Bucket=site.bucket)
    site.root.delete_bucket_lifecycle(Bucket=site.bucket)
    findings = by_name(bucket.examine(subject, client))
    assert findings.pop("versioning").outcome == "OK"
    assert {(finding.outcome, finding.reason) for finding in findings.values()} == {("FAIL", "there is none")}


def test_a_server_whose_certificate_is_not_trusted_fails(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever turns verification off to get on sends certificates to whoever answers."""
    monkeypatch.delenv("AWS_CA_BUNDLE")
    findings = transport_of(subject)
    assert (findings["TLS"].outcome, "is not trusted" in findings["TLS"].reason) == ("FAIL", True)
    assert findings["plain HTTP"].outcome == "UNKNOWN"  # what nobody answers proves nothing


def test_plain_http_and_a_wrong_clock_fail(subject: Subject) -> None:
    """A clock that is five minutes late works, and at fifteen every request is refused at once."""
    with stub_s3(seconds_ahead=360) as url:
        findings = transport_of(changed(subject, endpoint_url=url))
    assert {name: finding.outcome for name, finding in findings.items()} == dict.fromkeys(
        ("TLS", "plain HTTP", "clock"), "FAIL"
    )
    assert " s earlier than at S3" in findings["clock"].reason
    with stub_s3(seconds_ahead=-240) as url:
        assert transport_of(changed(subject, endpoint_url=url))["clock"].outcome == "OK"


def test_an_s3_that_does_not_answer_is_unknown(subject: Subject, names: DeploymentNames) -> None:
    """An outage is no missing permission: nobody must widen a policy because of it."""
    away = changed(subject, endpoint_url="https://127.0.0.1:9")
    findings = {**transport_of(away), **permissions_of(away, names.role)}
    assert {finding.outcome for finding in findings.values()} == {"UNKNOWN"}
