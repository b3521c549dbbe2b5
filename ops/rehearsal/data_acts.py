"""Staging from dual-write to reads on S3: steps 2 to 5, and the data tools with a damaged file that they must name."""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import psycopg

from cutover import names, plan
from cutover.exit_codes import ExitCode
from rehearsal import deployed_site as site
from rehearsal import step_acts, traffic
from rehearsal.claims import ClaimError
from rehearsal.lab import credentials, database, monitoring
from rehearsal.lab.topology import DEPLOYMENTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from subprocess import CompletedProcess

    from rehearsal.claims import Claims
    from rehearsal.lab import Lab

__all__ = ["STEP_2", "STEP_3", "alarm_is_out", "certificates", "checked", "play", "readonly_role", "swept"]

STAGING = DEPLOYMENTS["staging"]
SAMPLE = 100
DAMAGED = 42  # which one of the sample is damaged meanwhile
# The runbook's steps 2 and 3, word by word.
STEP_2 = r"""
python manage.py backfill_certificates_to_s3 \
    --dry-run \
    --limit 100 \
    --verify-hash"""
STEP_3 = r"""
python manage.py backfill_certificates_to_s3 \
    --limit 100 \
    --batch-size 10 \
    --verify-hash \
    | tee backfill_phase1.log"""
MACHINE = site.FIRST_MACHINE["staging"]
ARRIVES_SECONDS = 30.0  # a line takes about three
SWEEP_SECONDS = 10.0  # a sweep takes about one
POLL_SECONDS = 0.5


class Row(NamedTuple):
    """A certificate as the table has it."""

    id: int
    file_pdf: str
    file_image: str
    is_marked: bool


def play(lab: Lab, claims: Claims, client: traffic.Client, *, last_step: int) -> None:
    """Plays the act up to a step; ClaimError of the first claim that does not hold."""
    issued_at = time.monotonic()
    (issued,) = traffic.issue_many(client, traffic.sizes(1))
    sample = certificates(lab, "ORDER BY id LIMIT %s", SAMPLE)
    damaged = sample[DAMAGED]
    with _damaged(damaged):
        with claims.prove(
            "a dry run under the read-only role finds the one damaged file, and could not write"
        ) as claim:
            claim.proof = f"{_dry_run(lab, damaged)}; {_readonly_cannot_write(lab, sample)}"
        with claims.prove(f"the runbook's own command backfills {SAMPLE} but for the damaged one, which it names"):
            _backfill_but(lab, sample, damaged)
    with claims.prove("the check's line keeps the alarm no-consistency-check out of ALARM") as claim:
        claim.proof = alarm_is_out()
    for number in range(2, min(last_step, 3) + 1):
        step_acts.play(claims, number)
    if last_step < 3:
        return
    with claims.prove("each object of the sample equals its file, that of the restored certificate, too") as claim:
        claim.proof = _equal(lab, sample)
    with claims.prove("the daily check says PASS, and its line arrives in CloudWatch") as claim:
        claim.proof = checked(lab)
    with claims.prove("the sweep marks what dual-write stored within one interval") as claim:
        claim.proof = swept(lab, issued, issued_at)
    for number in range(4, min(last_step, 5) + 1):
        step_acts.play(claims, number)


def certificates(lab: Lab, condition: str, *parameters: int) -> list[Row]:
    """The rows of staging's table that fulfil a condition of SQL."""
    url = database.url(STAGING, lab.state.database_passwords[STAGING.name])
    columns = "id, file_pdf, file_image, migrated_to_s3_at IS NOT NULL"
    query = f"SELECT {columns} FROM tournament_engine_certificate_certificate {condition}"  # noqa: S608 - our own text
    with psycopg.connect(url, autocommit=True) as connection:
        return [Row(*row) for row in connection.execute(query.encode(), parameters)]


def readonly_role(lab: Lab) -> str:
    """The ARN of staging's read-only role."""
    return credentials.role_arn(lab.machines_user_arn, plan.load().deployments["staging"].readonly_role)


def swept(lab: Lab, certificate: traffic.Issued, issued_at: float) -> str:
    """Waits until a certificate's row is marked; ClaimError if that takes the sweep more than one interval.

    `issued_at` is a time of time.monotonic(); the sweep leaves a row alone for as long as it may still be written.
    """
    sweep = plan.load().data_tools.sweep
    interval = sweep.interval_seconds / monitoring.time_scale()
    while not certificates(lab, "WHERE id = %s", certificate.id)[0].is_marked:
        waited = time.monotonic() - issued_at - sweep.young_seconds
        if waited > interval + SWEEP_SECONDS:
            raise ClaimError(
                f"certificate {certificate.id} is unmarked; the sweep could have seen it {waited:.0f} s ago"
            )
        time.sleep(POLL_SECONDS)
    seconds = time.monotonic() - issued_at
    return f"marked after {seconds:.0f} s: {sweep.young_seconds} s left alone, and the interval is {interval:.0f} s"


