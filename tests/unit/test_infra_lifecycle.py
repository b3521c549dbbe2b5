"""The lifecycle policy, and what it must never be."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from infra.lifecycle import LifecycleError, bucket_rules, load_bucket_rules

POLICY_FILE = Path(__file__).resolve().parents[2] / "ops" / "s3" / "lifecycle-policy.json"


def rule(**changes: Any) -> dict[str, Any]:
    return {"ID": "r", "Status": "Enabled", "Filter": {"Prefix": "certificates/"}} | changes


def test_the_repository_policy_keeps_old_versions_and_cleans_up() -> None:
    """A policy that lost its rules would keep rubbish for ever, or lose deleted certificates too soon."""
    rules = {rule["id"]: rule for rule in load_bucket_rules(POLICY_FILE)}
    certificates = rules["certificates-stay-instantly-readable"]
    assert certificates["filter"] == {"prefix": "certificates/"}
    assert certificates["noncurrent_version_expiration"] == {"noncurrent_days": 90}
    assert "expiration" not in certificates
    uploads = rules["unfinished-uploads-are-removed"]
    assert uploads["abort_incomplete_multipart_upload"] == {"days_after_initiation": 7}
    probe = rules["probe-objects-expire"]
    assert probe["filter"] == {"prefix": "cutover-probe/"}
    assert probe["expiration"] == {"days": 1}
    assert probe["noncurrent_version_expiration"] == {"noncurrent_days": 1}


@pytest.mark.parametrize("storage_class", ["GLACIER", "DEEP_ARCHIVE", "GLACIER_FLEXIBLE_RETRIEVAL"])
@pytest.mark.parametrize(("key", "days"), [("Transitions", "Days"), ("NoncurrentVersionTransitions", "NoncurrentDays")])
def test_a_class_that_needs_a_restore_is_refused(storage_class: str, key: str, days: str) -> None:
    """Year-old certificates answer InvalidObjectState, and every download of them fails."""
    with pytest.raises(LifecycleError, match=f"Rules.0.{key}.0.StorageClass"):
        bucket_rules({"Rules": [rule(**{key: [{days: 365, "StorageClass": storage_class}]})]})


@pytest.mark.parametrize("storage_class", ["STANDARD_IA", "GLACIER_IR"])
def test_an_instantly_readable_class_is_taken(storage_class: str) -> None:
    """A validator that refuses everything would be removed by the next person."""
    taken = bucket_rules({"Rules": [rule(Transitions=[{"Days": 30, "StorageClass": storage_class}])]})
    assert taken[0]["transitions"] == [{"days": 30, "storage_class": storage_class}]


@pytest.mark.parametrize("prefix", ["", "c", "certificates/", "certificates/pdf/2026/"])
def test_current_certificates_never_expire(prefix: str) -> None:
    """S3 deletes certificates by itself, a year after everyone stopped looking."""
    with pytest.raises(LifecycleError, match="delete certificates"):
        bucket_rules({"Rules": [rule(Filter={"Prefix": prefix}, Expiration={"Days": 3650})]})


def test_old_versions_of_certificates_are_kept_90_days() -> None:
    """A wrong overwrite is noticed after the version that could repair it is gone."""
    with pytest.raises(LifecycleError, match="90 days"):
        bucket_rules({"Rules": [rule(NoncurrentVersionExpiration={"NoncurrentDays": 89})]})


@pytest.mark.parametrize(("key", "days"), [("Transitions", "Days"), ("NoncurrentVersionTransitions", "NoncurrentDays")])
def test_standard_ia_before_day_30_is_refused(key: str, days: str) -> None:
    """S3 refuses the whole policy, and the bucket is left without any."""
    with pytest.raises(LifecycleError, match="before day 30"):
        bucket_rules({"Rules": [rule(**{key: [{days: 29, "StorageClass": "STANDARD_IA"}]})]})
    assert bucket_rules({"Rules": [rule(**{key: [{days: 30, "StorageClass": "STANDARD_IA"}]})]})


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"Id": "r"}, "Rules.0.Id"),  # boto3 takes ID alone
        ({"Filter": {"Prefix": "x/", "Tag": {}}}, "Rules.0.Filter.Tag"),
        ({"Status": "enabled"}, "Rules.0.Status"),
        ({"Expiration": {"Days": 0}}, "Rules.0.Expiration.Days"),
        ({"Expiration": {"Date": "2027-01-01"}}, "Rules.0.Expiration.Date"),
    ],
)
def test_a_bad_key_or_value_is_named(change: dict[str, Any], named: str) -> None:
    """A misspelt key that is ignored is a rule that never works."""
    with pytest.raises(LifecycleError, match=named):
        bucket_rules({"Rules": [rule(**change)]})


@pytest.mark.parametrize("policy", [{}, {"Rules": []}, {"Rules": [rule(), rule()]}])
def test_no_rules_and_doubled_names_are_refused(policy: dict[str, Any]) -> None:
    """An emptied file would silently take every rule from the buckets."""
    with pytest.raises(LifecycleError, match="Rules"):
        bucket_rules(copy.deepcopy(policy))


@pytest.mark.parametrize("content", [None, "{", json.dumps({"Rules": []})])
def test_an_unusable_file_is_named(tmp_path: Path, content: str | None) -> None:
    """The operator is told that something is invalid, but not where."""
    path = tmp_path / "policy.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(LifecycleError, match=r"policy\.json"):
        load_bucket_rules(path)
