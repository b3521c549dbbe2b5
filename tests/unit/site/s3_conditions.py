"""What the tests of the storage class share: certificates with bytes, and a server that is not S3."""

from __future__ import annotations

import functools
import http.server
from typing import TYPE_CHECKING, Any, ClassVar

from tests.unit.site.stand_in_site import BUCKET

if TYPE_CHECKING:
    from apps.tournaments.models import Certificate
    from mypy_boto3_s3.client import S3Client

    from cutover.django.storage import CertificateS3Storage
    from rehearsal.aws_stand_in import AwsStandIn

BODY = b"%PDF-1.4 a certificate"


class WrongServer(http.server.BaseHTTPRequestHandler):
    """Answers everything with 200 and a page, like the sign-in page of a network, and dates that nobody can read."""

    page: ClassVar[bytes] = b"<html>Please sign in</html>"
    last_headers: ClassVar[dict[str, str]] = {}

    def _answer(self) -> None:
        self.last_headers.clear()
        self.last_headers.update(self.headers)
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.page)))
        self.send_header("Last-Modified", "yesterday")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(self.page)

    do_GET = do_PUT = do_HEAD = _answer  # noqa: N815 - as http.server wants them

    def do_DELETE(self) -> None:
        self.send_error(503)

    def log_message(self, *arguments: Any) -> None:
        """Keeps the tests' output clean."""


def save(storage: CertificateS3Storage, certificate: Certificate, *, migrated: bool) -> str:
    """Saves the bytes BODY as the PDF of that row, and marks the row; returns the file's name."""
    from django.core.files.base import ContentFile
    from django.utils import timezone

    wanted = f"certificates/pdf/2026/11/cert_{certificate.pk}_0a1b2c3d.pdf"
    name = storage.save(wanted, ContentFile(BODY))
    certificate.file_pdf.name = name
    certificate.migrated_to_s3_at = timezone.now() if migrated else None
    certificate.save()
    return name


@functools.cache
def s3_of(aws: AwsStandIn) -> S3Client:
    """Returns one client for all tests: each takes a third of a second to build."""
    return aws.s3()


def put_object(aws: AwsStandIn, name: str, body: bytes = BODY, *, way: str = "SHA256") -> None:
    """Stores an object as another mode, or another process, would have done: with another checksum, or in parts."""
    if way != "parts":
        s3_of(aws).put_object(
            Bucket=BUCKET, Key=name, Body=body, ChecksumAlgorithm="SHA256" if way == "SHA256" else "CRC32"
        )
        return
    place: Any = {"Bucket": BUCKET, "Key": name}
    place["UploadId"] = s3_of(aws).create_multipart_upload(**place, ChecksumAlgorithm="SHA256")["UploadId"]
    part = s3_of(aws).upload_part(**place, PartNumber=1, Body=body, ChecksumAlgorithm="SHA256")
    parts: Any = [{"PartNumber": 1, "ETag": part["ETag"], "ChecksumSHA256": part["ChecksumSHA256"]}]
    s3_of(aws).complete_multipart_upload(**place, MultipartUpload={"Parts": parts})


def objects(aws: AwsStandIn) -> dict[str, bytes]:
    """Returns the bucket's objects by key."""
    found = s3_of(aws).list_objects_v2(Bucket=BUCKET).get("Contents", [])
    return {item["Key"]: s3_of(aws).get_object(Bucket=BUCKET, Key=item["Key"])["Body"].read() for item in found}
