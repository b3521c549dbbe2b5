"""The names of what this project makes in the cloud: one function a kind, used by whoever makes or looks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cutover.alarm_table import Severity, Telemetry
    from cutover.plan import Deployment

__all__ = [
    "EVIDENCE_PREFIX",
    "FENCE_POLICY",
    "alarm",
    "budget",
    "dashboard",
    "evidence",
    "incident",
    "log_group",
    "namespace",
    "query",
    "silence",
    "topic",
]

PREFIX = "deltacrown"
EVIDENCE_PREFIX = "evidence/"  # of every record's key in the backups bucket
FENCE_POLICY = "CutoverFence"  # the inline policy of a workers' role that an emergency's fence puts there


def alarm(deployment: Deployment, name: str) -> str:
    """The metric alarm of this name of ops/cutover.yml, in one deployment."""
    return f"{PREFIX}-{deployment}-{name}"


def incident(deployment: Deployment, name: str) -> str:
    """The composite alarm of this incident, in one deployment."""
    return f"{PREFIX}-{deployment}-incident-{name}"


def silence(deployment: Deployment) -> str:
    """The alarm that suppresses the incidents' actions while it is in ALARM."""
    return f"{PREFIX}-{deployment}-silence"


def topic(deployment: Deployment, severity: Severity) -> str:
    """The SNS topic on which incidents of this severity are published."""
    return f"{PREFIX}-{deployment}-{severity}"


def dashboard(deployment: Deployment) -> str:
    """The CloudWatch dashboard."""
    return f"{PREFIX}-{deployment}-certificates"


def budget(deployment: Deployment) -> str:
    """The monthly budget."""
    return f"{PREFIX}-{deployment}-certificates"


def query(deployment: Deployment, name: str) -> str:
    """The saved Logs Insights query of this file name in ops/queries/."""
    return f"{PREFIX}/{deployment}/{name}"


def log_group(telemetry: Telemetry, deployment: Deployment) -> str:
    """The log group that the workers' lines are shipped to."""
    return f"{telemetry.log_group}/{deployment}"


def namespace(telemetry: Telemetry, deployment: Deployment) -> str:
    """The metrics' namespace: the deployment is in it, because a filter's default value excludes dimensions."""
    return f"{telemetry.namespace}/{deployment}"


def evidence(deployment: Deployment) -> str:
    """What the keys of this deployment's records begin with, in the backups bucket; a record's file name follows."""
    return f"{EVIDENCE_PREFIX}{deployment}/"
