"""Staging, on which scenarios are played and S3's requests are counted at the server."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cutover import fleet, plan, rollback_table
from rehearsal import deployed_site, playbook, traffic
from rehearsal.lab import reach
from rehearsal.lab.lab import AWS_DIRECTORY
from rehearsal.lab.topology import DEPLOYMENTS
from rehearsal.s3_requests import Requests

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cutover.rollback_table import Flags
    from rehearsal.lab import Lab
    from rehearsal.playbook import PlaybookRun

MACHINE, STAGING = "staging1", DEPLOYMENTS["staging"]
TABLE = plan.load()
BACKFILL = f"/usr/local/bin/cutover backfill --env-file {STAGING.environment_file}"


@dataclass(frozen=True)
class RollbackSite:
    """Staging with one certificate that is migrated; `directory` takes the playbooks' logs and copies of evidence."""

    lab: Lab
    client: traffic.Client
    migrated: traffic.Issued
    directory: Path

    def bring_to(self, mode: str) -> Flags:
        """Brings every worker into a mode, and returns its flags."""
        flags = TABLE.modes[mode].flags
        deployed_site.flip(self.lab, MACHINE, fleet.triple(flags))
        return flags["dual_write"], flags["read_primary"], flags["backfill"]

    def play(self, name: str, *arguments: str) -> PlaybookRun:
        """Plays a playbook on staging."""
        own = ("-e", "deployment=staging", "-e", f"evidence_copies={self.directory}/copies")
        return playbook.run(name, *own, *arguments, log_directory=self.directory)

    def use_as_customers_do(self) -> None:
        """Issues, downloads and removes a certificate, and downloads the migrated one and asks for its URLs."""
        (issued,) = traffic.issue_many(self.client, [20])
        for certificate in (issued, self.migrated):
            self.client.download(certificate)
            self.client.urls(certificate.id)
        self.client.remove(issued.id)

    def sudo(self, script: str) -> str:
        """Runs a line of shell as root on the machine."""
        return self.lab.run(MACHINE, ["sudo", "sh", "-c", script])

    def start_backfill(self, unit: str) -> None:
        """A real backfill that takes a minute for a handful of certificates, in a unit of this name."""
        as_user = "--uid=www-data --gid=www-data"
        self.sudo(f"systemd-run --quiet --collect --unit={unit} {as_user} {BACKFILL} --max-rate 0.2")

    def is_at_work(self, unit: str) -> bool:
        """Whether this unit runs."""
        return self.sudo(f"systemctl is-active {unit} || true").strip() in {"active", "activating"}


@contextmanager
def prepared(lab: Lab, directory: Path) -> Iterator[RollbackSite]:
    """The site with a migrated certificate; in mode local afterwards."""
    client = traffic.Client(reach.site_urls()["staging"])
    client.sign_in("load-staff", json.loads(deployed_site.PASSWORDS.read_text())["load-staff"])
    deployed_site.flip(lab, MACHINE, fleet.triple(TABLE.modes["dual-write"].flags))
    (migrated, *others) = traffic.issue_many(client, traffic.sizes(12))
    site = RollbackSite(lab, client, migrated, directory)
    site.sudo(f"setpriv --reuid=www-data --regid=www-data --init-groups {BACKFILL} --certificate-id {migrated.id}")
    try:
        yield site
    finally:
        deployed_site.flip(lab, MACHINE, fleet.triple(TABLE.modes["dual-write"].flags))
        for certificate in (migrated, *others):
            client.remove(certificate.id)
        site.sudo("deltacrown-s3-rollback")


def judge(site: RollbackSite, scenario: str, flags: Flags) -> None:
    """Customers use the site after a rollback from these flags, and the server sees what the table says, no more."""
    expected = rollback_table.outcome(TABLE, scenario, flags)
    requests = Requests.from_now(AWS_DIRECTORY)
    site.use_as_customers_do()
    site.sudo("systemctl start deltacrown-sweep.service || true")  # as its timer would
    asked = set(requests.operations(STAGING.bucket))
    always = {"PutObject", "GetObject", "DeleteObject"} & expected.calls
    assert always <= asked <= expected.calls, (scenario, flags, asked)
    swept = requests.operations(STAGING.bucket, "cutover-sweep")
    assert expected.flags[0] or not swept, swept
