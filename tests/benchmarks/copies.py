"""Upload, verify and mark against programs that only copy, each as a whole process and into a new bucket."""

from __future__ import annotations

import itertools
import sys
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cutover import plan
from tests.benchmarks import certificates, database, s3_server
from tests.benchmarks.arithmetic import Findings, Result, Series, Target, faster, rotated
from tests.benchmarks.programs import CUTOVER, BenchmarkError, measured, peer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.conditions import Conditions
    from tests.benchmarks.database import Table
    from tests.benchmarks.s3_server import S3Server

OURS = "cutover"
VERIFIED = "cutover --verify-hash"
# How many times as fast as each the backfill must be (the data tools' requirements).
TARGETS = {"s5cmd": 1.0, "rclone": 1.3, "aws s3 sync": 3.0, "the application's command": 15.0}
TOLD = ("boto3 loop", VERIFIED)
ONE_AT_A_TIME = {"boto3 loop": "loop", "the application's command": "command"}
# Certificates of which those take part: they take as long for each, and would take minutes for all.
PART = 500
FILES = 2  # a certificate
KB = 1000


@dataclass(frozen=True)
class Race:
    """One set of certificates, and the server and the table that all contestants use."""

    conditions: Conditions
    server: S3Server
    table: Table
    media_root: Path
    rows: int
    buckets: itertools.count[int]

    def run(self, contestant: str) -> tuple[float, int]:
        """Runs a contestant once; returns the seconds that it took and how many files it copied.

        Raises:
            BenchmarkError: it failed, or did not do all of its work.
        """
        rows = min(self.rows, PART) if contestant in ONE_AT_A_TIME else self.rows
        self.table.unmark()
        with self.server.bucket(f"race-{next(self.buckets)}") as bucket:
            environment = self.conditions.environment(self.server, self.table, self.media_root, bucket)
            log = self.conditions.directory / f"{bucket}.log"
            seconds = measured(self._command(contestant, bucket, rows), environment, log).seconds
            if contestant in ONE_AT_A_TIME:
                seconds = float(log.read_text().splitlines()[-1])
            if (found := self.server.count(bucket)) != rows * FILES:
                raise BenchmarkError(f"{contestant} left {found} objects of {rows * FILES} in the bucket: see {log}")
        if contestant in {OURS, VERIFIED} and (marked := self.table.marked()) != rows:
            raise BenchmarkError(f"{contestant} marked {marked} rows of {rows}: see {log}")
        return seconds, rows * FILES

    def _command(self, contestant: str, bucket: str, rows: int) -> list[str | Path]:
        endpoint, source, uploads = self.server.endpoint_url, self.media_root, plan.load().data_tools.concurrency
        commands: dict[str, list[str | Path]] = {
            OURS: [CUTOVER, "backfill"],
            VERIFIED: [CUTOVER, "backfill", "--verify-hash"],
            "s5cmd": [peer("s5cmd"), "--endpoint-url", endpoint, "--log", "error", "cp", "--sse", "AES256",
                      f"{source}/", f"s3://{bucket}/"],
            # As many transfers as the backfill has uploads, and no look at the empty bucket: its best.
            "rclone": [peer("rclone"), "copy", "--s3-provider=Other", f"--s3-endpoint={endpoint}", "--s3-env-auth",
                       "--s3-server-side-encryption=AES256", "--s3-no-check-bucket", "--no-check-dest",
                       f"--transfers={uploads}", f"--checkers={uploads}", source, f":s3:{bucket}"],
            "aws s3 sync": [peer("aws"), "s3", "sync", "--only-show-errors", "--sse", "AES256", source,
                            f"s3://{bucket}/"],
            **{name: [sys.executable, "-m", "tests.benchmarks.one_at_a_time", kind, str(rows)]
               for name, kind in ONE_AT_A_TIME.items()},
        }  # fmt: skip
        return commands[contestant]


def measure(conditions: Conditions, files: int, kilobytes: int) -> Findings:
    """Copies `files` files of `kilobytes` KB with every contestant, round after round, and compares the medians."""
    rows = conditions.size(files) // FILES
    media_root = conditions.directory / "media"
    seconds: dict[str, list[float]] = defaultdict(list)
    items = {}
    with s3_server.running(conditions.directory / "s3") as server, database.running() as table:
        table.fill(certificates.write(media_root, rows, kilobytes * KB))
        race = Race(conditions, server, table, media_root, rows, itertools.count(1))
        for number in range(conditions.rounds):
            for contestant in rotated([OURS, *TARGETS, *TOLD], number):
                took, items[contestant] = race.run(contestant)
                seconds[contestant].append(took)
                conditions.say(f"round {number + 1}/{conditions.rounds}: {contestant} {took:.2f} s")
    series = {name: Series(name, items[name], tuple(seconds[name])) for name in seconds}
    return Findings(f"{rows * FILES:,} files of {kilobytes} KB", tuple(_results(series)), tuple(series.values()))


def _results(series: dict[str, Series]) -> list[Result]:
    ours = series[OURS]
    results = [
        Result(f"against {name}", faster(ours, series[name]), "×", Target(bound, at_least=True), f"{series[name]}")
        for name, bound in TARGETS.items()
    ]
    results.append(
        Result("against boto3 loop", faster(ours, series["boto3 loop"]), "×", None, f"{series['boto3 loop']}")
    )
    verified = series[VERIFIED]
    against = faster(verified, series["s5cmd"])
    results.append(Result("--verify-hash against s5cmd", against, "×", None, f"{verified}"))
    return [Result("backfill", ours.rate, "files/s", None, f"{ours}"), *results]
