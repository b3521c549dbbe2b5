"""What the data tools' documents say of the steps' criteria; for each criterion a document in which it says no."""

from __future__ import annotations

from typing import Any

import pytest

from cutover import gates, plan, step_measures
from cutover.backfill import token
from cutover.gates import Verdict
from cutover.percentile import percentile

TABLE = plan.load()


def verdicts(number: int, kind: str, **documents: Any) -> dict[str, Verdict]:
    """The verdict on each criterion of a step, by the table's own limits."""
    measured = step_measures.MEASURES[kind](**documents)
    results = gates.evaluate(TABLE.steps[number].criteria, measured, gates.sample_floors(TABLE))
    return {result.criterion: result.verdict for result in results}


def run(found: int, next_id: int, *causes: str) -> dict[str, Any]:
    """A backfill's document."""
    return {"found": found, "errors": [{"cause": cause} for cause in causes], "resume_token": token.encode(next_id)}


def sample(**changed: Any) -> dict[str, Any]:
    """The witnesses' document of a sample that is migrated and agrees."""
    counts = {"files": 200, "agree": 200, "local": 200, "unproven": 0, "downloaded": 5}
    return {"rows": 100, "pending": 0} | counts | changed


def storage(**changed: Any) -> dict[str, Any]:
    """The storage class's document of reads that are what they should be."""
    good: dict[str, Any] = {
        "migrated": {"asked": 100, "from_s3": 100, "equal": 100},
        "unmigrated": {"asked": 100, "from_local": 100, "equal": 100, "signed": 0},
        "sign_ms": [1.0] * 100,
        "answers": {"asked": 5, "ok": 5},
    }
    return {
        name: (value | changed.get(name, {}) if isinstance(value, dict) else changed.get(name, value))
        for name, value in good.items()
    }


def site(migrated: int = 100, unmigrated: int = 100, asked: int = 100) -> dict[str, Any]:
    """The document of downloads through the running workers."""
    return {"migrated": {"asked": asked, "equal": migrated}, "unmigrated": {"asked": asked, "equal": unmigrated}}


def check(**changed: Any) -> dict[str, Any]:
    """A consistency check's document in which all keys agree."""
    lists: dict[str, list[Any]] = {"missing": [], "orphaned": [], "unmarked_present": [], "different": []}
    return {"db_count": 200, "s3_count": 200, "sampled": 10, **lists} | changed


@pytest.mark.parametrize(
    ("documents", "refused"),
    [
        ({"first": run(100, 101), "resumed": run(1, 102)}, {}),
        ({"first": run(87, 88), "resumed": run(0, 88)}, {}),  # the table ends here
        ({"first": run(100, 101, "missing_local"), "resumed": run(1, 102)}, {"errors": Verdict.FAIL}),
        (
            {"first": run(100, 101, "damaged_local"), "resumed": run(1, 102)},
            {"errors": Verdict.FAIL, "hash_mismatches": Verdict.FAIL},
        ),
        (
            {"first": run(100, 101) | {"errors_left_out": {"conflict": 1}}, "resumed": run(1, 102)},
            {"errors": Verdict.FAIL, "hash_mismatches": Verdict.FAIL},  # counted, though its lists are full
        ),
        ({"first": run(100, 101), "resumed": run(1, 2)}, {"resume_token_valid": Verdict.FAIL}),  # it began anew
        ({"first": run(100, 0), "resumed": run(1, 1)}, {"resume_token_valid": Verdict.FAIL}),  # it says the beginning
        (
            {"first": run(0, 0), "resumed": run(0, 0)},
            dict.fromkeys(TABLE.steps[2].criteria, Verdict.INCONCLUSIVE),
        ),
    ],
)
def test_dry_run(documents: dict[str, Any], refused: dict[str, Verdict]) -> None:
    """A token that leads back to the beginning, or a hash that differs, is found before anything is uploaded."""
    expected = dict.fromkeys(TABLE.steps[2].criteria, Verdict.PASS) | refused
    assert verdicts(2, "dry_run", **documents) == expected


