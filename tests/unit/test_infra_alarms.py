"""Alarms, filters, dashboard and budget as the program asks for them, against values written down here by hand."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any, get_args

import pytest

from cutover import cost, names, plan
from cutover.alarm_table import Bound
from cutover.plan import Deployment
from infra.alarms import composite_alarm, metric_alarm, silence_alarm
from infra.budget import notifications
from infra.dashboard import COLUMNS, dashboard_body
from infra.telemetry import metric_filters

if TYPE_CHECKING:
    from cutover.plan import Plan

TABLE = plan.load()
STAGING = "DeltaCrown/Certificates/staging"
ALARM_ARNS = [f"arn:aws:cloudwatch:us-east-1:123456789012:alarm:{name}" for name in ("one", "two")]


def sums(period: int) -> list[dict[str, Any]]:
    """Both counters of uploads, summed over a period (seconds)."""
    metrics = [{"namespace": STAGING, "metric_name": counter} for counter in ("save_fail", "save_success")]
    return [
        {"id": each["metric_name"], "metric": {**each, "period": period, "stat": "Sum"}, "return_data": False}
        for each in metrics
    ]


def judged(alarm: dict[str, Any]) -> dict[str, Any]:
    """What decides over the alarm's state: everything but its name and description."""
    return {key: value for key, value in alarm.items() if key not in {"name", "alarm_description"}}


def test_a_rate_is_a_quotient_with_a_minimum_denominator() -> None:
    """One failed upload of three at night is a rate of 33 %, and pages."""
    assert judged(metric_alarm(TABLE, "staging", "upload-failure-rate")) == {
        "comparison_operator": "GreaterThanThreshold",
        "threshold": 0.01,
        "evaluation_periods": 3,
        "datapoints_to_alarm": 2,
        "treat_missing_data": "missing",
        "metric_queries": [
            *sums(300),
            {
                "id": "ratio",
                "expression": "(save_fail) / IF((save_success + save_fail) >= 20, (save_success + save_fail), 0)",
                "return_data": True,
            },
        ],
    }


def test_the_companion_counts_where_traffic_is_too_low_for_a_rate() -> None:
    """A healthy busy site pages for every second upload that fails."""
    assert judged(metric_alarm(TABLE, "staging", "upload-failures")) == {
        "comparison_operator": "GreaterThanThreshold",
        "threshold": 1,
        "evaluation_periods": 1,
        "datapoints_to_alarm": 1,
        "treat_missing_data": "notBreaching",
        "metric_queries": [
            *sums(1800),
            {
                "id": "counted",
                "expression": "IF((save_success + save_fail) < 120, save_fail, 0)",
                "return_data": True,
            },
        ],
    }


def test_a_percentile_is_evaluated_with_few_samples() -> None:
    """The probe's sixty puts are too few for AWS, and slow uploads are never told."""
    assert judged(metric_alarm(TABLE, "staging", "upload-p95")) == {
        "comparison_operator": "GreaterThanThreshold",
        "threshold": 500,
        "evaluation_periods": 3,
        "datapoints_to_alarm": 2,
        "treat_missing_data": "missing",
        "namespace": STAGING,
        "metric_name": "probe_put_ms",
        "period": 300,
        "extended_statistic": "p95",
        "evaluate_low_sample_count_percentiles": "evaluate",
    }


def test_no_lines_at_all_are_an_alarm() -> None:
    """Log delivery dies, and every alarm is quiet because it sees nothing."""
    assert judged(metric_alarm(TABLE, "staging", "no-telemetry")) == {
        "comparison_operator": "LessThanThreshold",
        "threshold": 1,
        "evaluation_periods": 5,
        "datapoints_to_alarm": 5,
        "treat_missing_data": "breaching",
        "namespace": STAGING,
        "metric_name": "telemetry_lines",
        "period": 60,
        "statistic": "Sum",
    }


def test_a_measurement_is_judged_by_its_worst_value() -> None:
    """Ten checks' results are added up, and the sum is above a limit that none of them reached."""
    alarm = metric_alarm(TABLE, "staging", "rollback-inconsistency")
    assert (alarm["statistic"], alarm["metric_name"], alarm["threshold"]) == (
        "Maximum",
        "consistency_mismatch_ratio",
        0.05,
    )


@pytest.mark.parametrize(
    ("bound", "operator"),
    [
        ({"above": 3}, "GreaterThanThreshold"),
        ({"below": 3}, "LessThanThreshold"),
        ({"at_least": 3}, "GreaterThanOrEqualToThreshold"),
        ({"at_most": 3}, "LessThanOrEqualToThreshold"),
    ],
)
def test_an_alarm_fires_when_its_bound_holds(bound: dict[str, float], operator: str) -> None:
    """A limit itself counts as crossed, or a crossed one as kept."""
    alarm = TABLE.alarms["no-telemetry"].model_copy(update={"alert": Bound(**bound)})
    table = TABLE.model_copy(update={"alarms": {"no-telemetry": alarm}})
    declared = metric_alarm(table, "staging", "no-telemetry")
    assert (declared["comparison_operator"], declared["threshold"]) == (operator, 3)


