"""What the cutover needs of the application, one function a need: each says what it saw, or refuses with a sentence.

They are the interfaces of the application, and the ways in which it can hurt a cutover before a byte was moved. None
of them calls S3 or writes anything.
"""

from __future__ import annotations

import importlib
import inspect
import math
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from django.core.files.storage import Storage
from django.core.management import BaseCommand, get_commands, load_command_class
from django.db import connections, models, router
from django.db.migrations.executor import MigrationExecutor
from django.utils.module_loading import import_string

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from botocore.config import Config

    from cutover.plan import Bound

__all__ = ["COMMAND", "STORAGE_CLASS", "TASK", "Refused"]

STORAGE_CLASS = "apps.tournaments.storage.CertificateS3Storage"
TASK = "apps.tournaments.tasks.certificate_consistency.check_certificate_consistency"
COMMAND = "backfill_certificates_to_s3"
TABLE = "tournament_engine_certificate_certificate"
FILE_FIELDS = ("file_pdf", "file_image")
COLUMNS = {
    *("id", "tournament_id", "participant_id", "certificate_type", "placement", *FILE_FIELDS, "verification_code"),
    *("certificate_hash", "generated_at", "created_at", "updated_at", "downloaded_at", "download_count"),
    *("revoked_at", "revoked_reason", "migrated_to_s3_at"),
}
# What a storage must do itself; of the rest of Django's interface it is enough that it is there.
OWN_METHODS = ("delete", "exists", "size", "url")
SIGNED = {"Signature", "X-Amz-Signature"}
PACKAGES = {"boto3": "boto3", "django-storages": "storages.backends.s3", "Django": "django"}
# botocore.retries.standard and botocore.data._retry: attempts where neither client nor environment says a number.
ATTEMPTS = {"legacy": 5, "standard": 3, "adaptive": 3}


class Refused(Exception):  # noqa: N818 - it is an answer
    """The application is not as the cutover needs it: what was seen, what was expected, and what to do."""


def model_columns(model: type[models.Model]) -> str:
    """The model has the certificate table's name, all its columns, and both files as files."""
    if model._meta.db_table != TABLE:
        raise Refused(f"{model.__name__} is kept in table {model._meta.db_table}, expected {TABLE}: name it so")
    if missing := COLUMNS - {field.column for field in model._meta.concrete_fields}:
        raise Refused(f"{model.__name__} lacks {_listed(missing)}: add them to the model, and a migration")
    for name in FILE_FIELDS:
        if not isinstance(model._meta.get_field(name), models.FileField):
            raise Refused(f"{model.__name__}.{name} is no FileField: its files would never reach the storage class")
    return f"{model.__module__}.{model.__name__} has all {len(COLUMNS)} columns"


def table_columns(model: type[models.Model]) -> str:
    """The database's table has them, too."""
    connection = connections[router.db_for_write(model)]
    with connection.cursor() as cursor:
        if model._meta.db_table not in connection.introspection.table_names(cursor):
            raise Refused(f"the database has no table {model._meta.db_table}: run `manage.py migrate tournaments`")
        found = {column.name for column in connection.introspection.get_table_description(cursor, model._meta.db_table)}
    if missing := COLUMNS - found:
        raise Refused(f"table {model._meta.db_table} lacks {_listed(missing)}: run `manage.py migrate tournaments`")
    return f"table {model._meta.db_table} has all of them"


def migrations_applied(model: type[models.Model]) -> str:
    """No migration of the certificates' app waits, nor one that it depends on."""
    label = model._meta.app_label
    executor = MigrationExecutor(connections[router.db_for_write(model)])
    leaves = executor.loader.graph.leaf_nodes(label)
    if not leaves:
        raise Refused(f"the app {label} has no migrations: run `manage.py makemigrations {label}`")
    if waiting := [f"{migration.app_label}.{migration.name}" for migration, _ in executor.migration_plan(leaves)]:
        raise Refused(f"{', '.join(waiting)} not applied: run `manage.py migrate {label}`")
    return f"{label} is at {', '.join(name for _, name in leaves)}"


