"""The unit of the automatic rollback's watcher, as auto-rollback-watcher.yml installs it; booted: tests/faults."""

from __future__ import annotations

import re
import shlex
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from cutover.watcher import health
from rehearsal import service_process
from tests.playbooks.local_play import PLAYBOOKS, play, program
from tests.playbooks.stub_deployment import Deployment

if TYPE_CHECKING:
    from pathlib import Path

# What Ansible's module asks of systemd; every other order is kept, in the file beside it.
SYSTEMCTL = """
case "$1" in
    show) printf 'LoadState=loaded\\nActiveState=active\\nUnitFileState=enabled\\n' ;;
    is-enabled) echo enabled ;;
    *) echo "$@" >>"$0.calls" ;;
esac
"""
UNIT = "cutover-watcher-production.service"
READONLY = "arn:aws:iam::123456789012:role/readonly"


def site(**more: Any) -> dict[str, Any]:
    return {"aws_region": "eu-west-1", "data_command_environment": {"AWS_ENDPOINT_URL_CLOUDWATCH": "http://a"}, **more}


def installed(directory: Path, deployment: str = "production", **more: Any) -> str:
    """The unit's text, as the role's template writes it."""
    role, unit = PLAYBOOKS / "roles/auto_rollback", directory / f"cutover-watcher-{deployment}.service"
    tasks: list[dict[str, Any]] = [
        {"ansible.builtin.include_vars": {"file": str(role / "defaults/main.yml")}},
        {"ansible.builtin.set_fact": more},
        {
            "ansible.builtin.template": {
                "src": str(role / "templates/cutover-watcher.service.j2"),
                "dest": str(unit),
                "mode": "0644",
            }
        },
    ]
    said = play(directory, tasks, deployment=deployment)
    assert "failed=0" in said, said
    return unit.read_text()


@pytest.fixture
def checkout(tmp_path: Path) -> dict[str, Any]:
    """Whose watcher the unit runs."""
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / "playbooks").mkdir()
    program(tmp_path / ".venv/bin", "cutover", "true")
    own = {"checkout": str(tmp_path), "user": "root", "inventory": "/i/hosts.yml", "site": site()}
    return {f"auto_rollback_{name}": value for name, value in own.items()}


def test_it_runs_the_command_of_this_checkout_with_this_inventory(tmp_path: Path, checkout: dict[str, Any]) -> None:
    """A watcher with the default inventory would roll back another site than the one that it watches."""
    text = installed(tmp_path, **checkout)
    (command,) = re.findall("^ExecStart=(.*)$", text, re.MULTILINE)
    assert shlex.split(command) == [
        f"{tmp_path}/.venv/bin/cutover",
        *("watch", "--deployment", "production", "--inventory", "/i/hosts.yml", "--region", "eu-west-1"),
    ]
    assert f"WorkingDirectory={tmp_path}/playbooks\n" in text
    assert "Environment=AWS_ENDPOINT_URL_CLOUDWATCH=http://a\n" in text
    assert f" --role-arn {READONLY}\n" in installed(
        tmp_path, **checkout | {"auto_rollback_site": site(readonly_role_arn=READONLY)}
    )


def test_its_stop_ends_no_emergency(tmp_path: Path, checkout: dict[str, Any]) -> None:
    text = installed(tmp_path, **checkout)
    assert "\nKillMode=process\n" in text
    assert "\nRestart=always\n" in text


def test_it_may_write_the_evidence_and_nothing_else_of_the_checkout(tmp_path: Path, checkout: dict[str, Any]) -> None:
    text = installed(tmp_path, **checkout)
    assert "\nProtectSystem=strict\n" in text
    assert f"\nReadWritePaths={tmp_path}/var/evidence\n" in text
    assert "\nEnvironment=ANSIBLE_HOME=/var/lib/cutover-watcher-production/ansible\n" in text
    elsewhere = installed(tmp_path, **checkout | {"auto_rollback_site": site(evidence_root="/srv/evidence")})
    assert "\nReadWritePaths=/srv/evidence\n" in elsewhere


def test_systemd_understands_the_unit(tmp_path: Path, checkout: dict[str, Any]) -> None:
    """An unknown setting is one warning in a journal, and the unit runs without it."""
    installed(tmp_path, **checkout)
    verified = subprocess.run(
        ["systemd-analyze", "verify", tmp_path / UNIT], capture_output=True, text=True, check=False
    )
    assert (verified.returncode, [line for line in verified.stderr.splitlines() if str(tmp_path) in line]) == (0, [])


