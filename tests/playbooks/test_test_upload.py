"""Certificates by which a step is judged: customers' own are waited for, its own are removed with proof."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.playbooks.local_play import program
from tests.playbooks.stub_deployment import Deployment

if TYPE_CHECKING:
    from pathlib import Path

ISSUED = [{"id": 7, "names": ["certificates/pdf/a.pdf"]}, {"id": 8, "names": ["certificates/pdf/b.pdf"]}]
MEMORY = "".join(f"{json.dumps(one)}\n" for one in ISSUED)
LEFT = {"certificate_id": 7, "key": "certificates/pdf/a.pdf", "what": "the object is still there: AccessDenied"}


def played(tmp_path: Path, part: str, cutover: str, **variables: Any) -> str:
    """One part of the role on the control machine, whose data tools are this script."""
    deployment = Deployment.ready_for(tmp_path, 1)
    account = "[ $1 != worker-requests ] || cat >/dev/null"  # one that does not read it may end before it is written
    program(tmp_path / "bin", "cutover", f'echo "$*" >>{tmp_path}/asked\n{account}\n{cutover}')
    include = {"ansible.builtin.include_role": {"name": "test_upload", "tasks_from": part}}
    ids, metrics = "test_upload_ids | default([]) | join(' ')", "test_upload_metrics | default([]) | to_json"
    shown = {"ansible.builtin.debug": {"msg": f"ids {{{{ {ids} }}}}, metrics {{{{ {metrics} }}}}"}}
    frame = {"hosts": "localhost", "gather_facts": False, "vars_files": ["vars/step.yml"], "vars": {"step_number": 1}}
    (deployment.playbooks / "alone.yml").write_text(yaml.safe_dump([frame | {"tasks": [include, shown]}]))
    given = {
        "rolling_flip_at": "2026-11-24T10:00:00Z",
        "step_poll_seconds": 1,
        "test_certificates": f"{tmp_path}/memory",
        "site_url": "http://site.example",
        "test_upload_user": "probe",
        "test_upload_password": "p",
        "test_upload_tournament": 2,
    }
    return deployment.play("alone.yml", "-e", json.dumps(given | variables))[1]


def asked(tmp_path: Path) -> list[str]:
    return (tmp_path / "asked").read_text().splitlines()


@pytest.mark.parametrize(
    ("mode", "commands"),
    [("organic", ["issued"]), ("http", ["worker-requests"] * 2), ("command", ["worker-command"] * 2)],
)
def test_the_inventory_s_choice_of_whose_uploads_count_is_played(
    tmp_path: Path, mode: str, commands: list[str]
) -> None:
    """What a step includes is the choice itself: one that Ansible cannot read fails when every worker is switched."""
    answer = json.dumps({"ids": list(range(12)), "names": ["a"], "failures": []})
    said = played(tmp_path, "main", f"echo '{answer}'", test_upload=mode, test_upload_issue=["issue"])
    assert "failed=0" in said
    assert [line.split()[0] for line in asked(tmp_path)] == commands


def issued(count: int) -> str:
    ids = list(range(1, count + 1))
    return f"echo '{json.dumps({'ids': ids, 'names': [f'certificates/pdf/{number}.pdf' for number in ids]})}'"


def test_customers_uploads_are_waited_for(tmp_path: Path) -> None:
    """The second look finds enough; what was issued before the last switch, by any clock, does not count."""
    two_looks = f"[ $(grep -c . {tmp_path}/asked) -gt 1 ] || {{ {issued(3)}; exit; }}\n{issued(12)}"
    said = played(tmp_path, "organic", two_looks)
    assert "ids 1 2 3 4 5 6 7 8 9 10 11 12" in said
    assert asked(tmp_path)[0].startswith("issued --json --since 2026-11-24T10:00:05+00:00 --env-file ")
    assert len(asked(tmp_path)) == 2


def test_too_few_uploads_prove_nothing(tmp_path: Path) -> None:
    """A quiet afternoon must not read as a failure, nor as a pass."""
    said = played(tmp_path, "organic", f"{issued(0)}; exit 3", time_scale=7200)
    assert (
        "step 1 INCONCLUSIVE: customers uploaded 0 certificates since 2026-11-24T10:00:05+00:00, and 12 are wanted"
        in said
    )
    assert "failed=1" in said


def test_certificates_are_issued_through_every_worker(tmp_path: Path) -> None:
    """And each is remembered on its worker's machine, in case that nobody is there any more to remove it."""
    said = played(tmp_path, "issue", 'echo \'{"ids": [1, 2], "names": ["a"], "failures": []}\'')
    assert "ids 1 2 1 2" in said
    assert len(asked(tmp_path)) == 2
    for line in asked(tmp_path):
        assert "worker-requests issue --json --socket /run/deltacrown/worker1.sock" in line
        assert line.endswith(f"--count 6 --remember {tmp_path}/memory")


