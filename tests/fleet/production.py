"""Production as the tests of its steps need it: what it holds, what is broken in it, and how all of it is put back."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from cutover import fleet, plan
from rehearsal import deployed_site, playbook, traffic
from rehearsal.lab import database, reach
from rehearsal.lab.topology import DEPLOYMENTS, MACHINES
from tests.fleet import staging
from tests.fleet.staging import EVIDENCE, LOCK, TABLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from rehearsal.lab import Lab
    from rehearsal.playbook import PlaybookRun

PRODUCTION = DEPLOYMENTS["production"]
WEBS = tuple(machine.name for machine in MACHINES.values() if machine.deployment == PRODUCTION)
DATA_HOST = WEBS[0]
STAGING_CHAIN = WEBS[1]  # where the tests seal staging's evidence: staging itself is left alone
CERTIFICATES = 300  # more than a batch of the sweep, which would else migrate what a test has unmarked
PROBE_TOURNAMENT = 2
# A soak of fifteen seconds, a minute at most: the probes take forty seconds for the sixty samples of upload_p95.
TIME_SCALE = 120
POLICY = "S3CertificateAccess"
POLL_SECONDS = 0.5
QUIET_SECONDS = 20.0  # a period of the alarms that look at three of them is 15 s here


@dataclass(frozen=True)
class Production:
    """The lab's production deployment; `copies` is the control machine's copy of its evidence."""

    lab: Lab
    copies: Path

    def play(self, step: int, *arguments: str) -> PlaybookRun:
        """Runs a step's playbook to its end."""
        return self.start(step, *arguments).wait()

    def start(self, step: int, *arguments: str) -> playbook.StartedPlaybook:
        """Starts a step's playbook with time compressed; each has a folder for its log."""
        own = {"evidence_copies": self.copies, "time_scale": TIME_SCALE}
        if step == 6:
            own["step_previous_data_host"] = STAGING_CHAIN
        options = [option for name, value in own.items() for option in ("-e", f"{name}={value}")]
        directory = self.copies.parent / f"run-{time.monotonic_ns()}"
        return playbook.start(f"go-live-step{step}.yml", *options, *arguments, log_directory=directory)

    @property
    def chain(self) -> Path:
        """The folder of its evidence, as this host sees it."""
        return MACHINES[DATA_HOST].root / EVIDENCE.lstrip("/")

    def records(self) -> list[dict[str, Any]]:
        """The records of the chain, oldest first, as their files have them."""
        return [json.loads(file.read_bytes()) for file in sorted(self.chain.glob("*.json"))]

    def sudo(self, machine: str, script: str, *arguments: str) -> str:
        """Runs a line of shell as root on a machine."""
        return self.lab.run(machine, ["sudo", "sh", "-c", script, "sh", *arguments])

    def sudo_on_all(self, script: str) -> list[str]:
        """Runs a line of shell as root on every machine at once."""
        with ThreadPoolExecutor(len(WEBS)) as pool:
            return list(pool.map(lambda machine: self.sudo(machine, script), WEBS))

    def processes(self) -> list[dict[str, Any]]:
        """Every process of every worker."""
        with ThreadPoolExecutor(len(WEBS)) as pool:
            found = list(pool.map(lambda machine: deployed_site.status_of(self.lab, machine), WEBS))
        return [process for report in found for process in report["processes"]]

    def pids(self) -> dict[str, set[int]]:
        """The processes of each worker: others after each restart."""
        found: dict[str, set[int]] = {}
        for process in self.processes():
            found.setdefault(process["worker"], set()).add(process["pid"])
        return found

    def is_in(self, mode: str) -> bool:
        """Whether every process of every worker holds the flags of this mode, and nobody holds the lock."""
        processes = self.processes()
        workers = {(process["machine"], process["worker"]) for process in processes}
        wanted = fleet.triple(plan.load().modes[mode].flags)
        held = "".join(self.sudo_on_all(f"test ! -e {LOCK} || cat {LOCK}"))
        every = sum(len(MACHINES[machine].workers) for machine in WEBS)
        return len(workers) == every and not fleet.processes_not_holding(processes, wanted) and not held

    def flip(self, mode: str) -> None:
        """Brings every worker into a mode, machines side by side."""
        flags = fleet.triple(plan.load().modes[mode].flags)
        with ThreadPoolExecutor(len(WEBS)) as pool:
            list(pool.map(lambda machine: deployed_site.flip(self.lab, machine, flags), WEBS))

    def connect(self) -> psycopg.Connection:
        """A connection to its database."""
        return psycopg.connect(database.url(PRODUCTION, self.lab.state.database_passwords["production"]))

    def rows(self, condition: str) -> list[tuple[int, str]]:
        """Id and name of the PDF of the certificates that fulfil a condition of SQL."""
        query = sql.SQL("SELECT id, file_pdf FROM {} ").format(TABLE)
        with self.connect() as connection:
            return list(connection.execute(query + sql.SQL(condition)))  # our own text

    def unmark(self, condition: str) -> None:
        """Takes the marks of the certificates that fulfil a condition of SQL."""
        query = sql.SQL("UPDATE {} SET migrated_to_s3_at = NULL ").format(TABLE)
        with self.connect() as connection:
            connection.execute(query + sql.SQL(condition))  # our own text

    def orphans(self) -> list[str]:
        """The objects of certificates that no row names."""
        query = sql.SQL("SELECT file_pdf FROM {table} UNION SELECT file_image FROM {table}").format(table=TABLE)
        with self.connect() as connection:
            named = {name for (name,) in connection.execute(query)}
        pages = self.lab.aws.s3().get_paginator("list_objects_v2")
        found = pages.paginate(Bucket=PRODUCTION.bucket, Prefix="certificates/")
        return [each["Key"] for page in found for each in page.get("Contents", ()) if each["Key"] not in named]

    def wait_for_alarms(self, step: int, *, quiet_seconds: float = 0.0) -> None:
        """Returns once every alarm has let this step start for so long."""
        staging.wait_for_alarms("production", step, quiet_seconds=quiet_seconds)


