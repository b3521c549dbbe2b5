"""Step 10 on booted machines: what is not proven, approved or served ends it, and every local copy is back.

The tests build on each other; production is in mode s3-reads, with the evidence of a month of grace.
"""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cutover import fleet, local_files
from cutover.evidence import chain
from cutover.retirement.ledger import FILE_NAME
from rehearsal import deployed_site, playbook, traffic
from rehearsal.lab.topology import REPOSITORY
from tests.faults.test_production_steps import failed, passed, said
from tests.fleet import production as productions
from tests.fleet.production import DATA_HOST, PRODUCTION, WEBS, Production
from tests.fleet.staging import EVIDENCE, LOCK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal.lab import Lab
    from rehearsal.playbook import PlaybookRun

pytestmark = pytest.mark.timeout(600)  # the first test may wait for a whole lab
ARCHIVING = "Archive all local copies in the backups bucket"
RESTORE = f"cutover restore --quarantined-only --env-file {PRODUCTION.environment_file}"
DAYS = 30  # of grace; the runbook's
SCALE = 20  # a day takes longer than all of these tests
COMPRESSED = ("-e", f"time_scale={SCALE}")
LAST = "Download and verify certificates through the site, any ten"
MARK = "/etc/deltacrown/purged-copies"
RECORD = f"/var/lib/deltacrown-cutover/{PRODUCTION.bucket}/quarantine-directory"


@pytest.fixture(scope="module")
def production(deployed: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Production]:
    """Production whose certificates are all in S3, and step 10 may start but for its approval."""
    with productions.prepared(deployed, tmp_path_factory.mktemp("retirement") / "copies") as prepared:
        prepared.flip("s3-reads")
        backfilled = deployed_site.shell("production", "cutover backfill --json", seconds=300)
        assert backfilled.returncode == 0, backfilled.stderr
        _month_of_grace(prepared)
        prepared.wait_for_alarms(10)
        try:
            yield prepared
        finally:
            prepared.sudo(DATA_HOST, RESTORE)
            prepared.sudo_on_all(f"rm -f {MARK}")


def _month_of_grace(production: Production) -> None:
    """The chain as it is a month after step 9 has passed; the fixture's own records would be too young for it."""
    production.sudo(DATA_HOST, f"rm -rf {EVIDENCE}")
    now = datetime.datetime.now(datetime.UTC)
    daily = productions.passed_step(9) | {"kind": "daily", "criteria": []}
    start = now - datetime.timedelta(days=DAYS, hours=12) / SCALE
    chain.append(production.chain, productions.passed_step(9), now=start)
    for day in range(1, DAYS + 1):
        chain.append(production.chain, daily, now=start + datetime.timedelta(days=day) / SCALE)
    chain.append(production.chain, productions.drill("production", "s3-reads"), now=now)


def play(production: Production, *arguments: str) -> PlaybookRun:
    return production.start(10, *COMPRESSED, *arguments).wait()


def copies() -> set[str]:
    """The local copies that the site could read."""
    return set(local_files.walk(PRODUCTION.export))


def approval(production: Production) -> str:
    """What approves all that is proven now; the step is asked for it, and moves nothing."""
    before = copies()
    text, record = failed(production, play(production), 10, "INCONCLUSIVE", mode="s3-reads", switched=[])
    assert "NOT APPROVED, nothing was moved" in record["message"]
    assert copies() == before
    return text.partition("-e approval=")[2].partition(" ")[0]


def ended(production: Production, verdict: str, *arguments: str) -> tuple[str, dict[str, Any]]:
    """What step 10 said, and its record; all local copies are where they were."""
    before = copies()
    found = failed(production, play(production, *arguments), 10, verdict, mode="s3-reads", switched=[])
    assert copies() == before
    return found


def test_object_that_is_gone_keeps_every_copy_where_it_is(production: Production) -> None:
    """The last copy of a certificate is put aside, or archived and forgotten, because it was marked once."""
    (row,) = production.rows("WHERE migrated_to_s3_at IS NOT NULL ORDER BY id LIMIT 1")
    with productions.other_object(production.lab, row[1]):
        text, record = ended(production, "FAIL")
    assert {each["criterion"]: each["verdict"] for each in record["criteria"]} == {"objects_proven": "FAIL"}
    for told in (text, record["message"]):
        assert f"; {row[0]} {row[1]} " in told
        assert "step 10 FAIL: FAIL objects_proven" in told


