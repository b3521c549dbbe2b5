"""Each need of the application's interface: what it takes, and the broken variant that it refuses."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

import pytest
from botocore.config import Config
from django.core.files.storage import FileSystemStorage, Storage
from django.db import connection, models
from django.test import override_settings

from cutover import plan
from tests.unit.site.stand_in_site import BUCKET

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TABLE = plan.load()
VARIABLES = {str(flag): variable for flag, variable in TABLE.variables.items()}
ALL_OFF: dict[str, dict[str, object]] = {variable: {"the settings": False} for variable in VARIABLES.values()}
ALL_ON: dict[str, dict[str, object]] = {variable: {"the settings": True} for variable in VARIABLES.values()}


@pytest.fixture
def checks() -> Any:
    """Imported late: Django's settings are the fixture `site`'s."""
    from cutover.django import interface_checks

    return interface_checks


@pytest.fixture
def refusal(checks: Any) -> Callable[..., str]:
    """Calls a check that must refuse, and gives its sentence."""

    def call(check: Callable[..., str], *arguments: Any) -> str:
        with pytest.raises(checks.Refused) as refused:
            check(*arguments)
        return str(refused.value)

    return call


# The model and its table.


def model(**changed: Any) -> type[models.Model]:
    """The certificate's model with some of its fields changed; None takes one out. It is in no app."""
    from apps.tournaments.models import Certificate
    from django.apps.registry import Apps

    table = changed.pop("db_table", Certificate._meta.db_table)
    fields: dict[str, Any] = {str(field.column): field.clone() for field in Certificate._meta.concrete_fields}
    fields["tournament_id"] = models.BigIntegerField()
    for name, field in changed.items():
        if field is None:
            del fields[name]
        else:
            fields[name] = field
    meta = type("Meta", (), {"db_table": table, "app_label": "tournaments", "apps": Apps()})
    return type("Certificate", (models.Model,), {"__module__": "tests", "Meta": meta, **fields})


def test_the_copy_of_the_model_that_the_next_tests_break_passes(checks: Any) -> None:
    assert "has all 17 columns" in checks.model_columns(model())


@pytest.mark.parametrize(
    "column", ["migrated_to_s3_at", "certificate_hash", "file_image", "revoked_at", "verification_code"]
)
def test_a_model_without_a_column_is_refused(column: str, checks: Any, refusal: Callable[..., str]) -> None:
    """Marks could not be written, or read."""
    assert f"lacks {column}" in refusal(checks.model_columns, model(**{column: None}))


def test_a_model_of_another_table_is_refused(checks: Any, refusal: Callable[..., str]) -> None:
    """The data tools would read the right one, and the application another."""
    assert "is kept in table certificates, expected" in refusal(checks.model_columns, model(db_table="certificates"))


def test_files_that_are_plain_text_are_refused(checks: Any, refusal: Callable[..., str]) -> None:
    plain = model(file_image=models.CharField(max_length=100, null=True))
    assert "file_image is no FileField" in refusal(checks.model_columns, plain)


def test_a_table_that_lacks_a_column_or_is_absent_is_refused(checks: Any, refusal: Callable[..., str]) -> None:
    """The model is the new one, and the database still the old one."""
    from apps.tournaments.models import Certificate
    from django.db import transaction

    assert "has all of them" in checks.table_columns(Certificate)
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {Certificate._meta.db_table} DROP COLUMN migrated_to_s3_at")
        sentence = refusal(checks.table_columns, Certificate)
        transaction.set_rollback(True)
    assert "lacks migrated_to_s3_at: run `manage.py migrate tournaments`" in sentence
    assert "has no table nowhere" in refusal(checks.table_columns, model(db_table="nowhere"))


def test_a_migration_that_waits_is_refused(checks: Any, refusal: Callable[..., str]) -> None:
    from apps.tournaments.models import Certificate
    from django.db import transaction
    from django.db.migrations.recorder import MigrationRecorder

    assert checks.migrations_applied(Certificate) == "tournaments is at 0001_certificates"
    with transaction.atomic():
        MigrationRecorder(connection).record_unapplied("tournaments", "0001_certificates")
        sentence = refusal(checks.migrations_applied, Certificate)
        transaction.set_rollback(True)
    assert sentence == "tournaments.0001_certificates not applied: run `manage.py migrate tournaments`"