@contextmanager
def prepared(lab: Lab, copies: Path) -> Iterator[Production]:
    """Production in mode local, with evidence of staging's steps and of a drill; afterwards as it was before."""
    production = Production(lab, copies)
    before = _mode(production)
    if before != "local":
        production.sudo_on_all("deltacrown-s3-rollback")
    _issue(production)
    # What a killed run of these tests left is no chain that anybody wants back.
    aside = f"{EVIDENCE}-kept"
    keep = f"if test -e {aside}; then rm -rf {EVIDENCE}; elif test -e {EVIDENCE}; then mv {EVIDENCE} {aside}; fi"
    production.sudo_on_all(f"{keep}; rm -f {LOCK}")
    staging.forget_copies(lab)
    try:
        seal(lab, STAGING_CHAIN, passed_step(5))
        seal(lab, STAGING_CHAIN, drill("staging", "s3-reads"))
        seal(lab, DATA_HOST, drill("production", "dual-write"))
        # Its line is what the alarm waits for; that nothing is migrated is no failure of the unit.
        production.sudo(DATA_HOST, "systemctl start cutover-check.service")
        database.back_up(PRODUCTION)
        yield production
    finally:
        production.sudo_on_all(f"rm -rf {LOCK} {EVIDENCE}; if test -e {aside}; then mv {aside} {EVIDENCE}; fi")
        staging.forget_copies(lab)
        production.flip("dual-write")
        _remove_probes(production)
        if before != "dual-write":
            production.flip(before)


def _mode(production: Production) -> str:
    """The mode that every process holds."""
    (held,) = {fleet.held(process) for process in production.processes()}
    name = fleet.mode_named(plan.load().modes, held)
    assert name is not None, held
    return name


def client() -> traffic.Client:
    """A member of staff who issues, downloads and removes certificates."""
    staff = traffic.Client(reach.site_urls()["production"])
    staff.sign_in("load-staff", json.loads(deployed_site.PASSWORDS.read_text())["load-staff"])
    return staff


def _issue(production: Production) -> None:
    """Issues what is missing of the certificates, and makes all of them older than the sweep looks back."""
    missing = CERTIFICATES - len(production.rows(""))
    if missing > 0:
        traffic.issue_many(client(), traffic.sizes(missing))
        deployed_site.age(production.lab, "production")