def test_another_number_approves_nothing(production: Production) -> None:
    """An approval of last month, of half as many certificates and one more."""
    wanted = approval(production)
    number = int(wanted.split("-")[2])
    assert wanted == f"put-aside-{number}-certificates-of-production"
    text, _ = ended(production, "INCONCLUSIVE", "-e", f"approval=put-aside-{number + 1}-certificates-of-production")
    assert "does not fit" in text


def test_sample_that_is_not_served_is_put_back(production: Production) -> None:
    """S3 refuses the workers: what no longer lies locally nobody can download, and ten are ten too many."""
    before = copies()
    run = production.start(10, *COMPRESSED, "-e", f"approval={approval(production)}")
    run.reaches(ARCHIVING)
    with productions.reads_denied(production.lab):
        text, record = failed(production, run.wait(), 10, "FAIL", mode="s3-reads", switched=[])
    assert copies() == before
    assert "local copies are back in their places" in text
    for told in (text, record["message"]):
        assert "of 10 certificates without local copies the site serves 0 as they were issued" in told


def test_step_10_interrupted_at_its_end_is_finished_when_run_again(production: Production) -> None:
    """The control machine dies after the last rename: all copies would be put back, or nothing ends the step."""
    marked = production.rows("WHERE migrated_to_s3_at IS NOT NULL")
    run = production.start(10, *COMPRESSED, "-e", f"approval={approval(production)}")
    run.reaches(LAST, seconds=300)
    run.kill()
    production.sudo_on_all(f"rm {LOCK}")
    assert not copies() & {key for _, key in marked}
    passed(play(production))
    record = production.records()[-1]
    assert (record["step"], record["verdict"]) == (10, "PASS")
    assert {each["criterion"]: each["verdict"] for each in record["criteria"]} == {
        "objects_proven": "PASS",
        "quarantined_still_served": "PASS",
    }
    assert record["archive"]["files"] >= len(marked)
    assert not copies() & {key for _, key in marked}
    assert production.is_in("settled")


def purge(production: Production, *arguments: str) -> PlaybookRun:
    return playbook.run(
        "purge-local-copies.yml",
        *("-e", f"evidence_copies={production.copies}", *arguments),
        log_directory=production.copies.parent,
    )


def aside(production: Production) -> int:
    """How many files lie in quarantine."""
    return int(production.sudo(DATA_HOST, f"find $(cat {RECORD}) -type f -path '*/certificates/*' | wc -l"))


def test_copies_too_young_are_not_purged(production: Production) -> None:
    """ "purge" types itself quickly on the evening after step 10."""
    before = aside(production)
    text = said(purge(production, "-e", "approval=yes"))
    assert "NOT APPROVED, nothing was deleted: 0 files may be deleted for ever" in text
    assert "are too young" in text
    assert aside(production) == before > 0


def test_purge_deletes_what_was_approved_by_number(production: Production) -> None:
    """Another number is deleted than somebody approved, or nothing tells afterwards who deleted it."""
    ledger = f"$(cat {RECORD})/{FILE_NAME}"
    production.sudo(DATA_HOST, f'sed -i \'s/"at":"20[0-9][0-9]/"at":"2020/\' {ledger}')
    old = aside(production)
    text = said(purge(production, "-e", f"approval=delete-{old - 1}-local-copies-of-{PRODUCTION.bucket}-for-ever"))
    wanted = f"delete-{old}-local-copies-of-{PRODUCTION.bucket}-for-ever"
    assert f"-e approval={wanted}" in text
    assert aside(production) == old
    passed(purge(production, "-e", f"approval={wanted}"))
    assert aside(production) == 0
    begun, done = production.records()[-2:]
    assert (begun["kind"], begun["verdict"], done["kind"], done["verdict"]) == (
        "purge",
        "INCONCLUSIVE",
        "purge",
        "PASS",
    )
    assert done["purge"]["files"] == old
    assert marked(production) == [str(old)] * len(WEBS)


