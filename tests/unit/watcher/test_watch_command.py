"""`cutover watch` as a process: real alarms' states, a real ansible-playbook, real signals."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from cutover import cli, names, plan
from cutover.watcher.emergency import Emergency
from rehearsal import monitoring_stand_in, service_process
from tests.unit.status import recorded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_cloudwatch import CloudWatchClient

DEPLOYMENT: plan.Deployment = "production"
ALARM, SCENARIO = "rollback-uploads", "uploads"
SECONDS = 60.0  # a busy machine takes its time
QUICK = {"poll_seconds": 1, "hold_off_seconds": 2, "looks": 2, "retry_seconds": 1, "attempts": 2}
# The emergency's stand-in: it leaves word of what it was called with, and ends when it may.
EMERGENCY = """
- hosts: localhost
  gather_facts: false
  tasks:
    - copy:
        content: "{{ deployment }} {{ scenario }} {{ lookup('env', 'LOGNAME') }}"
        dest: "{{ playbook_dir }}/began"
    - wait_for: {path: "{{ playbook_dir }}/may-end", sleep: 1}
    - assert: {that: not (playbook_dir ~ '/fails') is exists}
    - copy: {content: "", dest: "{{ playbook_dir }}/ended"}
"""


@dataclass
class Control:
    """A control machine: a checkout whose emergency is a stand-in, a fleet that answers, and what is watched."""

    directory: Path
    cloudwatch: CloudWatchClient
    fleet: recorded.Fleet
    port: int

    @property
    def playbooks(self) -> Path:
        return self.directory / "checkout/playbooks"

    def table(self, **changed: Any) -> None:
        """Sets the table: on, quick, with a kill file and a port of its own; `changed` changes more."""
        document = yaml.safe_load(Path(plan.__file__).with_name("cutover.yml").read_text())
        own = {"enabled": True, "kill_file": f"{self.directory}/off"}
        own["health_ports"] = {"production": self.port, "staging": self.port + 1}
        document["auto_rollback"] |= QUICK | own | changed
        (self.directory / "cutover.yml").write_text(yaml.safe_dump(document, sort_keys=False))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        program = [str(Path(sys.executable).with_name("cutover")), "watch", "--deployment", DEPLOYMENT]
        return subprocess.Popen(
            [*program, "-i", self.fleet.inventory, *arguments],
            cwd=self.playbooks,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def health(self) -> tuple[int, dict[str, Any]]:
        """The status of /health and its document; 0 while nobody listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
        except urllib.error.URLError:
            return 0, {}

    def set(self, alarm: str, state: Any) -> None:
        full = names.alarm(DEPLOYMENT, alarm)
        self.cloudwatch.set_alarm_state(AlarmName=full, StateValue=state, StateReason="a test's")

    def remembered(self) -> str:
        """How the alarm's last emergency ended, as the watcher keeps it."""
        state = json.loads((self.directory / f"state/watcher-{DEPLOYMENT}.json").read_text())
        return str(state["acts"][ALARM]["outcome"])

    def left(self, name: str) -> str | None:
        """What the emergency wrote into a file beside it, None if it did not come so far."""
        path = self.playbooks / name
        return path.read_text() if path.exists() else None


def wait_for(what: str, holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudWatchClient]:
    with monitoring_stand_in.running(tmp_path_factory.mktemp("monitoring")) as running:
        cloudwatch = running.cloudwatch()
        for name in plan.load().alarms:
            cloudwatch.put_metric_alarm(
                AlarmName=names.alarm(DEPLOYMENT, name),
                ComparisonOperator="GreaterThanThreshold",
                EvaluationPeriods=1,
                Threshold=1,
                MetricName="m",
                Namespace="n",
                Period=60,
                Statistic="Sum",
            )
        yield cloudwatch