def _remove_probes(production: Production) -> None:
    """Removes the certificates that a step issued and could not remove, because it was killed."""
    staff = client()
    for certificate_id, _ in production.rows(f"WHERE tournament_id = {PROBE_TOURNAMENT}"):
        staff.remove(certificate_id)


def seal(lab: Lab, machine: str, document: dict[str, object]) -> None:
    """Adds a record to the chain on a machine, as a step does."""
    lab.run(machine, ["sudo", "cutover", "evidence", "append"], stdin=json.dumps(document))


def passed_step(number: int) -> dict[str, object]:
    """A record of a step that met all its criteria."""
    step = plan.load().steps[number]
    criteria = [
        {"criterion": name, "wanted": str(bound), "measured": 1.0, "samples": 1, "verdict": "PASS"}
        for name, bound in step.criteria.items()
    ]
    return {"kind": "step", "step": number, "deployment": step.deployment, "verdict": "PASS", "criteria": criteria}


def drill(deployment: str, mode: str) -> dict[str, object]:
    """A record of a rollback drill from a mode that took four seconds."""
    return {"kind": "drill", "deployment": deployment, "verdict": "PASS", "mode": mode, "seconds": 4.0}


@contextmanager
def reads_denied(lab: Lab, role: str = PRODUCTION.role) -> Iterator[None]:
    """Takes s3:GetObject from a deployment's workers during the block: each read falls back to the local copy."""
    iam = lab.aws.iam()
    policy = iam.get_role_policy(RoleName=role, PolicyName=POLICY)["PolicyDocument"]
    denied = json.dumps(policy).replace('"s3:GetObject"', '"s3:GetObjectTagging"')
    iam.put_role_policy(RoleName=role, PolicyName=POLICY, PolicyDocument=denied)
    try:
        yield
    finally:
        iam.put_role_policy(RoleName=role, PolicyName=POLICY, PolicyDocument=json.dumps(policy))


@contextmanager
def damaged_file(key: str) -> Iterator[None]:
    """A file on the shared disk that is no longer the one that was issued, during the block."""
    path = PRODUCTION.export / key
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    try:
        yield
    finally:
        path.write_bytes(whole)


@contextmanager
def other_object(lab: Lab, key: str) -> Iterator[None]:
    """An object that has as many bytes as were issued, the last one another, during the block."""
    s3 = lab.aws.s3()
    whole = s3.get_object(Bucket=PRODUCTION.bucket, Key=key)["Body"].read()
    other = whole[:-1] + bytes([whole[-1] ^ 1])
    s3.put_object(Bucket=PRODUCTION.bucket, Key=key, Body=other, ChecksumAlgorithm="SHA256")
    try:
        yield
    finally:
        s3.put_object(Bucket=PRODUCTION.bucket, Key=key, Body=whole, ChecksumAlgorithm="SHA256")


@contextmanager
def marked_alone(production: Production, ids: Sequence[int]) -> Iterator[None]:
    """These certificates alone are marked as migrated during the block, so that a sample of as many holds them all."""
    listed = ", ".join(map(str, ids))
    others = [each for each, _ in production.rows(f"WHERE migrated_to_s3_at IS NOT NULL AND id NOT IN ({listed})")]
    production.unmark(f"WHERE id NOT IN ({listed})")
    try:
        yield
    finally:
        query = sql.SQL("UPDATE {} SET migrated_to_s3_at = now() WHERE id = ANY(%s)").format(TABLE)
        with production.connect() as connection:
            connection.execute(query, [others])


@contextmanager
def broken_worker(production: Production, machine: str, worker: str) -> Iterator[None]:
    """A worker that does not start with dual-write on, during the block."""
    file = f"/etc/systemd/system/deltacrown-uwsgi@{worker}.service.d/99-broken.conf"
    unit = "[Service]\\nExecStartPre=/bin/sh -c 'test \"$CERT_S3_DUAL_WRITE\" != true'\\n"
    production.sudo(machine, f"mkdir -p $(dirname {file}); printf '%b' \"$1\" > {file}; systemctl daemon-reload", unit)
    try:
        yield
    finally:
        production.sudo(machine, f"rm {file} && systemctl daemon-reload")
