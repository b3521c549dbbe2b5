"""The command `cutover daily`: the day's check of step 9, judged, as one record for the evidence."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cutover import daily_counts, gates, names, plan, settings, step_measures, step_record
from cutover.evidence import chain as chains
from cutover.evidence import soak_days
from cutover.evidence.commands import add_directory, factor
from cutover.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cutover.daily_counts import Counted
    from cutover.evidence.record import Record

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

__all__ = ["register"]


def register(commands: Subparsers) -> None:
    """Adds `daily` to the parser of `cutover`."""
    parser = commands.add_parser(
        "daily",
        help="the day's check of step 9: key by key, ten certificates in full, the workers' counts, the cost",
        description="Compares table and bucket key by key and ten random certificates in full, adds up what all "
        "workers counted since the daily check before, computes the month's cost, judges it all by step 9's criteria, "
        "and prints the record of the day; `cutover evidence append` seals it. Without --journals it counts the METRIC "
        "lines that reached CloudWatch, and refuses while a machine is silent. Reads only: the read-only role "
        "suffices. Exit 0: PASS (or, with --in-soak, nothing to do); 1: FAIL; 3: INCONCLUSIVE; 4: ERROR, something "
        "could not be measured, and there is no record.",
        epilog="example: cutover daily --env-file /etc/deltacrown/production.env --machine web1 web2 web3 --json",
    )
    parser.add_argument(
        "--machine",
        required=True,
        nargs="+",
        metavar="NAME",
        help="all machines with workers, as their lines are named",
    )
    parser.add_argument(
        "--journals",
        type=Path,
        metavar="FILE|-",
        help="count these instead of delivered lines: the documents of `cutover journal --json` by machine",
    )
    parser.add_argument("--log-group", metavar="GROUP", help="where lines are delivered (default: the deployment's)")
    parser.add_argument(
        "--in-soak",
        action="store_true",
        help="do nothing unless step 8 has passed and step 10 has not; print METRIC lines",
    )
    add_directory(parser)
    parser.add_argument("--time-scale", type=factor, default=1.0, metavar="S", help="of a rehearsal: shorter days")
    parser.add_argument("--json", action="store_true", help="the record as one JSON document instead of lines")
    settings.add_arguments(parser)
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> int:
    table, started = plan.load(), datetime.now(UTC)
    records = chains.read(options.directory).proven().records
    if options.in_soak and (idle := soak_days.idle(table, records)):
        print(f"no daily check: {idle}", file=sys.stderr)
        return ExitCode.DONE
    values = settings.load(options.env_file, role_arn=options.role_arn)
    journals = _journals(options)
    from cutover import cost_measured, daily_check, daily_delivered  # noqa: PLC0415 - boto3 and psycopg take half a second

    found = daily_check.look(values, table, announce=options.in_soak)
    counted = journals or _delivered(options, values, table, records)
    requests = {
        "puts_per_day": counted.a_day(table.metrics["save_success"], options.time_scale),
        "gets_per_day": counted.a_day(table.metrics["read_success"], options.time_scale),
    }
    judged = {**found, "cost": cost_measured.document(values, table, requests, len(options.machine))}
    gate = gates.judge(table, soak_days.STEP, step_measures.daily(**judged), partly=True)
    for gap in counted.gaps:
        print(f"{gap}: step {soak_days.STEP} wants all its days after that. {daily_delivered.LOOK}", file=sys.stderr)
    documents = judged | counted.document() | _pages(options, table, records)
    record = step_record.of_day(table, gate, documents, started)
    print(json.dumps(record, default=float) if options.json else "\n".join(_lines(gate, counted)))
    return gates.Verdict[gate["verdict"]]


def _journals(options: argparse.Namespace) -> Counted | None:
    """What the journals say, where they are given; read first, so that a broken document costs no check."""
    if options.journals is None:
        return None
    text = sys.stdin.read() if str(options.journals) == "-" else options.journals.read_text(encoding="utf-8")
    return daily_counts.of_journals(text, options.machine)


def _delivered(
    options: argparse.Namespace, values: settings.Settings, table: plan.Plan, records: Sequence[Record]
) -> Counted:
    """What was delivered since the daily check before; counted last, so that the check's own minutes are in it."""
    from cutover import daily_delivered, object_store  # noqa: PLC0415 (as in _run)

    name = options.log_group or names.log_group(table.telemetry, table.steps[soak_days.STEP].deployment)
    now = datetime.now(UTC)
    client = object_store.session(values).client("logs", config=daily_delivered.CLIENT)
    since = soak_days.count_begins(records, now, options.time_scale)
    return daily_delivered.count(daily_delivered.Group(client, name, table), options.machine, since, now)


def _pages(options: argparse.Namespace, table: plan.Plan, records: Sequence[Record]) -> dict[str, Any]:
    """The pages since the last daily check that knew its own, which start the days again; or why nobody can say."""
    from cutover.alarms import live, pages  # noqa: PLC0415 (as in _run)
    from cutover.alarms.errors import AlarmError  # noqa: PLC0415 (as in _run)

    deployment = table.steps[soak_days.STEP].deployment
    asked = argparse.Namespace(deployment=deployment, env_file=options.env_file, role_arn=options.role_arn)
    now = datetime.now(UTC)
    since = max(soak_days.pages_begin(records, now), now - pages.KEPT)
    window = {"since": daily_counts.utc_text(since), "until": daily_counts.utc_text(now)}
    try:
        with live.asking(asked, "cloudwatch:DescribeAlarmHistory") as client:
            return {"pages": pages.sent(client, table, deployment, since, now), "pages_asked": window}
    except AlarmError as error:
        return {"pages_unknown": str(error)}


def _lines(gate: dict[str, Any], counted: Counted) -> list[str]:
    window = f"{counted.since:%Y-%m-%dT%H:%M:%SZ} to {counted.until:%Y-%m-%dT%H:%M:%SZ}"
    return [str(gate["verdict"]), *gate["reasons"], f"counted of {counted.source}, {window}: {dict(counted.counts)}"]