@pytest.mark.parametrize(
    ("changed", "refused"),
    [
        ({}, {}),
        ({"pending": 1}, {"sample_migrated": Verdict.FAIL}),
        ({"agree": 199}, {"witnesses_agree": Verdict.FAIL}),
        ({"downloaded": 4}, {"full_downloads": Verdict.FAIL}),
        (
            {"rows": 0, "files": 0, "agree": 0, "downloaded": 0},
            dict.fromkeys(TABLE.steps[3].criteria, Verdict.INCONCLUSIVE),
        ),
    ],
)
def test_sample(changed: dict[str, Any], refused: dict[str, Verdict]) -> None:
    """One certificate left behind, or one object that is another, is a failed sample."""
    expected = dict.fromkeys(TABLE.steps[3].criteria, Verdict.PASS) | refused
    assert verdicts(3, "sample", after=sample(**changed)) == expected


@pytest.mark.parametrize(
    ("documents", "refused"),
    [
        ({"storage": storage(), "site": site()}, {}),
        ({"storage": storage(migrated={"from_s3": 99}), "site": site()}, {"migrated_from_s3": Verdict.FAIL}),
        ({"storage": storage(migrated={"equal": 99}), "site": site()}, {"migrated_from_s3": Verdict.FAIL}),
        ({"storage": storage(), "site": site(migrated=99)}, {"migrated_from_s3": Verdict.FAIL}),
        ({"storage": storage(unmigrated={"signed": 1}), "site": site()}, {"others_from_local": Verdict.FAIL}),
        ({"storage": storage(unmigrated={"from_local": 99}), "site": site()}, {"others_from_local": Verdict.FAIL}),
        ({"storage": storage(), "site": site(unmigrated=99)}, {"others_from_local": Verdict.FAIL}),
        ({"storage": storage(answers={"ok": 4}), "site": site()}, {"presigned_url_answers": Verdict.FAIL}),
        ({"storage": storage(sign_ms=[1.0] * 94 + [100.0] * 6), "site": site()}, {"presigned_url_p95": Verdict.FAIL}),
        ({"storage": storage(sign_ms=[1.0] * 95 + [100.0] * 5), "site": site()}, {}),
        ({"storage": storage(sign_ms=[1.0] * 59), "site": site()}, {"presigned_url_p95": Verdict.INCONCLUSIVE}),
        (
            {"storage": storage(), "site": site(0, 0, asked=0)},
            {"migrated_from_s3": Verdict.INCONCLUSIVE, "others_from_local": Verdict.INCONCLUSIVE},
        ),
    ],
)
def test_reads(documents: dict[str, Any], refused: dict[str, Verdict]) -> None:
    """A signed URL of what is not in S3, or a read that fell back, is seen although the customer got the bytes."""
    expected = dict.fromkeys(TABLE.steps[4].criteria, Verdict.PASS) | refused
    assert verdicts(4, "reads", **documents) == expected


@pytest.mark.parametrize(
    ("changed", "refused"),
    [
        ({}, {}),
        ({"migrated": {"from_s3": 99}}, {"migrated_from_s3": Verdict.FAIL}),
        ({"migrated": {"equal": 99}}, {"migrated_from_s3": Verdict.FAIL}),
        ({"unmigrated": {"from_local": 99}}, {"others_from_local": Verdict.FAIL}),
        ({"answers": {"ok": 4}}, {"presigned_url_answers": Verdict.FAIL}),
        ({"answers": {"asked": 0, "ok": 0}}, {"presigned_url_answers": Verdict.INCONCLUSIVE}),
        ({"sign_ms": [1.0] * 94 + [100.0] * 6}, {"presigned_url_p95": Verdict.FAIL}),
        ({"sign_ms": [1.0] * 59}, {"presigned_url_p95": Verdict.INCONCLUSIVE}),
        ({"migrated": {"asked": 0, "from_s3": 0, "equal": 0}}, {"migrated_from_s3": Verdict.INCONCLUSIVE}),
    ],
)
def test_returning_readers(changed: dict[str, Any], refused: dict[str, Verdict]) -> None:
    """After a drill nobody reads from S3 what step 4 would not let them read."""
    expected = dict.fromkeys(TABLE.steps[4].criteria, Verdict.PASS) | refused
    assert verdicts(4, "returning_readers", shadow=storage(**changed)) == expected


