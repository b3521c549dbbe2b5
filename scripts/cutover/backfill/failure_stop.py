"""The runbook's rollback trigger of step 3: more than 5 % upload failures end a backfill."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cutover.data_tool_table import FailureStop as Limits
    from cutover.migration import Outcome

__all__ = ["FailureStop"]


class FailureStop:
    """Counts rows for which S3 was asked; missing, damaged or unsafe sources and conflicts are no upload failures."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._failed: deque[bool] = deque(maxlen=limits.window)
        self._attempted = 0
        self._reason: str | None = None

    def reason(self, outcome: Outcome) -> str | None:
        """Adds a row and says why the run must stop, once it must; from then on always."""
        if not outcome.attempted or self._reason:
            return self._reason
        self._attempted += 1
        self._failed.append(outcome.upload_failed)
        failed, judged = sum(self._failed), len(self._failed)
        if self._attempted == self._limits.in_a_row and failed == judged:
            self._reason = f"the first {failed} certificates all failed to upload"
        elif judged >= self._limits.judged_from and failed > self._limits.ratio * judged:
            self._reason = (
                f"{failed} of the last {judged} certificates failed to upload, more than {self._limits.ratio:.0%}"
            )
        return self._reason
