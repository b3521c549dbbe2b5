"""What the data tools' documents say of the steps' criteria: (value, samples) by criterion of ops/cutover.yml.

A document that lacks what is measured gives no value and no samples: the gate then says INCONCLUSIVE, never PASS.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from cutover import gates, plan
from cutover.backfill import token
from cutover.percentile import percentile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Document = Mapping[str, Any]
    Measures = dict[str, tuple[float | None, int]]

__all__ = ["MEASURES", "disagreements"]

_NEVER_SECONDS = 1e9  # what takes thirty years does not happen; JSON, and so the evidence, knows no infinity
_DISAGREEMENTS = ("missing", "orphaned", "unmarked_present")  # beside `different`, whose entries are no plain keys
_HASH_CAUSES = {"damaged_local", "conflict", "changed_while_read", "checksum_refused"}


def _share(part: int, whole: int) -> tuple[float | None, int]:
    return (part / whole if whole else None), whole


def _signing(storage: Document) -> tuple[float | None, int]:
    """The service level's percentile of how long the storage class signed, in milliseconds."""
    signed = storage["sign_ms"]
    percent = plan.load().service_levels["presigned_url_p95"].percentile
    return (None if percent is None else percentile(signed, percent)), len(signed)


def _causes(run: Document) -> Counter[str]:
    """All errors of a backfill's document by cause, those that it does not list included."""
    return Counter(problem["cause"] for problem in run.get("errors", [])) + Counter(run.get("errors_left_out", {}))


def dry_run(first: Document, resumed: Document) -> Measures:
    """Step 2: a dry run, and one that went on from its token with a single certificate.

    The token is valid if the second run began where the first had ended: it has got further, or nothing was left.
    """
    seen = first["found"]
    causes = _causes(first)
    start, end = token.decode([first["resume_token"]]), token.decode([resumed["resume_token"]])
    went_on = end > start or (resumed["found"] == 0 and end == start)
    return {
        "errors": (causes.total(), seen),
        "hash_mismatches": (sum(causes[cause] for cause in _HASH_CAUSES), seen),
        "resume_token_valid": (float(start > 0 and went_on), seen),
    }


def sample(after: Document) -> Measures:
    """Step 3: the witnesses of the sample after its backfill."""
    return {
        "sample_migrated": _share(after["rows"] - after["pending"], after["rows"]),
        "witnesses_agree": _share(after["agree"], after["files"]),
        "full_downloads": (after["downloaded"], after["files"]),
    }


def reads(storage: Document, site: Document) -> Measures:
    """Step 4: what the storage class did in a process of its own, and what the running workers answered."""
    migrated, others = storage["migrated"], storage["unmigrated"]
    from_s3 = min(migrated["from_s3"], migrated["equal"]) + site["migrated"]["equal"]
    from_local = _from_local(others)
    return {
        "migrated_from_s3": _share(from_s3, _both(migrated["asked"], site["migrated"]["asked"])),
        "others_from_local": _share(
            from_local + site["unmigrated"]["equal"], _both(others["asked"], site["unmigrated"]["asked"])
        ),
        "presigned_url_answers": _share(storage["answers"]["ok"], storage["answers"]["asked"]),
        "presigned_url_p95": _signing(storage),
    }


def _from_local(others: Mapping[str, int]) -> int:
    """How many rows without a mark were read from local files, as they were issued, and not signed."""
    return min(others["from_local"], others["equal"], others["asked"] - others["signed"])


def _both(first: int, second: int) -> int:
    """The sum of two samples, none if one of them is empty: each way of reading must have been tried."""
    return first + second if first and second else 0


def disagreements(check: Document) -> list[dict[str, str]]:
    """The keys on which step 5's check saw table and bucket disagree: how, which, and whose copy is in doubt."""
    different = [
        {"kind": "different", "key": each["key"], "doubt": f"in doubt: {' and '.join(each['disagrees'])}"}
        for each in check["different"]
    ]
    return [{"kind": kind, "key": key} for kind in _DISAGREEMENTS for key in check[kind]] + different


def consistency(check: Document) -> Measures:
    """Step 5: the consistency check of all keys, and of the sample's hashes."""
    keys = max(check["db_count"], check["s3_count"])
    different, *others = (
        len(check[kind]) + check.get("left_out", {}).get(kind, 0) for kind in ("different", *_DISAGREEMENTS)
    )
    wrong = different + sum(others)
    return {
        "keys_agree": (max(0.0, 1 - wrong / keys) if keys else None, keys),
        "hashes_agree": (max(0.0, 1 - different / check["sampled"]) if check["sampled"] else None, check["sampled"]),
    }


def dual_write(outage: Document, copies: Document) -> Measures:
    """Step 6, beside its soak: a save while S3 does not answer, and both copies of what the canary issued."""
    seconds = outage["seconds"] if outage["kept"] else _NEVER_SECONDS  # an answer without the file is no answer
    return {
        "seconds_to_answer_without_s3": (seconds, 1),
        "copies_equal": _share(copies["agree"], copies["files"]),
    }


