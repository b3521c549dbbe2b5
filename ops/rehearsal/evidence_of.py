"""What counts as proof of a rehearsal's claims: each function returns the proof as text, or says why there is none."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from PIL import Image

from rehearsal.claims import ClaimError
from rehearsal.traffic import LARGEST_KB, MIXTURE, SMALLEST_KB

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from mypy_boto3_s3.client import S3Client

    from rehearsal.playbook import PlaybookRun
    from rehearsal.traffic import Issued, Report

__all__ = ["delivered", "files_on_disk", "gate", "no_change", "no_failed_request", "nothing_in_bucket", "passed"]

SENT_OF_DUE = 0.9  # a load that sent less than this of what was due died, or was not let run


def passed(run: PlaybookRun) -> str:
    """The output of a playbook that ended well; ClaimError with its last lines otherwise."""
    if run.returncode != 0:
        raise ClaimError(f"{run.log.stem} ended with {run.returncode}:\n{run.last_lines()}")
    return run.output


def no_change(run: PlaybookRun, machines: set[str]) -> str:
    """A run on exactly these machines that changed nothing on any."""
    changed = dict(re.findall(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)", passed(run), re.MULTILINE))
    if set(changed) != machines or any(int(count) for count in changed.values()):
        raise ClaimError(f"expected changed=0 on {', '.join(sorted(machines))} and saw {changed or 'no machine'}")
    return f"{len(changed)} machines, changed=0"


def delivered(output: str, machines: set[str]) -> str:
    """A marked line of each of these machines that arrived in its log group, and after how many seconds."""
    found = re.findall(r"([\w-]+): a marked line arrived in \S+ after ([\d.]+) s", output)
    if missing := machines - {machine for machine, _ in found}:
        raise ClaimError(f"no marked line of {', '.join(sorted(missing))} arrived in CloudWatch")
    return f"a marked line of {len(machines)} machines, the slowest after {max(float(text) for _, text in found):.1f} s"


def gate(output: str, criteria: Iterable[str]) -> str:
    """The results that a step's gate printed: a PASS for each criterion of the table."""
    results = dict(re.findall(r"PASS (\w+): (measured [^,]+), wanted", output))
    missing = set(criteria) - set(results)
    if missing or not results:
        raise ClaimError(f"the step ended well without a PASS for {', '.join(sorted(missing)) or 'anything'}")
    return "; ".join(f"{name} {text}" for name, text in results.items())


def files_on_disk(export: Path, issued: Sequence[Issued], count: int) -> str:
    """Both files of `count` certificates: the PDF is the one that was hashed, the PNG is a picture."""
    names = {name for each in issued for name in (each.file_pdf, each.file_image)}
    if len(names) != 2 * count:
        raise ClaimError(f"{count} certificates should have {2 * count} files and have {len(names)}")
    for each in issued:
        if hashlib.sha256((export / each.file_pdf).read_bytes()).hexdigest() != each.certificate_hash:
            raise ClaimError(f"{each.file_pdf} on the disk is not the PDF that was hashed")
        with Image.open(export / each.file_image) as picture:
            picture.verify()
    sizes = [(export / name).stat().st_size / 1000 for name in names]
    if min(sizes) < SMALLEST_KB or max(sizes) > 1.1 * LARGEST_KB:
        raise ClaimError(f"files of {min(sizes):.1f}-{max(sizes):.1f} KB, not of {SMALLEST_KB}-{LARGEST_KB} KB")
    return f"{len(sizes)} files of {min(sizes):.0f}-{max(sizes):.0f} KB, {sum(sizes) / 1000:.0f} MB"


def nothing_in_bucket(s3: S3Client, bucket: str, issued: Sequence[Issued]) -> str:
    """None of these certificates' files is in the bucket."""
    if not issued:
        raise ClaimError("no certificate was issued, so nothing is proven")
    for each in issued:
        for name in (each.file_pdf, each.file_image):
            if s3.list_objects_v2(Bucket=bucket, Prefix=name)["KeyCount"]:
                raise ClaimError(f"{name} went to {bucket} after the rollback")
    return f"{len(issued)} certificates, none of them in {bucket}"


def no_failed_request(reports: Sequence[Report]) -> str:
    """Every load sent what was due, of every kind, and had no failure."""
    failures = [failure for report in reports for failure in report.failures]
    total = sum(report.total for report in reports)
    for report in reports:
        if report.total < SENT_OF_DUE * report.due or not report.total:
            raise ClaimError(f"a load sent {report.total} of {report.due} requests, so nothing is proven")
        if report.left_behind:
            raise ClaimError(f"{len(report.left_behind)} certificates of the load could not be removed")
    absent = set(MIXTURE) - {kind for report in reports for kind in report.by_kind}
    if absent:
        raise ClaimError(f"no request of kind {', '.join(sorted(absent))} was sent, so nothing is proven of it")
    if failures:
        raise ClaimError(f"{len(failures)} of {total} requests failed, the first: {failures[0]}")
    return f"0 of {total} failed, the slowest took {max(report.slowest_seconds for report in reports):.1f} s"
