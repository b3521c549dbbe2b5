"""The storage class in every mode, with S3 in every condition."""

from __future__ import annotations

import base64
import hashlib
import itertools
import time
from typing import TYPE_CHECKING, Any

import pytest
import urllib3

from tests.unit.site.s3_conditions import BODY, WrongServer, objects, put_object, s3_of, save
from tests.unit.site.stand_in_site import BUCKET

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from apps.tournaments.models import Certificate

    from cutover.django.storage import CertificateS3Storage
    from rehearsal.aws_stand_in import AwsStandIn

CONDITIONS = ("up", "down", "hanging", "denying", "wrong")


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("migrated", [True, False], ids=["migrated", "unmigrated"])
@pytest.mark.parametrize("triple", list(itertools.product([True, False], repeat=3)), ids=str)
def test_every_mode_serves_the_bytes_whatever_s3_does(
    *,
    triple: tuple[bool, bool, bool],
    migrated: bool,
    condition: str,
    storage_with: Callable[..., CertificateS3Storage],
    certificate: Certificate,
    aws: AwsStandIn,
    metrics: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A mode in which a customer sees S3 fail, or a failure that no METRIC line counts."""
    from cutover.django import s3_copy
    from cutover.django.flags import Flags

    monkeypatch.setattr(s3_copy, "DEADLINE_SECONDS", 0.1 if condition == "hanging" else 10)
    names = ("CERT_S3_DUAL_WRITE", "CERT_S3_READ_PRIMARY", "CERT_S3_BACKFILL_ENABLED")
    flags = Flags.from_environment(dict(zip(names, map(str, triple), strict=True)))
    dual_write, read_primary, _backfill = triple
    works = condition == "up"
    outcome = "success" if works else "fail"
    storage = storage_with(condition, dual_write=flags.dual_write, read_primary=flags.read_primary)

    name = save(storage, certificate, migrated=migrated)
    assert metrics() == ([f"save.{outcome}"] if dual_write else [])
    assert (name in objects(aws)) == (dual_write and works)
    if migrated and not dual_write:
        put_object(aws, name)  # as an earlier mode did

    reads_s3 = read_primary and migrated
    with storage.open(name) as file:
        assert file.read() == BODY
    assert metrics() == ([f"read.{'success' if works else 'fallback'}"] if reads_s3 else [])
    assert storage.exists(name)
    assert storage.size(name) == len(BODY)
    counted = [
        line
        for operation in ("exists", "size")
        for line in ([f"{operation}.success"] if works else [f"{operation}.fail", "read.fallback"])
    ]
    assert metrics() == (counted if reads_s3 else [])
    assert storage.url(name).startswith("http" if reads_s3 else "/media/")
    assert metrics() == (["url.success"] if reads_s3 else [])

    storage.delete(name)
    assert metrics() == ([f"delete.{outcome}"] if dual_write or read_primary else [])
    assert not storage.local_storage.exists(name)
    s3_of(aws).delete_object(Bucket=BUCKET, Key=name)


def test_an_object_carries_what_the_application_promises(
    storage_with: Callable[..., CertificateS3Storage], certificate: Certificate, aws: AwsStandIn
) -> None:
    """A browser that downloads instead of showing, a public cache, or an object without S3's own SHA-256."""
    name = save(storage_with(dual_write=True), certificate, migrated=False)
    head = s3_of(aws).head_object(Bucket=BUCKET, Key=name, ChecksumMode="ENABLED")
    assert head["ContentType"] == "application/pdf"
    assert head["CacheControl"] == "private, max-age=600"
    assert head["ContentDisposition"] == "inline"
    assert head["ServerSideEncryption"] == "AES256"
    assert head["ChecksumSHA256"] == base64.b64encode(hashlib.sha256(BODY).digest()).decode()


def test_a_name_that_collides_is_changed_once_for_both_copies(
    storage_with: Callable[..., CertificateS3Storage], certificate: Certificate, aws: AwsStandIn
) -> None:
    """Two names for one file: the fallback would read nothing."""
    storage = storage_with(dual_write=True)
    first = save(storage, certificate, migrated=False)
    second = save(storage, certificate, migrated=False)
    assert first != second
    local = {f"certificates/pdf/2026/11/{name}" for name in storage.listdir("certificates/pdf/2026/11")[1]}
    assert local == {first, second}
    assert local <= set(objects(aws))


def test_other_bytes_under_the_name_are_kept_and_counted_as_a_failure(
    storage_with: Callable[..., CertificateS3Storage],
    certificate: Certificate,
    aws: AwsStandIn,
    metrics: Callable[[], list[str]],
) -> None:
    """An object of another certificate overwritten blindly."""
    name = f"certificates/pdf/2026/11/cert_{certificate.pk}_0a1b2c3d.pdf"
    put_object(aws, name, b"another")
    assert save(storage_with(dual_write=True), certificate, migrated=False) == name
    assert metrics() == ["save.fail"]
    assert objects(aws)[name] == b"another"


def test_equal_bytes_under_the_name_are_a_success(
    storage_with: Callable[..., CertificateS3Storage],
    certificate: Certificate,
    aws: AwsStandIn,
    metrics: Callable[[], list[str]],
) -> None:
    """A put whose answer was lost, and which then counts as a failure for ever."""
    put_object(aws, f"certificates/pdf/2026/11/cert_{certificate.pk}_0a1b2c3d.pdf")
    save(storage_with(dual_write=True), certificate, migrated=False)
    assert metrics() == ["save.success"]


def test_the_sites_own_settings_of_the_client_count() -> None:
    """A site behind a proxy whose certificates alone do not go through it."""
    from django.test import override_settings

    from cutover.django.s3_copy import S3Copy

    proxies = {"https": "http://proxy.example:3128"}
    with override_settings(AWS_S3_PROXIES=proxies, AWS_S3_ADDRESSING_STYLE="virtual", AWS_S3_SIGNATURE_VERSION="s3v4"):
        config: Any = S3Copy().client.meta.config  # its options are set by name, and have no types
    assert config.proxies == proxies
    assert config.s3["addressing_style"] == "virtual"
    assert config.signature_version == "s3v4"
    assert (config.connect_timeout, config.retries["total_max_attempts"]) == (0.5, 1)


def test_an_upload_names_the_application_and_asks_for_no_permission_to_go_on(
    storage_with: Callable[..., CertificateS3Storage], certificate: Certificate
) -> None:
    """Calls that nobody can tell from the cutover's own, and a round trip more for each customer."""
    save(storage_with("wrong", dual_write=True), certificate, migrated=False)
    assert "deltacrown-app" in WrongServer.last_headers["User-Agent"]
    assert "Expect" not in WrongServer.last_headers


def test_a_missing_object_of_a_migrated_row_is_read_locally(
    storage_with: Callable[..., CertificateS3Storage],
    certificate: Certificate,
    metrics: Callable[[], list[str]],
) -> None:
    """A mark without an object, and a customer who gets a 500 for it."""
    storage = storage_with(read_primary=True)
    name = save(storage, certificate, migrated=True)
    with storage.open(name) as file:
        assert file.read() == BODY
    assert metrics() == ["read.fallback"]


def test_without_local_files_a_migrated_certificate_is_read_from_s3(
    storage_with: Callable[..., CertificateS3Storage], certificate: Certificate
) -> None:
    """Quarantined local copies that make verification say `tampered`."""
    storage = storage_with(dual_write=True, read_primary=True)
    name = save(storage, certificate, migrated=True)
    storage.local_storage.delete(name)
    with storage.open(name) as file:
        assert file.read() == BODY
    with storage.open(name, "r") as file:
        assert file.read() == BODY.decode()
    assert storage.get_modified_time(name).tzinfo is not None


@pytest.mark.parametrize("way", ["CRC32", "parts"])
def test_an_object_without_a_sha256_of_its_own_is_a_copy_like_any_other(
    *,
    way: str,
    storage_with: Callable[..., CertificateS3Storage],
    certificate: Certificate,
    aws: AwsStandIn,
    metrics: Callable[[], list[str]],
) -> None:
    """What the application stored before this class did: found equal and marked, and after step 10 read by nobody."""
    put_object(aws, f"certificates/pdf/2026/11/cert_{certificate.pk}_0a1b2c3d.pdf", way=way)
    storage = storage_with(dual_write=True, read_primary=True)
    name = save(storage, certificate, migrated=True)
    storage.local_storage.delete(name)
    with storage.open(name) as file:
        assert file.read() == BODY
    assert storage.exists(name)
    assert storage.size(name) == len(BODY)
    assert metrics() == ["save.success", "read.success", "exists.success", "size.success"]


def test_a_presigned_url_gives_the_bytes_for_a_quarter_of_an_hour(
    storage_with: Callable[..., CertificateS3Storage], certificate: Certificate, aws: AwsStandIn
) -> None:
    """A URL that is signed for the wrong key, or for ever."""
    storage = storage_with(dual_write=True, read_primary=True)
    url = storage.url(save(storage, certificate, migrated=True))
    assert urllib3.PoolManager(ca_certs=aws.ca_file).request("GET", url).data == BODY
    expires = int(dict(part.split("=") for part in url.partition("?")[2].split("&"))["Expires"])
    assert 890 <= expires - time.time() <= 901


def test_another_row_that_is_migrated_does_not_count(
    storage_with: Callable[..., CertificateS3Storage], certificate: Certificate
) -> None:
    """A name presigned because some row is migrated: a 404 at S3 that no fallback counts."""
    from apps.tournaments.models import Certificate

    storage = storage_with(read_primary=True)
    name = save(storage, certificate, migrated=False)
    other = Certificate.objects.create(tournament_id=1, participant_id=2, certificate_type="winner")
    save(storage, other, migrated=True)
    assert storage.url(name).startswith("/media/")
    assert storage.url("certificates/pdf/a name without a number.pdf").startswith("/media/")


def test_the_storage_has_every_method_of_djangos_interface() -> None:
    """A class that lacks one method cannot be put on the model at all, or falls through to a wrong default."""
    from django.core.files.storage import Storage

    from cutover.django.storage import CertificateS3Storage

    interface = {name for name, value in vars(Storage).items() if callable(value) and not name.startswith("_")}
    assert len(interface) >= 15
    assert interface <= set(vars(CertificateS3Storage))


def test_every_method_answers(
    storage_with: Callable[..., CertificateS3Storage], certificate: Certificate, media: Path
) -> None:
    """A method that is there and raises NotImplementedError."""
    storage = storage_with(dual_write=True, read_primary=True)
    name = save(storage, certificate, migrated=True)
    assert storage.path(name) == str(media / name)
    assert storage.listdir("certificates/pdf") == (["2026"], [])
    assert storage.get_valid_name("a b.pdf") == "a_b.pdf"
    assert storage.get_alternative_name("a", ".pdf").startswith("a_")
    assert storage.generate_filename("x/a b.pdf") == "x/a_b.pdf"
    assert not storage.is_name_available(name)
    assert storage.get_available_name(name) != name
    times = {storage.get_accessed_time(name), storage.get_created_time(name), storage.get_modified_time(name)}
    assert all(abs(found.timestamp() - time.time()) < 60 for found in times)
    assert storage.s3_storage.bucket.name == BUCKET
    with pytest.raises(ValueError, match="written by save"):
        storage.open(name, "wb")


def test_the_storage_survives_a_migration_file() -> None:
    """`makemigrations` that cannot write the field down."""
    from django.db.migrations.writer import MigrationWriter

    from cutover.django.storage import CertificateS3Storage

    text, imports = MigrationWriter.serialize(CertificateS3Storage())
    assert text == "cutover.django.storage.CertificateS3Storage()"
    assert imports == {"import cutover.django.storage"}
