"""The check of the application's interface, whole: the stand-in site passes it, and a broken one is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.db import OperationalError

from cutover import plan
from tests.unit.site.s3_conditions import objects
from tests.unit.site.stand_in_site import BUCKET, SITE

if TYPE_CHECKING:
    from collections.abc import Callable

    from rehearsal.aws_stand_in import AwsStandIn

VARIABLES = plan.load().variables
NAMES = [
    "site",
    "model",
    "table",
    "migrations",
    "storage interface",
    "storage",
    "settings",
    "bucket",
    "time-outs",
    "backfill command",
    "consistency task",
    "packages",
    "flags",
    "unmigrated url",
]


def examine(
    environment: dict[str, str], *, settings: str = "", code: str = "", folder: Path | None = None
) -> tuple[int, dict[str, Any]]:
    """Runs the module on the stand-in site, with some lines after its settings (or a module beside them)."""
    path = [str(SITE)]
    if folder is not None:
        (folder / "broken_settings.py").write_text(f"from deltacrown.settings import *\n{settings}\n")
        (folder / "other.py").write_text(code)
        path.insert(0, str(folder))
    process = subprocess.run(
        [sys.executable, "-m", "cutover.django.interface", "--json"],
        cwd=SITE,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": ":".join(path)}
        | environment
        | {"DJANGO_SETTINGS_MODULE": "broken_settings" if folder else "deltacrown.settings"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.stdout, process.stderr
    assert "Feature flag" not in process.stderr
    document = json.loads(process.stdout)
    assert set(document) == {"verdict", "findings"}
    return process.returncode, document


def refused(document: dict[str, Any]) -> dict[str, str]:
    return {finding["name"]: finding["detail"] for finding in document["findings"] if not finding["ok"]}


@pytest.mark.parametrize("flags", [{}, dict.fromkeys(VARIABLES.values(), "true")], ids=["off", "on"])
def test_the_stand_in_site_passes(environment: dict[str, str], flags: dict[str, str]) -> None:
    """A check that refuses a site which is as it should be is switched off by the second night."""
    code, document = examine(environment | flags)
    assert refused(document) == {}
    assert (code, document["verdict"]) == (0, "PASS")
    assert [finding["name"] for finding in document["findings"]] == NAMES
    assert all(set(finding) == {"name", "ok", "detail"} for finding in document["findings"])


def test_nothing_is_written_and_no_line_is_logged(environment: dict[str, str], tmp_path: Path, aws: AwsStandIn) -> None:
    """A METRIC line of the preflight would be counted as a customer's, and an object of it as an orphan."""

    def kept() -> tuple[list[Path], set[str]]:
        return sorted(Path(environment["MEDIA_ROOT"]).rglob("*")), set(objects(aws))

    before, log = kept(), tmp_path / "site.log"
    settings = f"LOGGING['handlers']['console'] = {{'class': 'logging.FileHandler', 'filename': {str(log)!r}}}"
    code, document = examine(environment, settings=settings, folder=tmp_path)
    assert (code, refused(document)) == (0, {})
    assert log.read_text() == ""
    assert kept() == before


def test_a_site_that_does_not_start_is_refused(environment: dict[str, str]) -> None:
    code, document = examine(environment | {"DJANGO_SECRET_KEY": ""})
    assert (code, document["verdict"]) == (1, "FAIL")
    assert refused(document) == {
        "site": "ImproperlyConfigured: DJANGO_SECRET_KEY is not set: the site does not start without it."
    }


