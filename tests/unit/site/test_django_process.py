"""What a process of the site does when it starts."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.unit.site.stand_in_site import SITE

PRINT_STATE = """
import sys
import deltacrown.wsgi
from cutover.django.storage import CertificateS3Storage
flags = CertificateS3Storage().flags
heavy = {"boto3", "botocore", "storages", "reportlab", "PIL"} & {name.split(".")[0] for name in sys.modules}
print(flags.dual_write, flags.read_primary, sorted(heavy))
"""


def _start(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PRINT_STATE],
        cwd=SITE,
        env={"PATH": os.environ["PATH"]} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_local_process_says_so_and_loads_nothing_of_s3(environment: dict[str, str]) -> None:
    """A rollback that is not seen in the log, or one whose restart is slow with libraries it will not use."""
    process = _start(environment)
    assert process.stdout == "False False []\n"
    assert "CERT_S3_DUAL_WRITE: Feature flag OFF, using local storage only" in process.stderr
    assert "CERT_S3_READ_PRIMARY: Feature flag OFF, reading from local storage" in process.stderr


def test_flags_that_are_on_are_announced(environment: dict[str, str]) -> None:
    """A flag that is on and whose process says the opposite."""
    process = _start(environment | {"CERT_S3_DUAL_WRITE": "TRUE", "CERT_S3_READ_PRIMARY": "true"})
    assert process.stdout.startswith("True True ['boto3', 'botocore', 'storages']")
    assert "Feature flag OFF" not in process.stderr
    assert process.stderr.count("Feature flag ON") == 2


@pytest.mark.parametrize("text", ["1", "yes", "on", "true;", "tru", "'true'", "true false", ""])
def test_any_other_text_is_off(text: str) -> None:
    """A flag that is on by a text which the runbook's checks read as off."""
    from cutover.django.flags import Flags

    assert Flags.from_environment({"CERT_S3_DUAL_WRITE": text, "CERT_S3_READ_PRIMARY": text}) == Flags()


def test_a_flag_changed_later_has_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that changes its mode in the middle of its life: no proof about it would hold."""
    from cutover.django.storage import CertificateS3Storage

    monkeypatch.setenv("CERT_S3_DUAL_WRITE", "true")
    assert not CertificateS3Storage().flags.dual_write


def test_a_process_without_credentials_starts(environment: dict[str, str]) -> None:
    """A credentials endpoint that is down, and a site that does not start because of it."""
    without = {name: value for name, value in environment.items() if not name.startswith("AWS_")}
    unreachable = {
        "CERT_S3_DUAL_WRITE": "true",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1/role",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    process = _start(without | unreachable)
    assert process.stdout.startswith("True False")
    assert "S3 could not be prepared" in process.stderr


def test_a_process_with_a_wrong_endpoint_starts(environment: dict[str, str]) -> None:
    """A typing error in an environment file, and no worker of the site comes up again."""
    process = _start(environment | {"CERT_S3_DUAL_WRITE": "true", "AWS_ENDPOINT_URL_S3": "10.213.77.1:4566"})
    assert process.stdout.startswith("True False"), process.stderr
    assert "S3 could not be prepared, local files are used until it answers: client: ValueError" in process.stderr


@pytest.mark.parametrize("variable", ["DATABASE_URL", "DJANGO_SECRET_KEY"])
def test_a_site_without_its_settings_refuses_to_start(variable: str, environment: dict[str, str]) -> None:
    """A worker that comes up on an empty environment file and answers 500 to everybody."""
    process = _start(environment | {variable: ""})
    assert process.returncode != 0
    assert f"{variable} is not set" in process.stderr


@pytest.mark.parametrize("url", ["sqlite:///db", "postgres://host", "nonsense"])
def test_a_database_other_than_postgresql_is_refused(url: str) -> None:
    """A rehearsal on another database than the application's."""
    from deltacrown.database_url import database_settings
    from django.core.exceptions import ImproperlyConfigured

    with pytest.raises(ImproperlyConfigured, match="DATABASE_URL must read"):
        database_settings(url)


def test_a_database_url_is_taken_apart() -> None:
    """A password with a sign that is written in percent form, and a login that fails."""
    from deltacrown.database_url import database_settings

    found = database_settings("postgres://a%40b:p%2Fw@10.0.0.1:5432/site?sslmode=require")
    assert (found["USER"], found["PASSWORD"], found["HOST"], found["PORT"]) == ("a@b", "p/w", "10.0.0.1", 5432)
    assert found["NAME"] == "site"
    assert found["OPTIONS"] == {"sslmode": "require"}
