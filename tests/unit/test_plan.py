"""ops/cutover.yml and its model."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml

from cutover import plan

SOURCE = Path(__file__).resolve().parents[2] / "ops/cutover.yml"


def broken(tmp_path: Path, change: Any) -> Path:
    document = yaml.safe_load(SOURCE.read_text())
    change(document)
    path = tmp_path / "cutover.yml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def test_steps_follow_each_other() -> None:
    """A step that starts in another mode than its predecessor left could never pass its preflight."""
    steps = plan.load(SOURCE).steps
    for deployment in ("staging", "production"):
        modes = [(step.from_mode, step.to_mode) for step in steps.values() if step.deployment == deployment]
        assert modes[0][0] == "local"
        assert all(after[0] == before[1] for before, after in itertools.pairwise(modes))


@pytest.mark.parametrize(
    ("level", "target", "alert"),
    [
        ("save_success", "above 0.995", "below 0.99"),
        ("save_fail", "below 0.005", "above 0.01"),
        ("upload_p95", "below 400", "above 500"),
        ("presigned_url_p95", "below 100", "above 150"),
        ("read_fallback", "below 0.001", "above 0.01"),
    ],
)
def test_key_metrics_are_the_runbooks(level: str, target: str, alert: str) -> None:
    """A number that drifted from the runbook gates or pages at the wrong moment."""
    row = plan.load(SOURCE).service_levels[level]
    assert (str(row.target), str(row.alert)) == (target, alert)


@pytest.mark.parametrize(
    ("alarm", "condition"),
    [
        ("save-success-rate", "save_success_ratio below 0.99 in 2 of 3 x 300 s"),
        ("upload-failure-rate", "save_fail_ratio above 0.01 in 2 of 3 x 300 s"),
        ("upload-failures", "save_fail (while save_fail_ratio is of fewer than 120) above 1 in 1 of 1 x 1800 s"),
        ("upload-p95", "p95 of probe_put_ms above 500 in 2 of 3 x 300 s"),
        ("presigned-url-p95", "p95 of probe_sign_ms above 150 in 2 of 3 x 300 s"),
        ("read-fallback-rate", "read_fallback_ratio above 0.01 in 2 of 3 x 300 s"),
        ("read-fallback-spike", "read_fallback above 5 in 1 of 1 x 60 s"),
        ("consistency-mismatch", "consistency_mismatch_ratio above 0 in 1 of 1 x 60 s"),
        ("rollback-uploads", "save_fail_ratio above 0.05 in 5 of 5 x 60 s"),
        ("rollback-reads", "read_fallback_ratio above 0.1 in 2 of 2 x 60 s"),
        ("rollback-inconsistency", "consistency_mismatch_ratio above 0.05 in 1 of 1 x 60 s"),
        ("no-telemetry", "telemetry_lines below 1 in 5 of 5 x 60 s"),
        ("no-consistency-check", "consistency_checks below 1 in 26 of 26 x 3600 s"),
    ],
)
def test_alarms_are_the_runbooks(alarm: str, condition: str) -> None:
    """A threshold or a duration that drifted from the runbook wakes somebody for nothing, or nobody for something."""
    assert plan.load(SOURCE).condition(alarm) == condition


def test_pages_go_to_the_on_call_and_each_severity_to_somebody() -> None:
    """An alarm that nobody receives is none."""
    contacts = {contact.role: contact.receives for contact in plan.load(SOURCE).contacts}
    assert contacts["DevOps on-call"] == ["critical", "warning"]
    assert contacts["Backend lead"] == ["warning"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda d: d["steps"][6].update({"to": "dual-wrte"}), "steps.6: no mode is called 'dual-wrte'"),
        (lambda d: d["steps"].pop(4), "steps must be 1 to 10"),
        (lambda d: d["steps"][2].update({"batches": [1]}), "steps.2"),
        (lambda d: d["steps"][1].update({"batches": ["0%"]}), "steps.1.batches"),
        (lambda d: d["scenarios"]["reads"]["sets"].update({"dual_write": True}), "may only turn flags off"),
        (lambda d: d["modes"]["settled"].update({"backfill": True}), "two modes have the same flags"),
        (lambda d: d["steps"][1]["criteria"].update({"server_errors": {"at_most": 0, "below": 1}}), "exactly one of"),
        (lambda d: d["ratios"]["save_fail_ratio"].update({"numerator": ["save_lost"]}), "unknown metrics save_lost"),
        (lambda d: d["rollback_triggers"]["reads"].update({"scenario": "read"}), "no scenario is called 'read'"),
        (lambda d: d.update({"colour": "red"}), "colour"),
        (lambda d: d["service_levels"]["save_fail"].update({"measure": "save_fial"}), "save_fail: measure 'save_fial'"),
        (lambda d: d.update({"flags": dict(reversed(d["flags"].items()))}), "in this order"),
        (lambda d: d["rollback"].pop("objective_seconds"), "rollback.objective_seconds"),
        (lambda d: d["rollback"].update({"drill_silence_seconds": 7260}), "longer than silence.maximum_seconds"),
        (lambda d: d["rollback"].update({"drill_silence_seconds": 90}), "rollback.drill_silence_seconds"),
        (
            lambda d: d["alarms"]["no-telemetry"].update({"level": "save_fail"}),
            "exactly one of level, trigger",
        ),
        (lambda d: d["alarms"]["no-telemetry"].pop("severity"), "alert and severity belong"),
        (lambda d: d["alarms"]["upload-p95"].update({"datapoints": 4}), "4 datapoints of 3 periods"),
        (lambda d: d["alarms"]["upload-p95"].update({"period_seconds": 90}), "alarms.upload-p95.period_seconds"),
        (lambda d: d["alarms"]["upload-p95"].update({"evaluation_periods": 289}), "86400 s at most"),
        (lambda d: d["alarms"]["no-consistency-check"].update({"evaluation_periods": 169}), "604800 s at most"),
        (lambda d: d["alarms"]["upload-p95"].pop("low_samples"), "alarms.upload-p95: a percentile"),
        (lambda d: d["alarms"]["upload-p95"].update({"level": "upload_p59"}), "no level or trigger 'upload_p59'"),
        (lambda d: d["alarms"]["upload-failure-rate"].pop("companion"), "alarms.upload-failure-rate: a ratio"),
        (lambda d: d["alarms"]["upload-p95"].update({"may_lack_data": True}), "alarms.upload-p95: may_lack_data wants"),
        (lambda d: d["alarms"]["rollback-reads"].update({"datapoints": 1}), "must span the trigger's 120 s"),
        (lambda d: d["alarms"]["upload-failures"]["while_below"].update({"ratio": "x"}), "while_below names no ratio"),
        (lambda d: d["alarms"]["upload-p95"].update({"treat_missing_data": "ok"}), "upload-p95.treat_missing_data"),
        (lambda d: d["incidents"]["s3"]["alarms"].pop(), "each alarm must stand in exactly one incident"),
        (lambda d: d["incidents"]["degraded"].update({"unless": "s4"}), "no other incident is called 's4'"),
        (lambda d: d["incidents"]["telemetry"].update({"severity": "warning"}), "no-telemetry has another severity"),
        (lambda d: d["silence"].update({"maximum_seconds": 7260}), "silence.maximum_seconds"),
        (lambda d: d["preflight"].pop("free_bytes"), "preflight.free_bytes"),
        (lambda d: d["preflight"].update({"free_ratio": 1}), "preflight.free_ratio"),
        (lambda d: d["contacts"][2].update({"receives": ["critical"]}), "AWS support receives mail"),
    ],
)
def test_broken_table_is_refused_with_its_key(tmp_path: Path, change: Any, sentence: str) -> None:
    """A slip in the table would be found by a step in the middle of a production change."""
    with pytest.raises(plan.PlanError, match=r"cutover\.yml") as caught:
        plan.load(broken(tmp_path, change))
    assert sentence in str(caught.value)


def test_file_that_is_absent_or_no_yaml_is_named(tmp_path: Path) -> None:
    """A traceback at this place hides which file the operator has to look at."""
    with pytest.raises(plan.PlanError, match=r"absent\.yml: cannot be read"):
        plan.load(tmp_path / "absent.yml")
    (tmp_path / "bad.yml").write_text("steps: [")
    with pytest.raises(plan.PlanError, match=r"bad\.yml: is not valid YAML"):
        plan.load(tmp_path / "bad.yml")


@pytest.mark.parametrize(
    ("bound", "inside", "outside"),
    [({"above": 1}, 1.01, 1), ({"below": 1}, 0.99, 1), ({"at_least": 1}, 1, 0.99), ({"at_most": 0}, 0, 1)],
)
def test_bounds_exclude_or_include_their_limit(bound: dict[str, float], inside: float, outside: float) -> None:
    """ "> 99.5 %" must not pass at exactly 99.5 %."""
    limit = plan.Bound(**bound)
    assert limit.holds(inside)
    assert not limit.holds(outside)