def fields_use_it(model: type[models.Model], storage_class: type) -> str:
    """Both file fields keep their files in the storage class; else flags flip, and nothing changes."""
    for name in FILE_FIELDS:
        storage = model._meta.get_field(name).storage  # type: ignore[union-attr]  # a FileField: see model_columns
        if not isinstance(storage, storage_class):
            raise Refused(
                f"{model.__name__}.{name} keeps its files in {_path(type(storage))}, expected {STORAGE_CLASS}: "
                f"give the field storage={storage_class.__name__}"
            )
    return f"{' and '.join(FILE_FIELDS)} are kept in {_path(storage_class)}"


def interface_complete(storage_class: type) -> str:
    """The class has every public method of Django's Storage, with Django's arguments, and does the work of its own."""
    names = [name for name in vars(Storage) if not name.startswith("_") and callable(getattr(Storage, name))]
    if missing := [name for name in names if not callable(getattr(storage_class, name, None))]:
        raise Refused(f"{_path(storage_class)} lacks {_listed(missing)} of Django's storage interface: add them")
    hollow = [name for name in OWN_METHODS if getattr(storage_class, name) is getattr(Storage, name)]
    hollow += [
        name
        for name in ("open", "save")
        if getattr(storage_class, name) is getattr(Storage, name) and not hasattr(storage_class, f"_{name}")
    ]
    if hollow:
        raise Refused(f"{_path(storage_class)} only inherits {_listed(hollow)}, which raise: write them")
    for name in names:
        _takes_djangos_arguments(storage_class, name)
    return f"{_path(storage_class)} has all {len(names)} methods of Django's storage interface"


def _takes_djangos_arguments(storage_class: type, name: str) -> None:
    """As FileField passes them: a file's name and content by place, `max_length` by its name."""
    wanted = inspect.signature(getattr(Storage, name)).parameters
    by_place = [parameter for parameter in wanted if parameter != "max_length"]
    by_name = {"max_length": None} if "max_length" in wanted else {}
    try:
        inspect.signature(getattr(storage_class, name)).bind(*by_place, **by_name)
    except TypeError as error:
        expected = ", ".join(wanted)
        raise Refused(f"{_path(storage_class)}.{name} does not take ({expected}): {error}; write it so") from error


def settings_agree(site: object, environment: Mapping[str, str]) -> str:
    """The site's settings name the bucket, region and media directory that the tools take from the environment."""
    bucket = environment.get("AWS_STORAGE_BUCKET_NAME", "")
    if not bucket:
        raise Refused("AWS_STORAGE_BUCKET_NAME is not set in the environment: add it to the environment file")
    expected = {
        "AWS_STORAGE_BUCKET_NAME": bucket,
        "AWS_S3_REGION_NAME": environment.get("AWS_S3_REGION_NAME") or "us-east-1",
    }
    for name, value in expected.items():
        if (held := getattr(site, name, None)) != value:
            raise Refused(f"{name} is {held!r} in the settings, expected {value!r}: read it from the environment there")
    media, tools_media = str(getattr(site, "MEDIA_ROOT", "")), environment.get("MEDIA_ROOT", "")
    if tools_media and Path(media).resolve() != Path(tools_media).resolve():
        raise Refused(f"MEDIA_ROOT is {media} in the settings, expected {tools_media}: the tools would see other files")
    return ", ".join(f"{name}={value}" for name, value in expected.items()) + f", MEDIA_ROOT={media}"


def bucket_is(storage: Any, environment: Mapping[str, str]) -> str:  # noqa: ANN401 - whatever the field has
    """The storage's S3 half writes into the bucket of the environment."""
    name, expected = storage.s3_storage.bucket.name, environment.get("AWS_STORAGE_BUCKET_NAME", "")
    if name != expected:
        raise Refused(f".s3_storage.bucket.name is {name!r}, expected {expected!r}: correct the storage's settings")
    return f".s3_storage.bucket.name is {name}"


