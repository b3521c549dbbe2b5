"""The bare listing that a check is held against: `python -m tests.benchmarks.listing BUCKET`, by obstore."""

from __future__ import annotations

import os
import sys

import obstore
from obstore.store import S3Store

from tests.benchmarks.s3_server import PREFIX

if __name__ == "__main__":
    endpoint = os.environ["AWS_ENDPOINT_URL_S3"]
    store = S3Store(sys.argv[1], endpoint=endpoint, client_options={"allow_http": True})
    print(sum(len(page) for page in obstore.list(store, PREFIX, chunk_size=1000)))