def test_an_incident_is_any_of_its_alarms_unless_another_explains_it() -> None:
    """An outage of S3 is four pages, and three mails about slowness on top."""
    silence = TABLE.silence.model_copy(update={"wait_seconds": 60, "extension_seconds": 120})
    table = TABLE.model_copy(update={"silence": silence})
    page, mail = (composite_alarm(table, "production", incident) for incident in ("consistency", "degraded"))
    assert page["alarm_rule"] == (
        'ALARM("deltacrown-production-consistency-mismatch") OR ALARM("deltacrown-production-rollback-inconsistency")'
    )
    assert mail["alarm_rule"].startswith('(ALARM("deltacrown-production-save-success-rate") OR ALARM(')
    assert mail["alarm_rule"].endswith(') AND NOT ALARM("deltacrown-production-incident-s3")')
    assert page["actions_suppressor"] == {
        "alarm": "deltacrown-production-silence",
        "wait_period": 60,
        "extension_period": 120,
    }


def test_the_silence_is_the_newer_of_what_was_written_for_the_minute() -> None:
    """A drill pages the on-call, a lifted silence goes on, or one goes on after its last point."""
    metric = {"namespace": STAGING, "metric_name": "maintenance_silence", "period": 60}
    assert judged(silence_alarm(TABLE, "staging")) == {
        "comparison_operator": "GreaterThanThreshold",
        "threshold": 0,
        "evaluation_periods": 1,
        "datapoints_to_alarm": 1,
        "treat_missing_data": "notBreaching",
        "metric_queries": [
            {"id": "newest", "metric": {**metric, "stat": "Maximum"}, "return_data": False},
            {"id": "lifted", "metric": {**metric, "stat": "Minimum"}, "return_data": False},
            {"id": "silent", "expression": "newest + lifted", "return_data": True},
        ],
    }


@pytest.mark.parametrize("name", TABLE.alarms)
def test_a_description_says_what_it_means_and_what_to_do(name: str) -> None:
    """At three in the night a page holds a name and a number, and nobody knows what to type."""
    alarm, description = TABLE.alarms[name], metric_alarm(TABLE, "production", name)["alarm_description"]
    assert alarm.meaning[1:] in description
    assert TABLE.condition(name) in description
    assert f"Next: {alarm.next}\n".replace("{deployment}", "production") in description
    assert description.endswith(f"/ops/runbook.md#alarm-{name}")
    assert len(description) <= 1024  # the most that AWS takes


def test_the_next_command_is_for_the_alarms_own_deployment() -> None:
    """A page of staging makes the on-call roll back production, which is the command's default."""
    for name in ("upload-failure-rate", "rollback-reads", "consistency-mismatch"):
        description = metric_alarm(TABLE, "staging", name)["alarm_description"]
        assert "Next: ansible-playbook emergency-rollback.yml -e deployment=staging -e scenario=" in description


@pytest.mark.parametrize("name", TABLE.incidents)
def test_an_incident_says_the_next_command_of_each_alarm(name: str) -> None:
    """The page names an incident, and the operator does not know which of its alarms to act on, or how."""
    description = composite_alarm(TABLE, "production", name)["alarm_description"]
    for alarm in TABLE.incidents[name].alarms:
        assert f"- {alarm}: {TABLE.next_command(alarm, 'production')}\n" in description
    assert description.endswith("/ops/runbook.md#alarms")
    assert len(description) <= 1024


def filters(table: Plan) -> dict[str, tuple[str, dict[str, str]]]:
    return {each["name"]: (each["pattern"], each["metric_transformation"]) for each in metric_filters(table, "staging")}


def test_counters_are_terms_with_a_zero_and_measurements_are_values_without() -> None:
    """No line and a line of another kind look alike, or a default 0 counts as the fastest upload of all."""
    held = filters(TABLE)
    assert held["save_fail"] == (
        '"METRIC: cert.s3.save.fail="',
        {"name": "save_fail", "namespace": STAGING, "value": "1", "default_value": "0"},
    )
    assert held["probe_put_ms"] == (
        '{ $.metric_name = "cert.s3.probe.put_ms" }',
        {"name": "probe_put_ms", "namespace": STAGING, "value": "$.value"},
    )
    assert held["telemetry_lines"][0] == '"METRIC: cert."'
    assert held.keys() == {*TABLE.metrics, *TABLE.measurements, "telemetry_lines"}


@pytest.mark.parametrize("deployment", get_args(Deployment))
def test_every_metric_that_an_alarm_reads_is_made_by_a_filter(deployment: Deployment) -> None:
    """An alarm watches a metric that nothing writes, and is quiet for ever."""
    made = {(each["metric_transformation"]["namespace"], each["name"]) for each in metric_filters(TABLE, deployment)}
    for name in TABLE.alarms:
        alarm = metric_alarm(TABLE, deployment, name)
        queries = alarm.get("metric_queries", [{"metric": alarm}])
        read = {(each["metric"]["namespace"], each["metric"]["metric_name"]) for each in queries if "metric" in each}
        assert read
        assert read <= made