def test_an_app_without_migrations_is_refused(checks: Any, refusal: Callable[..., str]) -> None:
    from apps.tournaments.models import Certificate

    with override_settings(MIGRATION_MODULES={"tournaments": None}):
        assert "has no migrations" in refusal(checks.migrations_applied, Certificate)


# The storage class.


@pytest.mark.parametrize("name", ["file_pdf", "file_image"])
def test_a_field_with_another_storage_is_refused(name: str, checks: Any, refusal: Callable[..., str]) -> None:
    """Flags flip, and nothing changes: not one file would go to S3."""
    from apps.tournaments.models import Certificate
    from apps.tournaments.storage import CertificateS3Storage

    assert "are kept in" in checks.fields_use_it(Certificate, CertificateS3Storage)
    other = model(**{name: models.FileField(null=True, storage=FileSystemStorage)})
    sentence = refusal(checks.fields_use_it, other, CertificateS3Storage)
    assert f"{name} keeps its files in django.core.files.storage.filesystem.FileSystemStorage" in sentence


PUBLIC = [name for name, value in vars(Storage).items() if not name.startswith("_") and callable(value)]


@pytest.mark.parametrize("lacking", PUBLIC)
def test_a_storage_without_one_of_djangos_methods_is_refused(
    lacking: str, checks: Any, refusal: Callable[..., str]
) -> None:
    """It cannot be put on the model at all, or breaks at the first file."""
    whole = {name: vars(Storage)[name] for name in PUBLIC if name != lacking}
    foreign = type("CertificateS3Storage", (), whole)
    assert f"lacks {lacking} of Django's storage interface" in refusal(checks.interface_complete, foreign)


def test_every_method_of_djangos_interface_is_looked_for() -> None:
    assert {"generate_filename", "get_available_name", "get_valid_name", "path"} <= set(PUBLIC)
    assert {"open", "save", "delete", "exists", "size", "url"} <= set(PUBLIC)


@pytest.mark.parametrize("name", ["delete", "exists", "size", "url", "_open", "_save"])
def test_a_method_that_is_only_inherited_is_refused(name: str, checks: Any, refusal: Callable[..., str]) -> None:
    """It is there, and raises NotImplementedError."""
    own = {other: getattr(FileSystemStorage, other) for other in ("delete", "exists", "size", "url", "_open", "_save")}
    assert checks.interface_complete(type("S", (Storage,), own))
    del own[name]
    assert f"only inherits {name.lstrip('_')}" in refusal(checks.interface_complete, type("S", (Storage,), own))


def test_a_method_with_other_arguments_is_refused(checks: Any, refusal: Callable[..., str]) -> None:
    """Django passes max_length with every save of a FileField."""

    class WithoutLength(FileSystemStorage):
        def save(self, name: Any, content: Any) -> str:  # type: ignore[override]
            return str(super().save(name, content))

    assert "WithoutLength.save does not take" in refusal(checks.interface_complete, WithoutLength)


# Settings, bucket, flags.


class Site:
    AWS_STORAGE_BUCKET_NAME = BUCKET
    AWS_S3_REGION_NAME = "us-east-1"
    MEDIA_ROOT = "/srv/media"


