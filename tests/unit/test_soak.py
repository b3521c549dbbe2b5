"""A soak goes on while it must, and stops when it must."""

from __future__ import annotations

from typing import Any

import pytest

from cutover import plan, soak

TABLE = plan.load()
CANARY, OTHER = "deltacrown-uwsgi@worker1.service", "deltacrown-uwsgi@worker2.service"
STEP_6, STEP_8 = TABLE.steps[6], TABLE.steps[8]


def worker(saved: int = 0, failed: int = 0, read: int = 0, fell_back: int = 0, errors: int = 0) -> dict[str, Any]:
    metrics = {
        TABLE.metrics["save_success"]: saved,
        TABLE.metrics["save_fail"]: failed,
        TABLE.metrics["read_success"]: read,
        TABLE.metrics["read_fallback"]: fell_back,
    }
    return {"metrics": metrics, "server_errors": errors, "first_complaint": ""}


def journals(canary: dict[str, Any], other: dict[str, Any] | None = None, put_ms: float = 20.0, puts: int = 60) -> Any:
    """Two machines, the canary on the first of them; the probes' puts on both."""
    measurements = {TABLE.measurements["probe_put_ms"]: [put_ms] * (puts // 2)}
    return {
        "web1": {"units": {CANARY: canary}, "measurements": measurements},
        "web2": {"units": {OTHER: other or worker()}, "measurements": measurements},
    }


def state(step: plan.Step, documents: Any, elapsed: float) -> soak.State:
    measured = soak.measure(TABLE, documents, {"web1": [CANARY]})
    return soak.decide(TABLE, step, measured, soak.Watch(elapsed, 1800, 7200))


def test_only_the_watched_workers_count_and_everybody_s_errors() -> None:
    """A worker that still writes locally dilutes the canary's ratio; a customer does not ask who failed."""
    measured = soak.measure(
        TABLE, journals(worker(saved=199, failed=1), worker(saved=1000, errors=2)), {"web1": [CANARY]}
    )
    assert measured["save_fail_ratio"] == (0.005, 200)
    assert measured["customer_errors"][0] == 2
    assert measured["upload_p95"] == (20.0, 60)
    assert measured["read_fallback_ratio"] == (None, 0)


@pytest.mark.parametrize(
    ("canary", "elapsed", "over"),
    [
        (worker(saved=200), 1799, False),
        (worker(saved=200), 1800, True),
        (worker(saved=199), 1800, False),  # too few samples: it goes on
        (worker(saved=199), 7200, True),  # and ends, INCONCLUSIVE
    ],
)
def test_it_lasts_as_long_as_samples_are_missing(canary: dict[str, Any], elapsed: float, over: bool) -> None:
    found = state(STEP_6, journals(canary), elapsed)
    assert (found.over, found.stopped) == (over, "")
    assert bool(found.lacking) == (canary["metrics"][TABLE.metrics["save_success"]] < 200)


def test_a_silent_fleet_lacks_everything_and_is_no_error() -> None:
    """Nobody saved or read: what has no service level of its own lacks its one sample, too."""
    found = state(STEP_6, journals(worker()), 7200)
    assert (found.over, found.stopped) == (True, "")
    assert "customer_errors: 0 of 1 samples" in found.lacking


@pytest.mark.parametrize(
    ("canary", "stopped"),
    [
        (worker(saved=199, failed=1), ""),  # 0.5 % is the limit itself
        (worker(saved=198, failed=2), "save_fail_ratio is 0.01"),
        (worker(saved=9, failed=1), ""),  # one of ten says nothing yet
        (worker(saved=8, failed=2), "save_fail_ratio is 0.2"),  # two are too many, whatever comes
        (worker(saved=200, read=990, fell_back=10), ""),
        (worker(saved=200, read=989, fell_back=11), "read_fallback_ratio is 0.011"),
        (worker(saved=200, errors=1), "customers met 1 server errors"),
    ],
)
def test_step_6_stops_early_at_the_runbook_s_alert_lines(canary: dict[str, Any], stopped: str) -> None:
    """Half an hour of failing uploads is half an hour of certificates to look for later."""
    found = state(STEP_6, journals(canary), 60)
    assert found.stopped.startswith(stopped)
    assert (found.over, bool(found.stopped)) == (bool(stopped), bool(stopped))


def test_step_8_stops_at_five_percent_of_fallbacks() -> None:
    """Its trigger is the runbook's: above 5 % everything goes back."""
    assert state(STEP_8, journals(worker(read=950, fell_back=50)), 60).stopped == ""
    assert "read_fallback_ratio" in state(STEP_8, journals(worker(read=949, fell_back=51)), 60).stopped


def test_a_slow_probe_is_no_reason_to_stop_and_lacks_nothing() -> None:
    """The p95 is judged at the end: one slow minute must not end a soak."""
    found = state(STEP_6, journals(worker(saved=200), put_ms=900.0), 1800)
    assert (found.over, found.stopped, found.lacking) == (True, "", ())
    assert "upload_p95: 58 of 60 samples" in state(STEP_6, journals(worker(saved=200), puts=58), 1800).lacking


def test_what_a_program_logged_with_a_worker_s_environment_counts_as_the_worker_s() -> None:
    """No journal of a worker has it, and a canary that is judged by nothing is INCONCLUSIVE for ever."""
    documents = journals(worker(saved=1), worker(saved=5))
    hosts = {"production-worker1": {"machine": "web1", "worker_unit": CANARY}}
    success, fail = TABLE.metrics["save_success"], TABLE.metrics["save_fail"]
    counted = soak.with_programs(
        documents, [("production-worker1", {success: 2}), ("production-worker1", {fail: 1})], hosts
    )
    assert soak.measure(TABLE, counted, {"web1": [CANARY]})["save_fail_ratio"] == (0.25, 4)
    assert counted["web2"] == documents["web2"]
    assert soak.measure(TABLE, documents, {"web1": [CANARY]})["save_fail_ratio"] == (0.0, 1)
