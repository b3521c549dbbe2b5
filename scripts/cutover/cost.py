"""`cutover cost`: what S3 costs a month, beside what the runbook's Appendix C says, corrected where that is wrong.

Money is US dollars a month of 30 days, as the runbook counts. A KB of a file is 1,000 bytes; a GB that AWS bills is
2^30 bytes (the S3 pricing examples divide byte-hours by 1,073,741,824).
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict, dataclass, replace
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from cutover import plan, settings
from cutover.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cutover.alarm_table import Probe

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

__all__ = [
    "RUNBOOK_SAYS",
    "Estimate",
    "Line",
    "Use",
    "budget_limit",
    "document",
    "estimate",
    "planned_budget",
    "planned_use",
    "register",
    "run",
]

DAYS, SECONDS_OF_DAY = 30, 86400
BYTES_OF_KB, BYTES_OF_GB = 1000, 2**30
STORAGE, PUT, GET, TRANSFER = "Storage (Standard)", "Requests (PUT)", "Requests (GET)", "Data transfer (out)"
TOTAL = "Total"

# The runbook's Appendix C for its planning figures: each line as it is printed, and its dollars.
RUNBOOK_SAYS = {
    STORAGE: ("5GB × $0.023/GB = $0.12/month", Decimal("0.12")),
    PUT: ("100/day × $0.005/1000 = $0.015/month", Decimal("0.015")),
    GET: ("10,000/day × $0.0004/1000 = $0.12/month", Decimal("0.12")),
    TRANSFER: ("50GB × $0.09/GB = $4.50/month", Decimal("4.50")),
    TOTAL: ("~$5/month (scales linearly with certificate count)", Decimal(5)),
}
WHY = {
    STORAGE: "AWS bills GB of 2^30 bytes",
    TRANSFER: "so many GETs of 500 KB each are 150 GB of 10^9 bytes, three times 50; a download is of the PDF alone, "
    "so this is the most that it can be",
    TOTAL: "its own calculations add up to $4.75, and only storage grows with the certificates, the rest with requests",
}
# Prices: aws.amazon.com/cloudwatch/pricing and aws.amazon.com/s3/pricing, us-east-1; versions: S3's questions and
# answers ("normal rates apply for every version of an object").
NOT_COUNTED = (
    "noncurrent versions: they cost what current ones do, until the lifecycle policy expires them",
    "CloudWatch: $0.10 for each metric an alarm reads (ten are free), $0.50 a composite alarm, $0.50 a GB of logs",
    "custom metrics, S3's request metrics among them: $0.30 each (ten are free)",
    "the account's free 100 GB of transfer out, which all its services share",
)


@dataclass(frozen=True)
class Use:
    """What is stored and asked for; `transfer_out_gb` is monthly, in GB of 2^30 bytes, None: all GETs go out."""

    certificates: int
    average_kb: Decimal
    puts_per_day: int
    gets_per_day: int
    transfer_out_gb: Decimal | None = None
    probe_puts_per_day: int = 0  # each object that the probe puts is fetched once


@dataclass(frozen=True)
class Line:
    """One line of the bill: `dollars` = `quantity` × `unit_price`, and the runbook's figure where it has one."""

    name: str
    quantity: Decimal
    unit: str
    unit_price: Decimal
    dollars: Decimal
    runbook: Decimal | None = None
    correction: str | None = None


@dataclass(frozen=True)
class Estimate:
    """A month's bill. `runbook_total` and `correction` only for the runbook's own planning figures."""

    lines: tuple[Line, ...]
    total: Decimal
    runbook_total: Decimal | None
    correction: str | None


def planned_use(
    table: plan.Plan,
    certificates: int | None = None,
    average_kb: Decimal | None = None,
    probe_machines: int | None = None,
) -> Use:
    """The plan's use, for so many certificates: requests grow with them, as the runbook says.

    Args:
        table: ops/cutover.yml, its sections `cost` (planning figures) and `telemetry` (the probe).
        certificates: how many; by default the plan's.
        average_kb: size of a certificate's files together, KB; by default the plan's.
        probe_machines: how many machines run the probe; by default the plan's.
    """
    planned = table.cost.planned
    number = planned.certificates if certificates is None else certificates
    growth = Decimal(number) / planned.certificates
    machines = planned.probe_machines if probe_machines is None else probe_machines
    return Use(
        certificates=number,
        average_kb=Decimal(planned.average_kb) if average_kb is None else average_kb,
        puts_per_day=math.ceil(planned.puts_per_day * growth),
        gets_per_day=math.ceil(planned.gets_per_day * growth),
        probe_puts_per_day=_probe_puts_per_day(table.telemetry.probe) * machines,
    )


