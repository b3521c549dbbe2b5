"""The command `cutover evidence`: append, verify, copy, list, show, require, soak."""

from __future__ import annotations

import argparse
import json
import math
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cutover import plan
from cutover.arguments import positive
from cutover.evidence import chain as chains
from cutover.evidence import requirements
from cutover.evidence.errors import ChainError, DocumentError
from cutover.evidence.record import parsed
from cutover.exit_codes import ExitCode
from cutover.settings import add_arguments

if TYPE_CHECKING:
    from cutover.evidence.chain import Chain, Link

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

__all__ = ["add_directory", "factor", "register"]


def register(commands: Subparsers) -> None:
    """Adds `evidence` with its acts to the parser of `cutover`."""
    parser = commands.add_parser(
        "evidence",
        help="the chain of records of what was done and measured: append, verify, copy, list, show, require, soak",
        description="One record a step, daily check, drill, rollback, audit and purge; each holds the SHA-256 of the "
        "one before, so that none can be changed, removed or reordered without being seen.",
        epilog="example: cutover evidence require --step 3",
    )
    acts = parser.add_subparsers(required=True, metavar="ACT")
    _append_parser(acts)
    _verify_parser(acts)
    _copy_parser(acts)
    _list_parser(acts)
    _show_parser(acts)
    _require_parser(acts)
    _soak_parser(acts)


def add_directory(parser: argparse.ArgumentParser) -> None:
    """Adds `--directory`: where the chain lies."""
    parser.add_argument(
        "--directory",
        type=Path,
        default=chains.DEFAULT_DIRECTORY,
        metavar="DIR",
        help="the chain (default: %(default)s)",
    )


