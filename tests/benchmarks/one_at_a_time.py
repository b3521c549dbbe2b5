"""Peers in Python, one file after another: the plain boto3 loop, and the application's own command.

`python -m tests.benchmarks.one_at_a_time loop|command LIMIT` copies the files of the first LIMIT certificates. Its last
line is the seconds that this took, without its own start: that counts less for the whole set than for a part of it.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import boto3
import psycopg
from botocore.config import Config
from django.conf import settings
from django.core.files.base import ContentFile
from psycopg import sql
from storages.backends.s3 import S3Storage

from tests.data_tools.postgres import TABLE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mypy_boto3_s3 import S3Client

ENCRYPTION: Final = "AES256"


def copy_all(client: S3Client, rows: Iterable[tuple[int, str, str]]) -> None:
    """The plain loop: every file is put, nothing is asked again."""
    bucket, media_root = os.environ["AWS_STORAGE_BUCKET_NAME"], Path(os.environ["MEDIA_ROOT"])
    for _, *names in rows:
        for name in names:
            body = (media_root / name).read_bytes()
            client.put_object(Bucket=bucket, Key=name, Body=body, ServerSideEncryption=ENCRYPTION)


def migrate_all(client: S3Client, rows: Iterable[tuple[int, str, str]], connection: psycopg.Connection) -> None:
    """What the application's command does with one certificate after another: put by its storage, head, save."""
    bucket, media_root = os.environ["AWS_STORAGE_BUCKET_NAME"], Path(os.environ["MEDIA_ROOT"])
    settings.configure()
    storage = S3Storage(
        bucket_name=bucket, addressing_style="path", object_parameters={"ServerSideEncryption": ENCRYPTION}
    )
    save = sql.SQL("UPDATE {} SET migrated_to_s3_at = now(), updated_at = now() WHERE id = %s")
    for number, *names in rows:
        for name in names:
            body = (media_root / name).read_bytes()
            storage.save(name, ContentFile(body))
            kept = client.head_object(Bucket=bucket, Key=name)["ContentLength"]
            if kept != len(body):
                raise SystemExit(f"{name}: S3 keeps {kept} bytes of {len(body)}")
        connection.execute(save.format(sql.Identifier(TABLE)), (number,))


def main(kind: str, limit: int) -> None:
    """Runs one of both, and prints its seconds."""
    client = boto3.client("s3", config=Config(s3={"addressing_style": "path"}))
    query = sql.SQL("SELECT id, file_pdf, file_image FROM {} ORDER BY id LIMIT %s").format(sql.Identifier(TABLE))
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        rows = connection.execute(query, (limit,)).fetchall()
        started = time.perf_counter()
        if kind == "loop":
            copy_all(client, rows)
        else:
            migrate_all(client, rows, connection)
        print(time.perf_counter() - started)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
