"""`python -m cutover.django.interface`: whether the application is as the cutover needs it, before any customer sees.

Run it as the site's user with a worker's environment, in the site's directory. It starts the application as its
processes start, twice more with other flags, asks the database, and looks; it neither calls S3 nor writes, and the
site's log handlers get nothing, so that no line of it is counted as a worker's.

Exit 0: all is as it must be; 1: something is not; 2: no DJANGO_SETTINGS_MODULE; 4: the database could not be asked.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import django
from django.conf import settings
from django.db import Error as DatabaseError
from django.utils.module_loading import import_string

from cutover import plan
from cutover.django import interface_checks as checks
from cutover.django.interface_checks import Refused
from cutover.django.migration_state import certificate_model
from cutover.exit_codes import CommandError, ExitCode
from cutover.gates import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cutover.plan import Plan

__all__ = ["Finding", "findings", "held", "main", "verdict"]

NO_ROW = 10**18 - 1  # no certificate's id, with as many digits as the storage class looks for in a name
START_SECONDS = 60  # a site that takes longer to start fails its rollback's objective, too


@dataclass(frozen=True)
class Finding:
    """The answer of one check; `ok` is None if it could not look."""

    name: str
    ok: bool | None
    detail: str

    def __str__(self) -> str:
        return f"{ {True: 'ok', False: 'NOT OK', None: 'UNKNOWN'}[self.ok]:8}{self.name}: {self.detail}"


def look(name: str, check: Callable[[], str]) -> Finding:
    """The finding of one check. Whatever it raises is a finding, too: an interface that breaks is not there."""
    try:
        return Finding(name, ok=True, detail=check())
    except Refused as refusal:
        return Finding(name, ok=False, detail=str(refusal))
    except DatabaseError as error:
        return Finding(name, ok=None, detail=f"the database could not be asked: {_line(error)}")
    except Exception as error:  # noqa: BLE001 - the application's code, which may raise anything
        return Finding(name, ok=False, detail=f"{type(error).__name__}: {_line(error)}")


def verdict(found: Sequence[Finding]) -> Verdict:
    """FAIL if something is not as it must be, else ERROR if something could not be looked at."""
    answers = {finding.ok for finding in found}
    if False in answers:
        return Verdict.FAIL
    return Verdict.ERROR if None in answers or not found else Verdict.PASS


def findings(table: Plan, environment: Mapping[str, str]) -> list[Finding]:
    """All of them, in the order of what depends on what; Django is set up."""
    variables = {str(flag): variable for flag, variable in table.variables.items()}
    on = dict(environment) | dict.fromkeys(variables.values(), "TRUE")
    off = {name: value for name, value in environment.items() if name not in variables.values()}
    started = {"with all flags TRUE": (on, _start(on)), "without flags": (off, _start(off))}
    found = [
        look("model", lambda: checks.model_columns(certificate_model())),
        look("table", lambda: checks.table_columns(certificate_model())),
        look("migrations", lambda: checks.migrations_applied(certificate_model())),
        look("storage interface", lambda: checks.interface_complete(import_string(checks.STORAGE_CLASS))),
        look("storage", lambda: checks.fields_use_it(certificate_model(), import_string(checks.STORAGE_CLASS))),
        look("settings", lambda: checks.settings_agree(settings, environment)),
        look("bucket", lambda: checks.bucket_is(_storage(), environment)),
        look("time-outs", lambda: _time_outs(_storage(), table)),
        look("backfill command", checks.command_is_ours),
        look("consistency task", checks.task_is_callable),
        look("packages", checks.packages_present),
    ]
    answers = {description: (given, _answer(process)) for description, (given, process) in started.items()}
    return [
        *found,
        look("flags", lambda: _flags(variables, environment, answers)),
        look("unmigrated url", lambda: _unmigrated_url(answers["with all flags TRUE"][1])),
    ]


def held(table: Plan) -> dict[str, Any]:
    """What this process holds: {"flags": {variable: {where: value}}, "url": of a not yet migrated certificate}."""
    flags: dict[str, dict[str, object]] = {}
    for name, variable in table.variables.items():
        places: dict[str, object] = {}
        if hasattr(settings, variable):
            places["the settings"] = getattr(settings, variable)
        if hasattr(getattr(_storage(), "flags", None), name):
            places["the storage class"] = getattr(_storage().flags, name)
        flags[variable] = {place: value if isinstance(value, bool) else repr(value) for place, value in places.items()}
    return {"flags": flags, "url": _url()}


def _storage() -> Any:  # noqa: ANN401 - whatever the field has
    return certificate_model()._meta.get_field("file_pdf").storage  # type: ignore[union-attr]  # a FileField: see the model's check


def _time_outs(storage: Any, table: Plan) -> str:  # noqa: ANN401 - see _storage
    from cutover.django import s3_copy  # noqa: PLC0415 - fails where a package is missing, which is a finding

    half, limit = storage.s3_storage, table.steps[6].criteria["seconds_to_answer_without_s3"]
    if isinstance(half, s3_copy.S3Copy):
        return checks.held_at_most(s3_copy.DEADLINE_SECONDS, limit, "the deadline of cutover's storage class")
    config = half.connection.meta.client.meta.config
    how = f"connect {config.connect_timeout} s, read {config.read_timeout} s, retries {config.retries}"
    return checks.held_at_most(checks.longest_call(config), limit, how)


def _flags(
    variables: Mapping[str, str],
    environment: Mapping[str, str],
    answers: Mapping[str, tuple[Mapping[str, str], dict[str, Any] | str]],
) -> str:
    runs = {"of this process": (environment, held(plan.load())["flags"])}
    for description, (given, answer) in answers.items():
        if isinstance(answer, str):
            raise Refused(f"the application does not tell its flags {description}: {answer}")
        runs[description] = (given, answer["flags"])
    return checks.flags_follow(variables, runs)


def _url() -> dict[str, str]:
    """The address of a certificate that is not migrated: one of the table, else one that was never saved."""
    model = certificate_model()
    try:
        row = (
            model._default_manager.filter(migrated_to_s3_at__isnull=True, file_pdf__isnull=False)
            .exclude(file_pdf="")
            .first()
        ) or model(file_pdf=f"certificates/pdf/2026/01/cert_{NO_ROW}_00000000.pdf")
        return {"name": str(row.file_pdf), "url": row.file_pdf.url, "media_url": settings.MEDIA_URL}  # type: ignore[attr-defined]
    except DatabaseError as error:
        return {"database": _line(error)}
    except Exception as error:  # noqa: BLE001 - the application's code, which may raise anything
        return {"error": f"{type(error).__name__}: {_line(error)}"}


def _unmigrated_url(answer: dict[str, Any] | str) -> str:
    if isinstance(answer, str):
        raise Refused(f"the application does not sign with all flags TRUE: {answer}")
    seen = answer["url"]
    if "database" in seen:
        raise DatabaseError(seen["database"])
    if "error" in seen:
        raise Refused(f"url() of a certificate that is not migrated raises {seen['error']}: answer its local address")
    return checks.url_is_local(seen["name"], seen["url"], seen["media_url"])


def _start(environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """The site in a process of its own, because flags are read when a process starts."""
    command = [sys.executable, "-m", "cutover.django.interface", "--held"]
    return subprocess.Popen(
        command, env=dict(environment), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
    )


def _answer(process: subprocess.Popen[str]) -> dict[str, Any] | str:
    """What it holds, or the reason why it does not say so."""
    try:
        output, errors = process.communicate(timeout=START_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return f"it took more than {START_SECONDS} s"
    if process.returncode != 0:
        return (errors.strip().splitlines() or [f"exit status {process.returncode}"])[-1]
    answer: dict[str, Any] = json.loads(output.strip().splitlines()[-1])  # whatever the site prints stands before it
    return answer


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cutover.django.interface",
        description="Whether the application is as the cutover needs it. Exit 0: yes; 1: no; 2: no "
        "DJANGO_SETTINGS_MODULE; 4: the database could not be asked.",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    parser.add_argument("--held", action="store_true", help="only print the flags that this process holds, and a URL")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Examines the application that DJANGO_SETTINGS_MODULE names; returns the exit code."""
    options = _parser().parse_args(arguments)
    if not os.environ.get("DJANGO_SETTINGS_MODULE"):
        print("DJANGO_SETTINGS_MODULE is not set: give the site's, as manage.py does", file=sys.stderr)
        return ExitCode.USAGE
    logging.disable()  # lines of these processes would be counted as a worker's, or read as a changed flag
    try:
        table = plan.load()
    except CommandError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    started = look("site", _set_up)
    if options.held:
        if started.ok:
            print(json.dumps(held(table)))
            return ExitCode.DONE
        print(started.detail, file=sys.stderr)
        return ExitCode.FAILED
    found = [started, *(findings(table, os.environ) if started.ok else [])]
    outcome = verdict(found)
    if options.json:
        print(json.dumps({"verdict": outcome.name, "findings": [asdict(finding) for finding in found]}))
    else:
        print(*found, outcome.name, sep="\n")
    return int(outcome)


def _set_up() -> str:
    django.setup()
    return f"{os.environ['DJANGO_SETTINGS_MODULE']} starts with Django {django.get_version()}"


if __name__ == "__main__":
    sys.exit(main())
