"""What a check found, as a verdict, as the JSON document, and as lines for people."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from cutover.backfill.report import duration
from cutover.consistency.suspects import Kind
from cutover.gates import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cutover.accepted import Acceptance
    from cutover.consistency.merge import Merge
    from cutover.consistency.suspects import Suspect, Suspects
    from cutover.plan import Plan

__all__ = ["FIELDS", "Findings", "Report"]

FIELDS = (
    *("verdict", "rows", "objects", "db_count", "s3_count", "sampled"),
    *("missing", "orphaned", "different", "unmarked_present", "marked_absent", "left_out", "without_local"),
    *("accepted", "duration_s"),
)
_SHOWN = 20  # keys of a kind in the lines for people; the JSON document has more
_HEADINGS = {
    Kind.MISSING: "missing: the row is marked as migrated, and S3 has no such object; cutover repair --key KEY",
    Kind.ORPHANED: "orphaned: the object belongs to no row; a certificate deleted, or forgotten by a database restore: "
    "look before you remove one",
    Kind.DIFFERENT: "different: the witnesses disagree; cutover repair --key KEY says what can be done",
    Kind.UNMARKED_PRESENT: "unmarked: the object is there, the row is not marked, and older than the sweep's grace; "
    "cutover sweep, or cutover repair --key KEY for what it refuses",
}


@dataclass(frozen=True)
class Findings:
    """What disagrees: the first keys of each kind, how many of it there are, and how many keys of all kinds."""

    listed: dict[Kind, list[Suspect]]
    counts: dict[Kind, int]
    keys: int

    @classmethod
    def of(cls, suspects: Suspects, most_listed: int) -> Self:
        """The findings when no suspect is to be dropped any more; `most_listed` keys of each kind are kept."""
        listed = {kind: suspects.first(kind, most_listed) for kind in Kind}
        return cls(listed, {kind: suspects.count(kind) for kind in Kind}, suspects.keys())

    def __bool__(self) -> bool:
        """Whether anything disagrees."""
        return self.keys > 0

    @property
    def total(self) -> int:
        """Findings of all kinds; a key can be one of each."""
        return sum(self.counts.values())

    @property
    def left_out(self) -> dict[Kind, int]:
        """How many of a kind are counted, and not listed; the kinds of which all are listed are not named."""
        rest = {kind: count - len(self.listed[kind]) for kind, count in self.counts.items()}
        return {kind: count for kind, count in rest.items() if count}


@dataclass(frozen=True)
class Report:
    """A finished check. Counts are of keys (files), `rows` of certificates; `duration` is in seconds."""

    bucket: str
    rows: int
    counts: Merge
    findings: Findings
    asked: int  # files whose witnesses were asked
    sampled: int  # of these, with two witnesses at least
    seed: int | None  # of the sample; None where none was to be drawn
    accepted: tuple[Acceptance, ...]
    duration: float

    @property
    def verdict(self) -> Verdict:
        """FAIL as soon as one key disagrees; INCONCLUSIVE where nothing was compared."""
        if self.findings:
            return Verdict.FAIL
        return Verdict.INCONCLUSIVE if self.unproven else Verdict.PASS

    @property
    def unproven(self) -> str | None:
        """Why nothing can be said although nothing is wrong, or None."""
        if self.db_count == 0:
            return f"no certificate is marked as migrated ({self.rows} rows, {self.counts.objects} objects): 0 = 0"
        if self.seed is not None and self.sampled == 0:
            return f"no file had two witnesses to compare ({self.asked} asked)"
        return None

    @property
    def db_count(self) -> int:
        """Files of rows that are marked as migrated, but for accepted rows that disagree."""
        return self.counts.agreed + self.findings.counts[Kind.MISSING]

    @property
    def s3_count(self) -> int:
        """Objects that must belong to a marked row: without those of young unmarked rows and of accepted ones."""
        return self.counts.agreed + sum(self.findings.counts[kind] for kind in (Kind.ORPHANED, Kind.UNMARKED_PRESENT))

    @property
    def mismatch_ratio(self) -> float:
        """Keys that disagree ÷ all keys of table and bucket, 0 to 1."""
        return self.findings.keys / self.counts.keys if self.counts.keys else 0.0

    def document(self) -> dict[str, Any]:
        """The JSON document of `check --json`."""
        keys = {kind: [finding.key for finding in found] for kind, found in self.findings.listed.items()}
        values = {
            "verdict": self.verdict.name,
            "rows": self.rows,
            "objects": self.counts.objects,
            "db_count": self.db_count,
            "s3_count": self.s3_count,
            "sampled": self.sampled,
            "missing": keys[Kind.MISSING],
            "orphaned": keys[Kind.ORPHANED],
            "different": [_difference(finding) for finding in self.findings.listed[Kind.DIFFERENT]],
            "unmarked_present": keys[Kind.UNMARKED_PRESENT],
            "marked_absent": keys[Kind.MISSING],
            "left_out": self.findings.left_out,
            "without_local": self.counts.without_local,
            "accepted": [found.model_dump(mode="json") for found in self.accepted],
            "duration_s": round(self.duration, 3),
        }
        return {name: values[name] for name in FIELDS}

    def lines(self, table: Plan) -> Iterator[str]:
        """The report for people; long lists are cut, their counts are not."""
        yield f"{self.verdict.name}  s3://{self.bucket} against the certificate table, {self.duration:.1f} s"
        if self.unproven and not self.findings:
            yield f"  {self.unproven}"
        yield from self._counted()
        for kind in Kind:
            yield from self._listed(kind)
        for found in self.accepted:
            yield f"accepted: certificate {found.certificate_id}, by {found.by} on {found.at:%Y-%m-%d}: {found.reason}"
        yield from self._rollback(table)

    def _counted(self) -> Iterator[str]:
        counts = self.counts
        yield f"  {self.rows} rows, {counts.objects} objects, {counts.keys} keys of table and bucket"
        yield f"  DB count: {self.db_count}, S3 count: {self.s3_count} (files of migrated certificates)"
        if counts.as_of is not None:
            age = (datetime.now(UTC) - counts.as_of).total_seconds()
            yield f"  inventory, {duration(age)} old; {counts.not_judged} files of newer rows are not judged"
        if counts.pending:
            old = f"{counts.pending_old} of rows older than the sweep's grace"
            yield f"  {counts.pending} files not migrated yet, {old}"
        if counts.without_local:
            yield f"  {counts.without_local} objects have no local copy"
        if self.seed is not None:
            alone = f", {self.asked - self.sampled} with one witness only" if self.asked > self.sampled else ""
            yield f"  {self.sampled} files compared by SHA-256{alone} (--seed {self.seed} draws them again)"
        else:
            yield "  no file was hashed"

    def _listed(self, kind: Kind) -> Iterator[str]:
        count = self.findings.counts[kind]
        if not count:
            return
        yield f"{count} {_HEADINGS[kind]}"
        listed = self.findings.listed[kind]
        for finding in listed[:_SHOWN]:
            owner = f"  (certificate {finding.certificate_id})" if finding.certificate_id is not None else ""
            doubt = f"  in doubt: {' and '.join(finding.disagrees)}; " if finding.disagrees else ""
            said = ", ".join(f"{name} {value}" for name, value in finding.witnesses.items())
            yield f"  {finding.key}{owner}{doubt}{said}"
        if count > _SHOWN:
            yield f"  … and {count - _SHOWN} more (--json names {len(listed)})"

    def _rollback(self, table: Plan) -> Iterator[str]:
        trigger = table.rollback_triggers["inconsistency"]
        if self.mismatch_ratio > trigger.above:
            yield f"!!! {self.mismatch_ratio:.1%} OF ALL KEYS DISAGREE, more than {trigger.above:.0%}: ROLL BACK"
            yield f"!!! ansible-playbook emergency-rollback.yml -e scenario={trigger.scenario}"


def _difference(finding: Suspect) -> dict[str, Any]:
    return {"key": finding.key, "witnesses": finding.witnesses, "disagrees": finding.disagrees}