def listens_on(directory: Path, monkeypatch: pytest.MonkeyPatch, deployment: str, port: int) -> None:
    """Where a deployment's watcher answers, by a table of the test's own."""
    document = yaml.safe_load((PLAYBOOKS.parent / "ops/cutover.yml").read_text())
    document["auto_rollback"]["health_ports"][deployment] = port
    (directory / "cutover.yml").write_text(yaml.safe_dump(document, sort_keys=False))
    monkeypatch.setenv("CUTOVER_PLAN", str(directory / "cutover.yml"))


def test_the_playbook_installs_it_restarts_it_and_takes_it_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A unit that is changed and not restarted watches by the table of last month."""
    staging = Deployment.ready_for(tmp_path, 1)
    systemctl = tmp_path / "bin/systemctl.calls"
    program(tmp_path / "bin", "systemctl", SYSTEMCTL)
    own = {"deployment": "staging", "auto_rollback_units": tmp_path, "ansible_become": "false", "aws_region": "r"}
    arguments = [
        "auto-rollback-watcher.yml",
        *(word for name, value in own.items() for word in ("-e", f"{name}={value}")),
    ]
    unit = tmp_path / "cutover-watcher-staging.service"
    with health.serving(0, lambda: {"healthy": True, "acts": False, "last_look": "now"}) as port:
        listens_on(tmp_path, monkeypatch, "staging", port)
        code, said = staging.play(*arguments)
        assert (code, "staging: ONLY SAYS what it would do" in said) == (0, True), said
        assert systemctl.read_text().split() == ["daemon-reload", "restart", unit.name]
        assert f"--inventory {staging.inventory} --region r\n" in unit.read_text()
        code, said = staging.play(*arguments)
        assert (code, "changed=0" in said) == (0, True), said
        document = yaml.safe_load((tmp_path / "cutover.yml").read_text())
        document["auto_rollback"]["enabled"] = True
        (tmp_path / "cutover.yml").write_text(yaml.safe_dump(document, sort_keys=False))
        code, said = staging.play(*arguments)
        assert code == 0, said
        assert systemctl.read_text().split()[3:] == ["daemon-reload", "restart", unit.name]
    code, said = staging.play(*arguments, "-e", "watcher_wanted=false")
    assert (code, unit.exists()) == (0, False), said
    assert systemctl.read_text().split()[6:] == ["disable", unit.name, "stop", unit.name]


def unit_tasks(directory: Path, **variables: Any) -> str:
    """What Ansible says of installing the unit."""
    task = {"ansible.builtin.include_role": {"name": "auto_rollback", "tasks_from": "unit"}}
    own = {"evidence": str(directory / "evidence"), "units": str(directory), "checkout": str(directory)}
    given = {f"auto_rollback_{name}": value for name, value in own.items()} | {"auto_rollback_site": site()}
    return play(directory, [task], str(directory), deployment="production", ansible_become=False, **given | variables)


def test_several_inventories_are_refused(tmp_path: Path) -> None:
    """The watcher takes one; the machines of the others would stay on S3."""
    said = unit_tasks(tmp_path, auto_rollback_inventories=["/i/a.yml", "/i/b.yml"])
    assert "the inventories are /i/a.yml, /i/b.yml: give one -i" in said
    assert not (tmp_path / UNIT).exists()


def test_a_user_who_cannot_write_evidence_is_refused(tmp_path: Path) -> None:
    program(tmp_path, "test", "exit 1")  # root, who runs this, can write everywhere
    said = unit_tasks(tmp_path, auto_rollback_user="somebody")
    assert f"somebody cannot write into {tmp_path}/evidence: chown it" in said
    assert not (tmp_path / UNIT).exists()


@pytest.mark.parametrize(
    ("answer", "said", "failures"),
    [
        ({"healthy": True, "acts": True, "last_look": "now"}, "production: rolls back by itself", 0),
        ({"healthy": True, "acts": False, "last_look": "now"}, "production: ONLY SAYS what it would do", 0),
        (
            {"healthy": False, "problems": ["it is blind"], "last_look": "now"},
            "is installed and not well: it is blind",
            1,
        ),
        ({"healthy": False, "problems": ["it has not looked yet"], "last_look": None}, "it has not looked yet", 1),
        (None, "is installed and not well: Status code was -1", 1),
    ],
)
def test_a_watcher_that_is_not_well_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any] | None, said: str, failures: int
) -> None:
    """Whoever installs it goes home; a blind watcher would be noticed on the night on which it does nothing."""
    with health.serving(0, lambda: answer or {}) as port:
        listens_on(tmp_path, monkeypatch, "production", port if answer else service_process.free_port("127.0.0.1"))
        task = {"ansible.builtin.include_role": {"name": "auto_rollback", "tasks_from": "prove"}}
        found = play(tmp_path, [task], deployment="production", auto_rollback_looks=1)
    assert f"failed={failures}" in found
    assert said in found