def body(deployment: Deployment = "production") -> list[dict[str, Any]]:
    return dashboard_body(TABLE, deployment, "some-bucket", ALARM_ARNS)["widgets"]


@pytest.mark.parametrize("deployment", get_args(Deployment))
def test_the_dashboard_shows_only_what_exists(deployment: Deployment) -> None:
    """A graph stays empty in an incident, because its metric has another name."""
    namespace = names.namespace(TABLE.telemetry, deployment)
    made = {(namespace, each["name"]) for each in metric_filters(TABLE, deployment)}
    made |= {("AWS/S3", "4xxErrors"), ("AWS/S3", "5xxErrors"), ("AWS/Billing", "EstimatedCharges")}
    graphs = [widget["properties"] for widget in body(deployment) if widget["type"] == "metric"]
    shown = {tuple(metric[:2]) for graph in graphs for metric in graph["metrics"] if isinstance(metric[0], str)}
    assert shown <= made
    assert {name for _, name in shown} >= {
        *("workers_dual_write", "workers_read_primary", "save_success", "read_success", "read_fallback"),
        *("probe_put_ms", "probe_sign_ms", "consistency_mismatch_ratio", "EstimatedCharges"),
    }
    for graph in graphs:
        ids = {metric[-1].get("id") for metric in graph["metrics"]} - {None, "ratio"}
        for metric in graph["metrics"]:
            assert graph["region"] == "us-east-1"
            if "expression" in metric[0]:
                assert ids == set(metric[0]["expression"].replace("(", " ").replace(")", " ").split()) - {"+", "/"}


def test_graphs_count_what_the_alarms_count() -> None:
    """The graph averages a rate that the alarm sums, or asks for S3's errors by a filter that does not exist."""
    graphs = {each["properties"]["title"]: each["properties"] for each in body() if each["type"] == "metric"}
    namespace = "DeltaCrown/Certificates/production"
    assert graphs["Reads: fallback ratio"]["metrics"] == [
        [
            {
                "id": "ratio",
                "expression": "(read_fallback) / (read_success + read_fallback)",
                "label": "read_fallback_ratio",
            }
        ],
        [namespace, "read_fallback", {"id": "read_fallback", "stat": "Sum", "visible": False}],
        [namespace, "read_success", {"id": "read_success", "stat": "Sum", "visible": False}],
    ]
    bucket = ["BucketName", "some-bucket", "FilterId", "EntireBucket", {"stat": "Sum"}]
    assert graphs["S3's own errors in 5 minutes"]["metrics"] == [
        ["AWS/S3", name, *bucket] for name in ("4xxErrors", "5xxErrors")
    ]


def test_no_two_widgets_overlap() -> None:
    """CloudWatch moves one of them away, and one glance shows another picture than was drawn."""
    for one, other in combinations(body(), 2):
        beside = one["x"] + one["width"] <= other["x"] or other["x"] + other["width"] <= one["x"]
        above = one["y"] + one["height"] <= other["y"] or other["y"] + other["height"] <= one["y"]
        assert beside or above
    assert all(widget["x"] + widget["width"] <= COLUMNS for widget in body())


def test_the_dashboard_has_the_tables_limits_and_all_alarms() -> None:
    """The line in the graph says 400 ms, and the alarm fires at 500."""
    lines = {
        each["label"]: each["value"]
        for widget in body()
        for each in widget["properties"].get("annotations", {}).get("horizontal", [])
    }
    assert lines == {
        "save-success-rate": 0.99,
        "upload-p95": 500,
        "presigned-url-p95": 150,
        "read-fallback-rate": 0.01,
        "rollback-reads": 0.1,
        "consistency-mismatch": 0,
        "rollback-inconsistency": 0.05,
        "budget": 32,
    }
    (states,) = (widget["properties"]["alarms"] for widget in body() if widget["type"] == "alarm")
    assert states == ALARM_ARNS


def test_the_budget_is_the_corrected_estimate_with_headroom() -> None:
    """The budget is guessed once, and is too high to ever speak or too low to be read."""
    # ($12.81, not the runbook's $5, whose transfer is a third of what its GETs are, + three probes at $2.80) × 1.5
    assert cost.planned_budget(TABLE) == 32
    common = {
        "comparison_operator": "GREATER_THAN",
        "threshold_type": "PERCENTAGE",
        "subscriber_sns_topic_arns": ["arn"],
    }
    assert notifications(TABLE, "arn") == [
        {"notification_type": "ACTUAL", "threshold": 80, **common},
        {"notification_type": "ACTUAL", "threshold": 100, **common},
        {"notification_type": "FORECASTED", "threshold": 100, **common},
    ]
