"""`make bench`: the data tools against the programs that only copy or list, and the emergency against plain ssh.

Exit 0: every target is met; 1: one is missed; 4: a benchmark could not be run.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from cutover.exit_codes import ExitCode
from tests.benchmarks import checks, copies, marks, memory, report, rollback, rollback_in_lab
from tests.benchmarks.conditions import Conditions
from tests.benchmarks.programs import REPOSITORY, BenchmarkError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.benchmarks.arithmetic import Findings

OUTPUT = REPOSITORY / "var" / "benchmarks"
ROUNDS = 5
BENCHMARKS: dict[str, Callable[[Conditions], Findings]] = {
    "small-files": lambda conditions: copies.measure(conditions, files=10_000, kilobytes=20),
    "large-files": lambda conditions: copies.measure(conditions, files=1_000, kilobytes=500),
    "marks": marks.measure,
    "check-time": checks.measure,
    "check-memory": memory.of_check,
    "backfill-memory": memory.of_backfill,
    "rollback": rollback_in_lab.measure,
    "rollback-many": rollback.measure_many,
}


def main() -> int:
    """Runs the chosen benchmarks, prints what they found and returns the exit code."""
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that it, too, ends the servers
    findings = []
    try:
        for name in options.only or BENCHMARKS:
            with tempfile.TemporaryDirectory(prefix="deltacrown-benchmark-") as directory:
                conditions = Conditions(Path(directory), options.rounds, options.quick)
                conditions.say(f"{name} …")
                findings.append(BENCHMARKS[name](conditions))
    except BenchmarkError as error:
        print(f"bench: {error}", file=sys.stderr)
        return ExitCode.ERROR
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    if options.json:
        print(report.document(findings, quick=options.quick))
    else:
        report.print_table(findings, quick=options.quick)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    picture = OUTPUT / "benchmarks.png"
    if report.plot(findings, picture):
        print(f"bench: plot: {picture}", file=sys.stderr)
    return ExitCode.FAILED if report.missed(findings) and not options.quick else ExitCode.DONE


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=BENCHMARKS, metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument(
        "--rounds", type=_positive, default=ROUNDS, metavar="N", help=f"repetitions (default: {ROUNDS})"
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the sizes, and no verdicts")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of the table")
    return parser.parse_args()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


if __name__ == "__main__":
    sys.exit(main())
