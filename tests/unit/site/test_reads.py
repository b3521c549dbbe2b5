"""`python -m cutover.django.reads`: what the site's own storage gives, and each way in which it gives it wrongly."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.site.s3_conditions import BODY, put_object, s3_of
from tests.unit.site.stand_in_site import BUCKET, SITE

if TYPE_CHECKING:
    from collections.abc import Callable

    from apps.tournaments.models import Certificate
    from django.core.files.storage import Storage

    from cutover.django.read_results import Reads
    from cutover.django.s3_copy import S3Copy
    from cutover.django.storage import CertificateS3Storage
    from rehearsal.aws_stand_in import AwsStandIn

    StorageWith = Callable[..., CertificateS3Storage]

WRONG = "the bytes are not those that were issued"


@pytest.fixture
def issue(media: Path, aws: AwsStandIn) -> Callable[..., Certificate]:
    """Issues a certificate with a local file, or in S3 and marked."""
    import hashlib

    from apps.tournaments.models import Certificate
    from django.utils import timezone

    def issued(*, migrated: bool, root: Path = media, local: bool = True) -> Certificate:
        number = Certificate.objects.count() + 1
        row = Certificate.objects.create(
            tournament_id=1,
            participant_id=number,
            certificate_type="winner",
            certificate_hash=hashlib.sha256(BODY).hexdigest(),
            migrated_to_s3_at=timezone.now() if migrated else None,
        )
        row.file_pdf.name = f"certificates/pdf/2026/11/cert_{row.pk}_0a1b2c3d.pdf"
        row.save()
        if migrated:
            put_object(aws, row.file_pdf.name)
        if local:
            (root / row.file_pdf.name).parent.mkdir(parents=True, exist_ok=True)
            (root / row.file_pdf.name).write_bytes(BODY)
        return row

    return issued


def measure(storage: Storage, sample: int = 10, answers: int = 0) -> Reads:
    from apps.tournaments.models import Certificate

    from cutover.django.reads import Reader

    return Reader(Certificate, storage).measure(sample, answers)


def details(found: Reads) -> str:
    return " ".join(failure["detail"] for failure in found.failures)


def test_both_kinds_are_read_where_they_must_be(storage_with: StorageWith, issue: Any) -> None:
    """The gate of step 4 with nothing wrong."""
    for migrated in (True, True, False):
        issue(migrated=migrated)
    issue(migrated=True, local=False)
    found = measure(storage_with(read_primary=True), answers=2)
    assert vars(found.migrated) == {"asked": 3, "from_s3": 3, "equal": 3, "fallbacks": 0}
    assert vars(found.unmigrated) == {"asked": 1, "from_local": 1, "equal": 1, "signed": 0}
    assert vars(found.answers) == {"asked": 2, "ok": 2}
    assert len(found.sign_ms) == 3
    assert all(0 < milliseconds < 1000 for milliseconds in found.sign_ms)
    assert (found.failures, found.verdict) == ([], 0)


def test_the_sample_bounds_each_kind(storage_with: StorageWith, issue: Any) -> None:
    """A sample of ten that reads a million certificates."""
    for migrated in (True, True, True, False, False, False):
        issue(migrated=migrated)
    found = measure(storage_with(read_primary=True), sample=2, answers=99)
    assert (found.migrated.asked, found.unmigrated.asked, found.answers.asked) == (2, 2, 2)


def test_reads_that_are_not_on_s3_are_told(storage_with: StorageWith, issue: Any) -> None:
    """The flag is off, or the model does not use the storage class: everything is right, and nothing is on S3."""
    issue(migrated=True)
    found = measure(storage_with(dual_write=True), answers=1)
    assert (found.migrated.asked, found.migrated.from_s3, found.migrated.equal) == (1, 0, 1)
    assert (found.sign_ms, found.answers.asked, found.verdict) == ([], 0, 1)
    assert "open() did not ask S3: reads are not on S3 in this process" in details(found)
    assert "url() gave no presigned URL" in details(found)


@pytest.mark.parametrize("condition", ["down", "denying", "wrong"])
def test_a_fallback_is_counted_with_its_cause(condition: str, storage_with: StorageWith, issue: Any) -> None:
    """Every customer gets his bytes, and S3 gave none of them."""
    issue(migrated=True)
    found = measure(storage_with(condition, read_primary=True))
    assert vars(found.migrated) == {"asked": 1, "from_s3": 0, "equal": 1, "fallbacks": 1}
    assert found.verdict == 1
    assert re.search(r"open\(\) fell back to the local file: S3 failed for certificates/pdf/\S+", details(found))


def test_a_success_that_fell_back_is_a_fallback(issue: Any, storage_with: StorageWith) -> None:
    """The application counts read.success before it has a byte; then S3 breaks off, and the local file answers."""
    from cutover.django.storage import CertificateS3Storage

    class CountsEarly(CertificateS3Storage):
        def open(self, name: str, mode: str = "rb") -> Any:
            for metric in ("success", "fallback"):
                logging.getLogger("apps.tournaments.storage").info("METRIC: cert.s3.read.%s=1", metric)
            return self.local_storage.open(name, mode)

    issue(migrated=True)
    found = measure(CountsEarly(storage_with(read_primary=True).flags))
    assert vars(found.migrated) == {"asked": 1, "from_s3": 0, "equal": 1, "fallbacks": 1}
    assert details(found) == "open() fell back to the local file: no cause was logged"


def test_a_fallback_of_the_url_alone_is_counted(issue: Any, storage_with: StorageWith) -> None:
    """The page links to the local file, which the quarantine takes away; a download of it still works."""
    from cutover.django.storage import CertificateS3Storage

    class CannotSign(CertificateS3Storage):
        def url(self, name: str | None) -> str:
            logging.getLogger("apps.tournaments.storage").info("METRIC: cert.s3.read.fallback=1")
            return self.local_storage.url(name)

    issue(migrated=True)
    found = measure(CannotSign(storage_with(read_primary=True).flags))
    assert vars(found.migrated) == {"asked": 1, "from_s3": 1, "equal": 1, "fallbacks": 1}
    assert (found.verdict, found.sign_ms) == (1, [])


def test_an_unmigrated_row_that_is_read_from_s3_is_told(issue: Any, storage_with: StorageWith, aws: AwsStandIn) -> None:
    """A storage that asks S3 for everything: each row that is not there yet is a fallback, or a 404."""
    from django.core.files.base import ContentFile

    from cutover.django.storage import CertificateS3Storage

    class AsksS3Always(CertificateS3Storage):
        def open(self, name: str, mode: str = "rb") -> Any:
            logging.getLogger("apps.tournaments.storage").info("METRIC: cert.s3.read.success=1")
            return ContentFile(self.s3_storage.get(name), mode)

    put_object(aws, issue(migrated=False).file_pdf.name)
    found = measure(AsksS3Always(storage_with(read_primary=True).flags))
    assert vars(found.unmigrated) == {"asked": 1, "from_local": 0, "equal": 1, "signed": 0}
    assert details(found) == "open() read it from S3, although it is not marked as migrated"


def test_an_object_that_is_gone_is_told(storage_with: StorageWith, issue: Any, aws: AwsStandIn) -> None:
    """Marked, absent in S3: a fallback as long as there is a local file, and a failure afterwards."""
    for local in (True, False):
        row = issue(migrated=True, local=local)
        s3_of(aws).delete_object(Bucket=BUCKET, Key=row.file_pdf.name)
    found = measure(storage_with(read_primary=True), answers=2)
    assert vars(found.migrated) == {"asked": 2, "from_s3": 0, "equal": 1, "fallbacks": 2}
    assert vars(found.answers) == {"asked": 2, "ok": 0}
    assert "open() failed: S3Error" in details(found)
    assert "the presigned URL answers HTTP 404 NoSuchKey" in details(found)


def test_wrong_bytes_are_told(storage_with: StorageWith, issue: Any, media: Path, aws: AwsStandIn) -> None:
    """The shadow reads of step 8 exist for this."""
    wrong, damaged = issue(migrated=True), issue(migrated=False)
    put_object(aws, wrong.file_pdf.name, b"another's")
    (media / damaged.file_pdf.name).write_bytes(b"damaged")
    found = measure(storage_with(read_primary=True))
    assert (found.migrated.equal, found.unmigrated.equal, found.verdict) == (0, 0, 1)
    assert {failure["certificate_id"] for failure in found.failures} == {wrong.pk, damaged.pk}
    assert all(WRONG in failure["detail"] for failure in found.failures)


def test_a_local_file_that_is_gone_is_told(storage_with: StorageWith, issue: Any) -> None:
    """Neither in S3 nor on the disk."""
    issue(migrated=True)
    issue(migrated=False, local=False)
    found = measure(storage_with(read_primary=True))
    assert (found.unmigrated.asked, found.unmigrated.equal, found.verdict) == (1, 0, 1)
    assert "open() failed: FileNotFoundError" in details(found)


def test_a_signed_url_of_an_unmigrated_row_is_told(issue: Any, storage_with: StorageWith) -> None:
    """An application that signs without asking the table: 404 at S3, and no fallback ever counts it."""
    from cutover.django.storage import CertificateS3Storage

    class SignsEverything(CertificateS3Storage):
        def url(self, name: str | None) -> str:
            return self.s3_storage.sign(str(name))

    issue(migrated=True)
    row = issue(migrated=False)
    found = measure(SignsEverything(storage_with(read_primary=True).flags))
    assert vars(found.unmigrated) == {"asked": 1, "from_local": 1, "equal": 1, "signed": 1}
    assert found.verdict == 1
    assert found.failures == [
        {"certificate_id": row.pk, "detail": "url() leads to S3, although it is not marked as migrated"}
    ]


@pytest.mark.parametrize(
    ("url", "leads"),
    [
        ("https://bucket.s3.amazonaws.com/a.pdf?AWSAccessKeyId=A&Signature=b&Expires=1", True),
        ("https://bucket.s3.eu-north-1.amazonaws.com/a.pdf?X-Amz-Signature=b", True),
        ("https://bucket.s3.amazonaws.com/a.pdf", True),
        ("/media/certificates/a.pdf", False),
        ("/media/certificates/a.pdf?version=2", False),
        ("https://cdn.example.org/media/a.pdf", False),
    ],
)
def test_urls_of_both_signatures_lead_to_s3(url: str, leads: bool) -> None:
    """Signature version 2 in us-east-1, where production is, would be taken for a local address."""
    from django.test import override_settings

    from cutover.django.reads import _leads_to_s3

    with override_settings(MEDIA_URL="https://cdn.example.org/media/" if "cdn" in url else "/media/"):
        assert _leads_to_s3(url) is leads


def test_a_presigned_url_that_s3_refuses_is_told(
    issue: Any, storage_with: StorageWith, copies: dict[str, S3Copy]
) -> None:
    """Signing asks nobody: a role without GetObject signs as fast as any, and the customer gets 403."""
    from cutover.django.storage import CertificateS3Storage

    class SignsAsAStranger(CertificateS3Storage):
        def url(self, name: str | None) -> str:
            return copies["denying"].sign(str(name))

    issue(migrated=True)
    found = measure(SignsAsAStranger(storage_with(read_primary=True).flags), answers=1)
    assert vars(found.answers) == {"asked": 1, "ok": 0}
    assert (found.migrated.from_s3, found.verdict) == (1, 1)
    assert details(found) == "the presigned URL answers HTTP 403 AccessDenied"


def test_an_unreachable_url_is_told_without_its_signature(
    issue: Any, storage_with: StorageWith, copies: dict[str, S3Copy]
) -> None:
    """The report goes to the backups bucket; whoever reads it could read the certificate."""
    from cutover.django.storage import CertificateS3Storage

    class Broken(CertificateS3Storage):
        def url(self, name: str | None) -> str:
            return copies["down"].sign(str(name))

        def open(self, name: str, mode: str = "rb") -> Any:
            raise RuntimeError(f"cannot read {self.url(name)} in mode {mode}")

    issue(migrated=True)
    found = measure(Broken(storage_with(read_primary=True).flags), answers=1)
    assert vars(found.answers) == {"asked": 1, "ok": 0}
    assert "the presigned URL: no answer" in details(found)
    assert "open() failed: RuntimeError: cannot read https://" in details(found) or "http://" in details(found)
    assert "ignature" not in details(found)


def test_a_row_that_is_marked_meanwhile_is_not_counted(issue: Any, storage_with: StorageWith) -> None:
    """The sweep marks a row between its drawing and its reading: a URL of S3 is right then."""
    from apps.tournaments.models import Certificate
    from django.utils import timezone

    from cutover.django.storage import CertificateS3Storage

    class MarksFirst(CertificateS3Storage):
        def url(self, name: str | None) -> str:
            Certificate.objects.filter(file_pdf=name).update(migrated_to_s3_at=timezone.now())
            return super().url(name)

    issue(migrated=False)
    found = measure(MarksFirst(storage_with(read_primary=True).flags))
    assert (found.unmigrated.asked, found.failures, found.verdict) == (0, [], 3)


def test_no_migrated_row_is_inconclusive(issue: Any, storage_with: StorageWith) -> None:
    """0 of 0 reads from S3."""
    assert measure(storage_with(read_primary=True)).verdict == 3
    issue(migrated=False)
    found = measure(storage_with(read_primary=True))
    assert (found.unmigrated.asked, found.verdict) == (1, 3)


def test_the_sites_log_hears_nothing_of_it(
    issue: Any, storage_with: StorageWith, metrics: Callable[[], list[str]]
) -> None:
    """A measurement that counts as customers' reads, in the very rates by which the step is judged."""
    issue(migrated=True)
    logger = logging.getLogger("apps.tournaments.storage")
    before = (logger.handlers[:], logger.propagate, logger.level)
    assert measure(storage_with(read_primary=True)).migrated.from_s3 == 1
    assert metrics() == []
    assert (logger.handlers, logger.propagate, logger.level) == before


