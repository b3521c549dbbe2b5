"""What a customer sees of an S3 that fails, is slow, or cannot even be asked."""

from __future__ import annotations

import contextlib
import io
import logging
import logging.handlers
import queue
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import urllib3

from tests.unit.site.s3_conditions import BODY, objects, put_object, save

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from apps.tournaments.models import Certificate

    from cutover.django.s3_copy import S3Copy
    from cutover.django.storage import CertificateS3Storage
    from rehearsal.aws_stand_in import AwsStandIn


@pytest.mark.parametrize("condition", ["hanging", "down"])
def test_a_dead_s3_holds_a_save_for_about_a_second(
    condition: str, storage_with: Callable[..., CertificateS3Storage], certificate: Certificate
) -> None:
    """A dual-write outage that becomes a customers' outage: the client's own retries take 8 to 11 seconds."""
    storage = storage_with(condition, dual_write=True)
    began = time.monotonic()
    name = save(storage, certificate, migrated=False)
    assert time.monotonic() - began < 2.5
    assert storage.local_storage.exists(name)


def test_a_put_that_meets_another_put_is_compared(
    storage_with: Callable[..., CertificateS3Storage],
    copies: dict[str, S3Copy],
    certificate: Certificate,
    aws: AwsStandIn,
    metrics: Callable[[], list[str]],
) -> None:
    """A repeated put that S3 refuses with 409 instead of 412, and a save that counts as failed for ever."""
    from botocore.awsrequest import AWSResponse
    from botocore.compat import HTTPHeaders

    def conflict(request: Any, **_event: Any) -> Any:
        return AWSResponse(request.url, 409, HTTPHeaders(), urllib3.HTTPResponse(io.BytesIO(), preload_content=False))

    name = f"certificates/pdf/2026/11/cert_{certificate.pk}_0a1b2c3d.pdf"
    events = copies["up"].client.meta.events
    events.register("before-send.s3.PutObject", conflict)
    try:
        storage = storage_with(dual_write=True)
        save(storage, certificate, migrated=False)
        assert metrics() == ["save.fail"]
        storage.local_storage.delete(name)
        put_object(aws, name)
        save(storage, certificate, migrated=False)
        assert metrics() == ["save.success"]
    finally:
        events.unregister("before-send.s3.PutObject", conflict)


def test_a_put_that_lands_late_is_told(
    *,
    storage_with: Callable[..., CertificateS3Storage],
    copies: dict[str, S3Copy],
    certificate: Certificate,
    aws: AwsStandIn,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An object without a certificate, which nobody knows of: the certificate was removed while S3 was slow."""
    from cutover.django import s3_copy

    gave_up = threading.Event()
    told: queue.Queue[logging.LogRecord] = queue.Queue()

    def wait(**_event: Any) -> None:
        gave_up.wait(10)

    monkeypatch.setattr(s3_copy, "DEADLINE_SECONDS", 0.1)
    monkeypatch.setattr(s3_copy, "logger", logging.getLogger("of the late thread alone"))
    s3_copy.logger.addHandler(logging.handlers.QueueHandler(told))
    events = copies["up"].client.meta.events
    events.register("before-send.s3.PutObject", wait)
    try:
        name = save(storage_with(dual_write=True), certificate, migrated=False)
        assert name not in objects(aws)
        assert told.empty()
        gave_up.set()
        line = told.get(timeout=10)
    finally:
        events.unregister("before-send.s3.PutObject", wait)
    assert line.levelname == "WARNING"
    assert f"S3 stored {name} after its save had given up" in line.getMessage()
    assert objects(aws)[name] == BODY


@pytest.mark.parametrize("breaks", ["the thread", "the settings", "reading back"])
def test_what_fails_beside_s3_fails_no_save(
    breaks: str,
    storage_with: Callable[..., CertificateS3Storage],
    certificate: Certificate,
    metrics: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A certificate that is stored, and an error page for it: no thread, no settings, no second look at the file."""
    from django.test import override_settings

    from cutover.django import s3_copy

    build = s3_copy.shared_copy
    storage = storage_with(dual_write=True)
    with contextlib.ExitStack() as broken:
        if breaks == "the thread":
            broken.enter_context(_raising(monkeypatch, threading.Thread, "start", RuntimeError("no new thread")))
        elif breaks == "reading back":
            broken.enter_context(_raising(monkeypatch, storage.local_storage, "open", OSError("stale handle")))
        else:
            broken.enter_context(override_settings(AWS_S3_ADDRESSING_STYLE="sideways"))
            build.cache_clear()
            monkeypatch.setattr(s3_copy, "shared_copy", build)
        name = save(storage, certificate, migrated=False)
    assert metrics() == ["save.fail"]
    assert storage.local_storage.exists(name)


def test_a_wrong_endpoint_costs_the_customer_nothing(
    storage_with: Callable[..., CertificateS3Storage], certificate: Certificate, metrics: Callable[[], list[str]]
) -> None:
    """One typing error in an environment file, and every download and every new certificate answers 500."""
    storage = storage_with("misconfigured", dual_write=True, read_primary=True)
    name = save(storage, certificate, migrated=True)
    with storage.open(name) as file:
        assert file.read() == BODY
    assert storage.exists(name)
    assert storage.size(name) == len(BODY)
    assert storage.url(name).startswith("/media/")
    storage.delete(name)
    of_reads = [line for operation in ("exists", "size", "url") for line in (f"{operation}.fail", "read.fallback")]
    assert metrics() == ["save.fail", "read.fallback", *of_reads, "delete.fail"]


@contextlib.contextmanager
def _raising(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, error: Exception) -> Iterator[None]:
    def fail(*_arguments: Any, **_options: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fail)
        yield


@pytest.mark.parametrize("condition", ["down", "hanging", "denying", "misconfigured"])
def test_without_local_files_a_failing_s3_is_named_as_the_cause(
    condition: str,
    storage_with: Callable[..., CertificateS3Storage],
    certificate: Certificate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An outage of S3 that looks as if the certificate never existed."""
    from cutover.django import s3_copy
    from cutover.django.s3_error import S3Error

    monkeypatch.setattr(s3_copy, "SOLE_COPY_SECONDS", 0.1)
    storage = storage_with(condition, read_primary=True)
    name = save(storage, certificate, migrated=True)
    storage.local_storage.delete(name)
    for read in (storage.open, storage.size, storage.get_modified_time):
        with pytest.raises(S3Error, match=name):
            read(name)


def test_a_slow_s3_has_longer_where_nothing_else_can_answer(
    storage_with: Callable[..., CertificateS3Storage], certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate that cannot be read because S3 took two seconds, after its local copy was quarantined."""
    from cutover.django import s3_copy
    from cutover.django.deadline import within
    from cutover.django.s3_error import S3Error

    storage = storage_with(dual_write=True, read_primary=True)
    name = save(storage, certificate, migrated=True)

    def slowly(seconds: float, call: Callable[[], Any]) -> Any:
        def late() -> Any:
            time.sleep(0.3)
            return call()

        return within(seconds, late)

    monkeypatch.setattr(s3_copy, "within", slowly)
    monkeypatch.setattr(s3_copy, "DEADLINE_SECONDS", 0.1)
    with pytest.raises(S3Error, match=r"no answer within 0\.1 s"):
        storage.s3_storage.get(name)
    storage.local_storage.delete(name)
    assert storage.size(name) == len(BODY)
    assert storage.get_modified_time(name).tzinfo is not None
    with storage.open(name) as file:
        assert file.read() == BODY
