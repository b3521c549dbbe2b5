"""The model of ops/cutover.yml's automatic rollback: whether it is on, and how careful it is."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic reads the annotation
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cutover.alarm_table import Count, Table

__all__ = ["AutoRollback"]

Port = Annotated[int, Field(ge=1024, le=65535)]


class AutoRollback(Table):
    """When `cutover watch` runs the emergency by itself; times in seconds.

    `hold_off_seconds` and `looks`: a trigger alarm must be in ALARM for so long, and in so many successive looks.
    `hung_seconds`: an emergency that runs for longer counts as one that ended badly.
    `reach_seconds`: so often the machines are asked whether an emergency would reach them.
    `needs_ok`: alarms without which nobody knows how fresh the triggers' data are. `health_ports`: of each deployment's
    watcher, on 127.0.0.1.
    """

    enabled: bool
    poll_seconds: Count
    hold_off_seconds: Count
    looks: Annotated[int, Field(ge=2)]
    fresh_seconds: Count
    cooldown_seconds: Count
    attempts: Count
    retry_seconds: Count
    hung_seconds: Count
    unhealthy_after_seconds: Count
    reach_seconds: Count
    kill_file: Path
    needs_ok: list[str] = Field(min_length=1)
    health_ports: dict[Literal["staging", "production"], Port]

    @model_validator(mode="after")
    def _can_act_while_data_are_fresh(self) -> Self:
        if self.hold_off_seconds + self.looks * self.poll_seconds > self.fresh_seconds:
            raise ValueError("hold-off and looks outlast fresh_seconds, so that nothing would ever be rolled back")
        return self

    @model_validator(mode="after")
    def _one_late_look_is_healthy(self) -> Self:
        if self.unhealthy_after_seconds <= self.poll_seconds:
            raise ValueError("unhealthy_after_seconds must be longer than poll_seconds")
        return self

    @model_validator(mode="after")
    def _has_one_place(self) -> Self:
        if not self.kill_file.is_absolute():
            raise ValueError(f"kill_file {self.kill_file} must be an absolute path")
        if len(set(self.health_ports.values())) != 2:
            raise ValueError("health_ports: give each deployment a port of its own")
        return self