def test_returning_readers_need_no_row_without_a_mark() -> None:
    """After the backfill there is none, and a drill that wants one would never pass again."""
    unmigrated = {"asked": 0, "from_local": 0, "equal": 0, "signed": 0}
    assert "others_from_local" not in step_measures.returning_readers(storage(unmigrated=unmigrated))


@pytest.mark.parametrize(
    ("changed", "refused"),
    [
        ({}, {}),
        ({"missing": ["a"], "orphaned": ["b"]}, {"keys_agree": Verdict.FAIL}),  # N = N
        ({"unmarked_present": ["a"]}, {"keys_agree": Verdict.FAIL}),
        ({"left_out": {"missing": 1}}, {"keys_agree": Verdict.FAIL}),
        ({"different": [{"key": "a"}]}, {"keys_agree": Verdict.FAIL, "hashes_agree": Verdict.FAIL}),
        ({"sampled": 0}, {"hashes_agree": Verdict.INCONCLUSIVE}),
        ({"db_count": 0, "s3_count": 0}, {"keys_agree": Verdict.INCONCLUSIVE}),  # 0 = 0
    ],
)
def test_consistency(changed: dict[str, Any], refused: dict[str, Verdict]) -> None:
    """Equal counts are not agreement, and nothing compared with nothing is no result."""
    expected = dict.fromkeys(TABLE.steps[5].criteria, Verdict.PASS) | refused
    assert verdicts(5, "consistency", check=check(**changed)) == expected


def test_disagreements_name_every_key_and_whose_copy_is_in_doubt() -> None:
    """A verdict without a key sends the on-call through all of them."""
    found = check(
        missing=["a"], orphaned=["b"], unmarked_present=["c"], different=[{"key": "d", "disagrees": ["local", "s3"]}]
    )
    assert [" ".join(each.values()) for each in step_measures.disagreements(found)] == [
        "missing a",
        "orphaned b",
        "unmarked_present c",
        "different d in doubt: local and s3",
    ]
    assert step_measures.disagreements(check()) == []


def test_percentile_is_that_of_the_nearest_rank() -> None:
    """95 of 100 fast calls are a fast p95; 94 are not."""
    assert percentile([], 95) is None
    assert percentile([5.0], 95) == 5.0
    assert percentile(list(range(1, 101)), 95) == 95


RETIRED = {"agree": 100, "local": 0, "unproven": 100, "local_wanted": False}
SAMPLES = {"keys_agree": 200, "hashes_agree": 20, "local_copies_present": 20, "cost_within_budget": 1}
TODAY = {
    "criteria": [
        {"criterion": name, "measured": 1.0, "samples": samples, "verdict": "PASS"} for name, samples in SAMPLES.items()
    ]
}


