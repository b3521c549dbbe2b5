"""The texts from which a machine is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rehearsal.lab import LabError, database, machine_files, settings, site
from rehearsal.lab.state import State
from rehearsal.lab.topology import DEPLOYMENTS, MACHINES

if TYPE_CHECKING:
    from pathlib import Path

ENDPOINT = "https://10.213.77.1:4566"


def test_an_unknown_placeholder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """nginx would take `@NAME@` for a host, and fail at its first request."""
    monkeypatch.setattr(site, "DEPLOY", tmp_path)
    (tmp_path / "x.conf.in").write_text("# about @NAME@\nserver @NAME@; listen @PORT@; unit@%i.socket;\n")
    with pytest.raises(LabError, match="@PORT@, which the lab does not know"):
        settings.render("x.conf.in", {"NAME": "web1"})
    assert settings.render("x.conf.in", {"NAME": "web1", "PORT": "80"}) == "server web1; listen 80; unit@%i.socket;\n"


def test_a_fresh_lab_has_all_flags_off() -> None:
    """The rehearsal starts where the real site stands: everything local."""
    lines = settings.flag_file(DEPLOYMENTS["staging"], State.new(), ENDPOINT).splitlines()
    assert [line for line in lines if line.startswith("CERT_S3_")] == [
        "CERT_S3_DUAL_WRITE=false",
        "CERT_S3_READ_PRIMARY=false",
        "CERT_S3_BACKFILL_ENABLED=false",
    ]


@pytest.mark.parametrize("name", ["staging", "production"])
def test_a_deployment_is_told_of_its_own_things_only(name: str) -> None:
    """One wrong name, and staging's steps run on customers' certificates."""
    (other,) = DEPLOYMENTS.keys() - {name}
    state = State.new()
    for machine in MACHINES.values():
        if machine.deployment != DEPLOYMENTS[name]:
            continue
        text = "".join(settings.files(machine, state, ENDPOINT).values())
        for secret in (state.database_passwords, state.secret_keys):
            assert secret[name] in text
            assert secret[other] not in text
        assert DEPLOYMENTS[other].bucket not in text
        assert f"/etc/deltacrown/{other}.env" not in text


def test_machines_have_no_gateway() -> None:
    """A rehearsal with a way out could reach the real S3."""
    for machine in MACHINES.values():
        text = machine_files.network_settings(machine)
        assert f"Address={machine.address}/24" in text
        assert "Gateway" not in text


def test_each_role_may_use_its_own_database_only() -> None:
    """PostgreSQL takes the first rule that fits: a rule for all databases would open both."""
    remote = [line.split() for line in database.access_rules().splitlines() if line.startswith("host")]
    assert [(rule[1], rule[2]) for rule in remote] == [("staging", "staging"), ("production", "production")]
