"""`cutover cost`: the runbook's Appendix C, line by line, and what is wrong with it."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from decimal import Decimal
from typing import Any
from unittest import mock

import pytest

from cutover import cost, cost_measured, object_store, plan, settings

TABLE = plan.load()
PLANNED = cost.planned_use(TABLE, probe_machines=0)  # the runbook has no probe


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    parser = argparse.ArgumentParser()
    cost.register(parser.add_subparsers())
    options = parser.parse_args(["cost", *arguments])
    assert options.command(options) == 0
    return capsys.readouterr().out


def dollars(use: cost.Use) -> dict[str, Decimal]:
    estimated = cost.estimate(TABLE.cost, use)
    return {line.name: round(line.dollars, 4) for line in estimated.lines} | {"Total": round(estimated.total, 4)}


def test_the_plan_holds_the_runbooks_figures() -> None:
    """What is compared with Appendix C must be Appendix C's own case and prices."""
    assert cost.Use(10_000, Decimal(500), 100, 10_000) == PLANNED
    prices = TABLE.cost
    assert (prices.storage_per_gb_month, prices.put_per_1000, prices.get_per_1000, prices.transfer_out_per_gb) == (
        0.023,
        0.005,
        0.0004,
        0.09,
    )


def test_what_the_runbooks_case_really_costs() -> None:
    """Worked by hand: 5 * 10^9 bytes are 4.6566 GB of 2^30; 300,000 GETs of 500 KB are 139.698 GB."""
    assert dollars(PLANNED) == {
        "Storage (Standard)": Decimal("0.1071"),
        "Requests (PUT)": Decimal("0.0150"),
        "Requests (GET)": Decimal("0.1200"),
        "Data transfer (out)": Decimal("12.5729"),
        "Total": Decimal("12.8150"),
    }


def test_corrections_name_what_is_wrong_and_nothing_else() -> None:
    """Requests are right in the runbook; storage, transfer and total are not."""
    estimated = cost.estimate(TABLE.cost, PLANNED)
    wrong = {line.name: line.correction for line in estimated.lines if line.correction}
    assert set(wrong) == {"Storage (Standard)", "Data transfer (out)"}
    assert "139.70 GB × $0.09/GB = $12.57, not 50GB × $0.09/GB = $4.50/month" in wrong["Data transfer (out)"]
    assert "150 GB" in wrong["Data transfer (out)"]
    assert "4.66 GB × $0.023/GB = $0.11, not 5GB" in wrong["Storage (Standard)"]
    assert estimated.correction is not None
    assert "$12.81, not ~$5/month" in estimated.correction
    assert [line.runbook for line in estimated.lines] == [Decimal(said) for said in ("0.12", "0.015", "0.12", "4.50")]


def test_the_runbooks_own_sum_is_what_the_correction_says() -> None:
    """The total's correction must not be wrong itself."""
    own = 5 * Decimal("0.023") + 3000 * Decimal("0.000005") + 300_000 * Decimal("0.0000004") + 50 * Decimal("0.09")
    assert f"its own calculations add up to ${own:.2f}," in (cost.estimate(TABLE.cost, PLANNED).correction or "")


def test_the_runbooks_transfer_gives_the_runbooks_total() -> None:
    """With the planned 50 GB the sum is about $5, and only the unit of storage is left to correct."""
    estimated = cost.estimate(TABLE.cost, replace(PLANNED, transfer_out_gb=Decimal(50)))
    assert round(estimated.total, 2) == Decimal("4.74")
    assert estimated.correction is None
    assert [line.name for line in estimated.lines if line.correction] == ["Storage (Standard)"]


def test_a_changed_price_is_a_correction() -> None:
    """If AWS's price moves, the runbook's figure must not pass as right."""
    dearer = TABLE.cost.model_copy(update={"put_per_1000": 0.006})
    put = cost.estimate(dearer, PLANNED).lines[1]
    assert put.correction == (
        "Requests (PUT): 3,000 requests × $0.006/1000 = $0.018, not 100/day × $0.005/1000 = $0.015/month."
    )


def test_another_case_is_not_compared_with_the_runbook() -> None:
    """Its figures are for its own case: beside others they would only mislead."""
    for use in (cost.planned_use(TABLE, 20_000), cost.planned_use(TABLE, average_kb=Decimal(26))):
        estimated = cost.estimate(TABLE.cost, use)
        assert estimated.correction is None
        assert {line.runbook for line in estimated.lines} == {None}


def test_everything_doubles_with_the_certificates() -> None:
    """The runbook: scales linearly with certificate count."""
    single, double = dollars(PLANNED), dollars(cost.planned_use(TABLE, 20_000, probe_machines=0))
    assert all(abs(double[name] - 2 * single[name]) <= Decimal("0.0002") for name in single)
    assert cost.planned_use(TABLE, 10_001).puts_per_day == 101


def test_the_probe_is_counted() -> None:
    """Two puts and two gets in ten seconds cost more than all customers' requests together, and the budget has them."""
    assert TABLE.cost.planned.probe_machines == 3
    names = dollars(cost.planned_use(TABLE))
    assert names["Probe (PUT)"] == Decimal("7.7760")  # 3 * 2 * 8640 * 30 = 1,555,200 requests
    assert names["Probe (GET)"] == Decimal("0.6221")
    assert names["Total"] == Decimal("21.2130")


