"""What plays CloudWatch and PagerDuty in the lab: the store of alarms, the engine that judges them, the pager."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import sys
import time
from typing import TYPE_CHECKING

import yaml

from rehearsal import alarm_engine, monitoring_stand_in, pager
from rehearsal.lab.commands import LabError
from rehearsal.lab.topology import MONITORING_PORT, PAGER_PORT, REPOSITORY, SERVICES_ADDRESS, STATE_DIRECTORY
from rehearsal.provider.launch import MonitoringPlace
from rehearsal.service_process import ServiceProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from rehearsal.aws_stand_in import AwsStandIn

__all__ = ["incidents", "incidents_url", "integration_url", "place", "require_live_engine", "start", "time_scale"]

DIRECTORY = STATE_DIRECTORY / "monitoring"
KEPT = DIRECTORY / "kept"
HEARTBEAT = DIRECTORY / "heartbeat.json"
PAGER_SETTINGS, ENGINE_SETTINGS = DIRECTORY / "pager-settings.json", DIRECTORY / "alarm-engine-settings.json"
INVENTORY_SETTINGS = REPOSITORY / "playbooks/inventories/rehearsal/group_vars/all.yml"
OLDEST_HEARTBEAT = 10.0  # seconds; there is one a second, and a busy machine takes its time


def start(aws: AwsStandIn, command_prefix: Sequence[str]) -> None:
    """Starts all three behind `command_prefix`, which leads into the lab's network; LabError if one does not rise."""
    try:
        store = monitoring_stand_in.start(
            DIRECTORY, host=SERVICES_ADDRESS, port=MONITORING_PORT, command_prefix=command_prefix
        )
    except monitoring_stand_in.MonitoringStandInError as error:
        raise LabError(str(error)) from error
    key, record = secrets.token_urlsafe(24), str(DIRECTORY / "incidents.jsonl")
    pager.Settings(SERVICES_ADDRESS, PAGER_PORT, key, record, aws.endpoint_url, aws.ca_file).write(PAGER_SETTINGS)
    alarm_engine.Settings(aws, store, str(KEPT), str(HEARTBEAT), time_scale()).write(ENGINE_SETTINGS)
    _start("pager", PAGER_SETTINGS, command_prefix, _pager_answers)
    _start("alarm-engine", ENGINE_SETTINGS, command_prefix, HEARTBEAT.exists)


def place() -> MonitoringPlace:
    """Returns where the Pulumi provider puts what CloudWatch keeps."""
    return MonitoringPlace(monitoring_stand_in.load(DIRECTORY).endpoint_url, KEPT)


def integration_url() -> str:
    """Returns the pager's secret address, for the stacks' subscriptions."""
    return pager.Settings.read(PAGER_SETTINGS).integration_url


def incidents_url() -> str:
    """Returns the address that lists the pages; nothing on it is secret."""
    return f"http://{SERVICES_ADDRESS}:{PAGER_PORT}{pager.INCIDENTS_PATH}"


def incidents() -> list[pager.Incident]:
    """Returns every page since the lab was raised, oldest first; LabError if the pager does not answer."""
    connection = http.client.HTTPConnection(SERVICES_ADDRESS, PAGER_PORT, timeout=5)
    try:
        connection.request("GET", pager.INCIDENTS_PATH)
        return [pager.Incident(**each) for each in json.loads(connection.getresponse().read())]
    except (OSError, http.client.HTTPException) as error:
        raise LabError(f"The pager does not answer ({error}): read {DIRECTORY / 'pager.log'} with KEEP=1.") from error
    finally:
        connection.close()


def require_live_engine() -> alarm_engine.Heartbeat:
    """Returns the alarm engine's last heartbeat; LabError if it is old, or if the engine could not judge everything.

    Without an engine no alarm ever fires, and "no page came" would prove nothing.
    """
    beat = alarm_engine.Heartbeat.read(HEARTBEAT)
    if beat is None or time.time() - beat.at > OLDEST_HEARTBEAT:
        raise LabError(f"The alarm engine has died: read {DIRECTORY / 'alarm-engine.log'} with KEEP=1.")
    if beat.problem is not None:
        raise LabError(f"The alarm engine cannot judge what is deployed: {beat.problem}")
    return beat


def time_scale() -> float:
    """Returns how many seconds of CloudWatch the rehearsal puts into one; only its inventory says so."""
    return float(yaml.safe_load(INVENTORY_SETTINGS.read_text(encoding="utf-8"))["time_scale"])


def _start(stem: str, settings: Path, command_prefix: Sequence[str], is_ready: Callable[[], bool]) -> None:
    """Starts `rehearsal.<stem>`; its secrets lie in the file, for an argument could be read by anyone on this host."""
    service = ServiceProcess(stem.replace("-", " "), stem, DIRECTORY, LabError)
    service.claim()
    module = f"rehearsal.{stem.replace('-', '_')}"
    environment = {"PATH": os.environ.get("PATH", os.defpath)}
    process = service.launch([*command_prefix, sys.executable, "-m", module, str(settings)], environment)
    service.record({"pid": process.pid})
    service.wait(process, is_ready, SERVICES_ADDRESS)


def _pager_answers() -> bool:
    try:
        incidents()
    except LabError:
        return False
    return True
