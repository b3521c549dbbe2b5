"""The automatic rollback from end to end: S3 refuses uploads, the deployed alarm fires, and nobody does anything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from cutover import fleet, names, plan
from rehearsal import deployed_site, monitoring_stand_in, paging, service_process, traffic
from rehearsal.aws_stand_in import REGION
from rehearsal.lab import monitoring, reach
from rehearsal.lab.topology import MACHINES, REPOSITORY
from tests.fleet.production import DATA_HOST, WEBS
from tests.fleet.staging import EVIDENCE
from tests.playbooks import test_auto_rollback_unit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rehearsal.lab import Lab

pytestmark = pytest.mark.timeout(600)  # the first test may wait for a whole lab
SECONDS = 120.0
POLL_SECONDS = 0.1
ALARM, SCENARIO = "rollback-uploads", "uploads"
COMMAND = f"ansible-playbook emergency-rollback.yml -e deployment=production -e scenario={SCENARIO}"
# A minute of CloudWatch takes three seconds here, and so the hold-off of a minute.
QUICK = {"poll_seconds": 1, "hold_off_seconds": 3, "looks": 3}
A_SECOND = 4  # certificates, two uploads each: every minute of CloudWatch has more than the alarm's minimum
MACHINE, UNIT = "staging1", "cutover-watcher-staging.service"
CHECKOUT = "/opt/watcher"


def table(path: Path, **changed: Any) -> Path:
    """The table with the automatic rollback on, in a file of its own."""
    document = yaml.safe_load((REPOSITORY / "ops/cutover.yml").read_text())
    document["auto_rollback"] |= {"enabled": True} | QUICK | changed
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def cloudwatch() -> dict[str, str]:
    """Where the lab's CloudWatch is, as an environment; it looks at no credentials."""
    return {
        "AWS_ENDPOINT_URL_CLOUDWATCH": monitoring.place().endpoint_url,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
    }


def state_of(alarm: str, deployment: plan.Deployment) -> str:
    return monitoring.require_live_engine().states.get(names.alarm(deployment, alarm), "absent")


def wait_for(what: str, holds: Callable[[], object]) -> float:
    """When it came to hold, in seconds since 1970."""
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(POLL_SECONDS)
    return time.time()


class Uploading(threading.Thread):
    """Customers whose certificates are issued at a steady rate until it is ended; `refused` are those that failed."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._client = traffic.Client(reach.site_urls()["production"])
        self._client.sign_in("load-staff", json.loads(deployed_site.PASSWORDS.read_text())["load-staff"])
        self._ended = threading.Event()
        self.issued = 0
        self.refused: list[str] = []

    def run(self) -> None:
        while not self._ended.wait(1):
            try:
                self.issued += len(traffic.issue_many(self._client, [5] * A_SECOND, concurrency=2))
            except traffic.TrafficError as error:
                self.refused.append(str(error))

    def end(self) -> None:
        self._ended.set()
        self.join()


@contextmanager
def watching(directory: Path) -> Iterator[Callable[[], dict[str, Any]]]:
    """A watcher of production on this host, the lab's control machine; gives what its /health says."""
    port = service_process.free_port("127.0.0.1")
    ports = {"production": port, "staging": port + 1}
    own = {
        "CUTOVER_PLAN": str(table(directory / "cutover.yml", kill_file=str(directory / "off"), health_ports=ports)),
        "CUTOVER_STATE_DIRECTORY": str(directory / "state"),
        "ANSIBLE_CONFIG": str(REPOSITORY / "playbooks/ansible.cfg"),
    }
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "ANSIBLE_"))}
    command = [str(Path(sys.executable).with_name("cutover")), "watch", "--deployment", "production"]
    with (directory / "watcher.log").open("w") as log:
        process = subprocess.Popen(
            [*command, "-i", "inventories/rehearsal"],
            cwd=REPOSITORY / "playbooks",
            env=clean | cloudwatch() | own,
            stdout=log,
            stderr=subprocess.STDOUT,
        )

    def health() -> dict[str, Any]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
                return dict(json.load(answer))
        except (urllib.error.HTTPError, urllib.error.URLError):
            return {}

    try:
        yield health
        process.terminate()
        assert process.wait(timeout=SECONDS) == 0
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def in_dual_write(deployed: Lab) -> Lab:
    """Production in dual-write, with telemetry that arrives."""
    for machine in WEBS:
        deployed_site.flip(deployed, machine, fleet.triple(plan.load().modes["dual-write"].flags))
    wait_for("staging has telemetry", lambda: state_of("no-telemetry", "staging") == "OK")
    wait_for("production has telemetry", lambda: state_of("no-telemetry", "production") == "OK")
    return deployed