def _run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    django = {"PATH": os.environ["PATH"], "DJANGO_SETTINGS_MODULE": "deltacrown.settings"}
    return subprocess.run(
        [sys.executable, "-m", "cutover.django.reads", *arguments],
        cwd=SITE,
        env=django | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_as_a_command_in_the_sites_folder(environment: dict[str, str], issue: Any, tmp_path: Path) -> None:
    """What playbooks call: flags from the workers' environment file, or on for this process alone."""
    root = Path(environment["MEDIA_ROOT"])
    issue(migrated=True, root=root)
    issue(migrated=False, root=root)
    file = tmp_path / "site.env"
    file.write_text("".join(f"{name}={value}\n" for name, value in environment.items()) + "CERT_S3_READ_PRIMARY=false")
    asked = ("--json", "--sample", "5", "--answers", "1", "--env-file", str(file))
    done = _run({}, *asked)
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["migrated"] == {"asked": 1, "from_s3": 0, "equal": 1, "fallbacks": 0}
    done = _run({}, *asked, "--shadow")
    assert done.returncode == 0, done.stderr + done.stdout
    found = json.loads(done.stdout)
    assert found.keys() == {"migrated", "unmigrated", "sign_ms", "answers", "failures"}
    assert found["migrated"] == {"asked": 1, "from_s3": 1, "equal": 1, "fallbacks": 0}
    assert found["unmigrated"] == {"asked": 1, "from_local": 1, "equal": 1, "signed": 0}
    assert (found["answers"], found["failures"]) == ({"asked": 1, "ok": 1}, [])
    assert "METRIC" not in done.stderr


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"DATABASE_URL": "postgres://nobody@127.0.0.1:1/nothing"}, "the certificate table cannot be read"),
        ({"DJANGO_SETTINGS_MODULE": "nowhere.settings"}, "the site cannot be started (ModuleNotFoundError"),
        ({"DJANGO_SECRET_KEY": ""}, "the site cannot be started (ImproperlyConfigured"),
    ],
)
def test_what_cannot_be_asked_is_an_error(environment: dict[str, str], changes: dict[str, str], sentence: str) -> None:
    """A database that is down must not look like a storage that fails."""
    done = _run(environment | changes, "--json", "--sample", "5")
    assert (done.returncode, done.stdout) == (4, "")
    assert f"cutover: {sentence}" in done.stderr


def test_an_environment_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """Reads with other flags than the workers have."""
    done = _run({}, "--sample", "5", "--env-file", str(tmp_path / "none.env"))
    assert done.returncode == 2
    assert "none.env: cannot be read" in done.stderr
