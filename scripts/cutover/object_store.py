"""The bucket: what S3 itself says of an object, and its bytes."""

from __future__ import annotations

import base64
import functools
import hashlib
import os
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal, NamedTuple

import boto3
import botocore.session
from botocore.config import Config
from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    FlexibleChecksumError,
    NoCredentialsError,
    PartialCredentialsError,
)

from cutover.exit_codes import CommandError, ExitCode
from cutover.local_files import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef, HeadObjectOutputTypeDef, PutObjectOutputTypeDef
    from obstore.store import S3Config, S3Store

    from cutover.settings import Settings

__all__ = [
    "ListedObject",
    "ObjectHashes",
    "ObjectStore",
    "ObjectStoreError",
    "StoredObject",
    "fast_store",
    "recorded_sha256",
    "role_session",
    "s3_client",
    "session",
]

Cause = Literal["s3_denied", "s3_unavailable", "checksum_refused"]

_BLOCK = 1 << 20  # bytes read at once
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired"}
_REFUSED = {"BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch"}
# botocore renews a role's credentials ten minutes before they end; whoever keeps a copy must ask more often.
CREDENTIALS_SECONDS = 600
# By botocore's defaults an STS that does not answer would keep a step, or the automatic rollback, for three minutes.
STS = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 3, "mode": "standard"})
RETRY_SECONDS = 60  # how long one request is tried again while S3 answers 5xx or not at all


class ObjectStoreError(CommandError):
    """S3 refused or could not be reached; the sentence names the bucket, the key and the cause."""

    exit_code = ExitCode.ERROR

    def __init__(self, message: str, cause: Cause = "s3_unavailable") -> None:
        super().__init__(message)
        self.cause: Cause = cause


@dataclass(frozen=True)
class ObjectHashes:
    """Hexadecimal SHA-256 of an object: of its bytes, and as S3 computed it at upload (None if it did not)."""

    downloaded: str
    recorded: str | None


@dataclass(frozen=True)
class StoredObject:
    """An object without its bytes: its size in bytes and S3's own SHA-256 (hexadecimal; None if it keeps none)."""

    key: str
    size: int
    sha256: str | None
    modified: datetime
    etag: str


class _InexpressibleKeyError(Exception):
    """A key that obstore's paths cannot express."""


class ListedObject(NamedTuple):
    """A line of a bucket's listing; the size is in bytes."""

    key: str
    size: int


@functools.cache
def session(settings: Settings) -> boto3.Session:
    """The one session of these settings; see `role_session`."""
    return role_session(settings.region, settings.role_arn)


def role_session(region: str | None, role_arn: str | None) -> boto3.Session:
    """A session under the credentials of the usual AWS chain, or of a role, renewed before they end.

    Raises:
        ObjectStoreError: the role cannot be assumed, which is asked here and not at every request.
    """
    own = botocore.session.get_session()
    if role_arn is None:
        return boto3.Session(botocore_session=own, region_name=region)
    own.set_config_variable("region", region)
    own.set_default_client_config(STS)
    source = own.get_credentials()
    if source is None:
        raise ObjectStoreError(f"{role_arn} cannot be assumed: {_NO_CREDENTIALS}", "s3_denied")
    fetcher = AssumeRoleCredentialFetcher(
        client_creator=own.create_client,
        source_credentials=source,
        role_arn=role_arn,
        extra_args={"RoleSessionName": "cutover"},
    )
    assumed = botocore.session.get_session()
    credentials = DeferredRefreshableCredentials(method="assume-role", refresh_using=fetcher.fetch_credentials)
    try:
        credentials.get_frozen_credentials()
    except ClientError as error:
        cause, sentence = explain(str(error.response["Error"].get("Code")), error.response["Error"].get("Message"))
        raise ObjectStoreError(f"{role_arn} cannot be assumed (sts:AssumeRole): {sentence}", cause) from error
    except BotoCoreError as error:
        raise ObjectStoreError(f"{role_arn} cannot be assumed (sts:AssumeRole): {error}") from error
    # botocore has no public way to hand credentials that renew themselves to a session.
    assumed._credentials = credentials  # type: ignore[attr-defined]
    return boto3.Session(botocore_session=assumed, region_name=region)


def s3_client(settings: Settings, config: Config) -> S3Client:
    """A client for the settings' region and endpoint; `config` is merged over the site's own."""
    return session(settings).client("s3", endpoint_url=settings.endpoint_url, config=config)