def checked(lab: Lab) -> str:
    """Starts the daily check's unit and waits for its line in CloudWatch; ClaimError unless both say PASS."""
    since = int(time.time() * 1000)
    lab.run(MACHINE, ["sudo", "systemctl", "start", "cutover-check.service"])
    table = plan.load()
    group = names.log_group(table.telemetry, "staging")
    pattern = f'"METRIC: {table.measurements["consistency_mismatch_ratio"]}="'
    deadline = time.monotonic() + ARRIVES_SECONDS
    logs = lab.aws.logs()
    while not (found := logs.filter_log_events(logGroupName=group, filterPattern=pattern, startTime=since)["events"]):
        if time.monotonic() > deadline:
            raise ClaimError(f"no line of the check arrived in {group} in {ARRIVES_SECONDS:.0f} s")
        time.sleep(POLL_SECONDS)
    line = json.loads(found[0]["message"])
    if line["value"] != 0:
        raise ClaimError(f"the check ended well and says {line['message']}")
    return f"{line['message']} in {group}"


def alarm_is_out() -> str:
    """Waits until staging's no-consistency-check is in OK, at most the alarm's period; ClaimError if it is not."""
    alarm = names.alarm("staging", "no-consistency-check")
    period = plan.load().alarms["no-consistency-check"].period_seconds / monitoring.time_scale()
    deadline = time.monotonic() + period + ARRIVES_SECONDS
    while (state := monitoring.require_live_engine().states.get(alarm)) != "OK":
        if time.monotonic() > deadline:
            raise ClaimError(f"{alarm} is in {state}, though the check wrote its result")
        time.sleep(POLL_SECONDS)
    return f"{alarm} in OK"


@contextmanager
def _damaged(row: Row) -> Iterator[None]:
    """A PDF on the shared disk that is no longer the one that was issued, during the block."""
    path = STAGING.export / row.file_pdf
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    try:
        yield
    finally:
        path.write_bytes(whole)


def _dry_run(lab: Lab, damaged: Row) -> str:
    result = site.shell("staging", f"{STEP_2} --role-arn {readonly_role(lab)}")
    _expect(result, ExitCode.FAILED, f"certificate {damaged.id}, {damaged.file_pdf}: damaged_local", "Errors: 1 ")
    return f"certificate {damaged.id} damaged_local"


def _readonly_cannot_write(lab: Lab, sample: Sequence[Row]) -> str:
    """The real backfill under the read-only role: S3 denies it, and nothing is stored or marked."""
    result = site.shell("staging", f"cutover backfill --json --limit 1 --role-arn {readonly_role(lab)}")
    _expect(result, ExitCode.FAILED, '"s3_denied"', "s3:PutObject")
    if stored := _stored(lab, sample):
        raise ClaimError(f"{min(stored)} is in the bucket, though the role may not write")
    if marked := [row.id for row in _again(lab, sample) if row.is_marked]:
        raise ClaimError(f"certificate {marked[0]} is marked, though the role may not write")
    return "s3:PutObject denied"


def _backfill_but(lab: Lab, sample: Sequence[Row], damaged: Row) -> None:
    result = site.shell("staging", f"set -o pipefail; {STEP_3}")
    _expect(result, ExitCode.FAILED, f"certificate {damaged.id}, {damaged.file_pdf}: damaged_local", "Errors: 1 ")
    unmarked = [row.id for row in _again(lab, sample) if not row.is_marked]
    if unmarked != [damaged.id]:
        raise ClaimError(f"certificate {damaged.id} alone should be unmarked, and it is {unmarked}")
    if stored := {damaged.file_pdf, damaged.file_image} & _stored(lab, sample):
        raise ClaimError(f"{min(stored)} is in the bucket, though its certificate is damaged")


def _equal(lab: Lab, sample: Sequence[Row]) -> str:
    s3 = lab.aws.s3()
    keys = [key for row in sample for key in (row.file_pdf, row.file_image)]
    for key in keys:
        stored = s3.get_object(Bucket=STAGING.bucket, Key=key)["Body"].read()
        if hashlib.sha256(stored).digest() != hashlib.sha256((STAGING.export / key).read_bytes()).digest():
            raise ClaimError(f"s3://{STAGING.bucket}/{key} is not its local file")
    if unmarked := [row.id for row in _again(lab, sample) if not row.is_marked]:
        raise ClaimError(f"certificates {unmarked} are not marked")
    return f"{len(keys)} objects equal"


def _again(lab: Lab, rows: Sequence[Row]) -> list[Row]:
    return certificates(lab, "WHERE id BETWEEN %s AND %s ORDER BY id", rows[0].id, rows[-1].id)


def _stored(lab: Lab, rows: Sequence[Row]) -> set[str]:
    """Which files of these rows are in the bucket."""
    pages = lab.aws.s3().get_paginator("list_objects_v2").paginate(Bucket=STAGING.bucket, Prefix="certificates/")
    there = {found["Key"] for page in pages for found in page.get("Contents", ())}
    return there & {key for row in rows for key in (row.file_pdf, row.file_image)}


def _expect(result: CompletedProcess[str], code: ExitCode, *said: str) -> None:
    """ClaimError unless a command ended with this code and said all of this."""
    if result.returncode != code or not all(text in result.stdout for text in said):
        last = "\n".join([*result.stdout.splitlines()[-5:], *result.stderr.splitlines()[-5:]])
        raise ClaimError(f"expected exit code {code:d} and {' and '.join(said)}, saw {result.returncode}:\n{last}")
