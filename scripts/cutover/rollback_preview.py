"""The command `cutover rollback-preview`: what an emergency rollback would meet now, and whether it is safe."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cutover import plan
from cutover.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cutover.plan import Plan
    from cutover.status.asking import Answer
    from cutover.status.data_tools import Background, Event
    from cutover.status.sites import Site
    from cutover.status.workers import WorkerState

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

__all__ = ["Preview", "preview", "register"]

# A listing of a million keys, and an S3 that hangs meanwhile, end before.
ANSWER_SECONDS = 150.0
_COMMAND = "ansible-playbook emergency-rollback.yml"
# By flag: what stays degraded while it is off, and what goes on where a scenario leaves it on.
_OFF = {
    "dual_write": "new certificates are kept locally only: S3 gets them from the backfill, after dual-write is back",
    "read_primary": "all downloads come from the local disk",
    "backfill": "backfill and sweep stand still: what S3 does not have yet stays out of it",
}
_ON = {
    "dual_write": "saves still try S3, each up to a second or two longer while it fails",
    "read_primary": "downloads still come from S3, and fail with it where no local copy lies",
    "backfill": "the backfill may go on calling S3",
}


def register(commands: Subparsers) -> None:
    """Adds `rollback-preview` to the parser of `cutover`."""
    parser = commands.add_parser(
        "rollback-preview",
        help="what an emergency rollback would meet now: flags, runs, files that only S3 has, and whether it is safe",
        description="Asks every machine at once, by ssh, on the control machine; changes no flag and no certificate: "
        "each worker's flags, a running backfill or sweep, which files exist only in S3 and would become unreadable "
        "(purged after step 10, or never written locally), what lies in quarantine and how long putting it back takes, "
        "the last drill, and what stays degraded. What cannot be asked is said to be NOT MEASURED. Exit 0: the "
        "scenario is safe; 1: files would become unreadable (it names `cutover restore` and the scenario that is "
        "safe); 2: usage or inventory; 3: the table names no file, so nothing was proven; 4: could not be measured.",
        epilog="examples:\n  cutover rollback-preview\n  cutover rollback-preview --scenario reads\n"
        "  cutover rollback-preview --deployment staging --json | jq .exit_code",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--deployment", choices=["staging", "production"], default="production", help="default: %(default)s"
    )
    parser.add_argument(
        "--scenario",
        choices=list(plan.load().scenarios),
        default="local",
        help="the emergency's (default: %(default)s)",
    )
    parser.add_argument("-i", "--inventory", metavar="INVENTORY", help="as for ansible-playbook")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> int:
    from cutover import rollback_preview_screen  # noqa: PLC0415 - `cutover --help` needs none of it
    from cutover.status import asking, sites  # noqa: PLC0415

    ((site,), _) = sites.read([options.deployment], options.inventory)
    asked = asking.ask(asking.tasks([site], copies=True), ANSWER_SECONDS)
    seen = preview(plan.load(), site, asked(), options.scenario, datetime.now(UTC))
    for line in [rollback_preview_screen.document(seen)] if options.json else rollback_preview_screen.lines(seen):
        print(line)
    return seen.exit_code


@dataclass(frozen=True)
class Preview:
    """What was seen at this time (UTC); None is what could not be measured, and `not_measured` says why.

    `only_in_s3` are files without a local copy that S3 has (all that S3 lists, else those that the purge has deleted),
    of `certificates` certificates; `purged` of them the emergency counts itself, and wants to have accepted; `nowhere`
    counts files that the table names and nobody has. `quarantined` files would be put back in `put_back_seconds`.
    `files` is how many the table names. `degraded` tells by scenario what would stay so afterwards.
    """

    at: datetime
    deployment: str
    scenario: str
    turns_reads_off: bool
    data_host: str
    environment_file: str
    workers: tuple[WorkerState, ...]
    background: tuple[Background, ...] | None
    drill: Event | None
    files: int | None
    only_in_s3: int | None
    certificates: int | None
    purged: int | None
    named: tuple[str, ...]
    nowhere: int | None
    quarantined: int | None
    put_back_seconds: float | None
    degraded: dict[str, list[str]]
    not_measured: tuple[str, ...]

    @property
    def exit_code(self) -> ExitCode:
        """FAILED as soon as something is known to become unreadable, whatever else could not be measured."""
        if self.turns_reads_off and self.only_in_s3:
            return ExitCode.FAILED
        if self.not_measured or (self.turns_reads_off and self.only_in_s3 is None):
            return ExitCode.ERROR
        return ExitCode.INCONCLUSIVE if self.turns_reads_off and not self.files else ExitCode.DONE

    @property
    def commands(self) -> dict[str, str]:
        """The emergency itself; and the ways that there are where it is not safe."""
        emergency = f"{_COMMAND} -e deployment={self.deployment}"
        found = {"run": f"{emergency} -e scenario={self.scenario}"}
        if self.exit_code == ExitCode.FAILED:
            found["restore"] = f"sudo cutover restore --env-file {self.environment_file}"
            found["uploads"] = f"{emergency} -e scenario=uploads"
        if self.exit_code == ExitCode.FAILED and self.purged:
            found["run"] += f" -e accept_unreadable={self.purged}"
        return found


def preview(table: Plan, site: Site, answers: Mapping[str, Answer], scenario: str, now: datetime) -> Preview:
    """What the answers of a deployment's machines say of this scenario."""
    from cutover.status import data_tools, workers  # noqa: PLC0415 - as above

    host = site.data_host
    asked = [answers[name] for name in dict.fromkeys([*(machine.name for machine in site.machines), host.name])]
    holes = [problem for answer in asked if (problem := answer.problem or answer.here_problem)]
    here = answers[host.name].here or {}
    data = here.get("data") if isinstance(here.get("data"), dict) else None
    told = data or {}
    if "copies" not in told and answers[host.name].here is not None:
        holes.append(f"{host.name}: cutover status-here told nothing of its files; ansible-playbook prepare-hosts.yml")
    parts = {name: _part(told, name, holes, host.name) for name in ("evidence", "units", "runs", "copies")}
    tools = data_tools.look(_records(parts["evidence"], holes, host.name), parts)
    copies = parts["copies"] or {}
    purged, quarantine, files = (_part(copies, name, holes, host.name) for name in ("purged", "quarantine", "table"))
    in_s3: Any = _part(files or {}, "s3", holes, host.name)
    aside = quarantine or {"files": None, "per_second": None}
    found = workers.states(table, site, answers)
    return Preview(
        at=now,
        deployment=site.deployment,
        scenario=scenario,
        turns_reads_off=table.scenarios[scenario].sets.get("read_primary") is False,
        data_host=host.name,
        environment_file=str(host.variables.get("environment_file", "…")),
        workers=tuple(found),
        background=tools.runs if _is_told(told, "runs") else None,
        drill=tools.last.drill if _is_told(told, "evidence") else None,
        files=None if files is None else files["files"],
        **_only_in_s3(purged, files, in_s3),
        purged=purged["files"] if purged else 0 if copies.get("purged", "unknown") is None else None,
        nowhere=in_s3["nowhere"] if in_s3 else 0 if files and not files["missing"] else None,
        quarantined=aside["files"],
        put_back_seconds=round(aside["files"] / aside["per_second"], 1) if aside["per_second"] else None,
        degraded=_degraded(table, [each for answer in asked for each in answer.processes]),
        not_measured=tuple(holes),
    )


