"""A PostgreSQL cluster of the lab's own, in the lab's network; the host's clusters are never touched.

It holds a database and a role for each deployment; a role can connect to its own database only.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rehearsal.lab import cgroups
from rehearsal.lab.commands import run
from rehearsal.lab.topology import (
    DATABASE_PORT,
    DEPLOYMENTS,
    SERVICES_ADDRESS,
    STATE_DIRECTORY,
    SUBNET,
    Deployment,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRAMS = Path("/usr/lib/postgresql/15/bin")
DIRECTORY = STATE_DIRECTORY / "postgresql"
CLUSTER = DIRECTORY / "cluster"
NAMED_BACKUP = STATE_DIRECTORY / "database-backup.txt"  # the rehearsal's inventory reads it
# The data is thrown away with the lab, so that nothing need survive a power cut: no fsync.
SETTINGS = f"""\
listen_addresses = '{SERVICES_ADDRESS}'
port = {DATABASE_PORT}
unix_socket_directories = '{DIRECTORY}'
fsync = off
synchronous_commit = off
full_page_writes = off
max_connections = 100
password_encryption = 'scram-sha-256'
timezone = 'UTC'
"""


def start(passwords: Mapping[str, str]) -> None:
    """Makes the cluster and its databases, and starts it; `passwords` is by deployment. Raises LabError."""
    DIRECTORY.mkdir()
    shutil.chown(DIRECTORY, "postgres", "postgres")
    initdb = ("--auth=peer", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions")
    run([*_as_postgres(), PROGRAMS / "initdb", *initdb, "--pgdata", CLUSTER])
    with (CLUSTER / "postgresql.conf").open("a") as settings:
        settings.write(SETTINGS)
    (CLUSTER / "pg_hba.conf").write_text(access_rules())
    server = ("--wait", "--silent", "--pgdata", CLUSTER, "--log", DIRECTORY / "server.log")
    run([*cgroups.command_prefix("services"), *_as_postgres(), PROGRAMS / "pg_ctl", "start", *server])
    psql = ("psql", "--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--host", DIRECTORY, "postgres")
    # On stdin: an argument could be read by anyone on this host.
    run([*_as_postgres(), *psql], stdin="".join(_creation(name, passwords[name]) for name in DEPLOYMENTS))


def stop() -> None:
    """Ends the server, if it runs, in the way that frees its shared memory; a kill would leave it behind."""
    if (CLUSTER / "postmaster.pid").exists():
        stopping = ("stop", "--mode=immediate", "--silent", "--pgdata", CLUSTER)
        run([*_as_postgres(), PROGRAMS / "pg_ctl", *stopping])


def url(deployment: Deployment, password: str) -> str:
    """Returns the DATABASE_URL of a deployment."""
    return f"postgres://{deployment.name}:{password}@{SERVICES_ADDRESS}:{DATABASE_PORT}/{deployment.name}"


def back_up(deployment: Deployment) -> str:
    """Dumps a deployment's database, and writes the line by which the rehearsal's inventory names the dump.

    Returns that line, `<ISO 8601 time> <name>`. Raises LabError.
    """
    moment = datetime.now(UTC)
    dump = DIRECTORY / f"{deployment.name}-{moment:%Y%m%dT%H%M%SZ}.dump"
    dumping = ("--format=custom", "--host", DIRECTORY, "--file", dump, deployment.name)
    run([*_as_postgres(), PROGRAMS / "pg_dump", *dumping])
    line = f"{moment:%Y-%m-%dT%H:%M:%SZ} {dump.name}"
    NAMED_BACKUP.write_text(f"{line}\n", encoding="utf-8")
    return line


def access_rules() -> str:
    """Returns pg_hba.conf: over the lab's network each role reaches its own database, and nothing else."""
    own = [f"host {name} {name} {SUBNET} scram-sha-256" for name in DEPLOYMENTS]
    return "\n".join(["local all postgres peer", *own, ""])


def _creation(name: str, password: str) -> str:
    return (
        f"CREATE ROLE {name} LOGIN PASSWORD '{password}';\n"
        f"CREATE DATABASE {name} OWNER {name};\n"
        f"REVOKE ALL ON DATABASE {name} FROM PUBLIC;\n"
    )


def _as_postgres() -> list[str]:
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--"]