@pytest.mark.parametrize(
    ("check_changed", "sample_changed", "cost", "refused"),
    [
        ({}, {}, {"total": 5, "billed": None, "budget": 8}, set()),
        ({"missing": ["a"]}, {}, {"total": 5, "billed": None, "budget": 8}, {"keys_agree"}),
        ({}, {"agree": 199}, {"total": 5, "billed": None, "budget": 8}, {"hashes_agree"}),
        ({}, {"local": 199}, {"total": 5, "billed": None, "budget": 8}, {"local_copies_present"}),
        ({}, RETIRED, {"total": 5, "billed": None, "budget": 8}, set()),
        ({}, RETIRED | {"agree": 99}, {"total": 5, "billed": None, "budget": 8}, {"hashes_agree"}),
        ({}, {}, {"total": 9, "billed": None, "budget": 8}, {"cost_within_budget"}),
        ({}, {}, {"total": 5, "billed": 9, "budget": 8}, {"cost_within_budget"}),  # the bill outweighs the estimate
        ({}, {}, {"total": 9, "billed": 5, "budget": 8}, {"cost_within_budget"}),  # billed before reads were on S3
    ],
)
def test_daily(
    check_changed: dict[str, Any], sample_changed: dict[str, Any], cost: dict[str, Any], refused: set[str]
) -> None:
    """A day on which one key disagrees, or one local copy is gone before its time, is no day of a soak."""
    looked = {"local_wanted": True} | sample(**sample_changed)
    documents = {"check": check(**check_changed), "sample": looked, "cost": cost}
    measured = step_measures.MEASURES["daily"](**documents)
    criteria = {name: TABLE.steps[9].criteria[name] for name in measured}
    results = gates.evaluate(criteria, measured, gates.sample_floors(TABLE))
    assert {result.criterion for result in results if result.verdict is Verdict.FAIL} == refused


@pytest.mark.parametrize(
    ("soak", "refused"),
    [
        ({"days": 7, "counts": {"cert.s3.save.success": 2000, "cert.s3.save.fail": 1}}, {}),
        ({"days": 6, "counts": {"cert.s3.save.success": 2000}}, {"days_passed": Verdict.FAIL}),
        (
            {"days": 7, "counts": {"cert.s3.save.success": 999, "cert.s3.save.fail": 1}},
            {"save_success_ratio": Verdict.FAIL},  # 99.9 % is not more than 99.9 %
        ),
        ({"days": 7, "counts": {"cert.s3.save.success": 199}}, {"save_success_ratio": Verdict.INCONCLUSIVE}),
        (
            {"days": 7, "counts": {"cert.s3.save.success": 2000}, "gaps": ["web2 delivered no METRIC line"]},
            {"save_success_ratio": Verdict.INCONCLUSIVE},  # what it failed to save is not counted
        ),
    ],
)
def test_week(soak: dict[str, Any], refused: dict[str, Verdict]) -> None:
    """Seven quiet days with two hundred saves at least, of which hardly one may fail."""
    expected = dict.fromkeys(TABLE.steps[9].criteria, Verdict.PASS) | refused
    assert verdicts(9, "week", soak={"gaps": []} | soak, day=TODAY) == expected


@pytest.mark.parametrize(
    ("outage", "copies", "refused"),
    [
        ({"seconds": 1.9, "kept": True}, {"agree": 240, "files": 240}, set()),
        ({"seconds": 2.0, "kept": True}, {"agree": 240, "files": 240}, {"seconds_to_answer_without_s3"}),
        ({"seconds": 0.1, "kept": False}, {"agree": 240, "files": 240}, {"seconds_to_answer_without_s3"}),
        ({"seconds": 1.9, "kept": True}, {"agree": 239, "files": 240}, {"copies_equal"}),
    ],
)
def test_dual_write(outage: dict[str, Any], copies: dict[str, Any], refused: set[str]) -> None:
    """An answer in time without the file is no answer."""
    found = verdicts(6, "dual_write", outage=outage, copies=copies)
    assert {name for name, verdict in found.items() if verdict is Verdict.FAIL} == refused


@pytest.mark.parametrize(
    ("run_changed", "after", "refused"),
    [
        ({}, {}, set()),
        ({}, {"pending": 1}, {"migrated"}),
        ({}, {"agree": 199}, {"witnesses_agree"}),
        ({"errors": [{"cause": "conflict"}]}, {}, {"hash_mismatches"}),
        ({"errors_left_out": {"conflict": 1}}, {}, {"hash_mismatches"}),
        ({}, {"different": [{"key": "a"}]}, {"hash_mismatches"}),
        ({"duration_s": 86401.0}, {}, {"duration_seconds"}),
    ],
)
def test_full_backfill(run_changed: dict[str, Any], after: dict[str, Any], refused: set[str]) -> None:
    """One certificate of ten thousand is not rounded away."""
    ran = {"errors": [], "duration_s": 60.0} | run_changed
    found = verdicts(7, "full_backfill", run=ran, after=sample(different=[]) | after)
    assert {name for name, verdict in found.items() if verdict is Verdict.FAIL} == refused