@pytest.fixture
def control(stand_in: CloudWatchClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Control:
    """All alarms OK; every worker of production in dual-write; the emergency ends as soon as it began."""
    for variable in [name for name in os.environ if name.startswith(("AWS_", "ANSIBLE_"))]:
        monkeypatch.delenv(variable)
    own = {"DEFAULT_REGION": "us-east-1", "ACCESS_KEY_ID": "any", "SECRET_ACCESS_KEY": "any", "CONFIG_FILE": os.devnull}
    for name, value in own.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", stand_in.meta.endpoint_url)
    monkeypatch.setenv("CUTOVER_STATE_DIRECTORY", str(tmp_path / "state"))
    fleet = recorded.healthy(tmp_path, monkeypatch)
    monkeypatch.setenv("CUTOVER_PLAN", str(tmp_path / "cutover.yml"))
    fleet.processes |= {
        "web1": [recorded.process(worker, recorded.DUAL_WRITE) for worker in ("worker1", "worker3")],
        "web2": [recorded.process("worker2", recorded.DUAL_WRITE)],
    }
    fleet.write()
    made = Control(tmp_path, stand_in, fleet, service_process.free_port("127.0.0.1"))
    made.playbooks.mkdir(parents=True)
    (made.playbooks / "ansible.cfg").write_text("[defaults]\nlocalhost_warning = False\n")
    (made.playbooks / "emergency-rollback.yml").write_text(EMERGENCY)
    (made.playbooks / "may-end").touch()
    made.table()
    for name in plan.load().alarms:
        made.set(name, "OK")
    monkeypatch.chdir(made.playbooks)
    return made


@pytest.fixture
def watching(control: Control) -> Iterator[subprocess.Popen[str]]:
    """The watcher, once it is well."""
    process = control.start()
    try:
        wait_for("it is healthy", lambda: control.health()[0] == 200)
        yield process
    finally:
        process.kill()
        process.communicate()


def stop(process: subprocess.Popen[str]) -> str:
    """Ends the watcher as systemd does; what it said."""
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, said
    return said


def test_a_fleet_that_is_rolled_back_is_left_alone(control: Control, watching: subprocess.Popen[str]) -> None:
    control.fleet.processes |= {
        "web1": [recorded.process(worker) for worker in ("worker1", "worker3")],
        "web2": [recorded.process("worker2")],
    }
    control.fleet.write()
    control.set(ALARM, "ALARM")
    wait_for("it is handled", lambda: control.health()[1]["alarms"][ALARM]["verdict"] == "handled")
    assert "every worker holds the flags of uploads already" in stop(watching)
    assert control.left("began") is None


def test_an_alarm_runs_the_documented_emergency_which_sigterm_waits_for(
    control: Control, watching: subprocess.Popen[str]
) -> None:
    """An update of the watcher's host must not leave half a fleet on S3."""
    assert control.health()[1]["acts"] is True
    (control.playbooks / "may-end").unlink()
    control.set(ALARM, "ALARM")
    wait_for("it began", lambda: control.left("began"))
    assert control.left("began") == f"{DEPLOYMENT} {SCENARIO} auto-rollback"
    status, health = control.health()
    assert (status, health["running"], health["last_act"]["outcome"]) == (200, ALARM, "running")
    watching.send_signal(signal.SIGTERM)
    time.sleep(1)
    assert watching.poll() is None
    (control.playbooks / "may-end").touch()
    said, _ = watching.communicate(timeout=SECONDS)
    assert watching.returncode == 0
    assert control.left("ended") is not None
    command = f"ansible-playbook emergency-rollback.yml -e deployment={DEPLOYMENT} -e scenario={SCENARIO}"
    assert said.count(f"ROLLS BACK, attempt 1: {command}") == 1
    assert "asked to stop: waits for the emergency that runs" in said
    assert "ROLLED BACK in" in said
    assert "PLAY RECAP" in said  # what the emergency itself says stands in the same journal
    assert control.remembered() == "done"


def test_an_emergency_outlives_its_killed_watcher(control: Control, watching: subprocess.Popen[str]) -> None:
    (control.playbooks / "may-end").unlink()
    control.set(ALARM, "ALARM")
    wait_for("it began", lambda: control.left("began"))
    watching.kill()
    watching.wait()
    (control.playbooks / "may-end").touch()
    wait_for("it ended well", lambda: control.left("ended") is not None)
    assert control.remembered() == "running"


def test_a_failing_emergency_is_given_up_and_unhealthy(control: Control, watching: subprocess.Popen[str]) -> None:
    (control.playbooks / "fails").touch()
    control.set(ALARM, "ALARM")
    wait_for("it is given up", lambda: control.health()[1]["alarms"][ALARM]["verdict"] == "given up")
    status, health = control.health()
    assert status == 503
    assert "(attempt 2 of 2): read its output, then run ansible-playbook" in health["problems"][0]
    assert "GIVEN UP, run it by hand: ansible-playbook emergency-rollback.yml" in stop(watching)


def emergency(control: Control) -> Emergency:
    return Emergency(DEPLOYMENT, control.playbooks, control.fleet.inventory)


@pytest.mark.parametrize(
    ("breaks", "obstacle"),
    [
        ("nothing", None),
        ("key", "web2 (10.0.0.3) cannot be reached: Permission denied (publickey)."),
        ("playbook", "--syntax-check ended with 4"),
        ("inventory", "there is no such inventory"),
        ("program", "No such file or directory: 'ansible-playbook'"),
    ],
)
def test_what_would_keep_an_emergency_from_a_machine_is_told(
    control: Control, monkeypatch: pytest.MonkeyPatch, breaks: str, obstacle: str | None
) -> None:
    if breaks == "key":
        control.fleet.ended["web2"] = (255, "Permission denied (publickey).")
        control.fleet.stdout["web2"] = ""
        control.fleet.write()
    elif breaks == "playbook":
        (control.playbooks / "emergency-rollback.yml").write_text("- hosts: [\n")
    elif breaks == "inventory":
        Path(control.fleet.inventory).unlink()
    elif breaks == "program":
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
        monkeypatch.setenv("PATH", f"{control.directory}:/bin")
    found = emergency(control).obstacles(plan.load().next_command(ALARM, DEPLOYMENT))
    assert control.left("began") is None
    assert len(found) == (0 if obstacle is None else 1)
    assert all(obstacle in each for each in found if obstacle)


def test_a_folder_into_which_ansible_cannot_write_is_in_the_way(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service whose user's home is read-only: Ansible ends before its first task."""
    (control.directory / "file").touch()
    monkeypatch.setenv("ANSIBLE_HOME", str(control.directory / "file/ansible"))
    dry = control.start("--dry-run")
    assert dry.stdout is not None
    first, second = dry.stdout.readline(), dry.stdout.readline()
    stop(dry)
    assert "only says what it would do" in first
    assert "an emergency could not be run from here: Unable to create local directories" in second


def test_an_inventory_that_breaks_ansibles_library_keeps_no_emergency_back(
    control: Control, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever is asked before it may fail in ways that nobody foresaw."""

    def fails(*_: object) -> None:
        raise RuntimeError("could not determine home directory")

    monkeypatch.setattr("cutover.status.sites.read", fails)
    assert emergency(control).is_needless({"dual_write": False}) is False
    assert "could not determine home directory; the emergency does not wait for it" in capsys.readouterr().err


def test_disabled_it_runs_nothing(control: Control) -> None:
    control.table(enabled=False)
    process = control.start()
    try:
        wait_for("it is healthy", lambda: control.health()[0] == 200)
        control.set(ALARM, "ALARM")
        wait_for("it is held back", lambda: control.health()[1]["alarms"][ALARM]["verdict"] == "held back")
    finally:
        said = stop(process)
    assert "only says what it would do (auto_rollback.enabled is false in ops/cutover.yml)" in said
    assert "WOULD ROLL BACK, and may not: ansible-playbook emergency-rollback.yml" in said
    assert control.left("began") is None


def test_cloudwatch_away_is_unhealthy(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", "http://127.0.0.1:1")
    process = control.start()
    try:
        wait_for("it has looked", lambda: "could not be asked" in str(control.health()[1].get("problems")))
        assert control.health()[0] == 503
    finally:
        said = stop(process)
    assert "Nothing is rolled back on what is not known" in said
    assert control.left("began") is None


def test_a_second_watcher_of_a_deployment_is_refused(control: Control, watching: subprocess.Popen[str]) -> None:
    assert watching.poll() is None
    second = control.start()
    said, _ = second.communicate(timeout=SECONDS)
    assert second.returncode == 2
    assert f"127.0.0.1:{control.port} cannot be listened on" in said
    assert "does another watcher of production run here?" in said
    assert urllib.request.urlopen(f"http://127.0.0.1:{control.port}/health").status == 200
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"http://127.0.0.1:{control.port}/")


def test_health_is_for_this_machine_alone(control: Control, watching: subprocess.Popen[str]) -> None:
    """Who reads it learns which workers are where; nobody else on the network needs to."""
    assert watching.poll() is None
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.2", control.port), timeout=5)


def test_a_dry_run_beside_it_only_speaks(control: Control, watching: subprocess.Popen[str]) -> None:
    dry = control.start("--dry-run", "--json")
    assert dry.stdout is not None
    first = json.loads(dry.stdout.readline())
    assert first == {"deployment": DEPLOYMENT, "says": "only says what it would do (--dry-run)"}
    stop(dry)
    assert control.health()[0] == 200
    stop(watching)


@pytest.mark.parametrize(("alarm", "state", "code"), [
    (ALARM, "OK", 0), (ALARM, "ALARM", 1), ("upload-p95", "ALARM", 0), ("no-telemetry", "ALARM", 4),
])  # fmt: skip
def test_one_look_says_by_its_exit_code_what_it_saw(
    control: Control, alarm: str, state: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    control.set(alarm, state)
    assert cli.main(["watch", "--deployment", DEPLOYMENT, "--once", "--json"]) == code
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert document["acts"] is False
    assert set(document["alarms"]) == {"rollback-uploads", "rollback-reads", "rollback-inconsistency"}
    assert control.left("began") is None
    assert not (control.directory / "state").exists()


def test_one_look_that_cannot_be_had_is_no_quiet_one(
    control: Control, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", "http://127.0.0.1:1")
    assert cli.main(["watch", "--deployment", DEPLOYMENT, "--once"]) == 4
    assert "the alarms could not be asked for" in capsys.readouterr().out
    assert control.left("began") is None
