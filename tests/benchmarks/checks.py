"""What a check costs over listing the bucket, which it cannot do without."""

from __future__ import annotations

import sys
from collections import defaultdict
from typing import TYPE_CHECKING

from tests.benchmarks import certificates, database, s3_server
from tests.benchmarks.arithmetic import Findings, Result, Series, Target, rotated
from tests.benchmarks.programs import CUTOVER, measured, peer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.conditions import Conditions

ROWS = 100_000
FILES = 2  # a certificate
BYTES = 100  # of a file: only names and sizes are compared here
TARGET = Target(1.25, at_least=False)  # of the time of the listing (the data tools' requirements)


def measure(conditions: Conditions) -> Findings:
    """Checks rows against real objects, without a sample, in turn with a process that only lists them."""
    rows, media_root = conditions.size(ROWS), conditions.directory / "media"
    seconds: dict[str, list[float]] = defaultdict(list)
    with s3_server.running(conditions.directory / "s3") as server, database.running() as table:
        table.fill(certificates.write(media_root, rows, BYTES, share=certificates.MOST_LINKS), marked=True)
        with server.bucket("check") as bucket:
            environment = conditions.environment(server, table, media_root, bucket)
            commands: dict[str, list[str | Path]] = {
                "check": [CUTOVER, "check", "--sample", "0"],
                "listing": [sys.executable, "-m", "tests.benchmarks.listing", bucket],
            }
            conditions.say(f"storing {rows * FILES:,} objects")
            upload = [
                "--endpoint-url",
                server.endpoint_url,
                "--log",
                "error",
                "cp",
                f"{media_root}/",
                f"s3://{bucket}/",
            ]
            measured([peer("s5cmd"), *upload], environment, conditions.directory / "upload.log")
            for number in range(conditions.rounds):
                for name in rotated(list(commands), number):
                    used = measured(commands[name], environment, conditions.directory / f"{name}.log")
                    seconds[name].append(used.seconds)
                    conditions.say(f"round {number + 1}/{conditions.rounds}: {name} {used.seconds:.2f} s")
    series = {name: Series(name, rows * FILES, tuple(seconds[name])) for name in commands}
    ratio = series["check"].median / series["listing"].median
    detail = f"{series['check']}; {series['listing']}"
    result = Result("time over the listing's", ratio, "×", TARGET, detail)
    return Findings(f"check of {rows:,} rows", (result,), tuple(series.values()))
