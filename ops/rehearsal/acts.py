"""The acts of a rehearsal, in order: cloud, site, steps 1 to 10 under load, a page, emergency rollback."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

from cutover import fleet, plan
from rehearsal import cloud, data_acts, evidence_of, paging, playbook, production_acts, step_acts, traffic
from rehearsal import deployed_site as site
from rehearsal.claims import ClaimError
from rehearsal.lab.topology import DEPLOYMENTS, MACHINES
from rehearsal.step_acts import LOGS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rehearsal.claims import Claims
    from rehearsal.lab import Lab

__all__ = ["AVAILABLE_STEPS", "PLAYED_STEPS", "rehearse"]

AVAILABLE_STEPS = tuple(range(1, 11))
PLAYED_STEPS = (1, 2, 3)  # unless others are asked for
CERTIFICATES = 330  # in each deployment before the first step
# The light load: twenty in all. Staging's few uploads are judged by their count, not by their rate: that pages soonest.
LOAD_PER_SECOND = {"staging": 5.0, "production": 15.0}
AFTERWARDS = 2  # certificates for each worker that show where a new one goes
WORKER_MACHINES = [machine for machine in MACHINES.values() if machine.workers]
ROLLED_BACK = re.compile(r"ROLLED BACK: (\d+) processes proven in ([\d.]+) s")


def rehearse(lab: Lab, claims: Claims, steps: Sequence[int]) -> None:
    """Plays everything up to the last of these steps, for each needs the evidence of those before it.

    The first claim that does not hold ends it with its error.
    """
    with claims.prove(f"the lab is up: {len(MACHINES)} machines, PostgreSQL, AWS stand-in with IAM enforced") as claim:
        lab.up()
        claim.proof = cloud.powerless_user_is_denied(lab)
    with cloud.stacks(lab) as deployed:
        with claims.prove("pulumi up provisions staging and production in one account") as claim:
            cloud.up(lab, deployed)
            claim.proof = cloud.buckets_exist(lab, deployed)
        with claims.prove("a second preview and a refresh find nothing to change"):
            for stack in deployed:
                stack.preview(expect_no_changes=True)
                stack.refresh(expect_no_changes=True)
    clients = _deploy_site(lab, claims)
    with claims.prove("prepare-hosts.yml prepares every machine, and changes nothing when run again") as claim:
        prepared = evidence_of.passed(playbook.run("prepare-hosts.yml", log_directory=LOGS))
        again = playbook.run("prepare-hosts.yml", log_directory=LOGS)
        claim.proof = evidence_of.no_change(again, {machine.name for machine in WORKER_MACHINES})
    with claims.prove("each machine's log lines reach CloudWatch, and the page that none arrived resolves") as claim:
        delivered = evidence_of.delivered(prepared, {machine.name for machine in WORKER_MACHINES})
        claim.proof = f"{delivered}; {paging.all_resolved()}"
    with ExitStack() as running:
        loads = [
            running.enter_context(traffic.Load(client, rate=LOAD_PER_SECOND[deployment]))
            for deployment, client in clients.items()
        ]
        _step_1(lab, claims)
        if max(steps) > 1:
            data_acts.play(lab, claims, clients["staging"], last_step=max(steps))
        production_acts.play(lab, claims, last_step=max(steps))
        _page(lab, claims, clients)
        provoked = paging.pages()
        _emergency(lab, claims, clients, is_local=max(steps) < 6)
    with claims.prove("no customer's request failed while flags changed and workers restarted") as claim:
        claim.proof = evidence_of.no_failed_request([load.report() for load in loads])
    with claims.prove("the silenced drill of the emergency paged nobody, and the alarm engine still lives") as claim:
        claim.proof = paging.nobody_paged_after(provoked)


def _deploy_site(lab: Lab, claims: Claims) -> dict[str, traffic.Client]:
    passwords = site.new_passwords()
    clients = {}
    for deployment in DEPLOYMENTS:
        with claims.prove(f"{CERTIFICATES} certificates are issued through {deployment}'s own HTTP API") as claim:
            clients[deployment] = site.deploy(deployment, passwords)
            issued = traffic.issue_many(clients[deployment], traffic.sizes(CERTIFICATES))
            claim.proof = evidence_of.files_on_disk(DEPLOYMENTS[deployment].export, issued, CERTIFICATES)
            site.age(lab, deployment)
    return clients


def _step_1(lab: Lab, claims: Claims) -> None:
    with claims.prove("go-live-step1.yml --check would start it, and changes nothing"):
        before = site.state_of(lab, "staging1")
        evidence_of.passed(playbook.run("go-live-step1.yml", "--check", log_directory=LOGS))
        if site.state_of(lab, "staging1") != before:
            raise ClaimError("processes, flag files or epoch of staging1 are not what they were before --check")
    step_acts.play(claims, 1)


def _page(lab: Lab, claims: Claims, clients: dict[str, traffic.Client]) -> None:
    with claims.prove("uploads that S3 denies are one page, of staging alone, and it resolves when they work") as claim:
        claim.proof = paging.page_and_resolution(lab, "staging", clients["staging"])


def _emergency(lab: Lab, claims: Claims, clients: dict[str, traffic.Client], *, is_local: bool) -> None:
    workers = sum(len(machine.workers) for machine in WORKER_MACHINES)
    if is_local:
        with claims.prove("production is in dual-write, too, so that every worker has something to roll back"):
            flags = fleet.triple(plan.load().modes["dual-write"].flags)
            production = [machine for machine in WORKER_MACHINES if machine.deployment == DEPLOYMENTS["production"]]
            with ThreadPoolExecutor() as pool:
                list(pool.map(lambda machine: site.flip(lab, machine.name, flags), production))
    with claims.prove("for this drill production is silenced: the same failure pages nobody there") as claim:
        claim.proof = paging.silenced(lab, "production", clients["production"])
    with claims.prove(f"emergency-rollback.yml takes all {workers} workers to local files") as claim:
        output = evidence_of.passed(playbook.run("emergency-rollback.yml", "-e", "deployment=all", log_directory=LOGS))
        found = ROLLED_BACK.search(output)
        if not found or int(found[1]) < workers:
            raise ClaimError(f"{workers} workers and this proof: {found[0] if found else 'none'}")
        claim.proof = f"{found[1]} processes proven, {found[2]} s from keypress to proof"
    with claims.prove("after the rollback new certificates are on the local disk only") as claim:
        proofs = []
        for name, deployment in DEPLOYMENTS.items():
            count = AFTERWARDS * sum(len(m.workers) for m in WORKER_MACHINES if m.deployment == deployment)
            issued = traffic.issue_many(clients[name], traffic.sizes(count))
            evidence_of.files_on_disk(deployment.export, issued, count)
            proofs.append(evidence_of.nothing_in_bucket(lab.aws.s3(), deployment.bucket, issued))
        claim.proof = ", ".join(proofs)
