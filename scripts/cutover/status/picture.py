"""The answers of all machines put together: each deployment's workers, what comes next, what is in its way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cutover import rollback_table
from cutover.evidence import progress
from cutover.evidence.errors import ChainError, DocumentError
from cutover.evidence.record import Record, validated
from cutover.exit_codes import ExitCode
from cutover.status import data_tools, ledger, locks, workers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence, Set
    from datetime import datetime

    from cutover.plan import Plan
    from cutover.status.asking import Answer
    from cutover.status.sites import Site
    from cutover.status.workers import WorkerState

__all__ = ["DeploymentState", "Next", "Picture", "assemble"]


@dataclass(frozen=True)
class Next:
    """The next step and its command, or what must be run before it; `blocked_by` is empty if it may start."""

    step: int
    title: str
    command: str
    blocked_by: tuple[str, ...]


@dataclass(frozen=True)
class DeploymentState:
    """What one screen says of a deployment.

    `evidence` is whether its chain could be read. `alarms` are those that are not OK; `alarms_ok` counts the others,
    None if they could not be asked for. `amiss` wants somebody to act, `unasked` names what could not be asked.
    """

    deployment: str
    mode: str | None
    workers: tuple[WorkerState, ...]
    evidence: bool
    next: Next | None
    running: str
    alarms_ok: int | None
    alarms: tuple[dict[str, Any], ...]
    last: data_tools.Last
    background: tuple[data_tools.Background, ...]
    fallbacks: dict[str, list[dict[str, Any]]]
    amiss: tuple[str, ...]
    unasked: tuple[str, ...]


@dataclass(frozen=True)
class Picture:
    """All that was asked, at this time (UTC)."""

    at: datetime
    deployments: tuple[DeploymentState, ...]

    @property
    def exit_code(self) -> ExitCode:
        """ERROR if something could not be asked (the picture has a hole), FAILED if something is amiss."""
        if any(state.unasked for state in self.deployments):
            return ExitCode.ERROR
        return ExitCode.FAILED if any(state.amiss for state in self.deployments) else ExitCode.DONE


@dataclass
class _Findings:
    """What comes to light while a deployment's state is put together."""

    amiss: list[str] = field(default_factory=list)
    unasked: list[str] = field(default_factory=list)

    def part(self, document: Mapping[str, Any], name: str, where: str) -> Any:  # noqa: ANN401 - whatever JSON has
        """A part of what a machine said; None, and a sentence, if it could not be asked there."""
        found = document.get(name)
        if isinstance(found, dict) and "error" in found:
            self.unasked.append(f"{where}: {name} could not be asked: {' '.join(str(found['error']).split())}")
            return None
        return found


@dataclass(frozen=True)
class _Look:
    """What all deployments are put together from."""

    table: Plan
    answers: Mapping[str, Answer]
    now: datetime
    unseen: Set[str]  # deployments that are not shown
    chains: dict[str, Sequence[Record]] = field(default_factory=dict)


def assemble(
    table: Plan, sites: Sequence[Site], answers: Mapping[str, Answer], now: datetime, judges: Sequence[Site] = ()
) -> Picture:
    """The picture of these deployments.

    Args:
        table: ops/cutover.yml.
        sites: the deployments to show.
        answers: of their machines, and of the judges' data hosts.
        now: for ages.
        judges: deployments that are not shown, whose evidence judges a step of one that is.
    """
    look, findings = _Look(table, answers, now, {site.deployment for site in judges}), {}
    for site in (*sites, *judges):
        findings[site.deployment] = _Findings()
        records = _records(answers[site.data_host.name], findings[site.deployment])
        if records is not None:
            look.chains[site.deployment] = records
    return Picture(now, tuple(_deployment(look, site, findings[site.deployment]) for site in sites))


def _records(answer: Answer, findings: _Findings) -> list[Record] | None:
    """The evidence of a data host; None, with the reason, if it cannot be read or is broken."""
    evidence = findings.part(_data(answer), "evidence", answer.machine)
    if evidence is None:
        return None
    if "broken" in evidence:
        findings.amiss.append(str(evidence["broken"]))
        return None
    try:
        return [validated(Record, values) for values in evidence.get("records", [])]
    except DocumentError as error:
        findings.unasked.append(f"{answer.machine}: its evidence cannot be read here: {error}")
        return None


def _data(answer: Answer) -> Mapping[str, Any]:
    data = (answer.here or {}).get("data")
    return data if isinstance(data, dict) else {}


