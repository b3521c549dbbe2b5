"""What the machines of the lab have, and what they must not reach."""

from __future__ import annotations

import json
import re
import socket
import uuid
from typing import TYPE_CHECKING

import pytest
import yaml

from rehearsal.lab import LabError, database
from rehearsal.lab.topology import (
    CREDENTIALS_ADDRESS,
    DEPLOYMENTS,
    HOST_ADDRESS,
    MACHINES,
    MEDIA_ROOT,
    REPOSITORY,
    SERVICES_ADDRESS,
    Machine,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from testinfra.host import Host

    from rehearsal.lab import Lab

    Hosts = Callable[[str], Host]

INVENTORY = REPOSITORY / "playbooks/inventories/rehearsal"
SERVING = [machine for machine in MACHINES.values() if machine.deployment]
CONNECT = """
import sys, psycopg
try:
    psycopg.connect(sys.stdin.read(), connect_timeout=5).execute("SELECT 1")
except psycopg.OperationalError as error:
    sys.exit(str(error))
"""


def connect(lab: Lab, name: str, url: str) -> str:
    """Connects to a database from a machine; the password goes by stdin."""
    return lab.run(name, ["/opt/deltacrown/venv/bin/python", "-c", CONNECT], stdin=url)


@pytest.mark.parametrize("machine", SERVING, ids=lambda machine: machine.name)
def test_workers_run_behind_their_sockets(host: Hosts, machine: Machine) -> None:
    """A worker without its socket drops requests at each restart."""
    units = [f"deltacrown-uwsgi@{worker}.{kind}" for worker in machine.workers for kind in ("socket", "service")]
    states = host(machine.name).run(f"systemctl is-active {' '.join(units)}").stdout.split()
    assert dict(zip(units, states, strict=True)) == dict.fromkeys(units, "active")
    sockets = host(machine.name).run("ls /run/deltacrown").stdout.split()
    assert {f"{worker}.sock" for worker in machine.workers} <= set(sockets)
    assert host(machine.name).run("systemctl --failed --no-legend").stdout == ""


def test_a_machine_sees_its_own_units_only(host: Hosts) -> None:
    """Machines in one control group would count each other's processes as proven."""
    for machine in SERVING:
        command = "find /sys/fs/cgroup -path '*/deltacrown-uwsgi@*' -name cgroup.procs -exec cat {} +"
        pids = host(machine.name).run(command).stdout.split()
        assert len(set(pids)) >= len(machine.workers)
        assert "0" not in pids, "0 stands for a process of another machine"


def test_workers_load_compiled_code(host: Hosts) -> None:
    """Twelve workers that compile Django at each start turn a restart of two seconds into one of ten."""
    load = "/opt/deltacrown/venv/bin/python -v -c 'import django.db.models, boto3, cutover.plan, deltacrown.settings'"
    environment = "DATABASE_URL=postgres://a:b@c/d DJANGO_SECRET_KEY=x PYTHONPATH=/opt/deltacrown/app"
    loaded = host("web1").run(f"{environment} {load} 2>&1 | grep '^# code object from'").stdout.splitlines()
    assert len(loaded) > 100
    assert [line for line in loaded if not line.endswith(".pyc'")] == []


def test_the_load_balancer_runs_no_application(host: Hosts) -> None:
    """A forgotten worker there would keep its old flags."""
    assert host("lb1").run("systemctl list-units --all --no-legend 'deltacrown*'").stdout == ""
    assert host("lb1").service("nginx").is_running


def test_machines_have_identities_of_their_own(host: Hosts) -> None:
    """With one machine-id all journals are one; with one host key any machine can pose as another."""
    for path in ("/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key.pub"):
        assert len({host(name).file(path).content_string.split(" ")[-2:][0] for name in MACHINES}) == len(MACHINES)


def test_the_journal_is_on_disk(host: Hosts) -> None:
    """Counts come from the journal; one in memory would be gone after a power cut."""
    assert host("web1").run("sudo journalctl --header | grep -c /var/log/journal/").stdout.strip() != "0"


def test_what_one_machine_writes_the_others_read(lab: Lab, host: Hosts) -> None:
    """Without a shared export a certificate could be downloaded from one machine only."""
    file = f"{MEDIA_ROOT}/{uuid.uuid4()}"
    lab.run("web1", ["sudo", "-u", "www-data", "tee", file], stdin="from web1")
    for name in ("web1", "web2", "web3"):
        assert host(name).file(file).content_string == "from web1"
    assert not host("staging1").file(file).exists
    lab.run("web2", ["sudo", "-u", "www-data", "rm", file])


def test_nothing_of_production_is_mounted_in_staging(host: Hosts) -> None:
    """A staging step that deletes local copies would delete customers' files."""
    mounts = host("staging1").file("/proc/self/mountinfo").content_string
    assert str(DEPLOYMENTS["staging"].export) in mounts
    assert str(DEPLOYMENTS["production"].export) not in mounts


@pytest.mark.parametrize(
    ("name", "own", "other"), [("staging1", "staging", "production"), ("web1", "production", "staging")]
)
def test_a_deployment_reaches_its_own_database_only(lab: Lab, name: str, own: str, other: str) -> None:
    """A backfill with a wrong setting would mark the other deployment's rows."""
    own_url = database.url(DEPLOYMENTS[own], lab.state.database_passwords[own])
    connect(lab, name, own_url)
    with pytest.raises(LabError, match=r"no pg_hba\.conf entry"):
        connect(lab, name, own_url.removesuffix(own) + other)
    wrong_password = database.url(DEPLOYMENTS[other], lab.state.database_passwords[own])
    with pytest.raises(LabError, match="password authentication failed"):
        connect(lab, name, wrong_password)


def test_the_environment_file_is_for_the_application_only(host: Hosts) -> None:
    """It holds the database's password."""
    for machine in SERVING:
        assert machine.deployment is not None
        file = host(machine.name).file(str(machine.deployment.environment_file))
        assert (file.user, file.group, file.mode) == ("root", "www-data", 0o640)
        # The host's www-data has the same number.
        assert machine.directory.parent.stat().st_mode & 0o077 == 0


def test_machines_reach_nothing_beyond_the_lab(host: Hosts) -> None:
    """A rehearsal that talks to the real S3 or a real pager is not a rehearsal."""
    for name in MACHINES:
        assert host(name).run("ip route show default").stdout == ""
        # An address for documentation; with a route it would time out, without one it is refused at once.
        assert host(name).run("curl --max-time 5 http://198.51.100.1/").rc == 7
    # Not even a machine's root, who can add a route, gets the host to forward.
    route = f"sudo ip route add 198.51.100.1 via {HOST_ADDRESS}"
    assert host("lb1").run(route).rc == 0
    try:
        assert host("lb1").run("curl --max-time 2 http://198.51.100.1/").rc in {7, 28}
    finally:
        assert host("lb1").run("sudo ip route del 198.51.100.1").rc == 0


@pytest.fixture
def roles(lab: Lab) -> Iterator[None]:
    """The roles of both deployments, unless `pulumi up` has already made them."""
    iam = lab.aws.iam()
    trust = {"Effect": "Allow", "Principal": {"AWS": lab.machines_user_arn}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    present = {role["RoleName"] for role in iam.list_roles()["Roles"]}
    made = [deployment.role for deployment in DEPLOYMENTS.values() if deployment.role not in present]
    for role in made:
        iam.create_role(RoleName=role, AssumeRolePolicyDocument=document)
    yield
    for role in made:
        iam.delete_role(RoleName=role)


@pytest.mark.usefixtures("roles")
def test_each_machine_is_given_its_own_role_and_lb1_none(host: Hosts) -> None:
    """With production's role staging could write among customers' certificates."""
    ask = f"curl --silent --max-time 5 http://{CREDENTIALS_ADDRESS}/role"
    for machine in SERVING:
        assert machine.deployment is not None
        assert json.loads(host(machine.name).run(ask).stdout)["RoleArn"].endswith(f":role/{machine.deployment.role}")
    refusal = json.loads(host("lb1").run(ask).stdout)
    assert refusal["code"] == "NoRole"


@pytest.mark.usefixtures("roles")
def test_the_sdk_on_a_machine_finds_its_credentials(lab: Lab) -> None:
    """The application has no keys in its settings: without this chain every upload would fail."""
    program = "import boto3; print(boto3.client('sts', region_name='us-east-1').get_caller_identity()['Arn'])"
    variables = [
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/role",
        f"AWS_ENDPOINT_URL=https://{SERVICES_ADDRESS}:4566",
        "AWS_CA_BUNDLE=/usr/local/share/ca-certificates/aws-stand-in.crt",
    ]
    argv = ["env", *variables, "/opt/deltacrown/venv/bin/python", "-c", program]
    assert f":assumed-role/{DEPLOYMENTS['staging'].role}/" in lab.run("staging1", argv)


def test_a_drained_machine_gets_no_requests(host: Hosts) -> None:
    """A machine that is worked on while it serves loses requests."""
    variables = yaml.safe_load((INVENTORY / "group_vars/production.yml").read_text())
    address = f"{MACHINES['web2'].address}:80"

    def served_by() -> set[str]:
        """The machines that answered 30 requests, in the words of the load balancer's own log."""
        log = "/var/log/nginx/deltacrown.access.log"
        host("lb1").run(f"sudo truncate --size=0 {log}")
        host("lb1").run("for i in $(seq 30); do curl --silent --output /dev/null http://127.0.0.1/; done")
        return set(re.findall(r'upstream="([^"]+)"', host("lb1").run(f"sudo cat {log}").stdout))

    assert address in served_by()
    try:
        assert host("lb1").run(variables["drain_command"].replace("{{ machine }}", "web2")).rc == 0
        drained = served_by()
    finally:
        assert host("lb1").run(variables["undrain_command"].replace("{{ machine }}", "web2")).rc == 0
    assert address not in drained
    assert drained == {f"{MACHINES[name].address}:80" for name in ("web1", "web3")}
    assert address in served_by()


def test_a_machine_comes_back_after_a_power_cut(lab: Lab, host: Hosts) -> None:
    """A machine that is off during an emergency must be there, with its disk, afterwards."""
    lab.run("web3", ["sudo", "touch", "/var/kept"])
    lab.power_off("web3")
    with pytest.raises(OSError, match=r"timed out|No route"):
        socket.create_connection((MACHINES["web3"].address, 22), timeout=1)
    lab.power_on("web3")
    assert lab.run("web3", ["ls", "/var/kept"]) == "/var/kept\n"
    assert host("web3").run("systemctl is-active deltacrown-uwsgi@worker3.socket").stdout == "active\n"