def test_the_site_s_own_programs_issue_with_each_worker_s_environment(tmp_path: Path) -> None:
    """What they log is in no worker's journal, so it comes with what they issued."""
    said = played(
        tmp_path,
        "issue",
        'echo \'{"ids": [1], "names": ["a"], "failures": [], "metrics": {"cert.s3.save.success": 2}}\'',
        test_upload="command",
        test_upload_issue=["python", "manage.py", "issue"],
    )
    counted = '{"cert.s3.save.success": 2}'
    assert f'ids 1 1, metrics [["w-m1", {counted}], ["w-m2", {counted}]]' in said.replace("\\", "")
    first, _ = asked(tmp_path)
    assert first.startswith("worker-command issue --json --worker worker1 --env-file ")
    assert '--directory /site --settings site.settings --program ["python", "manage.py", "issue"] --count 6' in first
    assert first.endswith(f"--remember {tmp_path}/memory")


def test_a_worker_that_issues_too_few_is_named(tmp_path: Path) -> None:
    failure = {"status": 503, "detail": "an order: HTTP 503 no room"}
    said = played(
        tmp_path, "issue", f"echo '{json.dumps({'ids': [1], 'names': ['a'], 'failures': [failure]})}'; exit 1"
    )
    assert "w-m1 did not issue 1 certificates; 503 an order: HTTP 503 no room" in said
    assert "failed=1" in said


def removal(
    tmp_path: Path, removed: str, memory: str = MEMORY, *, there: tuple[int, ...] = (7, 8), others: tuple[int, ...] = ()
) -> str:
    """Removes what both machines, which are this one here, remember; `removed` is what the data host's proof does.

    Of the remembered ids the rows `there` are the test certificates', and `others` are customers'.
    """
    if memory:
        (tmp_path / "memory").write_text(memory)
    worker = """echo '{"ids": [7, 8], "names": [], "failures": []}'"""
    rows = f"cat >{tmp_path}/looked\necho '{json.dumps({'there': there, 'others': others})}'"
    proof = (
        f"[ $1 = removed ] || {{ {worker}; exit; }}\n"
        f'case "$*" in *--rows-only*) {rows}; exit ;; esac\ncat >{tmp_path}/given\n{removed}'
    )
    return played(tmp_path, "remove", proof)


def test_what_a_killed_run_issued_is_removed_and_forgotten(tmp_path: Path) -> None:
    """Certificates of nobody stay in the table, and are found by the check one day."""
    said = removal(tmp_path, """echo '{"left": []}'""")
    assert "NOT removed" not in said
    assert not (tmp_path / "memory").exists()
    look, requests, proof = asked(tmp_path)
    assert look.startswith("removed --json --rows-only --env-file ")
    assert requests.startswith("worker-requests remove --json ")
    assert requests.endswith(" 7 8")
    assert proof.startswith("removed --json --env-file ")
    assert [json.loads((tmp_path / name).read_text()) for name in ("looked", "given")] == [ISSUED, ISSUED]
    assert "KEPT" not in said


def test_a_customer_s_certificate_is_never_removed_by_a_remembered_id(tmp_path: Path) -> None:
    """A restored database gives ids again: the next run of the killed step would delete what a customer has."""
    said = removal(tmp_path, """echo '{"left": []}'""", there=(8,), others=(7,))
    assert "KEPT: certificates 7 have other names" in said
    _, requests, _ = asked(tmp_path)
    assert requests.startswith("worker-requests remove --json ")
    assert requests.endswith(".example 8")
    assert json.loads((tmp_path / "given").read_text()) == ISSUED[1:]
    assert not (tmp_path / "memory").exists()


def test_what_the_site_has_removed_already_is_proven_without_a_worker(tmp_path: Path) -> None:
    """A run that was killed between the removal and its proof."""
    said = removal(tmp_path, """echo '{"left": []}'""", there=())
    assert "failed=0" in said
    assert [line.split()[0] for line in asked(tmp_path)] == ["removed", "removed"]
    assert json.loads((tmp_path / "given").read_text()) == ISSUED


def test_what_is_left_is_named_and_remembered_and_stops_nothing(tmp_path: Path) -> None:
    """The consistency check would find it, and nobody would know whose it is."""
    said = removal(tmp_path, f"echo '{json.dumps({'left': [LEFT]})}'; exit 1")
    assert "NOT removed, the next run of this step tries again: test certificates 7, 8: 1 parts are left; 7 " in said
    assert "certificates/pdf/a.pdf the object is still there: AccessDenied" in said
    assert "failed=0" in said
    assert (tmp_path / "memory").exists()


def test_what_cannot_be_proven_to_be_gone_is_named_and_remembered(tmp_path: Path) -> None:
    said = removal(tmp_path, "echo S3 is away >&2; exit 4")
    assert (
        "NOT removed, the next run of this step tries again: test certificates 7, 8: ERROR, could not measure" in said
    )
    assert (tmp_path / "memory").exists()


def test_where_nothing_was_issued_nobody_is_asked(tmp_path: Path) -> None:
    said = removal(tmp_path, "exit 4", memory="")
    assert "failed=0" in said
    assert "NOT removed" not in said
    assert not (tmp_path / "asked").exists()


def test_a_memory_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Half a line is a certificate that nobody would remove."""
    said = removal(tmp_path, """echo '{"left": []}'""", memory='{"id": 7, "na')
    assert f"NOT removed: the test certificates of m1, m2, whose {tmp_path}/memory could not be read" in said
