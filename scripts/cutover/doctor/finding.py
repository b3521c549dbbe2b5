"""What a check of the doctor says, and of what it speaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from cutover.plan import Deployment, DeploymentNames, Plan
    from cutover.settings import Settings

__all__ = ["Finding", "Outcome", "Subject", "fail", "ok", "unknown", "warn"]

Outcome = Literal["OK", "WARN", "FAIL", "UNKNOWN"]


@dataclass(frozen=True)
class Finding:
    """The answer of one check: what was seen, and the command to run next where there is one."""

    check: str
    outcome: Outcome
    reason: str
    next: str = ""

    def __str__(self) -> str:
        next_command = f"\n{'':8} next: {self.next}" if self.next else ""
        return f"{self.outcome:8} {self.check}: {self.reason}{next_command}"


@dataclass(frozen=True)
class Subject:
    """A deployment under examination; `deployment` and `names` are None for a bucket that the table does not know."""

    settings: Settings
    table: Plan
    deployment: Deployment | None
    names: DeploymentNames | None

    @classmethod
    def of(cls, settings: Settings, table: Plan) -> Subject:
        """The subject of these settings, found in the table by its bucket."""
        deployment = table.deployment_of(settings.bucket)
        return cls(settings, table, deployment, table.deployments[deployment] if deployment else None)

    def command(self, words: str) -> str:
        """A `cutover` command with the environment file of these settings."""
        file = self.settings.environment_file
        return f"cutover {words}{f' --env-file {file}' if file else ''}"


def ok(check: str, reason: str) -> Finding:
    """All is as it must be."""
    return Finding(check, "OK", reason)


def warn(check: str, reason: str, next_command: str = "") -> Finding:
    """It works, and somebody should look at it."""
    return Finding(check, "WARN", reason, next_command)


def fail(check: str, reason: str, next_command: str = "") -> Finding:
    """It is not as it must be."""
    return Finding(check, "FAIL", reason, next_command)


def unknown(check: str, reason: str, next_command: str = "") -> Finding:
    """The check could not look, which is not the same as OK."""
    return Finding(check, "UNKNOWN", reason, next_command)
