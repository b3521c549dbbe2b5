"""What the tests of the stand-in site share: names, environments, and the site as a process of its own."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal.aws_stand_in import AwsStandIn

SITE = Path(__file__).parents[3] / "ops" / "rehearsal" / "site"
BUCKET = "deltacrown-certificates-staging"
PASSWORDS = {
    name: f"{name.lower()}-for-tests"
    for name in ("LOAD_STAFF_PASSWORD", "PROBE_PASSWORD", "ORGANISER_PASSWORD", "CUSTOMER_PASSWORD")
}
POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": ["s3:PutObject", "s3:GetObject", "s3:DeleteObject"],
            "Resource": f"arn:aws:s3:::{BUCKET}/certificates/*",
        }
    ],
}


def s3_environment(aws: AwsStandIn, user: str) -> dict[str, str]:
    """The variables that lead boto3 to the stand-in, as that user: `site` may use the bucket, `stranger` may not."""
    key = aws.iam().create_access_key(UserName=user)["AccessKey"]
    assert aws.ca_file is not None
    return {
        "AWS_ENDPOINT_URL_S3": aws.endpoint_url,
        "AWS_CA_BUNDLE": aws.ca_file,
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
    }


def newest_postgresql(root: Path) -> Path:
    """Returns the folder with the programs of the newest PostgreSQL; Debian has one folder a version under `root`."""
    return max(root.glob("*/bin"), key=lambda programs: float(programs.parent.name))


@contextlib.contextmanager
def site_process(environment: dict[str, str], log: Path) -> Iterator[str]:
    """The site as a process of its own with that environment; gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    command = [sys.executable, "manage.py", "runserver", "--noreload", "--skip-checks", address]
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=SITE, env=os.environ | environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        host, port = address.split(":")
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection((host, int(port))):
                break
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(timeout=10)
