"""An emergency under customers' load: nobody's request fails, and no certificate is lost, however young it is."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from cutover import fleet, plan
from rehearsal import deployed_site, traffic
from tests.fleet import production as productions
from tests.fleet.emergencies import Watch, roll_back
from tests.fleet.production import PRODUCTION, WEBS

if TYPE_CHECKING:
    from pathlib import Path

    from mypy_boto3_s3 import S3Client

    from rehearsal.lab import Lab
    from rehearsal.traffic import Issued

pytestmark = pytest.mark.timeout(600)  # it may wait for a whole lab
LOCAL, READS = (fleet.triple(plan.load().modes[mode].flags) for mode in ("local", "s3-reads"))
RATE = 50.0  # requests a second, POSTs of one to two seconds among them
BEFORE_SECONDS, AFTER_SECONDS = 5.0, 3.0
READERS = 8


class Issuing:
    """Certificates issued one after another by a few customers at once, while it is entered; each with its moment."""

    def __init__(self, client: traffic.Client, at_once: int = 4) -> None:
        self._client, self._at_once = client, at_once
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="issuing")
        self.issued: list[tuple[float, Issued]] = []

    def __enter__(self) -> Issuing:
        self._outcome = self._pool.submit(self._issue)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pool.shutdown()
        self._outcome.result()

    def _issue(self) -> None:
        while not self._stop.is_set():
            found = traffic.issue_many(self._client, [20] * self._at_once, concurrency=self._at_once)
            self.issued += [(time.time(), certificate) for certificate in found]


def test_no_request_fails_and_no_certificate_is_lost(deployed: Lab, tmp_path: Path) -> None:
    """A certificate of the last second before it has no mark yet, and maybe no object: its file must serve."""
    with ThreadPoolExecutor(len(WEBS)) as pool:
        list(pool.map(lambda machine: deployed_site.flip(deployed, machine, READS), WEBS))
    client = productions.client()
    with traffic.Load(client, rate=RATE) as load, Issuing(client) as issuing:
        time.sleep(BEFORE_SECONDS)
        with Watch(LOCAL) as watch:
            emergency = roll_back(tmp_path)
        time.sleep(AFTER_SECONDS)
    report = load.report()
    last_proof = watch.began + max(watch.proven_after.values())
    young = [certificate for moment, certificate in issuing.issued if watch.began - 1 <= moment <= last_proof]
    print(
        f"{len(report.failures)} of {report.total} requests failed, slowest {report.slowest_seconds:.1f} s; proven "
        f"{watch.proven_after} s; {len(young)} of {len(issuing.issued)} certificates from a second before it on"
    )
    assert emergency.returncode == 0, emergency.output
    assert report.failures == ()
    assert report.by_kind["slow post"] > 0
    assert young
    s3 = deployed.aws.s3()

    def look(certificate: Issued) -> None:
        client.download(certificate)
        for name in (certificate.file_pdf, certificate.file_image):
            local = (PRODUCTION.export / name).read_bytes()
            assert local
            assert _stored(s3, name) in {local, None}
        client.remove(certificate.id)

    with ThreadPoolExecutor(READERS) as pool:
        list(pool.map(look, [certificate for _, certificate in issuing.issued]))


def _stored(s3: S3Client, name: str) -> bytes | None:
    """The object's bytes; None if there is none, as of what was issued after the rollback."""
    try:
        return s3.get_object(Bucket=PRODUCTION.bucket, Key=name)["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchKey":
            raise
        return None
