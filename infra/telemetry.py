"""What turns the workers' log lines into metrics: the log group, its metric filters, and the saved queries."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi_aws import cloudwatch

from cutover import names
from cutover.alarms.insights.command import SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from cutover.plan import Deployment, Plan

ALL_LINES = "telemetry_lines"  # the table's name for METRIC lines of any name


@dataclasses.dataclass(frozen=True)
class TelemetryArgs:
    """The table, whose log group it is, and the folder of the saved queries."""

    table: Plan
    deployment: Deployment
    queries: Path
    tags: Mapping[str, str]
    protect: bool  # True: Pulumi refuses to delete the log group with all lines in it


def metric_filters(table: Plan, deployment: Deployment) -> Iterator[dict[str, Any]]:
    """Yields the arguments of each LogMetricFilter; its name is that of the metric.

    A counter counts lines by a quoted term, which matches the application's plain and JSON lines alike, and its
    default 0 makes a minute of other lines a real zero. A measurement is a number in a JSON line; it has no default,
    because a 0 would be one more, and a fast one.
    """
    namespace = names.namespace(table.telemetry, deployment)
    terms = {metric: f"METRIC: {line}=" for metric, line in table.metrics.items()}
    for metric, term in {**terms, ALL_LINES: table.telemetry.any_line}.items():
        yield {
            "name": metric,
            "pattern": f'"{term}"',
            "metric_transformation": {"name": metric, "namespace": namespace, "value": "1", "default_value": "0"},
        }
    for metric, line in table.measurements.items():
        yield {
            "name": metric,
            "pattern": f'{{ $.metric_name = "{line}" }}',
            "metric_transformation": {"name": metric, "namespace": namespace, "value": "$.value"},
        }


class Telemetry(pulumi.ComponentResource):
    """A deployment's log group, with everything that reads it."""

    log_group: cloudwatch.LogGroup

    def __init__(self, name: str, args: TelemetryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("deltacrown:monitoring:Telemetry", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        self.log_group = cloudwatch.LogGroup(
            name,
            name=names.log_group(args.table.telemetry, args.deployment),
            retention_in_days=args.table.telemetry.retention_days,
            tags=args.tags,
            opts=pulumi.ResourceOptions(parent=self, protect=args.protect),
        )
        for arguments in metric_filters(args.table, args.deployment):
            cloudwatch.LogMetricFilter(arguments["name"], **arguments, log_group_name=self.log_group.name, opts=child)
        for path in sorted(args.queries.glob(f"*{SUFFIX}")):
            query = path.name.removesuffix(SUFFIX)
            cloudwatch.QueryDefinition(
                query,
                name=names.query(args.deployment, query),
                query_string=path.read_text(encoding="utf-8"),
                log_group_names=[self.log_group.name],
                opts=child,
            )
        self.register_outputs({"logGroup": self.log_group.name})
