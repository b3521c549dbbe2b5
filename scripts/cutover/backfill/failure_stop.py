"""The runbook's rollback trigger of step 3, more than 5 % upload failures; and how a disk shows that it is away."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from cutover.data_tool_table import FailureStop as Limits
    from cutover.migration import Outcome

__all__ = ["DiskStop", "FailureStop"]


class FailureStop:
    """Counts rows for which S3 was asked; missing, damaged or unsafe sources and conflicts are no upload failures."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
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
        if self._attempted == self.limits.in_a_row and failed == judged:
            self._reason = f"the first {failed} certificates all failed to upload"
        elif judged >= self.limits.judged_from and failed > self.limits.ratio * judged:
            self._reason = (
                f"{failed} of the last {judged} certificates failed to upload, more than {self.limits.ratio:.0%}"
            )
        return self._reason


class DiskStop:
    """Tells a disk that is away from lost and broken files, which never end a run; is told of each row in its turn.

    Args of the constructor: after how many rows in a row it speaks, and who looks whether the disk has files of that
    many others, drawn from the whole table: a run of nothing but lost files is one, too, and its disk is there.
    """

    def __init__(self, in_a_row: int, has_others: Callable[[int], bool]) -> None:
        self._in_a_row, self._has_others = in_a_row, has_others
        self._unreadable = 0
        self._lost: int | None = 0  # rows without any file, from the first on; None once the disk has given one

    def reason(self, outcome: Outcome) -> str | None:
        """Adds a row and says why the run must stop, if it must."""
        self._unreadable = self._unreadable + 1 if outcome.unreadable else 0
        if self._unreadable == self._in_a_row:
            return f"the files of {self._in_a_row} certificates in a row cannot be read: mend the disk or its mount"
        if self._add(outcome) != self._in_a_row:
            return None
        if self._has_others(self._in_a_row):
            self._lost = None
            return None
        return (
            f"not one of the first {self._in_a_row} certificates has a file on the disk, nor has one of "
            f"{self._in_a_row} drawn from the whole table: mount the media directory on this machine"
        )

    @property
    def all_lost(self) -> bool:
        """Whether the disk has given nothing, and so much was asked of it that it must be away."""
        return self._lost is not None and self._lost >= self._in_a_row

    def _add(self, outcome: Outcome) -> int | None:
        causes = {problem.cause for problem in outcome.problems}
        if len(outcome.problems) < len(outcome.row.files) or not causes <= {"missing_local", "unsafe_name"}:
            self._lost = None
        elif self._lost is not None and "missing_local" in causes:
            self._lost += 1
        return self._lost