@pytest.mark.parametrize(
    ("changed", "refused"),
    [
        ({}, set()),
        ({"shadow": {"from_s3": 99}}, {"shadow_reads_equal"}),
        ({"shadow": {"equal": 99}}, {"shadow_reads_equal"}),
        ({"sign_ms": [100.0] * 60}, {"presigned_url_p95"}),
        ({"not_found": 1}, {"not_found_for_migrated"}),
        ({"local": 199}, {"local_copies_present"}),  # S3 and certificate_hash agree, and a rollback would read nothing
    ],
)
def test_read_switch(changed: dict[str, Any], refused: set[str]) -> None:
    """A 404 for a migrated certificate, or a local copy that is gone, is seen although reads are fast and plenty."""
    found = verdicts(
        8,
        "read_switch",
        shadow={"migrated": {"asked": 100, "from_s3": 100, "equal": 100} | changed.get("shadow", {})},
        storage={"sign_ms": changed.get("sign_ms", [1.0] * 100)},
        downloads=[{"migrated": {"asked": 120, "not_found": changed.get("not_found", 0)}}] * 2,
        copies={"agree": 200, "local": changed.get("local", 200), "files": 200},
    )
    assert {name for name, verdict in found.items() if verdict is Verdict.FAIL} == refused


@pytest.mark.parametrize(
    ("look", "equal", "refused"),
    [
        ({}, 10, {}),
        ({"certificates": 0, "not_here": 300}, 10, {}),
        ({"left": [{"cause": "accepted"}]}, 10, {}),
        ({"left": [{"cause": "missing_object"}]}, 10, {"objects_proven": Verdict.FAIL}),
        ({"certificates": 0}, 10, {"objects_proven": Verdict.INCONCLUSIVE}),
        ({"stopped": "signal"}, 10, {"objects_proven": Verdict.INCONCLUSIVE}),
        ({}, 9, {"quarantined_still_served": Verdict.FAIL}),
    ],
)
def test_retirement(look: dict[str, Any], equal: int, refused: dict[str, Verdict]) -> None:
    """One object that nobody proved, or one certificate that nobody is served any more."""
    found = verdicts(
        10,
        "retirement",
        look={"certificates": 300, "not_here": 0, "left": [], "stopped": None} | look,
        downloads=[{"migrated": {"asked": 10, "equal": 10}}, {"migrated": {"asked": 10, "equal": equal}}],
    )
    assert {name: verdict for name, verdict in found.items() if verdict is not Verdict.PASS} == refused


def test_retirement_that_fetched_nothing_is_inconclusive() -> None:
    """Ten certificates that nobody asked for are no proof."""
    look = {"certificates": 300, "not_here": 0, "left": [], "stopped": None}
    found = verdicts(10, "retirement", look=look, downloads=[{"migrated": {"asked": 0, "equal": 0}}])
    assert found["quarantined_still_served"] is Verdict.INCONCLUSIVE


def test_a_week_whose_last_day_asked_for_no_local_copies_is_inconclusive() -> None:
    """A day's record of mode settled, or of an earlier release, says nothing of them."""
    criteria = [each for each in TODAY["criteria"] if each["criterion"] != "local_copies_present"]
    soak = {"days": 7, "counts": {"cert.s3.save.success": 2000}, "gaps": []}
    found = verdicts(9, "week", soak=soak, day={"criteria": criteria})
    assert found.pop("local_copies_present") is Verdict.INCONCLUSIVE
    assert set(found.values()) == {Verdict.PASS}
