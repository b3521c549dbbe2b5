"""What a check found, as a verdict, as the JSON document, and as lines for people."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cutover.backfill.report import duration
from cutover.consistency.merge import Kind
from cutover.gates import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cutover.accepted import Acceptance
    from cutover.consistency.merge import Merge, Suspect
    from cutover.plan import Plan

__all__ = ["FIELDS", "Report"]

FIELDS = (
    *("verdict", "rows", "objects", "db_count", "s3_count", "sampled"),
    *("missing", "orphaned", "different", "unmarked_present", "marked_absent", "accepted", "duration_s"),
)
_SHOWN = 20  # keys of a kind in the lines for people; the JSON document has them all
_HEADINGS = {
    Kind.MISSING: "missing: the row is marked as migrated, and S3 has no such object; cutover repair --key KEY",
    Kind.ORPHANED: "orphaned: the object belongs to no row; a certificate deleted, or forgotten by a database restore: "
    "look before you remove one",
    Kind.DIFFERENT: "different: the witnesses disagree; cutover repair --key KEY says what can be done",
    Kind.UNMARKED_PRESENT: "unmarked: the object is there, the row is not marked, and older than the sweep's grace; "
    "cutover sweep, or cutover repair --key KEY for what it refuses",
}


@dataclass(frozen=True)
class Report:
    """A finished check. Counts are of keys (files), `rows` of certificates; `duration` is in seconds."""

    bucket: str
    rows: int
    counts: Merge
    findings: tuple[Suspect, ...]
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

    def of(self, kind: Kind) -> list[Suspect]:
        """The findings of one kind."""
        return [finding for finding in self.findings if finding.kind is kind]

    @property
    def db_count(self) -> int:
        """Files of rows that are marked as migrated, but for accepted rows that disagree."""
        return self.counts.agreed + len(self.of(Kind.MISSING))

    @property
    def s3_count(self) -> int:
        """Objects that must belong to a marked row: without those of young unmarked rows and of accepted ones."""
        return self.counts.agreed + len(self.of(Kind.ORPHANED)) + len(self.of(Kind.UNMARKED_PRESENT))

    @property
    def mismatch_ratio(self) -> float:
        """Keys that disagree ÷ all keys of table and bucket, 0 to 1."""
        wrong = len({finding.key for finding in self.findings})
        return wrong / self.counts.keys if self.counts.keys else 0.0

    def document(self) -> dict[str, Any]:
        """The JSON document of `check --json`."""
        missing = [finding.key for finding in self.of(Kind.MISSING)]
        values = {
            "verdict": self.verdict.name,
            "rows": self.rows,
            "objects": self.counts.objects,
            "db_count": self.db_count,
            "s3_count": self.s3_count,
            "sampled": self.sampled,
            "missing": missing,
            "orphaned": [finding.key for finding in self.of(Kind.ORPHANED)],
            "different": [_difference(finding) for finding in self.of(Kind.DIFFERENT)],
            "unmarked_present": [finding.key for finding in self.of(Kind.UNMARKED_PRESENT)],
            "marked_absent": missing,
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
        found = self.of(kind)
        if not found:
            return
        yield f"{len(found)} {_HEADINGS[kind]}"
        for finding in found[:_SHOWN]:
            owner = f"  (certificate {finding.certificate_id})" if finding.certificate_id is not None else ""
            doubt = f"  in doubt: {' and '.join(finding.disagrees)}; " if finding.disagrees else ""
            said = ", ".join(f"{name} {value}" for name, value in finding.witnesses.items())
            yield f"  {finding.key}{owner}{doubt}{said}"
        if len(found) > _SHOWN:
            yield f"  … and {len(found) - _SHOWN} more (--json names all)"

    def _rollback(self, table: Plan) -> Iterator[str]:
        trigger = table.rollback_triggers["inconsistency"]
        if self.mismatch_ratio > trigger.above:
            yield f"!!! {self.mismatch_ratio:.1%} OF ALL KEYS DISAGREE, more than {trigger.above:.0%}: ROLL BACK"
            yield f"!!! ansible-playbook emergency-rollback.yml -e scenario={trigger.scenario}"


def _difference(finding: Suspect) -> dict[str, Any]:
    return {"key": finding.key, "witnesses": finding.witnesses, "disagrees": finding.disagrees}
