"""The application's own command name leads to the data tools' backfill, as a process of the stand-in site."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cutover.exit_codes import ExitCode

if TYPE_CHECKING:
    from tests.data_tools.certificate_site import Site

STAND_IN = Path(__file__).parents[2] / "ops" / "rehearsal" / "site"
NAME = "backfill_certificates_to_s3"
OWN_COMMAND = """
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    def add_arguments(self, parser):
        parser.add_argument("--dry-run", action="store_true")

    def handle(self, **options):
        print("the application's own command")
"""
SETTINGS = """
from deltacrown.settings import *

INSTALLED_APPS = [{apps}]
MEDIA_ROOT = {media_root!r}
AWS_STORAGE_BUCKET_NAME = {bucket!r}
"""


def manage(
    site: Site, *arguments: str, apps: str = "*INSTALLED_APPS", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs `python manage.py` of the stand-in; where certificates lie is in its settings, not in its environment."""
    rival = site.home / "rival"
    commands = rival / "management" / "commands"
    commands.mkdir(parents=True, exist_ok=True)
    for package in (rival, commands.parent, commands):
        (package / "__init__.py").touch()
    (commands / f"{NAME}.py").write_text(OWN_COMMAND)
    values = {"media_root": str(site.media_root), "bucket": site.bucket}
    (site.home / "test_settings.py").write_text(SETTINGS.format(apps=apps, **values))
    own = {
        name: value for name, value in site.environment.items() if name not in {"MEDIA_ROOT", "AWS_STORAGE_BUCKET_NAME"}
    }
    django = {"DJANGO_SETTINGS_MODULE": "test_settings", "DJANGO_SECRET_KEY": "tests", "PYTHONPATH": str(site.home)}
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=STAND_IN,
        env={"PATH": os.environ["PATH"], "HOME": str(site.home), **own, **django, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("apps", "first_line"),
    [
        ("*INSTALLED_APPS, 'rival'", "=== Certificate S3 Backfill (DRY-RUN) ==="),
        ("'rival', *INSTALLED_APPS", "the application's own command"),
    ],
)
def test_the_app_that_is_listed_first_gives_the_command(site: Site, apps: str, first_line: str) -> None:
    """The old command, which marks damaged files as migrated, runs under the name that the runbook says."""
    done = manage(site, NAME, "--dry-run", apps=apps)
    assert done.stdout.startswith(f"{first_line}\n"), done.stderr
    assert done.returncode == ExitCode.DONE


def test_the_runbooks_sample_is_migrated_from_where_the_settings_say(site: Site) -> None:
    """A command that looks for the files elsewhere than the application finds none missing."""
    row = site.add()
    done = manage(site, NAME, "--limit", "100", "--batch-size", "10", "--verify-hash")
    assert done.returncode == ExitCode.DONE, done.stderr
    assert done.stdout.splitlines()[-1].startswith("RESUME_TOKEN ")
    assert site.row(row.id).marked
    assert site.objects().keys() == set(row.keys)


def test_a_failed_certificate_is_told_by_the_exit_code(site: Site) -> None:
    """The application's command ended with 0 and "COMPLETED" whatever had happened."""
    row = site.add(certificate_hash="0" * 64)
    done = manage(site, NAME, "--json")
    assert done.returncode == ExitCode.FAILED
    (error,) = json.loads(done.stdout)["errors"]
    assert (error["certificate_id"], error["cause"]) == (row.id, "damaged_local")
    assert not site.row(row.id).marked


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"CERT_S3_BACKFILL_ENABLED": "false"}, "cutover: CERT_S3_BACKFILL_ENABLED is not `true` in the environment"),
        ({"MEDIA_ROOT": "/nowhere"}, "cutover: MEDIA_ROOT /nowhere of the environment is no directory"),
    ],
)
def test_what_the_environment_says_wins_and_refusals_are_one_sentence(
    site: Site, environment: dict[str, str], sentence: str
) -> None:
    """The kill switch of Scenario 3 would stop `cutover backfill` alone; a traceback hides what to do."""
    site.add()
    done = manage(site, NAME, **environment)
    assert done.returncode == ExitCode.USAGE
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert site.objects() == {}
