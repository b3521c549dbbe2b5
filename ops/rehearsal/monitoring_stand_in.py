"""Starts and stops the store of CloudWatch's metric alarms and dashboards (moto's server, and a history of alarms).

The AWS stand-in loses metric math and the setting for few samples; this one keeps alarms as they were put, and
evaluates none. It knows no permissions, so whoever reaches its port may change it; and it loses everything when
it stops: `pulumi refresh`, then `up`, brings the resources back.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.config import Config

from rehearsal.aws_stand_in import REGION, clean_session
from rehearsal.service_process import ServiceProcess, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mypy_boto3_cloudwatch.client import CloudWatchClient

ACCOUNT = "000000000000"  # the AWS stand-in's
STEM = "monitoring-stand-in"


class MonitoringStandInError(RuntimeError):
    """The stand-in could not be started, found or stopped."""


@dataclasses.dataclass(frozen=True)
class MonitoringStandIn:
    """A running stand-in."""

    endpoint_url: str
    pid: int
    history: str  # the file from which it answers DescribeAlarmHistory

    def note(self, item: Mapping[str, str]) -> None:
        """Adds an item to the history: AlarmHistoryItem's members, the time as ISO 8601 text."""
        with Path(self.history).open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(item)}\n")

    def cloudwatch(self) -> CloudWatchClient:
        """Returns a CloudWatch client."""
        return clean_session().client(
            "cloudwatch",
            endpoint_url=self.endpoint_url,
            region_name=REGION,
            aws_access_key_id="any",
            aws_secret_access_key="any",  # noqa: S106 (it looks at no credentials)
            config=Config(proxies={}, retries={"total_max_attempts": 2}, connect_timeout=5, read_timeout=30),
        )


def start(
    directory: Path, *, host: str = "127.0.0.1", port: int | None = None, command_prefix: Sequence[str] = ()
) -> MonitoringStandIn:
    """Starts an empty stand-in whose log and pid live in `directory`.

    `port` None takes a free one. `command_prefix` stands before the command, for example nsenter with the
    lab's network namespace. Returns when it answers; raises MonitoringStandInError after 30 seconds without an
    answer, if it ends at once, or if one already runs from this directory.
    """
    service = _service(directory)
    service.claim()
    port = port if port is not None else free_port(host)
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(directory),
        "TMPDIR": str(directory),
        "MOTO_ACCOUNT_ID": ACCOUNT,
    }
    history = directory / f"{STEM}-history.jsonl"
    history.write_text("", encoding="utf-8")
    server = [sys.executable, "-m", "rehearsal.monitoring_server", str(history), "--host", host, "--port", str(port)]
    process = service.launch([*command_prefix, *server], environment)
    stand_in = MonitoringStandIn(f"http://{host}:{port}", process.pid, str(history))
    service.record(dataclasses.asdict(stand_in))
    service.wait(process, lambda: _is_ready(host, port), stand_in.endpoint_url)
    return stand_in


def load(directory: Path) -> MonitoringStandIn:
    """Returns the stand-in that runs from `directory`; MonitoringStandInError if none does."""
    return MonitoringStandIn(**_service(directory).load())


def stop(directory: Path) -> None:
    """Ends the stand-in that runs from `directory`, if any, and with it all that it keeps."""
    _service(directory).stop()


@contextlib.contextmanager
def running(directory: Path) -> Iterator[MonitoringStandIn]:
    """Runs a stand-in on a free port of 127.0.0.1 for the duration of a `with` block."""
    stand_in = start(directory)
    try:
        yield stand_in
    finally:
        stop(directory)


def _service(directory: Path) -> ServiceProcess:
    return ServiceProcess("monitoring stand-in", STEM, directory, MonitoringStandInError)


def _is_ready(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", "/moto-api/")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