def command_is_ours(name: str = COMMAND) -> str:
    """`manage.py` runs cutover's backfill; the application's own marks damaged files and ends with 0 on failures."""
    found = get_commands().get(name)
    if found is None:
        raise Refused(f"there is no `manage.py {name}`: put cutover.django first in INSTALLED_APPS")
    command = type(found if isinstance(found, BaseCommand) else load_command_class(found, name))
    if not command.__module__.startswith("cutover."):
        raise Refused(
            f"`manage.py {name}` would run {command.__module__}, the application's own: put cutover.django before "
            "the application in INSTALLED_APPS"
        )
    return f"`manage.py {name}` runs {command.__module__}, cutover's own"


def task_is_callable(path: str = TASK) -> str:
    """The consistency task can be imported, and called without arguments."""
    task = import_string(path)
    if not callable(task):
        raise Refused(f"{path} cannot be called: let it be cutover.django.consistency's function, or a task of it")
    body = inspect.unwrap(getattr(task, "run", task))  # a Celery task has its function as `run`
    try:
        inspect.signature(body).bind()
    except TypeError as error:
        raise Refused(f"{path}() cannot be called without arguments ({error}): give them defaults") from error
    return f"{path} runs {body.__module__}"


def packages_present() -> str:
    """The runbook's packages are there, and their modules can be found."""
    found = []
    for package, module in PACKAGES.items():
        try:
            found.append(f"{package} {version(package)}")
            importlib.import_module(module)
        except (PackageNotFoundError, ImportError) as error:
            wanted = "django-storages[s3]" if package == "django-storages" else package
            raise Refused(f"{package} cannot be used ({error}): run `pip install '{wanted}'`") from error
    return ", ".join(found)


def flags_follow(
    variables: Mapping[str, str], runs: Mapping[str, tuple[Mapping[str, str], Mapping[str, Mapping[str, object]]]]
) -> str:
    """Every process of the application has the flags that its environment gave it.

    Args:
        variables: environment variable by flag; the backfill reads its own from the environment file.
        runs: by description of a process, its environment and what it held: {variable: {where: value}}.
    """
    for description, (environment, held) in runs.items():
        for flag, variable in variables.items():
            places = held.get(variable, {})
            if not places and flag != "backfill":
                raise Refused(f"nothing of the application reads {variable}: add it to the settings, default off")
            expected = environment.get(variable, "").lower() == "true"
            for place, value in places.items():
                if not isinstance(value, bool):
                    raise Refused(f"{variable} is {value} in {place}, no truth value: compare its text with 'true'")
                if value is not expected:
                    raise Refused(
                        f"{variable} is {value} in {place} and {expected} in the environment {description}: "
                        "read it there with os.getenv, and let only the text `true` (any case) be on"
                    )
    return f"{_listed(variables.values())} follow the environment"


def url_is_local(name: str, url: str, media_url: str) -> str:
    """With reads on S3, a certificate that is not migrated keeps its local address: S3 would answer 404, uncounted."""
    if SIGNED & set(parse_qs(urlsplit(url).query)):
        raise Refused(f"url() signs {name}, which is not migrated: ask for migrated_to_s3_at before signing")
    if not url.startswith(media_url):
        raise Refused(f"url() of {name}, which is not migrated, is {url}: expected an address under {media_url}")
    return f"url() of {name}, which is not migrated, stays under {media_url}"


def held_at_most(seconds: float, limit: Bound, how: str) -> str:
    """A save that S3 does not answer is held for a bounded time."""
    if not limit.holds(seconds):
        raise Refused(
            f"a save may be held for {seconds:g} s while S3 does not answer ({how}), expected {limit} s: give the "
            "storage's client_config connect_timeout, read_timeout and retries={'total_max_attempts': 1}"
        )
    return f"a save is held for {seconds:g} s at most ({how})"


def longest_call(config: Config) -> float:
    """Seconds that one call of a client with this configuration may take: its attempts, and the waits between them."""
    retries: Mapping[str, Any] = getattr(config, "retries", None) or {}
    attempts = int(retries.get("total_max_attempts") or ATTEMPTS.get(retries.get("mode", ""), max(ATTEMPTS.values())))
    timeouts = (getattr(config, "connect_timeout", None), getattr(config, "read_timeout", None))
    attempt = math.inf if None in timeouts else sum(float(timeout) for timeout in timeouts if timeout is not None)
    return attempts * attempt + sum(2.0**retry for retry in range(attempts - 1))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _path(thing: type) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"
