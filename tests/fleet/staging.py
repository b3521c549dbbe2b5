"""Staging as the tests of its steps need it: what it holds, what is broken in it, and how all of it is put back."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import psycopg
from psycopg import sql

from cutover import fleet, plan
from cutover.alarms import live
from rehearsal import data_acts, deployed_site, monitoring_stand_in, playbook, traffic
from rehearsal.lab import database, monitoring, reach
from rehearsal.lab.topology import DEPLOYMENTS, MACHINES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cutover.plan import Deployment
    from rehearsal.lab import Lab
    from rehearsal.playbook import PlaybookRun

MACHINE, STAGING = "staging1", DEPLOYMENTS["staging"]
CERTIFICATES = 320  # a sample of 100 and 100 unmigrated ones, and no share that the sweep takes for stragglers
EVIDENCE = "/var/lib/deltacrown-cutover/evidence"
LOCK = "/run/deltacrown/cutover.lock"
TABLE = sql.Identifier("tournament_engine_certificate_certificate")
ALARM_SECONDS = 240.0  # no-consistency-check is judged by the hour: 180 s here
POLL_SECONDS = 0.5
# Where a step could leave something behind. The sweep's own files and compiled Python come and go by themselves.
LOOKED_AT = "/etc /opt/deltacrown/app /usr/local /var/lib/deltacrown-cutover /run/deltacrown"
NOT_LOOKED_AT = ("*/__pycache__*", "*/deltacrown-cutover/deltacrown-certificates-*")
AlarmState = Literal["OK", "ALARM", "INSUFFICIENT_DATA"]


def wait_for_alarms(deployment: Deployment, step: int, *, quiet_seconds: float = 0.0) -> None:
    """Returns once every alarm has let this step start for so long; an earlier test may ring one a while later."""
    began = quiet_since = time.monotonic()
    while True:
        now = time.monotonic()
        if loud := _loud(deployment, step):
            assert now < began + ALARM_SECONDS, loud
            quiet_since = now
        elif now >= quiet_since + quiet_seconds:
            return
        time.sleep(POLL_SECONDS)


def _loud(deployment: Deployment, step: int) -> list[str]:
    states: live.States = {name: (state, None) for name, state in monitoring.require_live_engine().states.items()}
    return [str(alarm) for alarm in live.judge(plan.load(), deployment, states, step) if not alarm.ok]


@dataclass(frozen=True)
class Staging:
    """The lab's staging deployment; `copies` is the control machine's copy of its evidence."""

    lab: Lab
    copies: Path

    def play(self, step: int, *arguments: str) -> PlaybookRun:
        """Runs a step's playbook to its end."""
        return self.start(step, *arguments).wait()

    def start(self, step: int, *arguments: str) -> playbook.StartedPlaybook:
        """Starts a step's playbook; each has a folder for its log."""
        directory = self.copies.parent / f"run-{time.monotonic_ns()}"
        own = f"evidence_copies={self.copies}"
        return playbook.start(f"go-live-step{step}.yml", "-e", own, *arguments, log_directory=directory)

    @property
    def chain(self) -> Path:
        """The folder of its evidence, as this host sees it."""
        return MACHINES[MACHINE].root / EVIDENCE.lstrip("/")

    def records(self) -> list[dict[str, Any]]:
        """The records of the chain, oldest first, as their files have them."""
        return [json.loads(file.read_bytes()) for file in sorted(self.chain.glob("*.json"))]

    def sudo(self, script: str, *arguments: str) -> str:
        """Runs a line of shell as root on the machine."""
        return self.lab.run(MACHINE, ["sudo", "sh", "-c", script, "sh", *arguments])

    def sample(self) -> list[data_acts.Row]:
        """The rows that step 3 migrates."""
        return data_acts.certificates(self.lab, "ORDER BY id LIMIT %s", data_acts.SAMPLE)

    def marked(self) -> set[int]:
        """The ids of the rows that are marked as migrated."""
        return {row.id for row in data_acts.certificates(self.lab, "WHERE migrated_to_s3_at IS NOT NULL")}

    def connect(self) -> psycopg.Connection:
        """A connection to its database."""
        return psycopg.connect(database.url(STAGING, self.lab.state.database_passwords["staging"]))

    def is_in(self, mode: str) -> bool:
        """Whether every process holds the flags of this mode, and nobody holds the lock."""
        processes = deployed_site.status_of(self.lab, MACHINE)["processes"]
        wanted = fleet.triple(plan.load().modes[mode].flags)
        held = self.sudo(f"test ! -e {LOCK} || cat {LOCK}").strip()
        return len(processes) >= 4 and not fleet.processes_not_holding(processes, wanted) and not held

    def nothing_migrated(self) -> None:
        """Takes every mark and every object of a certificate away, with all versions."""
        with self.connect() as connection:
            connection.execute(sql.SQL("UPDATE {} SET migrated_to_s3_at = NULL").format(TABLE))
        s3 = self.lab.aws.s3()
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=STAGING.bucket, Prefix="certificates/"):
            gone = [
                {"Key": version["Key"], "VersionId": version["VersionId"]}
                for version in (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))
            ]
            if gone:
                s3.delete_objects(Bucket=STAGING.bucket, Delete={"Objects": gone, "Quiet": True})  # type: ignore[typeddict-item]

    def versions(self) -> dict[str, int]:
        """How many versions the sample's objects have: one for each time that they were stored."""
        keys = {key for row in self.sample() for key in (row.file_pdf, row.file_image)}
        counts: dict[str, int] = {}
        pages = self.lab.aws.s3().get_paginator("list_object_versions")
        for page in pages.paginate(Bucket=STAGING.bucket, Prefix="certificates/"):
            for version in page.get("Versions", ()):
                if version["Key"] in keys:
                    counts[version["Key"]] = counts.get(version["Key"], 0) + 1
        return counts

    def wait_for_alarms(self, step: int) -> None:
        """Returns once every alarm lets this step start; they are young in a young lab."""
        wait_for_alarms("staging", step)

    def everything(self) -> dict[str, object]:
        """What `--check` must leave alone: the machine's files and flags, the database, the bucket, the shared disk."""
        found = " ".join([f"find {LOOKED_AT}", *(f"! -path '{pattern}'" for pattern in NOT_LOOKED_AT)])
        listing = f"{found} -printf '%p %y %u %m %l\\n' | sort; {found} -type f -exec sha256sum {{}} + | sort -k 2"
        export = (f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in STAGING.export.rglob("*"))
        return {
            "processes": deployed_site.state_of(self.lab, MACHINE),
            "files": self.sudo(listing).splitlines(),
            "units": self.sudo("systemctl list-units --all --plain --no-legend 'deltacrown-backfill*'"),
            "database": self._database(),
            "bucket": self._objects(),
            "shared disk": sorted(export),
            "copies": sorted(path.name for path in self.copies.glob("*")),
        }

    def _database(self) -> dict[str, str]:
        """A hash of each table's rows."""
        with self.connect() as connection:
            tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
            names = [name for (name,) in tables]
            hashed = sql.SQL("SELECT coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '') FROM {} AS t")
            found = {name: connection.execute(hashed.format(sql.Identifier(name))).fetchone() for name in names}
        return {name: row[0] for name, row in found.items() if row is not None}

    def _objects(self) -> list[tuple[str, str]]:
        """Every version in the bucket but for the probe's, which writes one every few seconds."""
        pages = self.lab.aws.s3().get_paginator("list_object_versions").paginate(Bucket=STAGING.bucket)
        every = [each for page in pages for kind in ("Versions", "DeleteMarkers") for each in page.get(kind, ())]  # type: ignore[attr-defined]
        probe = plan.load().telemetry.probe.prefix
        own = [each for each in every if not each["Key"].startswith(probe) or "doctor-" in each["Key"]]
        return sorted((each["Key"], each["VersionId"]) for each in own)


