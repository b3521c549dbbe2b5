"""Serves the provider on a free port of 127.0.0.1, prints the port, and ends when standard input does."""

from __future__ import annotations

import dataclasses
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import grpc
from botocore.config import Config
from pulumi.runtime.proto.provider_pb2_grpc import add_ResourceProviderServicer_to_server

from rehearsal.provider.kept import KeptResources
from rehearsal.provider.launch import KEPT_DIRECTORY, MONITORING_URL
from rehearsal.provider.resource import Clients, Monitoring
from rehearsal.provider.servicer import AwsServicer

WORKERS = 16  # as many calls as Pulumi makes at once by default on a small machine


def main() -> None:
    """Serves until the starter closes our standard input, or dies."""
    server = grpc.server(ThreadPoolExecutor(WORKERS))
    add_ResourceProviderServicer_to_server(AwsServicer(_clients()), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(grace=None).wait()


def _clients() -> Clients:
    session = boto3.Session()  # one for all: it reads AWS's descriptions once
    config = Config(s3={"addressing_style": "path"}, proxies={}, retries={"total_max_attempts": 2})
    clients = Clients(
        s3=session.client("s3", config=config),
        iam=session.client("iam", config=config),
        region=os.environ["AWS_DEFAULT_REGION"],
    )
    if MONITORING_URL not in os.environ:
        return clients
    monitoring = Monitoring(
        cloudwatch=session.client("cloudwatch", config=config, endpoint_url=os.environ[MONITORING_URL]),
        logs=session.client("logs", config=config),
        sns=session.client("sns", config=config),
        budgets=session.client("budgets", config=config),
        kept=KeptResources(Path(os.environ[KEPT_DIRECTORY])),
    )
    return dataclasses.replace(clients, monitoring=monitoring)


main()
