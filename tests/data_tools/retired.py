"""What the tests of retirement share: certificates that may be retired, the commands, and where files lie."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
from typing import TYPE_CHECKING, Any
from unittest import mock

from cutover import cli

if TYPE_CHECKING:
    from pathlib import Path

    from tests.data_tools.certificate_site import Row, Site

SETTLED = {"CERT_S3_DUAL_WRITE": "true", "CERT_S3_READ_PRIMARY": "true", "CERT_S3_BACKFILL_ENABLED": "false"}


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, its JSON document (empty if there is none), and standard error."""

    code: int
    document: dict[str, Any]
    errors: str

    def causes(self) -> dict[int | None, str]:
        """Why certificates were left, by their ids."""
        left = self.document["left" if "left" in self.document else "errors"]
        return {one["certificate_id"]: one["cause"] for one in left}


def run(site: Site, *arguments: str, **variables: str) -> Ended:
    """Runs a command with `--json` in this process, in mode settled; `variables` are added to the environment."""
    environment = site.environment | SETTLED | variables
    output, errors = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, environment),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
    ):
        code = cli.main([*arguments, "--json"])
    return Ended(code, json.loads(output.getvalue() or "{}"), sentences(errors.getvalue()))


def sentences(errors: str) -> str:
    """Standard error without the lines that say how far a run is, which a busy machine makes it write."""
    return "".join(line for line in errors.splitlines(keepends=True) if " - ETA: " not in line)


def migrated(site: Site, count: int = 1) -> list[Row]:
    """Certificates that are in S3 and marked, each with bytes of its own."""
    pairs = [(b"%%PDF %d" % number, b"\x89PNG %d" % number) for number in range(count)]
    rows = site.add_many(pairs, marked=True)
    site.store_files(*rows)
    return rows


def content(site: Site, *rows: Row) -> dict[str, bytes]:
    """The bytes of these rows' files under MEDIA_ROOT."""
    return {key: site.path(key).read_bytes() for row in rows for key in row.keys}


def quarantine_of(site: Site) -> Path:
    """Where files are put aside unless told otherwise."""
    return site.media_root.with_name("media.quarantine")


def placed(site: Site, row: Row) -> list[str]:
    """Where each file of a row is, PDF first."""
    places = {(True, False): "here", (False, True): "aside", (True, True): "both", (False, False): "gone"}
    return [places[site.path(key).exists(), (quarantine_of(site) / key).exists()] for key in row.keys]


def image(row: Row) -> str:
    """The name of a row's image, which it has."""
    assert row.file_image is not None
    return row.file_image


def pdf(row: Row) -> str:
    """The name of a row's PDF, which it has."""
    assert row.file_pdf is not None
    return row.file_pdf


def deny_reading(site: Site) -> None:
    """S3 refuses every download of this bucket from now on."""
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{site.bucket}/*",
    }
    site.root.put_bucket_policy(
        Bucket=site.bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    )
