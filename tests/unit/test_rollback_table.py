"""Where each scenario leads from each state: the table against what the runbook and the storage class say."""

from __future__ import annotations

import itertools

import pytest

from cutover import plan, rollback_table
from cutover.django.flags import Flags as StorageFlags
from tests.unit.test_plan import SOURCE, broken

TABLE = plan.load(SOURCE)
T, F = True, False
STATES = {
    (F, F, F): "local",
    (F, F, T): "backfill-only",
    (F, T, F): "uploads-off",
    (F, T, T): "uploads-off",
    (T, F, F): "reads-off",
    (T, F, T): "dual-write",
    (T, T, F): "settled",
    (T, T, T): "s3-reads",
}
# By hand, cell by cell: from the state of a row to the state in the column of a scenario.
CELLS = {
    # held: local, uploads, reads, inconsistency
    (F, F, F): ("local", "local", "local", "local"),
    (F, F, T): ("local", "local", "backfill-only", "local"),
    (F, T, F): ("local", "uploads-off", "local", "local"),
    (F, T, T): ("local", "uploads-off", "backfill-only", "local"),
    (T, F, F): ("local", "local", "reads-off", "reads-off"),
    (T, F, T): ("local", "local", "dual-write", "reads-off"),
    (T, T, F): ("local", "uploads-off", "reads-off", "reads-off"),
    (T, T, T): ("local", "uploads-off", "dual-write", "reads-off"),
}
PUT, GET, HEAD, DELETE = "PutObject", "GetObject", "HeadObject", "DeleteObject"
CALLS = {
    "local": set(),
    "backfill-only": set(),
    "uploads-off": {GET, HEAD, DELETE},
    "reads-off": {PUT, HEAD, DELETE},
    "dual-write": {PUT, HEAD, DELETE},
    "s3-reads": {PUT, GET, HEAD, DELETE},
    "settled": {PUT, GET, HEAD, DELETE},
}
SWEEP, BACKFILL = "deltacrown-sweep.service", "deltacrown-backfill.service"
UNITS = {"local": {SWEEP, BACKFILL}, "uploads": {SWEEP, BACKFILL}, "reads": set(), "inconsistency": {BACKFILL}}


@pytest.mark.parametrize("flags", STATES)
def test_every_triple_has_its_name(flags: rollback_table.Flags) -> None:
    """A fleet in a state without a name could not be told what comes next."""
    assert rollback_table.state_of(TABLE, flags).name == STATES[flags]


@pytest.mark.parametrize(("flags", "scenario"), [*itertools.product(STATES, TABLE.scenarios)])
def test_each_cell_leads_where_the_runbook_says(flags: rollback_table.Flags, scenario: str) -> None:
    """A scenario that leaves S3 where it fails, or turns off what was healthy."""
    found = rollback_table.outcome(TABLE, scenario, flags)
    assert found.state.name == CELLS[flags][list(TABLE.scenarios).index(scenario)]
    assert found.calls == CALLS[found.state.name]
    assert ("S3" in found.state.writes) == found.flags[0]
    assert ("S3" in found.state.reads) == found.flags[1]


@pytest.mark.parametrize("scenario", TABLE.scenarios)
def test_a_scenario_stops_what_its_flags_keep_going(scenario: str) -> None:
    """The runbook wants no S3 calls after `uploads`; a sweep in the background makes some."""
    assert set(rollback_table.units(TABLE, TABLE.scenarios[scenario].sets)) == UNITS[scenario]
    assert TABLE.scenarios[scenario].stops_units_first == (scenario == "inconsistency")


@pytest.mark.parametrize("flags", STATES)
def test_the_table_calls_s3_where_the_storage_class_does(flags: rollback_table.Flags) -> None:
    """The storage class deletes with either flag; the table must not forget it, nor allow it without one."""
    storage = StorageFlags(dual_write=flags[0], read_primary=flags[1])
    operations = rollback_table.expected(TABLE, flags).operations
    assert ("save" in operations) == storage.dual_write
    assert ({"read", "url", "exists", "size"} <= operations) == storage.read_primary
    assert ("delete" in operations) == storage.uses_s3


@pytest.mark.parametrize(
    ("deployment", "flags", "step"),
    [
        ("staging", (F, F, F), 1),
        ("production", (F, F, F), 6),
        ("production", (F, T, F), 6),
        ("production", (T, F, F), 6),
        ("production", (T, F, T), 8),
        ("staging", (T, F, T), 4),
        ("production", (T, T, T), None),
    ],
)
def test_the_way_back_begins_where_a_flag_is_lacking(
    deployment: plan.Deployment, flags: rollback_table.Flags, step: int | None
) -> None:
    """An operator who is sent to the wrong step meets a refusal at 4 a.m."""
    assert rollback_table.resuming_step(TABLE, deployment, flags) == step


def test_steps_start_from_what_scenarios_leave_behind() -> None:
    """Else the fleet would have to be rolled back once more before it could go on."""
    assert rollback_table.degraded_flags(TABLE) == {(F, T, F), (T, F, F)}
    assert rollback_table.starts_from(TABLE, 6) == [(F, F, F), (F, T, F), (T, F, F)]
    assert rollback_table.starts_from(TABLE, 8) == [(T, F, T)]
    for scenario, flags in itertools.product(TABLE.scenarios, STATES):
        end = rollback_table.outcome(TABLE, scenario, flags).flags
        step = rollback_table.resuming_step(TABLE, "production", end)
        assert step is None or end in {*rollback_table.starts_from(TABLE, step), (F, T, T), (F, F, T)}


@pytest.mark.parametrize(("number", "on"), [(1, T), (2, F), (4, T), (6, T), (7, F), (8, T), (10, F)])
def test_steps_that_turn_flags_on_are_told_apart(number: int, on: bool) -> None:
    assert rollback_table.turns_on(TABLE, number) is on


def test_a_table_that_names_a_state_twice_or_not_at_all_is_refused(tmp_path: object) -> None:
    """A triple with two names would be told two ways back."""

    def twice(document: dict[str, dict[str, object]]) -> None:
        document["degraded"]["local-again"] = document["degraded"]["backfill-only"] | {"backfill": None}  # type: ignore[operator]

    def never(document: dict[str, dict[str, object]]) -> None:
        del document["degraded"]["reads-off"]

    for change in (twice, never):
        with pytest.raises(plan.PlanError, match="must have exactly one name"):
            plan.load(broken(tmp_path, change))  # type: ignore[arg-type]
