"""Provokes what pages the on-call, and proves what the pager then shows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from cutover import names, plan
from cutover.plan import Deployment
from rehearsal import traffic
from rehearsal.aws_stand_in import REGION
from rehearsal.claims import ClaimError
from rehearsal.lab import monitoring
from rehearsal.lab.topology import DEPLOYMENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rehearsal.lab import Lab
    from rehearsal.pager import Incident

__all__ = ["all_resolved", "nobody_paged_after", "page_and_resolution", "pages", "silenced", "uploads_denied"]

POLICY = "S3CertificateAccess"
POLL_SECONDS = 0.5
PAGE_SECONDS = 60.0  # twenty minutes of CloudWatch; a page takes about three
RESOLVED_SECONDS = 120.0  # the longest window of the incident's alarms is half an hour: 90 s here
FAILING = 2  # certificates of our own that S3 denies; the load's come too seldom to wait for
AFTERWARDS = 120  # certificates, two uploads each: with so many in half an hour the rates judge, no longer the count
APART_SECONDS = 5.0  # a minute of CloudWatch, for periods begin with one, and the way of a line
SILENCE_MINUTES = 60  # of CloudWatch: three real ones, which outlast the rest of the rehearsal
STILL_SECONDS = 6.0  # two minutes of CloudWatch, after which a page that is not held back has come


@contextmanager
def uploads_denied(lab: Lab, deployment: Deployment) -> Iterator[None]:
    """Takes s3:PutObject from the deployment's role during the block: customers notice nothing, S3 gets nothing."""
    iam, role = lab.aws.iam(), DEPLOYMENTS[deployment].role
    policy = iam.get_role_policy(RoleName=role, PolicyName=POLICY)["PolicyDocument"]
    denied = json.dumps(policy).replace("s3:PutObject", "s3:GetObjectTagging")
    iam.put_role_policy(RoleName=role, PolicyName=POLICY, PolicyDocument=denied)
    try:
        yield
    finally:
        iam.put_role_policy(RoleName=role, PolicyName=POLICY, PolicyDocument=json.dumps(policy))


def all_resolved() -> str:
    """Waits until each deployment has paged that no log line arrives, and no page is open.

    So each deployment's topic is known to reach the pager before anything is claimed about a page that did not come.

    Returns:
        What was open before, and is no longer. ClaimError if a page stays, or never came.
    """
    expected = {names.incident(deployment, "telemetry") for deployment in get_args(Deployment)}

    def settled() -> bool:
        seen = monitoring.incidents()
        return expected <= {page.alarm for page in seen} and all(page.resolved for page in seen)

    _wait(f"{', '.join(sorted(expected))} have paged, and no page is open", RESOLVED_SECONDS, settled)
    past = [f"{page.alarm} ({page.resolved - page.opened:.0f} s)" for page in monitoring.incidents() if page.resolved]
    return f"resolved: {', '.join(past)}"


def pages() -> int:
    """How many pages there have been since the lab was raised."""
    return len(monitoring.incidents())


def page_and_resolution(lab: Lab, deployment: Deployment, client: traffic.Client) -> str:
    """Denies the deployment's uploads until it pages, allows them again, and waits until it resolves.

    Returns:
        How long both took, in seconds and in CloudWatch's minutes. ClaimError if it paged never, twice, or for
        something else, too.
    """
    wanted, before = names.incident(deployment, "s3"), len(monitoring.incidents())

    def provoked() -> list[Incident]:
        monitoring.require_live_engine()
        return monitoring.incidents()[before:]

    began = time.time()
    with uploads_denied(lab, deployment):
        traffic.issue_many(client, traffic.sizes(FAILING))
        _wait(f"{wanted} pages", PAGE_SECONDS, lambda: bool(provoked()))
    allowed = time.time()
    # No period may hold failures and so many uploads that they are a rate: it would page a second time.
    time.sleep(plan.load().alarms["upload-failure-rate"].period_seconds / monitoring.time_scale() + APART_SECONDS)
    traffic.issue_many(client, traffic.sizes(AFTERWARDS))
    _wait(f"{wanted} resolves", RESOLVED_SECONDS, lambda: all(page.resolved for page in provoked()))
    (page, *more) = provoked()
    if page.alarm != wanted or more:
        raise ClaimError(f"expected one page of {wanted} and saw {', '.join(each.alarm for each in [page, *more])}")
    return (
        f"paged {_both(page.opened - began)} after the right was taken away, "
        f"resolved {_both((page.resolved or allowed) - allowed)} after it was given back"
    )


def silenced(lab: Lab, deployment: Deployment, client: traffic.Client) -> str:
    """Silences the deployment, and denies its uploads until its incident is in ALARM; ClaimError if a page came."""
    silence, incident = names.silence(deployment), names.incident(deployment, "s3")
    _wait(f"{incident} is in OK", RESOLVED_SECONDS, lambda: _state(incident) == "OK")
    before = len(monitoring.incidents())
    _silence(deployment)
    _wait(f"{silence} is in ALARM", PAGE_SECONDS, lambda: _state(silence) == "ALARM")
    with uploads_denied(lab, deployment):
        traffic.issue_many(client, traffic.sizes(FAILING))
        _wait(f"{incident} is in ALARM", PAGE_SECONDS, lambda: _state(incident) == "ALARM")
        time.sleep(STILL_SECONDS)
    if _state(silence) != "ALARM":
        raise ClaimError(f"{silence} ended while {incident} was watched, so nothing is proven")
    own = {names.incident(deployment, name) for name in plan.load().incidents}
    if paged := [page.alarm for page in monitoring.incidents()[before:] if page.alarm in own]:
        raise ClaimError(f"{', '.join(paged)} paged in spite of the silence")
    return f"{incident} in ALARM, 0 pages"


def nobody_paged_after(expected: int) -> str:
    """There were `expected` pages and no other one since, and none is open; ClaimError if not."""
    monitoring.require_live_engine()
    seen = monitoring.incidents()
    if further := [page.alarm for page in seen[expected:]] + [page.alarm for page in seen if page.resolved is None]:
        raise ClaimError(f"{', '.join(further)} paged besides what was provoked, or is still open")
    return f"{expected} pages in all, all resolved"


def _silence(deployment: Deployment) -> None:
    """Calls the operators' own command."""
    command = f"alarms silence --deployment {deployment} --minutes {SILENCE_MINUTES} --reason rehearsal".split()
    own = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    cloudwatch = {
        "AWS_ENDPOINT_URL_CLOUDWATCH": monitoring.place().endpoint_url,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",  # the stand-in looks at no credentials
        "AWS_CONFIG_FILE": os.devnull,
    }
    program = Path(sys.executable).with_name("cutover")
    result = subprocess.run([program, *command], env=own | cloudwatch, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise ClaimError(f"cutover {' '.join(command)} ended with {result.returncode}: {result.stderr.strip()}")


def _state(alarm: str) -> str:
    return monitoring.require_live_engine().states.get(alarm, "absent")


def _wait(what: str, seconds: float, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            pages = [f"{page.alarm} ({'resolved' if page.resolved else 'open'})" for page in monitoring.incidents()]
            raise ClaimError(
                f"after {seconds:.0f} s it is not so that {what}; the pager has {', '.join(pages) or 'nothing'}"
            )
        time.sleep(POLL_SECONDS)


def _both(seconds: float) -> str:
    return f"{seconds:.0f} s = {seconds * monitoring.time_scale() / 60:.1f} CloudWatch minutes"
