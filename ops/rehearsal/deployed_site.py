"""The stand-in application on the lab's machines: tables, accounts, and a client that is signed in."""

from __future__ import annotations

import json
import secrets
import subprocess
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg

from cutover import fleet
from rehearsal import traffic
from rehearsal.lab import LabError, access, database, reach
from rehearsal.lab.topology import DEPLOYMENTS, MACHINES, STATE_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rehearsal.lab import Lab

__all__ = ["FIRST_MACHINE", "age", "deploy", "flip", "new_passwords", "shell", "state_of", "status_of"]

PASSWORDS = STATE_DIRECTORY / "site-passwords.json"  # the rehearsal's inventory reads the probe's from there
ACCOUNTS = {"load-staff": "LOAD_STAFF", "probe": "PROBE", "organiser": "ORGANISER", "customer": "CUSTOMER"}
AGE = timedelta(days=30)
FIRST_MACHINE = {"staging": "staging1", "production": "web1"}


def new_passwords() -> dict[str, str]:
    """Makes the accounts' passwords and keeps them in a file that only root can read."""
    passwords = {account: secrets.token_urlsafe(18) for account in ACCOUNTS}
    PASSWORDS.touch(mode=0o600)
    PASSWORDS.write_text(json.dumps(passwords), encoding="utf-8")
    return passwords


def deploy(deployment: str, passwords: Mapping[str, str]) -> traffic.Client:
    """Makes the deployment's tables and accounts and returns a client signed in as staff; LabError if that fails."""
    _manage(deployment, "migrate --verbosity=0")
    _manage(deployment, "seed_rehearsal", passwords)
    client = traffic.Client(reach.site_urls()[deployment])
    client.sign_in("load-staff", passwords["load-staff"])
    return client


def age(lab: Lab, deployment: str) -> None:
    """Makes the certificates a month old: younger ones than its look-back the sweep would migrate by itself."""
    url = database.url(DEPLOYMENTS[deployment], lab.state.database_passwords[deployment])
    with psycopg.connect(url) as connection:
        connection.execute(
            "UPDATE tournament_engine_certificate_certificate SET created_at = created_at - %(age)s, "
            "updated_at = updated_at - %(age)s, generated_at = generated_at - %(age)s",
            {"age": AGE},
        )


def status_of(lab: Lab, machine: str) -> dict[str, Any]:
    """What the processes of a machine hold, proven (exit code 0 of the script) or not (1)."""
    command = "sudo deltacrown-s3-rollback --status || test $? = 1"
    return fleet.machine_report(lab.run(machine, ["sh", "-c", command]))


def flip(lab: Lab, machine: str, flags: str) -> dict[str, Any]:
    """Sets the flags of all workers of a machine as a step does; LabError if one is not proven."""
    epoch = str(status_of(lab, machine)["epoch"])
    command = ["sudo", "deltacrown-s3-rollback", "--flags", flags, "--epoch", epoch]
    return fleet.machine_report(lab.run(machine, command))


def state_of(lab: Lab, machine: str) -> tuple[object, ...]:
    """Everything that a flip would change: processes, epoch, the bytes of the flag files."""
    status = status_of(lab, machine)
    files = lab.run(machine, ["sudo", "sh", "-c", "find /etc/deltacrown -type f -exec sha256sum {} + | sort"])
    return status["processes"], status["epoch"], files


def shell(deployment: str, script: str, *, seconds: float = 120.0) -> subprocess.CompletedProcess[str]:
    """Runs a bash script as the site's user with the site's environment, in a new directory that holds manage.py.

    The script goes in by stdin, so that it may hold secrets; its exit code is the answer's. LabError after `seconds`.
    """
    machine = FIRST_MACHINE[deployment]
    start = (
        f"set -a; . {DEPLOYMENTS[deployment].environment_file}; PATH=/opt/deltacrown/venv/bin:$PATH; set +a; "
        "exec setpriv --reuid=www-data --regid=www-data --init-groups sh -c '"
        "cd $(mktemp --directory) && ln -s /opt/deltacrown/app/manage.py . && exec bash -s'"
    )
    try:
        return subprocess.run(
            access.command(MACHINES[machine], ["sudo", "sh", "-c", start]),
            input=script,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise LabError(f"A script of {deployment} on {machine} did not end within {seconds:g} s.") from error


def _manage(deployment: str, command: str, passwords: Mapping[str, str] | None = None) -> None:
    """Runs a command of manage.py; passwords become variables of its own."""
    lines = [f"export {ACCOUNTS[account]}_PASSWORD={value}" for account, value in (passwords or {}).items()]
    result = shell(deployment, "\n".join([*lines, f"python manage.py {command}"]))
    if result.returncode != 0:
        said = (result.stderr.strip() or result.stdout.strip() or "nothing").splitlines()[-1]
        raise LabError(f"manage.py {command} of {deployment} ended with {result.returncode}: {said}")
