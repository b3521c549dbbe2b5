"""Serves the provider on a free port of 127.0.0.1, prints the port, and ends when standard input does."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import boto3
import grpc
from botocore.config import Config
from pulumi.runtime.proto.provider_pb2_grpc import add_ResourceProviderServicer_to_server

from rehearsal.provider.resource import Clients
from rehearsal.provider.servicer import AwsServicer

WORKERS = 16  # as many calls as Pulumi makes at once by default on a small machine


def main() -> None:
    """Serves until the starter closes our standard input, or dies."""
    config = Config(s3={"addressing_style": "path"}, proxies={}, retries={"total_max_attempts": 2})
    clients = Clients(
        s3=boto3.client("s3", config=config),
        iam=boto3.client("iam", config=config),
        region=os.environ["AWS_DEFAULT_REGION"],
    )
    server = grpc.server(ThreadPoolExecutor(WORKERS))
    add_ResourceProviderServicer_to_server(AwsServicer(clients), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(grace=None).wait()


main()
