"""The S3 half of the certificate storage: verified puts and bounded calls. Imports boto3, so import it late."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import logging
import mimetypes
import re
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.handlers import add_expect_header
from django.conf import settings
from storages.backends.s3 import S3Storage

from cutover.django.deadline import within
from cutover.django.s3_error import S3Error
from cutover.object_store import recorded_sha256

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable, Iterator

    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef, HeadObjectOutputTypeDef

Result = TypeVar("Result")
logger = logging.getLogger("apps.tournaments.storage")

# Step 6 bounds what an unreachable S3 may cost a customer: two seconds, for a certificate that has two files. The
# client's own time-outs count for each address of the name and each read, and neither name look-up nor credentials are
# among them.
DEADLINE_SECONDS = 0.8
# Where no local file could answer instead, late is better than never; well below the 30 s that nginx waits.
SOLE_COPY_SECONDS = 10.0
CONNECT_SECONDS = 0.5
PRESIGNED_SECONDS = 15 * 60  # as the application signs them
DEFAULT_USER_AGENT = "deltacrown-app"
# MD5 of the bytes; of an object that came in parts something else, with their number; whoever is not S3 has another.
ETAG = re.compile(r'"[0-9a-f]{32}(?P<parts>-\d+)?"')
TAKEN = {HTTPStatus.PRECONDITION_FAILED, HTTPStatus.CONFLICT}


class S3Copy(S3Storage):  # type: ignore[misc]  # django-storages has no types
    """django-storages' S3 storage with the settings of certificates, and calls that end within a second.

    Each method raises S3Error when S3 fails, refuses, or does not answer within a second; a read of a sole copy,
    one that is nowhere else, has ten.
    """

    def __init__(self) -> None:
        super().__init__(location="", querystring_expire=PRESIGNED_SECONDS)
        # Merged, because a Config that is passed replaces the one that holds the site's proxies and signature.
        self.client_config: Config = self.client_config.merge(
            Config(
                connect_timeout=CONNECT_SECONDS,
                read_timeout=SOLE_COPY_SECONDS,
                retries={"total_max_attempts": 1},
                user_agent_extra=getattr(settings, "CERTIFICATE_S3_USER_AGENT", DEFAULT_USER_AGENT),
            )
        )

    @functools.cached_property
    def client(self) -> S3Client:
        """The client that all threads share: the resource of the base class is one a thread, and slow to build."""
        client: S3Client = self.connection.meta.client
        # Asking S3 first whether it wants the body costs a round trip, or a whole second where nobody answers that.
        client.meta.events.unregister("before-call.s3", add_expect_header)
        return client

    def put(self, name: str, body: bytes) -> None:
        """Stores `body` under `name`, its SHA-256 checked by S3; an object that is there already must be equal."""
        sha256 = hashlib.sha256(body)
        deadline = time.monotonic() + DEADLINE_SECONDS

        def put_new() -> None:
            if self._put_if_absent(name, body, sha256.digest()) != sha256.hexdigest():
                raise S3Error(f"put {name}: the bucket holds other bytes under this name, compare and remove one")
            if time.monotonic() > deadline:
                logger.warning(
                    "S3 stored %s after its save had given up: remove the object if its certificate is gone", name
                )

        self._bounded("put", name, put_new)

    def get(self, name: str, *, sole: bool = False) -> bytes:
        """Returns the object's bytes, compared with what S3 keeps of them."""
        return self._bounded("get", name, lambda: self._get(name), sole=sole)

    def length(self, name: str, *, sole: bool = False) -> int:
        """Returns the object's size in bytes."""
        return self._bounded("head", name, lambda: self._head(name)["ContentLength"], sole=sole)

    def modified(self, name: str, *, sole: bool = False) -> datetime.datetime:
        """Returns when the object was stored, with time zone."""
        return self._bounded("head", name, lambda: self._head(name)["LastModified"], sole=sole)

    def remove(self, name: str) -> None:
        """Deletes the object, if there is one."""
        self._bounded("delete", name, lambda: self.client.delete_object(Bucket=self.bucket_name, Key=name))

    def sign(self, name: str) -> str:
        """Returns a URL that answers a GET for 15 minutes."""
        return self._bounded(
            "sign",
            name,
            lambda: self.client.generate_presigned_url(
                "get_object",
                Params={"Bucket": self.bucket_name, "Key": name},
                ExpiresIn=self.querystring_expire,
            ),
        )

    def _put_if_absent(self, name: str, body: bytes, sha256: bytes) -> str:
        """Returns the hexadecimal SHA-256 of the object `name`, be it ours or one that was there before."""
        try:
            answer = self.client.put_object(
                Bucket=self.bucket_name,
                Key=name,
                Body=body,
                IfNoneMatch="*",
                ChecksumAlgorithm="SHA256",
                ChecksumSHA256=base64.b64encode(sha256).decode("ascii"),
                ContentType=mimetypes.guess_type(name)[0] or self.default_content_type,
                CacheControl="private, max-age=600",
                ContentDisposition="inline",
                ServerSideEncryption="AES256",
            )
        except ClientError as error:
            # 409: another put under this name was under way. Whoever came first, the object is compared.
            if error.response["ResponseMetadata"]["HTTPStatusCode"] not in TAKEN:
                raise
            return recorded_sha256(self._head(name)) or hashlib.sha256(self._get(name)).hexdigest()
        # S3 repeats the checksum that it verified; who does not is asked for it.
        kept = recorded_sha256(answer) or recorded_sha256(self._head(name))
        if kept is None:
            raise S3Error(f"put {name}: S3 keeps no SHA-256 of it, so nobody verified it")
        return kept

    def _get(self, name: str) -> bytes:
        answer = self.client.get_object(Bucket=self.bucket_name, Key=name, ChecksumMode="ENABLED")
        body = answer["Body"].read()
        if not _are_the_objects(body, answer):
            raise S3Error(f"get {name}: the bytes are not those that S3 keeps")
        return body

    def _head(self, name: str) -> HeadObjectOutputTypeDef:
        answer = self.client.head_object(Bucket=self.bucket_name, Key=name, ChecksumMode="ENABLED")
        if not ETAG.fullmatch(answer.get("ETag", "")):
            raise S3Error(f"head {name}: the answer has no ETag of S3's, so somebody else gave it")
        return answer

    def _bounded(self, operation: str, name: str, call: Callable[[], Result], *, sole: bool = False) -> Result:
        with _failures_of(f"{operation} {name}"):
            return within(SOLE_COPY_SECONDS if sole else DEADLINE_SECONDS, call)


