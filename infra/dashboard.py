"""One glance: which mode, how much traffic, how well it goes, and what it costs."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi_aws import cloudwatch

from cutover import names
from cutover.cost import planned_budget
from infra.alarms import sum_of
from infra.certificate_store import REQUEST_METRICS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cutover.plan import Deployment, Plan

COLUMNS = 24  # of CloudWatch's grid
WIDTH, HEIGHT = 8, 6  # of a graph
GRAPHS_FROM = 6  # the row; text and alarms stand above
PERIOD = 300  # seconds
BILLING_PERIOD = 21_600  # seconds; AWS writes the estimated charges a few times a day
SHARE = {"left": {"min": 0, "max": 1}}
Metrics = list[list[Any]]


@dataclasses.dataclass(frozen=True)
class DashboardArgs:
    """The table, whose dashboard it is, the bucket whose errors it shows, and the alarms whose states it shows."""

    table: Plan
    deployment: Deployment
    bucket_name: str
    alarms: Sequence[cloudwatch.MetricAlarm | cloudwatch.CompositeAlarm]


def dashboard_body(
    table: Plan, deployment: Deployment, bucket_name: str, alarm_arns: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
    """Returns the dashboard as PutDashboard takes it; its region is that of the alarms, of which there is one."""
    region = alarm_arns[0].split(":")[3]
    namespace = names.namespace(table.telemetry, deployment)
    graphs = [
        *_customers(table, namespace),
        *_object_store(table, namespace),
        *_surroundings(table, namespace, bucket_name),
    ]
    per_row = COLUMNS // WIDTH
    places = [(index % per_row * WIDTH, GRAPHS_FROM + index // per_row * HEIGHT) for index in range(len(graphs))]
    axes = {"view": "timeSeries", "period": PERIOD, "region": region}
    heading = {"markdown": _heading(table, deployment)}
    alarms = {"title": "Incidents and alarms", "alarms": list(alarm_arns)}
    return {
        "widgets": [
            {"type": "text", "x": 0, "y": 0, "width": COLUMNS, "height": 2, "properties": heading},
            {"type": "alarm", "x": 0, "y": 2, "width": COLUMNS, "height": GRAPHS_FROM - 2, "properties": alarms},
            *(
                {"type": "metric", "x": x, "y": y, "width": WIDTH, "height": HEIGHT, "properties": axes | graph}
                for (x, y), graph in zip(places, graphs, strict=True)
            ),
        ]
    }


def _heading(table: Plan, deployment: Deployment) -> str:
    modes = "; ".join(f"{name}: {mode.dual_write:d} and {mode.read_primary:d}" for name, mode in table.modes.items())
    return (
        f"# Certificates in S3: {deployment}\n"
        f"Shares of workers that write to S3 and that read from it, by mode: {modes}. "
        f"What to do: [operator's guide]({table.runbook_url})"
    )


def _customers(table: Plan, namespace: str) -> list[dict[str, Any]]:
    """What the workers do for customers, and how much of it reaches S3."""
    shares = {"workers_dual_write": "write to S3", "workers_read_primary": "read from S3"}
    traffic = {
        "save_success": "saves to S3",
        "save_fail": "failed saves",
        "read_success": "reads from S3",
        "read_fallback": "fallbacks",
    }
    return [
        {"title": "Mode: share of workers", "metrics": _values(namespace, "Minimum", shares), "yAxis": SHARE},
        {"title": "Traffic in 5 minutes", "metrics": _values(namespace, "Sum", traffic)},
        {
            "title": "Uploads: success ratio",
            "metrics": _ratio(table, namespace, "save_success_ratio"),
            "annotations": _limits(table, "save-success-rate"),
        },
    ]


def _object_store(table: Plan, namespace: str) -> list[dict[str, Any]]:
    """How S3 serves the workers."""
    return [
        {
            "title": "Upload by the probe, p95 in ms",
            "metrics": _values(namespace, "p95", {"probe_put_ms": "put"}),
            "annotations": _limits(table, "upload-p95"),
        },
        {
            "title": "Signing a URL, p95 in ms",
            "metrics": _values(namespace, "p95", {"probe_sign_ms": "sign"}),
            "annotations": _limits(table, "presigned-url-p95"),
        },
        {
            "title": "Reads: fallback ratio",
            "metrics": _ratio(table, namespace, "read_fallback_ratio"),
            "annotations": _limits(table, "read-fallback-rate", "rollback-reads"),
        },
    ]


def _surroundings(table: Plan, namespace: str, bucket_name: str) -> list[dict[str, Any]]:
    """What the last check, S3 itself and the bill say."""
    bucket = ["BucketName", bucket_name, "FilterId", REQUEST_METRICS]
    charges = ["AWS/Billing", "EstimatedCharges", "ServiceName", "AmazonS3", "Currency", "USD"]
    return [
        {
            "title": "Consistency: mismatch of the last check",
            "metrics": _values(namespace, "Maximum", {"consistency_mismatch_ratio": "mismatch"}),
            "annotations": _limits(table, "consistency-mismatch", "rollback-inconsistency"),
        },
        {
            "title": "S3's own errors in 5 minutes",
            "metrics": [["AWS/S3", name, *bucket, {"stat": "Sum"}] for name in ("4xxErrors", "5xxErrors")],
        },
        {
            "title": "S3's cost this month, the whole account, US dollars",
            "metrics": [[*charges, {"stat": "Maximum"}]],
            "period": BILLING_PERIOD,
            "annotations": {"horizontal": [{"label": "budget", "value": float(planned_budget(table))}]},
        },
    ]


def _values(namespace: str, statistic: str, labels: dict[str, str]) -> Metrics:
    return [[namespace, name, {"stat": statistic, "label": label}] for name, label in labels.items()]


def _ratio(table: Plan, namespace: str, name: str) -> Metrics:
    """A rate as the alarms define it, but without their minimum denominator."""
    ratio = table.ratios[name]
    expression = f"{sum_of(ratio.numerator)} / {sum_of(ratio.denominator)}"
    counters = dict.fromkeys([*ratio.numerator, *ratio.denominator])
    hidden = [[namespace, each, {"id": each, "stat": "Sum", "visible": False}] for each in counters]
    return [[{"id": "ratio", "expression": expression, "label": name}], *hidden]


def _limits(table: Plan, *alarms: str) -> dict[str, list[dict[str, Any]]]:
    """The thresholds of these alarms as lines across the graph."""
    limits = {alarm: table.watch(alarm).alert.limit for alarm in alarms}
    return {"horizontal": [{"label": alarm, "value": value} for alarm, (_, value) in limits.items()]}


class Dashboard(pulumi.ComponentResource):
    """A deployment's dashboard."""

    dashboard: cloudwatch.Dashboard

    def __init__(self, name: str, args: DashboardArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("deltacrown:monitoring:Dashboard", name, None, opts)
        arns = pulumi.Output.all(*(alarm.arn for alarm in args.alarms))
        self.dashboard = cloudwatch.Dashboard(
            name,
            dashboard_name=names.dashboard(args.deployment),
            dashboard_body=arns.apply(
                lambda arns: json.dumps(dashboard_body(args.table, args.deployment, args.bucket_name, arns))
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({"dashboard": self.dashboard.dashboard_name})