def _only_in_s3(
    purged: Mapping[str, int] | None, files: Mapping[str, Any] | None, in_s3: Mapping[str, Any] | None
) -> dict[str, Any]:
    """`only_in_s3`, `certificates` and `named`: as S3 lists them, else as the purge has left them, else unknown."""
    named = tuple(files["named"]) if files else ()
    if files and not files["missing"] and not (purged or {}).get("files"):
        return {"only_in_s3": 0, "certificates": 0, "named": ()}
    known = max((each for each in (purged, in_s3) if each), key=lambda each: each["files"], default=None)
    if known is None or (not known["files"] and in_s3 is None):
        return {"only_in_s3": None, "certificates": None, "named": named}
    return {"only_in_s3": known["files"], "certificates": known["certificates"], "named": named}


def _part(document: Mapping[str, Any], name: str, holes: list[str], host: str) -> Any:  # noqa: ANN401 - whatever JSON has
    """A part of what the data host said; None, and a sentence, if it could not be asked there."""
    found = document.get(name)
    if isinstance(found, dict) and "error" in found:
        holes.append(f"{host}: {name} NOT MEASURED: {' '.join(str(found['error']).split())}")
        return None
    return found


def _is_told(document: Mapping[str, Any], name: str) -> bool:
    """Whether the data host could be asked for a part and it is whole, be there anything of it or not."""
    found = document.get(name, {"error": ""})
    return not (isinstance(found, dict) and found.keys() & {"error", "broken"})


def _records(evidence: Mapping[str, Any] | None, holes: list[str], host: str) -> list[Any]:
    from cutover.evidence.errors import DocumentError  # noqa: PLC0415 - as above
    from cutover.evidence.record import Record, validated  # noqa: PLC0415

    if not evidence:
        return []
    if "broken" in evidence:
        holes.append(str(evidence["broken"]))
    try:
        return [validated(Record, values) for values in evidence.get("records", [])]
    except DocumentError as error:
        holes.append(f"{host}: its evidence cannot be read here: {error}")
        return []


def _degraded(table: Plan, processes: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """By scenario, what would be so afterwards; of flags that some process holds, or (nobody answered) all."""
    held = [flag for flag in table.flags if not processes or any(process[flag] for process in processes)]
    return {
        name: [_OFF[flag] if scenario.sets.get(flag) is False else _ON[flag] for flag in held]
        for name, scenario in table.scenarios.items()
    }