def _deployment(look: _Look, site: Site, findings: _Findings) -> DeploymentState:
    asked = [
        look.answers[name] for name in dict.fromkeys([*(each.name for each in site.machines), site.data_host.name])
    ]
    findings.unasked += filter(None, (answer.problem or answer.here_problem for answer in asked))
    told = [findings.part(answer.here or {}, "fallbacks", answer.machine) for answer in asked]
    for answer in asked:
        findings.part(answer.here or {}, "lock", answer.machine)
    fences = {answer.machine: findings.part(answer.here or {}, "fence", answer.machine) for answer in asked}
    findings.amiss += _fenced(site.deployment, {machine: fence for machine, fence in fences.items() if fence})
    found, lock = workers.states(look.table, site, look.answers), locks.look(asked)
    mode = workers.common_mode(found)
    findings.amiss += [*_of_workers(found, mode, running=lock.holder is not None), *lock.problems]
    overrides = _overrides(look.table, asked, findings)
    findings.amiss += [] if lock.holder is not None else overrides
    host, data = site.data_host.name, _data(look.answers[site.data_host.name])
    if not data and look.answers[host].here is not None:
        findings.unasked.append(
            f"{host}: cutover status-here told nothing of its data; ansible-playbook prepare-hosts.yml"
        )
    alarms = findings.part(data, "alarms", host)
    loud = [alarm for alarm in alarms or () if not alarm["ok"]]
    findings.amiss += [f"alarm {alarm['name']} is {alarm['state']}; next: {alarm['next']}" for alarm in loud]
    parts = {name: findings.part(data, name, host) for name in ("units", "runs")}
    tools = data_tools.look(look.chains.get(site.deployment, ()), parts)
    findings.amiss += data_tools.problems(look.table, tools, look.now, site.time_scale)
    return DeploymentState(
        deployment=site.deployment,
        mode=mode,
        workers=tuple(found),
        evidence=site.deployment in look.chains,
        next=_next(look, site, mode, lock.step, findings),
        running=lock.step,
        alarms_ok=None if alarms is None else len(alarms) - len(loud),
        alarms=tuple(loud),
        last=tools.last,
        background=tools.runs,
        fallbacks={
            ledger.RECENT: ledger.merged(filter(None, told)),
            "the evidence": (data.get("evidence") or {}).get("fallbacks", []),
        },
        amiss=tuple(findings.amiss),
        unasked=tuple(findings.unasked),
    )


def _of_workers(found: Sequence[WorkerState], mode: str | None, *, running: bool) -> list[str]:
    said = [f"{worker.worker} on {worker.machine}: {worker.problem}" for worker in found if worker.problem]
    if mode == workers.MIXED and not running:
        common = workers.most_frequent_mode(found)
        others = ", ".join(f"{each.worker} {each.mode}" for each in found if each.processes and each.mode != common)
        said.append(f"mixed modes, and no step runs: most workers are in {common}; {others}")
    return said


def _overrides(table: Plan, asked: Sequence[Answer], findings: _Findings) -> list[str]:
    """Overrides of a flag: a running step's own, or what a step or a canary that was taken back left behind."""
    said = []
    for answer in asked:
        names = [
            f"{each['worker']} ({','.join(each['flags'].get(name, '-') for name in table.variables.values())})"
            for each in findings.part(answer.here or {}, "overrides", answer.machine) or []
        ]
        if names:
            left = ", ".join(names)
            said.append(f"{answer.machine} has overrides in /etc/deltacrown/workers, and no step runs: {left}")
    return said


def _fenced(deployment: str, fences: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What the deployment's machines say of a fence, each account of it once."""
    told: dict[str, list[str]] = {}
    for machine, fence in fences.items():
        what = ", ".join(["the workers' role"] * bool(fence.get("role")) + sorted(fence.get("machines", ())))
        denied = "" if fence.get("s3_denied", True) else ", S3 NOT denied"
        sentence = f"{what or 'something'} is fenced by {fence.get('by')} since {fence.get('since')}{denied}"
        told.setdefault(sentence, []).append(machine)
    return [
        f"{sentence} (told on {', '.join(where)}); next: ansible-playbook unfence.yml -e deployment={deployment}"
        for sentence, where in told.items()
    ]


def _next(look: _Look, site: Site, mode: str | None, running: str, findings: _Findings) -> Next | None:
    """The deployment's first step that does not stand; None if all stand, or if its evidence is not there."""
    if site.deployment not in look.chains:
        return None
    try:
        judged = progress.next_step(look.table, look.chains, look.now, site.time_scale, of=site.deployment)
    except ChainError as error:
        findings.unasked.append(f"{site.data_host.name}: {error}")
        return None
    if judged is None:
        return None
    step, judges = look.table.steps[judged.step], look.table.steps[max(judged.step - 1, 1)].deployment
    if judges in look.unseen - look.chains.keys():
        findings.unasked.append(f"the evidence of {judges} could not be read: cutover status --deployment {judges}")
    blocked = [f"it runs already, {running}"] if running else [str(refusal) for refusal in judged.refusals]
    flags_before = rollback_table.starts_from(look.table, judged.step)
    states = {rollback_table.state_of(look.table, flags).name for flags in flags_before}
    if not running and mode is not None and mode not in states:
        blocked.append(f"it starts from mode {step.from_mode}, and the workers are in {mode}")
    if findings.amiss or findings.unasked:
        blocked.append("what is amiss below")
    return Next(judged.step, step.title, judged.next, tuple(blocked))