def fast_store(settings: Settings, user_agent: str, config: S3Config | None = None) -> S3Store:
    """An obstore store of the bucket, which puts and lists several times faster than boto3.

    It renews its credentials from the same source, and trusts the same authorities: those of AWS_CA_BUNDLE, if set.

    Raises:
        ObjectStoreError: there are no credentials.
    """
    if authorities := os.environ.get("AWS_CA_BUNDLE"):
        os.environ["SSL_CERT_FILE"] = authorities  # where the library's TLS looks
    from datetime import timedelta  # noqa: PLC0415 - with obstore, which only uploads and listings need

    from obstore.auth.boto3 import Boto3CredentialProvider  # noqa: PLC0415
    from obstore.store import S3Store  # noqa: PLC0415

    try:
        provider = Boto3CredentialProvider(session(settings), ttl=timedelta(seconds=CREDENTIALS_SECONDS))
    except ValueError as error:
        raise ObjectStoreError(_NO_CREDENTIALS, "s3_denied") from error
    endpoint = settings.endpoint_url
    place: S3Config = {"region": settings.region, **({"endpoint": endpoint} if endpoint else {}), **(config or {})}
    return S3Store(
        settings.bucket,
        config=place,
        credential_provider=provider,
        client_options={
            "timeout": "30s",
            "connect_timeout": "5s",
            "user_agent": user_agent,
            "allow_http": bool(endpoint and endpoint.startswith("http://")),
        },
        retry_config={"max_retries": 6, "retry_timeout": timedelta(seconds=RETRY_SECONDS)},
    )


class ObjectStore:
    """One bucket, read under the settings' credentials; `purpose` is told to S3 in the user agent.

    Every method raises ObjectStoreError if access is denied, the session expired, or S3 cannot be reached. Threads
    may share it.
    """

    def __init__(self, settings: Settings, purpose: str = "compare", *, connections: int = 10) -> None:
        self._settings = settings
        self._bucket = settings.bucket
        self._user_agent = f"cutover-{purpose}"
        self._client = s3_client(
            settings,
            Config(
                connect_timeout=5,
                read_timeout=30,
                retries={"mode": "standard", "total_max_attempts": 5},
                user_agent_extra=self._user_agent,
                max_pool_connections=connections,
            ),
        )

    @property
    def client(self) -> S3Client:
        """The client itself, for calls that belong to one command alone."""
        return self._client

    def require_bucket(self) -> None:
        """Raises ObjectStoreError if there is no such bucket, of which a HEAD says only that the object is absent."""
        try:
            self._client.list_objects_v2(Bucket=self._bucket, Prefix=PREFIX, MaxKeys=1)
        except (ClientError, BotoCoreError) as error:
            raise self.error(PREFIX, error) from error

    def head(self, key: str) -> StoredObject | None:
        """What S3 keeps of an object, or None if it says that there is none."""
        try:
            answer = self._client.head_object(Bucket=self._bucket, Key=key, ChecksumMode="ENABLED")
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == HTTPStatus.NOT_FOUND:
                return None
            raise self.error(key, error) from error
        except BotoCoreError as error:
            raise self.error(key, error) from error
        return StoredObject(
            key, answer["ContentLength"], recorded_sha256(answer), answer["LastModified"], answer["ETag"]
        )

    def hashes(self, key: str) -> ObjectHashes | None:
        """Downloads the object and returns its hashes, or None if S3 says that there is none."""
        digest = hashlib.sha256()
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=key, ChecksumMode="ENABLED")
            try:
                for block in answer["Body"].iter_chunks(_BLOCK):
                    digest.update(block)
            except FlexibleChecksumError:  # raised after the last byte
                if recorded_sha256(answer) is None:  # nobody could tell from the hashes that these bytes are wrong
                    raise
        except self._client.exceptions.NoSuchKey:
            return None
        except (ClientError, BotoCoreError) as error:
            raise self.error(key, error) from error
        return ObjectHashes(digest.hexdigest(), recorded_sha256(answer))

    def sha256(self, key: str) -> str | None:
        """Hexadecimal SHA-256 of an object: S3's own, or of the bytes where it keeps none; None without object."""
        stored = self.head(key)
        if stored is None:
            return None
        if stored.sha256 is not None:
            return stored.sha256
        hashes = self.hashes(key)
        return None if hashes is None else hashes.downloaded

    def list(self, prefix: str = PREFIX) -> Iterator[ListedObject]:
        """All objects under a prefix that ends in a slash, in S3's order, which is that of the keys' UTF-8 bytes."""
        import obstore  # noqa: PLC0415 - boto3 lists five times slower
        from obstore.exceptions import BaseError  # noqa: PLC0415

        last = ""
        store = fast_store(self._settings, self._user_agent)
        try:
            for chunk in obstore.list(store, prefix=prefix.rstrip("/"), chunk_size=1000):
                for found in chunk:
                    key, size = found["path"], found["size"]
                    if size == 0:  # its name may have ended in a slash, which obstore takes off: a console's "folder"
                        raise _InexpressibleKeyError
                    last = key
                    yield ListedObject(key, size)
        except BaseError as error:
            if "illegal character" not in str(error) and "empty path segment" not in str(error):
                raise self._fast_error(prefix, error) from error
        except _InexpressibleKeyError:
            pass
        else:
            return
        # A key that obstore cannot express, such as one with two slashes: somebody put it there, and it must be seen.
        yield from self._list_slowly(prefix, last)

    def error(self, key: str, error: Exception) -> ObjectStoreError:
        """The sentence for what a client raised over a key."""
        where = f"s3://{self._bucket}/{key}"
        if isinstance(error, ClientError):
            cause, sentence = explain(str(error.response["Error"].get("Code")), error.response["Error"].get("Message"))
            return ObjectStoreError(f"{where}: {sentence}", cause)
        if isinstance(error, NoCredentialsError | PartialCredentialsError | CredentialRetrievalError):
            return ObjectStoreError(f"{where}: {_NO_CREDENTIALS}", "s3_denied")
        if isinstance(error, FlexibleChecksumError):
            sentence = "the bytes that came are not those whose checksum S3 keeps"
            return ObjectStoreError(f"{where}: {sentence}", "checksum_refused")
        return ObjectStoreError(f"{where}: {error}")

    def _list_slowly(self, prefix: str, after: str) -> Iterator[ListedObject]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=prefix, StartAfter=after
        )
        try:
            for page in pages:
                for found in page.get("Contents", ()):
                    yield ListedObject(found["Key"], found["Size"])
        except (ClientError, BotoCoreError) as error:
            raise self.error(prefix, error) from error

    def _fast_error(self, key: str, error: Exception) -> ObjectStoreError:
        cause, sentence = explain_fast(error)
        return ObjectStoreError(f"s3://{self._bucket}/{key}: {sentence}", cause)


