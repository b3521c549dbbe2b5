"""The acts of a rehearsal, in order: cloud, site, step 1 under load, emergency rollback."""

from __future__ import annotations

import re
from contextlib import ExitStack
from typing import TYPE_CHECKING

from rehearsal import cloud, playbook, traffic
from rehearsal import deployed_site as site
from rehearsal.claims import ClaimError
from rehearsal.lab.topology import DEPLOYMENTS, MACHINES, REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rehearsal.claims import Claim, Claims
    from rehearsal.lab import Lab

__all__ = ["AVAILABLE_STEPS", "rehearse"]

AVAILABLE_STEPS = (1,)
CERTIFICATES = 300  # in each deployment before the first step
LOAD_PER_SECOND = 10.0  # on each deployment: twenty requests a second in all
LOGS = REPOSITORY / "var/rehearsal"
ROLLED_BACK = re.compile(r"ROLLED BACK: (\d+) processes proven in ([\d.]+) s")


def rehearse(lab: Lab, claims: Claims, steps: Sequence[int]) -> None:
    """Plays everything; the first claim that does not hold ends it with its error."""
    with claims.prove("the lab is up: 5 machines, PostgreSQL, AWS stand-in with IAM enforced"):
        lab.up()
    _deploy_cloud(lab, claims)
    clients = _deploy_site(lab, claims)
    with claims.prove("prepare-hosts.yml prepares every machine, and changes nothing when run again") as claim:
        _must_pass(playbook.run("prepare-hosts.yml", log_directory=LOGS))
        claim.proof = _must_change_nothing(playbook.run("prepare-hosts.yml", log_directory=LOGS))
    with ExitStack() as stack:
        loads = [stack.enter_context(traffic.Load(client, rate=LOAD_PER_SECOND)) for client in clients.values()]
        if 1 in steps:
            _step_1(claims)
        _emergency(lab, claims, clients)
    with claims.prove("no customer's request failed while flags changed and workers restarted") as claim:
        claim.proof = _no_request_failed(loads)


def _deploy_cloud(lab: Lab, claims: Claims) -> None:
    with cloud.stacks(lab) as deployed:
        with claims.prove("pulumi up provisions staging and production in one account"):
            cloud.up(deployed)
        with claims.prove("a second preview finds nothing to change"):
            for stack in deployed:
                stack.preview(expect_no_changes=True)


def _deploy_site(lab: Lab, claims: Claims) -> dict[str, traffic.Client]:
    passwords = site.new_passwords()
    clients = {}
    for deployment in DEPLOYMENTS:
        with claims.prove(f"{CERTIFICATES} certificates are issued through {deployment}'s own HTTP API") as claim:
            clients[deployment] = site.deploy(lab, deployment, passwords)
            issued = traffic.issue_many(clients[deployment], traffic.sizes(CERTIFICATES))
            claim.proof = _all_on_disk(deployment, issued)
    return clients


def _all_on_disk(deployment: str, issued: Sequence[traffic.Issued]) -> str:
    export = DEPLOYMENTS[deployment].export
    sizes = [(export / name).stat().st_size for each in issued for name in (each.file_pdf, each.file_image)]
    if len(issued) != CERTIFICATES or len(sizes) != 2 * CERTIFICATES:
        raise ClaimError(f"{len(issued)} certificates with {len(sizes)} files came of {CERTIFICATES}")
    return f"{len(sizes)} files of {min(sizes) // 1000}-{max(sizes) // 1000} KB, {sum(sizes) / 1e6:.0f} MB"


def _step_1(claims: Claims) -> None:
    with claims.prove("go-live-step1.yml --check would start it, and changes nothing"):
        _must_pass(playbook.run("go-live-step1.yml", "--check", log_directory=LOGS))
        _must_pass(playbook.run("fleet-status.yml", "-e", "deployment=staging", log_directory=LOGS))
    with claims.prove("go-live-step1.yml: dual-write in staging, proven by its own gate") as claim:
        claim.proof = "; ".join(
            re.findall(
                r"PASS \w+: measured [^,]+, wanted [^\n\"]+",
                _must_pass(playbook.run("go-live-step1.yml", log_directory=LOGS)),
            )
        )
        if not claim.proof:
            raise ClaimError("the step ended without printing its gate's results")


def _emergency(lab: Lab, claims: Claims, clients: dict[str, traffic.Client]) -> None:
    workers = sum(len(machine.workers) for machine in MACHINES.values())
    with claims.prove(f"emergency-rollback.yml takes all {workers} workers to local files") as claim:
        output = _must_pass(playbook.run("emergency-rollback.yml", "-e", "deployment=all", log_directory=LOGS))
        found = ROLLED_BACK.search(output)
        if not found:
            raise ClaimError("the rollback ended without its proof line")
        claim.proof = f"{found[1]} processes proven, {found[2]} s from keypress to proof"
    with claims.prove("after the rollback a new certificate is on the local disk only") as claim:
        for deployment, client in clients.items():
            _is_local_only(lab, deployment, client, claim)


def _is_local_only(lab: Lab, deployment: str, client: traffic.Client, claim: Claim) -> None:
    (issued,) = traffic.issue_many(client, traffic.sizes(1))
    try:
        if not (DEPLOYMENTS[deployment].export / issued.file_pdf).is_file():
            raise ClaimError(f"{deployment}: {issued.file_pdf} is not on the local disk")
        listed = lab.aws.s3().list_objects_v2(Bucket=DEPLOYMENTS[deployment].bucket, Prefix=issued.file_pdf)
        if listed["KeyCount"]:
            raise ClaimError(f"{deployment}: {issued.file_pdf} went to S3 after the rollback")
        claim.proof += f"{issued.file_pdf} "
    finally:
        client.remove(issued.id)


def _no_request_failed(loads: Sequence[traffic.Load]) -> str:
    reports = [load.report() for load in loads]
    failures = [failure for report in reports for failure in report.failures]
    total = sum(report.total for report in reports)
    if failures:
        raise ClaimError(f"{len(failures)} of {total} requests failed, the first: {failures[0]}")
    if not total:
        raise ClaimError("the load sent nothing, so nothing is proven")
    return f"0 of {total} failed, the slowest took {max(report.slowest_seconds for report in reports):.1f} s"


def _must_pass(run: playbook.PlaybookRun) -> str:
    if run.returncode != 0:
        raise ClaimError(f"{run.log.stem} ended with {run.returncode}:\n{run.last_lines()}")
    return run.output


def _must_change_nothing(run: playbook.PlaybookRun) -> str:
    changed = re.findall(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)", _must_pass(run), re.MULTILINE)
    if not changed or any(int(count) for _, count in changed):
        raise ClaimError(f"the second run changed something, or nothing was run: {changed}")
    return f"{len(changed)} machines, changed=0"
