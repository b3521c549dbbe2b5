"""Whether a step may start, by the chain: the step before, what was rolled back since, the drill, the days of grace.

Whether an inconsistency was audited since is asked of the step's own deployment: `unaudited`.

Ages are never compressed; a soak and the days of grace are, by `time_scale`, which only a rehearsal's inventory sets.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from cutover import rollback_table
from cutover.evidence import grace
from cutover.evidence.errors import ChainError
from cutover.evidence.record import PASS, Record, validated

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from cutover.plan import Plan

__all__ = ["Answer", "Question", "Refusal", "judge", "newest", "playbook", "unaudited", "unaudited_of", "undone_by"]

_ADDED_WHEN_PRINTED = {"file", "sha256"}


@dataclass(frozen=True)
class Question:
    """May step `step` start at `now`? `records` are of the deployment of the step before it, oldest first."""

    table: Plan
    step: int
    records: Sequence[Record]
    now: datetime
    time_scale: float = 1.0


@dataclass(frozen=True)
class Refusal:
    """Why a step may not start, and the command that changes it."""

    reason: str
    run: str

    def __str__(self) -> str:
        return f"{self.reason}: run {self.run}"


@dataclass(frozen=True)
class Answer:
    """What the chain says of a step; `next` is the command to run now."""

    step: int
    refusals: tuple[Refusal, ...] = field(default=())

    @property
    def allowed(self) -> bool:
        """Whether the step may start."""
        return not self.refusals

    @property
    def next(self) -> str:
        """The command to run now: the step itself, or what the first refusal asks for."""
        return self.refusals[0].run if self.refusals else playbook(self.step)

    def document(self) -> dict[str, object]:
        """As `--json` prints it."""
        return {"allowed": self.allowed, "reasons": [str(refusal) for refusal in self.refusals], "next": self.next}


def judge(question: Question) -> Answer:
    """Whether the step may start.

    Raises:
        ChainError: the records are another deployment's, or from the future, so that nothing can be said.
    """
    _refuse_wrong_records(question)
    if question.step == 1:
        return Answer(1)
    return Answer(question.step, (*_before(question), *_drill(question), *_grace(question)))


def playbook(step: int) -> str:
    """The command that runs a step."""
    return f"ansible-playbook go-live-step{step}.yml"


def newest(records: Sequence[Record], kind: str, **keys: object) -> Record | None:
    """The newest record of a kind whose keys (step, mode) have these values."""
    fitting = (
        record
        for record in reversed(records)
        if record.kind == kind and all(getattr(record, key) == value for key, value in keys.items())
    )
    return next(fitting, None)


def undone_by(table: Plan, records: Sequence[Record], passed: Record) -> Record | None:
    """The rollback that undid this step's PASS, None if it still stands.

    A rollback undoes a step if it turns a flag off that is on in the mode that the step led to: after the scenario
    `reads` the steps that led to dual-write still stand. One whose scenario is not told undoes everything.
    """
    if passed.step is None:
        return None
    flags = table.modes[table.steps[passed.step].to_mode].flags
    for record in records:
        if record.kind != "rollback" or record.sequence < passed.sequence:
            continue
        scenario = table.scenarios.get(record.scenario or "")
        if scenario is None or any(flags[flag] and not value for flag, value in scenario.sets.items()):
            return record
    return None


def unaudited(table: Plan, records: Sequence[Record], number: int) -> Refusal | None:
    """Why this step may not turn flags on again, if it may not: after an inconsistency, every file is audited first.

    Args:
        table: ops/cutover.yml, whose scenarios say which of them want an audit.
        records: of the step's own deployment, oldest first.
        number: the step's.
    """
    scenarios = [name for name, scenario in table.scenarios.items() if scenario.needs_audit]
    rollbacks = [record for record in records if record.kind == "rollback" and record.scenario in scenarios]
    if not rollbacks or not rollback_table.turns_on(table, number):
        return None
    rollback, audit = rollbacks[-1], newest(records, "audit")
    run = f"ansible-playbook integrity-audit.yml -e deployment={rollback.deployment}"
    what = f"the rollback of {rollback.recorded_at:%Y-%m-%dT%H:%M:%SZ} ({rollback.file_name}, {rollback.scenario})"
    if audit is None or audit.sequence < rollback.sequence:
        return Refusal(f"{what} wants an audit of every file, and there was none since", run)
    nothing_marked = (audit.model_extra or {}).get("marked") == 0  # so nobody would read anything from S3
    if audit.verdict == PASS or (audit.verdict == "INCONCLUSIVE" and nothing_marked):
        return None
    said = f" ({audit.message})" if audit.message else ""
    return Refusal(f"after {what} the audit ended with {audit.verdict} in {audit.file_name}{said}", run)


def unaudited_of(table: Plan, listed: str, number: int) -> str:
    """The same of what `cutover evidence list --json` printed, as a sentence; empty if the step may start."""
    given = (
        {key: value for key, value in each.items() if key not in _ADDED_WHEN_PRINTED} for each in json.loads(listed)
    )
    refusal = unaudited(table, [validated(Record, values) for values in given], number)
    return str(refusal or "")


def _refuse_wrong_records(question: Question) -> None:
    if not question.records:
        return
    deployment = question.table.steps[max(question.step - 1, 1)].deployment
    found = question.records[-1].deployment
    if found != deployment:
        raise ChainError(
            f"step {question.step} is judged by the evidence of {deployment}, and this is {found}'s: run it on the "
            f"data host of {deployment}"
        )
    ahead = question.records[-1].recorded_at - question.now
    if ahead > timedelta(seconds=question.table.data_tools.clock_skew_seconds):
        raise ChainError(
            f"{question.records[-1].file_name} was recorded {_spell(ahead)} after what this machine's clock says, so "
            "no age can be told: set the clock (timedatectl) and ask again"
        )


def _before(question: Question) -> Iterator[Refusal]:
    """What is wrong with the evidence of the step before."""
    number = question.step - 1
    record, run = newest(question.records, "step", step=number), playbook(number)
    if record is None:
        yield Refusal(f"step {number} has no evidence", run)
        return
    if record.verdict != PASS:
        said = f" ({record.message})" if record.message else ""
        yield Refusal(f"step {number} ended with {record.verdict} in {record.file_name}{said}", run)
        return
    measured = {criterion.criterion for criterion in record.criteria}
    missing = [name for name in question.table.steps[number].criteria if name not in measured]
    if missing:
        yield Refusal(f"{record.file_name} says PASS without measuring {', '.join(missing)}", run)
    age, oldest = question.now - record.recorded_at, question.table.steps[question.step].maximum_age_seconds
    passed = newest(question.records, "step", step=question.step, verdict=PASS)
    again = passed is not None and passed.sequence > record.sequence  # the daily checks go on after step 9 has passed
    if oldest is not None and age > timedelta(seconds=oldest) and not again:
        yield Refusal(f"step {number} passed {_spell(age)} ago, at most {_spell(timedelta(seconds=oldest))} count", run)
    yield from _undone(question, record)


def _undone(question: Question, passed: Record) -> Iterator[Refusal]:
    """What was rolled back, or tried again without success, after the step before had passed."""
    rollback = undone_by(question.table, question.records, passed)
    if rollback is not None:
        first = _first_undone(question, passed)
        when = f"{rollback.recorded_at:%Y-%m-%dT%H:%M:%SZ}"
        what = f"the rollback of {when} ({rollback.file_name}) undid step {first}"
        yield Refusal(what, playbook(first))
    steps = question.table.steps
    for number in range(1, question.step - 1):
        record = newest(question.records, "step", step=number)
        acts = steps[number].from_mode != steps[number].to_mode
        if record and acts and record.sequence > passed.sequence and record.verdict != PASS:
            what = f"step {number} was run again after step {passed.step} and ended with {record.verdict}"
            yield Refusal(f"{what} in {record.file_name}", playbook(number))


def _first_undone(question: Question, passed: Record) -> int:
    """The first step whose newest PASS a rollback undid, among those up to the step before."""
    for number in range(1, question.step):
        record = newest(question.records, "step", step=number, verdict=PASS)
        if record is not None and undone_by(question.table, question.records, record) is not None:
            return number
    return passed.step or question.step - 1


def _drill(question: Question) -> Iterator[Refusal]:
    """What is wrong with the newest drill from the mode that the fleet is in before the step."""
    step = question.table.steps[question.step]
    if step.drill_maximum_age_seconds is None:
        return
    before = question.table.steps[question.step - 1]
    run = f"ansible-playbook emergency-rollback.yml -e drill=true -e deployment={before.deployment}"
    where = f"from {before.to_mode} in {before.deployment}"
    drill = newest(question.records, "drill", mode=before.to_mode)
    if drill is None:
        yield Refusal(f"no rollback drill {where} is recorded", run)
        return
    age, oldest = question.now - drill.recorded_at, timedelta(seconds=step.drill_maximum_age_seconds)
    objective = question.table.rollback.objective_seconds
    name = f"the rollback drill {where} ({drill.file_name})"
    if drill.verdict != PASS:
        yield Refusal(f"{name} ended with {drill.verdict}", run)
    elif drill.seconds is None:
        yield Refusal(f"{name} does not say how many seconds it took", run)
    elif drill.seconds > objective:
        yield Refusal(f"{name} took {drill.seconds:g} s, the objective is {objective} s", run)
    if age > oldest:
        yield Refusal(f"{name} is {_spell(age)} old, at most {_spell(oldest)} count", run)


def _grace(question: Question) -> Iterator[Refusal]:
    """What is left of the days of grace, told once the step before has passed and still stands."""
    step = question.table.steps[question.step]
    passed = newest(question.records, "step", step=question.step - 1)
    if not step.grace_seconds or passed is None or passed.verdict != PASS:
        return
    if undone_by(question.table, question.records, passed) is not None:
        return
    count = grace.count(question.records, passed, question.now, question.time_scale)
    run, why = playbook(question.step), f" ({count.reason})" if count.reason else ""
    seconds = timedelta(seconds=step.grace_seconds / question.time_scale)
    if count.since is None:
        daily = f"{playbook(passed.step or question.step - 1)} --tags daily"
        yield Refusal(f"the {_spell(seconds)} of grace start again with the next daily PASS{why}", daily)
        return
    end = count.since + seconds
    if question.now >= end:
        return
    since, until = f"{count.since:%Y-%m-%dT%H:%M:%SZ}", f"{end:%Y-%m-%dT%H:%M:%SZ}"
    what = f"the {_spell(seconds)} of grace count from {since}{why} and end at {until}"
    expires = passed.recorded_at + timedelta(seconds=step.maximum_age_seconds or 0)
    if step.maximum_age_seconds is not None and expires < end:
        what += f", when step {passed.step}'s PASS is too old (since {expires:%Y-%m-%dT%H:%M:%SZ})"
        yield Refusal(what, playbook(passed.step or question.step - 1))
        return
    yield Refusal(what, f"{run}  # not before {until}")


def _spell(span: timedelta) -> str:
    """A span as a person would say it: 8.2 days, 3.5 hours, 40 s."""
    seconds = span.total_seconds()
    for unit, length in (("days", 86400), ("hours", 3600)):
        if seconds >= length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"
