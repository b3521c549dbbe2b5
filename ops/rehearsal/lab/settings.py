"""The texts that configure the site on a machine: its flag file, its worker unit, its nginx."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from cutover import plan
from rehearsal.lab import database, site
from rehearsal.lab.commands import LabError
from rehearsal.lab.topology import (
    AWS_CERTIFICATE,
    CREDENTIALS_PATH,
    LOAD_BALANCED,
    MACHINES_DIRECTORY,
    MEDIA_ROOT,
    REGION,
    Deployment,
    Machine,
)

if TYPE_CHECKING:
    from rehearsal.lab.state import State

NGINX_SITE = Path("/etc/nginx/conf.d/deltacrown.conf")
WORKER_UNIT = Path("/etc/systemd/system/deltacrown-uwsgi@.service")


def files(machine: Machine, state: State, aws_endpoint: str) -> dict[Path, str]:
    """Returns a machine's files by their path on it; LabError if a template has a placeholder unknown here."""
    if machine.deployment is None:
        balanced = {MACHINES_DIRECTORY / f"{each.name}.conf": upstream(each) for each in LOAD_BALANCED}
        directory = {"MACHINES_DIRECTORY": str(MACHINES_DIRECTORY)}
        return {NGINX_SITE: render("nginx-load-balancer.conf.in", directory), **balanced}
    servers = [f"server unix:/run/deltacrown/{worker}.sock max_fails=0;" for worker in machine.workers]
    return {
        NGINX_SITE: render("nginx-machine.conf.in", {"WORKER_SOCKETS": "\n    ".join(servers)}),
        WORKER_UNIT: render(WORKER_UNIT.name, {"DEPLOYMENT": machine.deployment.name}),
        machine.deployment.environment_file: flag_file(machine.deployment, state, aws_endpoint),
    }


def flag_file(deployment: Deployment, state: State, aws_endpoint: str) -> str:
    """Returns the environment of a deployment's workers, all flags off."""
    values = {
        "DATABASE_URL": database.url(deployment, state.database_passwords[deployment.name]),
        "DJANGO_SECRET_KEY": state.secret_keys[deployment.name],
        "MEDIA_ROOT": str(MEDIA_ROOT),
        "AWS_STORAGE_BUCKET_NAME": deployment.bucket,
        "AWS_S3_REGION_NAME": REGION,
        "AWS_ENDPOINT_URL_S3": aws_endpoint,
        "AWS_ENDPOINT_URL_STS": aws_endpoint,  # where the data tools' --role-arn is assumed
        "AWS_CA_BUNDLE": str(AWS_CERTIFICATE),
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": CREDENTIALS_PATH,
        **dict.fromkeys(plan.load().variables.values(), "false"),
    }
    return "".join(f"{key}={value}\n" for key, value in values.items())


def upstream(machine: Machine) -> str:
    """Returns the load balancer's line for a machine; after one failure it is left alone for five seconds."""
    return f"server {machine.address}:80 max_fails=1 fail_timeout=5s;\n"


def render(template: str, values: dict[str, str]) -> str:
    """Returns a file of the site's `deploy` folder with its `@NAME@` placeholders filled in, comments left out.

    LabError if one is not in `values`.
    """
    lines = (site.DEPLOY / template).read_text().splitlines(keepends=True)
    text = "".join(line for line in lines if not line.lstrip().startswith("#"))
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    if unknown := re.search(r"@[A-Z_]+@", text):
        raise LabError(f"{site.DEPLOY / template} has the placeholder {unknown[0]}, which the lab does not know.")
    return text
