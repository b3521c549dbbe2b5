"""The stand-in application on the lab's machines: tables, accounts, and a client that is signed in."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

from cutover import fleet
from rehearsal import traffic
from rehearsal.lab import reach
from rehearsal.lab.topology import DEPLOYMENTS, STATE_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rehearsal.lab import Lab

__all__ = ["deploy", "flip", "new_passwords", "state_of", "status_of"]

PASSWORDS = STATE_DIRECTORY / "site-passwords.json"  # the rehearsal's inventory reads the probe's from there
ACCOUNTS = {"load-staff": "LOAD_STAFF", "probe": "PROBE", "organiser": "ORGANISER", "customer": "CUSTOMER"}
FIRST_MACHINE = {"staging": "staging1", "production": "web1"}


def new_passwords() -> dict[str, str]:
    """Makes the accounts' passwords and keeps them in a file that only root can read."""
    passwords = {account: secrets.token_urlsafe(18) for account in ACCOUNTS}
    PASSWORDS.touch(mode=0o600)
    PASSWORDS.write_text(json.dumps(passwords), encoding="utf-8")
    return passwords


def deploy(lab: Lab, deployment: str, passwords: Mapping[str, str]) -> traffic.Client:
    """Makes the deployment's tables and accounts and returns a client signed in as staff; LabError if that fails."""
    _manage(lab, deployment, "migrate", "--verbosity=0")
    _manage(lab, deployment, "seed_rehearsal", passwords=passwords)
    client = traffic.Client(reach.site_urls()[deployment])
    client.sign_in("load-staff", passwords["load-staff"])
    return client


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


def _manage(lab: Lab, deployment: str, *arguments: str, passwords: Mapping[str, str] | None = None) -> None:
    """Runs manage.py as the site's user with the site's environment; passwords go through stdin, never argv."""
    lines = [f"{ACCOUNTS[account]}_PASSWORD={value}" for account, value in (passwords or {}).items()]
    script = (
        f"set -a; . {DEPLOYMENTS[deployment].environment_file}; . /dev/stdin; cd /opt/deltacrown/app; "
        "exec setpriv --reuid=www-data --regid=www-data --init-groups "
        f"/opt/deltacrown/venv/bin/python manage.py {' '.join(arguments)}"
    )
    lab.run(
        FIRST_MACHINE[deployment],
        ["sudo", "sh", "-c", script],
        stdin="\n".join(lines) + "\n",
    )