def test_without_a_settings_module_it_is_a_usage_error() -> None:
    process = subprocess.run(
        [sys.executable, "-m", "cutover.django.interface"],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 2
    assert "DJANGO_SETTINGS_MODULE is not set" in process.stderr


def test_a_database_that_does_not_answer_is_an_error_and_no_pass(environment: dict[str, str]) -> None:
    """Whoever could not look says that nothing is wrong."""
    code, document = examine(environment | {"DATABASE_URL": "postgres://site@/postgres?host=/nowhere"})
    assert (code, document["verdict"]) == (4, "ERROR")
    assert set(refused(document)) == {"table", "migrations", "unmigrated url"}
    assert all(finding["ok"] is not False for finding in document["findings"])
    assert "the database could not be asked" in refused(document)["table"]


def test_lines_say_the_same_for_people(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import logging

    from cutover.django import interface

    found = [interface.Finding("model", ok=True, detail="a"), interface.Finding("flags", ok=False, detail="b")]
    monkeypatch.setattr(interface, "findings", lambda *_: found)
    try:
        assert interface.main([]) == 1
    finally:
        logging.disable(logging.NOTSET)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:] == ["ok      model: a", "NOT OK  flags: b", "FAIL"]


def test_a_verdict_is_the_worst_of_the_findings() -> None:
    from cutover.django.interface import Finding, verdict

    good, bad, unknown = (Finding("n", ok=ok, detail="") for ok in (True, False, None))
    assert verdict([good]).name == "PASS"
    assert verdict([good, unknown]).name == "ERROR"
    assert verdict([unknown, bad, good]).name == "FAIL"
    assert verdict([]).name == "ERROR"


def test_whatever_a_check_raises_is_a_finding() -> None:
    """One broken attribute ends the check, and the other findings are never seen."""
    from cutover.django.interface import look
    from cutover.django.interface_checks import Refused

    def raising(error: Exception) -> Callable[[], str]:
        def check() -> str:
            raise error

        return check

    assert look("n", raising(AttributeError("no s3_storage"))).ok is False
    assert look("n", raising(Refused("no"))).ok is False
    assert look("n", raising(OperationalError("gone"))).ok is None


def test_a_model_that_is_elsewhere_is_refused(environment: dict[str, str], tmp_path: Path) -> None:
    settings = "CERTIFICATE_MODEL = 'apps.tournaments.models.Diploma'"
    code, document = examine(environment, settings=settings, folder=tmp_path)
    assert code == 1
    assert 'does not define a "Diploma"' in refused(document)["model"]
    assert {"model", "storage", "flags", "unmigrated url"} <= set(refused(document))


def test_a_broken_storage_class_is_found_by_name(environment: dict[str, str], tmp_path: Path) -> None:
    """The whole check on a site whose storage class is Django's own: no flag, no S3 half, no interface of ours."""
    code = """
import sys, types
from django.core.files.storage import FileSystemStorage
class CertificateS3Storage(FileSystemStorage):
    generate_filename = None
module = types.ModuleType("apps.tournaments.storage")
module.CertificateS3Storage = CertificateS3Storage
sys.modules["apps.tournaments.storage"] = module
"""
    exit_code, document = examine(environment, settings="import other", code=code, folder=tmp_path)
    assert exit_code == 1
    found = refused(document)
    assert set(found) == {"storage interface", "bucket", "time-outs", "flags"}
    assert "lacks generate_filename" in found["storage interface"]
    assert "s3_storage" in found["bucket"]
    assert "nothing of the application reads CERT_S3_DUAL_WRITE" in found["flags"]


def test_another_bucket_is_refused(environment: dict[str, str], tmp_path: Path) -> None:
    """The settings of the storage class override those of the site."""
    settings = "STORAGES = {}\nAWS_STORAGE_BUCKET_NAME = 'deltacrown-certificates-prod'"
    code, document = examine(environment, settings=settings, folder=tmp_path)
    assert code == 1
    assert set(refused(document)) == {"settings", "bucket"}
    assert (
        f".s3_storage.bucket.name is 'deltacrown-certificates-prod', expected '{BUCKET}'" in refused(document)["bucket"]
    )


@pytest.mark.parametrize(
    ("settings", "seen"),
    [
        (
            "import os\nCERT_S3_READ_PRIMARY = os.getenv('CERT_S3_READ_PRIMARY') == 'true'",
            "CERT_S3_READ_PRIMARY is False in the settings and True",
        ),
        (
            "import os\nassert not os.getenv('CERT_S3_READ_PRIMARY'), 'no reads yet'",
            "does not tell its flags with all flags TRUE: AssertionError: no reads yet",
        ),
    ],
    ids=["lower case only", "does not start"],
)
def test_flags_are_read_in_processes_of_their_own(
    settings: str, seen: str, environment: dict[str, str], tmp_path: Path
) -> None:
    """A flag is right by chance, as long as all are off."""
    code, document = examine(environment, settings=settings, folder=tmp_path)
    assert code == 1
    assert seen in refused(document)["flags"]


def test_the_applications_own_backfill_is_refused_by_name(environment: dict[str, str], tmp_path: Path) -> None:
    """It marks damaged files as migrated, and ends with exit status 0 whatever fails."""
    commands = tmp_path / "legacy" / "management" / "commands"
    commands.mkdir(parents=True)
    for folder in (tmp_path / "legacy", tmp_path / "legacy" / "management", commands):
        (folder / "__init__.py").touch()
    (commands / "backfill_certificates_to_s3.py").write_text(
        "from django.core.management import BaseCommand\nclass Command(BaseCommand):\n    pass\n"
    )
    code, document = examine(environment, settings="INSTALLED_APPS.insert(0, 'legacy')", folder=tmp_path)
    assert code == 1
    assert set(refused(document)) == {"backfill command"}
    assert (
        "would run legacy.management.commands.backfill_certificates_to_s3, the application's own"
        in refused(document)["backfill command"]
    )


@pytest.mark.parametrize("with_row", [True, False], ids=["a row", "an empty table"])
def test_a_storage_that_signs_blindly_is_found(with_row: bool, environment: dict[str, str], tmp_path: Path) -> None:
    """Trap of the application: the whole check, with a url() that does not ask for the mark."""
    from apps.tournaments.models import Certificate

    if with_row:
        Certificate.objects.create(
            tournament_id=1,
            participant_id=1,
            certificate_type="winner",
            file_pdf="certificates/pdf/2026/11/cert_1_0a1b2c3d.pdf",
        )
    code = """
from cutover.django.storage import CertificateS3Storage
def url(self, name):
    return self.s3_storage.sign(name) if self.flags.read_primary else self.local_storage.url(name)
CertificateS3Storage.url = url
"""
    exit_code, document = examine(environment, settings="import other", code=code, folder=tmp_path)
    assert exit_code == 1
    assert set(refused(document)) == {"unmigrated url"}
    assert (
        f"url() signs certificates/pdf/{'2026/11/cert_1_' if with_row else '2026/01/cert_9999'}"
        in (refused(document)["unmigrated url"])
    )


def test_a_url_that_raises_is_refused(environment: dict[str, str], tmp_path: Path) -> None:
    code = """
from cutover.django.storage import CertificateS3Storage
def url(self, name):
    raise KeyError(name)
CertificateS3Storage.url = url
"""
    exit_code, document = examine(environment, settings="import other", code=code, folder=tmp_path)
    assert exit_code == 1
    assert "raises KeyError" in refused(document)["unmigrated url"]


def test_the_default_client_of_django_storages_is_refused(environment: dict[str, str], tmp_path: Path) -> None:
    """The application's own class, as it was read: django-storages with its defaults."""
    code = """
from storages.backends.s3 import S3Storage
from cutover.django.storage import CertificateS3Storage
CertificateS3Storage.s3_storage = property(lambda self: S3Storage())
"""
    settings = "import other"
    exit_code, document = examine(environment, settings=settings, code=code, folder=tmp_path)
    assert exit_code == 1
    assert set(refused(document)) == {"time-outs"}
    assert "connect 60 s, read 60 s" in refused(document)["time-outs"]
    bounded = code.replace(
        "S3Storage()",
        "S3Storage(client_config=Config(connect_timeout=0.5, read_timeout=1, retries={'total_max_attempts': 1}))",
    )
    code = "from botocore.config import Config\n" + bounded
    assert examine(environment, settings=settings, code=code, folder=tmp_path)[0] == 0
