"""After an inconsistency no step turns flags on before an audit of every file has passed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cutover import cli, plan, step_record
from cutover.evidence import chain as chains
from cutover.evidence.progress import next_step
from cutover.evidence.requirements import unaudited, unaudited_of
from tests.unit.evidence.documents import DAY, rollback

if TYPE_CHECKING:
    from tests.unit.evidence.documents import Story

TABLE = plan.load()
INCONSISTENT = rollback("production", scenario="inconsistency")
RUN = "run ansible-playbook integrity-audit.yml -e deployment=production"


def check(verdict: str = "PASS", **more: object) -> dict[str, object]:
    """The document of an audit of twenty files."""
    lists = dict.fromkeys(("missing", "orphaned", "different", "unmarked_present"), ())
    counts = {"db_count": 20, "s3_count": 20, "sampled": 20, "left_out": {}}
    return {"verdict": verdict, **counts, **{name: list(value) for name, value in lists.items()}} | more


def audit(verdict: str = "PASS", **more: object) -> dict[str, object]:
    return step_record.of_audit(check(verdict, **more), "production")


def asked(story: Story, number: int, *documents: dict[str, object]) -> str:
    for document in documents:
        story.tell(document)
    records = chains.read(story.directory).proven().records
    return str(unaudited(TABLE, records, number) or "")


def test_a_rollback_for_an_inconsistency_wants_an_audit(story: Story) -> None:
    """S3 reads of an object that is another customer's, or none, is what the scenario is about."""
    said = asked(story, 6, INCONSISTENT)
    assert "000001-rollback-PASS.json, inconsistency) wants an audit of every file" in said
    assert RUN in said


def test_an_audit_that_passed_since_lets_the_step_start(story: Story) -> None:
    assert asked(story, 8, INCONSISTENT, audit()) == ""


@pytest.mark.parametrize(
    ("documents", "sentence"),
    [
        ((audit(), INCONSISTENT), "there was none since"),
        ((INCONSISTENT, audit("FAIL", missing=["a", "b"])), "ended with FAIL in 000002-audit-FAIL.json (20 files"),
        ((INCONSISTENT, audit(), audit("FAIL", orphaned=["a"])), "ended with FAIL in 000003-audit-FAIL.json"),
        ((INCONSISTENT, audit("INCONCLUSIVE", sampled=0)), "ended with INCONCLUSIVE"),
    ],
)
def test_an_older_or_a_failed_audit_does_not(
    story: Story, documents: tuple[dict[str, object], ...], sentence: str
) -> None:
    assert sentence in asked(story, 6, *documents)


def test_where_nothing_is_marked_nothing_can_be_inconsistent(story: Story) -> None:
    """Who took every mark back could never turn a flag on again."""
    assert asked(story, 6, INCONSISTENT, audit("INCONCLUSIVE", db_count=0, s3_count=0, sampled=0)) == ""


@pytest.mark.parametrize("scenario", ["local", "uploads", "reads"])
def test_other_scenarios_want_none(story: Story, scenario: str) -> None:
    assert asked(story, 6, rollback("production", scenario=scenario)) == ""


@pytest.mark.parametrize("number", [7, 9, 10])
def test_a_step_that_turns_nothing_on_may_start(story: Story, number: int) -> None:
    assert asked(story, number, INCONSISTENT) == ""


def test_what_the_playbook_reads_is_judged_alike(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    """The preflight has the records as `cutover evidence list --json` prints them."""
    story.tell(INCONSISTENT)
    assert cli.main(["evidence", "list", "--json", "--directory", str(story.directory)]) == 0
    printed = capsys.readouterr().out
    assert RUN in unaudited_of(TABLE, printed, 6)
    assert unaudited_of(TABLE, printed, 7) == ""
    assert unaudited_of(TABLE, "[]", 6) == ""


def test_the_status_names_the_audit_too(story: Story) -> None:
    """`cutover status` must not send to a step that refuses."""
    story.tell(rollback("staging", scenario="inconsistency"))
    chains_told = {"staging": chains.read(story.directory).proven().records}
    answer = next_step(TABLE, chains_told, story.now + DAY, of="staging")
    assert answer is not None
    assert "integrity-audit.yml -e deployment=staging" in str(answer.refusals[0])


def test_an_audit_measures_both_agreements_on_every_file() -> None:
    """A record of PASS that compared nothing would open the gate."""
    record = audit("FAIL", different=[{"key": "a"}], left_out={"different": 4})
    measured = {each["criterion"]: (each["measured"], each["samples"]) for each in record["criteria"]}  # type: ignore[attr-defined]
    assert measured == {"keys_agree": (0.75, 20), "hashes_agree": (0.75, 20)}
    assert "5 different" in str(record["message"])
