"""The runbook's step 5, verbatim, as a process of the stand-in site: its consistency task is the drop-in's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.data_tools.certificate_site import Site

STAND_IN = Path(__file__).parents[2] / "ops" / "rehearsal" / "site"
STEP_5 = """\
from apps.tournaments.tasks.certificate_consistency import check_certificate_consistency
result = check_certificate_consistency()
print(f"DB count: {result['db_count']}, S3 count: {result['s3_count']}")
"""


def step_5(site: Site, **environment: str) -> subprocess.CompletedProcess[str]:
    django = {"DJANGO_SETTINGS_MODULE": "deltacrown.settings", "DJANGO_SECRET_KEY": "tests"}
    return subprocess.run(
        [sys.executable, "manage.py", "shell"],
        cwd=STAND_IN,
        env={"PATH": os.environ["PATH"], "HOME": str(site.home), **site.environment, **django, **environment},
        input=STEP_5,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_runbook_gets_its_two_counts(site: Site) -> None:
    """The runbook's heredoc is what an operator types; the daily task and `cutover check` must say the same."""
    row = site.add(marked=True)
    site.store_files(row)
    done = step_5(site)
    assert "DB count: 2, S3 count: 2\n" in done.stdout, done.stderr
    assert "METRIC: cert.consistency.success=1" in done.stderr
    assert "METRIC: cert.consistency.mismatch_ratio=0.0" in done.stderr
    assert "ERROR" not in done.stderr


def test_a_mismatch_is_logged_with_its_key(site: Site) -> None:
    """Step 5 passes if "no count mismatches [are] logged": one that is not logged passes, too."""
    row = site.add(marked=True)
    site.store_files(row)
    site.root.delete_object(Bucket=site.bucket, Key=row.keys[0])
    done = step_5(site)
    assert "DB count: 2, S3 count: 1\n" in done.stdout, done.stderr
    assert "METRIC: cert.consistency.issues=1" in done.stderr
    assert f"{row.keys[0]}  (certificate {row.id})" in done.stderr


def test_what_cannot_be_read_gives_no_counts(site: Site) -> None:
    """0 and 0, from a bucket that is not there, would be equal counts."""
    done = step_5(site, AWS_STORAGE_BUCKET_NAME="another-bucket-than-this")
    assert "DB count" not in done.stdout
    assert "METRIC: cert.consistency.fail=1" in done.stderr
    assert "ObjectStoreError" in done.stderr
