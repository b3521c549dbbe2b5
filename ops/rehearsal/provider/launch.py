"""Starts the provider as a process of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STOP_SECONDS = 10.0
MONITORING_URL = "DELTACROWN_MONITORING_URL"
KEPT_DIRECTORY = "DELTACROWN_KEPT_DIRECTORY"


@dataclasses.dataclass(frozen=True)
class MonitoringPlace:
    """Where the provider puts what the AWS stand-in does not keep."""

    endpoint_url: str  # of rehearsal.monitoring_stand_in
    kept_directory: Path  # of rehearsal.provider.kept


@contextlib.contextmanager
def serving(  # noqa: PLR0913 (each is a setting of its own)
    endpoint_url: str,
    access_key: str,
    secret_key: str,
    region: str,
    ca_file: str | None = None,
    *,
    monitoring: MonitoringPlace | None = None,
) -> Iterator[int]:
    """Yields the port of 127.0.0.1 on which a provider for that endpoint serves; RuntimeError if it fails.

    Without `monitoring` it refuses alarms, logs, topics, budgets, inventories and request metrics.
    Use it with PULUMI_DEBUG_PROVIDERS=aws:<port>. It ends with the block, or with this process.
    """
    # The machine's own AWS settings must not reach the stand-in, nor the other way round.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | {
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": secret_key,
        "AWS_DEFAULT_REGION": region,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    if ca_file is not None:
        environment["AWS_CA_BUNDLE"] = ca_file
    if monitoring is not None:
        environment[MONITORING_URL] = monitoring.endpoint_url
        environment[KEPT_DIRECTORY] = str(monitoring.kept_directory)
    process = subprocess.Popen(
        [sys.executable, "-m", "rehearsal.provider"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for the starter, which ends us when it has cleaned up
    )
    with process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line:
                raise RuntimeError("The rehearsal's Pulumi provider did not start: see the traceback above, on stderr.")
            yield int(line)
        finally:
            _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    if process.stdin:
        process.stdin.close()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
