"""What is said of customers after a rollback: YES by measurement, NO by name, NOT MEASURED where nothing was seen."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cutover import plan
from cutover import rollback_validation as validation

TABLE = plan.load()
LOCAL, UPLOADS_OFF, DUAL = (False, False, False), (False, True, False), (True, False, True)


def process(flags: tuple[bool, bool, bool], worker: str = "worker1", *, proven: bool = True) -> dict[str, Any]:
    dual_write, read_primary, backfill = flags
    held = {"dual_write": dual_write, "read_primary": read_primary, "backfill": backfill}
    return {"machine": "web1", "worker": worker, "pid": 7, "proven": proven, **held}


def host(*processes: dict[str, Any]) -> dict[str, Any]:
    return {"inventory_hostname": "web1", "emergency_result": {"stdout": "\n".join(map(json.dumps, processes))}}


def downloads(asked: int, equal: int, *failures: dict[str, Any]) -> dict[str, Any]:
    counts = {"asked": asked, "equal": equal, "not_found": 0, "failed": asked - equal}
    return {"migrated": counts, "unmigrated": dict.fromkeys(counts, 0), "failures": failures}


@pytest.mark.parametrize(
    ("document", "verdict", "sentence"),
    [
        (downloads(20, 20), "YES", "20 of 20 downloads"),
        (downloads(2, 1, {"certificate_id": 9, "status": 500, "detail": "HTTP 500"}), "NO", "certificate 9: HTTP 500"),
        (downloads(0, 0), "NOT MEASURED", "no certificate"),
    ],
)
def test_a_download_that_fails_is_named(document: dict[str, Any], verdict: str, sentence: str) -> None:
    """Zero failures of zero downloads is what a broken site looks like."""
    found = validation.downloads(document)
    assert found["verdict"] == verdict
    assert sentence in found["said"]


def copy(local: str | None, downloaded: str | None) -> dict[str, Any]:
    equal = local is not None and local == downloaded
    return {"key": "certificates/pdf/a.pdf", "local": local, "downloaded": downloaded, "equal": equal}


@pytest.mark.parametrize(
    ("flags", "copies", "verdict"),
    [
        (LOCAL, [copy("a", None)], "YES"),
        (LOCAL, [copy("a", "a")], "NO"),
        (UPLOADS_OFF, [copy("a", "a")], "NO"),
        (DUAL, [copy("a", "a")], "YES"),
        (DUAL, [copy("a", None)], "NO"),
        (DUAL, [copy("a", "b")], "NO"),
        (LOCAL, [copy(None, None)], "NO"),
        (LOCAL, [], "NOT MEASURED"),
    ],
)
def test_an_upload_must_be_where_its_state_says(
    flags: tuple[bool, bool, bool], copies: list[dict[str, Any]], verdict: str
) -> None:
    """A worker that still writes to S3 after `uploads` is one that nobody rolled back."""
    assert validation.upload(TABLE, [process(flags)], copies)["verdict"] == verdict


@pytest.mark.parametrize(
    ("flags", "metrics", "verdict"),
    [
        (LOCAL, {}, "YES"),
        (LOCAL, {"cert.s3.save.success": 1}, "NO"),
        (LOCAL, {"cert.s3.delete.success": 1}, "NO"),
        (UPLOADS_OFF, {"cert.s3.read.success": 3, "cert.s3.url.success": 1}, "YES"),
        (UPLOADS_OFF, {"cert.s3.save.fail": 1}, "NO"),
        (DUAL, {"cert.s3.save.success": 3, "cert.s3.delete.success": 1, "cert.other": 4}, "YES"),
        (DUAL, {"cert.s3.read.fallback": 1}, "NO"),
        (DUAL, {"cert.s3.read.fallback": 0}, "YES"),
    ],
)
def test_a_line_that_the_flags_forbid_is_named(
    flags: tuple[bool, bool, bool], metrics: dict[str, int], verdict: str
) -> None:
    document = {"web1": {"units": {"deltacrown-uwsgi@worker1.service": {"metrics": metrics}}}}
    held = validation.proven({"web1": host(process(flags))})
    found = validation.journals(TABLE, document, held)
    assert found["verdict"] == verdict
    if verdict == "NO":
        assert "web1 worker1: 1 x cert.s3." in found["said"]


def test_a_worker_that_was_not_rolled_back_is_not_judged() -> None:
    """With limit_workers the others go on using S3, and may."""
    document = {"web1": {"units": {"deltacrown-uwsgi@worker2.service": {"metrics": {"cert.s3.save.success": 1}}}}}
    held = validation.proven({"web1": host(process(LOCAL))})
    assert validation.journals(TABLE, document, held)["verdict"] == "NOT MEASURED"


def test_a_worker_whose_processes_differ_or_are_not_proven_holds_nothing() -> None:
    assert (
        validation.proven({"web1": host(process(LOCAL), process(DUAL), process(DUAL, "worker2", proven=False))}) == {}
    )


@pytest.mark.parametrize(
    ("scenario", "flags", "sentences"),
    [
        ("local", LOCAL, ["production is in state local", "go-live-step6.yml"]),
        ("reads", DUAL, ["production is in state dual-write", "go-live-step8.yml"]),
        ("uploads", UPLOADS_OFF, ["production is in state uploads-off", "go-live-step6.yml"]),
        ("reads", (False, False, True), ["state backfill-only", "no step starts from these flags"]),
        (
            "inconsistency",
            (True, False, False),
            ["state reads-off", "integrity-audit.yml -e deployment=production", "go-live-step6.yml"],
        ),
    ],
)
def test_the_report_ends_with_the_way_back(scenario: str, flags: tuple[bool, bool, bool], sentences: list[str]) -> None:
    found = validation.way_back(TABLE, [host(process(flags))], scenario, "production")
    assert len(found) == len(sentences)
    for wanted, said in zip(sentences, found, strict=True):
        assert wanted in said


def test_a_fleet_in_two_states_is_sent_to_no_step() -> None:
    (said,) = validation.way_back(TABLE, [host(process(LOCAL), process(DUAL, "worker2"))], "reads", "production")
    assert "2 states" in said


def test_the_resolution_names_the_affected_files_alone_and_quotes_them() -> None:
    """Repairing everything after an inconsistency may overwrite the copy that was right."""
    audit = {
        "missing": ["certificates/pdf/it's.pdf"],
        "unmarked_present": [],
        "orphaned": ["certificates/pdf/o.pdf"],
        "different": [{"key": "certificates/pdf/d.pdf", "witnesses": {}}],
    }
    said = "\n".join(validation.resolution(audit, "staging", "staging1", "/etc/deltacrown/staging.env"))
    assert """--key 'certificates/pdf/it'"'"'s.pdf'""" in said
    assert "repair the affected files only (2; 1 orphaned objects" in said
    assert "o.pdf" not in said
    assert "ansible-playbook integrity-audit.yml -e deployment=staging" in said
    assert "--key KEY" in "\n".join(validation.resolution(None, "staging", "staging1", "/e"))