def marked(production: Production) -> list[str]:
    """How many files lie only in S3 by each machine's mark; empty for a machine without one."""
    return [text.partition(" ")[0] for text in production.sudo_on_all(f"cat {MARK} 2>/dev/null || true")]


def emergency(production: Production, *arguments: str) -> PlaybookRun:
    return playbook.run(
        "emergency-rollback.yml",
        *("-e", f"evidence_copies={production.copies}", *arguments),
        log_directory=production.copies.parent,
    )


def epochs(production: Production) -> list[str]:
    """Each machine's epoch, which the first act of an emergency raises."""
    return production.sudo_on_all("cat /etc/deltacrown/rollback-epoch")


def rollback_preview(deployment: str) -> tuple[int, dict[str, Any]]:
    """Exit code and document, asked on the control machine."""
    command: list[str | Path] = [
        Path(sys.executable).parent / "cutover",
        "rollback-preview",
        "--json",
        "--deployment",
        deployment,
    ]
    run = subprocess.run(
        [*command, "-i", "inventories/rehearsal"],
        cwd=REPOSITORY / "playbooks",
        env={name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout, run.stderr
    found: dict[str, Any] = json.loads(run.stdout)
    return run.returncode, found


def test_after_the_purge_an_emergency_takes_no_reads_away_unasked(production: Production) -> None:
    """A rollback by habit makes every certificate that was ever retired unreadable."""
    files, before = marked(production)[0], epochs(production)
    for arguments in ([], ["-e", "scenario=reads"], ["-e", f"accept_unreadable={int(files) + 1}"]):
        text = said(emergency(production, *arguments))
        assert f"REFUSED, and nothing was changed: {files} files of" in text
        assert f"-e accept_unreadable={files}" in text
    by_hand = production.sudo(WEBS[1], "deltacrown-s3-rollback 2>&1; test $? = 2")
    assert f"REFUSED, and nothing was changed: {files} files lie only in S3" in by_hand
    code, seen = rollback_preview("production")
    assert (code, seen["only_in_s3"], seen["purged"]) == (1, int(files), int(files))
    assert seen["commands"]["restore"] == f"sudo cutover restore --env-file {PRODUCTION.environment_file}"
    assert epochs(production) == before
    assert production.is_in("settled")


def test_uploads_and_the_exact_number_go(production: Production) -> None:
    """A refusal that nothing satisfies keeps the on-call from acting."""
    files = marked(production)[0]
    passed(emergency(production, "-e", "scenario=uploads"))
    assert {fleet.held(process) for process in production.processes()} == {"false,true,false"}
    passed(emergency(production, "-e", f"accept_unreadable={files}"))
    assert production.is_in("local")
    production.flip("settled")


def test_a_restore_takes_the_refusal_away(production: Production) -> None:
    """All files are back, and the emergency goes on refusing; or by hand, on another machine, it does."""
    files = marked(production)[0]
    purged = aside(production)
    restored = playbook.run("restore-local-copies.yml", log_directory=production.copies.parent)
    passed(restored)
    assert f"{purged} files are back from quarantine and {files} from S3; no file lies only in S3" in " ".join(
        restored.output.split()
    )
    assert marked(production) == [""] * len(WEBS)
    code, seen = rollback_preview("production")
    assert (code, seen["only_in_s3"]) == (0, 0)


def test_emergency_puts_the_copies_back_before_anybody_reads_them(production: Production) -> None:
    """Every worker reads locally, and the files lie in quarantine: an outage made by the emergency."""
    production.sudo(DATA_HOST, f"cutover quarantine --env-file {PRODUCTION.environment_file}")
    marked = production.rows("WHERE migrated_to_s3_at IS NOT NULL")
    assert not copies() & {key for _, key in marked}
    with traffic.Load(productions.client(), rate=5.0) as load:
        passed(emergency(production))
    assert load.report().total > 0
    assert load.report().failures == ()
    assert copies() >= {key for _, key in marked}
    assert production.is_in("local")
