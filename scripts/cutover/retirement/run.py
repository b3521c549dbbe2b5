"""What the runs over local copies have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cutover import settings
from cutover.retirement import places
from cutover.settings import SettingsError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from pathlib import Path

    from cutover.data_tool_table import DataTools
    from cutover.plan import Plan
    from cutover.retirement.proof import Left
    from cutover.settings import Settings

__all__ = ["LOCK", "Run", "all_for_s3", "refuse_unless_s3_serves"]

LOCK = "retirement"  # of the database: one run that puts aside or deletes at a time, on whatever machine


@dataclass(frozen=True)
class Run:
    """Whose copies they are, the table's limits, and where those that were put aside lie.

    `asked` is set when the run has to stop; `progress` is told what is done, how many, and of how many;
    `restores_before` is what `places.restores` said when the run began.
    """

    settings: Settings
    table: Plan
    directory: Path
    asked: threading.Event
    progress: Callable[[str, int, int], None]
    restores_before: str

    @property
    def limits(self) -> DataTools:
        """The numbers of the table that are the data tools'."""
        return self.table.data_tools

    def interruption(self) -> str | None:
        """Why no further file may be put aside or deleted, if so: asked before each one."""
        if self.asked.is_set():
            return "signal"
        # Also one that came and went while this run waited for S3: somebody needs the local copies.
        return "restore" if places.restores(self.directory) != (False, self.restores_before) else None

    def reason_to_stop(self) -> str | None:
        """Why no further batch may begin, if so."""
        try:
            refuse_unless_s3_serves(self.settings, self.table)
        except SettingsError:
            return "flag"
        return self.interruption()


def refuse_unless_s3_serves(values: Settings, table: Plan) -> None:
    """SettingsError unless the flags say that customers are served from S3: without that local copies are needed."""
    variables = [table.variables[name] for name in ("dual_write", "read_primary")]
    off = [variable for variable in variables if not settings.flag(values, variable)]
    if off:
        source = values.environment_file or "the environment"
        raise SettingsError(
            f"{' and '.join(off)} of {source} must be true (mode s3-reads or settled): customers are served from the "
            "local copies"
        )


def all_for_s3(asked: int, left: list[Left]) -> bool:
    """Whether none of the certificates that were asked for was proven because S3 refused or did not answer."""
    return 0 < asked == len(left) and all(one.cause.startswith("s3_") for one in left)