def test_settings_as_the_environment_has_them_pass(checks: Any, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/srv/media")
    for media in ({}, {"MEDIA_ROOT": "/srv/media/"}, {"MEDIA_ROOT": str(tmp_path / "link")}):
        assert BUCKET in checks.settings_agree(Site, {"AWS_STORAGE_BUCKET_NAME": BUCKET, **media})


@pytest.mark.parametrize(
    ("environment_of_tools", "seen"),
    [
        ({"AWS_STORAGE_BUCKET_NAME": ""}, "AWS_STORAGE_BUCKET_NAME is not set in the environment"),
        ({"AWS_STORAGE_BUCKET_NAME": "other"}, f"AWS_STORAGE_BUCKET_NAME is '{BUCKET}' in the settings"),
        ({"AWS_S3_REGION_NAME": "eu-west-1"}, "AWS_S3_REGION_NAME is 'us-east-1' in the settings"),
        ({"MEDIA_ROOT": "/srv/other"}, "MEDIA_ROOT is /srv/media in the settings, expected /srv/other"),
    ],
)
def test_settings_that_differ_from_the_environment_are_refused(
    environment_of_tools: dict[str, str], seen: str, checks: Any, refusal: Callable[..., str]
) -> None:
    """The application writes into one bucket, and the tools check another: 0 = 0."""
    given = {"AWS_STORAGE_BUCKET_NAME": BUCKET} | environment_of_tools
    assert seen in refusal(checks.settings_agree, Site, given)


def runs(
    of_this: dict[str, dict[str, object]] = ALL_OFF,
    on: dict[str, dict[str, object]] = ALL_ON,
    off: dict[str, dict[str, object]] = ALL_OFF,
) -> dict[str, tuple[dict[str, str], dict[str, dict[str, object]]]]:
    return {
        "of this process": (dict.fromkeys(VARIABLES.values(), "false"), of_this),
        "with all flags TRUE": (dict.fromkeys(VARIABLES.values(), "TRUE"), on),
        "without flags": ({}, off),
    }


@pytest.mark.parametrize("variable", VARIABLES.values())
@pytest.mark.parametrize(
    ("process", "value", "seen"),
    [
        ("of_this", True, "is True in the settings and False in the environment of this process"),
        ("on", False, "is False in the settings and True in the environment with all flags TRUE"),
        ("off", True, "is True in the settings and False in the environment without flags"),
        ("of_this", "'false'", "is 'false' in the settings, no truth value"),
    ],
    ids=["wrong now", "never on", "on by default", "text"],
)
def test_a_flag_that_does_not_follow_the_environment_is_refused(
    *, variable: str, process: str, value: object, seen: str, checks: Any, refusal: Callable[..., str]
) -> None:
    """A flip, or a rollback, that changes a file and nothing else; 'false' as a text is on."""
    assert "follow the environment" in checks.flags_follow(VARIABLES, runs())
    held = (ALL_ON if process == "on" else ALL_OFF) | {variable: {"the settings": value}}
    sentence = refusal(checks.flags_follow, VARIABLES, runs(**{process: held}))
    assert sentence.startswith(f"{variable} {seen}")


@pytest.mark.parametrize("flag", ["dual_write", "read_primary"])
def test_a_flag_that_nobody_reads_is_refused(flag: str, checks: Any, refusal: Callable[..., str]) -> None:
    held = ALL_OFF | {VARIABLES[flag]: {}}
    assert f"nothing of the application reads {VARIABLES[flag]}" in refusal(
        checks.flags_follow, VARIABLES, runs(of_this=held)
    )


def test_the_backfills_flag_may_be_the_tools_alone(checks: Any) -> None:
    none: dict[str, dict[str, object]] = {VARIABLES["backfill"]: {}}
    assert checks.flags_follow(VARIABLES, runs(ALL_OFF | none, ALL_ON | none, ALL_OFF | none))


# The command, the task, the packages.


def test_a_backfill_that_is_not_there_is_refused(checks: Any, refusal: Callable[..., str]) -> None:
    assert checks.command_is_ours().endswith("cutover's own")
    assert "there is no `manage.py nothing`" in refusal(checks.command_is_ours, "nothing")


def test_a_task_that_cannot_be_called_is_refused(
    checks: Any, refusal: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from apps.tournaments.tasks import certificate_consistency

    assert checks.task_is_callable().endswith("runs cutover.django.consistency")
    monkeypatch.setattr(certificate_consistency, "check_certificate_consistency", "text")
    assert "cannot be called: let it be" in refusal(checks.task_is_callable)
    monkeypatch.setattr(certificate_consistency, "check_certificate_consistency", lambda bucket: bucket)
    assert "cannot be called without arguments (missing a required argument: 'bucket')" in refusal(
        checks.task_is_callable
    )
    monkeypatch.delattr(certificate_consistency, "check_certificate_consistency")
    with pytest.raises(ImportError):
        checks.task_is_callable()


def test_a_celery_task_is_judged_by_its_function(checks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from apps.tournaments.tasks import certificate_consistency

    class Task:
        def __init__(self, run: Callable[[], object]) -> None:
            self.run = run

        def __call__(self, *args: object, **options: object) -> object:
            return self.run(*args, **options)

    ours = certificate_consistency.check_certificate_consistency
    monkeypatch.setattr(certificate_consistency, "check_certificate_consistency", Task(ours))
    assert checks.task_is_callable().endswith("runs cutover.django.consistency")


@pytest.mark.parametrize("package", ["boto3", "django-storages"])
def test_a_package_that_is_absent_is_refused(
    package: str, checks: Any, refusal: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib.metadata import PackageNotFoundError, version

    def without(name: str) -> str:
        if name == package:
            raise PackageNotFoundError(name)
        return version(name)

    assert "boto3 1." in checks.packages_present()
    monkeypatch.setattr(checks, "version", without)
    assert f"{package} cannot be used" in refusal(checks.packages_present)
    assert "pip install" in refusal(checks.packages_present)


def test_a_package_that_cannot_be_imported_is_refused(
    checks: Any, refusal: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """django-storages without its S3 part: the version is there, and every save fails."""
    monkeypatch.setitem(sys.modules, "storages.backends.s3", None)
    assert "run `pip install 'django-storages[s3]'`" in refusal(checks.packages_present)


# What a certificate that is not migrated is answered with, and how long S3 may hold a save.


@pytest.mark.parametrize(
    "url",
    [
        "https://b.s3.amazonaws.com/c.pdf?AWSAccessKeyId=a&Signature=b&Expires=1",
        "https://b.s3.amazonaws.com/c.pdf?X-Amz-Algorithm=a&X-Amz-Signature=b",
    ],
    ids=["V2", "V4"],
)
def test_a_signed_url_of_an_unmigrated_file_is_refused(url: str, checks: Any, refusal: Callable[..., str]) -> None:
    """A 404 at S3, and no fallback ever counts it."""
    assert "url() signs c.pdf, which is not migrated" in refusal(checks.url_is_local, "c.pdf", url, "/media/")


def test_any_other_address_than_the_local_one_is_refused(checks: Any, refusal: Callable[..., str]) -> None:
    assert checks.url_is_local("c.pdf", "/media/c.pdf", "/media/")
    sentence = refusal(checks.url_is_local, "c.pdf", "https://b.s3.amazonaws.com/c.pdf", "/media/")
    assert "expected an address under /media/" in sentence


@pytest.mark.parametrize(
    ("config", "seconds"),
    [
        (Config(connect_timeout=0.5, read_timeout=1, retries={"total_max_attempts": 1}), 1.5),
        (Config(connect_timeout=0.5, read_timeout=1, retries={"total_max_attempts": 2}), 4),
        (Config(connect_timeout=1, read_timeout=1, retries={"mode": "standard"}), 9),
        (Config(connect_timeout=1, read_timeout=1), 25),
        (Config(connect_timeout=None, read_timeout=1, retries={"total_max_attempts": 1}), math.inf),
    ],
)
def test_the_longest_call_of_a_client(config: Config, seconds: float, checks: Any) -> None:
    """A dual-write outage becomes a customer outage: the client's defaults hold a save for many seconds."""
    assert checks.longest_call(config) == seconds


def test_a_save_that_is_held_for_two_seconds_is_refused(checks: Any, refusal: Callable[..., str]) -> None:
    limit = TABLE.steps[6].criteria["seconds_to_answer_without_s3"]
    assert checks.held_at_most(1.99, limit, "how")
    sentence = refusal(checks.held_at_most, 2, limit, "how")
    assert "may be held for 2 s while S3 does not answer (how), expected below 2 s" in sentence
