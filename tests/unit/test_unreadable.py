"""What the emergency makes of the data host's count of files that lie only in S3."""

from __future__ import annotations

from typing import Any

import pytest

from cutover import fleet, unreadable

GROUPS = {
    "production_machines": ["web1", "web2"],
    "production_data_host": ["web1"],
    "staging_machines": ["staging1"],
    "staging_data_host": ["data"],
}
DATA_HOSTS = {"production": "web1", "staging": "data"}


def hosts(said: str | None, **more: Any) -> dict[str, dict[str, Any]]:
    """The inventory after web1 was asked to put copies back, and said this."""
    answer = {"rc": 0, **({} if said is None else {"stdout": said}), **more}
    web1 = {"environment_file": "/etc/deltacrown/production.env", "emergency_restored": answer}
    return {"web1": web1, "data": {"emergency_restored": {"skipped": True}}}


FORTY = "cutover: a line before\r\nONLY_IN_S3 40 20\r\ncutover: a line after\r\n"


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (FORTY, (40, 20)),
        ("ONLY_IN_S3 0 0\n", (0, 0)),
        ("", None),
        (None, None),
        ("it says ONLY_IN_S3 40 20\n", None),
        ("ONLY_IN_S3 40\n", None),
        ("ONLY_IN_S3 -1 0\n", None),
    ],
)
def test_only_a_whole_line_is_a_count(said: str | None, found: tuple[int, int] | None) -> None:
    """Half a line of a killed command is taken for a number."""
    assert unreadable.counted(hosts(said)["web1"]) == found
    assert unreadable.counted({}) is None


@pytest.mark.parametrize("accepted", [0, "0", 41, "39"])
def test_another_number_than_the_counted_one_is_refused_with_all_ways(accepted: int | str) -> None:
    """The on-call reads that it is refused, and not what to do."""
    said = unreadable.problem(hosts(FORTY), DATA_HOSTS, "reads", accepted)
    assert said.startswith("REFUSED, and nothing was changed: 40 files of 20 certificates of production lie only in S3")
    command = "ansible-playbook emergency-rollback.yml -e deployment=production"
    assert f"{command} -e scenario=uploads" in said
    assert "on web1: sudo cutover restore --env-file /etc/deltacrown/production.env" in said
    assert f"{command} -e scenario=reads -e accept_unreadable=40" in said
    assert (f", not {accepted}" in said) == bool(int(accepted))


@pytest.mark.parametrize(
    ("said", "accepted"), [(FORTY, "40"), ("ONLY_IN_S3 0 0\n", 0), ("ONLY_IN_S3 0 0\n", "40"), (None, 0), ("", 7)]
)
def test_nothing_is_refused_where_nothing_is_lost_unasked(said: str | None, accepted: int | str) -> None:
    """A data host that does not answer, or files that are back, keep the on-call from acting."""
    assert unreadable.problem(hosts(said), DATA_HOSTS, "local", accepted) == ""


@pytest.mark.parametrize(
    ("said", "accepted", "told"),
    [
        (FORTY, "40", " --unreadable 40 --accept-unreadable 40"),
        ("ONLY_IN_S3 0 0\n", "40", " --unreadable 0"),
        (None, "40", " --accept-unreadable 40"),
        (None, 0, ""),
    ],
)
def test_each_machine_is_told_what_its_own_data_host_has_counted(
    said: str | None, accepted: int | str, told: str
) -> None:
    """A script of before the purge's day knows no such options, and an emergency must not teach it."""
    for machine in ("web1", "web2"):
        assert unreadable.options(hosts(said), GROUPS, machine, accepted) == told
    staging = f" --accept-unreadable {accepted}" if int(accepted) else ""
    assert unreadable.options(hosts(said), GROUPS, "staging1", accepted) == staging


def test_a_deployment_without_a_data_host_has_no_count() -> None:
    """An inventory that lacks the group ends the emergency with a traceback."""
    groups: dict[str, list[str]] = {"production_machines": ["web1"], "staging_data_host": []}
    assert unreadable.options(hosts(FORTY), groups, "web1", 0) == ""
    assert unreadable.problem(hosts(FORTY), fleet.data_hosts(DATA_HOSTS, groups), "local", 0) == ""


def test_a_machine_of_no_deployment_is_rolled_back_all_the_same() -> None:
    """deployment=all reaches a machine that stands in the group `machines` alone, and its flags stay on."""
    assert unreadable.options(hosts(FORTY), GROUPS, "spare", 0) == ""