def estimate(prices: plan.Cost, use: Use) -> Estimate:
    """The month's bill of this use, at these prices; the runbook's figures beside it if it is the runbook's use."""
    compared = _compared(prices.planned, use)
    lines = tuple(_line(*parts, compared=parts[0] in compared) for parts in _parts(prices, use))
    total = sum((line.dollars for line in lines), Decimal(0))
    if TOTAL not in compared:
        return Estimate(lines, total, None, None)
    unprobed = sum((line.dollars for line in lines if line.name in compared), Decimal(0))
    calculation = _money(unprobed) + ("" if unprobed == total else " without the probe")
    return Estimate(lines, total, RUNBOOK_SAYS[TOTAL][1], _correction(TOTAL, calculation, unprobed))


def budget_limit(estimated: Estimate, headroom: float) -> Decimal:
    """The monthly budget: the total times `headroom` (ops/cutover.yml, `budget`), rounded up to whole dollars."""
    return Decimal(math.ceil(estimated.total * Decimal(str(headroom))))


def planned_budget(table: plan.Plan) -> Decimal:
    """What the AWS budget is set to: the plan's use with its probes, US dollars a month, with headroom."""
    return budget_limit(estimate(table.cost, planned_use(table)), table.budget.headroom)


def _compared(planned: plan.PlannedUse, use: Use) -> set[str]:
    """The runbook's figures that this use is held against: none for another use; it has no probe, and its own transfer.

    Whoever gives a transfer gets no correction of it, nor of the total.
    """
    runbooks = Use(planned.certificates, Decimal(planned.average_kb), planned.puts_per_day, planned.gets_per_day)
    if replace(use, transfer_out_gb=None, probe_puts_per_day=0) != runbooks:
        return set()
    return {*RUNBOOK_SAYS} if use.transfer_out_gb is None else {*RUNBOOK_SAYS} - {TRANSFER, TOTAL}


def _parts(prices: plan.Cost, use: Use) -> Iterator[tuple[str, Decimal, str, Decimal]]:
    """Name, monthly quantity, unit and unit price of each line."""
    size = use.average_kb * BYTES_OF_KB / BYTES_OF_GB
    transfer = use.gets_per_day * DAYS * size if use.transfer_out_gb is None else use.transfer_out_gb
    put, get = Decimal(str(prices.put_per_1000)) / 1000, Decimal(str(prices.get_per_1000)) / 1000
    yield STORAGE, use.certificates * size, "GB", Decimal(str(prices.storage_per_gb_month))
    yield PUT, Decimal(use.puts_per_day * DAYS), "requests", put
    yield GET, Decimal(use.gets_per_day * DAYS), "requests", get
    yield TRANSFER, transfer, "GB", Decimal(str(prices.transfer_out_per_gb))
    if use.probe_puts_per_day:
        yield "Probe (PUT)", Decimal(use.probe_puts_per_day * DAYS), "requests", put
        yield "Probe (GET)", Decimal(use.probe_puts_per_day * DAYS), "requests", get


def _line(name: str, quantity: Decimal, unit: str, unit_price: Decimal, *, compared: bool) -> Line:
    dollars = quantity * unit_price
    if not compared:
        return Line(name, quantity, unit, unit_price, dollars)
    calculation = f"{_number(quantity)} {unit} × {_price(unit, unit_price)} = {_money(dollars)}"
    correction = _correction(name, calculation, dollars)
    return Line(name, quantity, unit, unit_price, dollars, RUNBOOK_SAYS[name][1], correction)


def _correction(name: str, calculation: str, dollars: Decimal) -> str | None:
    """What is wrong with the runbook's figure, or None where it is right to the digits that it prints."""
    printed, said = RUNBOOK_SAYS[name]
    if dollars.quantize(said, ROUND_HALF_UP) == said:
        return None
    reason = f": {WHY[name]}" if name in WHY else ""
    return f"{name}: {calculation}, not {printed}{reason}."


def _probe_puts_per_day(probe: Probe) -> int:
    return SECONDS_OF_DAY // probe.interval_seconds * len(probe.object_bytes)


