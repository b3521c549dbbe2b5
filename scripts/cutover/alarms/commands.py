"""`cutover alarms …`: the command line of the alarms."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from cutover.alarms.errors import AlarmError
from cutover.arguments import moment
from cutover.exit_codes import ExitCode
from cutover.settings import add_arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Answer = Callable[[Mapping[str, Any]], Mapping[str, Any]]
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

__all__ = ["answer_lines", "register"]

AS_WRITTEN = argparse.RawDescriptionHelpFormatter  # a wrapped example could not be copied: it holds a JSON line
JSON_LINES = {
    "evaluate": (
        "the state of an alarm after some datapoints, by CloudWatch's rules",
        (
            'echo \'{"alarm": {"Threshold": 5, "ComparisonOperator": "GreaterThanThreshold", "EvaluationPeriods": 1}, '
            '"datapoints": [7], "state": "OK"}\' | cutover alarms evaluate'
        ),
    ),
    "match": (
        "whether a metric filter's pattern matches a message, and its fields",
        'echo \'{"pattern": "[level, ..., value]", "message": "INFO took 12"}\' | cutover alarms match',
    ),
    "combine": (
        "the state of a composite alarm from those of others",
        'echo \'{"rule": "ALARM(a) AND NOT ALARM(b)", "states": {"a": "ALARM", "b": "OK"}}\' | cutover alarms combine',
    ),
}


def register(commands: Subparsers) -> None:
    """Adds `alarms` and its commands to the parser of `cutover`."""
    alarms = commands.add_parser("alarms", help="test, check, query and silence the alarms")
    subcommands = alarms.add_subparsers(required=True, metavar="COMMAND")
    for name, (purpose, example) in JSON_LINES.items():
        parser = subcommands.add_parser(
            name,
            help=purpose,
            description=f"Answers {purpose}.\nA JSON document a line in, one out, in the same order; an error, if it "
            "cannot be answered.\nExit 0: every line was answered; 1: some were not.",
            epilog=f"example: {example}",
            formatter_class=AS_WRITTEN,
        )
        parser.add_argument("file", nargs="?", type=Path, help="JSON Lines (default: standard input)")
        parser.set_defaults(command=_json_lines, answer=name)
    _register_live(subcommands)
    _register_pages(subcommands)
    _register_test(subcommands)
    _register_query(subcommands)
    _register_silence(subcommands)


def _register_live(subcommands: Subparsers) -> None:
    parser = subcommands.add_parser(
        "live",
        help="whether every alarm of a deployment is OK now, as CloudWatch has it",
        description="Asks CloudWatch for the state of every alarm that ops/cutover.yml declares for a deployment, as "
        "the preflight of each step does. Needs cloudwatch:DescribeAlarms, which the read-only role has. Exit 0: all "
        "are OK; 1: one fires, is absent, or has no data and may not lack them; 4: CloudWatch could not be asked.",
        epilog="example: cutover alarms live --deployment staging --env-file /etc/deltacrown/staging.env",
    )
    _add_cloudwatch(parser)
    parser.add_argument(
        "--step", type=int, choices=range(1, 11), metavar="N", help="only what this step asks for (default: all)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    parser.set_defaults(command=_live)


def _register_pages(subcommands: Subparsers) -> None:
    parser = subcommands.add_parser(
        "pages",
        help="which incidents of a deployment told somebody, and when, as CloudWatch's history has it",
        description="Lists when an incident went to ALARM and acted: it paged (critical) or warned. What a silence "
        "kept back told nobody, and is not listed. CloudWatch keeps two weeks for sure. Needs "
        "cloudwatch:DescribeAlarmHistory, which the read-only role has. Exit 0: here they are, none included; "
        "4: CloudWatch could not be asked.",
        epilog="example: cutover alarms pages --deployment staging --since 2026-11-24T10:00:00Z",
    )
    _add_cloudwatch(parser)
    parser.add_argument("--since", type=moment, required=True, metavar="TIME", help="ISO 8601, with its zone")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    parser.set_defaults(command=_pages)


def _add_cloudwatch(parser: argparse.ArgumentParser) -> None:
    """Adds whose alarms CloudWatch is asked for, and where it is."""
    parser.add_argument("--deployment", required=True, choices=["staging", "production"])
    add_arguments(parser)
    parser.add_argument(
        "--region",
        metavar="REGION",
        help="default: AWS_REGION, AWS_DEFAULT_REGION, AWS_S3_REGION_NAME, the profile's",
    )


def _register_test(subcommands: Subparsers) -> None:
    parser = subcommands.add_parser(
        "test",
        help="replay a scenario or a log against the declared alarms: who is told what, in which minute",
        description="Replays scenarios (YAML) or exported logs against the alarms that the Pulumi program declares.\n"
        "Exit 0: all expectations hold, or a log was replayed; 1: one does not; 2: bad input;\n"
        "3: a log has no lines, or a scenario no expectations.",
        epilog="examples:\n  cutover alarms test ops/scenarios/*.yml\n"
        "  cutover alarms test --stack staging --plot night.svg events.json",
        formatter_class=AS_WRITTEN,
    )
    parser.add_argument("sources", nargs="+", type=Path, metavar="FILE", help="a scenario, or a log file")
    parser.add_argument(
        "--stack",
        choices=["staging", "production"],
        help="whose site and alarms (default: the scenario's, a log's: production)",
    )
    parser.add_argument("--resources", type=Path, metavar="FILE", help="the alarms as JSON, instead of the program's")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw states and rates into this .svg or .png")
    parser.add_argument("--json", action="store_true", help="one JSON document a line instead of the table")
    parser.set_defaults(command=_test)


def _register_query(subcommands: Subparsers) -> None:
    parser = subcommands.add_parser(
        "query",
        help="run a saved Logs Insights query over exported log events",
        description="Runs a query of ops/queries/ (by name) or of a file over log events that were exported with "
        "`aws logs filter-log-events --output json`, JSON Lines of the same events or of `journalctl -o json --all`, "
        "or plain log lines.",
        epilog="example: cutover alarms query upload-failures events.json",
    )
    parser.add_argument("query", metavar="NAME|FILE", help="a file name in ops/queries/, or a path")
    parser.add_argument("events", metavar="EVENTS", help="the events' file, or - for standard input")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    parser.set_defaults(command=_query)


def _register_silence(subcommands: Subparsers) -> None:
    parser = subcommands.add_parser(
        "silence",
        help="keep pages and mails back during a drill; ends by itself",
        description="Keeps a deployment's pages and mails back for some minutes. It ends by itself; what is still "
        "wrong then is sent. Needs cloudwatch:PutMetricData for the deployment's namespace.",
        epilog='example: cutover alarms silence --deployment production --minutes 30 --reason "rollback drill"',
    )
    parser.add_argument("--deployment", required=True, choices=["staging", "production"])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--minutes", type=int, metavar="N", help="how long, from now")
    what.add_argument("--lift", action="store_true", help="end the silence now")
    what.add_argument("--status", action="store_true", help="say what is silent, and until when")
    parser.add_argument("--reason", metavar="TEXT", help="why (needed with --minutes)")
    parser.add_argument(
        "--region",
        default=os.environ.get("AWS_REGION") or None,  # which boto3 does not read
        metavar="REGION",
        help="default: AWS_REGION, AWS_DEFAULT_REGION, the profile's",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document instead of sentences")
    parser.set_defaults(command=_silence)


def answer_lines(answer: Answer, lines: Iterable[bytes], output: TextIO) -> int:
    """Answers each line with one line; returns 0 if every line was answered, else 1.

    A line that is no JSON object is answered with `error` and its number as `line`; one that is wrong in another way
    with `error` alone.
    """
    code = ExitCode.DONE
    for number, line in enumerate(lines, start=1):
        given: Mapping[str, Any]
        try:
            document = json.loads(line, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            given = {"error": f"line {number} is no JSON ({error}): write one document a line", "line": number}
        else:
            given = _answered(answer, document, number)
        code = ExitCode.FAILED if "error" in given else code
        print(json.dumps(given, allow_nan=False), file=output, flush=True)
    return code


def _answered(answer: Answer, document: object, number: int) -> Mapping[str, Any]:
    if not isinstance(document, dict):
        return {"error": f"line {number} is no JSON object: write {{…}}", "line": number}
    try:
        return answer(document)
    except AlarmError as error:
        return {"error": str(error)}


def _no_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")


def _evaluate(document: Mapping[str, Any]) -> Mapping[str, Any]:
    from cutover.alarms import states  # noqa: PLC0415 (each command loads what it needs)

    for key in ("alarm", "datapoints", "state"):
        if key not in document:
            raise AlarmError(f"{key} is missing: a line has alarm, datapoints, state and, if counted, sample_counts")
    evaluation = states.evaluate(
        document["alarm"], document["datapoints"], document["state"], document.get("sample_counts")
    )
    return {"state": evaluation.state, "reason": evaluation.reason}


def _json_lines(options: argparse.Namespace) -> int:
    from cutover.alarms import patterns, rules  # noqa: PLC0415 (each command loads what it needs)

    answers: dict[str, Answer] = {"evaluate": _evaluate, "match": patterns.answer, "combine": rules.answer}
    answer = answers[options.answer]
    if options.file is None:
        return answer_lines(answer, sys.stdin.buffer, sys.stdout)
    with options.file.open("rb") as lines:
        return answer_lines(answer, lines, sys.stdout)


def _test(options: argparse.Namespace) -> int:
    from cutover.alarms import replay  # noqa: PLC0415 (each command loads what it needs)

    return replay.run_test(options)


def _query(options: argparse.Namespace) -> int:
    from cutover.alarms import insights  # noqa: PLC0415 (each command loads what it needs)

    return insights.run_query(options.query, options.events, as_json=options.json)


def _live(options: argparse.Namespace) -> int:
    from cutover.alarms import live  # noqa: PLC0415 (each command loads what it needs)

    return live.run(options)


def _pages(options: argparse.Namespace) -> int:
    from cutover.alarms import pages  # noqa: PLC0415 (each command loads what it needs)

    return pages.run(options)


def _silence(options: argparse.Namespace) -> int:
    from cutover.alarms import silence  # noqa: PLC0415 (each command loads what it needs)

    return silence.run(options)