@contextmanager
def prepared(lab: Lab, copies: Path) -> Iterator[Staging]:
    """Staging in mode local with an empty chain, nothing migrated and a named backup; afterwards as it was before."""
    staging, kept = Staging(lab, copies), f"{EVIDENCE}-kept"
    before, marked = deployed_site.status_of(lab, MACHINE)["processes"][0], staging.marked()
    flags = ",".join(str(bool(before[name])).lower() for name in ("dual_write", "read_primary", "backfill"))
    local, dual_write = (fleet.triple(plan.load().modes[mode].flags) for mode in ("local", "dual-write"))
    deployed_site.flip(lab, MACHINE, local)
    issue_missing(lab)
    # What a killed run of these tests left is no chain that anybody wants back.
    staging.sudo(f"if test -e {kept}; then rm -rf {EVIDENCE}; elif test -e {EVIDENCE}; then mv {EVIDENCE} {kept}; fi")
    forget_copies(lab)
    try:
        staging.sudo(f"rm -f {LOCK}")
        staging.nothing_migrated()
        # Its line is what the alarm waits for; that nothing is migrated is no failure of the unit.
        staging.sudo("systemctl start cutover-check.service")
        database.back_up(STAGING)
        yield staging
    finally:
        staging.sudo(f"systemctl stop deltacrown-backfill 2>/dev/null; rm -rf {LOCK} {EVIDENCE}")
        staging.sudo(f"if test -e {kept}; then mv {kept} {EVIDENCE}; fi")
        forget_copies(lab)
        staging.nothing_migrated()
        if marked:
            deployed_site.flip(lab, MACHINE, dual_write)
            deployed_site.shell("staging", "cutover backfill --json")
        deployed_site.flip(lab, MACHINE, flags)