def full_backfill(run: Document, after: Document) -> Measures:
    """Step 7: the last run of the backfill, and the witnesses of the whole table after it.

    Rows that were accepted by name and reason are not counted by the witnesses. A run that had nothing left to do took
    no time, and had no mismatches.
    """
    causes = _causes(run)
    mismatches = sum(causes[cause] for cause in _HASH_CAUSES)
    return {
        "migrated": _share(after["rows"] - after["pending"], after["rows"]),
        "witnesses_agree": _share(after["agree"], after["files"]),
        "hash_mismatches": (mismatches + len(after["different"]), after["files"]),
        "duration_seconds": (run.get("duration_s", 0.0), after["rows"]),
    }


def shadow_reads(shadow: Document) -> Measures:
    """Step 8, before anybody is switched: what a worker would read from S3."""
    migrated = shadow["migrated"]
    return {"shadow_reads_equal": _share(min(migrated["from_s3"], migrated["equal"]), migrated["asked"])}


def returning_readers(shadow: Document) -> Measures:
    """A drill, before readers return: what a worker would read, by the criteria of whichever step first let them.

    After the backfill every row is marked, as a rule; then there are no others to read.
    """
    others, answers = shadow["unmigrated"], shadow["answers"]
    from_s3 = shadow_reads(shadow)["shadow_reads_equal"]
    return {
        "shadow_reads_equal": from_s3,
        "migrated_from_s3": from_s3,
        "presigned_url_answers": _share(answers["ok"], answers["asked"]),
        "presigned_url_p95": _signing(shadow),
        **({"others_from_local": _share(_from_local(others), others["asked"])} if others["asked"] else {}),
    }


def read_switch(shadow: Document, storage: Document, downloads: Sequence[Document], copies: Document) -> Measures:
    """Step 8, beside its soak: shadow reads before it, then reads, downloads, and the local copies that stay."""
    asked = sum(document["migrated"]["asked"] for document in downloads)
    return {
        "shadow_reads_equal": shadow_reads(shadow)["shadow_reads_equal"],
        "presigned_url_p95": _signing(storage),
        "not_found_for_migrated": (sum(document["migrated"]["not_found"] for document in downloads), asked),
        "local_copies_present": _share(copies["local"], copies["files"]),
    }


def daily(check: Document, sample: Document, cost: Document) -> Measures:
    """Step 9, each day: table and bucket, ten random certificates in full, their local copies, and the month's cost.

    Local copies are asked for until they may be retired; an image without one has no second witness then, and is not
    among the hashes. The cost is the larger of what AWS billed, where Cost Explorer says so, and what is computed from
    what is stored and was counted: the bill is of thirty days, of which most may lie before reads were on S3.
    """
    dollars = max(cost["total"], cost["billed"] or 0)
    return {
        "keys_agree": consistency(check)["keys_agree"],
        "hashes_agree": _share(sample["agree"], sample["files"] - sample["unproven"]),
        **({"local_copies_present": _share(sample["local"], sample["files"])} if sample["local_wanted"] else {}),
        "cost_within_budget": (float(dollars <= cost["budget"]), 1),
    }


def week(soak: Document, day: Document) -> Measures:
    """Step 9 at its end: the sealed days, the saves of all of them together, and what today's record measured.

    A machine that was silent in those days may have failed to save: then the ratio is not measured.
    """
    today = {each["criterion"]: (each["measured"], each["samples"]) for each in day["criteria"]}
    saved = gates.ratio(plan.load(), "save_success_ratio", soak["counts"])
    return {
        "days_passed": (soak["days"], soak["days"]),
        "keys_agree": today["keys_agree"],
        "hashes_agree": today["hashes_agree"],
        "local_copies_present": today.get("local_copies_present", (None, 0)),
        "save_success_ratio": (None, 0) if soak["gaps"] else saved,
        "cost_within_budget": today["cost_within_budget"],
    }


def proven(look: Document) -> Measures:
    """Step 10, before it asks: whose objects are proven, of all whose local copies are not accepted to stay.

    What an earlier run has put aside was proven when it was moved. A look that was broken off has proven nothing.
    """
    if look["stopped"] is not None:
        return {"objects_proven": (None, 0)}
    unproven = sum(left["cause"] != "accepted" for left in look["left"])
    found = look["certificates"] + look["not_here"]
    return {"objects_proven": _share(found, found + unproven)}


def retirement(look: Document, downloads: Sequence[Document]) -> Measures:
    """Step 10: what was proven, and what the site still serves and verifies without local copies."""
    served = [document["migrated"] for document in downloads]
    return {
        "objects_proven": proven(look)["objects_proven"],
        "quarantined_still_served": _share(
            sum(counts["equal"] for counts in served), sum(counts["asked"] for counts in served)
        ),
    }


MEASURES: Mapping[str, Callable[..., Measures]] = {
    "consistency": consistency,
    "daily": daily,
    "dry_run": dry_run,
    "dual_write": dual_write,
    "full_backfill": full_backfill,
    "proven": proven,
    "read_switch": read_switch,
    "reads": reads,
    "retirement": retirement,
    "returning_readers": returning_readers,
    "sample": sample,
    "week": week,
    "shadow_reads": shadow_reads,
}
