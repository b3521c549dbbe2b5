"""The command `cutover doctor`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from cutover import plan, settings
from cutover.exit_codes import ExitCode

if TYPE_CHECKING:
    import argparse

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

__all__ = ["register"]


def register(commands: Subparsers) -> None:
    """Adds `doctor` to the parser of `cutover`."""
    parser = commands.add_parser(
        "doctor",
        help="look for what keeps certificates from S3: credentials, permissions, clock, bucket, disk, table, flags",
        description="The runbook's troubleshooting, made executable: each check is a line OK, WARN, FAIL or UNKNOWN "
        "with its reason and the command to run next. It stores nothing but one object of six bytes under the probe's "
        "prefix, which it removes. Exit 0: nothing failed; 1: a check failed; 2: settings; 4: none failed, and a check "
        "could not look (the bucket's settings are readable to the read-only role alone).",
        epilog="example: cutover doctor --env-file /etc/deltacrown/production.env",
    )
    settings.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> int:
    # What the checks need takes half a second to import, which the other commands need not pay.
    from cutover.doctor import examination  # noqa: PLC0415

    findings = []
    for finding in examination.examine(settings.load(options.env_file, role_arn=options.role_arn), plan.load()):
        findings.append(finding)
        if not options.json:
            print(finding, flush=True)
    if options.json:
        print(json.dumps([asdict(finding) for finding in findings]))
    outcomes = {finding.outcome for finding in findings}
    if "FAIL" in outcomes:
        return ExitCode.FAILED
    return ExitCode.ERROR if "UNKNOWN" in outcomes else ExitCode.DONE
