"""An emergency's fence on booted machines: one without power comes back on S3, and meets neither S3 nor customers."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from cutover.names import FENCE_POLICY
from rehearsal import deployed_site, playbook, traffic
from rehearsal.lab.topology import MACHINES
from tests.fleet.production import PRODUCTION, WEBS, Production

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal.lab import Lab
    from rehearsal.playbook import PlaybookRun

pytestmark = pytest.mark.timeout(600)  # the first test may wait for a whole lab
LOST, WELL = "web2", "web1"
MARK = "/etc/deltacrown/fenced"
BACK_SECONDS = 40.0
# Under the machine's own session: stores an object, or follows a link that this session has signed.
S3_OF = """
import boto3, os, ssl, urllib.request
s3, where = boto3.client("s3"), {{"Bucket": "{bucket}", "Key": "cutover-probe/{machine}/fence"}}
link = s3.generate_presigned_url("get_object", Params=where)
try:
    s3.put_object(Body=b"bytes", **where)
    print("stored")
except Exception as error:
    print(error)
try:
    trusted = ssl.create_default_context(cafile=os.environ["AWS_CA_BUNDLE"])
    print(urllib.request.urlopen(link, context=trusted).status)
except Exception as error:
    print(error)
"""


@pytest.fixture(scope="module")
def production(deployed: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Production]:
    """Production, in which every worker writes to S3."""
    made = Production(deployed, tmp_path_factory.mktemp("fence") / "copies")
    made.flip("dual-write")
    yield made
    made.sudo_on_all("deltacrown-s3-rollback")


def play(production: Production, name: str, *arguments: str) -> PlaybookRun:
    copies = ("-e", f"evidence_copies={production.copies}")
    return playbook.run(name, *copies, *arguments, log_directory=production.copies.parent)


def said(run: PlaybookRun) -> str:
    return " ".join(run.output.split())


def s3_of(production: Production, machine: str) -> tuple[str, str]:
    """What S3 says to a machine's own session: to a save, and to a link that it has signed."""
    program = S3_OF.format(bucket=PRODUCTION.bucket, machine=machine)
    run = f'set -a; . {PRODUCTION.environment_file}; /opt/deltacrown/venv/bin/python -c "$1"'
    saved, link = production.sudo(machine, run, program).splitlines()
    return saved, link


def served_by(production: Production) -> set[str]:
    """The machines to which the load balancer sends thirty requests."""
    log = "/var/log/nginx/deltacrown.access.log"
    ask = f"truncate --size=0 {log}; for i in $(seq 30); do curl -s -o /dev/null http://127.0.0.1/; done; cat {log}"
    addresses = set(re.findall(r'upstream="([^":]+):80"', production.sudo("lb1", ask)))
    return {machine for machine in WEBS if MACHINES[machine].address in addresses}


def issue_on(machine: str) -> traffic.Issued:
    """Issues a certificate through the workers of one machine, past the load balancer."""
    client = traffic.Client(f"http://{MACHINES[machine].address}")
    deadline = time.monotonic() + BACK_SECONDS
    while True:
        try:
            client.sign_in("load-staff", json.loads(deployed_site.PASSWORDS.read_text())["load-staff"])
            return client.issue(participant_id=time.time_ns() % 10**9)
        except traffic.TrafficError:
            assert time.monotonic() < deadline
            time.sleep(0.5)


def is_in_s3(production: Production, key: str) -> bool:
    try:
        production.lab.aws.s3().head_object(Bucket=PRODUCTION.bucket, Key=key)
    except ClientError:
        return False
    return True


def policies(production: Production) -> list[str]:
    return production.lab.aws.iam().list_role_policies(RoleName=PRODUCTION.role)["PolicyNames"]


def test_a_machine_that_comes_back_on_s3_meets_neither_s3_nor_customers(production: Production) -> None:
    """It writes certificates to the S3 that everybody has left, for hours, because nobody can log in."""
    assert served_by(production) == set(WEBS)
    production.lab.power_off(LOST)
    run = play(production, "emergency-rollback.yml", "-e", "fence=machine")
    assert run.returncode != 0
    outcome = ("cannot be reached", "is out of the load balancer")
    for sentence in (*(f"{LOST} {each}" for each in outcome), f"S3 is denied to {MACHINES[LOST].address}"):
        assert sentence in said(run)

    production.lab.power_on(LOST)
    certificate = issue_on(LOST)
    assert not is_in_s3(production, certificate.file_pdf)
    assert (PRODUCTION.export / certificate.file_pdf).exists()  # customers lose nothing
    saved, link = s3_of(production, LOST)
    assert "AccessDenied" in saved
    assert "403" in link
    assert s3_of(production, WELL) == ("stored", "200")
    assert served_by(production) == set(WEBS) - {LOST}

    assert "production is fenced" in said(production.play(6, "--check"))
    refused = play(production, "unfence.yml")
    assert refused.returncode != 0
    assert re.search(rf"STILL FENCED: {LOST}: worker\d pid \d+ holds true,false,true", said(refused))
    assert served_by(production) == set(WEBS) - {LOST}

    again = play(production, "emergency-rollback.yml")
    assert again.returncode == 0, again.last_lines()
    assert f"{LOST}: done" in said(again)
    assert "FENCED" in said(again)
    back = play(production, "unfence.yml")
    assert back.returncode == 0, back.last_lines()
    assert f"UNFENCED production: {LOST} proven and back" in said(back)
    assert s3_of(production, LOST) == ("stored", "200")
    assert served_by(production) == set(WEBS)
    assert FENCE_POLICY not in policies(production)
    assert "".join(production.sudo_on_all(f"test ! -e {MARK} || cat {MARK}")) == ""
    assert "is fenced" not in said(production.play(6, "--check"))


def test_a_fenced_role_denies_every_machine_and_its_links(production: Production) -> None:
    """S3 must not be touched, and the workers that read a link's bytes for customers still may."""
    production.flip("dual-write")
    assert s3_of(production, WELL) == ("stored", "200")
    run = play(production, "emergency-rollback.yml", "-e", "fence=role")
    assert run.returncode == 0, run.last_lines()
    assert "presigned URLs" in said(run)
    for machine in WEBS:
        saved, link = s3_of(production, machine)
        assert "AccessDenied" in saved
        assert "403" in link
    assert served_by(production) == set(WEBS)
    assert issue_on(WELL).id > 0
    assert "production is fenced" in said(production.play(6, "--check"))
    back = play(production, "unfence.yml")
    assert back.returncode == 0, back.last_lines()
    assert s3_of(production, WELL) == ("stored", "200")
    assert FENCE_POLICY not in policies(production)