def processes(lab: Lab) -> list[dict[str, Any]]:
    return [each for machine in WEBS for each in deployed_site.status_of(lab, machine)["processes"]]


def test_s3_that_refuses_uploads_takes_production_to_local_files_by_itself(
    in_dual_write: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The on-call sleeps: the alarm fires, the watcher rolls back, and the page says what happened."""
    lab, incident = in_dual_write, names.incident("production", "s3")
    pages_before = len(monitoring.incidents())
    uploading = Uploading()
    with watching(tmp_path) as health:
        uploading.start()
        wait_for("it sees the alarms", lambda: health().get("healthy"))
        wait_for("uploads are judged, and good", lambda: state_of(ALARM, "production") == "OK")
        assert health()["last_act"] is None
        with paging.uploads_denied(lab, "production"):
            failing = time.time()
            alarmed = wait_for(f"{ALARM} fires", lambda: state_of(ALARM, "production") == "ALARM")
            began = wait_for("it acts", lambda: health().get("running") == ALARM)
            done = wait_for("the emergency ends", lambda: (health().get("last_act") or {}).get("outcome") == "done")
            held = processes(lab)
        uploading.end()
        page = next(page for page in monitoring.incidents()[pages_before:] if page.alarm == incident)
        assert health()["healthy"]
    assert failing < alarmed < began < done
    assert began - alarmed >= QUICK["hold_off_seconds"] - 1 - POLL_SECONDS  # the alarm's own second of polling
    assert failing < page.opened < done
    assert f"- {ALARM}: {COMMAND}\n" in page.description
    assert len(held) >= 2 * sum(len(MACHINES[machine].workers) for machine in WEBS)
    assert fleet.processes_not_holding(held, fleet.triple(plan.load().modes["local"].flags)) == []
    newest = max((MACHINES[DATA_HOST].root / EVIDENCE.lstrip("/")).glob("*-rollback-*.json"))
    record = json.loads(newest.read_bytes())
    assert (record["verdict"], record["scenario"], record["deployment"]) == ("PASS", SCENARIO, "production")
    assert record["who"].startswith("auto-rollback@")
    assert uploading.refused == []
    said = (tmp_path / "watcher.log").read_text()
    assert said.count(f"ROLLS BACK, attempt 1: {COMMAND}") == 1
    assert "ROLLED BACK: " in said
    with capsys.disabled():
        print(
            f"\nS3 refused uploads; {ALARM} fired after {alarmed - failing:.1f} s, the page came after "
            f"{page.opened - failing:.1f} s, the watcher acted after {began - failing:.1f} s, {len(held)} processes "
            f"were proven local {record['seconds']:.1f} s later, all of it after {done - failing:.1f} s; "
            f"0 of {uploading.issued} certificates were refused"
        )


def installed(lab: Lab, directory: Path) -> None:
    """On a machine a checkout whose emergency is a stand-in, and the watcher's unit as the role writes it."""
    site = {"aws_region": REGION, "data_command_environment": cloudwatch()}
    own = {"checkout": CHECKOUT, "user": "operator", "inventory": "hosts.yml", "site": site}
    text = test_auto_rollback_unit.installed(
        directory, "staging", **{f"auto_rollback_{name}": value for name, value in own.items()}
    )
    sleeps = f'#!/bin/sh\nexec >>{CHECKOUT}/var/evidence/calls\necho "$LOGNAME $*"\nsleep 6\necho ended\n'
    for path, content, mode in (
        (f"/etc/systemd/system/{UNIT}", text, "644"),
        (f"{CHECKOUT}/cutover.yml", table(directory / "cutover.yml").read_text(), "644"),
        (f"{CHECKOUT}/playbooks/ansible.cfg", "", "644"),
        ("/etc/deltacrown/cutover-watcher.env", f"CUTOVER_PLAN={CHECKOUT}/cutover.yml\n", "644"),
        ("/usr/local/bin/ansible-playbook", sleeps, "755"),
    ):
        script = f"mkdir -p $(dirname {path}) {CHECKOUT}/var/evidence && cat >{path} && chmod {mode} {path}"
        lab.run(MACHINE, ["sudo", "sh", "-c", script], stdin=content)
    prepare = f"mkdir -p {CHECKOUT}/.venv/bin && ln -sf /usr/local/bin/cutover {CHECKOUT}/.venv/bin/ && "
    lab.run(MACHINE, ["sudo", "sh", "-c", f"{prepare} chown -R operator {CHECKOUT}/var && systemctl daemon-reload"])


@pytest.fixture
def unit(in_dual_write: Lab, tmp_path: Path) -> Iterator[Lab]:
    """The watcher of staging as a service of a machine that lacks Ansible: not well, and it acts all the same."""
    installed(in_dual_write, tmp_path)
    try:
        in_dual_write.run(MACHINE, ["sudo", "systemctl", "start", UNIT])
        wait_for("it sees the alarms", lambda: '"last_look": "' in asked(in_dual_write))
        yield in_dual_write
    finally:
        clean = (
            f"systemctl stop {UNIT}; cat {CHECKOUT}/var/evidence/calls; rm -rf {CHECKOUT} /etc/systemd/system/{UNIT}"
        )
        own = "/usr/local/bin/ansible-playbook /etc/deltacrown/cutover-watcher.env /var/lib/cutover-watcher-staging"
        in_dual_write.run(MACHINE, ["sudo", "sh", "-c", f"{clean} {own}; systemctl daemon-reload"])


def asked(lab: Lab) -> str:
    """What /health on the machine says, whatever its status."""
    port = plan.load().auto_rollback.health_ports["staging"]
    ask = (
        f"import http.client as h; c = h.HTTPConnection('127.0.0.1', {port}); c.request('GET', '/health'); "
        "print(c.getresponse().read().decode())"
    )
    return lab.run(MACHINE, ["sh", "-c", f'python3 -c "{ask}" 2>&1 || true'])


def test_the_hardened_unit_acts_and_its_stop_waits_for_the_emergency(unit: Lab) -> None:
    """A protection of systemd that forbids what the watcher needs would show on the night on which it is needed."""
    client = monitoring_stand_in.load(monitoring.DIRECTORY).cloudwatch()
    full = names.alarm("staging", ALARM)
    before = state_of(ALARM, "staging")
    client.set_alarm_state(AlarmName=full, StateValue="ALARM", StateReason="test")
    try:
        calls = f"cat {CHECKOUT}/var/evidence/calls 2>/dev/null || true"
        wait_for("it acts", lambda: "auto-rollback " in unit.run(MACHINE, ["sh", "-c", calls]))
        unit.run(MACHINE, ["sudo", "systemctl", "stop", UNIT])
        said = unit.run(MACHINE, ["sh", "-c", calls]).splitlines()
        asked_for = f"-e deployment=staging -e scenario=uploads -i {CHECKOUT}/playbooks/hosts.yml"
        assert said == [f"auto-rollback emergency-rollback.yml {asked_for}", "ended"]
        journal = unit.run(MACHINE, ["sudo", "journalctl", "--output=cat", "--unit", UNIT])
        assert "asked to stop: waits for the emergency that runs" in journal
        assert "ROLLED BACK in" in journal
        assert unit.run(MACHINE, ["systemctl", "show", "--property=Result", "--value", UNIT]).strip() == "success"
    finally:
        client.set_alarm_state(AlarmName=full, StateValue=before, StateReason="test")  # type: ignore[arg-type]