def factor(text: str) -> float:
    """How many times shorter a rehearsal's days are: 1 or more."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 1 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return number


def _soak_parser(acts: Subparsers) -> None:
    parser = acts.add_parser(
        "soak",
        help="how many of step 9's seven days have their sealed PASS",
        description="Counts the days since step 8 passed, or since the last incident, that have a daily PASS, and adds "
        "up what they counted. One JSON document. Exit 0: all days are there; 3: some are missing; 4: broken chain.",
        epilog="example: cutover evidence soak",
    )
    add_directory(parser)
    parser.add_argument("--time-scale", type=factor, default=1.0, metavar="S", help="days are so many times shorter")
    parser.set_defaults(command=_soak)


def _append_parser(acts: Subparsers) -> None:
    parser = acts.add_parser(
        "append",
        help="add the JSON object on standard input as the next record",
        description="Reads one JSON object (kind, deployment, verdict, and what the act knows of itself), adds "
        "sequence, previous, recorded_at and attempt, and prints the record with its file and sha256 as one JSON line. "
        "Exit 0: it is on the disk; 2: the object is no record; 4: the chain is broken; 5: cannot write.",
        epilog="example: cutover evidence append < record.json",
    )
    add_directory(parser)
    parser.set_defaults(command=_append)


def _verify_parser(acts: Subparsers) -> None:
    parser = acts.add_parser(
        "verify",
        help="prove that no record was changed, removed or added by hand; names the first broken link",
        description="Recomputes every hash. The newest record is protected by no other one, so compare with a copy, or "
        "the printed hash with the one printed before. Exit 0: the chain holds (and equals the copy); 1: the first "
        "broken link is named; 3: there is no record; 4: a file cannot be read, or S3 not be asked.",
        epilog="example: cutover evidence verify --against var/evidence/staging",
    )
    add_directory(parser)
    parser.add_argument("--against", type=Path, metavar="COPY", help="a copy of the chain, which must be equal")
    parser.add_argument(
        "--bucket",
        nargs="?",
        const="",
        metavar="NAME",
        help="the copy in this bucket must be equal, too (without a name: in the backups bucket of ops/cutover.yml)",
    )
    add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    parser.set_defaults(command=_verify)


def _copy_parser(acts: Subparsers) -> None:
    parser = acts.add_parser(
        "copy",
        help="put the records that the backups bucket does not have into it",
        description="Stores each record under evidence/<deployment>/<file> in the backups bucket, with its SHA-256, "
        "never over another object; where the bucket has object lock, its default retention keeps the record. It "
        "first compares what is there, and may be run at any time. Exit 0: the copy is the chain; 1: the bucket has "
        "another record, the first is named, and nothing is stored from there on; 3: there is no record; 4: the chain "
        "is broken, or S3 refused.",
        epilog="example: cutover evidence copy --env-file /etc/deltacrown/staging.env",
    )
    add_directory(parser)
    add_arguments(parser)
    parser.add_argument("--bucket", metavar="NAME", help="default: the backups bucket of ops/cutover.yml")
    parser.add_argument("--dry-run", action="store_true", help="only compare, and say what would be stored")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a line")
    parser.set_defaults(command=_copy)


def _list_parser(acts: Subparsers) -> None:
    parser = acts.add_parser(
        "list",
        help="one line a record",
        description="Lists the records, oldest first. Exit 0: all; 4: up to the first broken link, which is named.",
        epilog="example: cutover evidence list --json",
    )
    add_directory(parser)
    parser.add_argument("--json", action="store_true", help="a JSON list of all records instead of lines")
    parser.set_defaults(command=_list)


def _show_parser(acts: Subparsers) -> None:
    parser = acts.add_parser(
        "show",
        help="print one record as it lies there, byte for byte",
        description="Prints one record, byte for byte. Exit 0: printed; 2: there is no such record; 4: the chain is "
        "broken before it.",
        epilog="example: cutover evidence show 7",
    )
    parser.add_argument("number", type=positive, metavar="N", help="the record's sequence number")
    add_directory(parser)
    parser.set_defaults(command=_show)


def _require_parser(acts: Subparsers) -> None:
    parser = acts.add_parser(
        "require",
        help="may this step start, by the evidence?",
        description="The step before has passed, not too long ago, and was not rolled back since; the rollback drill "
        "is recent and was fast enough; before step 10 the days of grace are over. Run it on the data host of the step "
        "before's deployment (step 6: staging's). Exit 0: allowed; 1: refused, with what to run; 4: cannot be judged.",
        epilog="example: cutover evidence require --step 3 --json",
    )
    parser.add_argument("--step", type=int, required=True, choices=range(1, 11), metavar="N", help="1 to 10")
    add_directory(parser)
    parser.add_argument(
        "--time-scale", type=factor, default=1.0, metavar="S", help="of a rehearsal: days of grace are S times shorter"
    )
    parser.add_argument("--json", action="store_true", help='{"allowed", "reasons", "next"}')
    parser.set_defaults(command=_require)


def _append(options: argparse.Namespace) -> int:
    link = chains.append(options.directory, parsed(sys.stdin.buffer.read()))
    print(_line(link, options.directory))
    return ExitCode.DONE


def _verify(options: argparse.Namespace) -> int:
    chain = chains.read(options.directory)
    broken = chain.broken
    if broken is None and options.against is not None:
        if not options.against.is_dir():
            raise ChainError(f"{options.against}: there is no such directory: name the copy's")
        copy = chains.read(options.against)
        broken = copy.broken or chains.compare(chain, copy)
    if broken is None and options.bucket is not None:
        from cutover.evidence import copying  # noqa: PLC0415 - with boto3, which few acts need

        broken = copying.against_bucket(options, chain)
    verdict = ExitCode.FAILED if broken else ExitCode.DONE if chain.head else ExitCode.INCONCLUSIVE
    if options.json:
        print(json.dumps(_verification(chain, broken)))
    else:
        print(_sentence(chain, broken))
    return verdict


def _verification(chain: Chain, broken: chains.Break | None) -> dict[str, object]:
    head = chain.head
    return {
        "verdict": "FAIL" if broken else "PASS" if head else "INCONCLUSIVE",
        "sequence": head.record.sequence if head else None,
        "sha256": head.sha256 if head else None,
        "broken": {"file": broken.file, "expected": broken.expected, "found": broken.found} if broken else None,
    }


def _sentence(chain: Chain, broken: chains.Break | None) -> str:
    head = chain.head
    if broken:
        return f"BROKEN {broken}"
    if head is None:
        return f"INCONCLUSIVE {chain.directory}: there is no record yet"
    return f"PASS {chain.directory}: {head.record.sequence} records, head {head.file} SHA-256 {head.sha256}"


def _copy(options: argparse.Namespace) -> int:
    from cutover.evidence import copying  # noqa: PLC0415 - as above

    return copying.run(options)


def _list(options: argparse.Namespace) -> int:
    chain = chains.read(options.directory)
    if options.json:
        print(json.dumps([_values(link, options.directory) for link in chain.links], sort_keys=True))
    else:
        for link in chain.links:
            print(_row(link))
    chain.proven()
    return ExitCode.DONE


def _row(link: Link) -> str:
    record = link.record
    what = record.kind if record.step is None else f"{record.kind} {record.step}"
    message = f"  {record.message}" if record.message else ""
    who = record.who or "-"
    return (
        f"{record.sequence:6d}  {record.recorded_at:%Y-%m-%d %H:%M:%S}Z  {record.deployment:<10}  {what:<8}  "
        f"attempt {record.attempt:<3}  {record.verdict:<12}  {who}{message}"
    )


def _show(options: argparse.Namespace) -> int:
    chain = chains.read(options.directory)
    for link in chain.links:
        if link.record.sequence == options.number:
            sys.stdout.write((options.directory / link.file).read_text(encoding="utf-8"))
            return ExitCode.DONE
    chain.proven()
    raise DocumentError(f"{options.directory}: there is no record {options.number}: cutover evidence list")


def _require(options: argparse.Namespace) -> int:
    try:
        records = chains.read(options.directory).proven().records
        asked = requirements.Question(plan.load(), options.step, records, datetime.now(UTC), options.time_scale)
        answer = requirements.judge(asked)
    except ChainError as error:
        if options.json:
            verify = f"cutover evidence verify --directory {options.directory}"
            print(json.dumps({"allowed": False, "reasons": [str(error)], "next": verify}))
        raise
    if options.json:
        print(json.dumps(answer.document()))
    elif answer.allowed:
        print(f"step {options.step} may start: {answer.next}")
    else:
        for refusal in answer.refusals:
            print(f"step {options.step} may not start: {refusal}")
    return ExitCode.DONE if answer.allowed else ExitCode.FAILED


def _line(link: Link, directory: Path) -> str:
    return json.dumps(_values(link, directory), sort_keys=True)


def _values(link: Link, directory: Path) -> dict[str, object]:
    return link.values | {"file": str(directory / link.file), "sha256": link.sha256}


def _soak(options: argparse.Namespace) -> int:
    from cutover.evidence import soak_days  # noqa: PLC0415 - which no other act needs

    records = chains.read(options.directory).proven().records
    found = soak_days.standing(plan.load(), records, datetime.now(UTC), options.time_scale)
    print(json.dumps(found))
    return ExitCode.DONE if found["days"] >= found["wanted"] else ExitCode.INCONCLUSIVE
