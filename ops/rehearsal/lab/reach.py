"""How a person reaches what runs in the lab."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from rehearsal.lab import access, monitoring
from rehearsal.lab.topology import (
    DATABASE_PORT,
    DEPLOYMENTS,
    LOAD_BALANCER,
    MACHINES,
    REGION,
    SERVICES_ADDRESS,
    STATE_DIRECTORY,
)

if TYPE_CHECKING:
    from rehearsal.aws_stand_in import AwsStandIn
    from rehearsal.lab.lab import Lab
    from rehearsal.lab.state import State

DATABASE_LOGINS = STATE_DIRECTORY / "pgpass"
AWS_PROFILE = STATE_DIRECTORY / "aws-credentials"


def site_urls() -> dict[str, str]:
    """Returns each deployment's address: production behind its load balancer, staging on its one machine."""
    return {
        "staging": f"http://{MACHINES['staging1'].address}",
        "production": f"http://{LOAD_BALANCER.address}",
    }


def write_passwords(state: State, aws: AwsStandIn) -> None:
    """Writes the secrets where psql and the AWS tools look for them, so that no hint need show one."""
    address = f"{SERVICES_ADDRESS}:{DATABASE_PORT}"
    logins = [f"{address}:{name}:{name}:{state.database_passwords[name]}" for name in DEPLOYMENTS]
    profile = ["[default]", f"aws_access_key_id = {aws.access_key}", f"aws_secret_access_key = {aws.secret_key}"]
    for path, lines in ((DATABASE_LOGINS, logins), (AWS_PROFILE, profile)):
        path.touch(mode=0o600)
        path.write_text("\n".join([*lines, ""]))


def hints(lab: Lab) -> str:
    """Returns lines to copy into a shell; LabError if no lab is up."""
    aws = lab.aws
    lines = [
        f"{shlex.join(access.command(machine))}    # {' '.join(machine.workers) or 'the load balancer'}"
        for machine in MACHINES.values()
    ]
    psql = f"PGPASSFILE={DATABASE_LOGINS} psql --host={SERVICES_ADDRESS} --port={DATABASE_PORT}"
    for name, url in site_urls().items():
        lines += [f"curl {url}/    # {name}", f"{psql} --username={name} {name}"]
    lines += [
        "# aws and boto3, as the stand-in's root:",
        f"export AWS_ENDPOINT_URL={aws.endpoint_url} AWS_CA_BUNDLE={aws.ca_file} AWS_DEFAULT_REGION={REGION}",
        f"export AWS_SHARED_CREDENTIALS_FILE={AWS_PROFILE}",
        f"export AWS_ENDPOINT_URL_CLOUDWATCH={monitoring.place().endpoint_url}    # and `cutover alarms silence`",
        f"curl {monitoring.incidents_url()}    # what the pager shows",
        "make lab-down    # removes it all",
    ]
    return "\n".join(lines)