_NO_CREDENTIALS = "there are no AWS credentials: set them, or use the machine's role"


def explain(code: str, message: str | None) -> tuple[Cause, str]:
    """The cause and the sentence for one of S3's error codes."""
    if code in _EXPIRED:
        return (
            "s3_denied",
            "the session token of these credentials has expired: sign in again, or use the machine's role",
        )
    if code in _REFUSED:
        return "checksum_refused", f"{code}: S3 computed another SHA-256 than was sent with the bytes"
    denied = code in {"403", "401"} or any(part in code for part in ("Denied", "Forbidden", "Signature", "AccessKey"))
    return ("s3_denied" if denied else "s3_unavailable"), f"{code}: {message}"


def explain_fast(error: Exception) -> tuple[Cause, str]:
    """The same for what obstore raised, which holds S3's answer as text."""
    text = " ".join(str(error).split())
    code = text.partition("<Code>")[2].partition("</Code>")[0]
    if code:
        return explain(code, text.partition("<Message>")[2].partition("</Message>")[0])
    if type(error).__name__ in {"PermissionDeniedError", "UnauthenticatedError"}:
        return "s3_denied", "S3 denied the request"
    return "s3_unavailable", text.partition("Debug source:")[0][:300].strip()


def recorded_sha256(
    answer: HeadObjectOutputTypeDef | GetObjectOutputTypeDef | PutObjectOutputTypeDef,
) -> str | None:
    """S3's SHA-256 of the whole object, hexadecimal; that of a multipart upload is one of its parts' hashes: None."""
    recorded = answer.get("ChecksumSHA256")
    if not recorded or "-" in recorded or answer.get("ChecksumType") == "COMPOSITE":
        return None
    return base64.b64decode(recorded).hex()
