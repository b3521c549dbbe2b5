"""What reads by the site's storage gave: counts, the time of signing, and what was wrong."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from cutover.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Reads", "Row"]

_QUERY = re.compile(r"\?\S*")  # of an address: with it, whoever reads the report could read the certificate


class Row(NamedTuple):
    """A certificate's PDF: its row's id, its name, and the SHA-256 of what was issued."""

    id: int
    name: str
    certificate_hash: str


@dataclass
class Migrated:
    """Reads of rows that are marked as migrated. A fallback of url() counts as one of open() does."""

    asked: int = 0
    from_s3: int = 0
    equal: int = 0
    fallbacks: int = 0


@dataclass
class Unmigrated:
    """Reads of other rows; `signed` had a URL that leads to S3, where there is nothing."""

    asked: int = 0
    from_local: int = 0
    equal: int = 0
    signed: int = 0


@dataclass
class Answers:
    """Presigned URLs that were fetched, and those that gave a byte."""

    asked: int = 0
    ok: int = 0


@dataclass
class Reads:
    """All reads of a run; `sign_ms` has the milliseconds of each url() that signed."""

    migrated: Migrated = field(default_factory=Migrated)
    unmigrated: Unmigrated = field(default_factory=Unmigrated)
    sign_ms: list[float] = field(default_factory=list)
    answers: Answers = field(default_factory=Answers)
    failures: list[dict[str, Any]] = field(default_factory=list)

    @property
    def verdict(self) -> ExitCode:
        """FAILED as soon as one read was not as it must be; INCONCLUSIVE if no row is migrated.

        That every row is migrated is no reason to doubt: after the backfill it is the rule.
        """
        if self.failures:
            return ExitCode.FAILED
        return ExitCode.DONE if self.migrated.asked else ExitCode.INCONCLUSIVE

    def fail(self, row: Row, wrong: list[str]) -> None:
        """Notes what was wrong, if anything was, without the addresses' queries."""
        if wrong:
            self.failures.append({"certificate_id": row.id, "detail": _QUERY.sub("?…", "; ".join(wrong))})

    def lines(self) -> Iterator[str]:
        """The same for people."""
        migrated, unmigrated, answers = self.migrated, self.unmigrated, self.answers
        yield (
            f"migrated: {migrated.from_s3} of {migrated.asked} read from S3, {migrated.equal} have the issued bytes, "
            f"{migrated.fallbacks} fallbacks"
        )
        yield (
            f"unmigrated: {unmigrated.from_local} of {unmigrated.asked} read from local files, {unmigrated.equal} have "
            f"the issued bytes, {unmigrated.signed} with a URL of S3"
        )
        slowest = f", the slowest in {max(self.sign_ms):g} ms" if self.sign_ms else ""
        yield f"presigned: {len(self.sign_ms)} URLs{slowest}; {answers.ok} of {answers.asked} answer"
        for failure in self.failures:
            yield f"  certificate {failure['certificate_id']}: {failure['detail']}"
        if self.verdict is ExitCode.INCONCLUSIVE:
            yield "nothing to look at: no certificate is marked as migrated"
