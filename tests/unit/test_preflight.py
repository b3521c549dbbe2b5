"""What a preflight measured, held against the table: every refusal, and the boundary on both of its sides."""

from __future__ import annotations

import datetime
import math

import pytest

from cutover import plan
from cutover.preflight import (
    approver_problem,
    backup_problem,
    clock_skew_problem,
    disk_problem,
    version_problem,
)

TABLE = plan.load().preflight
NOW = datetime.datetime(2026, 11, 24, 12, 0, tzinfo=datetime.UTC)
BLOCK = 4096
BLOCKS = 100_000_000  # 410 GB


def room(**changed: int) -> dict[str, int]:
    """The numbers of a file system with half of everything free."""
    return {
        "f_frsize": BLOCK,
        "f_blocks": BLOCKS,
        "f_bavail": BLOCKS // 2,
        "f_files": 1000,
        "f_favail": 500,
    } | changed


def test_the_limits_are_those_of_the_table() -> None:
    """A limit that drifted lets a step start on a machine whose evidence nobody can order in time."""
    assert TABLE.clock_skew_seconds == 5
    assert TABLE.database_backup_maximum_age_seconds == 86400


@pytest.mark.parametrize(
    "remote",
    [{"web1": 1000.0}, {"web1": 1005.0, "web2": 1000.0}, {"web1": 995.0, "web2": 1000.0}],
    ids=["equal", "at the limit ahead", "at the limit behind"],
)
def test_clocks_within_the_limit_pass(remote: dict[str, float]) -> None:
    assert clock_skew_problem(1000.0, remote, 5) == ""


def test_a_skewed_clock_is_named_with_its_distance() -> None:
    """A machine in the future counts the lines of before the step as the step's own."""
    problem = clock_skew_problem(1000.0, {"web1": 1000.0, "web2": 1005.1}, 5)
    assert "web2 is 5.1 s ahead of that of the control machine, and 5 s are allowed" in problem
    assert "timedatectl set-ntp true" in problem


def test_two_machines_are_compared_with_each_other() -> None:
    """Each is near the control machine, and their lines are still in the wrong order."""
    problem = clock_skew_problem(1000.0, {"web1": 1003.0, "web2": 997.0}, 5)
    assert "web1 is 6.0 s ahead of that of web2" in problem


def test_clocks_that_nobody_read_are_refused() -> None:
    """No measurement would be no skew."""
    assert "no machine's clock was read" in clock_skew_problem(1000.0, {}, 5)
    assert "web2 could not be read" in clock_skew_problem(1000.0, {"web1": 1000.0, "web2": math.nan}, 5)


def test_room_at_the_minimum_is_enough() -> None:
    ratio_at_limit = room(f_bavail=math.ceil(BLOCKS * TABLE.free_ratio))
    bytes_at_limit = room(f_frsize=1, f_blocks=2 * TABLE.free_bytes, f_bavail=TABLE.free_bytes)
    files_at_limit = room(f_favail=math.ceil(1000 * TABLE.free_ratio))
    for statvfs in (ratio_at_limit, bytes_at_limit, files_at_limit, room(f_files=0, f_favail=0)):
        assert disk_problem("web1:/", statvfs, TABLE) == ""


@pytest.mark.parametrize(
    ("statvfs", "seen"),
    [
        (room(f_bavail=math.ceil(BLOCKS * TABLE.free_ratio) - 1), "(5.0%) are free, and 1 GB and 5% must be"),
        (room(f_frsize=1, f_blocks=2 * TABLE.free_bytes, f_bavail=TABLE.free_bytes - 1), "1.00 GB (50.0%) are free"),
        (room(f_favail=math.ceil(1000 * TABLE.free_ratio) - 1), "49 of 1000 files can still be made"),
        (room(f_blocks=0), "its size could not be read (it has none)"),
        ({"f_frsize": BLOCK}, "its size could not be read (f_blocks, f_bavail, f_files, f_favail)"),
    ],
    ids=["ratio", "bytes", "files", "size 0", "unread"],
)
def test_too_little_room_is_refused(statvfs: dict[str, int], seen: str) -> None:
    """A disk that is full in the middle of a step: neither evidence nor a customer's file can be written."""
    problem = disk_problem("web1:/var/lib", statvfs, TABLE)
    assert problem.startswith("web1:/var/lib: ")
    assert seen in problem
    assert "`d" in problem  # the command to run


def test_one_version_everywhere_passes() -> None:
    assert version_problem({"web1": "cutover 0.1.0\n", "web2": "cutover 0.1.0"}) == ""


@pytest.mark.parametrize(
    ("versions", "seen"),
    [
        ({"web2": "0.2.0", "web1": "0.1.0", "web3": "0.1.0"}, "(0.1.0 on web1, web3; 0.2.0 on web2)"),
        ({"web1": "0.1.0", "web2": " "}, "web2 told no version"),
        ({}, "no machine told the version"),
    ],
)
def test_other_versions_are_refused(versions: dict[str, str], seen: str) -> None:
    """A machine with yesterday's script does what yesterday's table said."""
    problem = version_problem(versions)
    assert seen in problem
    assert "run " in problem


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-24T12:00:00Z nightly",
        "2026-11-23T12:00:00Z nightly",
        "  2026-11-24T17:00:00+06:00   s3://backups/a b.dump ",
    ],
    ids=["just now", "at the limit", "another zone"],
)
def test_a_recent_backup_passes(text: str) -> None:
    assert backup_problem(text, NOW, 86400) == ""


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("", "no database backup is named"),
        ("  ", "no database backup is named"),
        ("nightly", "does not begin with a time"),
        ("nightly 2026-11-24T12:00:00Z", "does not begin with a time"),
        ("2026-11-24T11:00:00 nightly", "lacks a zone at its time"),
        ("2026-11-24 nightly", "lacks a zone at its time"),
        ("2026-11-24T11:00:00Z", "lacks a name"),
        ("2026-11-24T11:00:00Z  ", "lacks a name"),
        ("2026-11-23T11:59:59Z nightly", "is 24.0 h old, and 24 h are allowed"),
        ("2026-11-24T12:00:01Z nightly", "is 1 s ahead"),
    ],
)
def test_any_other_backup_is_refused(text: str, seen: str) -> None:
    """Marks are written into the database, and nobody can bring back how it was."""
    problem = backup_problem(text, NOW, 86400)
    assert seen in problem
    assert "-e database_backup='2026-11-24T02:00:00Z nightly-0417'" in problem


def test_a_second_person_may_approve() -> None:
    assert approver_problem("Rahim", "amina@laptop") == ""


@pytest.mark.parametrize(
    ("name", "holder", "seen"),
    [
        ("", "amina", "nobody approved this step"),
        ("  ", "amina", "nobody approved this step"),
        ("amina", "amina", "amina runs this step and cannot approve it"),
        (" Amina ", "amina@laptop", "Amina runs this step"),
        ("amina@example.com", "amina", "amina@example.com runs this step"),
    ],
)
def test_anything_else_is_no_approval(name: str, holder: str, seen: str) -> None:
    """One person alone moves production."""
    problem = approver_problem(name, holder)
    assert seen in problem
    assert "give -e approver=NAME" in problem
