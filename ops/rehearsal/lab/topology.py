"""Which machines the lab has, what runs on each, and where its things lie on the host."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from cutover import plan
from rehearsal import aws_stand_in

NAMESPACE = "deltacrown-lab"
BRIDGE = "br-lab"
HOST_INTERFACE = "dclab0"
SUBNET = "10.213.77.0/24"
SERVICES_ADDRESS = "10.213.77.1"
HOST_ADDRESS = "10.213.77.254"
# The address and path that AWS SDKs ask when AWS_CONTAINER_CREDENTIALS_RELATIVE_URI is set (ECS's endpoint).
CREDENTIALS_ADDRESS = "169.254.170.2"
CREDENTIALS_PATH = "/role"
AWS_PORT = 4566
MONITORING_PORT = 4567
PAGER_PORT = 4568
DATABASE_PORT = 5432
MEDIA_ROOT = Path("/var/www/deltacrown/media")
# The AWS stand-in's self-signed certificate, where Debian keeps those of a site's own authorities.
AWS_CERTIFICATE = Path("/usr/local/share/ca-certificates/aws-stand-in.crt")
MACHINES_DIRECTORY = Path("/etc/nginx/machines")  # on the load balancer: a file for each machine behind it
WWW_DATA = 33  # uid and gid of www-data on every Debian
OPERATOR = "operator"
REGION = aws_stand_in.REGION

STATE_DIRECTORY = Path("/var/lib/deltacrown-lab")
LOCK_FILE = Path("/run/deltacrown-lab.lock")
REPOSITORY = Path(__file__).resolve().parents[3]


def cache_directory() -> Path:
    """Returns where images stay between labs: $XDG_CACHE_HOME or ~/.cache, then deltacrown-cutover."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "deltacrown-cutover"


@dataclasses.dataclass(frozen=True)
class Deployment:
    """What one deployment of the site has for itself alone; `name` is also its database and role there."""

    name: str
    bucket: str
    role: str

    @property
    def export(self) -> Path:
        """Returns the folder on the host that this deployment's machines see as MEDIA_ROOT."""
        return STATE_DIRECTORY / "exports" / self.name

    @property
    def environment_file(self) -> Path:
        """Returns the path of the flag file on this deployment's machines."""
        return Path(f"/etc/deltacrown/{self.name}.env")


DEPLOYMENTS: dict[str, Deployment] = {
    name: Deployment(name, names.bucket, names.role) for name, names in plan.load().deployments.items()
}


@dataclasses.dataclass(frozen=True)
class Machine:
    """One machine; without a deployment it serves no application (the load balancer)."""

    name: str
    address: str
    deployment: Deployment | None = None
    workers: tuple[str, ...] = ()

    @property
    def container(self) -> str:
        """Returns its name among the host's systemd-nspawn machines, of which others may be called `web1` too."""
        return f"{NAMESPACE}-{self.name}"

    @property
    def directory(self) -> Path:
        """Returns the folder of this machine's overlay and log."""
        return STATE_DIRECTORY / "machines" / self.name

    @property
    def root(self) -> Path:
        """Returns where this machine's root file system is mounted on the host."""
        return self.directory / "root"


MACHINES = {
    machine.name: machine
    for machine in (
        Machine("lb1", "10.213.77.5"),
        Machine("staging1", "10.213.77.11", DEPLOYMENTS["staging"], ("worker1", "worker2")),
        Machine("web1", "10.213.77.21", DEPLOYMENTS["production"], ("worker1", "worker4", "worker7", "worker10")),
        Machine("web2", "10.213.77.22", DEPLOYMENTS["production"], ("worker2", "worker5", "worker8")),
        Machine("web3", "10.213.77.23", DEPLOYMENTS["production"], ("worker3", "worker6", "worker9")),
    )
}
LOAD_BALANCER = MACHINES["lb1"]
LOAD_BALANCED = [machine for machine in MACHINES.values() if machine.deployment == DEPLOYMENTS["production"]]


def enlarge(machines: int) -> None:
    """Makes production so many machines, each new one with three workers, in the labs that this program raises.

    For the benchmark of the rollback; the rehearsal's inventory does not list the new ones.
    """
    for number in range(len(LOAD_BALANCED) + 1, machines + 1):
        workers = tuple(f"worker{worker}" for worker in range(1, 4))
        new = Machine(f"web{number}", f"10.213.77.{20 + number}", DEPLOYMENTS["production"], workers)
        MACHINES[new.name] = new
        LOAD_BALANCED.append(new)