@functools.cache
def shared_copy() -> S3Copy:
    """The one S3 half of this process, for both file fields; S3Error with settings that django-storages refuses."""
    with _failures_of("settings"):
        return S3Copy()


def prepare() -> None:
    """Builds the client, which costs a tenth of a second; S3Error without usable credentials, endpoint, settings."""
    with _failures_of("client"):
        _ = shared_copy().client


@contextlib.contextmanager
def _failures_of(what: str) -> Iterator[None]:
    """The border of S3: whatever fails inside, be it the client, its settings or its thread, leaves as S3Error."""
    try:
        yield
    except S3Error:
        raise
    except Exception as error:
        raise S3Error(f"{what}: {type(error).__name__}: {error}") from error


def _are_the_objects(body: bytes, answer: GetObjectOutputTypeDef) -> bool:
    """Whether the bytes are those that S3 keeps, by its SHA-256, or by the ETag of an object that has none.

    Such objects are there: whatever another client stored before this class did, and the backfill found equal.
    """
    if recorded := recorded_sha256(answer):
        return recorded == hashlib.sha256(body).hexdigest()
    etag = ETAG.fullmatch(answer.get("ETag", ""))
    if etag is None or etag["parts"] or answer.get("ServerSideEncryption", "AES256") != "AES256":
        return etag is not None  # with a key of KMS it is no digest either
    return etag[0].strip('"') == hashlib.md5(body, usedforsecurity=False).hexdigest()