def register(commands: Subparsers) -> None:
    """Adds `cost` to the parser of `cutover`."""
    parser = commands.add_parser(
        "cost",
        help="what S3 costs a month, beside the runbook's Appendix C",
        description="Estimates S3's monthly cost at the prices of ops/cutover.yml. For the planning figures of the "
        "runbook it shows what its Appendix C says, line by line, and corrects what is wrong there.",
        epilog="example: cutover cost --certificates 10000 --average-kb 500",
    )
    parser.add_argument("--certificates", type=_count, metavar="N", help="how many (default: the plan's)")
    parser.add_argument("--average-kb", type=_amount, metavar="KB", help="a certificate's files together, 1000 bytes")
    parser.add_argument("--puts-per-day", type=_count, metavar="N", help="default: the plan's, times the growth")
    parser.add_argument("--gets-per-day", type=_count, metavar="N", help="default: the plan's, times the growth")
    parser.add_argument(
        "--transfer-gb",
        dest="transfer_out_gb",
        type=_amount,
        metavar="GB",
        help="monthly, out of AWS (default: of all GETs)",
    )
    parser.add_argument(
        "--probe-machines", type=_count, metavar="N", help="machines with a probe (default: the plan's)"
    )
    parser.add_argument(
        "--from-bucket",
        action="store_true",
        help="certificates and sizes as the bucket lists them, and what AWS billed, where Cost Explorer answers",
    )
    settings.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Prints the estimate; returns the exit code."""
    table = plan.load()
    names = ("puts_per_day", "gets_per_day", "transfer_out_gb")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if options.from_bucket:
        from cutover import cost_measured  # noqa: PLC0415 - boto3 takes a third of a second

        values = settings.load(options.env_file, role_arn=options.role_arn)
        found = cost_measured.document(values, table, given, options.probe_machines)
    else:
        planned = planned_use(table, options.certificates, options.average_kb, options.probe_machines)
        found = document(table, replace(planned, **given), None)
    if options.json:
        print(json.dumps(found, default=float, ensure_ascii=False))
    else:
        use = Use(**found["use"])
        estimated = estimate(table.cost, use)
        print("\n".join([*_table(use, estimated), "", *_notes(table, estimated, planned_budget(table))]))
    return ExitCode.DONE


def document(table: plan.Plan, use: Use, billed: Decimal | None) -> dict[str, Any]:
    """The estimate, the budget, and what AWS billed (None: it does not say); amounts are exact, US dollars a month."""
    return {"use": asdict(use), **asdict(estimate(table.cost, use)), "budget": planned_budget(table), "billed": billed}


def _table(use: Use, estimated: Estimate) -> Iterator[str]:
    yield (
        f"{use.certificates:,} certificates of {_number(use.average_kb)} KB, "
        f"{use.puts_per_day:,} PUTs and {use.gets_per_day:,} GETs a day; US dollars a month"
    )
    for line in estimated.lines:
        quantity, price = f"{_number(line.quantity)} {line.unit}", f"× {_price(line.unit, line.unit_price)}"
        yield _row(line.name, quantity, price, line.dollars, compared=line.runbook is not None)
    yield _row(TOTAL, "", "", estimated.total, compared=estimated.runbook_total is not None)


def _row(name: str, quantity: str, price: str, dollars: Decimal, *, compared: bool) -> str:
    row = f"{name:<20} {quantity:>18} {price:<14} {_money(dollars):>9}"
    return row + (f"   runbook: {RUNBOOK_SAYS[name][0]}" if compared else "")


def _notes(table: plan.Plan, estimated: Estimate, limit: Decimal) -> Iterator[str]:
    corrections = [line.correction for line in estimated.lines if line.correction]
    corrections += [estimated.correction] if estimated.correction else []
    if corrections:
        yield "Corrections of the runbook's Appendix C:"
        yield from (f"- {correction}" for correction in corrections)
    yield "Not counted:"
    yield from (f"- {omission}" for omission in NOT_COUNTED)
    yield f"AWS budget: ${limit} a month (the plan's total × {table.budget.headroom:g}, rounded up)"


def _price(unit: str, unit_price: Decimal) -> str:
    """As AWS's price lists have it: requests by the thousand."""
    return f"${unit_price.normalize():f}/GB" if unit == "GB" else f"${(unit_price * 1000).normalize():f}/1000"


def _money(dollars: Decimal) -> str:
    """Cents, and a tenth of a cent below ten cents, as the runbook prints."""
    step = Decimal("0.001") if dollars < Decimal("0.1") else Decimal("0.01")
    return f"${dollars.quantize(step, ROUND_HALF_UP)}"


def _number(value: Decimal) -> str:
    return f"{value:,.0f}" if value == value.to_integral_value() else f"{value:,.2f}"


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 on")
    return int(text)


def _amount(text: str) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 on")
    return amount