def test_the_runbook_is_corrected_without_the_probe() -> None:
    """It knows none: beside a total with the probe, its $5 would look four times wrong where it is twice."""
    assert "Total: $12.81 without the probe, not ~$5" in (
        cost.estimate(TABLE.cost, cost.planned_use(TABLE)).correction or ""
    )
    assert "Total: $12.81, not ~$5" in (cost.estimate(TABLE.cost, PLANNED).correction or "")


def test_a_given_transfer_is_not_corrected(capsys: pytest.CaptureFixture[str]) -> None:
    """ "Not 50GB" of a figure that the user measured, and the GETs' arithmetic for it, would be nonsense."""
    shown = run(capsys, "--transfer-gb", "400")
    assert "Data transfer (out)              400 GB × $0.09/GB        $36.00\n" in shown
    corrections = [line.partition(":")[0] for line in shown.splitlines() if line.startswith("- ") and ", not " in line]
    assert corrections == ["- Storage (Standard)"]


@pytest.mark.parametrize(
    ("total", "headroom", "limit"), [("12.815", 1.5, 20), ("10", 1.5, 15), ("10.01", 1.5, 16), ("7.1", 1, 8)]
)
def test_the_budget_is_rounded_up(total: str, headroom: float, limit: int) -> None:
    """A budget below the estimate would mail every month."""
    estimated = cost.Estimate((), Decimal(total), None, None)
    assert cost.budget_limit(estimated, headroom) == limit


def test_the_table_shows_the_runbooks_words_beside_ours(capsys: pytest.CaptureFixture[str]) -> None:
    """Line by line, plain text without colours."""
    lines = run(capsys, "--certificates", "10000", "--average-kb", "500").splitlines()
    rows = [line.split(maxsplit=2)[0] for line in lines[1:8]]
    assert rows == ["Storage", "Requests", "Requests", "Data", "Probe", "Probe", "Total"]
    for line, (printed, _) in zip([*lines[1:5], lines[7]], cost.RUNBOOK_SAYS.values(), strict=True):
        assert line.endswith(f"runbook: {printed}")
    assert not any("runbook" in line for line in lines[5:7])
    assert "$21.21" in lines[7]
    assert lines[-1] == "AWS budget: $32 a month (the plan's total × 1.5, rounded up)"
    assert "\x1b" not in "".join(lines)


def test_json_holds_the_same_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    """For a spreadsheet: numbers, not texts."""
    requests = ("--gets-per-day", "0", "--puts-per-day", "1", "--probe-machines", "0")
    document = json.loads(run(capsys, "--json", *requests, "--transfer-gb", "2.5"))
    assert document["use"]["transfer_out_gb"] == 2.5
    assert [line["quantity"] for line in document["lines"][1:]] == [30, 0, 2.5]
    assert document["total"] == pytest.approx(0.1071 + 0.00015 + 0.225, abs=1e-4)
    assert document["budget"] == 32


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--certificates", "-1"),
        ("--certificates", "1.5"),
        ("--certificates", "²"),
        ("--average-kb", "big"),
        ("--average-kb", "-3"),
        ("--transfer-gb", "NaN"),
        ("--transfer-gb", "Infinity"),
    ],
)
def test_bad_numbers_are_refused(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A cost of a mistyped number must not reach a budget."""
    with pytest.raises(SystemExit) as ended:
        run(capsys, f"{option}={value}")
    assert ended.value.code == 2
    assert f"argument {option}: '{value}' is no " in capsys.readouterr().err


PRICED = {"Total": {"UnblendedCost": {"Amount": "1.25", "Unit": "USD"}}}
FREE = {"Total": {"UnblendedCost": {"Amount": "0", "Unit": "USD"}}}


@pytest.mark.parametrize(
    ("times", "expected"), [([], None), ([FREE, FREE], None), ([FREE, PRICED], Decimal("1.25"))], ids=str
)
def test_a_bill_of_nothing_is_none(
    monkeypatch: pytest.MonkeyPatch, times: list[dict[str, Any]], expected: Decimal | None
) -> None:
    """Cost Explorer that was switched on today lists no time, and zero dollars would be within any budget."""
    explorer = mock.Mock(**{"get_cost_and_usage.return_value": {"ResultsByTime": times}})
    session = mock.Mock(**{"client.return_value": explorer})
    monkeypatch.setattr(object_store, "session", lambda _: session)
    assert cost_measured.billed(mock.Mock()) == expected


def test_the_bucket_is_asked_by_the_one_who_is_asked_daily(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two computations of one cost differ one day, and the day's check and the operator's disagree."""
    monkeypatch.setattr(settings, "load", lambda *_, **__: mock.Mock())
    monkeypatch.setattr(cost_measured, "stored", lambda _: (20, Decimal(30)))
    monkeypatch.setattr(cost_measured, "billed", lambda _: Decimal(7))
    expected = cost_measured.document(mock.Mock(), TABLE, {"puts_per_day": 5}, 2)
    arguments = ["--from-bucket", "--puts-per-day", "5", "--probe-machines", "2"]
    assert json.loads(run(capsys, *arguments, "--json")) == json.loads(json.dumps(expected, default=float))
    assert expected["billed"] == 7
    monkeypatch.setattr(cost_measured, "document", lambda *_: expected | {"use": expected["use"] | {"certificates": 9}})
    assert "9 certificates of 30 KB, 5 PUTs" in run(capsys, *arguments)