def issue_missing(lab: Lab) -> None:
    """Issues what is missing of the certificates, and makes all of them older than the sweep looks back."""
    missing = CERTIFICATES - len(data_acts.certificates(lab, ""))
    if missing <= 0:
        return
    client = traffic.Client(reach.site_urls()["staging"])
    client.sign_in("load-staff", json.loads(deployed_site.PASSWORDS.read_text())["load-staff"])
    traffic.issue_many(client, traffic.sizes(missing))
    deployed_site.age(lab, "staging")


@contextmanager
def damaged_file(key: str) -> Iterator[None]:
    """A file on the shared disk that is no longer the one that was issued, during the block."""
    path = STAGING.export / key
    whole = path.read_bytes()
    path.write_bytes(_other_bytes(whole))
    try:
        yield
    finally:
        path.write_bytes(whole)


@contextmanager
def broken_objects(lab: Lab, *, wrong: str, missing: str, longer: bool = False) -> Iterator[None]:
    """During the block one object has other bytes, and one is gone; `longer` makes the wrong one a byte longer."""
    s3 = lab.aws.s3()
    whole = {key: s3.get_object(Bucket=STAGING.bucket, Key=key)["Body"].read() for key in (wrong, missing)}
    body = _other_bytes(whole[wrong]) + b"\n" * longer
    s3.put_object(Bucket=STAGING.bucket, Key=wrong, Body=body, ChecksumAlgorithm="SHA256")
    s3.delete_object(Bucket=STAGING.bucket, Key=missing)
    try:
        yield
    finally:
        for key, body in whole.items():
            s3.put_object(Bucket=STAGING.bucket, Key=key, Body=body, ChecksumAlgorithm="SHA256")


@contextmanager
def row_held(staging: Staging, certificate_id: int) -> Iterator[None]:
    """A transaction holds a row, so that the backfill stops in the middle, before it marks this certificate."""
    with staging.connect() as connection:
        held = sql.SQL("SELECT id FROM {} WHERE id = %s FOR UPDATE").format(TABLE)
        connection.execute(held, [certificate_id])
        yield


@contextmanager
def alarm_states(**states: AlarmState) -> Iterator[None]:
    """Alarms of staging, by their names with _ for -, in other states during the block.

    The alarm engine writes a state when it changes, so it does not write over these while the alarms' measures are as
    they were: all of them must be in OK.
    """
    cloudwatch = monitoring_stand_in.load(monitoring.DIRECTORY).cloudwatch()
    names = {f"deltacrown-staging-{name.replace('_', '-')}": state for name, state in states.items()}
    assert {monitoring.require_live_engine().states[name] for name in names} == {"OK"}
    try:
        for name, state in names.items():
            cloudwatch.set_alarm_state(AlarmName=name, StateValue=state, StateReason="test")
        yield
    finally:
        for name in names:
            cloudwatch.set_alarm_state(AlarmName=name, StateValue="OK", StateReason="test")


def _other_bytes(whole: bytes) -> bytes:
    """As many bytes, the last one another."""
    return whole[:-1] + bytes([whole[-1] ^ 1])


def forget_copies(lab: Lab) -> None:
    """Empties the backups bucket of evidence: another chain's copy would refuse every step of the tests' own one."""
    bucket = plan.load().deployments["production"].backups_bucket
    assert bucket is not None
    s3 = lab.aws.s3()
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="evidence/"):
        for found in page.get("Contents", ()):
            s3.delete_object(Bucket=bucket, Key=found["Key"])
