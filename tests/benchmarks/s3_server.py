"""SeaweedFS as the S3 server of the benchmarks: one process on 127.0.0.1 that forgets everything at its end."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import boto3
import obstore
from botocore.config import Config
from obstore.store import S3Store

from rehearsal.service_process import ServiceProcess, free_port
from tests.benchmarks.programs import BenchmarkError, peer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mypy_boto3_s3 import S3Client

HOST = "127.0.0.1"
REGION = "us-east-1"
PREFIX = "certificates/"
WARM_UP_OBJECTS = 20  # a new bucket's first writes allocate its volumes, which is no client's work


@dataclass(frozen=True)
class S3Server:
    """A running S3 server, and the credentials one speaks to it with."""

    endpoint_url: str
    access_key: str
    secret_key: str = field(repr=False)

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which every S3 client finds it and signs, whatever this machine's user has set up."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL_S3": self.endpoint_url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "RCLONE_CONFIG": os.devnull,
        }

    @contextlib.contextmanager
    def bucket(self, name: str) -> Iterator[str]:
        """Makes a bucket that can take writes at once, and removes it with its objects."""
        self._client().create_bucket(Bucket=name)
        store = self.store(name)
        for number in range(WARM_UP_OBJECTS):
            obstore.put(store, f"warm-up/{number}", b"x")
        yield name
        self._client().delete_bucket(Bucket=name)

    def count(self, bucket: str) -> int:
        """Returns the number of certificate objects in a bucket."""
        return sum(len(page) for page in obstore.list(self.store(bucket), PREFIX))

    def store(self, bucket: str) -> S3Store:
        """Returns a store for one bucket."""
        return S3Store(
            bucket,
            endpoint=self.endpoint_url,
            access_key_id=self.access_key,
            secret_access_key=self.secret_key,
            region=REGION,
            virtual_hosted_style_request=False,
            client_options={"allow_http": True},
        )

    def _client(self) -> S3Client:
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            region_name=REGION,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(proxies={}, s3={"addressing_style": "path"}),
        )


@contextlib.contextmanager
def running(directory: Path) -> Iterator[S3Server]:
    """Runs SeaweedFS from `directory` for the duration of a `with` block; BenchmarkError if it does not come up."""
    service = ServiceProcess("S3 server", "s3-server", directory, BenchmarkError)
    service.claim()
    server = S3Server(f"http://{HOST}:{free_port(HOST)}", "benchmark", secrets.token_urlsafe(30))
    # Without a key of its own SeaweedFS answers 500 to an upload that asks for encryption, as the application's do.
    environment = {"PATH": os.defpath, "TMPDIR": str(directory), "WEED_S3_SSE_KEY": secrets.token_urlsafe(30)}
    process = service.launch([str(peer("weed")), *_options(directory, server)], environment)
    service.record({"pid": process.pid})
    service.wait(process, lambda: _answers(server), server.endpoint_url)
    try:
        yield server
    finally:
        service.stop()


def _options(directory: Path, server: S3Server) -> list[str]:
    data, identities = directory / "objects", directory / "identities.json"
    data.mkdir()
    identities.touch(mode=0o600)
    identities.write_text(json.dumps(_identities(server)))
    s3_port = server.endpoint_url.rpartition(":")[2]
    other_ports = [
        f"-{name}={free_port(HOST)}"
        for part in ("master", "volume", "filer")
        for name in (f"{part}.port", f"{part}.port.grpc")
    ]
    return [
        "server",
        f"-dir={data}",
        f"-ip={HOST}",
        f"-ip.bind={HOST}",
        "-filer",
        "-s3",
        f"-s3.port={s3_port}",
        f"-s3.port.grpc={free_port(HOST)}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        f"-s3.config={identities}",
        "-s3.autoCreateBucket=false",
        *other_ports,
        "-master.telemetry=false",
        "-master.volumeSizeLimitMB=256",
        "-volume.max=400",
    ]


def _identities(server: S3Server) -> dict[str, Any]:
    credentials = [{"accessKey": server.access_key, "secretKey": server.secret_key}]
    return {"identities": [{"name": "benchmark", "credentials": credentials, "actions": ["Admin"]}]}


def _answers(server: S3Server) -> bool:
    connection = http.client.HTTPConnection(server.endpoint_url.removeprefix("http://"), timeout=2)
    try:
        connection.request("GET", "/status")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
